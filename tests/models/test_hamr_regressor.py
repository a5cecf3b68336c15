"""HAMR's iterative regressor, and the whole network."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handviz.core.errors import ErrorCode
from handviz.models.hamr.model import Inputs, ModelConfig, build_model, sampled
from handviz.models.hamr.regressor import Anchors, IterativeRegressor, explained_variance, residual_numbers, residuals
from handviz.models.truth import in_crop
from tests.errors import raises
from tests.models.test_hamr_heatmaps import maps

SMALL = ModelConfig(feature_size=16, token_width=8, width=16)


def regressor(template, **changes):
    settings = {"width": 16, "iterations": 3, "pose_numbers": 45, "rotation": "six_d", "dropout": 0.0}
    torch.manual_seed(1)
    return IterativeRegressor(8, template, **(settings | changes))


def test_every_iteration_adds_what_the_same_layers_say(template) -> None:
    network, vector = regressor(template), torch.rand(2, 8)
    torch.nn.init.normal_(network.change.weight, std=0.1)
    theta = network.start.expand(2, -1)
    steps = network(vector)
    assert len(steps) == 4
    for step in steps:
        expected = network.decoded(theta)
        for mine, true in zip(step, expected, strict=True):
            torch.testing.assert_close(mine, true)
        hidden = torch.cat([vector, theta], dim=1)
        for number in (0, 3):
            linear = network.layers[number]
            hidden = torch.relu(hidden @ linear.weight.T + linear.bias)
        theta = theta + hidden @ network.change.weight.T + network.change.bias
    assert not torch.equal(steps[1].pose, steps[3].pose)


def test_it_starts_with_the_rest_pose_before_the_camera(template) -> None:
    start = regressor(template)(torch.rand(1, 8))[0]
    torch.testing.assert_close(start.rotation, torch.eye(3)[None])
    assert not start.pose.any()
    assert not start.shape.any()


def test_a_hand_where_it_was_seen_leaves_no_residual(template) -> None:
    network = regressor(template)
    theta = network.start.expand(2, -1) + 0.2 * torch.randn(2, len(network.start))
    hand = network.decoded(theta)
    keypoints = network.keypoint_regressor @ hand.vertices_cm
    in_image = in_crop(keypoints, hand.rotation, hand.scale_per_cm, hand.translation)
    world_dm = keypoints @ hand.rotation.transpose(1, 2) / 10 + torch.tensor([0.3, -0.2, 0.1])
    landmarks = torch.cat([in_image.flatten(1), world_dm.flatten(1), torch.ones(2, 2)], dim=1)
    anchors = Anchors(in_image[..., :2] + torch.tensor([0.05, 0.0]), landmarks)
    found = residuals(hand, network.keypoint_regressor, anchors)
    assert found.shape == (2, residual_numbers(heatmaps=True, landmarks=True))
    torch.testing.assert_close(found[:, :42], torch.tensor([-0.05, 0.0]).repeat(2, 21), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:, 42:], torch.zeros(2, 105), atol=1e-5, rtol=0)
    assert residuals(hand, network.keypoint_regressor, Anchors(None, landmarks)).shape == (2, 105)
    assert residuals(hand, network.keypoint_regressor, Anchors(in_image[..., :2], None)).shape == (2, 42)


def test_feedback_tells_a_step_where_the_last_one_put_the_hand(template) -> None:
    network = regressor(template, feedback=residual_numbers(heatmaps=True, landmarks=False))
    torch.nn.init.normal_(network.change.weight, std=0.1)
    vector, position = torch.rand(1, 8), torch.rand(1, 21, 2)
    first = network(vector, Anchors(position, None))
    other = network(vector, Anchors(position + 0.3, None))
    assert not torch.equal(first[1].pose, other[1].pose)
    assert torch.equal(first[0].pose, other[0].pose)


def test_maps_are_read_between_pixels() -> None:
    ramp = torch.linspace(-1 + 1 / 14, 1 - 1 / 14, 14)
    both = torch.stack([ramp.expand(14, 14), ramp[:, None].expand(14, 14)])[None]
    places = torch.tensor([[[0.3, -0.6], [0.0, 0.0], [-0.8, 0.55]]])
    torch.testing.assert_close(sampled(both, places), places, atol=1e-5, rtol=0)
    outside = sampled(both, torch.tensor([[[3.0, 0.0]]]))
    assert float(outside[0, 0, 0]) == pytest.approx(1 - 1 / 14), "the border's"


def test_twelve_components_are_the_first_rows(template) -> None:
    network = regressor(template, pose_numbers=12)
    np.testing.assert_allclose(network.pose_components, template.pose_components[:12], atol=1e-7)
    assert network(torch.rand(1, 8))[1].pose.shape == (1, 12)


def test_axis_angle_is_scipys(template) -> None:
    network = regressor(template, rotation="axis_angle")
    theta = network.start.clone()[None]
    theta[0, :3] = torch.tensor([0.3, -1.1, 0.4])
    expected = Rotation.from_rotvec([0.3, -1.1, 0.4]).as_matrix()
    np.testing.assert_allclose(network.decoded(theta).rotation[0], expected, atol=1e-6)


def test_all_components_explain_every_pose_and_none_none(template) -> None:
    poses = torch.randn(200, 45, generator=torch.Generator().manual_seed(0))
    assert explained_variance(template, poses, 45) == pytest.approx(1, abs=1e-6)
    assert explained_variance(template, poses, 0) == pytest.approx(0, abs=1e-6)
    assert 0 < explained_variance(template, poses, 12) < 1


def changes_it(part: torch.Tensor) -> bool:
    """Return whether a part got a gradient other than 0."""
    return part.grad is not None and bool(part.grad.any())


@pytest.mark.parametrize("heatmap_input", [True, False])
@pytest.mark.parametrize("landmarks", [True, False])
def test_a_hand_depends_on_what_the_config_says(template, heatmap_input: bool, landmarks: bool) -> None:
    torch.manual_seed(0)
    config = ModelConfig(feature_size=16, token_width=8, width=16, heatmap_input=heatmap_input, landmarks=landmarks)
    model = build_model(config, template).eval()
    torch.nn.init.normal_(model.regressor.change.weight, std=0.5)
    given = torch.rand(1, 128, requires_grad=True)
    heatmap_weight = model.heatmap_net.further[-1].heatmaps.weight
    model(Inputs(maps(1), given)).hand.vertices_cm.sum().backward()
    assert changes_it(given) == landmarks
    assert changes_it(heatmap_weight) == heatmap_input


def test_the_presence_changes_nothing_before_it(template) -> None:
    model = build_model(SMALL, template)
    model(Inputs(maps(2), torch.rand(2, 128))).hand_logit.sum().backward()
    touched = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert touched == {name for name, _ in model.named_parameters() if name.startswith("presence.")}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iterations": 0}, ErrorCode.BAD_VALUE),
        ({"pose_numbers": 46}, ErrorCode.BAD_VALUE),
        ({"stages": 0}, ErrorCode.BAD_VALUE),
        ({"dropout": 1.0}, ErrorCode.BAD_VALUE),
        ({"token_width": 30}, ErrorCode.BAD_VALUE),
        ({"rotation": "quaternion"}, ErrorCode.UNKNOWN_NAME),
        ({"form": "transformer"}, ErrorCode.UNKNOWN_NAME),
    ],
)
def test_impossible_forms_are_refused(changes, code) -> None:
    with raises(code, match=next(iter(changes))):
        ModelConfig(**changes)
