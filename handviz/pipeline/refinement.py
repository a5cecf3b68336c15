"""Refines hands after the network: true size, pose and camera by MediaPipe's landmarks, and a recheck of handedness."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from handviz.core.camera_model import HandSize
from handviz.core.geometry import apply_affine, cross_matrix, procrustes_aligned, rotation_from_axis_angle
from handviz.core.records import CropSpec, Detection, FloatArray, HandCrop, Handedness, NetworkOutput, PlacedHand
from handviz.detection.crop import (
    NETWORK_LOG_DEPTH_STD,
    NETWORK_SHIFT_STD,
    CropView,
    as_the_detector_marks_them,
    crop_hand,
    in_front,
    position_covariance,
    wrist_from_network,
)
from handviz.models.reconstructor import LoadedModel

WRIST_TO_TIP = (0, 9, 10, 11, 12)
INDEX_KNUCKLE, LITTLE_KNUCKLE = 5, 17
WIDTH_PER_KNUCKLES = 1.27
"""Palm width, skin to skin, per distance of its outer knuckles: 1.27 (std 0.01) of 300 open hands of random shape."""
MODEL_STD_FRACTIONS = {"length": 0.02, "breadth": 0.04}
"""Uncertainty of the model's lengths against a ruler's: creases and skin are not joints."""
FRACTION = 0.35
"""Of the way to the world landmarks at a presence of 1."""
PRESENCE_POWER = 3
"""Exponent by which the fraction falls with the presence."""
FRACTION_IN_IMAGE = 0.6
"""Of the way to the 2D landmarks across the line of sight."""
STEPS = 5
HUBER_LIMIT = 2.0
RECHECK_BELOW = 0.5
MIN_IMPROVEMENT = 0.4
SURE_SIDE = 0.9
"""Score of a detection whose side is not judged again: the wide crop of a hand behind another shows that one too."""


# A measured hand makes the metres of an image true: mesh and distance are scaled to the measured size.


def length_m(keypoints_m: FloatArray) -> float:
    """Return the length from wrist to tip of the middle finger along the bones of keypoints (21, 3), also of bent
    fingers."""
    chain = keypoints_m[list(WRIST_TO_TIP)]
    return float(np.linalg.norm(np.diff(chain, axis=0), axis=1).sum())


def width_m(keypoints_m: FloatArray) -> float:
    """Return the palm's width across the knuckles of keypoints (21, 3)."""
    return WIDTH_PER_KNUCKLES * float(np.linalg.norm(keypoints_m[LITTLE_KNUCKLE] - keypoints_m[INDEX_KNUCKLE]))


def scale_to_measured_size(canonical: NetworkOutput, size: HandSize) -> PlacedHand:
    """Scale the hand to its measured size, at the same projection in its crop; unmeasured hands stay."""
    if size.measure == "none":
        return PlacedHand(canonical)
    found_m = (length_m if size.measure == "length" else width_m)(canonical.keypoints_m)
    factor = size.millimetres / 1000 / max(found_m, 1e-3)
    scaled = replace(
        canonical,
        vertices_m=canonical.vertices_m * factor,
        vertex_std_m=_scaled(canonical.vertex_std_m, factor),
        keypoints_m=canonical.keypoints_m * factor,
        keypoint_std_m=_scaled(canonical.keypoint_std_m, factor),
        scale=canonical.scale / factor,
    )
    std_fraction = math.hypot(size.std_mm / size.millimetres, MODEL_STD_FRACTIONS[size.measure])
    return PlacedHand(scaled, size_std_fraction=std_fraction)


def _scaled(std_m: FloatArray | None, factor: float) -> FloatArray | None:
    return None if std_m is None else std_m * factor


# Refinement of the pose: keypoints move a fraction of the way to MediaPipe's landmarks. The networks were trained on
# rendered hands alone; on photographs their keypoints and MediaPipe's err in different ways. Between two results whose
# errors e and w differ by d, all RMS, the best fraction is (e^2 + d^2 - w^2) / (2 d^2) (docs/research/method.md). In
# the image MediaPipe errs less than in depth.


def refine_in_3d(canonical: NetworkOutput, vertices_from_displacements: FloatArray) -> NetworkOutput:
    """Move the keypoints a fraction of the way to MediaPipe's world landmarks; standard deviations stay.

    ``vertices_from_displacements`` (V, 21) comes from ``hand_models.skinning``. Hands of networks without landmarks
    stay.
    """
    if canonical.landmarks_m is None or not canonical.presence:
        return canonical
    marked = as_the_detector_marks_them(canonical.keypoints_m.astype(np.float64))
    aligned = procrustes_aligned(canonical.landmarks_m[None].astype(np.float64), marked[None])[0]
    displacements = FRACTION * canonical.presence**PRESENCE_POWER * (aligned - marked)
    return _moved(canonical, displacements, vertices_from_displacements)


def refine_in_2d(
    placed: PlacedHand, crop: HandCrop, view: CropView, vertices_from_displacements: FloatArray
) -> PlacedHand:
    """Move the keypoints a fraction of the way to the 2D landmarks across their lines of sight; depths stay.

    ``refine_camera`` has to come first: what is left then is the pose. Far outliers move it less.
    """
    canonical, position_m = placed.hand, placed.wrist_camera_m
    assert position_m is not None
    rotation = view.camera_from_crop @ canonical.rotation.astype(np.float64)
    keypoints_m = canonical.keypoints_m.astype(np.float64)
    points_m = as_the_detector_marks_them(keypoints_m - keypoints_m[0]) @ rotation.T + position_m
    in_crop, slopes = view.in_crop_with_slopes(points_m)
    offsets = keypoints_in_crop(crop) - in_crop
    offsets *= FRACTION_IN_IMAGE * huber_weight(offsets / DEFAULT_PRIOR.keypoint)[:, None]
    # The shortest such motion, by the pseudoinverse of the slopes, is across the line of sight.
    slopes_t = slopes.transpose(0, 2, 1)
    displacements = (slopes_t @ np.linalg.solve(slopes @ slopes_t, offsets[..., None]))[..., 0]
    moved = _moved(canonical, displacements @ rotation, vertices_from_displacements)
    translation = canonical.translation + offsets[0]
    moved = replace(moved, translation=translation.astype(canonical.translation.dtype))
    return replace(placed, hand=moved, wrist_camera_m=position_m + displacements[0])


def _moved(
    canonical: NetworkOutput, displacements: FloatArray, vertices_from_displacements: FloatArray
) -> NetworkOutput:
    """Move the keypoints by displacements (21, 3) relative to the wrist, which stays the origin."""
    displacements = displacements - displacements[0]
    vertices_m = canonical.vertices_m + vertices_from_displacements @ displacements.astype(
        vertices_from_displacements.dtype
    )
    return replace(
        canonical,
        vertices_m=vertices_m.astype(canonical.vertices_m.dtype, copy=False),
        keypoints_m=(canonical.keypoints_m + displacements).astype(canonical.keypoints_m.dtype),
    )


# Refinement of the camera: the network's view of the hand is a prior, the detector's 2D keypoints are data. The
# detector has been trained on far more real hands in 2D; the networks predict 3D. The posterior mode over small
# rotations, depth and shift (Gauss-Newton, Huber's weights, true perspective) leaves shape, pose and standard
# deviations alone. Its curvature gives the uncertainty of the wrist's position.


@dataclass(frozen=True)
class CameraPrior:
    """Uncertainties of the network's camera and of the detector's keypoints (standard deviations)."""

    rotation_rad: float = 0.2
    log_depth: float = NETWORK_LOG_DEPTH_STD
    shift: float = NETWORK_SHIFT_STD
    """crop half-sides"""
    keypoint: float = 0.035
    """crop half-sides; the projected standard deviation of the keypoint is added"""

    @cached_property
    def information(self) -> FloatArray:
        """(6, 6) inverse covariance of rotation, ln depth and shift."""
        std = np.array([self.rotation_rad] * 3 + [self.log_depth] + [self.shift] * 2)
        return np.diag(1 / std**2)


DEFAULT_PRIOR = CameraPrior()


@dataclass(frozen=True, eq=False)
class _Camera:
    """The camera under refinement: rotation of its axes, and the wrist's position."""

    rotation: FloatArray
    """(3, 3) camera_from_canonical; a reflection for left hands."""
    position_m: FloatArray
    """(3,)"""

    def moved(self, by: FloatArray, view: CropView) -> "_Camera":
        """Return the view after a rotation (3,) in radians, a step of ln depth and a shift (2,) in crop half-sides."""
        depth_m = float(self.position_m[2])
        position_m = (self.position_m + depth_m * (view.ray_slopes @ by[4:])) * np.exp(by[3])
        return _Camera(rotation_from_axis_angle(by[:3]) @ self.rotation, position_m)

    def turned(self, points_m: FloatArray) -> FloatArray:
        """Rotate canonical points (N, 3) to the camera's axes, the wrist at the origin."""
        return points_m @ self.rotation.T


def refine_camera(placed: PlacedHand, crop: HandCrop, view: CropView, prior: CameraPrior = DEFAULT_PRIOR) -> PlacedHand:
    """Rotate and move the hand so that its keypoints, in true perspective, meet the detector's."""
    canonical = placed.hand
    keypoints_m = canonical.keypoints_m.astype(np.float64)
    start = _Camera(view.camera_from_crop @ canonical.rotation, wrist_from_network(canonical, view))
    marks = _Marks(
        as_the_detector_marks_them(keypoints_m - keypoints_m[0]),
        keypoints_in_crop(crop),
        _std_in_crop(canonical, prior),
    )
    camera, moved, information = _posterior_mode(start, marks, view, prior)
    uncertainty = np.linalg.inv(information)[3:, 3:]
    refined = replace(
        canonical,
        rotation=(view.camera_from_crop.T @ camera.rotation).astype(canonical.rotation.dtype),
        scale=float(canonical.scale * np.exp(-moved[3])),
        translation=(canonical.translation + moved[4:]).astype(canonical.translation.dtype),
    )
    return replace(
        placed,
        hand=refined,
        wrist_camera_m=camera.position_m,
        wrist_covariance_m2=position_covariance(camera.position_m, view, uncertainty),
    )


@dataclass(frozen=True, eq=False)
class _Marks:
    """A hand's points and where the detector marks them."""

    points_m: FloatArray
    """(21, 3) canonical, the wrist at the origin."""
    in_crop: FloatArray
    """(21, 2)"""
    std: FloatArray
    """(21, 2) of the difference, crop half-sides."""


def _posterior_mode(
    start: _Camera, marks: _Marks, view: CropView, prior: CameraPrior
) -> tuple[_Camera, FloatArray, FloatArray]:
    """Return the camera after STEPS, its motion (6,) from the start, and the information (6, 6) there."""
    prior_information, weights = prior.information, 1 / marks.std
    camera, moved, turned_m = start, np.zeros(6), start.turned(marks.points_m)
    for _ in range(STEPS):
        in_crop, jacobian = _in_crop_with_jacobian(turned_m, camera.position_m, view)
        residual = (in_crop - marks.in_crop) * weights
        jacobian *= weights[..., None]
        weighted = (jacobian * huber_weight(residual)[:, None, None]).reshape(-1, 6).T
        information = weighted @ jacobian.reshape(-1, 6) + prior_information
        moved = moved - np.linalg.solve(information, weighted @ residual.ravel() + prior_information @ moved)
        camera = start.moved(moved, view)
        turned_m = camera.turned(marks.points_m)
        camera = replace(camera, position_m=in_front(camera.position_m, turned_m))
    return camera, moved, information


def _std_in_crop(canonical: NetworkOutput, prior: CameraPrior) -> FloatArray:
    """Return the standard deviations (21, 2) of the keypoints in the crop: the detector's and the model's own."""
    if canonical.keypoint_std_m is None:
        return np.full((len(canonical.keypoints_m), 2), prior.keypoint)
    variance = canonical.keypoint_std_m**2 @ (canonical.rotation[:2] ** 2).T
    return np.asarray(np.sqrt(prior.keypoint**2 + canonical.scale**2 * variance))


def keypoints_in_crop(crop: HandCrop) -> FloatArray:
    """Return the detector's keypoints (21, 2) in the crop's [-1, 1]."""
    return apply_affine(crop.crop_from_image, crop.detection.keypoints_px) / crop.half_px - 1


def huber_weight(residual: FloatArray) -> FloatArray:
    """Return the weights of residuals (N, C), in their standard deviations: 1 up to the limit, then falling."""
    distances = np.sqrt(np.einsum("nc,nc->n", residual, residual))
    return np.minimum(1, HUBER_LIMIT / np.maximum(distances, 1e-9))


def _in_crop_with_jacobian(
    turned_m: FloatArray, position_m: FloatArray, view: CropView
) -> tuple[FloatArray, FloatArray]:
    """Return projected points (N, 2) and their derivative (N, 2, 6) by rotation, ln depth and shift of the wrist.

    ``turned_m`` (N, 3) relative to the wrist, in the camera's axes.
    """
    in_crop, slopes = view.in_crop_with_slopes(turned_m + position_m)
    jacobian = np.empty((len(turned_m), 2, 6))
    jacobian[:, :, :3] = slopes @ cross_matrix(-turned_m)
    jacobian[:, :, 3] = slopes @ position_m
    jacobian[:, :, 4:] = slopes @ (position_m[2] * view.ray_slopes)
    return in_crop, jacobian


# Recheck of handedness. The detector sometimes gets it wrong, and a mirrored hand is then reconstructed. MediaPipe's
# landmark head in the networks judges it again on the upright crop. In images only: in streams it is settled over
# frames (``detection/tracking.py``).


def reconstruct_with_recheck(
    image: NDArray[np.uint8], crops: Sequence[HandCrop], network: LoadedModel
) -> tuple[list[HandCrop], list[NetworkOutput]]:
    """Reconstruct crops of an RGB image (H, W, 3); as the other hand where that fits far better.

    Hands whose side the user stated, or the detector is sure of, stay as they are.
    """
    chosen, hands = list(crops), network.reconstruct(crops)
    rechecked = [
        index
        for index, (hand, crop) in enumerate(zip(hands, crops, strict=True))
        if hand.right_hand < RECHECK_BELOW and not _is_sure(crop.detection)
    ]
    others = [_crop_as_other_hand(image, crops[index], network.spec.crop) for index in rechecked]
    for index, crop, hand in zip(rechecked, others, network.reconstruct(others), strict=True):
        if hand.right_hand - hands[index].right_hand > MIN_IMPROVEMENT:
            chosen[index], hands[index] = crop, hand
    return chosen, hands


def _is_sure(detection: Detection) -> bool:
    return detection.side_is_stated or detection.score >= SURE_SIDE


def _crop_as_other_hand(image: NDArray[np.uint8], crop: HandCrop, spec: CropSpec) -> HandCrop:
    other: Handedness = "left" if crop.detection.handedness == "right" else "right"
    return crop_hand(image, replace(crop.detection, handedness=other), spec)
