"""Files: reading those that may be damaged or anything else, and atomic writing of every result."""

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError, write_error_code

# What numpy and zipfile raise for a file that is missing, truncated, altered or something else.
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    RuntimeError,
    ArithmeticError,
    AttributeError,
    IndexError,
    MemoryError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
ALWAYS_ALLOWED_BYTES, ALLOWED_PER_BYTE = 64 * 2**20, 100
"""How much an npz file may unpack to: real arrays shrink little, zeros a thousandfold."""
MAX_ERROR_TEXT = 200
FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Of spreadsheets; the last four are the full-width forms that some of them accept."""
CONTROL_STARTS = ("\t", "\r", "\n")
UNFINISHED = ".part"
"""The suffix of files and folders that are being written."""
REMEDIES = {
    errno.ENOSPC: "free space on the disk, or choose another folder",
    errno.EDQUOT: "free space on the disk, or choose another folder",
    errno.ENOENT: "create its folder first, or choose another one",
    errno.ENOTDIR: "its folder is a file: choose another folder",
    errno.EISDIR: "a folder has that name: choose another name",
}
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
DISK_ERRORS = (*REMEDIES, *READ_ONLY, errno.ENAMETOOLONG, errno.EFBIG, errno.EIO, errno.ELOOP, errno.EEXIST)
"""What the system says of files and disks, not of programs."""
OTHER_REMEDY = "choose another folder, or make this one writable"


def read_arrays(path: Path, remedy: str, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Return all arrays of an npz file, or those of these names; a HandvizError names the file and the remedy."""
    if not path.is_file():
        raise HandvizError(f"{path} is missing: {remedy}", ErrorCode.FILE_MISSING)
    try:
        # Opened here: numpy leaves a file open that it cannot read.
        with path.open("rb") as file:
            return arrays_in(file, names)
    except UNREADABLE as error:
        raise HandvizError(f"{path} is damaged ({_brief(error)}): {remedy}", ErrorCode.FILE_DAMAGED) from error


def arrays_in(file: BinaryIO, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of an open npz file; one of UNREADABLE if it is damaged or unpacks to far more than it is."""
    allowed = ALWAYS_ALLOWED_BYTES + ALLOWED_PER_BYTE * file.seek(0, os.SEEK_END)
    file.seek(0)
    with zipfile.ZipFile(file) as packed:
        if sum(entry.file_size for entry in packed.infolist()) > allowed:
            raise ValueError(f"it unpacks to more than {allowed // 2**20} MB")
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in (archive.files if names is None else names)}
    for name, array in arrays.items():
        # numpy returns the bytes of a member that is no array.
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name[:MAX_ERROR_TEXT]} is no array")
    return arrays


def spreadsheet_text(text: str) -> str:
    """Return a text for a cell of a CSV file that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip().startswith(FORMULA_STARTS) or text.startswith(CONTROL_STARTS) else text


def _brief(error: Exception) -> str:
    """Return an error's text, without most of the damaged content that some repeat."""
    text = str(error) or type(error).__name__
    return text if len(text) <= MAX_ERROR_TEXT else f"{text[:MAX_ERROR_TEXT]}…"


def read_limited(path: Path, max_bytes: int, remedy: str) -> bytes:
    """Return the content of a file; a HandvizError names it and the remedy where it is none, or larger than allowed."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            # A pipe would wait for its other end.
            raise HandvizError(f"{path} is not a file: {remedy}", ErrorCode.FILE_UNREADABLE)
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        code = ErrorCode.FILE_MISSING if is_missing else ErrorCode.FILE_UNREADABLE
        raise HandvizError(f"{path} cannot be read ({error.strerror or error}): {remedy}", code) from error
    if len(content) > max_bytes:
        raise HandvizError(
            f"{path} is larger than {max_bytes:,} bytes, too large for its kind: {remedy}", ErrorCode.TOO_LARGE
        )
    return content


# The one atomic writer. Content goes into a temporary file beside the target, under a name unique to process and call,
# which replaces the target when it is complete. A symbolic link there is replaced, never followed. An error or Ctrl+C
# leaves nothing unfinished, unless the process is killed. All functions raise HandvizError with the path and a remedy.


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write all files beside their targets, then move them there in order: the one that names the others comes last.

    On HandvizError that last one is unchanged.
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
    """Open a file to write piece by piece; it replaces ``path`` when the block ends, and is removed on an error."""
    part = unfinished_path(path)
    with _error_names(path), contextlib.ExitStack() as unfinished:
        with _created(part, unfinished) as file:
            yield file
        os.replace(part, path)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a name, with the suffix of ``path``, for libraries that open files themselves; else as ``open_atomic``.

    The name lies in a folder of its own, where no other user can create a link.
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
    # Cut, because the name may already be as long as the system allows.
    return path.parent / f"{path.name[:40]}.{os.getpid()}-{secrets.token_hex(8)}{UNFINISHED}"


def not_writable(path: Path, error: OSError) -> HandvizError:
    """Return the error for a ``path`` that cannot be written, with cause and remedy."""
    remedy = REMEDIES.get(error.errno or 0, OTHER_REMEDY)
    return HandvizError(f"{path} cannot be written ({error.strerror or error}): {remedy}", write_error_code(error))


def disk_message(error: OSError) -> str:
    """Return cause and remedy of an error that lies in a file or disk; empty for any other, which is a fault."""
    if error.errno not in DISK_ERRORS:
        return ""
    name = "a file" if error.filename is None else os.fsdecode(error.filename)
    remedy = REMEDIES.get(error.errno, OTHER_REMEDY)
    return f"{name} cannot be read or written ({error.strerror}): {remedy}"


def make_folder(folder: Path) -> Path:
    """Create a folder and those around it, where they are missing; HandvizError if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, OTHER_REMEDY)
        raise HandvizError(
            f"the folder {folder} cannot be made ({error.strerror or error}): {remedy}", write_error_code(error)
        ) from error
    return folder


def is_usable(folder: Path) -> bool:
    """Return whether files can be written into a folder, by writing one."""
    try:
        _write_probe(folder / "probe")
    except OSError:
        return False
    return True


def check_writable(path: Path) -> None:
    """Make the folder of a file that long work ends with; HandvizError if the file could not be written there."""
    make_folder(path.parent)
    with _error_names(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _write_probe(path)


def _write_probe(path: Path) -> None:
    """Write a file beside a path and remove it; OSError if that is not possible."""
    with contextlib.ExitStack() as unfinished, _created(unfinished_path(path), unfinished) as file:
        file.write(bytes(4096))


@contextlib.contextmanager
def _error_names(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise not_writable(path, error) from error


def _created(part: Path, unfinished: contextlib.ExitStack) -> BinaryIO:
    """Create a file that must not exist, not even as a link (O_CREAT | O_EXCL); the stack's end removes a left one."""
    file = part.open("xb")
    unfinished.callback(_remove, part)
    return file


def _remove(part: Path) -> None:
    with contextlib.suppress(OSError):  # the folder was removed
        part.unlink(missing_ok=True)
