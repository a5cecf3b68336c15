"""Where frames come from: a camera, a clip, a folder of pictures or one picture, all behind one interface."""

import stat
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.capture.camera import CameraInfo, CameraSource, list_cameras
from handviz.capture.images import IMAGE_SUFFIXES, now_ms, read_image, rgb_from_bgr
from handviz.errors import HandvizError
from handviz.records import Frame

__all__ = ["CameraInfo", "ClipSource", "FolderSource", "Source", "list_cameras", "open_source"]

CAMERA_PREFIX = "camera:"
PICTURES_PER_SECOND = 1.0
CLIP_FALLBACK_FPS = 30.0


class Source(Protocol):
    """Frames in order; a frame's ``number`` is its place in the clip or folder, or counts up for a camera."""

    name: str
    description: str
    frame_count: int | None
    is_live: bool
    nominal_fps: float

    def read(self) -> Frame | None:
        """The next frame, None at the end; HandvizError if it cannot be had (the next call goes on)."""
        ...

    def seek(self, number: int) -> None:
        """Let the next ``read`` return this frame; cameras ignore it."""
        ...

    def close(self) -> None:
        """Free the device or file; may be called twice."""
        ...


def open_source(text: str) -> Source:
    """Open "camera:0", "clip.mp4", "folder" or "image.jpg"; raises HandvizError with the reason."""
    if text.startswith(CAMERA_PREFIX):
        index = text.removeprefix(CAMERA_PREFIX)
        if not index.isdecimal():
            raise HandvizError(f"{text}: a camera is named by its number, for example camera:0")
        return CameraSource(int(index))
    try:
        return _open_path(Path(text).expanduser())
    except FileNotFoundError as error:
        raise HandvizError(f"{text}: there is no such file or folder (a camera is written camera:0)") from error
    # A folder that may not be read, a name that is too long, a home that is unknown.
    except (OSError, RuntimeError, ValueError) as error:
        raise HandvizError(f"{text} cannot be opened ({error})") from error


def _open_path(path: Path) -> Source:
    if stat.S_ISDIR(path.stat().st_mode):
        return FolderSource.of_folder(path)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return FolderSource([path], name=path.name)
    return ClipSource(path)


class FolderSource:
    """Pictures by name order; an unreadable one raises HandvizError once and is then passed."""

    is_live = False
    nominal_fps = PICTURES_PER_SECOND

    def __init__(self, paths: list[Path], *, name: str) -> None:
        self.paths = paths
        self.name = name
        self.frame_count: int | None = len(paths)
        self.description = f"{name}: {len(paths)} picture{'s' * (len(paths) != 1)}"
        self._next = 0

    @classmethod
    def of_folder(cls, folder: Path) -> "FolderSource":
        """All pictures that lie in the folder itself; HandvizError if there are none."""
        paths = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
        visible = sorted((path for path in paths if not path.name.startswith(".")), key=lambda path: path.name)
        if not visible:
            raise HandvizError(f"{folder}: no pictures in this folder (looked for {', '.join(sorted(IMAGE_SUFFIXES))})")
        return cls(visible, name=folder.resolve().name)

    def read(self) -> Frame | None:
        """The next picture, None after the last; HandvizError names one that cannot be read."""
        if self._next >= len(self.paths):
            return None
        number = self._next
        self._next += 1
        path = self.paths[number]
        return Frame(number=number, image=read_image(path), captured_ms=now_ms(), name=path.name)

    def seek(self, number: int) -> None:
        """Go to a picture; numbers outside are moved to the nearest."""
        self._next = min(max(number, 0), len(self.paths) - 1)

    def close(self) -> None:
        """Nothing is held open."""


class ClipSource:
    """Frames of a video file."""

    is_live = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = path.name
        self._capture = _open_clip(path)
        self._first = self._decode()
        if self._first is None:
            self.close()
            raise HandvizError(f"{path}: the clip has no frames that can be read")
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.frame_count: int | None = count if count > 0 else None
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.nominal_fps = fps if 0.1 < fps < 1000 else CLIP_FALLBACK_FPS
        height, width = self._first.shape[:2]
        self.description = f"{path.name}: {width}x{height}, {self.nominal_fps:.3g} fps"
        self._next = 0

    def read(self) -> Frame | None:
        """The next frame, None at the end (a clip that breaks off ends there)."""
        image, self._first = (self._first, None) if self._first is not None else (self._decode(), None)
        if image is None:
            return None
        frame = Frame(number=self._next, image=image, captured_ms=now_ms())
        self._next += 1
        return frame

    def seek(self, number: int) -> None:
        """Go to a frame; numbers outside are moved to the nearest."""
        last = (self.frame_count or number + 1) - 1
        self._next = min(max(number, 0), last)
        self._first = None
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, self._next)

    def close(self) -> None:
        """Close the file; ``read`` then returns None."""
        self._first = None
        self._capture.release()

    def _decode(self) -> NDArray[np.uint8] | None:
        found, image = self._capture.read()
        return rgb_from_bgr(image) if found and image is not None else None


def _open_clip(path: Path) -> cv2.VideoCapture:
    for backend in (cv2.CAP_FFMPEG, cv2.CAP_ANY):
        capture = cv2.VideoCapture(str(path), backend)
        if capture.isOpened():
            return capture
        capture.release()
    raise HandvizError(f"{path}: neither a picture nor a clip that can be read on this machine")
