"""Files that are there whole or not at all."""

import contextlib
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from handviz.core.errors import HandvizError

# What numpy and zipfile raise for a file that is missing, cut off, altered or something else.
UNREADABLE = (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)


# Reads npz files that may be damaged.


def read_arrays(path: Path, remedy: str, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """All arrays of an npz file, or those of these names; a HandvizError names the file and ends with the remedy."""
    if not path.is_file():
        raise HandvizError(f"{path} is missing: {remedy}")
    try:
        # Opened here: numpy leaves a file open that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in (archive.files if names is None else names)}
    except UNREADABLE as error:
        raise HandvizError(f"{path} is damaged ({error}): {remedy}") from error


# Files that are there whole or not at all.


def write_whole(files: Mapping[Path, bytes]) -> None:
    """Write all of them beside their places, then put them there in their order, the one that names the others last.

    Raises HandvizError if that is not possible; then that last one is as it was, and nothing unfinished stays.
    """
    unfinished = {path: path.with_name(path.name + ".part") for path in files}
    try:
        for path, content in files.items():
            unfinished[path].write_bytes(content)
        for path, part in unfinished.items():
            os.replace(part, path)
    except OSError as error:
        for part in unfinished.values():
            _remove(part)
        raise HandvizError(f"{path} cannot be written: {error}") from error


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:
        return  # its folder is none, or is gone


@contextlib.contextmanager
def writing_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write piece by piece; it is put in its place when the block ends, and thrown away if that fails.

    Raises HandvizError if it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, path)
    except OSError as error:
        _remove(part)
        raise HandvizError(f"{path} cannot be written: {error}") from error
    except BaseException:
        _remove(part)
        raise
