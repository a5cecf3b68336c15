"""Squares of a still image that the palm detector searches, and their resampling from a pyramid of the image."""

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray
from handviz.detection.palm import HandSquare
from handviz.detection.still_views import MAX_ASPECT, MAX_PIECES, MIN_TILED_SIDE_PX, PIECE_STEP

QUARTER = math.pi / 2
QUICK = ((1.3, 0), (1.8, 2), (1.0, 0))
"""Sides of the first squares, in longer sides of the image, and their quarter turns: where they agree it is enough."""
TURNS = (0, 1)
"""Quarter turns of a square. Upside down it shows the detector nearly the same palms (docs/log/experiments.md): each
square is searched in one of two opposite turns and counted as both."""
SQUARES_OF_ONE = 2
WHOLE = ((1.0, 0.0), (1.3, 0.0), (1.8, 1.0), (1.5, 0.5), (2.4, 0.0))
"""Sides of the further squares around the whole image, each in two turns from so many quarter turns on."""
TILES = ((2, 0.6, 1.2, 0.0), (3, 0.42, 1.2, 0.0), (3, 0.42, 1.2, 0.5), (3, 0.42, 1.4, 1.0), (3, 0.42, 1.4, 1.5))
"""How many tiles stand along a side, their own sides as a fraction of the image's longer one, the searched squares
around them in sides of a tile, and the first one's quarter turns."""
TINTED_SIDE, TINTED_TILES = 1.3, TILES[:1]
GLIMPSE_SIDE, GLIMPSE_TURNS = 1.3, (0, 2)
CLOSE_UPS = (1.6, 2.2, 3.0)
"""Sides of the squares around a doubtful hand, in extents of its keypoints."""


class Pyramid:
    """An image in halved sizes, made when they are asked for, so that no square is resampled coarsely."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        """Keep an RGB image (H, W, 3)."""
        self._levels = [image]

    @property
    def image(self) -> NDArray[np.uint8]:
        """The image (H, W, 3) itself."""
        return self._levels[0]

    def cut_out(self, square: HandSquare, size_px: int, *, border: int) -> NDArray[np.uint8]:
        """Resample a square (``size_px``, ``size_px``, 3) of the image; ``border``: OpenCV's, of what is outside."""
        level = max(0, round(math.log2(max(square.side_px, 1.0) / size_px)))
        image, factor = self._level(level)
        affine = square.image_from_square(size_px) * factor
        # OpenCV counts from the centre of the first pixel.
        affine[:, 2] += affine[:, :2] @ np.full(2, 0.5) - 0.5
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(image, affine, (size_px, size_px), flags=flags, borderMode=border), np.uint8)

    def _level(self, level: int) -> tuple[NDArray[np.uint8], FloatArray]:
        """Return the image halved so many times, as far as it can be, and the factor (2, 1) to its pixels."""
        while len(self._levels) <= level and min(self._levels[-1].shape[:2]) >= 2:
            height, width = (side // 2 for side in self._levels[-1].shape[:2])
            half = cv2.resize(self._levels[-1], (width, height), interpolation=cv2.INTER_AREA)
            self._levels.append(np.asarray(half, np.uint8))
        image = self._levels[min(level, len(self._levels) - 1)]
        return image, np.array(image.shape[1::-1])[:, None] / np.array(self.image.shape[1::-1])[:, None]


def is_long(shape: Sequence[int]) -> bool:
    """Return whether an image of this shape (H, W, ...) is searched piece by piece."""
    return max(shape[:2]) > MAX_ASPECT * min(shape[:2])


def quick_squares(middle_px: FloatArray, longer_px: float) -> list[HandSquare]:
    """Return the few squares around the middle (2,) of an image that are searched first."""
    return [HandSquare(middle_px, longer_px * side, turns * QUARTER) for side, turns in QUICK]


def other_squares(middle_px: FloatArray, shape: Sequence[int], *, all_tiles: bool = True) -> list[HandSquare]:
    """Return the further squares of an image or a piece of this shape (H, W) around its middle (2,)."""
    longer_px = float(max(shape[:2]))
    squares = [
        HandSquare(middle_px, longer_px * side, (first_turns + turns) * QUARTER)
        for side, first_turns in WHOLE
        for turns in TURNS
        if (side, first_turns + turns) not in QUICK
    ]
    return squares + _tile_squares(middle_px, shape, TILES if all_tiles else TILES[:2])


def tinted_squares(middle_px: FloatArray, shape: Sequence[int]) -> list[HandSquare]:
    """Return the squares that are searched in the colours of skin as well."""
    longer_px = float(max(shape[:2]))
    squares = [HandSquare(middle_px, longer_px * TINTED_SIDE, turns * QUARTER) for turns in TURNS]
    return squares + _tile_squares(middle_px, shape, TINTED_TILES)


def _tile_squares(
    middle_px: FloatArray, shape: Sequence[int], tiles: Sequence[tuple[int, float, float, float]]
) -> list[HandSquare]:
    """Return squares around overlapping tiles, each in one turn; none for a small image."""
    if min(shape[:2]) < MIN_TILED_SIDE_PX:
        return []
    squares = []
    for count, fraction, side, first_turns in tiles:
        tile_px = fraction * max(shape[:2])
        for index, offset in enumerate(_tile_offsets(shape, count, tile_px)):
            turns = (index + first_turns) % 4
            squares.append(HandSquare(middle_px + offset, tile_px * side, turns * QUARTER))
    return squares


def _tile_offsets(shape: Sequence[int], count: int, side_px: float) -> Iterator[FloatArray]:
    """Yield the centres (2,) of tiles, from the middle of an image of this shape, as far as it reaches."""
    height, width = shape[:2]
    room_x, room_y = max(width - side_px, 0.0) / 2, max(height - side_px, 0.0) / 2
    for y in np.unique(np.linspace(-room_y, room_y, count)):
        for x in np.unique(np.linspace(-room_x, room_x, count)):
            yield np.array([x, y])


def pieces_of_shape(shape: Sequence[int]) -> list[tuple[FloatArray, tuple[int, int]]]:
    """Return the middles (2,) and shapes (H, W) of the overlapping pieces of a long image, of another the image's."""
    height, width = shape[:2]
    long, short = max(height, width), min(height, width)
    if not is_long(shape):
        return [(np.array([width / 2, height / 2]), (height, width))]
    count = min(MAX_PIECES, math.ceil((long - short) / (PIECE_STEP * short)) + 1)
    length = max(short, math.ceil(long / (1 + PIECE_STEP * (count - 1))))
    middles = np.linspace(length / 2, long - length / 2, count)
    if height > width:
        return [(np.array([width / 2, middle]), (length, width)) for middle in middles]
    return [(np.array([middle, height / 2]), (height, length)) for middle in middles]


def glimpse_squares(middle_px: FloatArray, shape: Sequence[int]) -> list[HandSquare]:
    """Return the few squares that decide whether a piece of a long image is searched in all its squares."""
    side = float(max(shape[:2])) * GLIMPSE_SIDE
    return [HandSquare(middle_px, side, turns * QUARTER) for turns in GLIMPSE_TURNS]


def close_up_squares(square: HandSquare, extent_px: float) -> list[HandSquare]:
    """Return squares of several sizes around a doubtful hand, fingers up, one of them turned a little."""
    turns = (0.0, 0.4, -0.4)
    return [
        HandSquare(square.centre_px, extent_px * side, square.angle_rad + turn)
        for side, turn in zip(CLOSE_UPS, turns, strict=True)
    ]
