"""Writes a FreiHAND v2 of a few rendered hands: every file of the two archives, in their formats."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray
from tests.fake_datasets.hands import TinyHand, tiny_hands
from tests.fake_datasets.shapes import keypoints_from_joints, stretched, write_backgrounds, write_jpeg
from tests.fake_datasets.stand_in_mano import stand_in_template

SIDE_PX = 224
TIPS = (744, 320, 443, 555, 672)
SCREEN = (70, 190, 60)
STRETCH = 1.06
"""Focal lengths along x and y differ, so that confusing them shows."""
HALF_PX = 0.5
"""FreiHAND's pixel centres lie at whole numbers, the rendered hands' at halves."""


def write(name: str, root: Path, count: int, seed: int = 0) -> None:
    """Write ``count`` hands for training, in four images each, and as many for evaluation, in one folder; and two
    backgrounds, which no download has."""
    write_backgrounds(root, np.random.default_rng(seed))
    for part, part_seed in (("training", seed), ("evaluation", seed + 1)):
        size = (SIDE_PX, SIDE_PX)
        hands = [stretched(hand, STRETCH) for hand in tiny_hands(count, seed=part_seed, size=size, reach=0.95)]
        _write_lists(root, part, hands)
        _write_images(root / part, hands, part == "training", np.random.default_rng(part_seed))


def camera_matrix(hand: TinyHand) -> FloatArray:
    """Return K (3, 3) with pixel centres at whole numbers."""
    matrix = hand.intrinsics.matrix.copy()
    matrix[:2, 2] -= HALF_PX
    return matrix


def mano_numbers(hand: TinyHand, matrix: FloatArray, knuckle_m: FloatArray) -> FloatArray:
    """Return (61,) rotation, pose relative to the mean, shape, and the middle knuckle's pixel and scale."""
    pose = hand.pose - stand_in_template().pose_mean
    root_px = (matrix @ knuckle_m)[:2] / knuckle_m[2]
    scale = 0.5 * (matrix[0, 0] + matrix[1, 1]) / knuckle_m[2]
    return np.concatenate([hand.global_rotation, pose, hand.shape, root_px, [scale]])


def _write_lists(root: Path, part: str, hands: Sequence[TinyHand]) -> None:
    """Write the five lists of annotations, one entry per hand."""
    lists: dict[str, list[Any]] = {"K": [], "mano": [], "scale": [], "verts": [], "xyz": []}
    for hand in hands:
        matrix, keypoints_m = camera_matrix(hand), keypoints_from_joints(hand.joints_m, hand.vertices_m, TIPS)
        lists["K"].append(matrix.tolist())
        lists["mano"].append([mano_numbers(hand, matrix, keypoints_m[9]).tolist()])
        lists["scale"].append(float(np.linalg.norm(keypoints_m[10] - keypoints_m[9])))
        lists["verts"].append(hand.vertices_m.tolist())
        lists["xyz"].append(keypoints_m.tolist())
    root.mkdir(parents=True, exist_ok=True)
    for kind, entries in lists.items():
        (root / f"{part}_{kind}.json").write_text(json.dumps(entries))


def _write_images(folder: Path, hands: Sequence[TinyHand], is_training: bool, rng: np.random.Generator) -> None:
    """Write plain images for evaluation; the green screen, three other backgrounds and masks for training."""
    for number, hand in enumerate(hands):
        if not is_training:
            write_jpeg(_file(folder / "rgb", number), hand.image)
            continue
        write_jpeg(_file(folder / "mask", number), hand.mask)
        for version in range(4):
            background = SCREEN if version == 0 else rng.integers(30, 220, 3)
            write_jpeg(_file(folder / "rgb", number + version * len(hands)), on_background(hand, background))


def on_background(hand: TinyHand, colour: Any) -> NDArray[np.uint8]:
    """Return the hand before a wall of this colour (H, W, 3)."""
    fraction = hand.mask[..., None] / 255.0
    return np.asarray(np.rint(fraction * hand.image + (1 - fraction) * np.asarray(colour, np.float64)), np.uint8)


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}.jpg"
