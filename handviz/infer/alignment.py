"""One camera of two witnesses: the network's weak perspective is a prior, the detector's 2D keypoints are data.

The detector has seen far more real hands in 2D than the networks have; the networks know the hand in 3D. The posterior
mode over small turns, scale and shift (Gauss-Newton, Huber's weights) lays the mesh on the hand and leaves its shape,
pose and deviations alone.
"""

from dataclasses import dataclass, replace

import numpy as np

from handviz.detect.marking import as_the_detector_marks_them
from handviz.geometry import apply_affine, rotation_from_axis_angle
from handviz.records import CROP_SIZE, CanonicalHand, FloatArray, HandCrop

STEPS = 4
HUBER_LIMIT = 2.0


@dataclass(frozen=True)
class CameraPrior:
    """How far the network's camera and the detector's keypoints are trusted (standard deviations)."""

    turn_rad: float = 0.2
    log_scale: float = 0.12
    shift: float = 0.08
    """crop half-sides"""
    keypoint: float = 0.035
    """crop half-sides; the projected deviation of the keypoint is added"""


DEFAULT_PRIOR = CameraPrior()


def aligned_to_detector(canonical: CanonicalHand, crop: HandCrop, prior: CameraPrior = DEFAULT_PRIOR) -> CanonicalHand:
    """The hand with rotation, scale and translation moved to where its keypoints meet the detector's."""
    in_crop = keypoints_in_crop(crop)
    variance = canonical.keypoint_std_m**2 @ (canonical.rotation[:2] ** 2).T
    keypoint_std = np.sqrt(prior.keypoint**2 + canonical.scale**2 * variance)
    prior_std = np.array([prior.turn_rad] * 3 + [prior.log_scale] + [prior.shift] * 2)
    keypoints_m = as_the_detector_marks_them(canonical.keypoints_m)
    rotation, moved = canonical.rotation.astype(np.float64), np.zeros(6)
    for _ in range(STEPS):
        turned = keypoints_m @ (rotation_from_axis_angle(moved[:3]) @ rotation).T
        scale = canonical.scale * np.exp(moved[3])
        shift = canonical.translation + moved[4:]
        residual = (scale * turned[:, :2] + shift - in_crop) / keypoint_std
        jacobian = _jacobian(turned, scale) / keypoint_std[..., None]
        weight = huber_weight(residual)
        weighted = jacobian * weight[:, None, None]
        information = np.einsum("kci,kcj->ij", weighted, jacobian) + np.diag(1 / prior_std**2)
        slope = np.einsum("kci,kc->i", weighted, residual) + moved / prior_std**2
        moved = moved - np.linalg.solve(information, slope)
    return replace(
        canonical,
        rotation=(rotation_from_axis_angle(moved[:3]) @ rotation).astype(canonical.rotation.dtype),
        scale=float(canonical.scale * np.exp(moved[3])),
        translation=(canonical.translation + moved[4:]).astype(canonical.translation.dtype),
    )


def keypoints_in_crop(crop: HandCrop) -> FloatArray:
    """The detector's keypoints (21, 2) in the crop's [-1, 1]."""
    return apply_affine(crop.crop_from_image, crop.detection.keypoints_px) / (CROP_SIZE / 2) - 1


def huber_weight(residual: FloatArray) -> FloatArray:
    """How much residuals (N, C), in their deviations, count: 1 up to the limit, then less and less."""
    return np.minimum(1, HUBER_LIMIT / np.maximum(np.linalg.norm(residual, axis=1), 1e-9))


def _jacobian(turned: FloatArray, scale: float) -> FloatArray:
    """Derivative (21, 2, 6) of the projected keypoints by turn, ln scale and shift, at turned keypoints (21, 3)."""
    jacobian = np.zeros((len(turned), 2, 6))
    x, y, z = turned.T * scale
    jacobian[:, 0, 1], jacobian[:, 0, 2] = z, -y
    jacobian[:, 1, 0], jacobian[:, 1, 2] = -z, x
    jacobian[:, 0, 3], jacobian[:, 1, 3] = x, y
    jacobian[:, 0, 4] = jacobian[:, 1, 5] = 1
    return jacobian
