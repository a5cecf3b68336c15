"""STB, the Stereo Hand Pose Tracking Benchmark (Zhang et al., ICIP 2017): a left hand before six backgrounds.

Facts and where they come from:
- folders, names of files, cameras, 1,500 frames a sequence, ``handPara`` (3, 21, 1500) in millimetres, order of the
  joints (palm centre, then little finger to thumb, each from its knuckle to its tip), and that the first is "palm
  center(not wrist or hand center)": ``README.md`` of ``zhjwustc/icip17_stereo_hand_pose_dataset`` on GitHub;
- labels ``_BB`` are in the left camera of the stereo pair, and the right one lies 120.054 mm along x:
  ``data/stb/create_db.m`` of ``lmb-freiburg/hand3d``. Labels ``_SK`` are in the depth camera: ``positionCalc.m`` of the
  dataset's authors takes points from there to the colour camera by R^-1 (x - T);
- a left hand, B1Counting and B1Random for testing and the others for training: ``data/BinaryDbReaderSTB.py`` and
  ``create_db.m`` of ``lmb-freiburg/hand3d``, whose authors test on both images of a pair;
- the wrist, which is not annotated: ``BinaryDbReaderSTB.py`` there lays it on the ray from the ring finger's knuckle
  through the palm centre, at twice the distance.

Open points: other authors extrapolate otherwise (``lixiny/bihand``: 2.2 times from the middle finger's knuckle), so
that errors relative to the wrist are comparable only under the same rule. That pixel centres lie at whole numbers
follows from the form of the calibration; the authors do not state it. There is no mesh, and fingertips are no vertices
of MANO.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import project_points, rotation_from_axis_angle
from handviz.core.records import KEYPOINT_COUNT, FloatArray, Intrinsics
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.data.datasets.annotated import AnnotatedHand
from handviz.data.datasets.freiburg import PIXEL_CENTRE, placed
from handviz.data.datasets.images import file_names, messages_on, read_image
from handviz.data.datasets.mat_arrays import read_mat_array

NAME = "stb"
TEST_BACKGROUNDS, TRAIN_BACKGROUNDS = ("B1",), ("B2", "B3", "B4", "B5", "B6")
MOTIONS = ("Counting", "Random")
FRAMES = 1500
MAX_FRAMES = 100_000
SIZE = (640, 480)
VARIABLE = "handPara"
PAGE = "github.com/zhjwustc/icip17_stereo_hand_pose_dataset"
REMEDY = f"unpack the labels that {PAGE} links to again."
KEYPOINTS_FROM_STB = (0, 17, 18, 19, 20, 13, 14, 15, 16, 9, 10, 11, 12, 5, 6, 7, 8, 1, 2, 3, 4)
WRIST, RING_KNUCKLE = 0, 13
WRIST_PER_PALM = 2.0
"""Distance of the wrist from the ring finger's knuckle, in distances of the palm centre."""
BASELINE_M = 0.120054
DEPTH_FROM_COLOUR = np.array([0.00531, -0.01196, 0.00301])
"""Axis-angle."""
DEPTH_FROM_COLOUR_M = np.array([-0.0240381, -0.0004563, -0.0012326])
BUMBLEBEE = Intrinsics(
    822.79041, 318.47345 + PIXEL_CENTRE, 250.31296 + PIXEL_CENTRE, focal_y_px=822.79041, origin="calibrated"
)
REALSENSE_COLOUR = Intrinsics(
    607.92271, 314.78337 + PIXEL_CENTRE, 236.42484 + PIXEL_CENTRE, focal_y_px=607.88192, origin="calibrated"
)


class View(NamedTuple):
    """One camera of the recordings."""

    prefix: str
    """of its images' names"""
    labels: str
    """suffix of the label files that it is placed by"""
    intrinsics: Intrinsics


VIEWS = {
    "left": View("BB_left", "BB", BUMBLEBEE),
    "right": View("BB_right", "BB", BUMBLEBEE),
    "sk": View("SK_color", "SK", REALSENSE_COLOUR),
}
VIEWS_OF = {"": ("left",), "stereo": ("left", "right"), "sk": ("sk",)}
"""Cameras of a split by what follows ``train_`` or ``test_``."""
SPLITS = {NAME: tuple("_".join(filter(None, (part, views))) for part in ("train", "test") for views in VIEWS_OF)}
BACKGROUNDS = {"train": TRAIN_BACKGROUNDS, "test": TEST_BACKGROUNDS}
OFFICIAL_COUNTS = {
    (NAME, split): len(BACKGROUNDS[part]) * len(MOTIONS) * FRAMES * len(VIEWS_OF[views])
    for split in SPLITS[NAME]
    for part, _, views in [split.partition("_")]
}


@dataclass(frozen=True, eq=False)
class Clip:
    """One sequence seen by one camera: its frames that can be used."""

    sequence: str
    view: str
    folder: Path
    frames: NDArray[np.intp]
    """(N,) numbers in the names of the images"""
    keypoints_m: FloatArray
    """(N, 21, 3) in this camera's frame and our order, the wrist extrapolated"""

    def image(self, row: int) -> Path:
        """Return the path of an image."""
        return self.folder / _file(self.view, int(self.frames[row]))


@dataclass(frozen=True, eq=False)
class Stb:
    """One split; see ``HandDataset``. Frames of a clip are adjacent."""

    split: str
    clips: tuple[Clip, ...]
    rows: NDArray[np.intp]
    """(N, 2) clip, and row in it"""
    warnings: Sequence[str]
    name: str = NAME
    tip_vertices: tuple[int, int, int, int, int] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def hand(self, index: int) -> AnnotatedHand:
        clip, row = self._clip(index)
        view = VIEWS[clip.view]
        return AnnotatedHand(
            name=f"{clip.sequence}/{view.prefix}/{clip.frames[row]:04d}",
            image=clip.image(row),
            handedness="left",
            intrinsics=view.intrinsics,
            keypoints_px=project_points(clip.keypoints_m[row], view.intrinsics),
            keypoints_m=clip.keypoints_m[row],
        )

    def image(self, index: int) -> NDArray[np.uint8]:
        clip, row = self._clip(index)
        return read_image(clip.image(row), SIZE)

    def _clip(self, index: int) -> tuple[Clip, int]:
        clip, row = self.rows[index].tolist()
        return self.clips[clip], row


def open_split(name: str, root: Path, split: str) -> Stb:
    """Open a split of STB; HandvizError names what is missing, warnings what was left out."""
    if split not in SPLITS[name]:
        raise HandvizError(f"STB has no split {split!r}: there are {', '.join(SPLITS[name])}.", ErrorCode.UNKNOWN_NAME)
    part, _, views = split.partition("_")
    images, labels = _folders(root)
    sequences, warnings = _sequences(images, part)
    clips, problems = [], []
    for sequence in sequences:
        for view in VIEWS_OF[views]:
            clip, texts = _clip(images / sequence, labels, view)
            clips.append(clip)
            problems += texts
    warnings += messages_on(problems)
    counts = [len(clip.frames) for clip in clips]
    if not sum(counts):
        raise HandvizError(
            f"No image of STB's {split} is usable. {' '.join(warnings)} Download it again ({PAGE}).",
            ErrorCode.EMPTY_INPUT,
        )
    rows = np.stack(
        [np.repeat(np.arange(len(clips)), counts), np.concatenate([np.arange(count) for count in counts])], 1
    )
    return Stb(split, tuple(clips), rows, tuple(warnings))


def with_wrist(keypoints_m: FloatArray) -> FloatArray:
    """Return keypoints (..., 21, 3) in our order with the extrapolated wrist in place of the palm centre."""
    knuckle, palm = keypoints_m[..., RING_KNUCKLE, :], keypoints_m[..., WRIST, :]
    moved = keypoints_m.copy()
    moved[..., WRIST, :] = knuckle + WRIST_PER_PALM * (palm - knuckle)
    return moved


def in_view(points_m: FloatArray, view: str) -> FloatArray:
    """Move points (..., 3) from the frame of the labels to that of one of VIEWS, metres."""
    if view == "right":
        return points_m - [BASELINE_M, 0.0, 0.0]
    if view == "sk":
        return np.asarray((points_m - DEPTH_FROM_COLOUR_M) @ rotation_from_axis_angle(DEPTH_FROM_COLOUR))
    return points_m


def _folders(root: Path) -> tuple[Path, Path]:
    """Return the folder of the sequences and that of the labels; some copies have no folder ``images``."""
    labels = root / "labels"
    if not labels.is_dir():
        raise HandvizError(
            f"{labels} is missing: give the folder that holds STB's labels and images, as {PAGE} links to them.",
            ErrorCode.FILE_MISSING,
        )
    return (root / "images" if (root / "images").is_dir() else root), labels


def _sequences(images: Path, part: str) -> tuple[list[str], list[str]]:
    """Return the sequences of training or test that are on the disk, and a warning about the others."""
    wanted = [background + motion for background in BACKGROUNDS[part] for motion in MOTIONS]
    missing = [sequence for sequence in wanted if not (images / sequence).is_dir()]
    if len(missing) == len(wanted):
        raise HandvizError(
            f"{images / wanted[0]} is missing, and so are the other sequences: unpack STB's images ({PAGE}) into "
            f"{images}.",
            ErrorCode.FILE_MISSING,
        )
    warnings = [f"{len(missing)} of {len(wanted)} sequences are missing in {images}: {', '.join(missing)}."]
    return [sequence for sequence in wanted if sequence not in missing], warnings if missing else []


def _clip(folder: Path, labels: Path, view: str) -> tuple[Clip, list[str]]:
    """Return one camera's frames of a sequence, and a text KIND: DETAIL on each that is left out."""
    path = labels / f"{folder.name}_{VIEWS[view].labels}.mat"
    points = read_mat_array(path, VARIABLE, REMEDY)
    if points.ndim != 3 or points.shape[:2] != (3, KEYPOINT_COUNT) or not 0 < points.shape[2] <= MAX_FRAMES:
        raise HandvizError(
            f"{path}: {VARIABLE} has shape {points.shape}, expected (3, {KEYPOINT_COUNT}, {FRAMES}): {REMEDY}",
            ErrorCode.FILE_DAMAGED,
        )
    with np.errstate(invalid="ignore", over="ignore"):
        labelled = points.transpose(2, 1, 0)[:, list(KEYPOINTS_FROM_STB)] / MILLIMETRES_PER_METRE
        keypoints_m = with_wrist(in_view(labelled, view))
        usable = placed(keypoints_m)
    there = file_names(folder)
    frames, problems = [], _without_annotation(folder, view, there, len(keypoints_m))
    for frame in range(len(keypoints_m)):
        path = folder / _file(view, frame)
        if path.name not in there:
            problems.append(f"the image is missing: {path}")
        elif not usable[frame]:
            problems.append(f"the annotation cannot be of a hand in millimetres: {path}")
        elif not _is_inside(keypoints_m[frame], view):
            problems.append(f"the hand is outside the image: {path}")
        else:
            frames.append(frame)
    return Clip(folder.name, view, folder, np.array(frames, np.intp), keypoints_m[frames]), problems


def _without_annotation(folder: Path, view: str, there: frozenset[str], count: int) -> list[str]:
    """Return a text on each image whose number the labels do not reach."""
    pattern = re.compile(VIEWS[view].prefix + r"_(\d{1,9})\.png")
    numbers = sorted(int(match[1]) for match in map(pattern.fullmatch, there) if match)
    return [
        f"the labels do not reach the image: {folder / _file(view, number)}" for number in numbers if number >= count
    ]


def _is_inside(keypoints_m: FloatArray, view: str) -> bool:
    """Return whether at least one keypoint lies inside the image."""
    keypoints_px = project_points(keypoints_m, VIEWS[view].intrinsics)
    return bool(((keypoints_px >= 0) & (keypoints_px <= SIZE)).all(1).any())


def _file(view: str, frame: int) -> str:
    return f"{VIEWS[view].prefix}_{frame}.png"
