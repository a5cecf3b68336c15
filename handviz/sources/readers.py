"""What reads the frames of one clip: the interface, and OpenCV, which stands in where PyAV is missing."""

from collections.abc import Callable, Generator
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.sources.images import rgb_from_bgr

FALLBACK_FPS, MIN_FPS, MAX_FPS = 30.0, 0.1, 1000.0


class Shown(NamedTuple):
    """A frame: number, presentation time from the beginning, and how to get its (H, W, 3) RGB, if not damaged."""

    number: int
    time_ms: float
    image: Callable[[], NDArray[np.uint8]]


class Reader(Protocol):
    """Frames of one file, by PyAV, OpenCV or Pillow."""

    fps: float
    has_constant_rate: bool

    @property
    def count(self) -> int | None:
        """The number of frames as far as is known."""
        ...

    def frames(self, number: int, is_interrupted: Callable[[], bool]) -> Generator[Shown, None, None]:
        """Yield this frame and those after it, or from one on the way if interrupted; ends an earlier iterator."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def unreadable(path: Path, error: BaseException | None, code: ErrorCode) -> HandvizError:
    """Return the error for a file that cannot be read: for the reason that ``error`` is, else with ``code``."""
    if isinstance(error, FileNotFoundError):
        return HandvizError(f"{path}: there is no such file", ErrorCode.FILE_MISSING)
    if isinstance(error, PermissionError):
        return HandvizError(f"{path} may not be read: allow it first", ErrorCode.FILE_UNREADABLE)
    if isinstance(error, MemoryError):
        return HandvizError(f"{path}: too large for this machine's memory", ErrorCode.TOO_LARGE)
    return HandvizError(f"{path}: neither an image nor a clip in a format that this machine can read: convert it", code)


def frame_rate(fps: float | Fraction) -> float:
    """Return a rate as stated in a header, or the usual one instead of an impossible one."""
    return float(fps) if MIN_FPS < fps < MAX_FPS else FALLBACK_FPS


class OpenCvReader:
    """Reader that counts frames from the beginning, because OpenCV's jumps miss frames."""

    has_constant_rate = True

    def __init__(self, path: Path) -> None:
        self._path, self._capture = path, cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise unreadable(path, None, ErrorCode.UNSUPPORTED_FORMAT)
        announced = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.fps = frame_rate(self._capture.get(cv2.CAP_PROP_FPS))
        self.count = announced if announced > 0 else None

    def frames(self, number: int, is_interrupted: Callable[[], bool]) -> Generator[Shown, None, None]:
        """Yield from this frame on, or from one on the way if interrupted."""
        self._capture.open(str(self._path), cv2.CAP_FFMPEG)
        start_ms = 0.0
        for at in count():
            if not self._capture.grab():
                self.count = at
                return
            time_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
            start_ms = start_ms if at else time_ms
            if at >= number or is_interrupted():
                yield Shown(at, time_ms - start_ms, self._image)

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def _image(self) -> NDArray[np.uint8]:
        found, image = self._capture.retrieve()
        if not found:
            raise HandvizError(f"{self._path}: a frame cannot be decoded", ErrorCode.FILE_DAMAGED)
        return rgb_from_bgr(image)
