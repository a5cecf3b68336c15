"""Where frames come from: a camera, a clip, a folder of images or one image, all behind one interface."""

import json
import re
import stat
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Frame
from handviz.sources.camera import CameraInfo, CameraRequest, CameraSource, list_cameras
from handviz.sources.clips import ClipSource
from handviz.sources.images import IMAGE_SUFFIXES, now_ms, read_image

IMAGES_PER_SECOND = 1.0
COARSEST_TIME_NS = 2_000_000_000
DIGITS = re.compile(r"(\d+)")
__all__ = ["CameraInfo", "ClipSource", "FolderSource", "Source", "list_cameras", "open_source"]
CAMERA_PREFIX = "camera:"
IMAGES_PREFIX = "pictures:"


# Images of a folder, or several that were named, one after another in the order in which people count.


def natural_key(name: str) -> tuple[list[tuple[int, str, int]], str]:
    """Sorts "img2" before "img10", whatever the case of the letters."""
    parts = DIGITS.split(name.casefold())
    return [(0, "", int(part)) if part.isdecimal() else (1, part, 0) for part in parts if part], name


class FolderSource:
    """Images by natural order of their names; an unreadable one raises HandvizError once and is then passed."""

    is_live = False
    nominal_fps = IMAGES_PER_SECOND

    def __init__(self, paths: list[Path], *, name: str, folder: Path | None = None) -> None:
        """``folder``: where ``refresh`` looks for further images."""
        self.paths = paths
        self.name = name
        self._folder, self._changed_ns = folder, 0
        self._next = 0

    @classmethod
    def of_folder(cls, folder: Path) -> "FolderSource":
        """All images that lie in the folder itself; HandvizError if there are none."""
        visible = _images_in(folder)
        if not visible:
            raise HandvizError(
                f"{folder}: no images in this folder (looked for {', '.join(sorted(IMAGE_SUFFIXES))})",
                ErrorCode.EMPTY_INPUT,
            )
        return cls(visible, name=folder.resolve().name, folder=folder)

    @property
    def frame_count(self) -> int | None:
        """How many there are now."""
        return len(self.paths)

    @property
    def description(self) -> str:
        """What it is and how many."""
        return f"{self.name}: {len(self.paths)} image{'s' * (len(self.paths) != 1)}"

    def read(self) -> Frame | None:
        """The next image, None after the last; HandvizError names one that cannot be read."""
        if self._next >= len(self.paths):
            return None
        number = self._next
        self._next += 1
        path = self.paths[number]
        return Frame(number=number, image=read_image(path), captured_ms=now_ms(), name=path.name)

    def seek(self, number: int) -> None:
        """Go to an image; numbers outside are moved to the nearest."""
        self._next = min(max(number, 0), len(self.paths) - 1)

    def refresh(self) -> int | None:
        """Look whether the folder has changed: None if not, else the new number of the image that was read last.

        Raises HandvizError, and keeps what it had, while the folder or all of its images are gone.
        """
        if self._folder is None:
            return None
        try:
            changed_ns = self._folder.stat().st_mtime_ns
            if changed_ns == self._changed_ns:
                return None
            paths = _images_in(self._folder)
        except OSError as error:
            raise HandvizError(
                f"{self._folder}: the folder cannot be read any more ({error.strerror})", ErrorCode.FILE_UNREADABLE
            ) from error
        if not paths:
            raise HandvizError(f"{self._folder}: there are no images in this folder any more", ErrorCode.EMPTY_INPUT)
        # A folder's time may be coarse: what has just changed may change again within the same tick.
        is_settled = time.time_ns() - changed_ns > COARSEST_TIME_NS
        self._changed_ns = changed_ns if is_settled else 0
        return None if paths == self.paths else self._go_over_to(paths)

    def close(self) -> None:
        """Nothing is held open."""

    def _go_over_to(self, paths: list[Path]) -> int:
        before = self.paths[: self._next]
        self.paths = paths
        if before:
            last = natural_key(before[-1].name)
            self._next = sum(natural_key(path.name) <= last for path in paths)
        return self._next - 1


def of_images(paths: Iterable[Path]) -> FolderSource:
    """Several images that were chosen by themselves; HandvizError if none of them is there any more."""
    there = sorted((path for path in paths if path.is_file()), key=lambda path: natural_key(path.name))
    if not there:
        raise HandvizError("None of the images is there any more: choose others.", ErrorCode.FILE_MISSING)
    return FolderSource(there, name=there[0].name if len(there) == 1 else "chosen images")


def _images_in(folder: Path) -> list[Path]:
    paths = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    visible = [path for path in paths if not path.name.startswith(".")]
    return sorted(visible, key=lambda path: natural_key(path.name))


# Images of a camera that hangs sideways or upside down, turned upright before anything looks at them.


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


def open_source(text: str, camera: CameraRequest | None = None) -> Source:
    """Open "camera:0" as wished, "clip.mp4", "folder" or "image.jpg"; raises HandvizError with the reason."""
    if text.startswith(CAMERA_PREFIX):
        index = text.removeprefix(CAMERA_PREFIX)
        if not index.isdecimal():
            raise HandvizError(f"{text}: a camera is named by its number, for example camera:0", ErrorCode.BAD_VALUE)
        return CameraSource(int(index), camera)
    try:
        if text.startswith(IMAGES_PREFIX):
            return of_images(listed_images(text))
        return _open_path(Path(text).expanduser())
    except FileNotFoundError as error:
        raise HandvizError(
            f"{text}: there is no such file or folder (a camera is written camera:0)", ErrorCode.FILE_MISSING
        ) from error
    # A folder that may not be read, a name that is too long, a home that is unknown.
    except (OSError, RuntimeError, ValueError) as error:
        raise HandvizError(f"{text} cannot be opened ({error})", ErrorCode.FILE_UNREADABLE) from error


def text_of_images(paths: Sequence[Path]) -> str:
    """Several images as one text that ``open_source`` takes."""
    return IMAGES_PREFIX + json.dumps([str(path) for path in paths])


def listed_images(text: str) -> list[Path]:
    """The paths in a text of ``text_of_images``; ValueError if it is none."""
    paths = json.loads(text.removeprefix(IMAGES_PREFIX))
    if not isinstance(paths, list):
        raise ValueError("this is no list of images")
    return [Path(str(path)) for path in paths]


def source_exists(text: str) -> bool:
    """Whether a file, a folder or any of several images is still there; never true of a camera."""
    try:
        if text.startswith(IMAGES_PREFIX):
            return any(path.exists() for path in listed_images(text))
        return bool(text) and not text.startswith(CAMERA_PREFIX) and Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def _open_path(path: Path) -> Source:
    kind = path.stat().st_mode
    if stat.S_ISDIR(kind):
        return FolderSource.of_folder(path)
    if not stat.S_ISREG(kind):
        raise HandvizError(
            f"{path}: this is neither a file nor a folder (a camera is written camera:0)", ErrorCode.UNSUPPORTED_FORMAT
        )
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return FolderSource([path], name=path.name)
    return ClipSource(path)
