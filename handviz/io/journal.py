"""The journal of a run: a file that gets a line of JSON for each image as soon as it is done.

``reconstruct`` and every shard of ``cluster`` have one. If the process is killed, at most the image under way is lost:
the lines up to the last whole one are kept when the run is resumed.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import open_atomic
from handviz.core.json_files import json_parser

Entry = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """What is read of an image's entry."""

    file: str
    hands: list[Any]
    error: str | None = None


class Journal:
    """A file of entries, open to append."""

    def __init__(self, path: Path, files: Iterable[str]) -> None:
        """Keep the whole lines that are the entries of these files, in order, and drop what follows.

        Raises OSError or HandvizError if the file cannot be written.
        """
        self.kept = _keep_whole_lines(path, files)
        """Number of entries that are there already."""
        self._path, self._file = path, path.open("ab")

    def append(self, entry: Entry) -> None:
        """Write an entry; HandvizError if another process took the file over, OSError if it cannot be written."""
        if not os.path.samestat(os.fstat(self._file.fileno()), self._path.stat()):
            raise HandvizError(f"another process resumed {self._path}: this one ends", ErrorCode.FOLDER_TAKEN)
        self._file.write(json.dumps(entry, allow_nan=False).encode("ascii") + b"\n")
        self._file.flush()

    def kept_entries(self) -> list[Entry]:
        """Return the entries that were there already."""
        return read_entries(self._path) if self.kept else []

    def close(self) -> None:
        """Close the file; an entry that a full disk refused is not tried again."""
        with contextlib.suppress(OSError):
            self._file.close()


def read_entries(path: Path) -> list[Entry]:
    """Return the entries of a journal, up to its last whole line; none if there is no such file."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def _keep_whole_lines(path: Path, files: Iterable[str]) -> int:
    """Replace a journal by a copy without an incomplete last line; returns the number of lines.

    If an earlier process still runs, it writes to the old file, which is not read any more.
    """
    kept = 0
    with open_atomic(path) as copy, contextlib.suppress(FileNotFoundError), path.open("rb") as old:
        for line, name in zip(old, files, strict=False):
            if not _is_line_of(line, name):
                break
            copy.write(line)
            kept += 1
    return kept


def _is_line_of(line: bytes, file: str) -> bool:
    try:
        return line.endswith(b"\n") and json_parser(Line)(line).file == file
    except (ValueError, RecursionError):
        return False
