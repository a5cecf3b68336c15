"""Image -> square crop of a right hand, and the network's output back to the image. No other module mirrors."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import (
    IDENTITY,
    NEAREST_M,
    apply_affine,
    camera_from_ray,
    invert_affine,
)
from handviz.core.records import (
    CROP_SIZE,
    DEFAULT_CROP,
    CropSpec,
    Detection,
    FloatArray,
    HandCrop,
    Handedness,
    HandMesh,
    Intrinsics,
    ModelId,
    NetworkOutput,
    PlacedHand,
    PositionUncertainty,
)
from handviz.core.units import MILLIMETRES_PER_METRE

MARKED_TOWARDS = {
    0: (9, 0.03),
    1: (0, 0.08),
    2: (1, -0.17),
    4: (3, 0.27),
    5: (0, 0.09),
    8: (7, 0.26),
    9: (0, 0.07),
    12: (11, 0.29),
    13: (0, 0.07),
    16: (15, 0.28),
    17: (0, 0.09),
    20: (19, 0.28),
}
"""Keypoint -> (towards which other, by which fraction of the distance): from ``python -m tools.landmark_offsets``.

MediaPipe's knuckles are nearer to the wrist than the hand model's joints, and its fingertips lie under the nail, a
quarter of the last bone before the end."""
_MOVED = np.array(list(MARKED_TOWARDS))
_TOWARDS = np.array([other for other, _ in MARKED_TOWARDS.values()])
_FRACTIONS = np.array([[fraction] for _, fraction in MARKED_TOWARDS.values()])
STEPS = 5
CONVERGED_M = 1e-5
"""The step of a fit after which it ends: Gauss-Newton's next one is shorter by a hundred times and more."""
DAMPING = 1e-12
"""Of the normal equations, as a fraction of their trace: only makes steps of keypoints on one ray unique."""
NETWORK_LOG_DEPTH_STD, NETWORK_SHIFT_STD = 0.12, 0.08
"""Standard deviations of a wrist placed by a network alone: logarithm of its depth, and crop half-sides across."""
FIT_STD_FACTOR, COMMON_LOG_DEPTH_STD = 1.5, 0.08
"""Fitted to the rendered hands of ``calibrate --pipeline --fit``, which prints how many wrists they cover."""
WRIST, MIDDLE_KNUCKLE = 0, 9
OPTICAL_AXIS = np.array([0.0, 0.0, 1.0])
MIRROR = np.array([-1.0, 1.0, 1.0])
"""Factors on the columns of a left hand's rotation."""
CROP_SIDE_PER_EXTENT = DEFAULT_CROP.side_per_extent
MIN_EXTENT_PX = 4.0
UNMEASURED_SIZE_STD_FRACTION = 0.08
"""Of a hand of unknown size around the network's prediction, as tools/wrist_position.py measures it."""


def as_the_detector_marks_them(keypoints: FloatArray) -> FloatArray:
    """Map keypoints (..., 21, C) of the hand model, in any frame, to MediaPipe's landmarks of the same hand."""
    marked = keypoints.copy()
    marked[..., _MOVED, :] += _FRACTIONS * (keypoints[..., _TOWARDS, :] - keypoints[..., _MOVED, :])
    return marked


@dataclass(frozen=True, eq=False)
class CropView:
    """The pinhole projection from the camera frame to the crop's [-1, 1]."""

    crop_from_image: FloatArray
    """(2, 3)"""
    intrinsics: Intrinsics
    half_px: float = CROP_SIZE / 2
    """Of the crop's side."""

    @classmethod
    def of(cls, crop: HandCrop, intrinsics: Intrinsics) -> "CropView":
        """Return the projection into a hand's crop."""
        return cls(crop.crop_from_image, intrinsics, crop.half_px)

    @cached_property
    def camera_from_crop(self) -> FloatArray:
        """(3, 3) ``camera_from_crop`` of this crop."""
        return camera_from_crop(self.crop_from_image, self.intrinsics, self.half_px)

    @cached_property
    def _crop_per_ray(self) -> FloatArray:
        """(2, 2) linear part of the affine from rays (x / z, y / z) to the crop."""
        return self.crop_from_image[:, :2] * (self.intrinsics.focals_px / self.half_px)

    @cached_property
    def _optical_axis(self) -> FloatArray:
        """(2,) where the ray (0, 0) is in the crop: the rest of that affine."""
        return apply_affine(self.crop_from_image, self.intrinsics.centre_px) / self.half_px - 1

    def in_crop(self, points_m: FloatArray) -> FloatArray:
        """Project points (N, 3) of the camera frame to (N, 2) in the crop, x right, y down."""
        return points_m[:, :2] / np.maximum(points_m[:, 2:], NEAREST_M) @ self._crop_per_ray.T + self._optical_axis

    def in_crop_with_slopes(self, points_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return ``in_crop`` (N, 2) of points (N, 3) and its derivative (N, 2, 3) by them."""
        depths_m = np.maximum(points_m[:, 2:], NEAREST_M)
        from_axis = points_m[:, :2] / depths_m @ self._crop_per_ray.T
        slopes = np.empty((len(points_m), 2, 3))
        slopes[:, :, :2] = self._crop_per_ray
        slopes[:, :, 2] = -from_axis
        slopes /= depths_m[:, None]
        return from_axis + self._optical_axis, slopes

    def slopes(self, points_m: FloatArray) -> FloatArray:
        """Return the derivative (N, 2, 3) of ``in_crop`` by the points."""
        return self.in_crop_with_slopes(points_m)[1]

    def ray(self, point: FloatArray) -> FloatArray:
        """Return the point (3,) at depth 1 on the ray through a point (2,) of the crop."""
        return self.ray_slopes @ (point - self._optical_axis) + OPTICAL_AXIS

    @cached_property
    def ray_slopes(self) -> FloatArray:
        """(3, 2) derivative of ``ray`` by the point."""
        (a, b), (c, d) = self._crop_per_ray.tolist()
        return np.array([[d, -b], [-c, a], [0.0, 0.0]]) / (a * d - b * c)


def locate_in_perspective(points_m: FloatArray, in_crop: FloatArray, view: CropView, start_m: FloatArray) -> FloatArray:
    """Return the translation (3,) of rotated points (N, 3) whose projections are nearest to ``in_crop`` (N, 2).

    Gauss-Newton from ``start_m``; every point stays in front of the camera.
    """
    position_m: FloatArray = start_m.astype(np.float64)
    for _ in range(STEPS):
        found, slopes = view.in_crop_with_slopes(points_m + position_m)
        slopes = slopes.reshape(-1, 3)
        information = slopes.T @ slopes
        step = np.linalg.solve(
            information + DAMPING * information.trace() * IDENTITY, slopes.T @ (found - in_crop).ravel()
        )
        # A step of more than half the depth indicates a poor start, not a near hand.
        step *= min(1.0, 0.5 * float(position_m[2]) / max(abs(float(step[2])), 1e-9))
        position_m = in_front(position_m - step, points_m)
        if max(map(abs, step.tolist())) < CONVERGED_M:
            break
    return position_m


def in_front(position_m: FloatArray, points_m: FloatArray) -> FloatArray:
    """Move a position (3,) back along its ray until none of the points (N, 3) around it is nearer than 2 cm."""
    least_m = 2 * NEAREST_M - float(points_m[:, 2].min())
    return position_m if position_m[2] >= least_m else position_m * (least_m / max(float(position_m[2]), NEAREST_M))


def position_covariance(position_m: FloatArray, view: CropView, log_depth_and_shift: FloatArray) -> FloatArray:
    """Return the covariance (3, 3) of a position (3,) from that of its ln depth and its point in the crop."""
    slopes = np.concatenate([position_m[:, None], position_m[2] * view.ray_slopes], axis=1)
    return np.asarray(slopes @ log_depth_and_shift @ slopes.T)


def widened(covariance_m2: FloatArray, position_m: FloatArray) -> FloatArray:
    """Scale a fit's covariance (3, 3) to the wrist errors on rendered hands (``evaluation/posterior_check.py``).

    Landmarks' errors are reduced there to those of photographs, and the detector's hands may be too large or too small.
    """
    common_m = COMMON_LOG_DEPTH_STD * position_m
    return FIT_STD_FACTOR**2 * covariance_m2 + np.outer(common_m, common_m)


def network_covariance(position_m: FloatArray, view: CropView) -> FloatArray:
    """Return the covariance (3, 3) of a position (3,) from a network alone."""
    return position_covariance(
        position_m, view, np.diag([NETWORK_LOG_DEPTH_STD, NETWORK_SHIFT_STD, NETWORK_SHIFT_STD]) ** 2
    )


def crop_from_image_affine(
    keypoints_px: FloatArray,
    handedness: Handedness,
    *,
    side_per_extent: float = CROP_SIDE_PER_EXTENT,
    size_px: int = CROP_SIZE,
    is_upright: bool = True,
    rotation_rad: float = 0.0,
    shift: FloatArray | None = None,
) -> FloatArray:
    """Return the affine (2, 3) image -> crop pixels; left hands are mirrored.

    ``is_upright``: wrist -> middle knuckle points up. ``keypoints_px`` (21, 2). ``rotation_rad`` and ``shift`` ((2,),
    in crop sides) are the jitter that training adds.
    """
    direction = keypoints_px[MIDDLE_KNUCKLE] - keypoints_px[WRIST]
    angle = (math.atan2(direction[0], -direction[1]) if is_upright else 0.0) + rotation_rad
    cosine, sine = math.cos(angle), math.sin(angle)
    upright = np.array([[cosine, sine], [-sine, cosine]])
    rotated = keypoints_px @ upright.T
    low, high = rotated.min(axis=0), rotated.max(axis=0)
    side = max(float((high - low).max()), MIN_EXTENT_PX) * side_per_extent
    centre = (low + high) / 2
    if shift is not None:
        centre = centre + shift * side
    scale = size_px / side
    affine = np.concatenate([upright * scale, (size_px / 2 - scale * centre)[:, None]], axis=1)
    if handedness == "left":
        affine[0] *= -1
        affine[0, 2] += size_px
    return affine


def cut_out(image: NDArray[np.uint8], crop_from_image: FloatArray, size_px: int = CROP_SIZE) -> NDArray[np.uint8]:
    """Resample the crop (``size_px``, ``size_px``, 3) from an image (H, W, 3); black outside the image.

    The border is constant, as in MediaPipe. Large hands are first reduced with area averaging, because a bilinear
    look-up alone would alias.
    """
    affine = crop_from_image.copy()
    scale = length_scale(affine)
    reduce = min(int(0.75 / scale), *image.shape[:2])
    if reduce >= 2:
        height, width = image.shape[0] // reduce, image.shape[1] // reduce
        reduced = cv2.resize(image[: height * reduce, : width * reduce], (width, height), interpolation=cv2.INTER_AREA)
        image = reduced.astype(np.uint8, copy=False)
        affine[:, :2] *= reduce
    # OpenCV's pixel centres lie at whole numbers, ours at halves.
    half = np.full(2, 0.5)
    affine[:, 2] += affine[:, :2] @ half - half
    crop = cv2.warpAffine(image, affine, (size_px, size_px), flags=cv2.INTER_LINEAR)
    return crop.astype(np.uint8, copy=False)


def image_from_map(crop: HandCrop, side: int) -> FloatArray:
    """Return the affine (2, 3) from pixels of a map (side, side) over the whole crop to the image's pixels.

    Centres of pixels are whole numbers on both sides, as OpenCV counts.
    """
    image_from_crop = invert_affine(crop.crop_from_image)
    step = crop.size_px / side
    half = np.full(2, 0.5)
    linear = image_from_crop[:, :2] * step
    offset = image_from_crop[:, 2] + linear @ half - half
    return np.column_stack([linear, offset])


def crop_hand(image: NDArray[np.uint8], detection: Detection, spec: CropSpec = DEFAULT_CROP) -> HandCrop:
    """Cut the detected hand out of an RGB image (H, W, 3), as a model takes it.

    A hand that was seen in such a crop keeps it, with what the landmark network said of it.
    """
    seen, detection = detection.crop, replace(detection, crop=None)
    if seen is not None and spec == DEFAULT_CROP and seen.detection.handedness == detection.handedness:
        return replace(seen, detection=detection)
    affine = crop_from_image_affine(
        detection.keypoints_px,
        detection.handedness,
        side_per_extent=spec.side_per_extent,
        size_px=spec.size_px,
        is_upright=spec.is_upright,
    )
    return HandCrop(cut_out(image, affine, spec.size_px), affine, detection)


def camera_from_crop(crop_from_image: FloatArray, intrinsics: Intrinsics, half_px: float = CROP_SIZE / 2) -> FloatArray:
    """Return the orthogonal (3, 3) from crop to camera axes: in-plane rotation, left hands' mirror, the ray's tilt."""
    image_from_crop = invert_affine(crop_from_image)
    centre_px = apply_affine(image_from_crop, np.full(2, half_px))
    in_plane = np.eye(3)
    in_plane[:2, :2] = image_from_crop[:, :2] * length_scale(crop_from_image)
    return camera_from_ray(centre_px, intrinsics) @ in_plane


def length_scale(affine: FloatArray) -> float:
    """Return the factor by which an affine (2, 3) or a linear map (2, 2) scales lengths, as the root of its area's."""
    (a, b, *_), (c, d, *_) = affine.tolist()
    return math.sqrt(abs(a * d - b * c))


def points_in_crop(points_m: FloatArray, canonical: NetworkOutput) -> FloatArray:
    """Project canonical points (N, 3) to the crop (N, 3) by the network's weak-perspective camera.

    Crop half-sides, x right, y down, depth from the wrist.
    """
    shift = np.append(canonical.translation, 0.0)
    return np.asarray(canonical.scale * (points_m @ canonical.rotation.T) + shift)


def wrist_from_network(canonical: NetworkOutput, view: CropView) -> FloatArray:
    """Return the wrist (3,) at which the pinhole projection is nearest to the network's weak perspective."""
    to_camera = view.camera_from_crop
    keypoints_m = canonical.keypoints_m.astype(np.float64)
    rotated_m = (keypoints_m - keypoints_m[WRIST]) @ (to_camera @ canonical.rotation).T
    in_crop = points_in_crop(keypoints_m, canonical)[:, :2]
    # Off the axis a pinhole stretches images by 1 / cosine along the radius; the scale is the mean of both ways.
    off_axis_stretch = (1 + 1 / float(to_camera[2, 2])) / 2
    crop_per_ray = length_scale(view.crop_from_image[:, :2] * view.intrinsics.focals_px) / view.half_px
    depth_m = crop_per_ray / canonical.scale * off_axis_stretch - float(rotated_m[:, 2].mean())
    start_m = view.ray(in_crop[WRIST]) * max(depth_m, NEAREST_M)
    return locate_in_perspective(rotated_m, in_crop, view, in_front(start_m, rotated_m))


def hand_mesh_from_crop(
    placed: PlacedHand, crop: HandCrop, *, intrinsics: Intrinsics, model: ModelId, hand_model: str = ""
) -> HandMesh:
    """Map a model's hand from the crop to camera axes and the person's true hand.

    ``hand_model``: fingerprint of the model's hand model; empty: the open hand.
    """
    hand, view = placed.hand, CropView.of(crop, intrinsics)
    wrist, rotation = hand.keypoints_m[WRIST], view.camera_from_crop @ hand.rotation
    position_m, uncertainty = _position(placed, view)
    shape = None if placed.shape is None else placed.shape.turned(rotation)
    return HandMesh(
        handedness=crop.detection.handedness,
        detection_score=crop.detection.score,
        model=model,
        vertices_m=(hand.vertices_m - wrist) @ rotation.T,
        vertex_std_mm=total_std_mm(hand.vertex_std_m),
        keypoints_m=(hand.keypoints_m - wrist) @ rotation.T,
        keypoint_std_mm=total_std_mm(hand.keypoint_std_m),
        camera_from_wrist=rotation * (MIRROR if crop.detection.handedness == "left" else 1.0),
        wrist_camera_m=position_m,
        intrinsics=intrinsics,
        keypoint_covariance_mm2=covariances_mm2(hand.keypoint_std_m, rotation)
        if shape is None
        else shape.keypoint_covariances_m2 * MILLIMETRES_PER_METRE**2,
        vertex_covariance_mm2=covariances_mm2(hand.vertex_std_m, rotation),
        shape=shape,
        position_uncertainty=uncertainty,
        hand_model=hand_model,
        track_id=crop.detection.track_id,
        hand_probability=hand.hand_probability,
    )


def _position(placed: PlacedHand, view: CropView) -> tuple[FloatArray, PositionUncertainty]:
    """Return the wrist (3,) in the camera frame: where it was placed, or where the model alone sees it."""
    position_m, covariance_m2 = placed.wrist_camera_m, placed.wrist_covariance_m2
    if position_m is None:
        position_m = wrist_from_network(placed.hand, view)
    if covariance_m2 is None:
        covariance_m2 = network_covariance(position_m, view)
    else:
        covariance_m2 = widened(covariance_m2, position_m)
    size_std_fraction = placed.size_std_fraction
    return position_m, PositionUncertainty(
        covariance_m2,
        UNMEASURED_SIZE_STD_FRACTION if size_std_fraction is None else size_std_fraction,
        size_is_measured=size_std_fraction is not None,
    )


def mesh_in_crop(hand: HandMesh, crop: HandCrop) -> FloatArray:
    """Return the vertices (V, 3) in the hand's crop: half-sides, x right, y down, depth from the wrist."""
    in_crop = apply_affine(crop.crop_from_image, hand.vertices_px) / crop.half_px - 1
    ray = camera_from_crop(crop.crop_from_image, hand.intrinsics, crop.half_px)[:, 2]
    depth = hand.vertices_m @ ray * (hand.pixels_per_m * length_scale(crop.crop_from_image) / crop.half_px)
    return np.concatenate([in_crop, depth[:, None]], axis=1)


def total_std_mm(std_m: FloatArray | None) -> FloatArray | None:
    """Return the root of the summed variances (N,) of standard deviations (N, 3) along three axes; None for None."""
    if std_m is None:
        return None
    # Column by column: NumPy reduces rows of three numbers slowly.
    x, y, z = std_m.T
    return np.asarray(np.sqrt(x * x + y * y + z * z) * MILLIMETRES_PER_METRE)


def covariances_mm2(std_m: FloatArray | None, rotation: FloatArray) -> FloatArray | None:
    """Rotate standard deviations (N, 3) along canonical axes by ``rotation`` (3, 3) to covariances (N, 3, 3).

    ``rotation`` may mirror. None for None.
    """
    if std_m is None:
        return None
    variance_mm2 = np.square(std_m.astype(np.float64) * MILLIMETRES_PER_METRE)
    # R diag(v) R^T for all points as one product: it is linear in the variances v.
    covariance_of_variance = (rotation[:, None] * rotation[None]).reshape(9, 3)
    return np.asarray((variance_mm2 @ covariance_of_variance.T).reshape(-1, 3, 3))
