"""The label files of DexYCB, read once and cached: a sequence has some 580 small archives, all have 582,000."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import read_arrays
from handviz.core.records import FloatArray
from handviz.data.datasets.freiburg import MAX_PARAMETER
from handviz.data.datasets.images import file_names
from handviz.data.datasets.index import Arrays, Part, stamp_of

SUBJECTS = (
    "20200709-subject-01",
    "20200813-subject-02",
    "20200820-subject-03",
    "20200903-subject-04",
    "20200908-subject-05",
    "20200918-subject-06",
    "20200928-subject-07",
    "20201002-subject-08",
    "20201015-subject-09",
    "20201022-subject-10",
)
SERIALS = (
    "836212060125",
    "839512060362",
    "840412060917",
    "841412060263",
    "932122060857",
    "932122060861",
    "932122061900",
    "932122062010",
)
SEQUENCES = 100
ALL = tuple(range(10)), tuple(range(8)), tuple(range(SEQUENCES))
FORMAT = 1
"""Goes up whenever the cached content of a sequence changes."""
PROBLEMS = (
    "",
    "not labelled (no hand in view, or no pose that its authors trust)",
    "image missing",
    "label missing",
    "label damaged or of another kind",
    "numbers that are not finite",
)
USABLE, UNLABELLED, NO_IMAGE, NO_LABEL, DAMAGED, NO_NUMBERS = range(len(PROBLEMS))
LABEL_SHAPES = {"pose_m": (1, 51), "joint_3d": (1, 21, 3), "joint_2d": (1, 21, 2)}
MAX_FRAMES = 100_000
HAND_LABEL = 255
"""Of the pixels of ``seg`` that show the hand; objects have numbers up to 21."""
MAX_DISTANCE_M, ROTATION_TOLERANCE = 100.0, 1e-3
MAX_YAML_BYTES, MAX_YAML_DEPTH, MAX_YAML_TEXT = 1_000_000, 50, 1000
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


# Which subjects, cameras and sequences each of DexYCB's twelve splits has (``dex_ycb_toolkit/dex_ycb.py``). s0:
# everything seen; s1: subjects unseen; s2: cameras unseen; s3: grasped objects unseen. Sequences are counted in a
# subject's sorted hundred, so a subject with fewer cannot be split.


@dataclass(frozen=True)
class SplitOf:
    """Indices in SUBJECTS, SERIALS and a subject's sorted sequences."""

    subjects: tuple[int, ...]
    serials: tuple[int, ...]
    sequences: tuple[int, ...]


def _every_fifth(*, last: bool) -> tuple[int, ...]:
    return tuple(number for number in range(SEQUENCES) if (number % 5 == 4) == last)


def _of_objects(*fives: int) -> tuple[int, ...]:
    """Return the sequences of these objects; each object is grasped in five consecutive sequences."""
    return tuple(number for number in range(SEQUENCES) if number // 5 in fives)


SEEN_OBJECTS = tuple(five for five in range(20) if five not in (3, 7, 11, 15, 19))


SPLIT_OF = {
    "s0_train": SplitOf(ALL[0], ALL[1], _every_fifth(last=False)),
    "s0_val": SplitOf((0, 1), ALL[1], _every_fifth(last=True)),
    "s0_test": SplitOf((2, 3, 4, 5, 6, 7, 8, 9), ALL[1], _every_fifth(last=True)),
    "s1_train": SplitOf((0, 1, 2, 3, 4, 5, 9), ALL[1], ALL[2]),
    "s1_val": SplitOf((6,), ALL[1], ALL[2]),
    "s1_test": SplitOf((7, 8), ALL[1], ALL[2]),
    "s2_train": SplitOf(ALL[0], (0, 1, 2, 3, 4, 5), ALL[2]),
    "s2_val": SplitOf(ALL[0], (6,), ALL[2]),
    "s2_test": SplitOf(ALL[0], (7,), ALL[2]),
    "s3_train": SplitOf(ALL[0], ALL[1], _of_objects(*SEEN_OBJECTS)),
    "s3_val": SplitOf(ALL[0], ALL[1], _of_objects(3, 19)),
    "s3_test": SplitOf(ALL[0], ALL[1], _of_objects(7, 11, 15)),
}


LABELLED_COUNTS = {"s0_train": 406_888, "s0_test": 78_768}
"""Images with a labelled hand, as HandOccNet, H2ONet and SiMA-Hand count them."""


@dataclass(frozen=True)
class Recording:
    """The folder of one sequence."""

    root: Path
    subject: str
    name: str

    @property
    def folder(self) -> Path:
        return self.root / self.subject / self.name


def sequences_of(root: Path, split: SplitOf) -> tuple[list[Recording], list[str]]:
    """Return the split's sequences that are on the disk, and warnings about missing subjects.

    Raises HandvizError where a subject does not have all hundred sequences: the split counts in them.
    """
    found, warnings = [], []
    for subject in (SUBJECTS[number] for number in split.subjects):
        if not (root / subject).is_dir():
            warnings.append(f"The subject {subject} with {len(split.sequences)} sequences is missing in {root}.")
            continue
        names = sorted(name for name in file_names(root / subject) if (root / subject / name).is_dir())
        if len(names) != SEQUENCES:
            raise HandvizError(
                f"{root / subject} holds {len(names)} sequences instead of {SEQUENCES}. The splits count a subject's "
                "sequences in order, so none may be missing: unpack this subject's archive again.",
                ErrorCode.FILE_MISSING,
            )
        found += [Recording(root, subject, names[number]) for number in split.sequences]
    return found, warnings


def part_of(sequence: Recording) -> Part:
    """Return the cached part of a sequence: all cameras, so that every split can be made of it."""
    folders = [sequence.folder / serial for serial in SERIALS]
    stamp = stamp_of(FORMAT, sequence.folder / "meta.yml", sequence.root / "calibration", *folders)
    return Part(f"{sequence.subject}-{sequence.name}", stamp, partial(_read_sequence, sequence))


def read_yaml(path: Path, what: str) -> Any:
    """Read a YAML file's plain content; HandvizError for a file that is missing or of another kind."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_YAML_BYTES + 1)
        _check_yaml(content)
        return yaml.load(content, Loader=LOADER)
    except OSError as error:
        raise HandvizError(
            f"{path} is missing ({error.strerror}): it holds {what}. Unpack DexYCB again.", ErrorCode.FILE_MISSING
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise HandvizError(
            f"{path} is not a YAML file of plain values: it should hold {what}.", ErrorCode.FILE_DAMAGED
        ) from error


def _check_yaml(content: bytes) -> None:
    """Raise ValueError for what DexYCB's files do not have: a great size or depth, and references that unfold."""
    depth = 0
    for event in yaml.parse(content, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        # YAML reads "1:1:1" as a number to the base of sixty, whose time grows with the square of its length.
        is_long = isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_YAML_TEXT
        is_foreign = is_long or isinstance(event, yaml.AliasEvent)
        if is_foreign or depth > MAX_YAML_DEPTH or len(content) > MAX_YAML_BYTES:
            raise ValueError("not a small file of plain values")


def numbers_in(content: Any, path: Path, count: int, *keys: str) -> FloatArray:
    """Return finite numbers (count,) under these keys; HandvizError naming what the file lacks."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    try:
        numbers = np.asarray(content, np.float64).ravel()
    except (TypeError, ValueError, OverflowError):
        numbers = np.zeros(0)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise HandvizError(
            f"{path} has no {'.'.join(keys)} of {count} numbers: it is not DexYCB's.", ErrorCode.FILE_DAMAGED
        )
    return numbers


def _read_sequence(sequence: Recording) -> Arrays:
    """Read ``camera``, ``frame`` and ``problem`` (N,) of all frames, and labels (M, ...) of the usable ones."""
    side, betas, frames = _read_meta(sequence)
    codes, usable = [], []
    for serial in SERIALS:
        for code, label in _read_camera(sequence.folder / serial, frames):
            codes.append(code)
            usable += [] if label is None else [label]
    labels: Arrays = {
        key: np.array([label[key] for label in usable], np.float32).reshape(len(usable), *shape[1:])
        for key, shape in LABEL_SHAPES.items()
    }
    return labels | {
        "problem": np.array(codes, np.uint8),
        "frames": np.array(frames),
        "betas": betas,
        "is_left": np.array(side == "left"),
    }


def _read_meta(sequence: Recording) -> tuple[str, FloatArray, int]:
    """Read side, shape and count of frames."""
    path = sequence.folder / "meta.yml"
    content = read_yaml(path, "side, shape and length of the sequence")
    frames = int(numbers_in(content, path, 1, "num_frames")[0])
    sides, calibrations = content.get("mano_sides"), content.get("mano_calib")
    if not isinstance(sides, list) or sides not in (["left"], ["right"]) or not 0 <= frames < MAX_FRAMES:
        raise HandvizError(
            f"{path} does not say that one left or right hand is in the sequence: it is not DexYCB's.",
            ErrorCode.FILE_DAMAGED,
        )
    if not isinstance(calibrations, list) or not calibrations:
        raise HandvizError(f"{path} has no mano_calib: it is not DexYCB's.", ErrorCode.FILE_DAMAGED)
    shape = sequence.root / "calibration" / f"mano_{Path(str(calibrations[0])).name}" / "mano.yml"
    return sides[0], numbers_in(read_yaml(shape, "the hand's shape"), shape, 10, "betas"), frames


def _read_camera(folder: Path, frames: int) -> Iterator[tuple[int, dict[str, FloatArray] | None]]:
    """Yield for each frame of one camera its problem, or the label."""
    names = file_names(folder)
    for frame in range(frames):
        label = f"labels_{frame:06d}.npz"
        if f"color_{frame:06d}.jpg" not in names:
            yield NO_IMAGE, None
        elif label not in names:
            yield NO_LABEL, None
        else:
            yield _read_label(folder / label)


def _read_label(path: Path) -> tuple[int, dict[str, FloatArray] | None]:
    """Read a label file, without the segmentation, which is most of it."""
    try:
        label = read_arrays(path, "unpack DexYCB again", LABEL_SHAPES)
    except HandvizError:
        return DAMAGED, None
    if any(label[key].shape != shape or label[key].dtype.kind != "f" for key, shape in LABEL_SHAPES.items()):
        return DAMAGED, None
    if not label["pose_m"].any() or (label["joint_3d"] == -1).all():
        return UNLABELLED, None
    # Comparisons with nan are false.
    if not all((np.abs(array) < MAX_PARAMETER).all() for key, array in label.items() if key != "joint_2d"):
        return NO_NUMBERS, None
    return USABLE, label


def read_cameras(sequence: Recording) -> FloatArray:
    """Return the transforms (8, 4, 4), of SERIALS, from the master camera's frame to each camera's, metres.

    Raises HandvizError for a file that is missing, or holds no rigid transforms.
    """
    meta = sequence.folder / "meta.yml"
    content = read_yaml(meta, "the name of the cameras' calibration")
    name = content.get("extrinsics") if isinstance(content, dict) else None
    if not isinstance(name, str) or not name:
        raise HandvizError(f"{meta} names no extrinsics: it is not DexYCB's.", ErrorCode.FILE_DAMAGED)
    # A foreign file's text is a name here, never a path.
    path = sequence.root / "calibration" / f"extrinsics_{Path(name).name}" / "extrinsics.yml"
    cameras = read_yaml(path, "the cameras' positions")
    return np.stack([_camera_from_world(cameras, path, serial) for serial in SERIALS])


def _camera_from_world(content: Any, path: Path, serial: str) -> FloatArray:
    """Invert a camera's 3 x 4 numbers, world from camera."""
    world_from_camera = numbers_in(content, path, 12, "extrinsics", serial).reshape(3, 4)
    rotation, position = world_from_camera[:, :3], world_from_camera[:, 3]
    is_rotation = np.allclose(rotation @ rotation.T, np.eye(3), atol=ROTATION_TOLERANCE) and np.linalg.det(rotation) > 0
    if not is_rotation or not (np.abs(position) < MAX_DISTANCE_M).all():
        raise HandvizError(
            f"{path}: the numbers of {serial} are no rotation and position in metres: it is not DexYCB's.",
            ErrorCode.FILE_DAMAGED,
        )
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = rotation.T, -rotation.T @ position
    return transform


def read_hand_mask(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return where a label file's segmentation shows the hand (H, W); HandvizError if it is not of ``size`` (W, H)."""
    labels = read_arrays(path, "unpack DexYCB again", ("seg",))["seg"]
    if labels.shape != size[::-1] or labels.dtype != np.uint8:
        raise HandvizError(
            f"{path}: seg is {labels.dtype} of {labels.shape}, not uint8 of {size[::-1]}: unpack DexYCB again",
            ErrorCode.WRONG_SHAPE,
        )
    return np.asarray(labels == HAND_LABEL)
