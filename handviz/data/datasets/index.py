"""Annotations that lie in very many small files, read once and kept in the user's cache folder, part by part.

A part (a sequence) that has been read is one npz file, so that whoever breaks off goes on where he was. It is read
again when its stamp differs: its folders' times, its list of samples or the way it is read have changed. Deleting the
folder is always safe.
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
SECONDS_BETWEEN_WORDS = 10.0
Arrays = dict[str, NDArray]
COUNTED = "problem"
"""What every part has one of for each annotation."""


@dataclass(frozen=True)
class Part:
    """A piece of a dataset that is read at one go."""

    name: str
    stamp: str
    """What it was read from; a part that was kept with another stamp is read again."""
    read: Callable[[], Arrays]


def parts_folder(dataset: str, root: Path) -> Path:
    """Where the parts of this download are kept."""
    return cache_folder() / f"{dataset}-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]}"


def read_parts(parts: Sequence[Part], folder: Path, what: str) -> list[Arrays]:
    """Arrays of every part in this order, from the folder where they are kept, else read and kept there."""
    began = told = time.monotonic()
    busy = time.process_time()
    results, fresh = [], []
    for number, part in enumerate(parts):
        arrays = _kept(part, folder)
        if arrays is None:
            arrays = _read_and_keep(part, folder)
            fresh.append(len(arrays[COUNTED]))
        results.append(arrays)
        if time.monotonic() - told > SECONDS_BETWEEN_WORDS:
            logger.info("Reading the annotations of %s: %d of %d sequences", what, number + 1, len(parts))
            told = time.monotonic()
    if fresh:
        logger.info(
            "Read %d annotations of %s once, in %.1f s (%.1f s of the processor's); kept in %s",
            *(sum(fresh), what, time.monotonic() - began, time.process_time() - busy, folder),
        )
    return results


def stamp_of(*things: object) -> str:
    """A short text that differs whenever one of these does; of a folder its path and its time count."""
    texts = [f"{thing}@{_changed_ns(thing)}" if isinstance(thing, Path) else repr(thing) for thing in things]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _file(part: Part, folder: Path) -> Path:
    return folder / (re.sub(r"[^\w-]", "_", part.name) + ".npz")


def _kept(part: Part, folder: Path) -> Arrays | None:
    path = _file(part, folder)
    if not path.is_file():
        return None
    try:
        arrays = read_arrays(path, "it is made anew")
    except HandvizError as error:
        logger.info("%s", error)
        return None
    stamp = arrays.pop("stamp", None)
    return arrays if stamp is not None and str(stamp) == part.stamp else None


def _read_and_keep(part: Part, folder: Path) -> Arrays:
    arrays = part.read()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_arrays(_file(part, folder), arrays | {"stamp": np.array(part.stamp)})
    except (OSError, HandvizError) as error:
        logger.warning("The annotations of %s cannot be kept for the next time (%s)", part.name, error)
    return arrays
