"""The known datasets, and their specs: ``NAME/SPLIT:ROOT``, or ``NAME:ROOT`` for the training split."""

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from handviz.core.errors import ErrorCode, HandvizError
from handviz.data.datasets.annotated import HandDataset

READERS = {
    "freihand": "freihand",
    "ho3d_v2": "ho3d",
    "ho3d_v3": "ho3d",
    "dexycb": "dexycb",
    "hanco": "hanco",
    "rhd": "rhd",
    "stb": "stb",
}
"""Dataset and the module of this folder that reads it."""
SPEC = re.compile(r"(?P<name>\w{2,})(?:[/\\](?P<split>[\w.-]+))?:(?P<root>.+)", re.DOTALL)
"""A drive has one letter, a dataset has more. On Windows ``pathlib`` replaces the slash by a backslash."""


@dataclass(frozen=True)
class DatasetSpec:
    """A split of a dataset and the folder of its download."""

    name: str
    split: str
    root: Path

    def __str__(self) -> str:
        return f"{self.name}/{self.split}:{self.root}"


def is_dataset_spec(text: str | Path) -> bool:
    """Return whether a text names a dataset; a path that exists never does."""
    return SPEC.fullmatch(str(text)) is not None and not Path(text).exists()


def parsed(text: str | Path) -> DatasetSpec:
    """Parse a spec; HandvizError lists the known names and splits."""
    match = SPEC.fullmatch(str(text))
    if match is None:
        raise HandvizError(
            f"{text} names no dataset: write NAME/SPLIT:FOLDER, such as freihand/evaluation:FreiHAND",
            ErrorCode.BAD_VALUE,
        )
    name, root = match["name"], Path(match["root"]).expanduser()
    known = splits(name)
    split = match["split"] or known[0]
    if split not in known:
        raise HandvizError(f"{name} has no split {split!r}; there are {', '.join(known)}", ErrorCode.UNKNOWN_NAME)
    return DatasetSpec(name, split, root)


def settled(source: str) -> str:
    """Return a folder or spec with its absolute path, so that it is the same from every working folder."""
    match = SPEC.fullmatch(source)
    if match is None or not is_dataset_spec(source):
        return str(Path(source).resolve())
    return source[: match.start("root")] + str(Path(match["root"]).expanduser().resolve())


def splits(name: str) -> tuple[str, ...]:
    """Return the splits of a dataset, the training one first; HandvizError for an unknown name."""
    known: tuple[str, ...] = reader(name).SPLITS[name]
    return known


def open_dataset(spec: str | Path | DatasetSpec) -> HandDataset:
    """Open the split of a spec; HandvizError names what is wrong with the text or the download."""
    wanted = spec if isinstance(spec, DatasetSpec) else parsed(spec)
    dataset: HandDataset = reader(wanted.name).open_split(wanted.name, wanted.root, wanted.split)
    return dataset


def reader(name: str) -> ModuleType:
    """Return the module that reads a dataset, imported when it is first needed."""
    if name not in READERS:
        raise HandvizError(f"there is no dataset {name!r}; there are {', '.join(READERS)}", ErrorCode.UNKNOWN_NAME)
    return importlib.import_module(f"handviz.data.datasets.{READERS[name]}")
