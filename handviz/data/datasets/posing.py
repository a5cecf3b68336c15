"""Comparison of a dataset's MANO parameters with its points: a wrong MANO file or convention shows in millimetres."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from handviz.core.geometry import rotation_from_axis_angle
from handviz.core.records import FloatArray
from handviz.data.datasets.annotated import AnnotatedHand, HandDataset
from handviz.hand_models.mano.model import FINGERS
from handviz.hand_models.mano.parameters import MIRROR, posed, template_of, template_pose
from handviz.hand_models.skinning import joint_transforms
from handviz.hand_models.template import HandTemplate

AGREEMENT_MM = 1.5
"""Lists are rounded, and the two versions of MANO's file differ by 0.6 mm (FreiHAND's README): closer is the same."""
KEYPOINT_AGREEMENT_MM = 12.0
"""Keypoints may be a network's (HanCo): another pose convention is off by more."""
RIGHT = "the hand model and the conventions are right."
WRONG = "this is not the MANO file of this dataset, or it was opened with another mean pose."
ROTATION_DEG = 0.5
SAMPLED_HANDS = 32
MIDDLE_KNUCKLE = 4
"""MANO's joint; it hangs on the wrist, so that no pose moves it in the hand's own frame."""


class Agreement(NamedTuple):
    """Distances of parameters and vertices of some hands, each value of one hand."""

    distance_mm: FloatArray
    """(H,) mean distance of the vertices, the hand rotated and placed by the parameters"""
    rotated_distance_mm: FloatArray
    """(H,) the same after the best rotation and shift: of pose and shape alone"""
    rotation_angle_deg: FloatArray
    """(H,) angle of that rotation"""


def canonical_vertices_m(hand: AnnotatedHand, template: HandTemplate) -> FloatArray:
    """Return vertices (778, 3) posed by the parameters, of the hand's own side, wrist at the origin, not rotated."""
    if hand.mano is None:
        raise ValueError(f"{hand.name} has no MANO parameters")
    exact = template_of(hand.mano, template)
    vertices_m = posed(exact, template_pose(hand.mano, template)[None], hand.mano.shape[None])[0]
    return np.asarray(vertices_m * MIRROR if hand.mano.handedness == "left" else vertices_m)


def placed_wrist_m(hand: AnnotatedHand, template: HandTemplate) -> FloatArray:
    """Return the wrist joint (3,) in the camera's frame: from the dataset's knuckle if known, else as annotated."""
    if hand.mano is not None and hand.mano.knuckle_m is not None:
        own = template_of(hand.mano, template)
        rest = own.vertices_m + own.shape_basis.astype(np.float64) @ hand.mano.shape
        reach = (template.joint_regressor[MIDDLE_KNUCKLE] - template.joint_regressor[0]) @ rest
        own_side = reach * MIRROR if hand.mano.handedness == "left" else reach
        return np.asarray(hand.mano.knuckle_m - rotation_from_axis_angle(hand.mano.global_rotation) @ own_side)
    if hand.keypoints_m is None:
        raise ValueError(f"{hand.name} is not placed")
    return np.asarray(hand.keypoints_m[0])


def placed_vertices_m(hand: AnnotatedHand, template: HandTemplate) -> FloatArray:
    """Return vertices (778, 3) in the camera's frame."""
    assert hand.mano is not None
    rotation = rotation_from_axis_angle(hand.mano.global_rotation)
    return canonical_vertices_m(hand, template) @ rotation.T + placed_wrist_m(hand, template)


def best_rotation(points_m: FloatArray, onto_m: FloatArray) -> FloatArray:
    """Return the rotation (3, 3) after which points (P, 3), both sets about their means, lie closest to the others."""
    rotation, _ = Rotation.align_vectors(onto_m - onto_m.mean(0), points_m - points_m.mean(0))
    return np.asarray(rotation.as_matrix())


def agreement(dataset: HandDataset, template: HandTemplate, count: int = SAMPLED_HANDS) -> Agreement:
    """Return the agreement of up to ``count`` hands with both parameters and vertices, spread over the split."""
    rows = []
    for index in _spread(dataset, count):
        hand = dataset.hand(index)
        if hand.mano is not None and hand.vertices_m is not None:
            rows.append(_of_hand(placed_vertices_m(hand, template), hand.vertices_m))
    return (
        Agreement(*(np.array(column) for column in zip(*rows, strict=True))) if rows else Agreement(*[np.empty(0)] * 3)
    )


def keypoint_distances_mm(dataset: HandDataset, template: HandTemplate, count: int = SAMPLED_HANDS) -> FloatArray:
    """Return the mean distance (H,) of posed and placed joints and fingertips from the dataset's own keypoints."""
    distances, tips = [], dataset.tip_vertices
    for index in _spread(dataset, count):
        hand = dataset.hand(index)
        if hand.mano is not None and hand.keypoints_m is not None and tips is not None:
            distances.append(_mean_mm(placed_keypoints_m(hand, template, tips) - hand.keypoints_m))
    return np.array(distances)


def placed_keypoints_m(hand: AnnotatedHand, template: HandTemplate, tips: Sequence[int]) -> FloatArray:
    """Return (21, 3) in the camera's frame: MANO's joints as its chain moves them, and these vertices as fingertips."""
    assert hand.mano is not None
    own = template_of(hand.mano, template)
    rest = own.joint_regressor @ (own.vertices_m + own.shape_basis.astype(np.float64) @ hand.mano.shape)
    rest -= rest[0]
    absolute = template_pose(hand.mano, template) + template.pose_mean
    transforms = joint_transforms(absolute[None], rest[None], template.parents)[0]
    joints = np.einsum("jab,jb->ja", transforms[..., :3], rest) + transforms[..., 3]
    joints = joints * MIRROR if hand.mano.handedness == "left" else joints
    placed = joints @ rotation_from_axis_angle(hand.mano.global_rotation).T + placed_wrist_m(hand, template)
    vertices_m = placed_vertices_m(hand, template)
    fingers = [[*placed[list(finger[:3])], vertices_m[tip]] for finger, tip in zip(FINGERS, tips, strict=True)]
    return np.array([placed[0], *(point for finger in fingers for point in finger)])


def mano_warning(dataset: HandDataset, template: HandTemplate) -> str:
    """Return a message on how well this hand model gives the dataset's points; empty where nothing can be compared."""
    found = agreement(dataset, template)
    if not len(found.distance_mm):
        return _keypoint_warning(dataset, template)
    distance, rotated, angle = (float(np.median(column)) for column in found)
    message = f"Posed with {template.name}, MANO's parameters lie {distance:.2f} mm from the vertices of {dataset.name}"
    message += f" (median of {len(found.distance_mm)} hands)"
    if distance <= AGREEMENT_MM:
        return f"{message}: {RIGHT}"
    if rotated <= AGREEMENT_MM and angle > ROTATION_DEG:
        rest = f"{rotated:.2f} mm after a rotation by {angle:.1f} degrees"
        return f"{message}, {rest}: poses are right, the global rotation differs."
    return f"{message}: {WRONG}"


def _keypoint_warning(dataset: HandDataset, template: HandTemplate) -> str:
    distances_mm = keypoint_distances_mm(dataset, template)
    if not len(distances_mm):
        return ""
    median = float(np.median(distances_mm))
    message = f"Posed with {template.name}, MANO's parameters lie {median:.1f} mm from the keypoints of {dataset.name}"
    verdict = RIGHT if median <= KEYPOINT_AGREEMENT_MM else WRONG
    return f"{message} (median of {len(distances_mm)} hands): {verdict}"


def _spread(dataset: HandDataset, count: int) -> list[int]:
    """Return rows from the first to the last, ``count`` at most."""
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int))
    return [int(row) for row in rows]


def _of_hand(placed_m: FloatArray, vertices_m: FloatArray) -> tuple[float, float, float]:
    rotation = best_rotation(placed_m, vertices_m)
    rotated_m = (placed_m - placed_m.mean(0)) @ rotation.T + vertices_m.mean(0)
    degrees = np.degrees(Rotation.from_matrix(rotation).magnitude())
    return _mean_mm(placed_m - vertices_m), _mean_mm(rotated_m - vertices_m), float(degrees)


def _mean_mm(offsets_m: FloatArray) -> float:
    return float(np.linalg.norm(offsets_m, axis=1).mean() * 1e3)
