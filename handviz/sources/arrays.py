"""Images that a program passes as arrays: checked once, at the door."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Frame
from handviz.sources.images import MAX_IMAGE_PX, now_ms

EXPECTED = "expected an RGB image as a uint8 array (H, W, 3)"


def checked_rgb(image: Any) -> NDArray[np.uint8]:
    """Return an image as a contiguous array (H, W, 3); HandvizError states what else it is, and the remedy."""
    if not isinstance(image, np.ndarray):
        raise HandvizError(
            f"{EXPECTED} or a path, got {type(image).__name__}: convert it, for example by numpy.asarray(image)",
            ErrorCode.WRONG_SHAPE,
        )
    if image.size == 0:
        raise HandvizError(f"{EXPECTED}, got an empty array {image.shape}: was it read?", ErrorCode.EMPTY_INPUT)
    remedy = _remedy(image)
    if remedy:
        raise HandvizError(f"{EXPECTED}, got {image.dtype} {image.shape}: {remedy}", ErrorCode.WRONG_SHAPE)
    if image.shape[0] * image.shape[1] > MAX_IMAGE_PX:
        raise HandvizError(
            f"{image.shape[1]} x {image.shape[0]} pixels are more than the {MAX_IMAGE_PX // 1_000_000} million "
            "allowed: make the image smaller first",
            ErrorCode.TOO_LARGE,
        )
    return np.ascontiguousarray(image)


def _remedy(image: NDArray[Any]) -> str:
    """Return what to do with an array that is no RGB image; empty if it is one."""
    if image.ndim == 4:
        return "pass one image at a time"
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        return "it is grey, repeat it by numpy.dstack([image] * 3)"
    if image.ndim == 3 and image.shape[2] == 4:
        return "leave the alpha channel out by image[:, :, :3]"
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
        return "move the channels to the end by image.transpose(1, 2, 0)"
    if image.ndim != 3 or image.shape[2] != 3:
        return "it has another shape"
    if image.dtype.kind == "f":
        return "values from 0 to 1 are converted by (255 * image).round().astype('uint8')"
    return "" if image.dtype == np.uint8 else "convert its values to 0 to 255 by image.astype('uint8')"


class ArraySource:
    """Images of an iterable as frames at a constant rate."""

    is_live = False
    name = description = "images"
    frame_count: int | None = None

    def __init__(self, images: Iterable[NDArray[np.uint8]], fps: float) -> None:
        self._images: Iterator[NDArray[np.uint8]] = iter(images)
        self._number, self.nominal_fps = 0, fps

    def read(self) -> Frame | None:
        """Return the next image, None after the last; HandvizError if it is no RGB image."""
        image = next(self._images, None)
        if image is None:
            return None
        number, self._number = self._number, self._number + 1
        return Frame(number, checked_rgb(image), now_ms())

    def seek(self, number: int) -> None:
        """Do nothing: an iterable has no earlier images."""

    def close(self) -> None:
        """Do nothing: the iterable belongs to the caller."""
