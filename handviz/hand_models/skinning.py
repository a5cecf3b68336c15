"""Linear blend skinning in numpy: the reference for the torch layer, and what the generator poses its arms with."""

import numpy as np

from handviz.core.geometry import rotation_from_axis_angle
from handviz.core.records import FloatArray
from handviz.hand_models.template import JOINT_COUNT


def joint_transforms(pose: FloatArray, joints: FloatArray, parents: tuple[int, ...]) -> FloatArray:
    """World transforms (N, 16, 3, 4) that take rest points to posed ones.

    pose (N, 45) axis-angle, rest joints (N, 16, 3); the wrist does not turn.
    """
    count = len(pose)
    local = np.tile(np.eye(3), (count, JOINT_COUNT, 1, 1))
    local[:, 1:] = rotation_from_axis_angle(pose.reshape(count, JOINT_COUNT - 1, 3))
    rotation, position = np.empty_like(local), np.empty_like(joints)
    for joint, parent in enumerate(parents):
        if parent < 0:
            rotation[:, joint], position[:, joint] = local[:, joint], joints[:, joint]
            continue
        rotation[:, joint] = rotation[:, parent] @ local[:, joint]
        bone = joints[:, joint] - joints[:, parent]
        position[:, joint] = position[:, parent] + np.einsum("nij,nj->ni", rotation[:, parent], bone)
    shift = position - np.einsum("njab,njb->nja", rotation, joints)
    return np.concatenate([rotation, shift[..., None]], axis=-1)


def skin(rest: FloatArray, weights: FloatArray, transforms: FloatArray) -> FloatArray:
    """Blend transforms (N, J, 3, 4) by weights (V, J) over rest vertices (N, V, 3) -> (N, V, 3)."""
    count, joint_count = transforms.shape[:2]
    blended = (weights @ transforms.reshape(count, joint_count, 12)).reshape(count, len(weights), 3, 4)
    return np.einsum("nvab,nvb->nva", blended[..., :3], rest) + blended[..., 3]
