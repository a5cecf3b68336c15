"""HanCo's folders, its flags of every frame, and its many small annotation files, read once and cached."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.json_files import read_json
from handviz.core.records import KEYPOINT_COUNT, FloatArray
from handviz.data.datasets.freiburg import FARTHEST_M, MANO_SIZE, NEAREST_M, POSE_AND_SHAPE, camera_matrices, knuckle_of
from handviz.data.datasets.images import messages_on
from handviz.data.datasets.index import Arrays, Part, parts_folder, read_parts, stamp_of

CAMERAS = 8
PAGE = "lmb.informatik.uni-freiburg.de/resources/datasets/HanCo.en.html"
DOWNLOAD_AGAIN = f"download {PAGE} again"
ARCHIVES = {
    "meta.json": "HanCo_calib_meta",
    "calib": "HanCo_calib_meta",
    "xyz": "HanCo_xyz",
    "shape": "HanCo_shape",
    "mask_hand": "HanCo_mask_hand",
}
FLAGS = ("is_train", "is_valid", "has_fit")
IMAGE_PX = 224
MAX_META_BYTES = 2**26
READ_VERSION = 1


@dataclass(frozen=True)
class Folders:
    """Paths of the parts of a download."""

    root: Path
    meta: Path
    calibration: Path
    keypoints: Path
    shapes: Path
    masks: Path
    has_masks: bool
    images: dict[str, Path]
    """``rgb``, ``rgb_merged``, ...: those that were asked for"""


@dataclass(frozen=True, eq=False)
class FrameAnnotations:
    """Annotations of T frames, in the world's axes."""

    sequence: NDArray[np.intp]
    """(T,)"""
    frame: NDArray[np.intp]
    """(T,)"""
    keypoints_m: FloatArray
    """(T, 21, 3)"""
    mano: FloatArray
    """(T, 58) rotation, pose, shape"""
    knuckles_m: FloatArray
    """(T, 3) middle knuckle of the fitted hand; nan where the camera's numbers are missing"""
    matrices: FloatArray
    """(T, 8, 3, 3) K"""
    camera_from_world: FloatArray
    """(T, 8, 4, 4)"""
    seen: NDArray[np.bool_]
    """(T, 8) whether the hand is before the camera and some of it inside the image"""
    warnings: tuple[str, ...]


def found_folders(root: Path, images: Sequence[str]) -> Folders:
    """Find all folders, unpacked into one or each archive into its own; HandvizError names a missing one."""
    if not root.is_dir():
        raise HandvizError(
            f"{root} is not a folder: give the one into which HanCo's archives were unpacked.", ErrorCode.FILE_MISSING
        )
    masks = _path_of(root, "mask_hand")
    return Folders(
        root=root,
        meta=_found(root, "meta.json"),
        calibration=_found(root, "calib"),
        keypoints=_found(root, "xyz"),
        shapes=_found(root, "shape"),
        masks=masks,
        has_masks=masks.is_dir(),
        images={name: _found(root, name) for name in images},
    )


def read_annotations(folders: Folders, *, is_train: bool, only_valid: bool) -> FrameAnnotations:
    """Read the frames of a split that have a fit, or a validated one, with warnings about the others."""
    flags = read_flags(folders.meta)
    of_split = flags["is_train"] == is_train
    fitted = flags["is_valid" if only_valid else "has_fit"] & flags["has_fit"]
    warnings = _flag_warnings(of_split, fitted, only_valid=only_valid)
    chosen = of_split & fitted
    if not chosen.any():
        raise HandvizError(
            f"{folders.meta} lists no frame of this split with a fit. {' '.join(warnings)}", ErrorCode.EMPTY_INPUT
        )
    # Whole sequences are cached, so that every split finds the same files.
    rows = np.flatnonzero(flags["has_fit"] & np.isin(flags["sequence"], flags["sequence"][chosen]))
    sequences, starts = np.unique(flags["sequence"][rows], return_index=True)
    frames = np.split(flags["frame"][rows], starts[1:])
    parts = [_part(folders, int(sequence), ids) for sequence, ids in zip(sequences, frames, strict=True)]
    read = read_parts(parts, parts_folder("hanco", folders.root), "HanCo")
    arrays = {name: np.concatenate([part[name] for part in read])[chosen[rows]] for name in read[0]}
    problems, used = arrays.pop("problem"), rows[chosen[rows]]
    good = problems == ""
    warnings += messages_on(str(problem) for problem in problems)
    annotations = {name: array[good] for name, array in arrays.items()}
    return FrameAnnotations(
        flags["sequence"][used[good]], flags["frame"][used[good]], warnings=tuple(warnings), **annotations
    )


@dataclass(frozen=True, eq=False)
class _Meta:
    """``meta.json``: each flag of every frame of every sequence."""

    is_train: list[list[bool | int]]
    is_valid: list[list[bool | int]]
    has_fit: list[list[bool | int]]


@dataclass(frozen=True, eq=False)
class _Calibration:
    """A frame's file in ``calib``: lists that ``_numbers`` checks, as those of ``_Shape``."""

    K: Any
    M: Any


@dataclass(frozen=True, eq=False)
class _Shape:
    """A frame's file in ``shape``."""

    poses: Any
    shapes: Any


def read_flags(path: Path) -> dict[str, NDArray[Any]]:
    """Read sequence, frame and flags of every entry of ``meta.json``, one row per frame; HandvizError if damaged."""
    meta = read_json(path, _Meta, DOWNLOAD_AGAIN, max_bytes=MAX_META_BYTES)
    flags = [getattr(meta, name) for name in FLAGS]
    lengths = [[len(frames) for frames in flag] for flag in flags]
    if any(other != lengths[0] for other in lengths):
        raise HandvizError(f"{path}: its lists do not belong together: {DOWNLOAD_AGAIN}", ErrorCode.FILE_DAMAGED)
    columns: dict[str, NDArray[Any]] = {
        "sequence": np.repeat(np.arange(len(lengths[0])), lengths[0]),
        "frame": np.array([frame for length in lengths[0] for frame in range(length)], np.intp),
    }
    return columns | {
        name: np.array(list(chain.from_iterable(flag)), bool) for name, flag in zip(FLAGS, flags, strict=True)
    }


def _flag_warnings(of_split: NDArray[np.bool_], fitted: NDArray[np.bool_], *, only_valid: bool) -> list[str]:
    left = int(np.count_nonzero(of_split & ~fitted))
    what = "validated fit of MANO's shape" if only_valid else "fit of MANO's shape"
    return [f"{left:,} of {np.count_nonzero(of_split):,} frames are left out: they have no {what}."] if left else []


def _part(folders: Folders, sequence: int, frames: NDArray[np.intp]) -> Part:
    name = f"{sequence:04d}"
    sources = [folder / name for folder in (folders.calibration, folders.keypoints, folders.shapes)]
    stamp = stamp_of(READ_VERSION, frames.tolist(), *sources, folders.shapes / name / "cam0")
    return Part(name, stamp, lambda: _read_sequence(folders, name, frames))


def _read_sequence(folders: Folders, sequence: str, frames: NDArray[np.intp]) -> Arrays:
    """Read all frames of a sequence; those that cannot be used are nan, with a problem."""
    rows = [_read_frame(folders, sequence, f"{frame:08d}.json") for frame in frames]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _read_frame(folders: Folders, sequence: str, file: str) -> Arrays:
    """Read the arrays of ``FrameAnnotations`` of one frame."""
    arrays: Arrays = {
        "keypoints_m": np.full((KEYPOINT_COUNT, 3), np.nan),
        "mano": np.full(POSE_AND_SHAPE, np.nan),
        "knuckles_m": np.full(3, np.nan),
        "matrices": np.full((CAMERAS, 3, 3), np.nan),
        "camera_from_world": np.full((CAMERAS, 4, 4), np.nan),
        "seen": np.zeros(CAMERAS, bool),
        "problem": np.array(""),
    }
    try:
        calibration = read_json(folders.calibration / sequence / file, _Calibration, DOWNLOAD_AGAIN)
        arrays["matrices"] = _numbers(calibration.K, (CAMERAS, 3, 3))
        arrays["camera_from_world"] = _numbers(calibration.M, (CAMERAS, 4, 4))
        arrays["keypoints_m"] = _numbers(
            read_json(folders.keypoints / sequence / file, list[Any], DOWNLOAD_AGAIN), (21, 3)
        )
        shape = read_json(folders.shapes / sequence / file, _Shape, DOWNLOAD_AGAIN)
        arrays["mano"] = np.concatenate([_numbers(shape.poses, (48,)), _numbers(shape.shapes, (10,))])
        arrays["knuckles_m"] = _knuckle_world_m(folders.shapes / sequence / "cam0" / file, arrays)
        problem = _problem(arrays)
        arrays["seen"] = _seen(arrays)
    except HandvizError as error:
        problem = f"an annotation cannot be read: {error}"
    except (TypeError, ValueError, OverflowError) as error:
        problem = f"an annotation is not HanCo's: {sequence}/{file} ({error})"
    else:
        problem = problem and f"{problem}: {sequence}/{file}"
    return arrays | {"problem": np.array(problem)}


def _knuckle_world_m(path: Path, arrays: Arrays) -> FloatArray:
    """Return the knuckle (3,) from the numbers of camera 0; nan where the file is missing."""
    if not path.exists():
        return np.full(3, np.nan)
    numbers = _numbers(read_json(path, list[Any], DOWNLOAD_AGAIN), (MANO_SIZE,))
    knuckle_camera_m = knuckle_of(numbers, arrays["matrices"][0])
    camera_from_world = arrays["camera_from_world"][0]
    return np.asarray((knuckle_camera_m - camera_from_world[:3, 3]) @ camera_from_world[:3, :3])


def _problem(arrays: Arrays) -> str:
    """Return why the numbers cannot be those of a hand among cameras; empty if they can."""
    if not camera_matrices(arrays["matrices"]).all():
        return "a camera's K is not a camera matrix"
    rotations = arrays["camera_from_world"][:, :3, :3]
    if not np.allclose(rotations @ rotations.swapaxes(1, 2), np.eye(3), atol=1e-3):
        return "a camera's M is not a rigid transform"
    points = np.abs(np.concatenate([arrays["keypoints_m"].ravel(), arrays["camera_from_world"][:, :3, 3].ravel()]))
    if not (points < FARTHEST_M).all():
        return "keypoints or cameras are out of range"
    return "" if (np.abs(arrays["mano"]) < 100.0).all() else "MANO's numbers are out of range"


def _seen(arrays: Arrays) -> NDArray[np.bool_]:
    """Return whether the whole hand is before each camera (8,), and at least one keypoint inside the image."""
    transforms = arrays["camera_from_world"]
    points_m = np.einsum("cab,kb->cka", transforms[:, :3, :3], arrays["keypoints_m"]) + transforms[:, None, :3, 3]
    depths_m = np.maximum(points_m[..., 2:], NEAREST_M)
    pixels = np.einsum("cab,ckb->cka", arrays["matrices"], points_m / depths_m)[..., :2] + 0.5
    inside = ((pixels >= 0) & (pixels <= IMAGE_PX)).all(-1)
    return np.asarray(inside.any(1) & (points_m[..., 2] > NEAREST_M).all(1))


def _numbers(value: Any, shape: tuple[int, ...]) -> FloatArray:
    """Flatten nested lists to this shape; poses, shapes and translations come with outer lists of one."""
    array = np.array(value, np.float64)
    if array.size != np.prod(shape) or array.reshape(-1).shape != (np.prod(shape),):
        raise ValueError(f"{array.shape} numbers instead of {shape}")
    return array.reshape(shape)


def _found(root: Path, name: str) -> Path:
    path = _path_of(root, name)
    if not path.exists():
        archive = ARCHIVES.get(name, f"HanCo_{name}")
        raise HandvizError(
            f"{root / name} is missing: download {archive}.zip from {PAGE} and unpack it into {root}.",
            ErrorCode.FILE_MISSING,
        )
    return path


def _path_of(root: Path, name: str) -> Path:
    """Return the path in the root, or in a folder that is named as its archive."""
    inner = root / ARCHIVES.get(name, f"HanCo_{name}") / name
    return inner if inner.exists() else root / name
