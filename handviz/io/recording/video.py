"""Pictures that come when they come -> a video of constant rate in true time.

Matroska, for it can be read up to its last cluster whatever ends the program; no other container that OpenCV writes
without an encoder to install can.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import HandvizError

RATE_HZ = 30.0
CODEC = "mp4v"


class SteadyVideo:
    """Shows every picture from its time until the next one's; of two pictures within one frame the later is shown."""

    def __init__(self, path: Path, size: tuple[int, int], rate_hz: float = RATE_HZ) -> None:
        """``size``: width and height; odd ones lose a row or column. Raises HandvizError if it cannot be written."""
        self.path, self.rate_hz = path, rate_hz
        self.size = max(size[0] // 2 * 2, 2), max(size[1] // 2 * 2, 2)
        self.frame_count = 0
        self._picture: NDArray[np.uint8] | None = None
        self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, _code(CODEC), rate_hz, self.size)
        if not self._writer.isOpened():
            raise HandvizError(f"{path} cannot be written as a video.")

    def show(self, picture_bgr: NDArray[np.uint8], at_s: float) -> None:
        """Show this picture (H, W, 3) of any size from ``at_s`` seconds after the beginning on."""
        self.go_on_until(at_s)
        self._picture = fitted(picture_bgr, self.size)

    def go_on_until(self, at_s: float) -> None:
        """Let the last picture stand until then."""
        while self._picture is not None and self.frame_count < int(at_s * self.rate_hz):
            self._writer.write(self._picture)
            self.frame_count += 1

    def close(self) -> None:
        """Write the last picture and the container's end."""
        if self._picture is not None:
            self._writer.write(self._picture)
            self.frame_count += 1
        self._writer.release()


def fitted(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture within ``size``: as it is if it fits, else scaled with its proportions kept, in the middle."""
    width, height = size
    if picture.shape[0] - height in (0, 1) and picture.shape[1] - width in (0, 1):
        return np.ascontiguousarray(picture[:height, :width])
    share = min(width / picture.shape[1], height / picture.shape[0])
    inner = max(round(picture.shape[1] * share), 1), max(round(picture.shape[0] * share), 1)
    whole = np.zeros((height, width, 3), dtype=np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    way = cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR
    whole[top : top + inner[1], left : left + inner[0]] = cv2.resize(picture, inner, interpolation=way)
    return whole


def _code(name: str) -> int:
    return int(cv2.VideoWriter.fourcc(*name))
