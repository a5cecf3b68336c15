"""The label files of DexYCB, read once: a sequence is some 580 small archives, all of them are 582,000."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from handviz.core.archive import UNREADABLE
from handviz.core.errors import HandvizError
from handviz.core.records import FloatArray
from handviz.data.datasets.dexycb_splits import SEQUENCES, SERIALS, SUBJECTS, SplitOf
from handviz.data.datasets.freiburg import LARGEST_PARAMETER
from handviz.data.datasets.index import Arrays, Part, stamp_of
from handviz.data.datasets.pictures import file_names

FORMAT = 1
"""Goes up whenever what is kept of a sequence changes."""
PROBLEMS = (
    "",
    "not labelled (no hand in view, or no pose that its authors trust)",
    "picture missing",
    "label missing",
    "label damaged or of another kind",
    "numbers that are none",
)
USABLE, UNLABELLED, NO_PICTURE, NO_LABEL, DAMAGED, NO_NUMBERS = range(len(PROBLEMS))
LABEL_SHAPES = {"pose_m": (1, 51), "joint_3d": (1, 21, 3), "joint_2d": (1, 21, 2)}
MOST_FRAMES = 100_000
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Recording:
    """Where one sequence lies."""

    root: Path
    subject: str
    name: str

    @property
    def folder(self) -> Path:
        return self.root / self.subject / self.name


def sequences_of(root: Path, split: SplitOf) -> tuple[list[Recording], list[str]]:
    """The split's sequences that are on the disk, and sentences on subjects that are not.

    Raises HandvizError where a subject's hundred is not whole: the split counts in them.
    """
    found, remarks = [], []
    for subject in (SUBJECTS[place] for place in split.subjects):
        if not (root / subject).is_dir():
            remarks.append(f"The subject {subject} with {len(split.sequences)} sequences is missing in {root}.")
            continue
        names = sorted(name for name in file_names(root / subject) if (root / subject / name).is_dir())
        if len(names) != SEQUENCES:
            raise HandvizError(
                f"{root / subject} holds {len(names)} sequences instead of {SEQUENCES}. The splits count a subject's "
                "sequences in order, so none may be missing: unpack this subject's archive again."
            )
        found += [Recording(root, subject, names[place]) for place in split.sequences]
    return found, remarks


def part_of(sequence: Recording) -> Part:
    """What is kept of a sequence: all cameras, so that every split can be made of it."""
    folders = [sequence.folder / serial for serial in SERIALS]
    stamp = stamp_of(FORMAT, sequence.folder / "meta.yml", sequence.root / "calibration", *folders)
    return Part(f"{sequence.subject}-{sequence.name}", stamp, partial(_read_sequence, sequence))


def read_yaml(path: Path, what: str) -> Any:
    """A YAML file's plain content; HandvizError for a file that is missing or something else."""
    try:
        with path.open("rb") as file:
            return yaml.load(file, Loader=LOADER)
    except OSError as error:
        raise HandvizError(f"{path} is missing ({error.strerror}): it holds {what}. Unpack DexYCB again.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise HandvizError(f"{path} is not a YAML file of plain values: it should hold {what}.") from error


def numbers_in(content: Any, path: Path, count: int, *keys: str) -> FloatArray:
    """(count,) finite numbers under these keys; HandvizError naming what the file lacks."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    try:
        numbers = np.asarray(content, np.float64).ravel()
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise HandvizError(f"{path} has no {'.'.join(keys)} of {count} numbers: it is not DexYCB's.")
    return numbers


def _read_sequence(sequence: Recording) -> Arrays:
    """``camera``, ``frame`` and ``problem`` (N,) of all frames; labels (M, ...) of the usable ones, in their order."""
    side, betas, frames = _read_meta(sequence)
    codes, kept = [], []
    for serial in SERIALS:
        for code, label in _read_camera(sequence.folder / serial, frames):
            codes.append(code)
            kept += [] if label is None else [label]
    labels: Arrays = {
        key: np.array([label[key] for label in kept], np.float32).reshape(len(kept), *shape[1:])
        for key, shape in LABEL_SHAPES.items()
    }
    return labels | {
        "problem": np.array(codes, np.uint8),
        "frames": np.array(frames),
        "betas": betas,
        "is_left": np.array(side == "left"),
    }


def _read_meta(sequence: Recording) -> tuple[str, FloatArray, int]:
    """Side, shape and count of frames."""
    path = sequence.folder / "meta.yml"
    content = read_yaml(path, "side, shape and length of the sequence")
    frames = int(numbers_in(content, path, 1, "num_frames")[0])
    sides, calibrations = content.get("mano_sides"), content.get("mano_calib")
    if not isinstance(sides, list) or sides not in (["left"], ["right"]) or not 0 <= frames < MOST_FRAMES:
        raise HandvizError(f"{path} does not say that one left or right hand is in the sequence: it is not DexYCB's.")
    if not isinstance(calibrations, list) or not calibrations:
        raise HandvizError(f"{path} has no mano_calib: it is not DexYCB's.")
    shape = sequence.root / "calibration" / f"mano_{Path(str(calibrations[0])).name}" / "mano.yml"
    return sides[0], numbers_in(read_yaml(shape, "the hand's shape"), shape, 10, "betas"), frames


def _read_camera(folder: Path, frames: int) -> Iterator[tuple[int, dict[str, FloatArray] | None]]:
    """For each frame of one camera what hinders its use, or the label."""
    names = file_names(folder)
    for frame in range(frames):
        label = f"labels_{frame:06d}.npz"
        if f"color_{frame:06d}.jpg" not in names:
            yield NO_PICTURE, None
        elif label not in names:
            yield NO_LABEL, None
        else:
            yield _read_label(folder / label)


def _read_label(path: Path) -> tuple[int, dict[str, FloatArray] | None]:
    """The segmentation, most of the file, is not unpacked."""
    try:
        # Opened here: numpy leaves a file open that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            label = {key: archive[key] for key in LABEL_SHAPES}
    except UNREADABLE:
        return DAMAGED, None
    if any(label[key].shape != shape or label[key].dtype.kind != "f" for key, shape in LABEL_SHAPES.items()):
        return DAMAGED, None
    if not label["pose_m"].any() or (label["joint_3d"] == -1).all():
        return UNLABELLED, None
    # nan is below nothing.
    if not all((np.abs(array) < LARGEST_PARAMETER).all() for key, array in label.items() if key != "joint_2d"):
        return NO_NUMBERS, None
    return USABLE, label
