"""Pictures of a folder, or several that were named, one after another in the order in which people count."""

import re
import time
from collections.abc import Iterable
from pathlib import Path

from handviz.core.errors import HandvizError
from handviz.core.records import Frame
from handviz.sources.images import IMAGE_SUFFIXES, now_ms, read_image

PICTURES_PER_SECOND = 1.0
COARSEST_TIME_NS = 2_000_000_000
DIGITS = re.compile(r"(\d+)")


def natural_key(name: str) -> tuple[list[tuple[int, str, int]], str]:
    """Sorts "img2" before "img10", whatever the case of the letters."""
    parts = DIGITS.split(name.casefold())
    return [(0, "", int(part)) if part.isdecimal() else (1, part, 0) for part in parts if part], name


class FolderSource:
    """Pictures by natural order of their names; an unreadable one raises HandvizError once and is then passed."""

    is_live = False
    nominal_fps = PICTURES_PER_SECOND

    def __init__(self, paths: list[Path], *, name: str, folder: Path | None = None) -> None:
        """``folder``: where ``refresh`` looks for further pictures."""
        self.paths = paths
        self.name = name
        self._folder, self._changed_ns = folder, 0
        self._next = 0

    @classmethod
    def of_folder(cls, folder: Path) -> "FolderSource":
        """All pictures that lie in the folder itself; HandvizError if there are none."""
        visible = _pictures_in(folder)
        if not visible:
            raise HandvizError(f"{folder}: no pictures in this folder (looked for {', '.join(sorted(IMAGE_SUFFIXES))})")
        return cls(visible, name=folder.resolve().name, folder=folder)

    @property
    def frame_count(self) -> int | None:
        """How many there are now."""
        return len(self.paths)

    @property
    def description(self) -> str:
        """What it is and how many."""
        return f"{self.name}: {len(self.paths)} picture{'s' * (len(self.paths) != 1)}"

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

    def refresh(self) -> int | None:
        """Look whether the folder has changed: None if not, else the new number of the picture that was read last.

        Raises HandvizError, and keeps what it had, while the folder or all of its pictures are gone.
        """
        if self._folder is None:
            return None
        try:
            changed_ns = self._folder.stat().st_mtime_ns
            if changed_ns == self._changed_ns:
                return None
            paths = _pictures_in(self._folder)
        except OSError as error:
            raise HandvizError(f"{self._folder}: the folder cannot be read any more ({error.strerror})") from error
        if not paths:
            raise HandvizError(f"{self._folder}: there are no pictures in this folder any more")
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


def of_pictures(paths: Iterable[Path]) -> FolderSource:
    """Several pictures that were chosen by themselves; HandvizError if none of them is there any more."""
    there = sorted((path for path in paths if path.is_file()), key=lambda path: natural_key(path.name))
    if not there:
        raise HandvizError("None of the pictures is there any more: choose others.")
    return FolderSource(there, name=there[0].name if len(there) == 1 else "chosen pictures")


def _pictures_in(folder: Path) -> list[Path]:
    paths = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    visible = [path for path in paths if not path.name.startswith(".")]
    return sorted(visible, key=lambda path: natural_key(path.name))
