"""The decoder's options beyond the paper's plain form, by hand in numpy; the camera net that starts from the joints."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import nn

from handviz.core.errors import ErrorCode
from handviz.detection.crop import as_the_detector_marks_them
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.joint_camera import JointCameraNet
from handviz.models.amvur.joint_residuals import (
    NUMBERS,
    NUMBERS_WITH_LANDMARKS,
    RIDGE_DM2,
    JointResiduals,
    without_motion,
)
from handviz.models.amvur.model import PLAIN_FORM, ModelConfig, build_model, config_from_saved
from handviz.models.amvur.network import Amvur, CameraOutput, DecoderBlock, SeenJoints, TokenSettings, VertexAttention
from handviz.models.landmark_numbers import LANDMARK_NUMBERS
from tests.errors import raises

WIDTH, HEADS, FEATURE = 16, 4, 11
SMALL = ModelConfig(width=16, regressor_width=16, feature_width=16, feature_layers=1)


def randomised(net: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.4)
    return net.double().eval()


def linear(x: np.ndarray, layer: nn.Linear) -> np.ndarray:
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def normalised(x: np.ndarray, layer: nn.LayerNorm) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    unit = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps)
    return unit * layer.weight.detach().numpy() + layer.bias.detach().numpy()


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def attended(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Attention of one sample, head by head and token by token."""
    size = WIDTH // HEADS
    out = np.zeros_like(query)
    for head in range(HEADS):
        own = slice(head * size, (head + 1) * size)
        for row in range(len(query)):
            scores = np.array([query[row, own] @ one[own] for one in key]) / math.sqrt(size)
            weights = np.exp(scores - scores.max())
            out[row, own] = weights / weights.sum() @ value[:, own]
    return out


@torch.no_grad()
@pytest.mark.parametrize("crosses", [True, False])
@pytest.mark.parametrize("feed_forward", [True, False])
def test_a_block_is_cross_attention_self_attention_and_feed_forward(crosses: bool, feed_forward: bool) -> None:
    block = randomised(DecoderBlock(WIDTH, HEADS, crosses=crosses, feed_forward=feed_forward))
    tokens, joints = torch.randn(1, 5, WIDTH).double(), torch.randn(1, 21, WIDTH).double()
    x, seen = tokens[0].numpy(), joints[0].numpy()
    if crosses:
        both = linear(normalised(seen, block.before_joints), block.cross_key_value)
        query = linear(normalised(x, block.before_cross), block.cross_query)
        x = x + linear(attended(query, both[:, :WIDTH], both[:, WIDTH:]), block.after_cross)
    three = linear(normalised(x, block.before_self), block.self_query_key_value)
    x = x + linear(attended(three[:, :WIDTH], three[:, WIDTH : 2 * WIDTH], three[:, 2 * WIDTH :]), block.after_self)
    if feed_forward:
        hidden = gelu(linear(normalised(x, block.feed_forward.before), block.feed_forward.layers[0]))
        x = x + linear(hidden, block.feed_forward.layers[2])
    np.testing.assert_allclose(block(tokens, joints if crosses else None)[0].numpy(), x, rtol=1e-9, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("kind", [Amvur, VertexAttention])
def test_without_options_it_is_the_paper_s_form_to_the_bit(kind: type[VertexAttention]) -> None:
    """The whole of the plain form written down again, in the order of its operations."""
    torch.manual_seed(0)
    net = kind(FEATURE, load_open_hand(), TokenSettings(WIDTH, HEADS, coarse=True)).eval()
    names = {name.split(".")[0] for name in net.state_dict()}
    assert not names & {"embedding", "query_embedding", "key_embedding", "more_blocks", "feed_forward"}
    feature = torch.randn(2, FEATURE)
    vertices, joints = net.rest_tokens / 10, net.rest_keypoints / 10

    def dot_product(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        parts = [part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in (query, key, value)]
        return nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)

    tokens = net.vertex_primary(feature, vertices)
    if kind is Amvur:
        key, value = net.cross_key(feature, joints), net.cross_value(feature, joints)
        tokens = tokens + dot_product(net.cross_query(feature, vertices), key, value)
    three = net.self_query_key_value(net.before_self(tokens)).chunk(3, dim=2)
    tokens = net.before_output(tokens + dot_product(*three))
    found = net(feature)
    assert torch.equal(found.mean_cm, net.rest_cm + net.lift @ net.mean(tokens))
    assert torch.equal(found.log_variance, (net.lift @ net.log_variance(tokens)).clamp(-9, 4))


@torch.no_grad()
def test_an_embedding_tells_tokens_of_the_same_place_apart() -> None:
    """Vertices and joints all in one place: without an embedding their answers are one."""
    for embedding in (False, True):
        torch.manual_seed(0)
        net = Amvur(FEATURE, load_open_hand(), TokenSettings(WIDTH, HEADS, coarse=True, embedding=embedding)).eval()
        net.rest_tokens.zero_()
        net.rest_keypoints.zero_()
        offsets = net(torch.randn(1, FEATURE)).mean_cm - net.rest_cm
        spread = (offsets - offsets[:, :1]).abs().max()
        assert spread > 1e-4 if embedding else spread < 1e-5


def seen_exactly(count: int) -> tuple[torch.Tensor, torch.Tensor, CameraOutput]:
    """Return joints (B, 21, 3) in cm, the feature whose last numbers are MediaPipe's landmarks and the joints in the
    crop, all without error, and the camera."""
    joints_cm = torch.randn(count, 21, 3) * 4
    turns = torch.tensor(Rotation.random(count, random_state=1).as_matrix()).float()
    scale, shift = torch.rand(count) * 0.05 + 0.05, torch.randn(count, 2) * 0.2
    in_camera = torch.einsum("bij,bkj->bki", turns, joints_cm)
    in_crop = in_camera * scale[:, None, None] + torch.cat([shift, torch.zeros(count, 1)], dim=1)[:, None]
    marked = torch.from_numpy(as_the_detector_marks_them(in_crop.numpy())).float()
    marked[..., 2] = 7.0  # No depth is read there.
    world = torch.from_numpy(as_the_detector_marks_them(in_camera.numpy())).float() / 10 + torch.randn(count, 1, 3)
    parts = [torch.randn(count, 4), marked.flatten(1), world.flatten(1), torch.ones(count, 2), in_crop.flatten(1)]
    camera = CameraOutput(torch.zeros(count, 9), torch.zeros(count, 9), turns, scale.requires_grad_(), shift)
    return joints_cm, torch.cat(parts, dim=1), camera


def test_residuals_are_what_no_motion_of_the_hand_explains() -> None:
    """A base mesh whose joints are displaced: by bending that stays, by a small motion that does not."""
    torch.manual_seed(0)
    joints_cm, feature, camera = seen_exactly(5)
    net = JointResiduals(with_landmarks=True)
    still = net(feature, camera, joints_cm)
    assert still.shape == (5, 21, NUMBERS_WITH_LANDMARKS)
    assert not still.requires_grad
    assert still[..., :9].abs().max() < 1e-4
    torch.testing.assert_close(still[..., 9:], camera.rotation[:, 2:].expand(-1, 21, -1))
    turn = torch.tensor(Rotation.from_rotvec([0.02, -0.01, 0.03]).as_matrix()).float()
    moved = net(feature, camera, 1.03 * joints_cm @ turn.T + torch.tensor([1.0, 2.0, -3.0]))
    assert moved[..., :9].abs().max() * 10 < 0.02
    bent_cm = joints_cm.clone()
    bent_cm[:, 8] += torch.tensor([0.5, 0.2, 0.1])
    bent = net(feature, camera, bent_cm)
    for source in (bent[..., :3], bent[..., 6:9]):
        assert (source[:, 8].norm(dim=1) > 3 * source[:, :8].norm(dim=2).amax(1)).all()
        assert (source[:, 8] @ torch.tensor([0.5, 0.2, 0.1]) < 0).all()
    view = camera.rotation[:, 2]
    assert torch.einsum("bkc,bc->bk", bent[..., 3:6], view).abs().max() < 1e-5
    alone = JointResiduals(with_landmarks=False)(feature, camera, bent_cm)
    torch.testing.assert_close(alone, bent[..., [0, 1, 2, 9, 10, 11]])


@pytest.mark.parametrize("size", [2, 3])
def test_the_motion_is_the_least_squares_one(size: int) -> None:
    generator = np.random.default_rng(0)
    points, residuals = generator.normal(size=(21, 3)), generator.normal(size=(21, size))
    centred = points - points.mean(axis=0)
    motions = [np.cross(axis, centred)[:, :size].ravel() for axis in np.eye(3)] + [centred[:, :size].ravel()]
    design, wanted = np.stack(motions, axis=1), (residuals - residuals.mean(axis=0)).ravel()
    normal = design.T @ design + RIDGE_DM2 * np.eye(4)
    expected = (wanted - design @ np.linalg.solve(normal, design.T @ wanted)).reshape(21, size)
    found = without_motion(torch.from_numpy(points)[None], torch.from_numpy(residuals)[None])[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-9)


@torch.no_grad()
def test_a_vertex_feels_the_residuals_of_the_joints_around_it() -> None:
    """Neither pulled nor told by attention, so that every vertex is on its own."""
    template = load_open_hand()
    net = Amvur(FEATURE, template, TokenSettings(WIDTH, HEADS, coarse=False, residual_numbers=6)).eval()
    nn.init.zeros_(net.of_residual.weight)
    nn.init.constant_(net.pull.bias, -60.0)
    nn.init.normal_(net.mean[-1].weight, std=0.5)
    for values in (net.self_query_key_value.weight[-WIDTH:], net.self_query_key_value.bias[-WIDTH:]):
        values.zero_()
    feature, still = torch.randn(1, FEATURE), torch.zeros(1, 21, 6)
    moved, index_tip = still.clone(), 8
    moved[0, index_tip] = 1.0
    change = net(feature, None, SeenJoints(None, moved)).mean_cm - net(feature, None, SeenJoints(None, still)).mean_cm
    size = change[0].norm(dim=1).numpy()
    tip_m = (template.keypoint_regressor @ template.vertices_m)[index_tip]
    far_cm = 100 * np.linalg.norm(template.vertices_m - tip_m, axis=1)
    assert size.max() > 1e-3
    assert size[far_cm > 6].max() < 1e-3 * size.max()
    assert far_cm[size.argmax()] < 2


@torch.no_grad()
def test_joints_are_pulled_by_fractions_to_where_they_are_seen() -> None:
    template = load_open_hand()
    net = Amvur(FEATURE, template, TokenSettings(WIDTH, HEADS, coarse=True, residual_numbers=6)).eval()
    for layer in (net.pull, net.mean[-1]):
        nn.init.zeros_(layer.weight)
    nn.init.constant_(net.pull.bias, 0.0)
    residuals = torch.randn(1, 21, 6)
    moved_cm = net.keypoint_regressor @ (
        net(torch.randn(1, FEATURE), None, SeenJoints(None, residuals)).mean_cm - net.rest_cm
    )
    torch.testing.assert_close(moved_cm, 10 * 0.5 * residuals[..., :3], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("change", "numbers"),
    [
        ({}, NUMBERS_WITH_LANDMARKS),
        ({"variant": "amvur"}, NUMBERS_WITH_LANDMARKS),
        ({"landmarks": False}, NUMBERS),
        ({"residuals": False}, 0),
        ({"features": "global"}, 0),
        ({"attention": "self"}, 0),
    ],
)
@torch.no_grad()
def test_residuals_are_read_where_there_are_joints_to_see(change: dict[str, object], numbers: int) -> None:
    config = replace(SMALL, **change)
    assert config.residual_numbers == numbers
    model = build_model(config, load_open_hand()).eval()
    assert model(torch.rand(1, 3, 224, 224)).mean_cm.isfinite().all()
    names = [name for name in model.heads.state_dict() if "residual" in name]
    assert len(names) == (2 if numbers else 0)


def test_a_file_that_does_not_name_the_options_has_none_of_them() -> None:
    old = config_from_saved({"variant": "final", "features": "joints", "width": 16})
    assert {name: getattr(old, name) for name in PLAIN_FORM} == dict(PLAIN_FORM)
    names = set(build_model(old, load_open_hand()).heads.state_dict())
    assert "camera.mean.weight" in names
    assert not [name for name in names if "embedding" in name or "feed_forward" in name or "presence" in name]


@pytest.mark.parametrize("change", [{"blocks": 0}, {"blocks": 13}, {"camera": "none"}])
def test_a_decoder_that_is_none_is_said(change: dict[str, object]) -> None:
    with raises(ErrorCode.BAD_VALUE, ErrorCode.UNKNOWN_NAME):
        replace(SMALL, **change)


@torch.no_grad()
def test_the_camera_of_true_joints_needs_no_correction() -> None:
    """The rest pose seen by a known camera: rotation, scale and translation come out of the joints alone."""
    template, count = load_open_hand(), 20
    net = JointCameraNet(FEATURE + 63, WIDTH, template)
    nn.init.zeros_(net.correction.weight)
    keypoints_cm = 100 * template.keypoint_regressor @ template.vertices_m
    turns = Rotation.random(count, random_state=0).as_matrix()
    scales, places = np.linspace(0.05, 0.12, count), np.random.default_rng(0).normal(0, 0.2, (count, 2))
    seen = scales[:, None, None] * (keypoints_cm @ turns.transpose(0, 2, 1))
    seen[..., :2] += places[:, None]
    feature = torch.cat([torch.randn(count, FEATURE), torch.from_numpy(seen).float().flatten(1)], dim=1)
    camera = net(feature)
    np.testing.assert_allclose(camera.rotation.numpy(), turns, atol=1e-4)
    np.testing.assert_allclose(camera.scale.numpy(), scales, rtol=1e-4)
    wrist = (scales[:, None, None] * (keypoints_cm[:1] @ turns.transpose(0, 2, 1)))[:, 0, :2] + places
    np.testing.assert_allclose(camera.translation.numpy(), wrist, atol=1e-4)
    np.testing.assert_allclose(camera.mean[:, :6].numpy(), np.concatenate([turns[..., 0], turns[..., 1]], 1), atol=1e-4)


@torch.no_grad()
def test_the_camera_s_correction_turns_in_the_palm_s_frame() -> None:
    net = JointCameraNet(FEATURE + 63, WIDTH, load_open_hand())
    nn.init.zeros_(net.correction.weight)
    feature = torch.randn(3, FEATURE + 63)
    before = net(feature)
    turn = Rotation.from_euler("x", 30, degrees=True).as_matrix()
    net.correction.bias.copy_(torch.from_numpy(np.concatenate([turn[:, 0], turn[:, 1], [0.1, 0.2, -0.3]])).float())
    after = net(feature)
    np.testing.assert_allclose(after.rotation.numpy(), before.rotation.numpy() @ turn, atol=1e-5)
    np.testing.assert_allclose(after.scale.numpy(), before.scale.numpy() * math.exp(0.1), rtol=1e-5)
    np.testing.assert_allclose((after.translation - before.translation).numpy(), [[0.2, -0.3]] * 3, atol=1e-6)
    torch.testing.assert_close(torch.linalg.det(after.rotation), torch.ones(3))


@torch.no_grad()
def test_joints_in_one_point_give_finite_numbers() -> None:
    camera = JointCameraNet(FEATURE + 63, WIDTH, load_open_hand())(torch.zeros(2, FEATURE + 63))
    assert all(torch.isfinite(part).all() for part in camera)


@torch.no_grad()
def test_the_heads_give_the_net_the_joints_of_the_features() -> None:
    """The last numbers of the feature are the predicted joints, which exported heads get in no other way."""
    model = build_model(SMALL, load_open_hand()).eval()
    seen = model.seen(model.cached(torch.rand(2, 3, 224, 224)))
    torch.testing.assert_close(seen.feature[:, -63:], seen.joints_crop.flatten(1), rtol=0, atol=0)


def test_without_landmarks_nothing_of_mediapipe_s_heads_is_an_input() -> None:
    with_them, without = (build_model(replace(SMALL, landmarks=flag), load_open_hand()) for flag in (True, False))
    assert without.landmark_head is None
    assert with_them.features.feature_size - without.features.feature_size == LANDMARK_NUMBERS
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    assert without.cached(image).landmarks is None
    assert without(image).mean_cm.shape == (1, 778, 3)
