"""Which datasets there are, and how a text names one: ``NAME/SPLIT:ROOT``, or ``NAME:ROOT`` for its training split."""

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from handviz.core.errors import ErrorCode, HandvizError
from handviz.data.datasets.annotated import HandDataset

READERS = {"freihand": "freihand", "ho3d_v2": "ho3d", "ho3d_v3": "ho3d", "dexycb": "dexycb", "hanco": "hanco"}
"""Dataset and the module of this folder that knows its files."""
SPEC = re.compile(r"(?P<name>\w{2,})(?:[/\\](?P<split>[\w.-]+))?:(?P<root>.+)", re.DOTALL)
"""A drive has one letter, a dataset has more. ``pathlib`` turns the slash round on Windows."""


@dataclass(frozen=True)
class DatasetSpec:
    """Which split of which dataset, and where it was downloaded to."""

    name: str
    split: str
    root: Path

    def __str__(self) -> str:
        return f"{self.name}/{self.split}:{self.root}"


def is_dataset_spec(text: str | Path) -> bool:
    """Whether a text names a dataset rather than a folder; something that lies on the disk is none."""
    return SPEC.fullmatch(str(text)) is not None and not Path(text).exists()


def parsed(text: str | Path) -> DatasetSpec:
    """The dataset that a text names; HandvizError says which names and splits there are."""
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
    """A folder or spec with its whole path, so that it is the same from every working folder."""
    match = SPEC.fullmatch(source)
    if match is None or not is_dataset_spec(source):
        return str(Path(source).resolve())
    return source[: match.start("root")] + str(Path(match["root"]).expanduser().resolve())


def splits(name: str) -> tuple[str, ...]:
    """The splits of a dataset, the training one first; HandvizError for an unknown name."""
    known: tuple[str, ...] = reader(name).SPLITS[name]
    return known


def open_dataset(spec: str | Path | DatasetSpec) -> HandDataset:
    """Open the split that a spec names; HandvizError says what is wrong with the text or the download."""
    wanted = spec if isinstance(spec, DatasetSpec) else parsed(spec)
    dataset: HandDataset = reader(wanted.name).open_split(wanted.name, wanted.root, wanted.split)
    return dataset


def reader(name: str) -> ModuleType:
    """The module that reads a dataset, loaded when it is first needed."""
    if name not in READERS:
        raise HandvizError(f"there is no dataset {name!r}; there are {', '.join(READERS)}", ErrorCode.UNKNOWN_NAME)
    return importlib.import_module(f"handviz.data.datasets.{READERS[name]}")
