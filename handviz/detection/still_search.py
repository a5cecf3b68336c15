"""Hands of a still image: several views of it are searched, and hands found in at least two of them are accepted.

MediaPipe's palm detector gets the image reduced to 192 x 192: it misses hands that fill the image, small hands, and
hands behind objects. A margin helps the first, tiles the second, a low threshold the third; the views' vote removes
the false hands of a low threshold.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import apply_affine
from handviz.core.records import Detection, FloatArray
from handviz.detection.tracking import SAME_HAND_COVER, box_cover, same_hand

Finder = Callable[[NDArray[np.uint8]], Sequence[Detection]]
STILL_PALM_SCORE = 0.1
MARGINS = (0.0, 0.15, 0.4)
TILES = ((2, 0.6), (3, 0.42))
TILE_MARGIN = 0.2
MIN_TILED_SIDE_PX, MAX_SEARCHED_SIDE_PX = 320, 1920
MIN_VOTES = 2
OUTVOTING_RATIO = 1.5
NOISY, NOISE_BLUR_PX, MIN_NOISE_SIDE_PX = 12.0, 1.5, 8
MEDIAN_OF_NORMAL = 0.6745
"""Median of the absolute value of a standard normal number."""
MAX_NOISE_PX = 16_000_000
MAX_ASPECT = 3.0
"""Longer images are searched piece by piece: reduced as a whole, hands would vanish."""
PIECE_STEP = 0.5


@dataclass(frozen=True, eq=False)
class View:
    """A part of an image, possibly rotated or with a margin."""

    image: NDArray[np.uint8]
    """(h, w, 3) RGB."""
    image_from_view: FloatArray
    """(2, 3) affine, pixels."""


def search_still(image: NDArray[np.uint8], find: Finder, *, max_hands: int) -> tuple[Detection, ...]:
    """Return the hands of an RGB image (H, W, 3) that at least two views agree on, best supported first.

    A noisy image is smoothed before. Where no hand is found it is searched once more in grey with its contrast
    stretched, since the detector knows skin and not gloves, and misses hands in dim or faded images.
    """
    searched = smoothed_noise(image)
    found = _agreed(views_of(searched), find)
    if not found:
        found = _agreed(views_of(stretched_grey(searched)), find)
    return tuple(found[:max_hands])


def _agreed(views: Iterator[View], find: Finder) -> list[Detection]:
    """Return the hands that at least two of the views agree on, best supported first."""
    found: list[Detection] = []
    for view in views:
        for hand in find(view.image):
            keypoints_px = apply_affine(view.image_from_view, hand.keypoints_px)
            found.append(Detection(hand.handedness, hand.score, keypoints_px))
    groups = sorted(groups_of(found), key=_support, reverse=True)
    kept: list[tuple[float, Detection]] = []
    for group in groups:
        hand = agreement(group)
        support = _support(group)
        if len(group) >= MIN_VOTES and not any(_outvoted(hand, support, *other) for other in kept):
            kept.append((support, hand))
    return [hand for _, hand in kept]


def smoothed_noise(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image smoothed by as much as its noise asks for, itself if there is little."""
    if min(image.shape[:2]) < MIN_NOISE_SIDE_PX or noise_of(image) < NOISY:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), NOISE_BLUR_PX), dtype=np.uint8)


def noise_of(image: NDArray[np.uint8]) -> float:
    """Return the standard deviation of the noise, in levels: the median over pixels, since edges are few."""
    if image.shape[0] * image.shape[1] > MAX_NOISE_PX:  # the centre tells it, in a tenth of the memory
        part = math.sqrt(MAX_NOISE_PX / (image.shape[0] * image.shape[1]))
        height, width = (max(round(side * part), 1) for side in image.shape[:2])
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        image = image[top : top + height, left : left + width]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    # Differences of second order along both axes: smooth shading cancels, and white noise has six times its deviation.
    residual = cv2.filter2D(grey, -1, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32))
    return float(np.median(np.abs(residual))) / (6 * MEDIAN_OF_NORMAL)


def stretched_grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image in grey (H, W), between its darkest and brightest hundredth."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    low, high = np.percentile(grey, (1, 99))
    levels = np.arange(256, dtype=np.float32)
    table = np.clip((levels - low) * (255 / max(high - low, 1.0)), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(grey, table), dtype=np.uint8)


def _outvoted(hand: Detection, support: float, other_support: float, other: Detection) -> bool:
    """Return whether ``other``, at least as well supported, is the same hand or a likelier one around it."""
    covered = box_cover(hand.keypoints_px, other.keypoints_px) > SAME_HAND_COVER
    return same_hand(hand, other) or (covered and other_support >= OUTVOTING_RATIO * support)


def _support(group: Sequence[Detection]) -> float:
    return sum(item.score**2 for item in group)


def groups_of(found: Sequence[Detection]) -> list[list[Detection]]:
    """Group the detections of the same hand; the best of each group comes first and represents it."""
    groups: list[list[Detection]] = []
    for detection in sorted(found, key=lambda item: -item.score):
        for group in groups:
            if same_hand(detection, group[0]):
                group.append(detection)
                break
        else:
            groups.append([detection])
    return groups


def agreement(group: Sequence[Detection]) -> Detection:
    """Return the handedness with the larger sum of scores, and the median keypoints of its detections."""
    total = sum(item.score for item in group)
    right = sum(item.score for item in group if item.handedness == "right")
    handedness = "right" if right >= total - right else "left"
    agreeing = [item for item in group if item.handedness == handedness]
    return Detection(
        handedness="right" if handedness == "right" else "left",
        score=max(right, total - right) / len(group),
        keypoints_px=np.median([item.keypoints_px for item in agreeing], axis=0),
    )


def views_of(image: NDArray[np.uint8]) -> Iterator[View]:
    """Yield the views of the image, of a long one those of its overlapping squares."""
    height, width = image.shape[:2]
    if max(height, width) <= MAX_ASPECT * min(height, width):
        yield from _views_of_piece(image)
        return
    side = min(height, width)
    count = math.ceil((max(height, width) - side) / (PIECE_STEP * side)) + 1
    for start in np.linspace(0, max(height, width) - side, count).astype(int):
        x, y = (0, int(start)) if height > width else (int(start), 0)
        for view in _views_of_piece(image[y : y + side, x : x + side]):
            yield View(view.image, _after(view.image_from_view, np.array([[1.0, 0.0, x], [0.0, 1.0, y]])))


def _views_of_piece(image: NDArray[np.uint8]) -> Iterator[View]:
    """Yield the image with three margins, in four rotations each, and rotated overlapping tiles if it is not small."""
    start = reduced(image)
    for margin in MARGINS:
        view = _with_margin(start, margin)
        for quarter_turns in range(4):
            yield rotated(view, quarter_turns)
    if min(image.shape[:2]) >= MIN_TILED_SIDE_PX:
        for count, fraction in TILES:
            for index, tile in enumerate(_tiles(start, count, fraction)):
                view = _with_margin(tile, TILE_MARGIN)
                yield rotated(view, index % 4)
                yield rotated(view, index % 4 + 2)


def reduced(image: NDArray[np.uint8]) -> View:
    """Return an RGB or grey image as RGB, reduced if it is larger than a search needs."""
    height, width = image.shape[:2]
    fraction = min(1.0, MAX_SEARCHED_SIDE_PX / max(height, width))
    size = max(1, round(width * fraction)), max(1, round(height * fraction))
    if fraction < 1:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    return View(image, np.array([[width / size[0], 0.0, 0.0], [0.0, height / size[1], 0.0]]))


def rotated(view: View, quarter_turns: int) -> View:
    """Rotate a view counter-clockwise by quarter turns."""
    for _ in range(quarter_turns % 4):
        width = view.image.shape[1]
        before_from_after = np.array([[0.0, -1.0, width], [1.0, 0.0, 0.0]])
        view = View(np.rot90(view.image), _after(before_from_after, view.image_from_view))
    return view


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
