"""Videos of recordings: images at irregular times become a video of constant rate."""

import logging
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError

RATE_HZ = 30.0
STAND_IN_SUFFIX, STAND_IN_CODEC = ".mkv", "mp4v"
"""Matroska can be read up to its last cluster whatever ends the program."""
logger = logging.getLogger(__name__)


class Writer(Protocol):
    """Encoder of one video, by PyAV or OpenCV."""

    def write(self, image_bgr: NDArray[np.uint8], /) -> object:
        """Encode one more image (H, W, 3)."""
        ...

    def release(self) -> object:
        """Finish the file."""
        ...


class SteadyVideo:
    """Video of constant rate in which each image lasts until the next; of two within one frame the later is shown."""

    def __init__(self, path: Path, size: tuple[int, int], rate_hz: float = RATE_HZ) -> None:
        """Create a video of ``size`` (width, height), rounded down to even; raises HandvizError if that fails."""
        self.rate_hz = rate_hz
        self.size = max(size[0] // 2 * 2, 2), max(size[1] // 2 * 2, 2)
        self.frame_count = 0
        self._image: NDArray[np.uint8] | None = None
        self.path, self._writer = opened_writer(path, self.size, rate_hz)

    def show(self, image_bgr: NDArray[np.uint8], at_s: float) -> None:
        """Show this image (H, W, 3) of any size from ``at_s`` seconds after the start on."""
        self.extend_until(at_s)
        self._image = fitted(image_bgr, self.size)

    def extend_until(self, at_s: float) -> None:
        """Repeat the last image until then."""
        while self._image is not None and self.frame_count < int(at_s * self.rate_hz):
            self._writer.write(self._image)
            self.frame_count += 1

    def close(self) -> None:
        """Write the last image and the container's end; raises HandvizError if that fails."""
        try:
            if self._image is not None:
                self._writer.write(self._image)
                self.frame_count += 1
        finally:
            self._writer.release()


def opened_writer(path: Path, size: tuple[int, int], rate_hz: float) -> tuple[Path, Writer]:
    """Return the opened video and its path, which ends otherwise where OpenCV stands in; HandvizError if it fails."""
    try:
        from handviz.io.recording.mp4 import Mp4Writer

        return path, Mp4Writer(path, size, rate_hz)
    except ImportError:
        path = path.with_suffix(STAND_IN_SUFFIX)
        logger.warning("PyAV is missing (pip install av): OpenCV writes %s, which browsers do not play", path.name)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*STAND_IN_CODEC), rate_hz, size)
    if not writer.isOpened():
        raise HandvizError(f"{path} cannot be written as a video: choose another folder.", ErrorCode.NOT_WRITABLE)
    return path, writer


def fitted(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Fit an image to ``size`` (width, height): cropped by one pixel, or scaled and centred on black."""
    width, height = size
    if image.shape[0] - height in (0, 1) and image.shape[1] - width in (0, 1):
        return np.ascontiguousarray(image[:height, :width])
    fraction = min(width / image.shape[1], height / image.shape[0])
    inner = max(round(image.shape[1] * fraction), 1), max(round(image.shape[0] * fraction), 1)
    whole = np.zeros((height, width, 3), dtype=np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    method = cv2.INTER_AREA if fraction < 1 else cv2.INTER_LINEAR
    whole[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner, interpolation=method)
    return whole
