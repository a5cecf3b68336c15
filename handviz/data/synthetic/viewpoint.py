"""The camera's pose, and the crop of its image that a detector would cut."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handviz.core.geometry import camera_from_ray, intrinsics_from_field_of_view, project_points
from handviz.core.records import FloatArray, Intrinsics
from handviz.data.synthetic import pose
from handviz.detection.crop import CROP_SIDE_PER_EXTENT, crop_from_image_affine

IMAGE_SIZES = ((640, 480), (1280, 720), (480, 640))
CAMERA_TRIES = 12
NEAREST_M, FURTHEST_M = 0.25, 1.0
FIELD_OF_VIEW_DEG = (45.0, 80.0)
ROTATION_DEG, RIGHT_SIDES, DOWN_SIDES, LOG_SIDE = (0.3, 4.6), (0.0, 0.012), (-0.006, 0.027), (-0.11, 0.088)
"""Centre and scale of the Laplace distributions fitted to ``python -m tools.crop_jitter --count 500``."""
LOG_SIDE_RANGE = (-0.4, 0.2)
CENTRE = 0.5
"""Of the way from the wrist to the middle knuckle: the point that cameras look at."""
LEAST_ANGLE_DEG, RIG_TRIES = 25.0, 100
"""Between the directions of two cameras of a rig; after so many draws a tenth less."""
TRUE_SIZE_FRACTION = 0.3
"""Fraction of crops without the detector's bias in size, which may be smaller on real hands than on rendered ones."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera, the crop of its image, and the hand before it."""

    intrinsics: Intrinsics
    image_size: tuple[int, int]
    camera_from_wrist: FloatArray
    wrist_camera_m: FloatArray
    crop_from_image: FloatArray

    @property
    def matrix(self) -> FloatArray:
        """(3, 3) K."""
        return self.intrinsics.matrix


@dataclass(frozen=True, eq=False)
class CropJitter:
    """The difference of a detector's crop from the one of true keypoints; see crop_from_image_affine."""

    rotation_rad: float
    shift: FloatArray
    """(2,) crop sides"""
    side_per_extent: float


def sample_jitter(rng: np.random.Generator) -> CropJitter:
    """Draw jitter as `python -m tools.crop_jitter` measured it on 203 of 500 rendered hands (5 %, 50 %, 95 %).

    Rotation -7, 0.3, 14.5 degrees; shift -0.039, 0.001, 0.039 sides to the right and -0.13, -0.006, 0.044 down (it
    misses bent fingertips); logarithm of the side -0.45, -0.11, 0.03 (its hands are smaller than the true ones).
    """
    rotation_angle_deg, right, down, log_side = (
        rng.laplace(*of) for of in (ROTATION_DEG, RIGHT_SIDES, DOWN_SIDES, LOG_SIDE)
    )
    if rng.random() < TRUE_SIZE_FRACTION:
        log_side -= LOG_SIDE[0]
    side = CROP_SIDE_PER_EXTENT * math.exp(np.clip(log_side, *LOG_SIDE_RANGE))
    return CropJitter(math.radians(rotation_angle_deg), np.array([right, down]), side)


def sample_camera(rng: np.random.Generator, keypoints_m: FloatArray, view: FloatArray | None = None) -> Camera:
    """Draw a webcam or telephone 0.25 to 1 m from the hand, and the crop that a detector would cut.

    Hands sometimes reach out of the image, but a detector needs to see most of one. ``view`` (3, 3) is the rotation of
    the hand relative to the ray to it; without one any is drawn.
    """
    for _ in range(CAMERA_TRIES):
        camera, inside = _any_camera(rng, keypoints_m, view)
        if inside >= 1.0 or (inside >= 0.8 and rng.random() < 0.3):
            break
    return camera


def _any_camera(
    rng: np.random.Generator, keypoints_m: FloatArray, view: FloatArray | None = None
) -> tuple[Camera, float]:
    """Draw a camera, of a given view (3, 3) or any, and return the fraction of keypoints inside its image."""
    width, height = IMAGE_SIZES[rng.integers(0, len(IMAGE_SIZES))]
    intrinsics = intrinsics_from_field_of_view(width, height, rng.uniform(*FIELD_OF_VIEW_DEG))
    centre_px = np.array([width, height]) * rng.uniform(0.1, 0.9, 2)
    ray = camera_from_ray(centre_px, intrinsics)
    camera_from_wrist = ray @ (pose.sample_view(rng) if view is None else view)
    distance_m = float(np.exp(rng.uniform(math.log(NEAREST_M), math.log(FURTHEST_M))))
    centre_m = keypoints_m[9] * CENTRE
    wrist_m = ray @ np.array([0, 0, distance_m]) - camera_from_wrist @ centre_m
    keypoints_px = project_points(keypoints_m @ camera_from_wrist.T + wrist_m, intrinsics)
    jitter = sample_jitter(rng)
    affine = crop_from_image_affine(
        keypoints_px,
        "right",
        side_per_extent=jitter.side_per_extent,
        rotation_rad=jitter.rotation_rad,
        shift=jitter.shift,
    )
    inside = float(((keypoints_px > 0) & (keypoints_px < [width, height])).all(axis=1).mean())
    return Camera(intrinsics, (width, height), camera_from_wrist, wrist_m, affine), inside


# Rigs: several cameras around one hand.


def sample_rig(rng: np.random.Generator, keypoints_m: FloatArray, views: int) -> list[Camera]:
    """Draw cameras around a hand of keypoints (21, 3) in the wrist frame, each as ``sample_camera`` draws one.

    The first sees a palm or a back, as a detector mostly does; the others come from anywhere on the sphere, at least
    LEAST_ANGLE_DEG from each other (less where the sphere is full).
    """
    cameras: list[Camera] = []
    for _ in range(views):
        cameras.append(sample_rig_camera(rng, keypoints_m, cameras, is_usual=not cameras))
    return cameras


def sample_rig_camera(
    rng: np.random.Generator, keypoints_m: FloatArray, others: Sequence[Camera], *, is_usual: bool
) -> Camera:
    """Draw one more camera of a rig; ``is_usual``: of a palm or a back."""
    taken = np.array([direction_to(camera, keypoints_m) for camera in others]).reshape(-1, 3)
    least = math.radians(LEAST_ANGLE_DEG)
    while True:
        for _ in range(RIG_TRIES):
            view = pose.sample_usual_view(rng) if is_usual else pose.sample_any_view(rng)
            if (taken @ -view[2] < math.cos(least)).all():
                return sample_camera(rng, keypoints_m, view)
        least *= 0.9


def direction_to(camera: Camera, keypoints_m: FloatArray) -> FloatArray:
    """Return the unit vector (3,), in the wrist frame, from the point that cameras look at to a camera."""
    towards = position_of(camera) - keypoints_m[9] * CENTRE
    return np.asarray(towards / np.linalg.norm(towards))


def position_of(camera: Camera) -> FloatArray:
    """Return a camera's centre (3,) in the wrist frame, metres."""
    return np.asarray(-camera.wrist_camera_m @ camera.camera_from_wrist)
