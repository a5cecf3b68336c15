"""The same MANO hand in every convention that datasets and programs store, and back (docs/research/mano.md).

``ManoParameters`` holds one of three; rotation matrices and six numbers a joint are what networks give (HaMeR,
manopth with ``joint_rot_mode='rotmat'``): both are absolute, for a mean pose cannot be added to a matrix.
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
"""MANO's order, which is not that of the 21 keypoints (``records``): little before ring, thumb last."""


@dataclass(frozen=True, eq=False)
class CanonicalMano:
    """A right hand of the template, and where it is: what every convention is made from."""

    handedness: Handedness
    """Of the real hand; a left one is the mirror image of what stands here."""
    pose: FloatArray
    """(45,) axis-angle of the right hand, relative to the template's mean"""
    shape: FloatArray
    """(10,)"""
    camera_from_wrist: FloatArray
    """(3, 3) rotation of the real hand (``records.HandMesh``)"""
    wrist_m: FloatArray
    """(3,) wrist joint in the camera's frame"""


def canonical(parameters: ManoParameters, template: HandTemplate) -> CanonicalMano:
    """What these parameters say, in whatever convention; the wrist lies at its own place in the file, moved.

    The shape of a published left hand becomes the nearest one that the template has.
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
    """The hand in one of MANO's conventions; fewer than 45 components are the nearest pose that they can say."""
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
    """The same hand in another convention; turn, shape and translation stay to the bit."""
    pose = _pose(canonical(parameters, template), template, kind, POSE_SIZE)
    return replace(parameters, kind=kind, pose=pose)


def matrices(parameters: ManoParameters, template: HandTemplate) -> FloatArray:
    """(16, 3, 3) the wrist's turn and the fingers' from the flat hand, in MANO's order and of the real hand's side."""
    absolute = converted(parameters, template, "absolute").pose.reshape(FINGER_JOINTS, 3)
    return rotation_from_axis_angle(np.concatenate([parameters.global_rotation[None], absolute]))


def six_numbers(rotations: FloatArray) -> FloatArray:
    """(..., 3, 3) -> (..., 6): first column, then second, as HaMeR; PyTorch3D takes rows, SPIN puts columns in turn."""
    return np.concatenate([rotations[..., 0], rotations[..., 1]], axis=-1)


def rotations_from_six(numbers: FloatArray) -> FloatArray:
    """(..., 6) -> (..., 3, 3), by Gram and Schmidt (Zhou et al. 2019); HandvizError where they make no rotation."""
    first, second = numbers[..., :3], numbers[..., 3:]
    first = first / np.maximum(np.linalg.norm(first, axis=-1, keepdims=True), 1e-12)
    second = second - (first * second).sum(-1, keepdims=True) * first
    second = second / np.maximum(np.linalg.norm(second, axis=-1, keepdims=True), 1e-12)
    return checked_rotations(np.stack([first, second, np.cross(first, second)], axis=-1))


def checked_rotations(rotations: FloatArray, tolerance: float = 1e-3) -> FloatArray:
    """The same; HandvizError where a matrix (..., 3, 3) is no rotation (a mirror, a scale, or rows for columns)."""
    is_right = np.isfinite(rotations).all()
    if is_right:
        square = np.swapaxes(rotations, -1, -2) @ rotations
        is_right = np.abs(square - np.eye(3)).max(initial=0) < tolerance and (np.linalg.det(rotations) > 0).all()
    if not is_right:
        raise HandvizError(
            "the pose holds matrices that are no rotations: is it in another convention?", ErrorCode.BAD_VALUE
        )
    return rotations


def parameters_from_matrices(
    rotations: FloatArray, shape: FloatArray, translation_m: FloatArray, handedness: Handedness
) -> ManoParameters:
    """(16, 3, 3) as of ``matrices`` -> absolute parameters."""
    turns = Rotation.from_matrix(checked_rotations(rotations)).as_rotvec()
    return ManoParameters(handedness, "absolute", turns[1:].ravel(), shape, turns[0], translation_m)


def file_wrist_m(shape: FloatArray, handedness: Handedness, template: HandTemplate) -> FloatArray:
    """(3,) the wrist joint of MANO_RIGHT or MANO_LEFT at that shape (J0): what ``translation_m`` does not hold."""
    moved = template.joint_regressor[0].astype(np.float64) @ (template.shape_basis.astype(np.float64) @ shape)
    wrist = template.wrist_m + moved
    return np.asarray(wrist * MIRROR if handedness == "left" else wrist)


def mano_vertices(parameters: ManoParameters, template: HandTemplate) -> FloatArray:
    """(V, 3) in the camera's frame: what MANO's own layer gives for these parameters."""
    own = template_of(parameters, template)
    hand = canonical(replace(parameters, shape_is_published_left=False), own)
    return hand_vertices(hand, own) + hand.wrist_m


def hand_vertices(hand: CanonicalMano, template: HandTemplate) -> FloatArray:
    """(V, 3) camera axes, wrist joint at the origin."""
    vertices = posed(template, hand.pose[None], hand.shape[None])[0]
    own_side = vertices * MIRROR if hand.handedness == "left" else vertices
    return np.asarray(own_side @ hand.camera_from_wrist.T)


def split_48(numbers: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """MANO's (48 + 10,) in a row -> turn (3,), pose (45,), shape (10,); HandvizError at another count."""
    if np.shape(numbers) != (3 + POSE_SIZE + SHAPE_SIZE,):
        raise HandvizError(
            f"MANO's parameters in a row are 48 + 10 numbers, not {np.shape(numbers)}", ErrorCode.WRONG_SHAPE
        )
    turn, pose, shape = np.split(np.asarray(numbers, np.float64), [3, 3 + POSE_SIZE])
    return turn, pose, shape
