"""Features of the heads: MediaPipe's landmarks, tokens that attend to the maps, and the paper's one feature."""

from dataclasses import replace

import pytest
import torch

from handviz.models.amvur.features import JointFeatures, LandmarkHead
from handviz.models.amvur.model import ModelConfig, build_model
from handviz.models.attention import JointLayer, attention
from handviz.models.backbones.mediapipe_hand import load_mediapipe_hand, load_mediapipe_landmark_net
from handviz.models.backbones.registry import BACKBONES
from handviz.models.landmark_numbers import LANDMARK_NUMBERS

SMALL = ModelConfig(width=16, regressor_width=16, feature_width=16, feature_layers=2)
CHANNELS, MIDDLE = 12, 10
pytestmark = pytest.mark.usefixtures("seeded_torch")


def joint_features(with_landmarks):
    return JointFeatures(CHANNELS, MIDDLE, width=16, heads=4, layers=2, with_landmarks=with_landmarks).eval()


def seen(batch=3):
    """Return maps and landmarks of some crops, screen landmarks inside the crop."""
    return torch.randn(batch, CHANNELS, 7, 7), torch.randn(batch, MIDDLE, 14, 14), torch.rand(batch, 128) - 0.5


@torch.no_grad()
def test_the_landmark_head_equals_mediapipe_s_network():
    image = torch.rand(3, 3, 224, 224)
    wanted = load_mediapipe_landmark_net().eval()(image)
    found = LandmarkHead()(load_mediapipe_hand().stem(image)[1])
    assert found.shape == (3, LANDMARK_NUMBERS)
    screen, world, certain = found.split([63, 63, 2], dim=1)
    pixels = 112 * screen.unflatten(1, (21, 3)) + torch.tensor([112.0, 112.0, 0.0])
    torch.testing.assert_close(pixels, wanted.screen_px, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(world.unflatten(1, (21, 3)) / 10, wanted.world_m)
    torch.testing.assert_close(certain, torch.stack([wanted.presence, wanted.handedness], dim=1))


def test_the_landmark_head_is_frozen_and_has_no_stem_of_its_own():
    landmark_head = LandmarkHead()
    assert not [name for name, parameter in landmark_head.named_parameters() if parameter.requires_grad]
    assert {name.split(".")[1] for name in landmark_head.state_dict() if name.startswith("backbone")} == {
        "tail_blocks",
        "last_expand",
        "last_depthwise",
    }


@pytest.mark.parametrize("with_landmarks", [True, False])
@torch.no_grad()
def test_every_joint_has_a_token_and_a_position(with_landmarks):
    net, (last_map, middle_map, landmarks) = joint_features(with_landmarks), seen()
    found = net(last_map, middle_map, landmarks if with_landmarks else None)
    assert found.feature.shape == (3, net.feature_size)
    assert found.joints.shape == (3, 21, net.joint_width)
    assert found.joints_crop.shape == (3, 21, 3)
    torch.testing.assert_close(found.feature[:, :CHANNELS], last_map.mean((2, 3)))
    torch.testing.assert_close(found.feature[:, -63:], found.joints_crop.flatten(1))


@torch.no_grad()
def test_joints_start_where_the_landmarks_are():
    net, (last_map, middle_map, landmarks) = joint_features(True), seen()
    torch.nn.init.zeros_(net.position.weight)
    found = net(last_map, middle_map, landmarks)
    torch.testing.assert_close(found.joints_crop.flatten(1), landmarks[:, :63])


@torch.no_grad()
def test_a_joint_s_token_carries_the_map_where_its_landmark_is():
    """Cell (row, column) of 14 has its centre at (2 column + 1) / 14 - 1."""
    net, (_, middle_map, landmarks) = joint_features(True), seen(1)
    landmarks[0, 3 * 4 : 3 * 4 + 2] = torch.tensor([(2 * 5 + 1) / 14 - 1, (2 * 9 + 1) / 14 - 1])
    own = torch.cat([landmarks[0, 12:15], landmarks[0, 63 + 12 : 63 + 15], middle_map[0, :, 9, 5]])
    told = net._landmark_tokens(landmarks, middle_map)
    torch.testing.assert_close(told[0, 1 + 4], net.of_landmark(own) + net.of_landmarks(landmarks[0]))
    torch.testing.assert_close(told[0, 0], net.of_landmarks(landmarks[0]))


@torch.no_grad()
def test_one_crop_s_features_do_not_depend_on_its_neighbours():
    net, parts = joint_features(True), seen(3)
    together, alone = net(*parts), net(*(part[1:2] for part in parts))
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one[1:2], other)
    assert (together.joints[0] - together.joints[1]).abs().max() > 1e-3


@torch.no_grad()
def test_a_layer_is_self_attention_cross_attention_and_mlp():
    layer, tokens, places = JointLayer(8, 2).eval(), torch.randn(2, 5, 8), torch.randn(2, 7, 8)
    mine = layer.self_query_key_value(layer.before_self(tokens)).split(8, dim=2)
    after_self = tokens + layer.after_self(attention(*mine, 2))
    asked = layer.cross_query(layer.before_cross(after_self))
    answers = layer.cross_key_value(layer.before_places(places)).split(8, dim=2)
    after_cross = after_self + layer.after_cross(attention(asked, *answers, 2))
    expected = after_cross + layer.mlp(layer.before_mlp(after_cross))
    torch.testing.assert_close(layer(tokens, places), expected)


def test_every_parameter_of_the_features_learns():
    net, parts = joint_features(True), seen()
    found = net(*parts)
    sum(part.square().sum() for part in found).backward()
    assert [name for name, parameter in net.named_parameters() if not parameter.grad.abs().sum() > 0] == []


@torch.no_grad()
def test_global_features_are_the_paper_s_feature(template):
    model, image = build_model(replace(SMALL, features="global"), template).eval(), torch.rand(2, 3, 224, 224)
    cached = model.cached(image)
    assert model.landmark_head is None
    assert cached.landmarks is None
    found = model.seen(cached)
    torch.testing.assert_close(found.feature, model.backbone(image).global_feature)
    assert found.joints is found.joints_crop is None
    output = model(image)
    torch.testing.assert_close(output.camera.mean, model.heads.camera(found.feature).mean)
    torch.testing.assert_close(output.prior.vertices_cm, model.heads.prior(found.feature).vertices_cm)
    amvur = model.heads.amvur(found.feature, output.prior.vertices_cm)
    torch.testing.assert_close(output.mean_cm, amvur.mean_cm)
    assert output.joints_crop is None


@pytest.mark.parametrize("backbone", BACKBONES)
def test_only_mediapipe_s_backbone_has_a_landmark_head(template, backbone):
    model = build_model(replace(SMALL, backbone=backbone), template)
    assert (model.landmark_head is not None) == (backbone == "mediapipe_hand")
    assert (model.features.of_landmarks is not None) == (backbone == "mediapipe_hand")
