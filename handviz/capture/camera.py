"""A camera through OpenCV, with errors that say missing, busy or unplugged, and the cameras' names."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

# Read once, when OpenCV is loaded: without it Media Foundation takes up to a minute to open a camera,
# and a Linux camera that hangs holds every read for ten seconds.
os.environ.setdefault("OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS", "0")
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "5")

import cv2

from handviz.capture.images import now_ms, rgb_from_bgr
from handviz.errors import HandvizError
from handviz.records import Frame

WANTED_WIDTH, WANTED_HEIGHT, WANTED_FPS = 640, 480, 30
FAILED_READS_BEFORE_ERROR, LONGEST_SILENCE_MS = 5, 1000.0


@dataclass(frozen=True)
class CameraInfo:
    """A camera as the system names it."""

    index: int
    name: str


def list_cameras() -> list[CameraInfo]:
    """Cameras by the system's names, without opening any; empty where the system offers no list."""
    from cv2_enumerate_cameras import enumerate_cameras

    try:
        found = enumerate_cameras(_backends()[0])
    except (OSError, RuntimeError, ValueError, NotImplementedError):
        return []
    names = {int(item.index): str(item.name) for item in reversed(list(found))}
    return [CameraInfo(index=index, name=name) for index, name in sorted(names.items())]


class CameraSource:
    """Frames of a camera as they come."""

    is_live = True
    frame_count: int | None = None

    def __init__(self, index: int) -> None:
        self.name = f"camera {index}"
        self._number = 0
        self._capture = _open(index)
        for setting, value in (
            (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
            (cv2.CAP_PROP_FRAME_WIDTH, WANTED_WIDTH),
            (cv2.CAP_PROP_FRAME_HEIGHT, WANTED_HEIGHT),
            (cv2.CAP_PROP_FPS, WANTED_FPS),
        ):
            self._capture.set(setting, value)
        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.nominal_fps = float(self._capture.get(cv2.CAP_PROP_FPS)) or float(WANTED_FPS)
        self.description = f"{self.name}: {width}x{height}, {self.nominal_fps:.3g} fps"

    def read(self) -> Frame | None:
        """The next frame; HandvizError when the camera gives none any more."""
        asked_ms = now_ms()
        for _ in range(FAILED_READS_BEFORE_ERROR):
            found, image = self._capture.read()
            if found and image is not None and image.size:
                frame = Frame(number=self._number, image=rgb_from_bgr(image), captured_ms=now_ms())
                self._number += 1
                return frame
            if now_ms() - asked_ms > LONGEST_SILENCE_MS:
                break
        raise HandvizError(f"{self.name} gives no pictures any more: is it still plugged in?")

    def seek(self, number: int) -> None:
        """A camera cannot go back."""

    def close(self) -> None:
        """Give the camera back to the system."""
        self._capture.release()


def _backends() -> tuple[int, ...]:
    if sys.platform == "win32":
        return cv2.CAP_DSHOW, cv2.CAP_MSMF
    if sys.platform == "darwin":
        return (cv2.CAP_AVFOUNDATION,)
    return (cv2.CAP_V4L2,)


def _open(index: int) -> cv2.VideoCapture:
    device = Path(f"/dev/video{index}")
    if sys.platform.startswith("linux") and not device.exists():
        raise HandvizError(f"camera {index} is not there: plug one in, or choose a clip or folder")
    for backend in _backends():
        capture = cv2.VideoCapture(index, backend)
        if capture.isOpened():
            return capture
        capture.release()
    raise HandvizError(
        f"camera {index} does not open: it is missing, another program uses it, "
        "or this program may not use cameras (see the system's privacy settings)"
    )
