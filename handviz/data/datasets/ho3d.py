"""HO-3D versions 2 and 3 as they are downloaded (Hampali et al. 2020), each picture with one right hand.

Facts and where they come from:
- folders, lists, keys of the annotations and OpenGL's camera axes (x right, y up, z backward): README.txt of the
  download; right hands only: README.md of ``shreyashampali/ho3d``;
- order of the 21 joints, pose from the flat hand (``flat_hand_mean=True``): ``vis_HO3D.py`` there;
- fingertips: ``setup_mano.py`` there, which adds these vertices to MANO's joints;
- the released ground truth of the evaluation split (``evaluation_xyz.json``, ``evaluation_verts.json``): one entry per
  line of ``evaluation.txt``, in the axes and the joint order of submissions (``pred.py``, ``eval.py`` there);
- pixel centres at whole numbers: RealSense's intrinsics, and ``utils/vis_utils.py`` there rounds projections to pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import HandvizError
from handviz.core.geometry import axis_angle_from_rotation, project_points, rotation_from_axis_angle
from handviz.core.records import KEYPOINT_COUNT, FloatArray
from handviz.data.datasets.annotated import AnnotatedHand
from handviz.data.datasets.freiburg import intrinsics_from
from handviz.data.datasets.ho3d_frames import EVALUATION, PICTURE_SUFFIX, Ho3dFrames, read_frames
from handviz.data.datasets.json_arrays import number_lists
from handviz.data.datasets.pictures import read_picture
from handviz.hand_models.mano_parameters import ManoParameters

SPLITS = {"ho3d_v2": ("train", EVALUATION), "ho3d_v3": ("train", EVALUATION)}
OFFICIAL_COUNTS = {
    ("ho3d_v2", "train"): 66_034,
    ("ho3d_v2", EVALUATION): 11_524,
    ("ho3d_v3", "train"): 83_325,
    ("ho3d_v3", EVALUATION): 20_137,
}
"""Lines of the lists. ``db_size`` in the authors' ``vis_utils.py`` names 78,297 for version 3's training split, but its
README counts 103,462 pictures in all, and its ``train.txt`` has the 83,325 that then remain."""
TIP_VERTICES = (744, 333, 444, 555, 672)
KEYPOINTS_FROM_HO3D = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
"""MANO's joints (wrist, index, middle, little, ring, thumb), then the tips from thumb to little finger."""
OPENGL = np.array([1.0, -1.0, -1.0])
"""Ours from OpenGL's axes, and back: half a turn about x."""
SIZE = (640, 480)
VERTEX_COUNT = 778
LARGEST_ROOT_ERROR_M = 0.002
GROUND_TRUTH = "evaluation_xyz.json"
VERTICES = "evaluation_verts.json"


def open_split(name: str, root: Path, split: str) -> "Ho3d":
    """The split of a download whose folder ``root`` holds train, evaluation and their lists.

    Raises HandvizError naming the first thing that is missing, or that belongs to something else.
    """
    if name not in SPLITS or split not in SPLITS[name]:
        raise HandvizError(f"{name}/{split} is no split of HO-3D; there are {', '.join(SPLITS['ho3d_v2'])}.")
    frames = read_frames(name, root, split)
    if split != EVALUATION:
        return Ho3d(name, split, root, frames)
    truth = _ground_truth(root, frames)
    return Ho3d(name, split, root, frames, truth=truth)


@dataclass(frozen=True, eq=False)
class _Truth:
    """Of the whole list ``evaluation.txt``, in OpenGL's axes and HO-3D's order."""

    joints_m: FloatArray
    vertices_m: FloatArray | None


@dataclass(frozen=True, eq=False)
class Ho3d:
    """A split of HO-3D, its annotations in memory; released vertices are mapped from the cache folder."""

    name: str
    split: str
    root: Path
    frames: Ho3dFrames
    truth: _Truth | None = None
    tip_vertices: tuple[int, int, int, int, int] = TIP_VERTICES

    def __len__(self) -> int:
        return len(self.frames.names)

    @property
    def remarks(self) -> Sequence[str]:
        """Sentences on what was left out and why, with counts."""
        if self.truth is not None and self.truth.vertices_m is None:
            return (*self.frames.remarks, f"There is no {VERTICES}: vertices cannot be measured, joints can.")
        return self.frames.remarks

    def hand(self, index: int) -> AnnotatedHand:
        """The annotation of a sample; the picture is not opened."""
        if self.truth is None:
            return self._hand(index, self.frames.field("joints", index), mano=self._mano(index))
        line = int(self.frames.lines[index])
        vertices = self.truth.vertices_m
        return self._hand(index, self.truth.joints_m[line], vertices=None if vertices is None else vertices[line])

    def picture(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB; HandvizError names a file that is missing or damaged."""
        return read_picture(self._path(index), SIZE)

    def _path(self, index: int) -> Path:
        sequence, number = self.frames.names[index].split("/")
        return self.root / self.split / sequence / "rgb" / (number + PICTURE_SUFFIX[self.name])

    def _hand(
        self, index: int, joints: FloatArray, *, vertices: FloatArray | None = None, mano: ManoParameters | None = None
    ) -> AnnotatedHand:
        camera = intrinsics_from(self.frames.field("camera", index))
        keypoints = in_our_order(joints)
        return AnnotatedHand(
            name=self.frames.names[index],
            picture=self._path(index),
            handedness="right",
            intrinsics=camera,
            keypoints_px=project_points(keypoints, camera),
            keypoints_m=keypoints,
            vertices_m=None if vertices is None else np.asarray(vertices * OPENGL, np.float64),
            mano=mano,
        )

    def _mano(self, index: int) -> ManoParameters:
        """HO-3D moves the hand in OpenGL's axes; only the wrist's place, which the keypoints have, can be turned into
        ours without the MANO file, so the translation is not a number."""
        pose = self.frames.field("pose", index)
        turned = np.diag(OPENGL) @ rotation_from_axis_angle(pose[:3])
        return ManoParameters(
            handedness="right",
            kind="absolute",
            pose=pose[3:],
            shape=self.frames.field("shape", index),
            global_rotation=axis_angle_from_rotation(turned),
            translation_m=np.full(3, np.nan),
        )


def in_our_order(joints: FloatArray) -> FloatArray:
    """(21, 3) of HO-3D -> the project's order and axes."""
    return np.asarray(joints[list(KEYPOINTS_FROM_HO3D)] * OPENGL, np.float64)


def _ground_truth(root: Path, frames: Ho3dFrames) -> _Truth:
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
                "different versions of HO-3D."
            )
    _check_roots(root, joints, frames)
    return _Truth(joints, vertices)


def _points(path: Path, count: int) -> FloatArray:
    return number_lists(path, (count, 3), "download the released ground truth again.", dtype=np.float32)


def _released(root: Path, file: str) -> Path:
    """The file in the folder itself or in one beside train and evaluation, as the authors' archive is unpacked."""
    found = [root / file, *sorted(root.glob(f"*/{file}"))]
    for path in found:
        if path.is_file():
            return path
    raise HandvizError(
        f"{root / file} is missing. The authors have released the evaluation split's ground truth: see README.md of "
        "shreyashampali/ho3d on GitHub for the archive of this version, and put its files here."
    )


def _check_roots(root: Path, joints: FloatArray, frames: Ho3dFrames) -> None:
    """The annotations of the evaluation split have the root joint: it must be that of the ground truth."""
    roots = frames.arrays["joints"]
    errors = np.linalg.norm(joints[frames.lines, 0] - roots, axis=1)
    if len(errors) and np.median(errors) > LARGEST_ROOT_ERROR_M:
        raise HandvizError(
            f"{root}: the wrists in {GROUND_TRUTH} lie {np.median(errors) * 1000:.0f} mm from those in the folder "
            f"{EVALUATION}: the file is another version's, or {EVALUATION}.txt was changed."
        )
