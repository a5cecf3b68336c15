"""Opens the pictures of a dataset, and says in a sentence which one cannot be used."""

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import HandvizError

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"


def read_picture(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """(H, W, 3) RGB; HandvizError for a file that is missing, damaged or, where ``size`` (W, H) is given, another's."""
    # The stored orientation is ignored: annotations belong to the pixels as they are stored.
    picture = _decoded(path, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    return _of_size(picture, path, size)


def read_mask(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """(H, W) grey; errors as ``read_picture``."""
    return _of_size(_decoded(path, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION), path, size)


def file_names(folder: Path) -> frozenset[str]:
    """Names of what lies in the folder; none if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries)
    except OSError:
        return frozenset()


def _decoded(path: Path, flags: int) -> NDArray[np.uint8]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HandvizError(f"{path} cannot be read ({error.strerror or error}).") from error
    # OpenCV fills what is missing of a JPEG with grey and says so on the terminal alone.
    if data.startswith(JPEG_START) and JPEG_END not in data[-64:]:
        raise HandvizError(f"{path} is cut off: the download or the disk is not whole.")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        picture = None
    if picture is None:
        raise HandvizError(f"{path} is not a picture, or is damaged.")
    return np.asarray(picture, np.uint8)


def _of_size(picture: NDArray[np.uint8], path: Path, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    if size is not None and (width, height) != size:
        raise HandvizError(
            f"{path} is {width} x {height} pixels and its camera is that of {size[0]} x {size[1]}: "
            "use the pictures as they were downloaded."
        )
    return picture
