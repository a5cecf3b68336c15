"""Cameras through OpenCV: their names, frames, and errors for missing, busy or unplugged ones."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Read when OpenCV is loaded: without them Media Foundation takes up to a minute to open a camera, and a Linux camera
# that hangs blocks every read for ten seconds.
os.environ.setdefault("OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS", "0")
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "5")

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Frame
from handviz.sources.images import now_ms
from handviz.sources.samples import bits_of

FAILED_READS_BEFORE_ERROR, MAX_SILENCE_MS = 5, 1000.0
CHECK_PLUG = "check that it is plugged in"
JPEG_START = b"\xff\xd8\xff"
RGB_FROM = {1: cv2.COLOR_GRAY2RGB, 2: cv2.COLOR_YUV2RGB_YUYV, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
"""OpenCV's conversion by the number of channels."""
SAME_FPS = 1.0
"""Drivers report 29.97 for 30."""


@dataclass(frozen=True)
class CameraMode:
    """Size and frame rate of a camera."""

    width: int
    height: int
    fps: float

    def __str__(self) -> str:
        """Return the mode as text for the user."""
        return f"{self.width}x{self.height} at {self.fps:.3g}"

    def is_like(self, other: "CameraMode") -> bool:
        """Return whether both are the same mode, up to a driver's rounding."""
        same_size = (self.width, self.height) == (other.width, other.height)
        return same_size and abs(self.fps - other.fps) <= SAME_FPS


USUAL_MODE = CameraMode(640, 480, 30)
OFFERED_MODES = (
    USUAL_MODE,
    CameraMode(640, 480, 60),
    CameraMode(800, 600, 30),
    CameraMode(1280, 720, 30),
    CameraMode(1280, 720, 60),
    CameraMode(1920, 1080, 30),
    CameraMode(320, 240, 30),
)


@dataclass(frozen=True)
class CameraInfo:
    """A camera as the system lists it."""

    index: int
    name: str
    port: str = ""
    """The system's name of its port, which stays when ``index`` changes; empty if unknown."""

    def is_same(self, other: "CameraInfo") -> bool:
        """Return whether both are one camera, at one port."""
        return (self.name, self.port or self.index) == (other.name, other.port or other.index)


@dataclass(frozen=True)
class CameraRequest:
    """A requested camera and mode."""

    mode: CameraMode = USUAL_MODE
    camera: CameraInfo | None = None
    """None if only its number is known."""


def list_cameras() -> list[CameraInfo]:
    """Return the system's list of cameras, without opening any; empty where there is none."""
    from cv2_enumerate_cameras import enumerate_cameras

    try:
        found = enumerate_cameras(_backends()[0])
    except (OSError, RuntimeError, ValueError, NotImplementedError):
        return []
    known = {int(item.index): item for item in reversed(list(found))}
    return [CameraInfo(index, str(item.name), _port(index, item.path)) for index, item in sorted(known.items())]


def find_again(lost: CameraInfo, cameras: Sequence[CameraInfo], others: Sequence[CameraInfo] = ()) -> CameraInfo | None:
    """Find a camera at its port, or at another one if it has moved; None while it is unplugged.

    ``others``: cameras that were plugged in beside it; one of the same name among them is not the lost one.
    """
    alike = [camera for camera in cameras if camera.name == lost.name]
    same = [camera for camera in alike if camera.is_same(lost)]
    moved = [camera for camera in alike if not any(camera.is_same(other) for other in others)]
    return next(iter([*same, *moved]), None)


def device_hint() -> frozenset[str] | None:
    """Return a value, cheap to get, that changes when a camera is plugged in or out; None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return frozenset(name for name in os.listdir("/dev") if name.startswith("video"))
    except OSError:
        return None


class CameraSource:
    """Live frames of a camera."""

    is_live = True
    frame_count: int | None = None

    def __init__(self, index: int, request: CameraRequest | None = None) -> None:
        """Open a camera and request a mode; ``description`` states the mode that the camera chose."""
        request = request or CameraRequest()
        mode = request.mode
        self.name = request.camera.name if request.camera else f"camera {index}"
        self._number, self._reason, self._bits = 0, CHECK_PLUG, 8
        self._capture = _open(index, self.name)
        for setting, value in (
            (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
            (cv2.CAP_PROP_FRAME_WIDTH, mode.width),
            (cv2.CAP_PROP_FRAME_HEIGHT, mode.height),
            (cv2.CAP_PROP_FPS, mode.fps),
        ):
            self._capture.set(setting, value)
        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.nominal_fps = float(self._capture.get(cv2.CAP_PROP_FPS)) or float(mode.fps)
        got = CameraMode(width, height, self.nominal_fps)
        if got.is_like(mode):
            self.description = f"{self.name}: {width}x{height}, {self.nominal_fps:.3g} fps"
        else:
            self.description = f"{self.name}: requested {mode}, got {got}"

    def read(self) -> Frame | None:
        """Return the next frame; HandvizError when the camera stops delivering them."""
        asked_ms = now_ms()
        for _ in range(FAILED_READS_BEFORE_ERROR):
            image = self._next_image()
            if image is not None:
                frame = Frame(number=self._number, image=image, captured_ms=now_ms())
                self._number += 1
                return frame
            if now_ms() - asked_ms > MAX_SILENCE_MS:
                break
        raise HandvizError(f"{self.name} stopped delivering images: {self._reason}", ErrorCode.CAMERA_LOST)

    def _next_image(self) -> NDArray[np.uint8] | None:
        """Return RGB (H, W, 3); None if the camera gave nothing, or something else, which ``_reason`` then says."""
        try:
            found, image = self._capture.read()
            self._reason = CHECK_PLUG
            if not found or image is None or not image.size:
                return None
            self._bits = max(self._bits, bits_of(image))
            return rgb_of_camera(image, self._bits)
        except (cv2.error, ValueError, TypeError, AttributeError) as error:
            self._reason = f"choose another mode, its images cannot be converted ({error})"
            return None

    def seek(self, number: int) -> None:
        """Do nothing: a camera has no earlier frames."""

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()


def rgb_of_camera(image: NDArray[Any], bits: int = 8) -> NDArray[np.uint8]:
    """Convert what a camera gives to RGB (H, W, 3): grey, BGR, BGRA, YUYV (H, W, 2), or a JPEG's bytes.

    ``bits`` is the depth of integers wider than a byte, floats are from 0 to 1. Raises ValueError for anything else.
    """
    if image.dtype.kind == "f":
        image = np.nan_to_num(np.clip(image, 0, 1)) * 255
    elif image.dtype.kind not in "ui":
        raise ValueError(f"they are of type {image.dtype}")
    elif image.dtype.itemsize > 1:
        image = np.clip(image, 0, None) / ((1 << bits) - 1) * 255
    image = np.ascontiguousarray(np.rint(image) if image.dtype.kind == "f" else image, dtype=np.uint8)
    if image.ravel()[: len(JPEG_START)].tobytes() == JPEG_START and 1 in image.shape[:2]:
        image = cv2.imdecode(image.ravel(), cv2.IMREAD_COLOR)  # type: ignore[assignment]
    channels = 1 if image.ndim == 2 else image.shape[2] if image.ndim == 3 else 0
    if channels not in RGB_FROM:
        raise ValueError(f"they have shape {image.shape}")
    return np.asarray(cv2.cvtColor(image, RGB_FROM[channels]), dtype=np.uint8)


def _port(index: int, path: str | None) -> str:
    if not sys.platform.startswith("linux"):
        return path or ""
    # "/dev/video0" is only a number; the device behind it has a fixed path in the tree of buses, and may have several
    # video streams, which it numbers itself.
    folder = f"/sys/class/video4linux/video{index}"
    try:
        count = Path(folder, "index").read_text(encoding="ascii", errors="replace").strip()
        return f"{os.path.realpath(Path(folder, 'device'), strict=True)}:{count}"
    except OSError:
        return ""


def _backends() -> tuple[int, ...]:
    if sys.platform == "win32":
        return cv2.CAP_DSHOW, cv2.CAP_MSMF
    if sys.platform == "darwin":
        return (cv2.CAP_AVFOUNDATION,)
    return (cv2.CAP_V4L2,)


def _open(index: int, name: str) -> cv2.VideoCapture:
    device = Path(f"/dev/video{index}")
    if sys.platform.startswith("linux") and not device.exists():
        raise HandvizError(f"{name} does not exist: plug it in, or choose a clip or folder", ErrorCode.CAMERA_MISSING)
    for backend in _backends():
        capture = cv2.VideoCapture(index, backend)
        if capture.isOpened():
            return capture
        capture.release()
    raise HandvizError(
        f"{name} does not open: check that it is plugged in, that no other program uses it, "
        "and that the system's privacy settings allow cameras",
        ErrorCode.CAMERA_BUSY,
    )
