"""Anatomy of hand motion: axes of flexion and abduction in the rest frame, joint limits, and random poses.

Ranges of motion follow the usual clinical tables (MCP -20..90, PIP 0..110, DIP 0..80 degrees; the thumb's saddle
joint opposes). Joints are numbered as in HandTemplate: wrist, then thumb, index, middle, ring, little, three each.
"""

from dataclasses import dataclass

import numpy as np

from handviz.core.geometry import rotation_from_axis_angle
from handviz.core.records import FloatArray

FINGERS = 5
PALMAR = np.array([0.0, 0.0, -1.0])
"""The palm faces -z in the canonical frame (towards the camera at zero rotation)."""


@dataclass(frozen=True, eq=False)
class JointAxes:
    """Unit axes in the rest frame: positive flexion curls to the palm, abduction is about the palm's normal."""

    flexion: FloatArray
    """(15, 3)"""
    abduction: FloatArray
    """(15, 3)"""
    twist: FloatArray
    """(15, 3) along the bone"""


def _unit(vectors: FloatArray) -> FloatArray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def joint_axes(joints: FloatArray, tips: FloatArray) -> JointAxes:
    """Return the axes of the 15 finger joints from the rest joints (16, 3) and fingertips (5, 3)."""
    flexion, abduction, twist = np.zeros((15, 3)), np.zeros((15, 3)), np.zeros((15, 3))
    little_side = (joints[13] + joints[0]) / 2
    for finger in range(FINGERS):
        for link in range(3):
            index = 3 * finger + link
            end = joints[index + 2] if link < 2 else tips[finger]
            bone = end - joints[index + 1]
            towards = PALMAR if finger else little_side - joints[index + 1]
            flexion[index] = np.cross(bone, towards)
            abduction[index] = PALMAR if finger else np.cross(flexion[index], bone)
            twist[index] = bone
    return JointAxes(_unit(flexion), _unit(abduction), _unit(twist))


def _curls(rng: np.random.Generator, count: int) -> FloatArray:
    """Draw curls (count, 4) of index..little in 0..1: common, separate, mixed, or a gesture of fingers up or down."""
    common = rng.beta(0.8, 0.8, (count, 1))
    separate = rng.beta(0.6, 0.6, (count, 4))
    slope = rng.normal(0, 0.25, (count, 1)) * np.linspace(-1, 1, 4)
    mixed = 0.6 * separate + 0.4 * common + rng.normal(0, 0.08, (count, 4))
    gesture = np.round(separate) * 0.88 + 0.04 + rng.normal(0, 0.06, (count, 4))
    choice = rng.integers(0, 5, (count, 1))
    common_or_fan = np.where(choice == 0, common + slope, np.repeat(common, 4, axis=1))
    curl = np.select([choice <= 1, choice == 2, choice == 3], [common_or_fan, separate, mixed], gesture)
    return np.clip(curl, 0.0, 1.0)


def _finger_angles(rng: np.random.Generator, curl: FloatArray) -> FloatArray:
    """Draw flexion, abduction, twist (count, 4, 3, 3) in degrees of index..little from their curls (count, 4)."""
    count = len(curl)
    # Hooks bend the outer joints only, table-tops the knuckles only.
    style = rng.choice([0.0, 1.0, -1.0], (count, 1), p=[0.76, 0.12, 0.12]) * rng.uniform(0.3, 1.0, (count, 1))
    knuckle = np.clip(-22 + 107 * curl * (1 - np.maximum(style, 0) * 0.8) + rng.normal(0, 10, curl.shape), -30, 92)
    middle = np.clip(102 * curl * (1 + np.minimum(style, 0) * 0.8) + rng.normal(0, 10, curl.shape), -6, 112)
    end = np.clip(0.62 * middle + rng.normal(0, 9, curl.shape), -12, 82)
    spread_all = rng.normal(0, 6, (count, 1)) * np.array([1.0, 0.3, -0.4, -1.2])
    spread = (spread_all + rng.normal(0, 4, curl.shape)) * (1 - 0.75 * curl)
    angles = np.zeros((count, 4, 3, 3))
    angles[..., 0, 0], angles[..., 1, 0], angles[..., 2, 0] = knuckle, middle, end
    angles[..., 0, 1] = spread
    angles[..., 0, 2] = rng.normal(0, 3, curl.shape)
    return angles


def _thumb_angles(rng: np.random.Generator, count: int) -> FloatArray:
    """Draw flexion, abduction, twist (count, 3, 3) in degrees of the thumb."""
    fold = rng.beta(0.9, 0.9, count)
    angles = np.zeros((count, 3, 3))
    angles[:, 0, 0] = -24 + 62 * fold + rng.normal(0, 8, count)
    angles[:, 0, 1] = rng.uniform(-32, 34, count)
    angles[:, 0, 2] = rng.normal(0, 10, count)
    angles[:, 1, 0] = np.clip(-12 + 62 * rng.beta(0.8, 1.1, count) + 8 * fold, -15, 62)
    angles[:, 2, 0] = np.clip(-22 + 102 * rng.beta(0.8, 1.2, count), -25, 85)
    return angles


def sample_angles(rng: np.random.Generator, count: int) -> FloatArray:
    """Draw random poses as (count, 15, 3) degrees of flexion, abduction and twist."""
    angles = np.zeros((count, FINGERS, 3, 3))
    angles[:, 1:] = _finger_angles(rng, _curls(rng, count))
    angles[:, 0] = _thumb_angles(rng, count)
    return angles.reshape(count, 15, 3)


def axis_angle_from_rotation(rotation: FloatArray) -> FloatArray:
    """Return axis-angles (..., 3) in radians of rotations (..., 3, 3) of less than 180 degrees."""
    cosine = np.clip((np.trace(rotation, axis1=-2, axis2=-1) - 1) / 2, -1, 1)
    angle = np.arccos(cosine)
    skew = np.stack(
        [
            rotation[..., 2, 1] - rotation[..., 1, 2],
            rotation[..., 0, 2] - rotation[..., 2, 0],
            rotation[..., 1, 0] - rotation[..., 0, 1],
        ],
        axis=-1,
    )
    factor = np.where(angle < 1e-6, 0.5, angle / np.maximum(2 * np.sin(angle), 1e-12))
    return skew * factor[..., None]


def pose_from_angles(angles_deg: FloatArray, axes: JointAxes) -> FloatArray:
    """Return the pose (N, 45), axis-angle in radians, of joint angles (N, 15, 3) in degrees."""
    rotations = [
        rotation_from_axis_angle(np.radians(angles_deg[..., kind, None]) * axis)
        for kind, axis in enumerate((axes.flexion, axes.abduction, axes.twist))
    ]
    rotation = rotations[1] @ rotations[0] @ rotations[2]
    return axis_angle_from_rotation(rotation).reshape(len(angles_deg), 45)
