"""Random hands: pose without fingers inside each other, shape, wrist and viewing direction."""

import math

import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import rotation_about_z, rotation_from_axis_angle
from handviz.core.records import FloatArray
from handviz.data.synthetic.gestures import GestureSampler, add_noise
from handviz.hand_models.anatomy import JointAxes, joint_axes, pose_from_angles, sample_angles
from handviz.hand_models.skinning import joint_transforms
from handviz.hand_models.template import SHAPE_SIZE, HandTemplate

CLOSEST_FINGERS_M = 0.0105
"""Minimal distance of two fingers' centre lines: a finger is about 15 mm thick and flesh yields."""
PALM_SURFACE_M = 0.005
"""Depth below the palm's plane from which on a finger's centre line counts as far from the palm as from a finger."""
PALM_M = ((-0.045, 0.030), (-0.095, -0.015))
"""x and y of the palm in the canonical frame."""
POSITIONS_ALONG_BONE = np.array([0.25, 0.6, 1.0])
SHAPE_LIMIT = 2.5
SIZE_SPREAD = 0.8
UNIFORM_VIEW_FRACTION = 0.2
YAW_SD_DEG, PITCH_SD_DEG = 45.0, 28.0
WRIST_SD_DEG = (22.0, 10.0, 10.0)
NATURAL, NOISY, BROAD = range(3)
KIND_FRACTIONS = (0.65, 0.15, 0.20)
"""Gestures, gestures with strong noise, and fingers that bend on their own: the last two cover the tails."""
NOISE_SD_DEG = 14.0


class PoseSampler:
    """Sampler of poses of one hand model."""

    def __init__(self, template: HandTemplate) -> None:
        self._parents = template.parents
        self._joints = template.joint_regressor @ template.vertices_m
        keypoints = template.keypoint_regressor @ template.vertices_m
        self._tips = keypoints[[4, 8, 12, 16, 20]]
        self._axes: JointAxes = joint_axes(self._joints, self._tips)
        self._gestures = GestureSampler(self._joints, self._tips, self._parents, self._axes)

    def sample(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Draw poses (count, 45); of three attempts each, the first without penetration or the least penetrating."""
        kinds = np.tile(rng.choice(len(KIND_FRACTIONS), count, p=KIND_FRACTIONS), 3)
        tries = pose_from_angles(self._angles(rng, kinds), self._axes)
        gap = np.minimum(self.finger_gap_m(tries), self.palm_gap_m(tries)).reshape(3, count)
        clear = gap > CLOSEST_FINGERS_M
        choice = np.where(clear.any(axis=0), clear.argmax(axis=0), gap.argmax(axis=0))
        return tries.reshape(3, count, -1)[choice, np.arange(count)]

    def _angles(self, rng: np.random.Generator, kinds: NDArray[np.int64]) -> FloatArray:
        """Return angles (N, 15, 3) in degrees of poses of the kinds (N,)."""
        count = len(kinds)
        angles = self._gestures.sample(rng, count)
        noisy = add_noise(rng, angles, NOISE_SD_DEG)
        broad = sample_angles(rng, count)
        return np.choose(kinds[:, None, None], [angles, noisy, broad])

    def finger_gap_m(self, poses: FloatArray) -> FloatArray:
        """Return the least distance (N,) between the centre lines of two fingers, outer two bones only."""
        lines = self._finger_lines(poses)
        gap = np.full(len(poses), np.inf)
        for first in range(5):
            for second in range(first + 1, 5):
                offsets = lines[:, first, :, None] - lines[:, second, None]
                gap = np.minimum(gap, np.sqrt((offsets**2).sum(-1)).min(axis=(1, 2)))
        return gap

    def palm_gap_m(self, poses: FloatArray) -> FloatArray:
        """Return the height (N,) of the lowest centre line of index..little above the palm's surface; inf beside it."""
        points = self._finger_lines(poses)[:, 1:].reshape(len(poses), -1, 3)
        (left, right), (top, bottom) = PALM_M
        x, y, z = points.transpose(2, 0, 1)
        above = (x > left) & (x < right) & (y > top) & (y < bottom)
        gap: FloatArray = np.where(above, -z - PALM_SURFACE_M, np.inf).min(axis=1)
        return gap

    def _finger_lines(self, poses: FloatArray) -> FloatArray:
        """Return points (N, 5, 6, 3) along the outer two bones of every finger."""
        count = len(poses)
        joints = np.broadcast_to(self._joints, (count, 16, 3))
        transforms = joint_transforms(poses, joints, self._parents)
        points = []
        for finger in range(5):
            for link in (1, 2):
                joint = 1 + 3 * finger + link
                start = self._joints[joint]
                end = self._joints[joint + 1] if link == 1 else self._tips[finger]
                rest = start + POSITIONS_ALONG_BONE[:, None] * (end - start) * 0.92
                rotation, shift = transforms[:, joint, :, :3], transforms[:, joint, :, 3]
                points.append(np.einsum("nab,kb->nka", rotation, rest) + shift[:, None])
        return np.stack(points, axis=1).reshape(count, 5, -1, 3)


def sample_shape(rng: np.random.Generator, count: int) -> FloatArray:
    """Draw shapes (count, 10), standard normal but never beyond 2.5; the first, which is size, narrower.

    The hand model includes children. People before a camera are mostly adults: their hands' length varies by about 7 %,
    not by the model's 9 %, and a wider range only teaches the networks a size that no image can confirm.
    """
    shapes = np.clip(rng.normal(size=(count, SHAPE_SIZE)), -SHAPE_LIMIT, SHAPE_LIMIT)
    shapes[:, 0] *= SIZE_SPREAD
    return shapes


def sample_wrist(rng: np.random.Generator) -> FloatArray:
    """Draw a rotation (3, 3) of the forearm about the wrist: flexion, radial-ulnar deviation and a little twist."""
    flexion, deviation, twist = np.radians(rng.normal(0, WRIST_SD_DEG))
    return (
        rotation_from_axis_angle(np.array([flexion, 0, 0]))
        @ rotation_about_z(deviation)
        @ rotation_from_axis_angle(np.array([0, twist, 0]))
    )


def sample_any_view(rng: np.random.Generator) -> FloatArray:
    """Draw a rotation (3, 3) of the hand relative to the ray to it, all alike."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def sample_view(rng: np.random.Generator) -> FloatArray:
    """Draw a rotation (3, 3) of the hand relative to the ray to it: mostly palms and backs, but every direction."""
    return sample_any_view(rng) if rng.random() < UNIFORM_VIEW_FRACTION else sample_usual_view(rng)


def sample_usual_view(rng: np.random.Generator) -> FloatArray:
    """Draw a rotation (3, 3) as most of ``sample_view``: a palm or a back, as a detector mostly finds them."""
    yaw = math.radians(rng.normal(0, YAW_SD_DEG)) + (math.pi if rng.random() < 0.5 else 0.0)
    pitch = math.radians(rng.normal(0, PITCH_SD_DEG))
    tilt = rotation_from_axis_angle(np.array([pitch, 0, 0])) @ rotation_from_axis_angle(np.array([0, yaw, 0]))
    return rotation_about_z(rng.uniform(-math.pi, math.pi)) @ tilt
