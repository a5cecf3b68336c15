"""Place a hand of known shape where several calibrated views see its points: rotation, position and size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from handviz.core.geometry import rotation_from_axis_angle
from handviz.core.multiview import CalibratedView, triangulate
from handviz.core.records import FloatArray

SIZE_STD = 0.12
"""Standard deviation of the logarithm of a hand's size about the network's: adults and children."""
EXPECTED_ERROR = 0.04
"""Of a point in a view, as a fraction of the hand's extent there; larger ones count less and less (soft L1)."""
MAX_LOG_SIZE = 0.7
LEAST_VARIANCE = 1e-6
MAX_STEPS = 50


@dataclass(frozen=True, eq=False)
class ViewedPoints:
    """Where a view sees the points of a hand."""

    camera: CalibratedView
    points_px: FloatArray
    """(K, 2)"""
    extent_px: float
    """The longer side of the hand's box."""


@dataclass(frozen=True, eq=False)
class RigPlace:
    """Where a hand is: ``position_m + size * points @ rotation.T`` in the world of the rig."""

    rotation: FloatArray
    """(3, 3) world_from_hand"""
    position_m: FloatArray
    """(3,) of the hand's origin"""
    size: float
    """Factor on the points that were given."""
    position_covariance_m2: FloatArray
    """(3, 3) of ``position_m`` given the size"""
    size_std: float
    """Standard deviation of ``size``, as a fraction of it."""


def place_in_rig(points_m: FloatArray, views: Sequence[ViewedPoints], start: FloatArray) -> RigPlace:
    """Return the place of points (K, 3) whose projections in two or more views are nearest to what these see.

    ``start`` (3, 3) is a world_from_hand rotation near the right one. Robust least squares over rotation, position and
    logarithm of the size, which has a normal prior of ``SIZE_STD``.
    """
    cameras = [view.camera for view in views]
    position_m = _start(points_m @ start.T, cameras, np.stack([view.points_px for view in views]))
    weights = [1 / (EXPECTED_ERROR * view.extent_px) for view in views]

    def residuals(parameters: FloatArray) -> FloatArray:
        rotation = rotation_from_axis_angle(parameters[:3]) @ start
        world = position_m + parameters[3:6] + np.exp(parameters[6]) * (points_m @ rotation.T)
        errors = [
            weight * (view.camera.intrinsics.project(view.camera.in_camera(world)) - view.points_px)
            for view, weight in zip(views, weights, strict=True)
        ]
        return np.append(np.concatenate(errors).ravel(), parameters[6] / SIZE_STD)

    bound = np.array([np.inf] * 6 + [MAX_LOG_SIZE])
    found = least_squares(residuals, np.zeros(7), bounds=(-bound, bound), loss="soft_l1", max_nfev=MAX_STEPS)
    variance = 2 * found.cost / max(len(found.fun) - 7, 1)
    information = found.jac.T @ found.jac / max(variance, LEAST_VARIANCE)
    return RigPlace(
        rotation=np.asarray(rotation_from_axis_angle(found.x[:3]) @ start),
        position_m=position_m + found.x[3:6],
        size=float(np.exp(found.x[6])),
        position_covariance_m2=np.linalg.pinv(information[:6, :6])[3:, 3:],
        size_std=float(np.sqrt(np.linalg.pinv(information)[6, 6])),
    )


def _start(rotated_m: FloatArray, cameras: Sequence[CalibratedView], points_px: FloatArray) -> FloatArray:
    """Return the mean position at which rotated points (K, 3) lie on the triangulated ones."""
    offsets = triangulate(cameras, points_px) - rotated_m
    known = offsets[np.isfinite(offsets).all(axis=1)]
    return np.median(known, axis=0) if len(known) else np.zeros(3)


def mean_rotation(rotations: FloatArray) -> FloatArray:
    """Return the rotation (3, 3) nearest to rotations (N, 3, 3) in the least squares of their elements.

    The chordal mean: Hartley, Trumpf, Dai, Li, "Rotation averaging" (2013), section 5.3.
    """
    left, _, right = np.linalg.svd(rotations.mean(axis=0))
    return np.asarray(left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right)
