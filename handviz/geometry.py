"""Small pure functions on rotations, affine maps and pinhole cameras (numpy)."""

import math

import numpy as np

from handviz.records import FloatArray, Intrinsics

DEFAULT_FIELD_OF_VIEW_DEG = 60.0


def intrinsics_from_field_of_view(width: int, height: int, field_of_view_deg: float) -> Intrinsics:
    """Pinhole camera whose longer image side spans ``field_of_view_deg`` degrees."""
    focal_px = 0.5 * max(width, height) / math.tan(math.radians(field_of_view_deg) / 2)
    return Intrinsics(focal_px=focal_px, centre_x_px=width / 2, centre_y_px=height / 2)


def apply_affine(affine: FloatArray, points: FloatArray) -> FloatArray:
    """Map points (..., 2) by an affine (2, 3)."""
    return points @ affine[:, :2].T + affine[:, 2]


def invert_affine(affine: FloatArray) -> FloatArray:
    """Inverse (2, 3) of an affine (2, 3); raises numpy.linalg.LinAlgError if it is singular."""
    linear = np.linalg.inv(affine[:, :2])
    return np.concatenate([linear, -(linear @ affine[:, 2:])], axis=1)


def rotation_from_axis_angle(axis_angle: FloatArray) -> FloatArray:
    """Rodrigues' formula: axis-angle (..., 3) in radians -> rotations (..., 3, 3)."""
    axis_angle = np.asarray(axis_angle, dtype=np.float64)
    angle = np.linalg.norm(axis_angle, axis=-1, keepdims=True)
    axis = axis_angle / np.maximum(angle, 1e-12)
    x, y, z = axis[..., 0], axis[..., 1], axis[..., 2]
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
    angle = angle[..., None]
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def rotation_about_z(angle_rad: float) -> FloatArray:
    """Rotation (3, 3) by ``angle_rad`` about the z axis."""
    cosine, sine = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def camera_from_ray(point_px: FloatArray, intrinsics: Intrinsics) -> FloatArray:
    """Smallest rotation (3, 3) that turns the optical axis into the ray through ``point_px`` (2,).

    Networks see a hand along this ray; the rotation takes their answer back to the camera's axes.
    """
    ray = np.array(
        [
            (point_px[0] - intrinsics.centre_x_px) / intrinsics.focal_px,
            (point_px[1] - intrinsics.centre_y_px) / intrinsics.focal_px,
            1.0,
        ]
    )
    ray /= np.linalg.norm(ray)
    axis = np.cross([0.0, 0.0, 1.0], ray)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-9:
        return np.eye(3)
    return rotation_from_axis_angle(axis / sine * math.atan2(sine, ray[2]))
