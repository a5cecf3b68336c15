"""Reader of JSON files that are one long list of equally shaped lists of numbers, some too large for memory.

FreiHAND's ``training_verts.json`` (32,560 x 778 x 3 numbers, 1.6 GB of text) would take 6 GB as Python's own lists.
Here the text is read in blocks: its brackets and commas are compared with those of the shape, and the numbers go into
an array. Arrays of large files are cached in the user's cache folder and memory-mapped from then on.
"""

import hashlib
import logging
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import platformdirs
from numpy.typing import DTypeLike

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import open_atomic
from handviz.core.records import FloatArray

FOLDER_VARIABLE = "HANDVIZ_DATASET_CACHE"
FOLDER_NAME = "datasets"
BLOCK_BYTES = 16 * 2**20
CACHED_FROM_BYTES = 32 * 2**20
CACHE_VERSION = 1
NOT_STRUCTURE = b"0123456789+-.eE \t\r\nNaInfity"
"""Characters of numbers and white space; NaN and Infinity are written by Python, though JSON lacks them."""
NO_BRACKETS = bytes.maketrans(b"[]", b"  ")
EMPTY_PLACE = re.compile(rb"[\[,]\s*[,\]]")

logger = logging.getLogger(__name__)


def number_lists(path: Path, shape: tuple[int, ...], remedy: str, *, dtype: DTypeLike = np.float64) -> FloatArray:
    """Return the file's numbers (N, *shape), which may be nan; memory-mapped from the user's cache for large files.

    Raises HandvizError, ending with the remedy, for a file that is missing, cut off or of another shape.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise HandvizError(f"{path} is missing: {remedy}", ErrorCode.FILE_MISSING) from error
    if state.st_size < CACHED_FROM_BYTES:
        return read_number_lists(path, shape, remedy, dtype=dtype)
    path_digest = _digest(str(path.resolve()))
    state_digest = _digest(f"{CACHE_VERSION} {state.st_size} {state.st_mtime_ns} {shape} {np.dtype(dtype).str}")
    cached = cache_folder() / f"{path_digest}_{state_digest}.npy"
    found = _cached_array(cached, shape, dtype)
    if found is not None:
        return found
    logger.info("Reading %s, %.1f GB of text, once: the array is cached as %s", path, state.st_size / 1e9, cached)
    numbers = read_number_lists(path, shape, remedy, dtype=dtype)
    _write_cache(numbers, cached, path_digest)
    mapped = _cached_array(cached, shape, dtype)
    return numbers if mapped is None else mapped


def cache_folder() -> Path:
    """Return the folder of cached arrays: the user's cache folder, or HANDVIZ_DATASET_CACHE."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_cache_path("handviz") / FOLDER_NAME


def read_number_lists(path: Path, shape: tuple[int, ...], remedy: str, *, dtype: DTypeLike = np.float64) -> FloatArray:
    """Read the numbers as ``number_lists`` does, uncached; needs the array's memory twice and some blocks of text."""
    reader = _Reader(shape)
    try:
        # What is too large for single precision becomes infinite: readers leave such hands out.
        with path.open("rb") as file, np.errstate(over="ignore"):
            parts = [part.astype(dtype) for part in _parts(file, reader)]
    except OSError as error:
        raise HandvizError(f"{path} cannot be read ({error}): {remedy}", ErrorCode.FILE_UNREADABLE) from error
    except ValueError as error:
        each = " x ".join(map(str, shape)) if shape else "one"
        raise HandvizError(
            f"{path} is cut off or of another kind: after {reader.whole_samples:,} hands it is no longer a list with "
            f"{each} number{'s' if shape else ''} for each hand. {remedy}",
            ErrorCode.FILE_DAMAGED,
        ) from error
    numbers = np.concatenate(parts) if parts else np.zeros(0, dtype)
    return numbers.reshape(-1, *shape)


class _Reader:
    """Compares the structure of the text, block by block, with that of a list of lists of this shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._unit = _structure(shape) + b","
        self._size = math.prod(shape)
        self._position = 0
        self._count = 0

    @property
    def whole_samples(self) -> int:
        return self._count // self._size

    def numbers(self, text: bytes) -> FloatArray:
        """Return the numbers of a block that ends with a comma; ValueError if its structure is not the shape's."""
        found = text.translate(None, NOT_STRUCTURE)
        expected = self._unit * (len(found) // len(self._unit) + 2)
        if found != expected[self._position : self._position + len(found)] or EMPTY_PLACE.search(text):
            raise ValueError("another structure")
        numbers = np.fromstring(text.translate(NO_BRACKETS).rstrip()[:-1].decode("ascii"), np.float64, sep=",")
        if len(numbers) != found.count(b","):
            raise ValueError("not all are numbers")
        self._position = (self._position + len(found)) % len(self._unit)
        self._count += len(numbers)
        return numbers

    def finish(self) -> None:
        """Raise ValueError if the last hand is not whole."""
        if self._position:
            raise ValueError("it ends early")


def _parts(file: BinaryIO, reader: _Reader) -> Iterator[FloatArray]:
    """Yield the numbers of one block of text after the other."""
    rest = file.read(BLOCK_BYTES).lstrip()
    if not rest.startswith(b"["):
        raise ValueError("no list")
    rest = rest[1:]
    while block := file.read(BLOCK_BYTES):
        rest += block
        cut = rest.rfind(b",") + 1
        # A short last block could hold the end of the list alone.
        if cut:
            yield reader.numbers(rest[:cut])
            rest = rest[cut:]
    rest = rest.rstrip()
    if not rest.endswith(b"]"):
        raise ValueError("it ends early")
    yield reader.numbers(rest[:-1] + b",")
    reader.finish()


def _structure(shape: tuple[int, ...]) -> bytes:
    """Return brackets and commas of nested lists of this shape."""
    if not shape:
        return b""
    return b"[" + b",".join([_structure(shape[1:])] * shape[0]) + b"]"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:20]


def _cached_array(cached: Path, shape: tuple[int, ...], dtype: DTypeLike) -> FloatArray | None:
    """Return the cached array, memory-mapped; None if there is none or it is damaged."""
    try:
        # Not np.load, which also reads archives and pickles.
        found = np.lib.format.open_memmap(cached, mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape[1:] == shape and found.dtype == dtype and len(found) else None


def _write_cache(numbers: FloatArray, cached: Path, path_digest: str) -> None:
    """Write the array atomically and remove older ones of this file; a full or locked disk is no error."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with open_atomic(cached) as file:
            np.save(file, numbers, allow_pickle=False)
        for older in cached.parent.glob(f"{path_digest}_*.npy"):
            if older != cached:
                older.unlink()
    except (OSError, HandvizError) as error:
        logger.warning("%s cannot be cached (%s): the text will be read again next time", cached, error)
