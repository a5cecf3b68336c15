"""Doors of the downloaded datasets: annotations and images of a few rendered hands in each dataset's format."""

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from handviz.core.errors import HandvizError
from handviz.data.datasets.json_arrays import cache_folder
from handviz.data.datasets.registry import READERS, DatasetSpec, open_dataset, splits
from tools.fuzzing.door import Door, check, check_finite, check_rgb

COUNT, READ_HANDS, MAX_SPLITS = 2, 3, 2


def write(name: str, folder: Path) -> None:
    """Write two hands for each split of the dataset."""
    importlib.import_module(f"tests.fake_datasets.{READERS[name]}").write(name, folder, COUNT)


def read(name: str, folder: Path) -> None:
    """Open the first splits and read their first hands and images; refused if any is."""
    refusal: HandvizError | None = None
    for split in splits(name)[:MAX_SPLITS]:
        _forget_cached()
        try:
            _read_split(DatasetSpec(name, split, folder))
        except HandvizError as error:
            refusal = error
    if refusal is not None:
        raise refusal


def _read_split(spec: DatasetSpec) -> None:
    dataset = open_dataset(spec)
    check(all(isinstance(text, str) for text in dataset.warnings), "a warning that is no text")
    refusal: HandvizError | None = None
    for index in range(min(len(dataset), READ_HANDS)):
        hand = dataset.hand(index)
        check_finite(hand.intrinsics.matrix, "a camera")
        check_finite(hand.keypoints_px, "a keypoint")
        check_finite(0 if hand.keypoints_m is None else hand.keypoints_m, "a keypoint")
        check_finite(0 if hand.vertices_m is None else hand.vertices_m, "a vertex")
        if hand.mano is not None:
            check_finite(hand.mano.pose, "a pose")
        try:
            check_rgb(dataset.image(index))
        except HandvizError as error:
            refusal = error
    if refusal is not None:
        raise refusal


def _forget_cached() -> None:
    """Empty the cache of annotations, which would hide that a file has changed."""
    for path in sorted(cache_folder().rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


def _door(name: str) -> Door:
    doing: Callable[..., None] = read
    return Door(f"dataset_{name}", partial(write, name), partial(doing, name), is_folder=True)


DOORS = tuple(_door(name) for name in READERS)
