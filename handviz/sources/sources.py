"""Where frames come from: a camera, a clip, a folder of pictures or one picture, all behind one interface."""

import json
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from handviz.core.errors import HandvizError
from handviz.core.records import Frame
from handviz.sources.camera import CameraInfo, CameraSource, CameraWish, list_cameras
from handviz.sources.clips import ClipSource
from handviz.sources.folders import FolderSource, of_pictures
from handviz.sources.images import IMAGE_SUFFIXES

__all__ = ["CameraInfo", "ClipSource", "FolderSource", "Source", "list_cameras", "open_source"]

CAMERA_PREFIX = "camera:"
PICTURES_PREFIX = "pictures:"


class Source(Protocol):
    """Frames in order; a frame's ``number`` is its place in the clip or folder, or counts up for a camera."""

    name: str
    is_live: bool
    nominal_fps: float

    @property
    def description(self) -> str:
        """What it is, in a few words."""
        ...

    @property
    def frame_count(self) -> int | None:
        """How many frames there are as far as is known; it may turn out otherwise while they are read."""
        ...

    def read(self) -> Frame | None:
        """The next frame, None at the end; HandvizError if it cannot be had (the next call goes on)."""
        ...

    def seek(self, number: int) -> None:
        """Let the next ``read`` return this frame; cameras ignore it."""
        ...

    def close(self) -> None:
        """Free the device or file; may be called twice."""
        ...


@runtime_checkable
class ChangingSource(Protocol):
    """A source whose frames may become more or fewer while it is open."""

    def refresh(self) -> int | None:
        """None if nothing has changed, else the new number of the frame that was read last; HandvizError if all went.

        It is cheap enough to be asked every few seconds.
        """
        ...


@runtime_checkable
class InterruptibleSource(Protocol):
    """A source whose ``seek`` may take long."""

    def interrupt(self) -> None:
        """End a ``seek`` that is under way; may be called from any thread."""
        ...


def open_source(text: str, camera: CameraWish | None = None) -> Source:
    """Open "camera:0" as wished, "clip.mp4", "folder" or "image.jpg"; raises HandvizError with the reason."""
    if text.startswith(CAMERA_PREFIX):
        index = text.removeprefix(CAMERA_PREFIX)
        if not index.isdecimal():
            raise HandvizError(f"{text}: a camera is named by its number, for example camera:0")
        return CameraSource(int(index), camera)
    try:
        if text.startswith(PICTURES_PREFIX):
            return of_pictures(listed_pictures(text))
        return _open_path(Path(text).expanduser())
    except FileNotFoundError as error:
        raise HandvizError(f"{text}: there is no such file or folder (a camera is written camera:0)") from error
    # A folder that may not be read, a name that is too long, a home that is unknown.
    except (OSError, RuntimeError, ValueError) as error:
        raise HandvizError(f"{text} cannot be opened ({error})") from error


def text_of_pictures(paths: Sequence[Path]) -> str:
    """Several pictures as one text that ``open_source`` takes."""
    return PICTURES_PREFIX + json.dumps([str(path) for path in paths])


def listed_pictures(text: str) -> list[Path]:
    """The paths in a text of ``text_of_pictures``; ValueError if it is none."""
    paths = json.loads(text.removeprefix(PICTURES_PREFIX))
    if not isinstance(paths, list):
        raise ValueError("this is no list of pictures")
    return [Path(str(path)) for path in paths]


def source_exists(text: str) -> bool:
    """Whether a file, a folder or any of several pictures is still there; never true of a camera."""
    try:
        if text.startswith(PICTURES_PREFIX):
            return any(path.exists() for path in listed_pictures(text))
        return bool(text) and not text.startswith(CAMERA_PREFIX) and Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def _open_path(path: Path) -> Source:
    kind = path.stat().st_mode
    if stat.S_ISDIR(kind):
        return FolderSource.of_folder(path)
    if not stat.S_ISREG(kind):
        raise HandvizError(f"{path}: this is neither a file nor a folder (a camera is written camera:0)")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return FolderSource([path], name=path.name)
    return ClipSource(path)
