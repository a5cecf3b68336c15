"""Sources of frames behind one interface: a camera, a clip, a folder of images or one image."""

import dataclasses
import json
import logging
import re
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Frame
from handviz.sources.animations import AnimationReader
from handviz.sources.camera import CameraInfo, CameraRequest, CameraSource, list_cameras
from handviz.sources.clips import ClipSource
from handviz.sources.file_kinds import IMAGE_SUFFIXES, REASONS, is_image_file, kind_of, left_out, left_out_message
from handviz.sources.images import image_frame, image_kind

IMAGES_PER_SECOND = 1.0
COARSEST_TIME_NS = 2_000_000_000
DIGITS = re.compile(r"(\d+)")
__all__ = ["CameraInfo", "ClipSource", "FolderSource", "Source", "list_cameras", "open_source"]
CAMERA_PREFIX = "camera:"
IMAGES_PREFIX = "pictures:"
MAX_DIGITS = 9
"""Of a camera's number, which OpenCV takes as a 32-bit integer"""
MAX_SHOWN = 80
"""Characters of a camera's name in a message"""
logger = logging.getLogger(__name__)


def natural_key(name: str) -> tuple[list[tuple[int, str, int]], str]:
    """Return a key that sorts "img2" before "img10", whatever the case of the letters."""
    parts = DIGITS.split(name.casefold())
    return [(0, "", int(part)) if part.isdecimal() else (1, part, 0) for part in parts if part], name


class FolderSource:
    """Images in natural order of their names; an unreadable one raises HandvizError once and is then skipped."""

    is_live = False
    nominal_fps = IMAGES_PER_SECOND

    def __init__(self, paths: list[Path], *, name: str, folder: Path | None = None, note: str = "") -> None:
        """Take the images; ``folder`` is where ``refresh`` looks for further ones."""
        self.paths = paths
        self.note = note
        """Message on files of the folder that are not read; mostly empty."""
        self.name = name
        self._folder, self._changed_ns = folder, 0
        self._next = 0

    @classmethod
    def of_folder(cls, folder: Path) -> "FolderSource":
        """Open all images of a folder, not of folders below; HandvizError if there are none."""
        visible, unread = _images_in(folder), left_out_message(left_out(folder))
        if not visible:
            looked_for = f"no images in this folder (looked for {', '.join(sorted(IMAGE_SUFFIXES))})"
            raise HandvizError(f"{folder}: {'; '.join(filter(None, (looked_for, unread)))}", ErrorCode.EMPTY_INPUT)
        return cls(visible, name=folder.resolve().name, folder=folder, note=unread)

    @property
    def frame_count(self) -> int | None:
        """The present number of images."""
        return len(self.paths)

    @property
    def description(self) -> str:
        """Name and number of images, and what is not read."""
        counted = f"{self.name}: {len(self.paths)} image{'s' * (len(self.paths) != 1)}"
        return f"{counted}; {self.note}" if self.note else counted

    def read(self) -> Frame | None:
        """Return the next image, None after the last; HandvizError names one that cannot be read."""
        if self._next >= len(self.paths):
            return None
        number = self._next
        self._next += 1
        path = self.paths[number]
        return image_frame(path, number)

    def seek(self, number: int) -> None:
        """Go to an image; numbers outside are clamped."""
        self._next = min(max(number, 0), len(self.paths) - 1)

    def refresh(self) -> int | None:
        """Read a changed folder again: returns None if unchanged, else the new number of the image that was read last.

        Raises HandvizError, and keeps its images, while the folder or all of its images are missing.
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
            raise HandvizError(f"{self._folder}: no images are left in this folder", ErrorCode.EMPTY_INPUT)
        # A folder's timestamp may be coarse: it may change again within the same tick.
        is_settled = time.time_ns() - changed_ns > COARSEST_TIME_NS
        self._changed_ns = changed_ns if is_settled else 0
        return None if paths == self.paths else self._replace_paths(paths)

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _replace_paths(self, paths: list[Path]) -> int:
        before = self.paths[: self._next]
        self.paths = paths
        if before:
            last = natural_key(before[-1].name)
            self._next = sum(natural_key(path.name) <= last for path in paths)
        return self._next - 1


def of_images(paths: Iterable[Path]) -> FolderSource:
    """Open several chosen images; HandvizError if none of them exists."""
    there = sorted((path for path in paths if path.is_file()), key=lambda path: natural_key(path.name))
    if not there:
        raise HandvizError("None of the images exists any more: choose others.", ErrorCode.FILE_MISSING)
    return FolderSource(there, name=there[0].name if len(there) == 1 else "chosen images")


def _images_in(folder: Path) -> list[Path]:
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    images = [path for path in visible if path.is_file() and is_image_file(path)]
    return sorted(images, key=lambda path: natural_key(path.name))


class Source(Protocol):
    """Frames in order; a frame's ``number`` is its index in the clip or folder, or counts up for a camera."""

    name: str
    is_live: bool
    nominal_fps: float

    @property
    def description(self) -> str:
        """A short text for the user."""
        ...

    @property
    def frame_count(self) -> int | None:
        """The number of frames as far as is known; reading may correct it."""
        ...

    def read(self) -> Frame | None:
        """Return the next frame, None at the end; HandvizError if it cannot be read (the next call continues)."""
        ...

    def seek(self, number: int) -> None:
        """Let the next ``read`` return this frame; cameras ignore it."""
        ...

    def close(self) -> None:
        """Free the device or file; may be called twice."""
        ...


@runtime_checkable
class ChangingSource(Protocol):
    """A source whose number of frames may change while it is open."""

    def refresh(self) -> int | None:
        """Return None if unchanged, else the new number of the frame that was read last; HandvizError if none is left.

        Cheap enough to be called every few seconds.
        """
        ...


@runtime_checkable
class InterruptibleSource(Protocol):
    """A source whose ``seek`` may take long."""

    def interrupt(self) -> None:
        """End a running ``seek``; may be called from any thread."""
        ...


def open_source(text: str, camera: CameraRequest | None = None) -> Source:
    """Open "camera:0" as requested, "clip.mp4", "folder" or "image.jpg"; raises HandvizError with the reason."""
    if text.startswith(CAMERA_PREFIX):
        number = camera_number(text)
        if number is None:
            shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
            raise HandvizError(f"{shown}: give a camera by its number, for example camera:0", ErrorCode.BAD_VALUE)
        return CameraSource(number, camera)
    try:
        if text.startswith(IMAGES_PREFIX):
            return of_images(listed_images(text))
        return _open_path(Path(text).expanduser())
    except FileNotFoundError as error:
        raise HandvizError(
            f"{text}: there is no such file or folder (a camera is written camera:0)", ErrorCode.FILE_MISSING
        ) from error
    # Such as a folder without permission, a name that is too long, or an unknown home.
    except (OSError, RuntimeError, ValueError) as error:
        raise HandvizError(f"{text} cannot be opened ({error})", ErrorCode.FILE_UNREADABLE) from error


def camera_number(text: str) -> int | None:
    """Return the number of "camera:0"; None if the text does not name a camera by its number."""
    digits = text.removeprefix(CAMERA_PREFIX)
    # Python refuses to read thousands of digits.
    return int(digits) if text.startswith(CAMERA_PREFIX) and digits.isdecimal() and len(digits) <= MAX_DIGITS else None


def read_frames(source: Source, every: int = 1) -> Iterator[tuple[int, Frame | HandvizError]]:
    """Yield number and frame, or the error of reading it, of every N-th frame until the end.

    Logs a warning if a clip ends before its announced number of frames.
    """
    number, announced = 0, source.frame_count or 0
    while True:
        item: Frame | HandvizError | None
        try:
            item = source.read()
        except HandvizError as error:
            item = error
        if item is None:
            if isinstance(source, ClipSource) and number < announced:
                logger.warning("%s: of %d frames only %d can be read", source.name, announced, number)
            return
        if number % every == 0:
            yield number, item
        number += 1


def timed_frames(source: Source, every: int, fps: float) -> Iterator[Frame]:
    """Yield every N-th frame with its time since the first; HandvizError if one cannot be read.

    ``fps``: of frames that were not recorded with times, such as images of a folder.
    """
    start_ms: float | None = None
    for _, frame in read_frames(source, every):
        if isinstance(frame, HandvizError):
            raise frame
        if frame.time_ms is None:
            start_ms = frame.captured_ms if start_ms is None else start_ms
            time_ms = frame.captured_ms - start_ms if source.is_live else frame.number * 1000 / fps
            frame = dataclasses.replace(frame, time_ms=time_ms)
        yield frame


def text_of_images(paths: Sequence[Path]) -> str:
    """Return several images as one text for ``open_source``."""
    return IMAGES_PREFIX + json.dumps([str(path) for path in paths])


def listed_images(text: str) -> list[Path]:
    """Return the paths in a text of ``text_of_images``; ValueError if it is none."""
    paths = json.loads(text.removeprefix(IMAGES_PREFIX))
    if not isinstance(paths, list):
        raise ValueError("not a list of images")
    return [Path(str(path)) for path in paths]


def source_exists(text: str) -> bool:
    """Return whether a file, a folder or any of several images exists; False for cameras."""
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
            f"{path}: neither a file nor a folder (a camera is written camera:0)", ErrorCode.UNSUPPORTED_FORMAT
        )
    content = kind_of(path)
    if content in ("raw", "other"):
        raise HandvizError(f"{path}: {REASONS[content]}", ErrorCode.UNSUPPORTED_FORMAT)
    image = image_kind(path)
    if image == "animated":
        return ClipSource(path, AnimationReader(path))
    if image or (path.suffix.lower() in IMAGE_SUFFIXES and content != "clip"):
        return FolderSource([path], name=path.name)
    return ClipSource(path)
