"""Small pure functions on rotations, affine maps and pinhole cameras (numpy)."""

import math
from dataclasses import replace

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import NEAREST_M as NEAREST_M
from handviz.core.records import Detection, FloatArray, HandMesh, Intrinsics, IntrinsicsOrigin
from handviz.core.shape_posterior import ShapePosterior

IDENTITY = np.eye(3)
CROSS_OF_AXES = np.array(
    [[0, 0, 0, 0, 0, -1, 0, 1, 0], [0, 0, 1, 0, 0, 0, -1, 0, 0], [0, -1, 0, 1, 0, 0, 0, 0, 0]], float
)
"""(3, 9) ``cross_matrix`` of each axis, as a row."""


def resized(
    covariance_mm2: FloatArray | None, std_mm: FloatArray | None, smoothed_std_mm: FloatArray | None
) -> FloatArray | None:
    """Scale covariances (N, 3, 3) from standard deviations (N,) to smoothed ones (N,); None for None."""
    if covariance_mm2 is None or std_mm is None or smoothed_std_mm is None:
        return None
    ratio = smoothed_std_mm / np.maximum(std_mm, 1e-6)
    return np.asarray(covariance_mm2 * np.square(ratio)[:, None, None])


def resized_shape(
    shape: ShapePosterior | None, std_mm: FloatArray | None, smoothed_std_mm: FloatArray | None
) -> ShapePosterior | None:
    """Scale a posterior from keypoints' standard deviations (21,) to smoothed ones (21,); None for None."""
    if shape is None or std_mm is None or smoothed_std_mm is None:
        return None
    return shape.resized(smoothed_std_mm / np.maximum(std_mm, 1e-6))


def procrustes_aligned(
    predicted: FloatArray, truth: FloatArray, *, may_mirror: bool = False, norm_epsilon: float = 0.0
) -> FloatArray:
    """Align predictions (N, K, 3) with the truth (N, K, 3) by each hand's best rotation, scale and translation.

    Least squares without reflection (Umeyama 1991). A hand whose points all coincide is only translated.
    ``may_mirror`` allows a reflection where that fits better, and ``norm_epsilon``, in the points' unit, is added to
    the norm that predictions are divided by: FreiHAND's eval.py does both.
    """
    _check_same_shape(predicted, truth)
    predicted_mean = predicted.mean(axis=1, keepdims=True)
    truth_mean = truth.mean(axis=1, keepdims=True)
    centred, target = predicted - predicted_mean, truth - truth_mean
    left, singular, right = np.linalg.svd(target.transpose(0, 2, 1) @ centred)
    sign = np.ones_like(singular)
    if not may_mirror:
        sign[:, 2] = np.sign(np.linalg.det(left @ right))
    rotation = (left * sign[:, None, :]) @ right
    spread = np.square(np.sqrt(np.einsum("nki,nki->n", centred, centred)) + norm_epsilon)
    scale = np.divide((singular * sign).sum(axis=1), spread, out=np.ones_like(spread), where=spread > 0)
    return scale[:, None, None] * (centred @ rotation.transpose(0, 2, 1)) + truth_mean


def _check_same_shape(predicted: FloatArray, truth: FloatArray) -> None:
    if predicted.shape != truth.shape or predicted.ndim != 3 or predicted.shape[-1] != 3:
        raise HandvizError(
            f"expected two arrays (N, K, 3), got {predicted.shape} and {truth.shape}", ErrorCode.WRONG_SHAPE
        )


DEFAULT_FIELD_OF_VIEW_DEG = 60.0
FOCAL_STD_FRACTIONS: dict[IntrinsicsOrigin, float] = {
    "assumed": 0.2, "exif": 0.05, "stated": 0.03, "calibrated": 0.005
}  # fmt: skip
"""Assumed: webcams span some 50 to 80 degrees, which is 23 % more to 31 % less than the focal length of 60 degrees.
EXIF: whole millimetres, for the diagonal or the width of the film (4 % apart). Stated: makers round, and autofocus
changes the focal length."""


def intrinsics_from_field_of_view(
    width: int, height: int, field_of_view_deg: float, *, origin: IntrinsicsOrigin = "stated"
) -> Intrinsics:
    """Return the pinhole camera whose longer image side spans ``field_of_view_deg`` degrees."""
    focal_px = 0.5 * max(width, height) / math.tan(math.radians(field_of_view_deg) / 2)
    return Intrinsics(focal_px, width / 2, height / 2, origin=origin, focal_std_fraction=FOCAL_STD_FRACTIONS[origin])


def project_points(points_m: FloatArray, intrinsics: Intrinsics) -> FloatArray:
    """Project camera-frame points (..., 3) to image pixels (..., 2); depths below 1 cm count as 1 cm."""
    return intrinsics.project(points_m)


def distance_from_detector(hand: HandMesh, detection: Detection) -> float:
    """Return the mean distance of projected from detected keypoints, as a fraction of the longer side of their box."""
    distance_px = np.linalg.norm(hand.keypoints_px - detection.keypoints_px, axis=1).mean()
    return float(distance_px / max(np.ptp(detection.keypoints_px, axis=0).max(), 1e-6))


def rescaled(intrinsics: Intrinsics, factor_x: float, factor_y: float) -> Intrinsics:
    """Return the camera of the same image with ``factor_x`` times the columns and ``factor_y`` times the rows."""
    focal_x_px, focal_y_px = intrinsics.focals_px * [factor_x, factor_y]
    centre_x_px, centre_y_px = intrinsics.centre_px * [factor_x, factor_y]
    return replace(
        intrinsics,
        focal_px=float(focal_x_px),
        focal_y_px=None if focal_x_px == focal_y_px else float(focal_y_px),
        centre_x_px=float(centre_x_px),
        centre_y_px=float(centre_y_px),
    )


def rotated(intrinsics: Intrinsics, quarter_turns: int, size: tuple[int, int]) -> Intrinsics:
    """Return the camera of an image of ``size`` (width, height) after ``quarter_turns`` clockwise."""
    width, height = size
    for _ in range(quarter_turns % 4):
        focal_x_px, focal_y_px = intrinsics.focals_px
        intrinsics = replace(
            intrinsics,
            focal_px=float(focal_y_px),
            focal_y_px=None if focal_x_px == focal_y_px else float(focal_x_px),
            centre_x_px=height - intrinsics.centre_y_px,
            centre_y_px=intrinsics.centre_x_px,
        )
        width, height = height, width
    return intrinsics


def apply_affine(affine: FloatArray, points: FloatArray) -> FloatArray:
    """Map points (..., 2) by an affine (2, 3)."""
    return points @ affine[:, :2].T + affine[:, 2]


def invert_affine(affine: FloatArray) -> FloatArray:
    """Return the inverse (2, 3) of an affine (2, 3); raises numpy.linalg.LinAlgError if it is singular."""
    (a, b, x), (c, d, y) = affine.tolist()
    determinant = a * d - b * c
    if determinant == 0:
        raise np.linalg.LinAlgError("the affine is singular")
    return np.array([[d, -b, b * y - d * x], [-c, a, c * x - a * y]]) / determinant


def rotation_from_axis_angle(axis_angle: FloatArray) -> FloatArray:
    """Return rotations (..., 3, 3) of axis-angles (..., 3) in radians by Rodrigues' formula."""
    axis_angle = np.asarray(axis_angle, dtype=np.float64)
    if axis_angle.ndim == 1:
        return _one_rotation(*axis_angle.tolist())
    angle = np.sqrt((axis_angle**2).sum(axis=-1))[..., None, None]
    cross = cross_matrix(axis_angle) / np.maximum(angle, 1e-12)
    return IDENTITY + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def _one_rotation(x: float, y: float, z: float) -> FloatArray:
    """Return the rotation (3, 3) of one axis-angle by the same formula, written out: four times as fast."""
    angle = math.hypot(x, y, z)
    if angle == 0:
        return np.eye(3)
    sine, versine = math.sin(angle) / angle, 2 * (math.sin(angle / 2) / angle) ** 2
    xx, yy, zz = versine * x * x, versine * y * y, versine * z * z
    xy, xz, yz = versine * x * y, versine * x * z, versine * y * z
    x, y, z = sine * x, sine * y, sine * z
    return np.array([[1 - yy - zz, xy - z, xz + y], [xy + z, 1 - xx - zz, yz - x], [xz - y, yz + x, 1 - xx - yy]])


def cross_matrix(vectors: FloatArray) -> FloatArray:
    """Return the matrices (..., 3, 3) of vectors (..., 3) whose product with another one is the cross product."""
    return (vectors @ CROSS_OF_AXES).reshape(*vectors.shape, 3)


def axis_angle_from_rotation(rotation: FloatArray) -> FloatArray:
    """Return the axis-angle (3,) of a rotation (3, 3), the shorter way round."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation.tolist()
    axis = np.array([zy - yz, xz - zx, yx - xy])
    sine, cosine = math.hypot(zy - yz, xz - zx, yx - xy) / 2, (xx + yy + zz - 1) / 2
    angle = math.atan2(sine, cosine)
    if sine > 1e-6:
        return axis * (angle / (2 * sine))
    if cosine > 0:
        return axis / 2
    # At 180 degrees the axis is the eigenvector of the eigenvalue 1.
    column = int(np.argmax(np.diag(rotation)))
    fixed = rotation[:, column] + np.eye(3)[:, column]
    return np.asarray(fixed / np.linalg.norm(fixed) * angle)


def rotation_about_z(angle_rad: float) -> FloatArray:
    """Return the rotation (3, 3) by ``angle_rad`` about the z axis."""
    cosine, sine = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def ray_through(point_px: FloatArray, intrinsics: Intrinsics) -> FloatArray:
    """Return the point (3,) at depth 1 on the ray through ``point_px`` (2,)."""
    x, y = ((point_px - intrinsics.centre_px) / intrinsics.focals_px).tolist()
    return np.array([x, y, 1.0])


def camera_from_ray(point_px: FloatArray, intrinsics: Intrinsics) -> FloatArray:
    """Return the smallest rotation (3, 3) from the optical axis to the ray through ``point_px`` (2,).

    Networks see a hand along this ray; the rotation maps their output to the camera's axes.
    """
    slope_x, slope_y, _ = ray_through(point_px, intrinsics).tolist()
    # Rodrigues' formula, whose axis lies in the image plane.
    z = 1 / math.hypot(slope_x, slope_y, 1.0)
    x, y = slope_x * z, slope_y * z
    xx, xy, yy = (product / (1 + z) for product in (x * x, x * y, y * y))
    return np.array([[1 - xx, -xy, x], [-xy, 1 - yy, y], [-x, -y, z]])
