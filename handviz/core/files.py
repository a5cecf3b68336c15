"""Files: arrays that may be damaged are read with care, and every result is written whole or not at all."""

import contextlib
import errno
import os
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError, write_error_code

# What numpy and zipfile raise for a file that is missing, cut off, altered or something else.
UNREADABLE = (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)
UNFINISHED = ".part"
"""The suffix of files and folders that are being written."""
REMEDIES = {
    errno.ENOSPC: "make room on the disk, or choose another folder",
    errno.EDQUOT: "make room on the disk, or choose another folder",
    errno.ENOENT: "make its folder first, or choose another one",
    errno.ENOTDIR: "its folder is a file: choose another folder",
    errno.EISDIR: "a folder has that name: choose another name",
}
OTHER_REMEDY = "choose another folder, or let this one be written"


# Reads npz files that may be damaged.


def read_arrays(path: Path, remedy: str, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Return all arrays of an npz file, or those of these names; a HandvizError names the file and the remedy."""
    if not path.is_file():
        raise HandvizError(f"{path} is missing: {remedy}", ErrorCode.FILE_MISSING)
    try:
        # Opened here: numpy leaves a file open that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in (archive.files if names is None else names)}
    except UNREADABLE as error:
        raise HandvizError(f"{path} is damaged ({error}): {remedy}", ErrorCode.FILE_DAMAGED) from error


# The one atomic writer. Content goes into a file beside its place, under a name that no other process or call has,
# and is moved to its place when it is complete. A symbolic link at that place is replaced, never followed: the file
# that it pointed to stays as it is. Whatever ends the writing (an error, Ctrl+C), nothing unfinished stays, unless
# the process is killed. All of it raises HandvizError with the path and a remedy.


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write all files beside their places, then move them there in their order, the one that names the others last.

    If that is not possible, HandvizError; then that last one is as it was.
    """
    parts = {path: unfinished_path(path) for path in files}
    with contextlib.ExitStack() as unfinished:
        for path, content in files.items():
            with _error_names(path):
                file = _created(parts[path], unfinished)
                with file:
                    file.write(content)
        for path, part in parts.items():
            with _error_names(path):
                os.replace(part, path)


@contextlib.contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write piece by piece; it takes its place when the block ends, and is removed if that fails."""
    part = unfinished_path(path)
    with _error_names(path), contextlib.ExitStack() as unfinished:
        with _created(part, unfinished) as file:
            yield file
        os.replace(part, path)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Return a name, with the suffix of ``path``, for libraries that open files themselves; as ``open_atomic`` else.

    The name lies in a folder of its own, where nobody else can plant a link.
    """
    folder = unfinished_path(path)
    with _error_names(path), contextlib.ExitStack() as unfinished:
        folder.mkdir(mode=0o700)
        unfinished.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder / path.name
        os.replace(folder / path.name, path)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an npz file whole or not at all."""
    columns: dict[str, Any] = dict(arrays)
    with open_atomic(path) as file:
        np.savez(file, **columns)


def unfinished_path(path: Path) -> Path:
    """Return a name beside ``path`` that no other process and no other call uses."""
    # Cut, for a file's name may be as long as the system allows already.
    return path.parent / f"{path.name[:40]}.{os.getpid()}-{secrets.token_hex(8)}{UNFINISHED}"


def not_writable(path: Path, error: OSError) -> HandvizError:
    """Return the error that says that ``path`` cannot be written, why, and what to do about it."""
    remedy = REMEDIES.get(error.errno or 0, OTHER_REMEDY)
    return HandvizError(f"{path} cannot be written ({error.strerror or error}): {remedy}", write_error_code(error))


@contextlib.contextmanager
def _error_names(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise not_writable(path, error) from error


def _created(part: Path, unfinished: contextlib.ExitStack) -> BinaryIO:
    """Create a file that must not be there (O_CREAT | O_EXCL: a link of that name is no file to write into either).

    It is removed when the stack ends, if it still has that name.
    """
    file = part.open("xb")
    unfinished.callback(_remove, part)
    return file


def _remove(part: Path) -> None:
    with contextlib.suppress(OSError):  # its folder is gone
        part.unlink(missing_ok=True)
