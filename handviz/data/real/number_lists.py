"""JSON files that are one long list of point sets: a gigabyte of text becomes an array, once.

``json`` would make a Python object of each of 47 million numbers (HO-3D v3's vertices). Here the text goes through
numpy piece by piece, and the array is kept in the user's cache folder as a file that is mapped, not loaded.
"""

import logging
import os
import re
from pathlib import Path

import numpy as np

from handviz.data.real.index import stamp_of
from handviz.errors import HandvizError
from handviz.records import FloatArray

logger = logging.getLogger(__name__)
PIECE_BYTES = 16 * 2**20
BRACKETS = b"[]"
ALLOWED = re.compile(rb"[-+.,eE0-9\s\[\]]*")


def read_points(path: Path, points: int, folder: Path) -> FloatArray:
    """(N, points, 3) single precision, read-only; HandvizError for a file that is missing, cut off or other."""
    kept = folder / f"{path.stem}-{_file_stamp(path)}.npy"
    array = _mapped(kept, points)
    if array is None:
        array = _read(path, points)
        _keep(array, kept)
        array = _mapped(kept, points) if kept.is_file() else array
    assert array is not None
    return array


def _file_stamp(path: Path) -> str:
    try:
        return stamp_of(path.resolve(), path.stat().st_size)[:16]
    except OSError as error:
        raise HandvizError(f"{path} is missing ({error.strerror}).") from error


def _mapped(kept: Path, points: int) -> FloatArray | None:
    try:
        array = np.load(kept, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if array.dtype == np.float32 and array.ndim == 3 and array.shape[1:] == (points, 3) else None


def _keep(array: FloatArray, kept: Path) -> None:
    half = kept.with_suffix(f".{os.getpid()}.part")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with half.open("wb") as file:
            np.save(file, array)
        os.replace(half, kept)
    except OSError as error:
        half.unlink(missing_ok=True)
        logger.warning("The numbers of %s cannot be kept for the next time (%s)", kept.stem, error)


def _read(path: Path, points: int) -> FloatArray:
    """All numbers of the file; the count of brackets tells that they are grouped as they should be."""
    if path.stat().st_size > PIECE_BYTES:
        logger.info("Reading %s once: this takes a minute or two", path)
    pieces, opened, rest = [], 0, b""
    try:
        with path.open("rb") as file:
            while block := file.read(PIECE_BYTES):
                opened += block.count(b"[")
                whole, comma, rest = (rest + block).rpartition(b",")
                pieces.append(_numbers(whole) if comma else np.zeros(0, np.float32))
            pieces.append(_numbers(rest))
    except (OSError, ValueError) as error:
        raise HandvizError(f"{path} is damaged or is not a list of points ({error}): download it again.") from error
    numbers = np.concatenate(pieces)
    count, left = divmod(len(numbers), points * 3)
    if left or opened != 1 + count * (1 + points) or not rest.rstrip().endswith(b"]]]"):
        raise HandvizError(f"{path} does not hold {points} points a picture, or is cut off: download it again.")
    return numbers.reshape(count, points, 3)


def _numbers(text: bytes) -> FloatArray:
    if not ALLOWED.fullmatch(text):
        raise ValueError("something in it is not a number")
    plain = text.translate(None, BRACKETS).decode("ascii")
    return np.array(plain.split(","), np.float32) if plain.strip() else np.zeros(0, np.float32)
