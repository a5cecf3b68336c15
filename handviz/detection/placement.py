"""A crop as the pinhole camera sees it: where points of the camera's frame lie in it, and where a hand must be."""

from dataclasses import dataclass

import numpy as np

from handviz.core.geometry import NEAREST_M, apply_affine, invert_affine, project_points, ray_through
from handviz.core.records import CROP_SIZE, FloatArray, Intrinsics

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
"""Keypoint -> (towards which other, by which share of the way), as ``python -m tools.landmark_offsets`` measures it.

MediaPipe's knuckles are nearer to the wrist than the hand model's joints, and its fingertips lie under the nail, a
quarter of the last bone short of the end."""
STEPS = 5
HALF = CROP_SIZE / 2
NETWORK_LOG_DEPTH_STD, NETWORK_SHIFT_STD = 0.12, 0.08
"""How well a network alone places a wrist: logarithm of its depth, and crop half-sides across."""
FIT_STD_FACTOR, COMMON_LOG_DEPTH_STD = 2.0, 0.12
"""Fitted to 173 rendered hands (seed 77); docs/research/method.md has how well they hold on others."""


# Where MediaPipe marks a hand whose joints are known: its points are not the hand model's.


def as_the_detector_marks_them(keypoints: FloatArray) -> FloatArray:
    """Keypoints (..., 21, C) of the hand model, in any frame -> where MediaPipe would mark the same hand."""
    marked = keypoints.copy()
    for keypoint, (other, share) in MARKED_TOWARDS.items():
        marked[..., keypoint, :] += share * (keypoints[..., other, :] - keypoints[..., keypoint, :])
    return marked


@dataclass(frozen=True, eq=False)
class CropView:
    """Camera frame -> the crop's [-1, 1], in true perspective."""

    crop_from_image: FloatArray
    """(2, 3)"""
    intrinsics: Intrinsics

    def in_crop(self, points_m: FloatArray) -> FloatArray:
        """Points (N, 3) of the camera's frame -> (N, 2) in the crop, x right, y down."""
        return apply_affine(self.crop_from_image, project_points(points_m, self.intrinsics)) / HALF - 1

    def slopes(self, points_m: FloatArray) -> FloatArray:
        """(N, 2, 3) derivative of ``in_crop`` by the points."""
        depths_m = np.maximum(points_m[:, 2], NEAREST_M)
        slopes = np.zeros((len(points_m), 2, 3))
        slopes[:, 0, 0] = slopes[:, 1, 1] = 1 / depths_m
        slopes[:, :, 2] = -points_m[:, :2] / depths_m[:, None] ** 2
        return (self.crop_from_image[:, :2] / HALF * self.intrinsics.focals_px) @ slopes

    def ray(self, point: FloatArray) -> FloatArray:
        """(3,) at depth 1, through a point (2,) of the crop."""
        return ray_through(apply_affine(invert_affine(self.crop_from_image), (point + 1) * HALF), self.intrinsics)

    def ray_slopes(self) -> FloatArray:
        """(3, 2) derivative of ``ray`` by the point."""
        image_per_half = np.linalg.inv(self.crop_from_image[:, :2]) * HALF
        return np.pad(image_per_half / self.intrinsics.focals_px[:, None], ((0, 1), (0, 0)))


def place_in_perspective(points_m: FloatArray, in_crop: FloatArray, view: CropView, start_m: FloatArray) -> FloatArray:
    """The shift (3,) of turned points (N, 3) under which their projections come nearest to ``in_crop`` (N, 2).

    Gauss-Newton from ``start_m``; every point stays in front of the camera.
    """
    place_m: FloatArray = start_m.astype(np.float64)
    for _ in range(STEPS):
        moved = points_m + place_m
        residual = view.in_crop(moved) - in_crop
        step = np.linalg.lstsq(view.slopes(moved).reshape(-1, 3), residual.reshape(-1), rcond=None)[0]
        # A step of more than half the depth is a sign of a poor start, not of a near hand.
        step *= min(1.0, 0.5 * place_m[2] / max(float(np.abs(step[2])), 1e-9))
        place_m = in_front(place_m - step, points_m)
    return place_m


def in_front(place_m: FloatArray, points_m: FloatArray) -> FloatArray:
    """The place (3,) moved back along its ray until none of the points (N, 3) around it is nearer than 2 cm."""
    least_m = 2 * NEAREST_M - float(points_m[:, 2].min())
    return place_m if place_m[2] >= least_m else place_m * (least_m / max(float(place_m[2]), NEAREST_M))


def place_covariance(place_m: FloatArray, view: CropView, log_depth_and_shift: FloatArray) -> FloatArray:
    """(3, 3) of a place (3,) from the covariance (3, 3) of its ln depth and where its ray meets the crop."""
    slopes = np.concatenate([place_m[:, None], place_m[2] * view.ray_slopes()], axis=1)
    return np.asarray(slopes @ log_depth_and_shift @ slopes.T)


def widened(covariance_m2: FloatArray, place_m: FloatArray) -> FloatArray:
    """A fit's covariance (3, 3) as large as errors of wrists on rendered hands are (tools/wrist_position.py).

    Keypoints err together, which the fit does not know, and the detector sees whole hands too large or too small.
    """
    common_m = COMMON_LOG_DEPTH_STD * place_m
    return FIT_STD_FACTOR**2 * covariance_m2 + np.outer(common_m, common_m)


def network_covariance(place_m: FloatArray, view: CropView) -> FloatArray:
    """(3, 3) of a place (3,) that a network alone has told."""
    return place_covariance(place_m, view, np.diag([NETWORK_LOG_DEPTH_STD, NETWORK_SHIFT_STD, NETWORK_SHIFT_STD]) ** 2)
