"""Files with MANO's names, shapes, joint order and axes, whose hand is the open one: what tiny datasets are posed with.

They stand in for a user's own MANO_RIGHT.pkl and MANO_LEFT.pkl where only the format matters. Their numbers are
OpenHand's, rotated and reordered; nothing in them comes from MANO.
"""

import pickle
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from handviz.core.records import FloatArray
from handviz.hand_models.mano.model import FINGERS, load_mano
from handviz.hand_models.mano.parameters import MIRROR, ROTATION_MIRROR
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.template import JOINT_COUNT, POSE_SIZE, HandTemplate

RIGHT, LEFT = "MANO_RIGHT.pkl", "MANO_LEFT.pkl"
OPEN_JOINTS = (0, 4, 5, 6, 7, 8, 9, 13, 14, 15, 10, 11, 12, 1, 2, 3)
"""MANO's joints (wrist, index, middle, little, ring, thumb) in OpenHand's order."""
MANO_FROM_OPEN = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
"""MANO's right hand lies with its fingers along negative x, the palm down and the thumb towards z."""
WRIST_M = np.array([0.0957, 0.0064, 0.0062])
"""Position of the wrist joint: away from the origin, so that ignoring it shows."""
FACES = 1538
OPEN_TIPS = (4, 8, 12, 16, 20)
OTHER_TIPS = ((745,), (317, 333), (444, 445), (555, 556), (672, 673))
"""Vertices that some datasets call the tips of thumb, index, middle, ring and little finger: near the tip too."""
MEAN_POSE_RAD = 0.12
"""Standard deviation of the mean pose: away from the flat hand, so that flat_hand_mean matters."""


def vertex_order() -> NDArray[np.intp]:
    """Return OpenHand's vertex of each MANO vertex (778,): fingertips are where MANO has them, all others unchanged."""
    hand = load_open_hand()
    order = np.arange(hand.keypoint_regressor.shape[1])
    for keypoint, finger, others in zip(OPEN_TIPS, FINGERS, OTHER_TIPS, strict=True):
        tip = int(np.argmax(hand.keypoint_regressor[keypoint]))
        distances = np.linalg.norm(hand.vertices_m - hand.vertices_m[tip], axis=1)
        for target, vertex in zip((finger[-1], *others), np.argsort(distances), strict=False):
            now = int(np.flatnonzero(order == vertex)[0])
            order[[target, now]] = order[[now, target]]
    return order


def mano_pose(open_pose: FloatArray) -> FloatArray:
    """Convert axis-angles (45,) of OpenHand's joints to MANO's joints and axes, absolute."""
    joints = open_pose.reshape(JOINT_COUNT - 1, 3)[np.array(OPEN_JOINTS[1:]) - 1]
    return np.asarray((joints @ MANO_FROM_OPEN.T).ravel())


def right_arrays() -> dict[str, Any]:
    """Return the right hand's file as a dict."""
    hand, order = load_open_hand(), vertex_order()
    inverse = np.argsort(order)
    regressor = hand.joint_regressor[list(OPEN_JOINTS)][:, order].astype(np.float64)
    regressor /= regressor.sum(axis=1, keepdims=True)
    vertices = hand.vertices_m[order] @ MANO_FROM_OPEN.T + WRIST_M
    faces = np.zeros((FACES, 3), np.uint32)
    faces[: len(hand.faces)] = inverse[hand.faces]
    components = np.stack([mano_pose(row) for row in hand.pose_components])
    return {
        "v_template": vertices,
        "f": faces,
        "shapedirs": np.einsum("ab,vbs->vas", MANO_FROM_OPEN, hand.shape_basis[order].astype(np.float64)),
        "posedirs": np.zeros((len(vertices), 3, 9 * (JOINT_COUNT - 1))),
        "weights": hand.skinning_weights[order][:, list(OPEN_JOINTS)].astype(np.float64),
        "J_regressor": sparse.csc_matrix(regressor),
        "J": regressor @ vertices,
        "kintree_table": np.array([[4294967295, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14], range(JOINT_COUNT)]),
        "hands_mean": np.random.default_rng(3).normal(scale=MEAN_POSE_RAD, size=POSE_SIZE),
        "hands_components": components,
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


def left_arrays() -> dict[str, Any]:
    """Return the left hand's file: the right one mirrored, except the shape directions, as in the published files."""
    right = right_arrays()
    turns = np.tile(ROTATION_MIRROR, JOINT_COUNT - 1)
    return right | {
        "v_template": right["v_template"] * MIRROR,
        "f": right["f"][:, ::-1],
        "J": right["J"] * MIRROR,
        "hands_mean": right["hands_mean"] * turns,
        "hands_components": right["hands_components"] * turns,
    }


def write_stand_in_mano(folder: Path) -> tuple[Path, Path]:
    """Write MANO_RIGHT.pkl and MANO_LEFT.pkl into the folder; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    right, left = folder / RIGHT, folder / LEFT
    for path, arrays in ((right, right_arrays()), (left, left_arrays())):
        path.write_bytes(pickle.dumps(arrays, protocol=2))
    return right, left


@lru_cache(maxsize=1)
def stand_in_template() -> HandTemplate:
    """Return the template that ``load_mano`` makes of the right file, and of the left one too."""
    with tempfile.TemporaryDirectory() as folder:
        return load_mano(write_stand_in_mano(Path(folder))[0])
