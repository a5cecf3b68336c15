"""MANO's 48 + 10 numbers as datasets and other programs store them, and their meaning for a hand template.

Three conventions are in use for the 45 numbers of the fingers (``PoseKind``), and the numbers do not show which. A
template (``model.load_mano``) is always a right hand whose pose is axis-angle relative to its ``pose_mean``; parameters
of a left hand are those of MANO_LEFT, and are converted to its mirror image.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from handviz.core.geometry import rotation_from_axis_angle
from handviz.core.records import FloatArray, Handedness
from handviz.hand_models.skinning import joint_transforms, skin
from handviz.hand_models.template import POSE_SIZE, HandTemplate

PoseKind = Literal["absolute", "relative", "components"]
MIRROR = np.array([-1.0, 1.0, 1.0])
ROTATION_MIRROR = np.array([1.0, -1.0, -1.0])
"""The effect of a mirror in x on an axis-angle."""


@dataclass(frozen=True, eq=False)
class ManoParameters:
    """The input of MANO's own layer for one hand, in the camera axes of ``records``."""

    handedness: Handedness
    kind: PoseKind
    """absolute: angles from the flat hand (flat_hand_mean=True); relative: from the file's mean pose
    (flat_hand_mean=False); components: coefficients of the file's 45 principal components, relative too."""
    pose: FloatArray
    """(45,), or fewer where ``kind`` is components: the first ones"""
    shape: FloatArray
    """(10,)"""
    global_rotation: FloatArray
    """(3,) axis-angle of the whole hand about its wrist joint"""
    translation_m: FloatArray
    """(3,) added to the vertices by MANO's layer at the end, without the wrist joint's position; nan if the dataset
    lacks it"""
    knuckle_m: FloatArray | None = None
    """(3,) the middle finger's first joint in the camera frame, for datasets that position the hand by it"""
    shape_is_published_left: bool = False
    """Of left hands: ``shape`` is for the published MANO_LEFT.pkl, whose shape directions are the right hand's, not
    mirrored (smplx#48); such a hand is not the mirror image of a right hand with the same numbers"""


def template_pose(parameters: ManoParameters, template: HandTemplate) -> FloatArray:
    """Return the axis-angle (45,) of the right hand, relative to the template's mean."""
    if parameters.kind == "components":
        # A left file's components were mirrored when the template was read.
        return np.asarray(parameters.pose @ template.pose_components[: len(parameters.pose)], np.float64)
    pose = np.asarray(parameters.pose, np.float64)
    if parameters.handedness == "left":
        pose = (pose.reshape(-1, 3) * ROTATION_MIRROR).ravel()
    return pose - template.pose_mean if parameters.kind == "absolute" else pose


def template_shape(parameters: ManoParameters, template: HandTemplate) -> FloatArray:
    """Return the template's shape (10,); for the published MANO_LEFT the nearest one."""
    shape = np.asarray(parameters.shape, np.float64)
    return _own_from_published(template) @ shape if parameters.shape_is_published_left else shape


def template_of(parameters: ManoParameters, template: HandTemplate) -> HandTemplate:
    """Return the template that poses exactly these parameters: another one for the published MANO_LEFT."""
    return _published_left(template) if parameters.shape_is_published_left else template


@lru_cache(maxsize=4)
def _published_left(template: HandTemplate) -> HandTemplate:
    return replace(template, shape_basis=template.shape_basis * MIRROR[:, None].astype(template.shape_basis.dtype))


@lru_cache(maxsize=4)
def _own_from_published(template: HandTemplate) -> FloatArray:
    """Return the least squares map (10, 10) over all vertices at rest."""
    own, other = (hand.shape_basis.astype(np.float64).reshape(-1, 10) for hand in (template, _published_left(template)))
    return np.asarray(np.linalg.lstsq(own, other)[0])


def posed(template: HandTemplate, pose: FloatArray, shape: FloatArray) -> FloatArray:
    """Return canonical vertices (N, V, 3), wrist joint at the origin, of relative pose (N, 45) and shape (N, 10)."""
    rest = template.vertices_m + np.einsum("vcs,ns->nvc", template.shape_basis.astype(np.float64), shape)
    joints = template.joint_regressor @ rest
    absolute = pose + template.pose_mean
    if template.pose_basis.any():
        pose_features = rotation_from_axis_angle(absolute.reshape(len(pose), POSE_SIZE // 3, 3)) - np.eye(3)
        rest = rest + np.einsum(
            "vcp,np->nvc", template.pose_basis.astype(np.float64), pose_features.reshape(len(pose), -1)
        )
    wrist = joints[:, :1]
    return skin(rest - wrist, template.skinning_weights, joint_transforms(absolute, joints - wrist, template.parents))
