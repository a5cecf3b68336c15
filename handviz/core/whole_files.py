"""Files that are there whole or not at all."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from handviz.core.errors import HandvizError


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
