"""Skinning in numpy: against four by four matrices, and against the torch layer."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handviz.hand_models.layer import HandLayer
from handviz.hand_models.skinning import joint_transforms, skin

HANDS = 4


@pytest.fixture(scope="module")
def poses_and_shapes():
    random = np.random.default_rng(3)
    return random.normal(scale=0.6, size=(HANDS, 45)), random.normal(size=(HANDS, 10))


def skinned(template, poses, shapes):
    """Return vertices and joints of the template, as the generator poses it."""
    rest = template.vertices_m + np.einsum("vcs,ns->nvc", template.shape_basis.astype(np.float64), shapes)
    joints = template.joint_regressor.astype(np.float64) @ rest
    rest, joints = rest - joints[:, :1], joints - joints[:, :1]
    transforms = joint_transforms(poses, joints, template.parents)
    posed_joints = np.einsum("njab,njb->nja", transforms[..., :3], joints) + transforms[..., 3]
    return skin(rest, template.skinning_weights, transforms), posed_joints


def test_equals_the_torch_layer(template, poses_and_shapes):
    vertices, joints = skinned(template, *poses_and_shapes)
    result = HandLayer(template)(*(torch.from_numpy(values).float() for values in poses_and_shapes))
    np.testing.assert_allclose(result.vertices_m, vertices, atol=2e-6)
    np.testing.assert_allclose(result.joints_m, joints, atol=2e-6)


def test_transforms_are_those_of_a_chain_of_matrices(template, poses_and_shapes):
    joints = np.random.default_rng(4).normal(size=(HANDS, 16, 3))
    transforms = joint_transforms(poses_and_shapes[0], joints, template.parents)
    for hand in range(HANDS):
        world = []
        for joint, parent in enumerate(template.parents):
            local = np.eye(4)
            if joint:
                rotation = Rotation.from_rotvec(poses_and_shapes[0][hand, 3 * joint - 3 : 3 * joint])
                local[:3, :3] = rotation.as_matrix()
            local[:3, 3] = joints[hand, joint] - (joints[hand, parent] if parent >= 0 else 0)
            world.append(local if parent < 0 else world[parent] @ local)
            from_rest = np.eye(4)
            from_rest[:3, 3] = -joints[hand, joint]
            np.testing.assert_allclose(transforms[hand, joint], (world[joint] @ from_rest)[:3], atol=1e-12)


def test_no_pose_moves_nothing(template):
    joints = (template.joint_regressor @ template.vertices_m)[None]
    transforms = joint_transforms(np.zeros((1, 45)), joints, template.parents)
    posed = skin(template.vertices_m[None], template.skinning_weights, transforms)
    np.testing.assert_allclose(posed[0], template.vertices_m, atol=1e-6)


def test_a_vertex_of_one_joint_moves_with_it_and_shared_ones_in_between():
    transforms = np.zeros((1, 2, 3, 4))
    transforms[:, :, :, :3] = np.eye(3)
    transforms[0, 1, :, 3] = [1.0, 2.0, 3.0]
    rest = np.array([[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.5]]])
    weights = np.array([[1.0, 0.0], [0.0, 1.0], [0.75, 0.25]])
    expected = rest[0] + [[0, 0, 0], [1, 2, 3], [0.25, 0.5, 0.75]]
    np.testing.assert_allclose(skin(rest, weights, transforms)[0], expected)
