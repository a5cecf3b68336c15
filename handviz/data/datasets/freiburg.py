"""Common parts of FreiHAND and HanCo, both from Freiburg: 61 MANO numbers, and cameras as OpenCV has them.

The 61 numbers are split, and the middle knuckle placed, as in ``model.py`` of github.com/lmb-freiburg/freihand and
``mano_utils.py`` of github.com/lmb-freiburg/contra-hand: 48 of pose relative to the file's mean (flat_hand_mean=False),
without principal components; 10 of shape; the knuckle's pixel; focal length by its depth.
"""

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray, Intrinsics
from handviz.hand_models.mano.parameters import ManoParameters

MANO_SIZE = 61
POSE_AND_SHAPE = 58
MAX_PARAMETER = 100.0
FARTHEST_M = 10.0
NEAREST_M = 0.05
MAX_PX = 1e5
PIXEL_CENTRE = 0.5
"""Their code draws ``K xyz`` with the first pixel's centre at (0, 0); ours is at (0.5, 0.5)."""


def intrinsics_from(matrix: FloatArray) -> Intrinsics:
    """Return the camera of K (3, 3) with pixel centres at whole numbers."""
    return Intrinsics(
        focal_px=float(matrix[0, 0]),
        focal_y_px=float(matrix[1, 1]),
        centre_x_px=float(matrix[0, 2]) + PIXEL_CENTRE,
        centre_y_px=float(matrix[1, 2]) + PIXEL_CENTRE,
        origin="calibrated",
    )


def mano_from(numbers: FloatArray, knuckle_m: FloatArray | None = None) -> ManoParameters:
    """Return MANO's parameters of the first 58 numbers; translation is nan: knuckle or wrist position the hand."""
    return ManoParameters(
        handedness="right",
        kind="relative",
        global_rotation=numbers[:3],
        pose=numbers[3:48],
        shape=numbers[48:58],
        translation_m=np.full(3, np.nan),
        knuckle_m=knuckle_m,
    )


def knuckle_of(numbers: FloatArray, matrix: FloatArray) -> FloatArray:
    """Return the middle knuckle (3,) in the camera's frame, from the last three of the 61 numbers."""
    pixel, scale = numbers[58:60], numbers[60]
    focals, centre = matrix[[0, 1], [0, 1]], matrix[:2, 2]
    depth_m = focals.mean() / scale
    return np.append((pixel - centre) / focals, 1.0) * depth_m


def plausible(numbers: FloatArray) -> NDArray[np.bool_]:
    """Return whether pose and shape of 61 numbers (N, 61) can be a hand's, (N,); nan cannot."""
    return np.asarray((np.abs(numbers[:, :POSE_AND_SHAPE]) < MAX_PARAMETER).all(1) & (numbers[:, -1] > 0))


def placed(points_m: FloatArray) -> NDArray[np.bool_]:
    """Return whether all points (N, P, 3) lie before the camera and within reach, (N,); nan does not."""
    # Comparing extremes needs no second array of this size, and comparisons with nan are false.
    near = (points_m.max((1, 2)) < FARTHEST_M) & (points_m.min((1, 2)) > -FARTHEST_M)
    return np.asarray(near & (points_m[..., 2].min(1) > NEAREST_M))


def camera_matrices(matrices: FloatArray) -> NDArray[np.bool_]:
    """Return whether each K (N, 3, 3) is a pinhole camera's, without skew, (N,)."""
    focals, centres = matrices[:, [0, 1], [0, 1]], matrices[:, :2, 2]
    others = matrices[:, [0, 1, 2, 2, 2], [1, 0, 0, 1, 2]]
    sane = (focals > 1).all(1) & (focals < MAX_PX).all(1) & (np.abs(centres) < MAX_PX).all(1)
    return np.asarray(sane & (np.abs(others - [0, 0, 0, 0, 1]) < 1e-6).all(1))
