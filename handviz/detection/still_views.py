"""Views of a still image: margins, rotations, tiles and pieces that the detector searches one by one."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import apply_affine, invert_affine
from handviz.core.records import Detection, FloatArray

MARGINS = (0.0, 0.15, 0.4)
TILES = ((2, 0.6), (3, 0.42))
TILE_MARGIN = 0.2
MIN_TILED_SIDE_PX, MAX_SEARCHED_SIDE_PX = 320, 1920
MAX_ASPECT = 3.0
"""Longer images are searched piece by piece: reduced as a whole, hands would vanish."""
MAX_LONG_PX = 16_000_000
"""Larger long images are reduced before, for the memory's sake."""
PIECE_STEP = 0.5
"""From one piece to the next, as a fraction of a piece's length."""
MAX_PIECES = 40
"""Of a very long image; its pieces are longer than wide."""
GLIMPSE_MARGIN, GLIMPSE_TURNS = 0.15, (0, 2)
CLOSE_UP_SIDE_PX = 256
CLOSE_UPS = (1.5, 2.0, 2.6)
"""Sides of the squares around a doubtful hand, in extents of its keypoints."""


@dataclass(frozen=True, eq=False)
class View:
    """A part of an image, possibly rotated or with a margin."""

    image: NDArray[np.uint8]
    """(h, w, 3) RGB."""
    image_from_view: FloatArray
    """(2, 3) affine, pixels."""


def whole(image: NDArray[np.uint8]) -> View:
    """Return an image (H, W, 3) as the view that is searched: reduced if it is larger than a search needs."""
    if not _is_long(image):
        return reduced(image)
    fraction = min(1.0, math.sqrt(MAX_LONG_PX / (image.shape[0] * image.shape[1])))
    return reduced(image, math.ceil(max(image.shape[:2]) * fraction))


def views_of(image: NDArray[np.uint8]) -> Iterator[View]:
    """Yield the views of the image, of a long one those of its overlapping pieces."""
    for piece in pieces_of(whole(image)):
        yield from views_of_piece(piece)


def pieces_of(view: View) -> list[View]:
    """Return the overlapping pieces of a long view, of another the view itself."""
    if not _is_long(view.image):
        return [view]
    height, width = view.image.shape[:2]
    long, short = max(height, width), min(height, width)
    count = min(MAX_PIECES, math.ceil((long - short) / (PIECE_STEP * short)) + 1)
    length = max(short, math.ceil(long / (1 + PIECE_STEP * (count - 1))))
    pieces = []
    for start in np.linspace(0, long - length, count).astype(int):
        x, y = (0, int(start)) if height > width else (int(start), 0)
        part = view.image[y : y + length, x:] if height > width else view.image[y:, x : x + length]
        small = reduced(np.ascontiguousarray(part))
        place = _after(np.array([[1.0, 0.0, x], [0.0, 1.0, y]]), view.image_from_view)
        pieces.append(View(small.image, _after(small.image_from_view, place)))
    return pieces


def glimpses_of(piece: View) -> Iterator[View]:
    """Yield the few views that decide whether a piece of a long image is searched in all its views."""
    padded = _with_margin(piece, GLIMPSE_MARGIN)
    for quarter_turns in GLIMPSE_TURNS:
        yield rotated(padded, quarter_turns)
    if min(piece.image.shape[:2]) >= 2 * MIN_TILED_SIDE_PX:
        yield from _tiles(piece, *TILES[0])


def views_of_piece(piece: View) -> Iterator[View]:
    """Yield the view with three margins, in four rotations each, and rotated overlapping tiles if it is not small."""
    for margin in MARGINS:
        view = _with_margin(piece, margin)
        for quarter_turns in range(4):
            yield rotated(view, quarter_turns)
    if min(piece.image.shape[:2]) >= MIN_TILED_SIDE_PX:
        for count, fraction in TILES:
            for index, tile in enumerate(_tiles(piece, count, fraction)):
                view = _with_margin(tile, TILE_MARGIN)
                yield rotated(view, index % 4)
                yield rotated(view, index % 4 + 2)


def close_ups(view: View, hand: Detection) -> Iterator[View]:
    """Yield squares of several sizes around a hand of the image that ``view`` shows, fingers up."""
    keypoints_px = apply_affine(invert_affine(view.image_from_view), hand.keypoints_px)
    low, high = keypoints_px.min(axis=0), keypoints_px.max(axis=0)
    up = keypoints_px[9] - keypoints_px[0]
    up = up / max(float(np.linalg.norm(up)), 1e-6)
    right = np.array([-up[1], up[0]])
    for extents in CLOSE_UPS:
        scale = extents * max(float((high - low).max()), 1.0) / CLOSE_UP_SIDE_PX
        linear = scale * np.stack([right, -up], axis=1)
        corner = (low + high) / 2 - linear @ np.full(2, CLOSE_UP_SIDE_PX / 2)
        view_from_square = np.concatenate([linear, corner[:, None]], axis=1)
        # OpenCV counts from the centre of the first pixel.
        centred = view_from_square.copy()
        centred[:, 2] += linear @ np.full(2, 0.5) - 0.5
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        square = cv2.warpAffine(view.image, centred, (CLOSE_UP_SIDE_PX, CLOSE_UP_SIDE_PX), flags=flags)
        yield View(np.asarray(square, dtype=np.uint8), _after(view_from_square, view.image_from_view))


def nearest_centre(views: Sequence[View], point_px: FloatArray) -> int:
    """Return the index of the view whose centre is nearest to a point (2,) of the image."""
    centres = [apply_affine(view.image_from_view, np.array(view.image.shape[1::-1]) / 2) for view in views]
    return int(np.argmin([np.linalg.norm(centre - point_px) for centre in centres]))


def reduced(image: NDArray[np.uint8], max_side_px: int = MAX_SEARCHED_SIDE_PX) -> View:
    """Return the image, reduced if its longer side is larger."""
    height, width = image.shape[:2]
    fraction = min(1.0, max_side_px / max(height, width))
    size = max(1, round(width * fraction)), max(1, round(height * fraction))
    if fraction < 1:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return View(image, np.array([[width / size[0], 0.0, 0.0], [0.0, height / size[1], 0.0]]))


def rotated(view: View, quarter_turns: int) -> View:
    """Rotate a view counter-clockwise by quarter turns."""
    for _ in range(quarter_turns % 4):
        width = view.image.shape[1]
        before_from_after = np.array([[0.0, -1.0, width], [1.0, 0.0, 0.0]])
        view = View(np.rot90(view.image), _after(before_from_after, view.image_from_view))
    return view


def _is_long(image: NDArray[np.uint8]) -> bool:
    return max(image.shape[:2]) > MAX_ASPECT * min(image.shape[:2])


def _with_margin(view: View, margin: float) -> View:
    """Add a black margin of this fraction of the view's longer side."""
    margin_px = round(margin * max(view.image.shape[:2]))
    padded = cv2.copyMakeBorder(view.image, *(margin_px,) * 4, cv2.BORDER_CONSTANT)
    unpadded_from_padded = np.array([[1.0, 0.0, -margin_px], [0.0, 1.0, -margin_px]])
    return View(np.asarray(padded, dtype=np.uint8), _after(unpadded_from_padded, view.image_from_view))


def _after(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the affine (2, 3) that maps by ``first``, then by ``second``."""
    return np.concatenate([second[:, :2] @ first[:, :2], apply_affine(second, first[:, 2])[:, None]], axis=1)


def _tiles(view: View, count: int, fraction: float) -> Iterator[View]:
    """Yield ``count`` x ``count`` squares of ``fraction`` of the longer side, as far as the image reaches."""
    height, width = view.image.shape[:2]
    side = round(fraction * max(height, width))
    tall, wide = min(side, height), min(side, width)
    for y in np.unique(np.linspace(0, height - tall, count).astype(int)):
        for x in np.unique(np.linspace(0, width - wide, count).astype(int)):
            part_of_view = view.image[y : y + tall, x : x + wide]
            yield View(part_of_view, _after(np.array([[1.0, 0.0, x], [0.0, 1.0, y]]), view.image_from_view))
