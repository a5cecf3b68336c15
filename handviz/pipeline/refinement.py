"""A crop that does not look like the hand it was called is tried as the other hand.

The detector sometimes names a hand's side wrongly, and a mirrored hand is then reconstructed. MediaPipe's own heads,
which the networks carry as a witness, judge the side again on the upright crop. In images, not in streams: there the
side is settled over frames (``detect/handedness.py``).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handviz.core.camera_model import HandSize
from handviz.core.geometry import apply_affine, procrustes_aligned, rotation_from_axis_angle
from handviz.core.records import CROP_SIZE, CanonicalHand, FloatArray, HandCrop, Handedness, Intrinsics
from handviz.detection.crop import (
    NETWORK_LOG_DEPTH_STD,
    NETWORK_SHIFT_STD,
    CropView,
    as_the_detector_marks_them,
    camera_from_crop,
    crop_hand,
    in_front,
    position_covariance,
    wrist_from_network,
)
from handviz.models.reconstructor import HandReconstructor

WRIST_TO_TIP = (0, 9, 10, 11, 12)
INDEX_KNUCKLE, LITTLE_KNUCKLE = 5, 17
WIDTH_PER_KNUCKLES = 1.27
"""Palm, skin to skin, per distance of its two outer knuckles: of 300 open hands of random shape 1.27 to 0.01."""
MODEL_STD_FRACTIONS = {"length": 0.02, "breadth": 0.04}
"""How well a ruler's ends agree with the model's: creases and skin are not joints."""
FRACTION = 0.35
"""Of the way in space, to heads that are sure to see a hand."""
PRESENCE_POWER = 3
"""How fast less sure ones lose it."""
FRACTION_IN_IMAGE = 0.6
"""Of the way across the line of sight, to the detector's keypoints."""
STEPS = 5
HUBER_LIMIT = 2.0
DOUBTFUL = 0.5
CLEARLY_BETTER = 0.4


# A measured hand makes the metres of an image true: the mesh, and with it its distance, takes the measured size.


def length_m(keypoints_m: FloatArray) -> float:
    """Wrist to tip of the middle finger along the bones of keypoints (21, 3), however the finger is bent."""
    chain = keypoints_m[list(WRIST_TO_TIP)]
    return float(np.linalg.norm(np.diff(chain, axis=0), axis=1).sum())


def width_m(keypoints_m: FloatArray) -> float:
    """Of the palm across the knuckles of keypoints (21, 3)."""
    return WIDTH_PER_KNUCKLES * float(np.linalg.norm(keypoints_m[LITTLE_KNUCKLE] - keypoints_m[INDEX_KNUCKLE]))


def with_measured_size(canonical: CanonicalHand, size: HandSize) -> CanonicalHand:
    """The hand at the size that somebody measured; it looks the same in its crop. Unmeasured hands stay."""
    if size.measure == "none":
        return canonical
    found_m = (length_m if size.measure == "length" else width_m)(canonical.keypoints_m)
    factor = size.millimetres / 1000 / max(found_m, 1e-3)
    return replace(
        canonical,
        vertices_m=canonical.vertices_m * factor,
        vertex_std_m=canonical.vertex_std_m * factor,
        keypoints_m=canonical.keypoints_m * factor,
        keypoint_std_m=canonical.keypoint_std_m * factor,
        scale=canonical.scale / factor,
        size_std_fraction=math.hypot(size.std_mm / size.millimetres, MODEL_STD_FRACTIONS[size.measure]),
    )


# One pose of two witnesses: the mesh leans towards what MediaPipe says of the joints, in space and in the image.
# The networks were trained on rendered hands alone. On photographs their keypoints and MediaPipe's err in different
# ways; between two answers whose errors e and w differ by d, all RMS, the best place is the share (e^2 + d^2 - w^2)
# / (2 d^2) of the way (docs/research/method.md). In the image MediaPipe errs less than in depth.


def refine_in_3d(canonical: CanonicalHand, vertices_from_displacements: FloatArray) -> CanonicalHand:
    """The hand with its keypoints moved part of the way to those of MediaPipe's heads in space; its standard
    deviations stay.

    ``vertices_from_displacements`` (V, 21) comes from ``hand_model.handles``. A hand whose network has no such heads
    stays.
    """
    if canonical.landmarks_m is None or not canonical.presence:
        return canonical
    marked = as_the_detector_marks_them(canonical.keypoints_m.astype(np.float64))
    said = procrustes_aligned(canonical.landmarks_m[None].astype(np.float64), marked[None])[0]
    displacements = FRACTION * canonical.presence**PRESENCE_POWER * (said - marked)
    return _moved(canonical, displacements, vertices_from_displacements)


def refine_in_2d(
    canonical: CanonicalHand, crop: HandCrop, intrinsics: Intrinsics, vertices_from_displacements: FloatArray
) -> CanonicalHand:
    """The hand with its keypoints moved across their lines of sight, part of the way to the detector's; depths stay.

    It has to be ``aligned_to_detector`` before: what is left then is the pose. Far outliers move it less.
    """
    position_m = canonical.wrist_camera_m
    assert position_m is not None
    view = CropView(crop.crop_from_image, intrinsics)
    turn = camera_from_crop(crop.crop_from_image, intrinsics) @ canonical.rotation.astype(np.float64)
    keypoints_m = canonical.keypoints_m.astype(np.float64)
    points_m = as_the_detector_marks_them(keypoints_m - keypoints_m[0]) @ turn.T + position_m
    missing = keypoints_in_crop(crop) - view.in_crop(points_m)
    missing *= FRACTION_IN_IMAGE * huber_weight(missing / DEFAULT_PRIOR.keypoint)[:, None]
    # The shortest motion that does it is across the line of sight.
    displacements = np.einsum("kij,kj->ki", np.linalg.pinv(view.slopes(points_m)), missing)
    moved = _moved(canonical, displacements @ turn, vertices_from_displacements)
    translation = canonical.translation + missing[0]
    return replace(
        moved, translation=translation.astype(canonical.translation.dtype), wrist_camera_m=position_m + displacements[0]
    )


def _moved(
    canonical: CanonicalHand, displacements: FloatArray, vertices_from_displacements: FloatArray
) -> CanonicalHand:
    """The hand with its keypoints moved by (21, 3) against the wrist, which stays the origin."""
    displacements = displacements - displacements[0]
    vertices_m = canonical.vertices_m + vertices_from_displacements @ displacements
    return replace(
        canonical,
        vertices_m=vertices_m.astype(canonical.vertices_m.dtype),
        keypoints_m=(canonical.keypoints_m + displacements).astype(canonical.keypoints_m.dtype),
    )


# One camera of two witnesses: the network's view of the hand is a prior, the detector's 2D keypoints are data. The
# detector has seen far more real hands in 2D than the networks have; the networks know the hand in 3D. The
# posterior mode over small turns, depth and shift (Gauss-Newton, Huber's weights, true perspective) lays the mesh
# on the hand and leaves its shape, pose and standard deviations alone. Its curvature says how well the wrist's place is
# known.


@dataclass(frozen=True)
class CameraPrior:
    """How far the network's camera and the detector's keypoints are trusted (standard deviations)."""

    rotation_rad: float = 0.2
    log_depth: float = NETWORK_LOG_DEPTH_STD
    shift: float = NETWORK_SHIFT_STD
    """crop half-sides"""
    keypoint: float = 0.035
    """crop half-sides; the projected standard deviation of the keypoint is added"""


DEFAULT_PRIOR = CameraPrior()


@dataclass(frozen=True, eq=False)
class _Camera:
    """The view that is moved: a turn of the camera's axes, and the wrist's place."""

    turn: FloatArray
    """(3, 3) camera_from_canonical; a reflection for left hands."""
    position_m: FloatArray
    """(3,)"""

    def moved(self, by: FloatArray, view: CropView) -> "_Camera":
        """After a turn (3,) in radians, a step of ln depth and a shift (2,) in crop half-sides."""
        ray = self.position_m / self.position_m[2] + view.ray_slopes() @ by[4:]
        return _Camera(rotation_from_axis_angle(by[:3]) @ self.turn, ray * self.position_m[2] * np.exp(by[3]))

    def points(self, points_m: FloatArray) -> FloatArray:
        """Canonical points (N, 3), the wrist at the origin -> camera's frame (N, 3)."""
        return points_m @ self.turn.T + self.position_m


def aligned_to_detector(
    canonical: CanonicalHand, crop: HandCrop, intrinsics: Intrinsics, prior: CameraPrior = DEFAULT_PRIOR
) -> CanonicalHand:
    """The hand turned and placed to where its keypoints, in true perspective, meet the detector's."""
    view, in_crop = CropView(crop.crop_from_image, intrinsics), keypoints_in_crop(crop)
    to_camera = camera_from_crop(crop.crop_from_image, intrinsics)
    variance = canonical.keypoint_std_m**2 @ (canonical.rotation[:2] ** 2).T
    keypoint_std = np.sqrt(prior.keypoint**2 + canonical.scale**2 * variance)
    prior_std = np.array([prior.rotation_rad] * 3 + [prior.log_depth] + [prior.shift] * 2)
    keypoints_m = canonical.keypoints_m.astype(np.float64)
    marked_m = as_the_detector_marks_them(keypoints_m - keypoints_m[0])
    start = _Camera(to_camera @ canonical.rotation, wrist_from_network(canonical, crop, intrinsics))
    camera, moved = start, np.zeros(6)
    for _ in range(STEPS):
        points_m = camera.points(marked_m)
        residual = (view.in_crop(points_m) - in_crop) / keypoint_std
        jacobian = _jacobian(points_m, camera.position_m, view) / keypoint_std[..., None]
        weighted = jacobian * huber_weight(residual)[:, None, None]
        information = np.einsum("kci,kcj->ij", weighted, jacobian) + np.diag(1 / prior_std**2)
        slope = np.einsum("kci,kc->i", weighted, residual) + moved / prior_std**2
        moved = moved - np.linalg.solve(information, slope)
        camera = start.moved(moved, view)
        camera = replace(camera, position_m=in_front(camera.position_m, camera.points(marked_m) - camera.position_m))
    uncertainty = np.linalg.inv(information)[3:, 3:]
    return replace(
        canonical,
        rotation=(to_camera.T @ camera.turn).astype(canonical.rotation.dtype),
        scale=float(canonical.scale * np.exp(-moved[3])),
        translation=(canonical.translation + moved[4:]).astype(canonical.translation.dtype),
        wrist_camera_m=camera.position_m,
        wrist_covariance_m2=position_covariance(camera.position_m, view, uncertainty),
    )


def keypoints_in_crop(crop: HandCrop) -> FloatArray:
    """The detector's keypoints (21, 2) in the crop's [-1, 1]."""
    return apply_affine(crop.crop_from_image, crop.detection.keypoints_px) / (CROP_SIZE / 2) - 1


def huber_weight(residual: FloatArray) -> FloatArray:
    """How much residuals (N, C), in their standard deviations, count: 1 up to the limit, then less and less."""
    return np.minimum(1, HUBER_LIMIT / np.maximum(np.linalg.norm(residual, axis=1), 1e-9))


def _jacobian(points_m: FloatArray, position_m: FloatArray, view: CropView) -> FloatArray:
    """Derivative (N, 2, 6) of projected points (N, 3) by turn, ln depth and shift of the wrist at ``position_m``."""
    x, y, z = (points_m - position_m).T
    motion = np.zeros((len(points_m), 3, 6))
    motion[:, 0, 1], motion[:, 0, 2] = z, -y
    motion[:, 1, 0], motion[:, 1, 2] = -z, x
    motion[:, 2, 0], motion[:, 2, 1] = y, -x
    motion[:, :, 3] = position_m
    motion[:, :, 4:] = position_m[2] * view.ray_slopes()
    return np.asarray(view.slopes(points_m) @ motion)


# A crop that does not look like the hand it was called is tried as the other hand. The detector sometimes names a
# hand's side wrongly, and a mirrored hand is then reconstructed. MediaPipe's own heads, which the networks carry as
# a witness, judge the side again on the upright crop. In images, not in streams: there the side is settled over
# frames (``detect/handedness.py``).


def reconstruct_and_look_again(
    image: NDArray[np.uint8], crops: Sequence[HandCrop], network: HandReconstructor
) -> tuple[list[HandCrop], list[CanonicalHand]]:
    """Crops of an RGB image (H, W, 3) and their hands; those of the other side where that fits far better."""
    chosen, hands = list(crops), network.reconstruct(crops)
    doubtful = [index for index, hand in enumerate(hands) if hand.right_hand < DOUBTFUL]
    others = [_as_the_other_hand(image, crops[index]) for index in doubtful]
    for index, crop, hand in zip(doubtful, others, network.reconstruct(others), strict=True):
        if hand.right_hand - hands[index].right_hand > CLEARLY_BETTER:
            chosen[index], hands[index] = crop, hand
    return chosen, hands


def _as_the_other_hand(image: NDArray[np.uint8], crop: HandCrop) -> HandCrop:
    other: Handedness = "left" if crop.detection.handedness == "right" else "right"
    return crop_hand(image, replace(crop.detection, handedness=other))
