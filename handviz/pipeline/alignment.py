"""One camera of two witnesses: the network's view of the hand is a prior, the detector's 2D keypoints are data.

The detector has seen far more real hands in 2D than the networks have; the networks know the hand in 3D. The posterior
mode over small turns, depth and shift (Gauss-Newton, Huber's weights, true perspective) lays the mesh on the hand and
leaves its shape, pose and deviations alone. Its curvature says how well the wrist's place is known.
"""

from dataclasses import dataclass, replace

import numpy as np

from handviz.core.geometry import apply_affine, rotation_from_axis_angle
from handviz.core.records import CROP_SIZE, CanonicalHand, FloatArray, HandCrop, Intrinsics
from handviz.detection.crop import camera_from_crop, wrist_from_network
from handviz.detection.marking import as_the_detector_marks_them
from handviz.detection.placement import (
    NETWORK_LOG_DEPTH_STD,
    NETWORK_SHIFT_STD,
    CropView,
    in_front,
    place_covariance,
)

STEPS = 5
HUBER_LIMIT = 2.0


@dataclass(frozen=True)
class CameraPrior:
    """How far the network's camera and the detector's keypoints are trusted (standard deviations)."""

    turn_rad: float = 0.2
    log_depth: float = NETWORK_LOG_DEPTH_STD
    shift: float = NETWORK_SHIFT_STD
    """crop half-sides"""
    keypoint: float = 0.035
    """crop half-sides; the projected deviation of the keypoint is added"""


DEFAULT_PRIOR = CameraPrior()


@dataclass(frozen=True, eq=False)
class _Camera:
    """The view that is moved: a turn of the camera's axes, and the wrist's place."""

    turn: FloatArray
    """(3, 3) camera_from_canonical; a reflection for left hands."""
    place_m: FloatArray
    """(3,)"""

    def moved(self, by: FloatArray, view: CropView) -> "_Camera":
        """After a turn (3,) in radians, a step of ln depth and a shift (2,) in crop half-sides."""
        ray = self.place_m / self.place_m[2] + view.ray_slopes() @ by[4:]
        return _Camera(rotation_from_axis_angle(by[:3]) @ self.turn, ray * self.place_m[2] * np.exp(by[3]))

    def points(self, points_m: FloatArray) -> FloatArray:
        """Canonical points (N, 3), the wrist at the origin -> camera's frame (N, 3)."""
        return points_m @ self.turn.T + self.place_m


def aligned_to_detector(
    canonical: CanonicalHand, crop: HandCrop, intrinsics: Intrinsics, prior: CameraPrior = DEFAULT_PRIOR
) -> CanonicalHand:
    """The hand turned and placed to where its keypoints, in true perspective, meet the detector's."""
    view, in_crop = CropView(crop.crop_from_image, intrinsics), keypoints_in_crop(crop)
    to_camera = camera_from_crop(crop.crop_from_image, intrinsics)
    variance = canonical.keypoint_std_m**2 @ (canonical.rotation[:2] ** 2).T
    keypoint_std = np.sqrt(prior.keypoint**2 + canonical.scale**2 * variance)
    prior_std = np.array([prior.turn_rad] * 3 + [prior.log_depth] + [prior.shift] * 2)
    keypoints_m = canonical.keypoints_m.astype(np.float64)
    marked_m = as_the_detector_marks_them(keypoints_m - keypoints_m[0])
    start = _Camera(to_camera @ canonical.rotation, wrist_from_network(canonical, crop, intrinsics))
    camera, moved = start, np.zeros(6)
    for _ in range(STEPS):
        points_m = camera.points(marked_m)
        residual = (view.in_crop(points_m) - in_crop) / keypoint_std
        jacobian = _jacobian(points_m, camera.place_m, view) / keypoint_std[..., None]
        weighted = jacobian * huber_weight(residual)[:, None, None]
        information = np.einsum("kci,kcj->ij", weighted, jacobian) + np.diag(1 / prior_std**2)
        slope = np.einsum("kci,kc->i", weighted, residual) + moved / prior_std**2
        moved = moved - np.linalg.solve(information, slope)
        camera = start.moved(moved, view)
        camera = replace(camera, place_m=in_front(camera.place_m, camera.points(marked_m) - camera.place_m))
    doubt = np.linalg.inv(information)[3:, 3:]
    return replace(
        canonical,
        rotation=(to_camera.T @ camera.turn).astype(canonical.rotation.dtype),
        scale=float(canonical.scale * np.exp(-moved[3])),
        translation=(canonical.translation + moved[4:]).astype(canonical.translation.dtype),
        wrist_camera_m=camera.place_m,
        wrist_covariance_m2=place_covariance(camera.place_m, view, doubt),
    )


def keypoints_in_crop(crop: HandCrop) -> FloatArray:
    """The detector's keypoints (21, 2) in the crop's [-1, 1]."""
    return apply_affine(crop.crop_from_image, crop.detection.keypoints_px) / (CROP_SIZE / 2) - 1


def huber_weight(residual: FloatArray) -> FloatArray:
    """How much residuals (N, C), in their deviations, count: 1 up to the limit, then less and less."""
    return np.minimum(1, HUBER_LIMIT / np.maximum(np.linalg.norm(residual, axis=1), 1e-9))


def _jacobian(points_m: FloatArray, place_m: FloatArray, view: CropView) -> FloatArray:
    """Derivative (N, 2, 6) of projected points (N, 3) by turn, ln depth and shift of the wrist at ``place_m``."""
    x, y, z = (points_m - place_m).T
    motion = np.zeros((len(points_m), 3, 6))
    motion[:, 0, 1], motion[:, 0, 2] = z, -y
    motion[:, 1, 0], motion[:, 1, 2] = -z, x
    motion[:, 2, 0], motion[:, 2, 1] = y, -x
    motion[:, :, 3] = place_m
    motion[:, :, 4:] = place_m[2] * view.ray_slopes()
    return np.asarray(view.slopes(points_m) @ motion)
