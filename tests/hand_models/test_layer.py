"""The torch layer against a slow loop over joints and vertices, and invariants of skinning."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.spatial.transform import Rotation

from handviz.hand_models.layer import HandLayer, rotation_from_axis_angle
from handviz.hand_models.open_hand import PARENTS, load_open_hand
from handviz.hand_models.template import HandTemplate

VERTICES = 24


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(11)


def rows(random, count, width):
    weights = random.random((count, width))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.fixture
def template(random) -> HandTemplate:
    """Return a template of random arrays: nothing is zero, the parents' order is MANO's."""
    return HandTemplate(
        name="random",
        vertices_m=random.normal(scale=0.05, size=(VERTICES, 3)),
        faces=np.zeros((1, 3), np.int32),
        shape_basis=random.normal(scale=0.005, size=(VERTICES, 3, 10)),
        pose_basis=random.normal(scale=0.002, size=(VERTICES, 3, 135)),
        skinning_weights=rows(random, VERTICES, 16),
        joint_regressor=rows(random, 16, VERTICES),
        keypoint_regressor=rows(random, 21, VERTICES),
        parents=PARENTS,
        pose_mean=random.normal(scale=0.2, size=45),
        pose_components=np.eye(45),
        uv=np.zeros((VERTICES, 2)),
        coarse_ids=np.arange(3, dtype=np.int32),
        full_from_coarse=rows(random, VERTICES, 3),
    )


@pytest.fixture
def pose_and_shape(random):
    return random.normal(scale=0.7, size=(3, 45)), random.normal(size=(3, 10))


def slow_hand(template, pose, shape):
    """Skin by 4 x 4 matrices, one joint and one vertex at a time."""
    shaped = template.vertices_m + template.shape_basis @ shape
    joints = template.joint_regressor @ shaped
    rotations = Rotation.from_rotvec((pose + template.pose_mean).reshape(15, 3)).as_matrix()
    shaped = shaped + template.pose_basis @ (rotations - np.eye(3)).ravel()
    world, posed_joints = [], []
    for joint, parent in enumerate(template.parents):
        local = np.eye(4)
        if joint:
            local[:3, :3] = rotations[joint - 1]
        local[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0)
        world.append(local if parent < 0 else world[parent] @ local)
        posed_joints.append(world[-1][:3, 3])
    vertices = np.zeros_like(shaped)
    for vertex, weights in enumerate(template.skinning_weights):
        for joint, weight in enumerate(weights):
            from_joint = np.append(shaped[vertex] - joints[joint], 1.0)
            vertices[vertex] += weight * (world[joint] @ from_joint)[:3]
    return vertices - posed_joints[0], np.array(posed_joints) - posed_joints[0]


def tensors(*arrays):
    return [torch.from_numpy(array) for array in arrays]


def test_equals_the_slow_loop(template, pose_and_shape):
    result = HandLayer(template).double()(*tensors(*pose_and_shape))
    for index, (pose, shape) in enumerate(zip(*pose_and_shape, strict=True)):
        vertices, joints = slow_hand(template, pose, shape)
        np.testing.assert_allclose(result.vertices_m[index], vertices, atol=1e-7)
        np.testing.assert_allclose(result.joints_m[index], joints, atol=1e-7)


def test_zero_correctives_are_left_out(template, pose_and_shape):
    plain = HandLayer(replace(template, pose_basis=np.zeros_like(template.pose_basis)))
    assert plain.corrective_basis is None
    assert HandLayer(template).corrective_basis is not None
    difference = (
        plain.double()(*tensors(*pose_and_shape))[0] - HandLayer(template).double()(*tensors(*pose_and_shape))[0]
    )
    assert difference.abs().max() > 1e-3


def test_rest_pose_gives_back_the_open_hand():
    template = load_open_hand()
    result = HandLayer(template)(torch.zeros(2, 45), torch.zeros(2, 10))
    np.testing.assert_allclose(result.vertices_m[1], template.vertices_m, atol=1e-6)
    np.testing.assert_allclose(result.joints_m[1], template.joint_regressor @ template.vertices_m, atol=1e-6)


def test_a_rotation_of_the_whole_turns_everything_about_the_wrist(template, pose_and_shape):
    layer, (pose, shape) = HandLayer(template).double(), tensors(*pose_and_shape)
    rotation = torch.from_numpy(Rotation.random(3, rng=2).as_matrix())
    plain, rotated = layer(pose, shape), layer(pose, shape, rotation)
    torch.testing.assert_close(rotated.vertices_m, plain.vertices_m @ rotation.transpose(1, 2))
    torch.testing.assert_close(rotated.joints_m, plain.joints_m @ rotation.transpose(1, 2))
    assert not rotated.joints_m[:, 0].any()


def test_bones_keep_their_lengths_in_every_pose(template, pose_and_shape):
    layer, (pose, shape) = HandLayer(template).double(), tensors(*pose_and_shape)
    bones = [layer(angles, shape).joints_m for angles in (pose, torch.zeros_like(pose))]
    posed, rest = ((joints[:, 1:] - joints[:, list(PARENTS[1:])]).norm(dim=-1) for joints in bones)
    torch.testing.assert_close(posed, rest)


def test_gradients_are_right_also_at_zero(template, pose_and_shape):
    layer, (pose, shape) = HandLayer(template).double(), tensors(*pose_and_shape)
    for scale in (0.0, 1.0):
        inputs = ((scale * pose[:1]).requires_grad_(), (scale * shape[:1]).requires_grad_())
        assert torch.autograd.gradcheck(layer, inputs)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-5, 1e-4, 0.3, np.pi, 6.0])
def test_axis_angle_is_that_of_scipy(angle):
    vector = angle * np.array([0.6, -0.64, 0.48])
    expected = Rotation.from_rotvec(vector).as_matrix()
    single = rotation_from_axis_angle(torch.from_numpy(vector).float())
    np.testing.assert_allclose(rotation_from_axis_angle(torch.from_numpy(vector)), expected, atol=1e-14)
    np.testing.assert_allclose(single, expected, atol=1e-6)


def test_nothing_of_the_template_goes_into_a_checkpoint(template):
    assert not HandLayer(template).state_dict()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_onnx_gives_the_same_hand(template, pose_and_shape, tmp_path):
    layer = HandLayer(template).eval()
    inputs = tuple(tensor.float() for tensor in tensors(*pose_and_shape))
    batch, path = torch.export.Dim("batch"), tmp_path / "hand.onnx"
    shapes = {"pose": {0: batch}, "shape": {0: batch}}
    names = {"input_names": list(shapes), "output_names": ["vertices_m", "joints_m"]}
    torch.onnx.export(layer, inputs, path, dynamo=True, verbose=False, dynamic_shapes=shapes, **names)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {name: tensor[:1].numpy() for name, tensor in zip(shapes, inputs, strict=True)}
    for found, expected in zip(session.run(None, feed), layer(*inputs), strict=True):
        np.testing.assert_allclose(found, expected[:1].numpy(), atol=1e-6)
