"""HO-3D versions 2 and 3 as they are downloaded (Hampali et al. 2020), each image with one right hand.

Facts and where they come from:
- folders, lists, keys of the annotations and OpenGL's camera axes (x right, y up, z backward): README.txt of the
  download; right hands only: README.md of ``shreyashampali/ho3d``;
- order of the 21 joints, pose from the flat hand (``flat_hand_mean=True``): ``vis_HO3D.py`` there;
- fingertips: ``setup_mano.py`` there, which adds these vertices to MANO's joints;
- the released ground truth of the evaluation split (``evaluation_xyz.json``, ``evaluation_verts.json``): one entry per
  line of ``evaluation.txt``, in the axes and the joint order of submissions (``pred.py``, ``eval.py`` there);
- pixel centres at whole numbers: RealSense's intrinsics, and ``utils/vis_utils.py`` there rounds projections to pixels.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import axis_angle_from_rotation, project_points, rotation_from_axis_angle
from handviz.core.records import KEYPOINT_COUNT, FloatArray
from handviz.data.datasets.annotated import AnnotatedHand
from handviz.data.datasets.freiburg import intrinsics_from, placed
from handviz.data.datasets.images import file_names, message_on, messages_on, read_image
from handviz.data.datasets.index import Arrays, Part, parts_folder, read_parts, stamp_of
from handviz.data.datasets.json_arrays import number_lists
from handviz.hand_models.mano.inert_pickle import array_from, load_records
from handviz.hand_models.mano.parameters import ManoParameters

EVALUATION = "evaluation"
IMAGE_SUFFIX = {"ho3d_v2": ".png", "ho3d_v3": ".jpg"}
FORMAT = 1
"""Goes up whenever the cached content of a sequence changes."""
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
"""Cached fields of an annotation: name in the file and shape. Of the evaluation split, the root joint alone."""
SPLITS = {"ho3d_v2": ("train", EVALUATION), "ho3d_v3": ("train", EVALUATION)}
OFFICIAL_COUNTS = {
    ("ho3d_v2", "train"): 66_034,
    ("ho3d_v2", EVALUATION): 11_524,
    ("ho3d_v3", "train"): 83_325,
    ("ho3d_v3", EVALUATION): 20_137,
}
"""Lines of the lists. ``db_size`` in the authors' ``vis_utils.py`` names 78,297 for version 3's training split, but its
README counts 103,462 images in all, and its ``train.txt`` has the 83,325 that then remain."""
TIP_VERTICES = (744, 333, 444, 555, 672)
KEYPOINTS_FROM_HO3D = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
"""MANO's joints (wrist, index, middle, little, ring, thumb), then the tips from thumb to little finger."""
OPENGL = np.array([1.0, -1.0, -1.0])
"""Ours from OpenGL's axes, and back: a rotation by 180 degrees about x."""
SIZE = (640, 480)
VERTEX_COUNT = 778
MAX_ROOT_ERROR_M = 0.002
MAX_NUMBER, MAX_LIST_BYTES = 1e6, 64 * 2**20
GROUND_TRUTH = "evaluation_xyz.json"
VERTICES = "evaluation_verts.json"


# The annotation files of HO-3D: one pickle per image, read without running it.


@dataclass(frozen=True, eq=False)
class Ho3dFrames:
    """The samples of a split that can be used, in the order of its list."""

    names: tuple[str, ...]
    """SEQUENCE/NUMBER"""
    lines: np.ndarray
    """(N,) the line of each in the list"""
    listed: int
    """Length of the list."""
    arrays: Arrays
    """(N, ...) for each of FIELDS, as the files have them"""
    warnings: Sequence[str]

    def field(self, name: str, index: int) -> FloatArray:
        """Return one sample's array in double precision."""
        return np.asarray(self.arrays[name][index], np.float64)


def read_frames(name: str, root: Path, split: str) -> Ho3dFrames:
    """Read all annotations in this split's list; HandvizError if the folder is not HO-3D of this version."""
    names = _listed(name, root, split)
    parts = [
        _part(name, root / split / sequence, split, [line.split("/")[1] for line in group])
        for sequence, group in groupby(sorted(names), key=lambda line: line.split("/")[0])
    ]
    order = {line: number for number, line in enumerate(names)}
    lines = np.array([order[line] for line in sorted(names)])
    results = read_parts(parts, parts_folder(f"{name}-{split}", root), f"{name}/{split}")
    return _usable(f"{name}/{split}", root, names, lines, results)


def _listed(name: str, root: Path, split: str) -> list[str]:
    path = root / f"{split}.txt"
    missing = next((folder for folder in (path, root / split) if not folder.exists()), None)
    if missing is not None:
        raise HandvizError(
            f"{missing} is missing: {root} is not the folder of HO-3D that holds train, evaluation, train.txt and "
            f"evaluation.txt. Download {name.replace('ho3d', 'HO-3D')} from the page that README.md of "
            "shreyashampali/ho3d on GitHub names.",
            ErrorCode.FILE_MISSING,
        )
    try:
        with path.open("rb") as file:
            text = file.read(MAX_LIST_BYTES).decode("ascii")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise HandvizError(f"{path} cannot be read ({error}): download it again.", ErrorCode.FILE_UNREADABLE) from error
    wrong = next((line for line in lines if not LINE.fullmatch(line)), None)
    if wrong is not None or not lines:
        raise HandvizError(f"{path} is not HO-3D's list: {wrong!r:.80} is not SEQUENCE/NUMBER.", ErrorCode.FILE_DAMAGED)
    if len(set(lines)) != len(lines):
        raise HandvizError(
            f"{path} names {len(lines) - len(set(lines))} images more than once: download it again.",
            ErrorCode.FILE_DAMAGED,
        )
    return lines


def _part(name: str, folder: Path, split: str, numbers: list[str]) -> Part:
    suffix = IMAGE_SUFFIX[name]
    stamp = stamp_of(FORMAT, suffix, split, folder / "meta", folder / "rgb", *numbers)
    return Part(f"{split}-{folder.name}", stamp, partial(_read_sequence, folder, split, suffix, numbers))


def _read_sequence(folder: Path, split: str, suffix: str, numbers: Sequence[str]) -> Arrays:
    """Read one sequence; ``problem`` (N,) is empty for samples that can be used, and KIND: MESSAGE for others."""
    images = file_names(folder / "rgb")
    _check_version(folder, suffix, images)
    fields = FIELDS[split]
    arrays: Arrays = {key: np.zeros((len(numbers), *shape), np.float32) for key, (_, shape) in fields.items()}
    problems = []
    for row, number in enumerate(numbers):
        if number + suffix not in images:
            problems.append(f"image missing: {folder / 'rgb' / (number + suffix)}")
            continue
        problem, values = _read_annotation(folder / "meta" / f"{number}.pkl", split)
        problems.append(problem)
        for key, value in values.items():
            arrays[key][row] = value
    return arrays | {"problem": np.array(problems, np.str_)}


def _check_version(folder: Path, suffix: str, images: frozenset[str]) -> None:
    found = next((name for name, other in IMAGE_SUFFIX.items() if other != suffix), "")
    endings = {Path(name).suffix for name in images}
    if suffix not in endings and IMAGE_SUFFIX[found] in endings:
        raise HandvizError(
            f"{folder / 'rgb'} holds {IMAGE_SUFFIX[found]} images and no {suffix} ones: it is {found}: name it so.",
            ErrorCode.FILES_DISAGREE,
        )


def _read_annotation(path: Path, split: str) -> tuple[str, dict[str, FloatArray]]:
    """Return why the annotation cannot be used, or an empty text and the values."""
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
        # Comparisons with nan are false.
        if not (np.abs(values[key]) < MAX_NUMBER).all():
            return f"annotation with numbers that are not finite: {name} in {path}", {}
    return "", values


def _numbers(value: Any, shape: tuple[int, ...]) -> FloatArray:
    """Return numbers of this shape; where the root joint is asked for, whole hands have it first."""
    try:
        return np.asarray(array_from(value, shape), np.float64)
    except ValueError:
        if shape != ROOT_JOINT:
            raise
        return np.asarray(array_from(value, WHOLE_HAND)[0], np.float64)


def _usable(what: str, root: Path, names: list[str], lines: np.ndarray, results: Sequence[Arrays]) -> Ho3dFrames:
    """Return the samples without a problem, in the order of the list; HandvizError if there is none."""
    problems = np.concatenate([part["problem"] for part in results])
    warnings = messages_on(problems)
    good = np.flatnonzero(problems == "")
    if not len(good):
        raise HandvizError(f"{root}: nothing of {what} can be used. " + " ".join(warnings), ErrorCode.EMPTY_INPUT)
    good = good[np.argsort(lines[good])]
    keys = [key for key in results[0] if key != "problem"]
    return Ho3dFrames(
        names=tuple(names[line] for line in lines[good]),
        lines=lines[good],
        listed=len(names),
        arrays={key: np.concatenate([part[key] for part in results])[good] for key in keys},
        warnings=warnings,
    )


def open_split(name: str, root: Path, split: str) -> "Ho3d":
    """Open a split of a download whose folder ``root`` holds train, evaluation and their lists.

    Raises HandvizError naming the first thing that is missing, or that belongs to something else.
    """
    if name not in SPLITS or split not in SPLITS[name]:
        raise HandvizError(
            f"{name}/{split} is no split of HO-3D; there are {', '.join(SPLITS['ho3d_v2'])}.", ErrorCode.UNKNOWN_NAME
        )
    frames = read_frames(name, root, split)
    if split != EVALUATION:
        return Ho3d(name, split, root, frames)
    truth, frames = _ground_truth(root, frames)
    return Ho3d(name, split, root, frames, truth=truth)


@dataclass(frozen=True, eq=False)
class _Truth:
    """Joints and vertices of the whole list ``evaluation.txt``, in OpenGL's axes and HO-3D's order."""

    joints_m: FloatArray
    vertices_m: FloatArray | None


@dataclass(frozen=True, eq=False)
class Ho3d:
    """A split of HO-3D, its annotations in memory; released vertices are memory-mapped from the cache folder."""

    name: str
    split: str
    root: Path
    frames: Ho3dFrames
    truth: _Truth | None = None
    tip_vertices: tuple[int, int, int, int, int] = TIP_VERTICES

    def __len__(self) -> int:
        return len(self.frames.names)

    @property
    def warnings(self) -> Sequence[str]:
        """Messages on what was left out and why, with counts."""
        if self.truth is not None and self.truth.vertices_m is None:
            return (*self.frames.warnings, f"There is no {VERTICES}: only joints can be evaluated.")
        return self.frames.warnings

    def hand(self, index: int) -> AnnotatedHand:
        """Return the annotation of a sample; the image is not opened."""
        if self.truth is None:
            return self._hand(index, self.frames.field("joints", index), mano=self._mano(index))
        line = int(self.frames.lines[index])
        vertices = self.truth.vertices_m
        return self._hand(index, self.truth.joints_m[line], vertices=None if vertices is None else vertices[line])

    def image(self, index: int) -> NDArray[np.uint8]:
        """Return RGB (H, W, 3); HandvizError names a file that is missing or damaged."""
        return read_image(self._path(index), SIZE)

    def _path(self, index: int) -> Path:
        sequence, number = self.frames.names[index].split("/")
        return self.root / self.split / sequence / "rgb" / (number + IMAGE_SUFFIX[self.name])

    def _hand(
        self, index: int, joints: FloatArray, *, vertices: FloatArray | None = None, mano: ManoParameters | None = None
    ) -> AnnotatedHand:
        camera = intrinsics_from(self.frames.field("camera", index))
        keypoints = in_our_order(joints)
        return AnnotatedHand(
            name=self.frames.names[index],
            image=self._path(index),
            handedness="right",
            intrinsics=camera,
            keypoints_px=project_points(keypoints, camera),
            keypoints_m=keypoints,
            vertices_m=None if vertices is None else np.asarray(vertices * OPENGL, np.float64),
            mano=mano,
        )

    def _mano(self, index: int) -> ManoParameters:
        """Return MANO's parameters in our axes; the translation, in OpenGL's axes, needs the MANO file and is nan."""
        pose = self.frames.field("pose", index)
        rotation = np.diag(OPENGL) @ rotation_from_axis_angle(pose[:3])
        return ManoParameters(
            handedness="right",
            kind="absolute",
            pose=pose[3:],
            shape=self.frames.field("shape", index),
            global_rotation=axis_angle_from_rotation(rotation),
            translation_m=np.full(3, np.nan),
        )


def in_our_order(joints: FloatArray) -> FloatArray:
    """Convert HO-3D's joints (21, 3) to the project's order and axes."""
    return np.asarray(joints[list(KEYPOINTS_FROM_HO3D)] * OPENGL, np.float64)


def _ground_truth(root: Path, frames: Ho3dFrames) -> tuple[_Truth, Ho3dFrames]:
    """Return the released truth, and the frames without those whose truth is no hand before the camera."""
    joints = _points(_released(root, GROUND_TRUTH), KEYPOINT_COUNT)
    try:
        path = _released(root, VERTICES)
    except HandvizError:
        vertices = None
    else:
        vertices = _points(path, VERTEX_COUNT)
    for array, file in ((joints, GROUND_TRUTH), (vertices, VERTICES)):
        if array is not None and len(array) != frames.listed:
            raise HandvizError(
                f"{root}: {file} has {len(array)} entries and {EVALUATION}.txt {frames.listed} lines: they belong to "
                "different versions of HO-3D.",
                ErrorCode.FILES_DISAGREE,
            )
    frames = _with_usable_truth(root, frames, [array for array in (joints, vertices) if array is not None])
    _check_roots(root, joints, frames)
    return _Truth(joints, vertices), frames


def _with_usable_truth(root: Path, frames: Ho3dFrames, truths: Sequence[FloatArray]) -> Ho3dFrames:
    usable = np.all([placed(points[frames.lines] * OPENGL) for points in truths], axis=0)
    if usable.all():
        return frames
    left_out = frames.lines[~usable]
    message = message_on("released ground truth that is no hand in metres", len(left_out), f"line {left_out[0] + 1}")
    if not usable.any():
        raise HandvizError(f"{root}: nothing of {EVALUATION} can be used. {message}", ErrorCode.EMPTY_INPUT)
    return replace(
        frames,
        names=tuple(name for name, is_usable in zip(frames.names, usable, strict=True) if is_usable),
        lines=frames.lines[usable],
        arrays={key: array[usable] for key, array in frames.arrays.items()},
        warnings=(*frames.warnings, message),
    )


def _points(path: Path, count: int) -> FloatArray:
    return number_lists(path, (count, 3), "download the released ground truth again.", dtype=np.float32)


def _released(root: Path, file: str) -> Path:
    """Return the file in the folder itself or in one beside train and evaluation, where the archive puts it."""
    found = [root / file, *sorted(root.glob(f"*/{file}"))]
    for path in found:
        if path.is_file():
            return path
    raise HandvizError(
        f"{root / file} is missing. The authors have released the evaluation split's ground truth: see README.md of "
        "shreyashampali/ho3d on GitHub for the archive of this version, and put its files here.",
        ErrorCode.FILE_MISSING,
    )


def _check_roots(root: Path, joints: FloatArray, frames: Ho3dFrames) -> None:
    """Raise HandvizError unless the evaluation split's annotated root joints are those of the ground truth."""
    roots = frames.arrays["joints"]
    errors = np.linalg.norm(joints[frames.lines, 0] - roots, axis=1)
    if len(errors) and np.median(errors) > MAX_ROOT_ERROR_M:
        raise HandvizError(
            f"{root}: the wrists in {GROUND_TRUTH} lie {np.median(errors) * 1000:.0f} mm from those in the folder "
            f"{EVALUATION}: the file is another version's, or {EVALUATION}.txt was changed.",
            ErrorCode.FILES_DISAGREE,
        )
