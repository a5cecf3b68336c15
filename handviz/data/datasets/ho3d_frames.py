"""The annotation files of HO-3D: one pickle a picture, read without running it, and what of a split can be used."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from handviz.core.errors import HandvizError
from handviz.core.records import FloatArray
from handviz.data.datasets.index import Arrays, Part, parts_folder, read_parts, stamp_of
from handviz.data.datasets.left_out import sentences_on
from handviz.data.datasets.pictures import file_names
from handviz.hand_models.inert_pickle import array_from, load_records

EVALUATION = "evaluation"
PICTURE_SUFFIX = {"ho3d_v2": ".png", "ho3d_v3": ".jpg"}
FORMAT = 1
"""Goes up whenever what is kept of a sequence changes."""
LINE = re.compile(r"(\w+)/(\d+)")
ROOT_JOINT, WHOLE_HAND = (3,), (21, 3)
FIELDS: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {
    "train": {
        "camera": ("camMat", (3, 3)),
        "joints": ("handJoints3D", WHOLE_HAND),
        "pose": ("handPose", (48,)),
        "shape": ("handBeta", (10,)),
    },
    EVALUATION: {"camera": ("camMat", (3, 3)), "joints": ("handJoints3D", ROOT_JOINT)},
}
"""What is kept of an annotation: the name in the file and the shape. Of the evaluation split, the root joint alone."""


@dataclass(frozen=True, eq=False)
class Ho3dFrames:
    """The samples of a split that can be used, in the order of its list."""

    names: tuple[str, ...]
    """SEQUENCE/NUMBER"""
    lines: np.ndarray
    """(N,) the place of each in the list"""
    listed: int
    """How many the list has."""
    arrays: Arrays
    """(N, ...) for each of FIELDS, as the files have them"""
    remarks: Sequence[str]

    def field(self, name: str, index: int) -> FloatArray:
        """One sample's array, double precision."""
        return np.asarray(self.arrays[name][index], np.float64)


def read_frames(name: str, root: Path, split: str) -> Ho3dFrames:
    """Every annotation that the list of this split names; HandvizError if the folder is not HO-3D of this version."""
    names = _listed(name, root, split)
    parts = [
        _part(name, root / split / sequence, split, [line.split("/")[1] for line in group])
        for sequence, group in groupby(sorted(names), key=lambda line: line.split("/")[0])
    ]
    order = {line: place for place, line in enumerate(names)}
    places = np.array([order[line] for line in sorted(names)])
    results = read_parts(parts, parts_folder(f"{name}-{split}", root), f"{name}/{split}")
    return _usable(f"{name}/{split}", root, names, places, results)


def _listed(name: str, root: Path, split: str) -> list[str]:
    path = root / f"{split}.txt"
    missing = next((folder for folder in (path, root / split) if not folder.exists()), None)
    if missing is not None:
        raise HandvizError(
            f"{missing} is missing: {root} is not the folder of HO-3D that holds train, evaluation, train.txt and "
            f"evaluation.txt. Download {name.replace('ho3d', 'HO-3D')} from the page that README.md of "
            "shreyashampali/ho3d on GitHub names."
        )
    try:
        lines = [line.strip() for line in path.read_text(encoding="ascii").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise HandvizError(f"{path} cannot be read ({error}): download it again.") from error
    wrong = next((line for line in lines if not LINE.fullmatch(line)), None)
    if wrong is not None or not lines:
        raise HandvizError(f"{path} is not HO-3D's list: {wrong!r} is not SEQUENCE/NUMBER.")
    if len(set(lines)) != len(lines):
        raise HandvizError(f"{path} names {len(lines) - len(set(lines))} pictures more than once: download it again.")
    return lines


def _part(name: str, folder: Path, split: str, numbers: list[str]) -> Part:
    suffix = PICTURE_SUFFIX[name]
    stamp = stamp_of(FORMAT, suffix, split, folder / "meta", folder / "rgb", *numbers)
    return Part(f"{split}-{folder.name}", stamp, partial(_read_sequence, folder, split, suffix, numbers))


def _read_sequence(folder: Path, split: str, suffix: str, numbers: Sequence[str]) -> Arrays:
    """``problem`` (N,) is empty for samples that can be used, and KIND: SENTENCE for others."""
    pictures = file_names(folder / "rgb")
    _check_version(folder, suffix, pictures)
    fields = FIELDS[split]
    arrays: Arrays = {key: np.zeros((len(numbers), *shape), np.float32) for key, (_, shape) in fields.items()}
    problems = []
    for place, number in enumerate(numbers):
        if number + suffix not in pictures:
            problems.append(f"picture missing: {folder / 'rgb' / (number + suffix)}")
            continue
        problem, values = _read_annotation(folder / "meta" / f"{number}.pkl", split)
        problems.append(problem)
        for key, value in values.items():
            arrays[key][place] = value
    return arrays | {"problem": np.array(problems, np.str_)}


def _check_version(folder: Path, suffix: str, pictures: frozenset[str]) -> None:
    found = next((name for name, other in PICTURE_SUFFIX.items() if other != suffix), "")
    endings = {Path(name).suffix for name in pictures}
    if suffix not in endings and PICTURE_SUFFIX[found] in endings:
        raise HandvizError(
            f"{folder / 'rgb'} holds {PICTURE_SUFFIX[found]} pictures and no {suffix} ones: it is {found}: name it so."
        )


def _read_annotation(path: Path, split: str) -> tuple[str, dict[str, FloatArray]]:
    """What hinders its use, or nothing and the values."""
    if not path.is_file():
        return f"annotation missing: {path}", {}
    try:
        records = load_records(path)
    except HandvizError as error:
        return f"annotation unreadable: {error}", {}
    values = {}
    for key, (name, shape) in FIELDS[split].items():
        if records.get(name) is None:
            kind = "not annotated" if name in records else "annotation of another kind"
            return f"{kind}: {path} has no {name}", {}
        try:
            values[key] = _numbers(records[name], shape)
        except ValueError as error:
            return f"annotation of another kind: {name} in {path}: {error}", {}
        if not np.isfinite(values[key]).all():
            return f"annotation with numbers that are none: {name} in {path}", {}
    return "", values


def _numbers(value: Any, shape: tuple[int, ...]) -> FloatArray:
    """Of this shape; where the root joint is asked for, whole hands have it first."""
    try:
        return np.asarray(array_from(value, shape), np.float64)
    except ValueError:
        if shape != ROOT_JOINT:
            raise
        return np.asarray(array_from(value, WHOLE_HAND)[0], np.float64)


def _usable(what: str, root: Path, names: list[str], places: np.ndarray, results: Sequence[Arrays]) -> Ho3dFrames:
    """The samples without a problem, in the order of the list; HandvizError if there is none."""
    problems = np.concatenate([part["problem"] for part in results])
    remarks = sentences_on(problems)
    good = np.flatnonzero(problems == "")
    if not len(good):
        raise HandvizError(f"{root}: nothing of {what} can be used. " + " ".join(remarks))
    good = good[np.argsort(places[good])]
    keys = [key for key in results[0] if key != "problem"]
    return Ho3dFrames(
        names=tuple(names[place] for place in places[good]),
        lines=places[good],
        listed=len(names),
        arrays={key: np.concatenate([part[key] for part in results])[good] for key in keys},
        remarks=remarks,
    )
