"""Linear blend skinning in numpy: the reference for the torch layer, also used by the generator."""

import numpy as np

from handviz.core.geometry import rotation_from_axis_angle
from handviz.core.records import FloatArray
from handviz.hand_models.template import JOINT_COUNT, HandTemplate

STIFFNESS = 1e-6
"""Of the mesh against any displacement: only makes the solution unique."""


def joint_transforms(pose: FloatArray, joints: FloatArray, parents: tuple[int, ...]) -> FloatArray:
    """Return the transforms (N, 16, 3, 4) from rest points to posed ones.

    pose (N, 45) axis-angle, rest joints (N, 16, 3); the wrist does not rotate.
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


def vertices_from_keypoint_displacements(template: HandTemplate) -> FloatArray:
    """Return the matrix (V, 21) from keypoint displacements to the smoothest vertex displacements that cause them.

    Smoothest: least squared second difference over the mesh (Botsch and Sorkine 2008, On Linear Variational Surface
    Deformation Methods), under the keypoint regressor's 21 equations. Valid for displacements small against a finger.
    """
    laplacian = np.zeros((template.vertex_count,) * 2)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        one, other = template.faces[:, start], template.faces[:, end]
        laplacian[one, other] = laplacian[other, one] = -1.0
    np.fill_diagonal(laplacian, -laplacian.sum(axis=1))
    # Each row is divided by its number of neighbours, or vertices with many would be stiffer.
    laplacian /= np.maximum(np.diag(laplacian), 1.0)[:, None]
    energy = laplacian.T @ laplacian + STIFFNESS * np.eye(template.vertex_count)
    regressor = template.keypoint_regressor.astype(np.float64)
    response = np.linalg.solve(energy, regressor.T)
    return response @ np.linalg.inv(regressor @ response)
