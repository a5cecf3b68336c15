"""Writes a HanCo of a few moments: two training sequences and one for testing, eight cameras, every kind of file."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handviz.core.records import FloatArray
from handviz.data.synthetic.pose import PoseSampler
from handviz.hand_models.mano.parameters import posed
from handviz.hand_models.open_hand import load_open_hand
from tests.fake_datasets.shapes import chain_joints_m, drawn, keypoints_from_joints, write_backgrounds, write_jpeg
from tests.fake_datasets.stand_in_mano import mano_pose, right_arrays, stand_in_template

SIZE = (224, 224)
CAMERAS = 8
TIPS = (745, 317, 444, 556, 673)
SCREEN = np.array([70, 190, 60])
NETWORK_NOISE_M = 0.003
"""HanCo's keypoints come from a network: they are not MANO's joints, and confusing them shows."""
DISTANCE_M, FOCAL_PX, FOCAL_RATIO = 0.7, 470.0, 1.05
COLOURED = ("rgb_merged", "rgb_homo", "rgb_color_auto", "rgb_color_sample")


@dataclass(frozen=True, eq=False)
class MultiViewHand:
    """A hand in the world's axes and eight cameras around it."""

    rotation: Rotation
    pose: FloatArray
    """(45,) relative to the file's mean"""
    shape: FloatArray
    wrist_m: FloatArray
    vertices_m: FloatArray
    """(778, 3)"""
    keypoints_m: FloatArray
    """(21, 3) of the fitted hand"""
    matrices: FloatArray
    """(8, 3, 3), pixel centres at whole numbers"""
    camera_from_world: FloatArray
    """(8, 4, 4)"""


def write(name: str, root: Path, count: int, seed: int = 0) -> None:
    """Write ``count`` frames with a fit for training and as many for testing, and one more of each without; two
    backgrounds, which no download has. Existing files of these names are overwritten."""
    meta: dict[str, list[list[Any]]] = {}
    hands = iter_hands(2 * count + 2, seed)
    for sequence, flags in enumerate(_sequences(count)):
        for frame, has_fit in enumerate(flags["has_fit"]):
            _write_hand(root, sequence, frame, next(hands), is_train=flags["is_train"][frame], has_fit=has_fit)
        for name_of_flag, values in flags.items():
            meta.setdefault(name_of_flag, []).append(values)
    (root / "meta.json").write_text(json.dumps(meta))
    write_backgrounds(root, np.random.default_rng(seed))


def _sequences(count: int) -> Iterator[dict[str, list[Any]]]:
    """Yield the flags of two training sequences and one for testing; some first frames' fits are not validated."""
    for sequence, (fitted, unfitted) in enumerate((((count + 1) // 2, 0), (count // 2, 1), (count, 1))):
        frames = fitted + unfitted
        unchecked = int(sequence != 1 and count > 1)
        yield {
            "is_train": [sequence < 2] * frames,
            "subject_id": [sequence] * frames,
            "is_valid": [False] * unchecked + [True] * (fitted - unchecked) + [False] * unfitted,
            "object_id": [sequence or None] * frames,
            "has_fit": [True] * fitted + [False] * unfitted,
        }


def iter_hands(count: int, seed: int) -> Iterator[MultiViewHand]:
    """Yield the hands that ``write`` writes, frame by frame."""
    rng = np.random.default_rng(seed)
    poses = PoseSampler(load_open_hand()).sample(rng, count)
    for open_pose in poses:
        yield _random_hand(rng, mano_pose(open_pose))


def _random_hand(rng: np.random.Generator, pose: FloatArray) -> MultiViewHand:
    template = stand_in_template()
    relative, shape = pose - template.pose_mean, rng.normal(scale=0.7, size=10)
    rotation, wrist_m = Rotation.random(rng=rng), rng.uniform(-0.3, 0.3, 3)
    vertices_m = rotation.apply(posed(template, relative[None], shape[None])[0]) + wrist_m
    joints_m = rotation.apply(chain_joints_m(pose, shape)) + wrist_m
    matrices, transforms = zip(*(_camera(rng, vertices_m.mean(0), number) for number in range(CAMERAS)), strict=True)
    keypoints_m = keypoints_from_joints(joints_m, vertices_m, TIPS)
    return MultiViewHand(
        rotation, relative, shape, wrist_m, vertices_m, keypoints_m, np.array(matrices), np.array(transforms)
    )


def _camera(rng: np.random.Generator, centre_m: FloatArray, number: int) -> tuple[FloatArray, FloatArray]:
    """Return K (3, 3) and camera from world (4, 4) of a random camera that looks past the hand's centre."""
    matrix = np.diag([FOCAL_PX, FOCAL_PX * FOCAL_RATIO, 1.0])
    matrix[:2, 2] = rng.uniform(95, 130, 2)
    transform = np.eye(4)
    around = Rotation.from_rotvec([0, 2 * np.pi * number / CAMERAS, 0])
    transform[:3, :3] = (Rotation.from_rotvec(rng.normal(scale=0.3, size=3)) * around).as_matrix()
    transform[:3, 3] = np.array([*rng.uniform(-0.02, 0.02, 2), DISTANCE_M]) - transform[:3, :3] @ centre_m
    return matrix, transform


def wrist_rest_m(shape: FloatArray) -> FloatArray:
    """Return the wrist joint (3,) of MANO's rest hand of this shape, about which its layer rotates."""
    arrays = right_arrays()
    return np.asarray((arrays["J_regressor"] @ (arrays["v_template"] + arrays["shapedirs"] @ shape))[0])


def camera_numbers(hand: MultiViewHand, camera: int) -> FloatArray:
    """Return MANO's numbers (61,) in the axes of a camera, the hand placed by its middle knuckle's pixel and scale."""
    transform, matrix = hand.camera_from_world[camera], hand.matrices[camera]
    rotation = (Rotation.from_matrix(transform[:3, :3]) * hand.rotation).as_rotvec()
    knuckle_m = transform[:3, :3] @ hand.keypoints_m[9] + transform[:3, 3]
    scale = 0.5 * (matrix[0, 0] + matrix[1, 1]) / knuckle_m[2]
    return np.concatenate([rotation, hand.pose, hand.shape, (matrix @ knuckle_m)[:2] / knuckle_m[2], [scale]])


def _write_hand(root: Path, sequence: int, frame: int, hand: MultiViewHand, *, is_train: bool, has_fit: bool) -> None:
    file = Path(f"{sequence:04d}") / f"{frame:08d}.json"
    rng = np.random.default_rng([sequence, frame])
    seen_m = hand.keypoints_m + rng.normal(scale=NETWORK_NOISE_M, size=(21, 3))
    _write_json(root / "calib" / file, {"K": hand.matrices.tolist(), "M": hand.camera_from_world.tolist()})
    _write_json(root / "xyz" / file, seen_m.tolist())
    if has_fit:
        poses = np.concatenate([hand.rotation.as_rotvec(), hand.pose])
        translation_m = hand.wrist_m - wrist_rest_m(hand.shape)
        world = {
            "poses": [poses.tolist()],
            "shapes": [hand.shape.tolist()],
            "global_t": [[translation_m.tolist()]],
        }
        _write_json(root / "shape" / file, world)
    for camera in range(CAMERAS):
        inner = Path(f"{sequence:04d}") / f"cam{camera}" / f"{frame:08d}"
        if has_fit:
            _write_json(root / "shape" / inner.with_suffix(".json"), camera_numbers(hand, camera).tolist())
        _write_images(root, inner.with_suffix(".jpg"), hand, camera, is_train)


def _write_images(root: Path, inner: Path, hand: MultiViewHand, camera: int, is_train: bool) -> None:
    """Write images before the green screen and recoloured ones for training, before grey for testing; masks."""
    transform = hand.camera_from_world[camera]
    vertices_m = hand.vertices_m @ transform[:3, :3].T + transform[:3, 3]
    rng = np.random.default_rng(int(inner.stem))
    image = drawn(vertices_m, hand.matrices[camera], SIZE, np.array([230.0, 180.0, 150.0]))
    mask = np.asarray(255 * image.any(axis=2), np.uint8)
    for folder in ("mask_hand", "mask_fg"):
        write_jpeg(root / folder / inner, mask)
    write_jpeg(root / "rgb" / inner, _before(image, mask, SCREEN if is_train else np.array([120, 120, 115])))
    for folder in COLOURED if is_train else ():
        write_jpeg(root / folder / inner, _before(image, mask, rng.integers(40, 220, 3)))


def _before(image: NDArray[np.uint8], mask: NDArray[np.uint8], colour: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.where(mask[..., None] > 0, image, colour), np.uint8)


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
