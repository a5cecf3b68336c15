"""Conversion between the conventions in which datasets and programs store a MANO hand (docs/research/mano.md).

``ManoParameters`` has one of three; networks (HaMeR, manopth with ``joint_rot_mode='rotmat'``) give rotation matrices
or six numbers a joint: both are absolute, because a mean pose cannot be added to a matrix.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import axis_angle_from_rotation, rotation_from_axis_angle
from handviz.core.records import FloatArray, Handedness
from handviz.hand_models.mano.parameters import (
    MIRROR,
    ROTATION_MIRROR,
    ManoParameters,
    PoseKind,
    posed,
    template_of,
    template_pose,
    template_shape,
)
from handviz.hand_models.template import JOINT_COUNT, POSE_SIZE, SHAPE_SIZE, HandTemplate

FINGER_JOINTS = JOINT_COUNT - 1
JOINT_NAMES = ("wrist", *(f"{finger}{n}" for finger in ("index", "middle", "pinky", "ring", "thumb") for n in "123"))
"""MANO's order, unlike that of the 21 keypoints (``records``): little before ring, thumb last."""


@dataclass(frozen=True, eq=False)
class CanonicalMano:
    """A right hand of the template and its position, from which every convention is computed."""

    handedness: Handedness
    """Of the real hand; a left one is the mirror image of this right hand."""
    pose: FloatArray
    """(45,) axis-angle of the right hand, relative to the template's mean"""
    shape: FloatArray
    """(10,)"""
    camera_from_wrist: FloatArray
    """(3, 3) rotation of the real hand (``records.HandMesh``)"""
    wrist_m: FloatArray
    """(3,) wrist joint in the camera's frame"""


def canonical(parameters: ManoParameters, template: HandTemplate) -> CanonicalMano:
    """Convert parameters of any convention; ``wrist_m`` is the translation plus the wrist's position in the file.

    The shape of a published left hand becomes the nearest one of the template.
    """
    exact = template_of(parameters, template)
    return CanonicalMano(
        handedness=parameters.handedness,
        pose=template_pose(parameters, template),
        shape=template_shape(parameters, template),
        camera_from_wrist=rotation_from_axis_angle(parameters.global_rotation),
        wrist_m=parameters.translation_m + file_wrist_m(parameters.shape, parameters.handedness, exact),
    )


def as_parameters(
    hand: CanonicalMano, template: HandTemplate, kind: PoseKind, component_count: int = POSE_SIZE
) -> ManoParameters:
    """Convert a hand to one of MANO's conventions; fewer than 45 components give the nearest pose."""
    return ManoParameters(
        handedness=hand.handedness,
        kind=kind,
        pose=_pose(hand, template, kind, component_count),
        shape=hand.shape,
        global_rotation=axis_angle_from_rotation(hand.camera_from_wrist),
        translation_m=hand.wrist_m - file_wrist_m(hand.shape, hand.handedness, template),
    )


def _pose(hand: CanonicalMano, template: HandTemplate, kind: PoseKind, component_count: int) -> FloatArray:
    if kind == "components":
        components = np.asarray(template.pose_components[:component_count], np.float64)
        return np.asarray(np.linalg.lstsq(components.T, hand.pose, rcond=None)[0])
    pose = hand.pose + template.pose_mean if kind == "absolute" else hand.pose
    return pose * np.tile(ROTATION_MIRROR, FINGER_JOINTS) if hand.handedness == "left" else pose


def converted(parameters: ManoParameters, template: HandTemplate, kind: PoseKind) -> ManoParameters:
    """Convert to another convention; rotation, shape and translation stay the same, bit for bit."""
    pose = _pose(canonical(parameters, template), template, kind, POSE_SIZE)
    return replace(parameters, kind=kind, pose=pose)


def matrices(parameters: ManoParameters, template: HandTemplate) -> FloatArray:
    """Return rotations (16, 3, 3) of wrist and fingers from the flat hand, in MANO's order, of the real hand's side."""
    absolute = converted(parameters, template, "absolute").pose.reshape(FINGER_JOINTS, 3)
    return rotation_from_axis_angle(np.concatenate([parameters.global_rotation[None], absolute]))


def six_numbers(rotations: FloatArray) -> FloatArray:
    """Return (..., 6) of (..., 3, 3): first column, then second, as HaMeR; PyTorch3D has rows, SPIN interleaves."""
    return np.concatenate([rotations[..., 0], rotations[..., 1]], axis=-1)


def rotations_from_six(numbers: FloatArray) -> FloatArray:
    """Return (..., 3, 3) of (..., 6) by Gram-Schmidt (Zhou et al. 2019); HandvizError if they give no rotation."""
    first, second = numbers[..., :3], numbers[..., 3:]
    first = first / np.maximum(np.linalg.norm(first, axis=-1, keepdims=True), 1e-12)
    second = second - (first * second).sum(-1, keepdims=True) * first
    second = second / np.maximum(np.linalg.norm(second, axis=-1, keepdims=True), 1e-12)
    return checked_rotations(np.stack([first, second, np.cross(first, second)], axis=-1))


def checked_rotations(rotations: FloatArray, tolerance: float = 1e-3) -> FloatArray:
    """Return the matrices (..., 3, 3); HandvizError if one is no rotation (mirrored, scaled, or transposed)."""
    is_right = np.isfinite(rotations).all()
    if is_right:
        square = np.swapaxes(rotations, -1, -2) @ rotations
        is_right = np.abs(square - np.eye(3)).max(initial=0) < tolerance and (np.linalg.det(rotations) > 0).all()
    if not is_right:
        raise HandvizError(
            "the pose contains matrices that are not rotations: check its convention", ErrorCode.BAD_VALUE
        )
    return rotations


def parameters_from_matrices(
    rotations: FloatArray, shape: FloatArray, translation_m: FloatArray, handedness: Handedness
) -> ManoParameters:
    """Return the absolute parameters of rotations (16, 3, 3) as from ``matrices``."""
    axis_angles = Rotation.from_matrix(checked_rotations(rotations)).as_rotvec()
    return ManoParameters(handedness, "absolute", axis_angles[1:].ravel(), shape, axis_angles[0], translation_m)


def file_wrist_m(shape: FloatArray, handedness: Handedness, template: HandTemplate) -> FloatArray:
    """Return the wrist joint (3,) of MANO_RIGHT or MANO_LEFT at that shape (J0), not part of ``translation_m``."""
    offset = template.joint_regressor[0].astype(np.float64) @ (template.shape_basis.astype(np.float64) @ shape)
    wrist = template.wrist_m + offset
    return np.asarray(wrist * MIRROR if handedness == "left" else wrist)


def mano_vertices(parameters: ManoParameters, template: HandTemplate) -> FloatArray:
    """Return the vertices (V, 3) in the camera frame that MANO's own layer gives for these parameters."""
    own = template_of(parameters, template)
    hand = canonical(replace(parameters, shape_is_published_left=False), own)
    return hand_vertices(hand, own) + hand.wrist_m


def hand_vertices(hand: CanonicalMano, template: HandTemplate) -> FloatArray:
    """Return the vertices (V, 3) in camera axes, wrist joint at the origin."""
    vertices = posed(template, hand.pose[None], hand.shape[None])[0]
    vertices_of_side = vertices * MIRROR if hand.handedness == "left" else vertices
    return np.asarray(vertices_of_side @ hand.camera_from_wrist.T)


def split_48(numbers: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Split MANO's (48 + 10,) into rotation (3,), pose (45,), shape (10,); HandvizError at another count."""
    if np.shape(numbers) != (3 + POSE_SIZE + SHAPE_SIZE,):
        raise HandvizError(
            f"MANO's parameters are 48 + 10 numbers in a row, not an array of shape {np.shape(numbers)}",
            ErrorCode.WRONG_SHAPE,
        )
    rotation, pose, shape = np.split(np.asarray(numbers, np.float64), [3, 3 + POSE_SIZE])
    return rotation, pose, shape
