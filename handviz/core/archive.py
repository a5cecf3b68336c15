"""Reads npz files that may be damaged."""

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from handviz.core.errors import HandvizError

# What numpy and zipfile raise for a file that is missing, cut off, altered or something else.
UNREADABLE = (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)


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
