"""Cache of annotations that lie in very many small files: read once, part by part.

A part (a sequence) that has been read is one npz file in the user's cache folder, so that an interrupted reading
continues. It is read again when its stamp differs: its folders' times, its list of samples or the way it is read have
changed. Deleting the folder is always safe.
"""

import hashlib
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import HandvizError
from handviz.core.files import read_arrays, write_arrays
from handviz.data.datasets.json_arrays import cache_folder

logger = logging.getLogger(__name__)
SECONDS_BETWEEN_MESSAGES = 10.0
Arrays = dict[str, NDArray]
COUNTED = "problem"
"""The array that has one entry for each annotation in every part."""


@dataclass(frozen=True)
class Part:
    """A piece of a dataset that is read in one go."""

    name: str
    stamp: str
    """Identifies the files that it was read from; a cached part with another stamp is read again."""
    read: Callable[[], Arrays]


def parts_folder(dataset: str, root: Path) -> Path:
    """Return the cache folder of this download's parts."""
    return cache_folder() / f"{dataset}-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]}"


def read_parts(parts: Sequence[Part], folder: Path, what: str) -> list[Arrays]:
    """Return the arrays of every part in this order, from the cache folder, else read and cached there."""
    started = logged = time.monotonic()
    busy = time.process_time()
    results, fresh = [], []
    for number, part in enumerate(parts):
        arrays = _cached(part, folder)
        if arrays is None:
            arrays = _read_and_cache(part, folder)
            fresh.append(len(arrays[COUNTED]))
        results.append(arrays)
        if time.monotonic() - logged > SECONDS_BETWEEN_MESSAGES:
            logger.info("Reading the annotations of %s: %d of %d sequences", what, number + 1, len(parts))
            logged = time.monotonic()
    if fresh:
        logger.info(
            "Read %d annotations of %s once, in %.1f s (%.1f s of CPU time); cached in %s",
            *(sum(fresh), what, time.monotonic() - started, time.process_time() - busy, folder),
        )
    return results


def stamp_of(*things: object) -> str:
    """Return a digest that differs whenever one of these does; of a folder path and time count."""
    texts = [f"{thing}@{_changed_ns(thing)}" if isinstance(thing, Path) else repr(thing) for thing in things]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _file(part: Part, folder: Path) -> Path:
    return folder / (re.sub(r"[^\w-]", "_", part.name) + ".npz")


def _cached(part: Part, folder: Path) -> Arrays | None:
    path = _file(part, folder)
    if not path.is_file():
        return None
    try:
        arrays = read_arrays(path, "it is made again")
    except HandvizError as error:
        logger.info("%s", error)
        return None
    stamp = arrays.pop("stamp", None)
    return arrays if stamp is not None and str(stamp) == part.stamp else None


def _read_and_cache(part: Part, folder: Path) -> Arrays:
    arrays = part.read()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_arrays(_file(part, folder), arrays | {"stamp": np.array(part.stamp)})
    except (OSError, HandvizError) as error:
        logger.warning("The annotations of %s cannot be cached (%s)", part.name, error)
    return arrays
