"""Hands before a green screen, composed over the user's own images.

As the authors of HanCo do with photographs (``DatasetUnsupervisedMV.py`` of lmb-freiburg/contra-hand): the mask is
eroded against the green seam, softened, and mixes the two images. A sample's background depends on its name alone, so
that it is the same on every machine and in every run.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.data.datasets.annotated import AnnotatedHand
from handviz.data.datasets.images import file_names, read_mask
from handviz.sources.file_kinds import IMAGE_SUFFIXES
from handviz.sources.images import read_image

FOLDER = "backgrounds"
"""In the dataset's folder."""
SEAM_PX = 5
SOFTNESS_PX = 0.5
CACHED_PX = 448
"""Shorter side of the backgrounds that are cached in memory."""


@dataclass(frozen=True)
class Backgrounds:
    """The images of a folder."""

    files: tuple[Path, ...]

    def behind(self, hand: AnnotatedHand, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the image (H, W, 3) with another background; HandvizError names a damaged mask or background."""
        if hand.mask is None:
            raise HandvizError(f"{hand.image} has no mask: its background cannot be replaced.", ErrorCode.FILE_MISSING)
        height, width = image.shape[:2]
        rng = np.random.default_rng(crc32(hand.name.encode()))
        wall = _piece(_background(self.files[rng.integers(len(self.files))]), (width, height), rng)
        fraction = _fraction(read_mask(hand.mask, (width, height)))
        return np.asarray(cv2.blendLinear(image, wall, fraction, 1 - fraction), np.uint8)


def find_backgrounds(root: Path) -> Backgrounds:
    """Return the images of ``backgrounds`` in the dataset's folder; HandvizError if there are none."""
    folder = root / FOLDER
    names = sorted(name for name in file_names(folder) if Path(name).suffix.lower() in IMAGE_SUFFIXES)
    if not names:
        raise HandvizError(
            f"{folder} has no images: put some there, without hands in them, to lay the hands on.",
            ErrorCode.EMPTY_INPUT,
        )
    return Backgrounds(tuple(folder / name for name in names))


@lru_cache(maxsize=128)
def _background(path: Path) -> NDArray[np.uint8]:
    image = read_image(path)
    shrink = CACHED_PX / min(image.shape[:2])
    if shrink >= 1:
        return image
    return np.asarray(cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)


def _piece(image: NDArray[np.uint8], size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a random piece with the ratio of width and height of ``size``, resized to it."""
    height, width = image.shape[:2]
    scale = min(width / size[0], height / size[1]) * rng.uniform(0.6, 1.0)
    across, down = max(int(size[0] * scale), 1), max(int(size[1] * scale), 1)
    left, top = rng.integers(width - across + 1), rng.integers(height - down + 1)
    piece = image[top : top + down, left : left + across]
    small = cv2.resize(piece, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.flip(small, 1) if rng.random() < 0.5 else small, np.uint8)


def _fraction(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the fraction (H, W) of the hand's image that stays, 0 to 1."""
    inner = cv2.erode(np.asarray(mask > 127, np.uint8), np.ones((SEAM_PX, SEAM_PX), np.uint8))
    return np.asarray(cv2.GaussianBlur(inner.astype(np.float32), (0, 0), SOFTNESS_PX), np.float32)
