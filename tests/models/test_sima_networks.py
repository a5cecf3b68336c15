"""SiMA-Hand's networks: shapes of both forms, the shape branch against slow loops, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation
from torch import nn

from handviz.core.errors import ErrorCode
from handviz.data.labels import weak_perspective
from handviz.hand_models.mesh_levels import mesh_levels
from handviz.models.sima_hand import encoders, model
from handviz.models.sima_hand.decoder import JointsInImage, Lifting, SpiralConv, SpiralDecoder, Upsample, sampled
from handviz.models.sima_hand.encoders import DenseStack, ImageHourglass, SqueezeExcitation
from handviz.models.sima_hand.model import (
    SIZES,
    CameraHead,
    Inputs,
    ModelConfig,
    build_model,
    config_from_saved,
    least_squares_camera,
    palm_frame,
)
from handviz.models.sima_hand.samples import of_crops, of_views
from tests.errors import raises
from tests.fake_datasets.stand_in_mano import stand_in_template


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs_of(*lead: int, seed: int = 0) -> Inputs:
    return Inputs(drawn(*lead, 112, 14, 14, seed=seed), drawn(*lead, 128, seed=seed + 1) * 0.3)


def awake(network: nn.Module) -> nn.Module:
    """Return a network in evaluation whose last layers are none of them 0."""
    with torch.no_grad():
        for number, weight in enumerate(network.parameters()):
            if weight.ndim > 1 and float(weight.abs().max()) < 0.06:
                weight.copy_(drawn(*weight.shape, seed=number) * 0.05)
    return network.eval()


@pytest.fixture(scope="module")
def single(template):
    torch.manual_seed(0)
    return awake(build_model(ModelConfig(), template))


@pytest.fixture(scope="module")
def multi(template):
    torch.manual_seed(0)
    return awake(build_model(ModelConfig("mvr"), template))


def test_shapes_of_the_single_view_network(single) -> None:
    found = single(inputs_of(3))
    assert found.vertices_cm.shape == (3, 778, 3)
    assert found.joints_crop.shape == (3, 21, 2)
    assert found.translation.shape == (3, 2)
    assert found.log_scale.shape == found.hand_logit.shape == (3,)
    shapes = [tuple(part.shape[1:]) for part in found.features]
    assert shapes == [(49, 256), (778, 32), (192, 7, 7), (256, 7, 7), (49, 256)]
    unit = found.rotation @ found.rotation.transpose(1, 2)
    torch.testing.assert_close(unit, torch.eye(3).expand(3, 3, 3), atol=1e-5, rtol=0)
    assert torch.linalg.det(found.rotation).min() > 0.99


def test_several_views_have_one_mesh_and_their_own_rotations(multi) -> None:
    found = multi(inputs_of(2, 5))
    assert found.vertices_cm.shape == (10, 778, 3)
    assert found.features.vertex.shape == (2, 49, 256)
    assert found.features.orientation.shape == (10, 256, 7, 7)
    by_hand = found.vertices_cm.unflatten(0, (2, 5))
    assert torch.equal(by_hand, by_hand[:, :1].expand_as(by_hand))
    assert not torch.allclose(found.rotation[0], found.rotation[1])


def test_the_order_of_views_is_that_of_the_rotations_alone(multi) -> None:
    inputs = inputs_of(2, 4)
    order = torch.tensor([2, 0, 3, 1])
    turned = Inputs(*(part if part is None else part[:, order] for part in inputs))
    with torch.no_grad():
        one, other = multi(inputs), multi(turned)
    torch.testing.assert_close(one.vertices_cm, other.vertices_cm, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(one.rotation.unflatten(0, (2, 4))[:, order].flatten(0, 1), other.rotation)


def test_without_fusions_each_view_is_a_single_view_network_s(template) -> None:
    """Of one view the attention over views is that view's own feature."""
    torch.manual_seed(0)
    config = ModelConfig("mvr", image_fusion="none", joint_fusion="none")
    alone = awake(build_model(config, template))
    single = build_model(ModelConfig(), template).eval()
    single.load_state_dict(alone.state_dict())
    inputs = inputs_of(3, 1)
    with torch.no_grad():
        found, expected = alone(inputs), single(of_crops(inputs))
    torch.testing.assert_close(found.vertices_cm, expected.vertices_cm, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(found.rotation, expected.rotation, atol=1e-5, rtol=1e-5)


def test_the_orientation_does_not_change_the_shape_branch(single, multi) -> None:
    for network, inputs in ((single, inputs_of(2)), (multi, inputs_of(2, 3))):
        network.zero_grad()
        found = network(inputs)
        (found.rotation.sum() + found.log_scale.sum() + found.translation.sum() + found.hand_logit.sum()).backward()
        for part in network.shape_modules:
            assert all(weight.grad is None or not weight.grad.any() for weight in part.parameters())
        network.zero_grad()
        network(inputs).vertices_cm.sum().backward()
        assert network.rotation.narrow.weight.grad is None
        network.zero_grad()


def test_both_networks_fit_into_five_megabytes_of_float16(template) -> None:
    numbers = [
        sum(weight.numel() for weight in build_model(ModelConfig(kind), template).parameters())
        for kind in ("svr", "mvr")
    ]
    # The files also have spirals, mixtures and the template: 0.2 MB each (tests/models/test_sima_export.py).
    assert 2 * sum(numbers) < 4.3e6


def test_a_network_of_a_user_s_mano_has_its_mesh() -> None:
    mano = stand_in_template()
    found = build_model(ModelConfig(), mano).eval()(inputs_of(2))
    rest_cm = torch.tensor(mano.vertices_m) * 100
    assert float((found.vertices_cm - rest_cm).norm(dim=2).mean().detach()) < 2


def test_the_paper_s_form_has_the_paper_s_shapes(template) -> None:
    hourglass = ImageHourglass(128).eval()
    assert hourglass(torch.rand(2, 3, 128, 128)).shape == (2, 128, 32, 32)
    assert hourglass(torch.rand(2, 3, 224, 224)).shape == (2, 128, 32, 32)
    found = DenseStack(128, 24).eval()(torch.rand(2, 128, 32, 32))
    assert found.joint.shape == (2, 1024, 4, 4)
    assert found.fine.shape == (2, 24, 16, 16)
    config = ModelConfig("mvr", "paper", landmarks=False, views=2, image_fusion="concat")
    output = build_model(config, template).eval()(Inputs(None, None, torch.rand(1, 2, 3, 128, 128)))
    assert output.vertices_cm.shape == (2, 778, 3)
    shapes = [tuple(part.shape) for part in output.features]
    assert shapes == [(1, 49, 256), (1, 778, 32), (2, 1024, 4, 4), (2, 1024, 4, 4), (2, 16, 1024)]


def test_squeeze_excitation_weighs_channels_by_their_means() -> None:
    module, features = SqueezeExcitation(32), drawn(2, 32, 4, 4)
    first, _, second, _ = module.layers
    mean = features.mean((2, 3))
    hidden = torch.relu(mean @ first.weight[:, :, 0, 0].T + first.bias)
    weight = torch.sigmoid(hidden @ second.weight[:, :, 0, 0].T + second.bias)
    torch.testing.assert_close(module(features), features * weight[..., None, None])
    assert encoders.SQUEEZE == 16


def test_sampling_is_that_of_scipy() -> None:
    features, points = drawn(2, 3, 7, 7), drawn(2, 21, 2, seed=1).clamp(-0.8, 0.8)
    found = sampled(features, points).numpy()
    for row in range(2):
        # Pixel centres lie at (index + 0.5) / (side / 2) - 1.
        columns, rows = ((points[row, :, axis].numpy() + 1) * 3.5 - 0.5 for axis in (0, 1))
        for channel in range(3):
            expected = map_coordinates(features[row, channel].numpy(), [rows, columns], order=1, mode="nearest")
            np.testing.assert_allclose(found[row, :, channel], expected, atol=1e-5)
    outside = sampled(features, torch.full((2, 21, 2), 9.0))
    torch.testing.assert_close(outside[:, 0], features[:, :, -1, -1])


def test_lifting_mixes_the_joints_features() -> None:
    lifting = Lifting(5, 8, 4, 6)
    with torch.no_grad():
        lifting.matrix.copy_(drawn(4, 21))
    assert lifting.of_numbers is not None
    features, points, numbers = drawn(2, 5, 7, 7), drawn(2, 21, 2, seed=1) * 0.3, drawn(2, 21, 6, seed=2)
    of_joints = sampled(lifting.project(features), points) + lifting.of_numbers(numbers)
    expected = torch.zeros(2, 4, 8)
    for vertex in range(4):
        for joint in range(21):
            expected[:, vertex] += lifting.matrix[vertex, joint].detach() * of_joints[:, joint].detach()
    torch.testing.assert_close(lifting(features, points, numbers).detach(), expected, atol=1e-4, rtol=1e-4)


def test_2d_joints_start_at_the_landmarks() -> None:
    joints, start = JointsInImage(4, 14, has_start=True), drawn(2, 21, 2)
    fine, row = drawn(2, 4, 14, 14), slice(7, 8)
    maps = torch.einsum("kc,bcij->bkij", joints.maps.weight[:, :, 0, 0], fine) + joints.maps.bias[:, None, None]
    known = torch.cat([maps[:, 7].flatten(1), start[:, 7]], dim=1)
    torch.testing.assert_close(joints(fine, start)[:, row], start[:, row] + joints.layers(known)[:, None])
    alone = JointsInImage(4, 14, has_start=False)
    assert alone(fine, None).shape == (2, 21, 2)


def test_spirals_and_mixtures_are_slow_loops(template) -> None:
    levels = mesh_levels(template)
    spirals, features = levels.spirals[0], drawn(2, 49, 4)
    conv = SpiralConv(4, 3, spirals)
    weight, bias = (part.detach().numpy() for part in (conv.linear.weight, conv.linear.bias))
    found = conv(features).detach().numpy()
    for vertex in (0, 17, 48):
        near = np.concatenate([features[1, other].numpy() for other in spirals[vertex]])
        np.testing.assert_allclose(found[1, vertex], weight @ near + bias, atol=1e-5)
    ids, weights = levels.lift_ids[0], levels.lift_weights[0]
    lifted = Upsample(ids, weights)(features).numpy()
    for vertex in (0, 40, 97):
        expected = sum(
            weight * features[1, other].numpy() for weight, other in zip(weights[vertex], ids[vertex], strict=True)
        )
        np.testing.assert_allclose(lifted[1, vertex], expected, atol=1e-5)


def test_the_decoder_starts_at_the_hand_at_rest(template) -> None:
    torch.manual_seed(0)
    decoder = SpiralDecoder(template, mesh_levels(template), 256, (128, 64, 32, 32))
    last, vertices = decoder(drawn(2, 49, 256) * 0.1)
    assert last.shape == (2, 778, 32)
    rest_cm = torch.tensor(template.vertices_m) * 100
    assert float((vertices - rest_cm).norm(dim=2).mean().detach()) < 1


def test_the_camera_is_that_of_the_labels_least_squares() -> None:
    points, rotation = drawn(3, 21, 3), torch.eye(3).expand(3, 3, 3)
    joints = 0.7 * points[..., :2] + torch.tensor([0.2, -0.1]) + drawn(3, 21, 2, seed=3) * 0.05
    scale, translation = least_squares_camera(points, joints)
    for row in range(3):
        expected = weak_perspective(points[row].double().numpy(), np.eye(3), joints[row].double().numpy())
        assert float(scale[row]) == pytest.approx(expected[0], rel=1e-4)
        np.testing.assert_allclose(translation[row], expected[1], atol=1e-4)
    head = CameraHead(5, 0)
    nn.init.zeros_(head.layers[-1].weight)  # type: ignore[arg-type]
    log_scale, place = head(drawn(3, 5, 7, 7), joints, points, rotation, [])
    torch.testing.assert_close(log_scale.exp(), scale)
    torch.testing.assert_close(place, translation)


def test_joints_that_say_nothing_of_the_camera_give_a_finite_one() -> None:
    for joints in (torch.zeros(2, 21, 2), -drawn(2, 21, 2)):
        scale, translation = least_squares_camera(torch.zeros(2, 21, 3), joints)
        assert (scale > 0).all()
        assert torch.isfinite(torch.cat([scale, translation.flatten()])).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"landmarks": False},
        {"enhancement": "none"},
        {"enhancement": "concat"},
        {"network": "mvr", "image_fusion": "none", "joint_fusion": "none", "enhancement": "none"},
        {"network": "mvr", "image_fusion": "concat", "views": 3},
        {"network": "mvr", "joint_fusion": "concat", "views": 3},
        {"network": "mvr", "vertex_fusion": "concat", "views": 3},
        {"network": "mvr", "vertex_fusion": "pool"},
        {"network": "mvr", "vertex_fusion": "printed"},
    ],
)
def test_every_switch_makes_a_network_that_learns(template, changes) -> None:
    network = build_model(ModelConfig(**changes), template)
    inputs = inputs_of(2, 3) if "network" in changes else inputs_of(2)
    found = network(inputs if network.config.landmarks else inputs._replace(landmarks=None))
    total = found.vertices_cm.sum() + found.rotation.sum() + found.log_scale.sum() + found.hand_logit.sum()
    (total + found.joints_crop.sum() + found.translation.sum()).backward()
    lacking = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert lacking == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"network": "both"}, ErrorCode.UNKNOWN_NAME),
        ({"form": "large"}, ErrorCode.UNKNOWN_NAME),
        ({"image_fusion": "statistics"}, ErrorCode.UNKNOWN_NAME),
        ({"joint_fusion": "shared"}, ErrorCode.UNKNOWN_NAME),
        ({"vertex_fusion": "none"}, ErrorCode.UNKNOWN_NAME),
        ({"enhancement": "no"}, ErrorCode.UNKNOWN_NAME),
        ({"views": 0}, ErrorCode.BAD_VALUE),
        ({"dropout": 1.0}, ErrorCode.BAD_VALUE),
        ({"form": "paper"}, ErrorCode.OPTION_CONFLICT),
        ({"network": "mvr", "enhancement": "none"}, ErrorCode.OPTION_CONFLICT),
    ],
)
def test_configs_that_make_no_network_are_refused(changes, code) -> None:
    with raises(code):
        ModelConfig(**changes)


def test_inputs_of_the_other_network_are_refused(single, multi, template) -> None:
    for network, inputs in ((single, inputs_of(2, 3)), (multi, inputs_of(2))):
        with raises(ErrorCode.WRONG_SHAPE, match="axes"):
            network(inputs)
    with raises(ErrorCode.WRONG_SHAPE, match="landmarks"):
        single(inputs_of(2)._replace(landmarks=None))
    fixed = build_model(replace(multi.config, vertex_fusion="concat", views=4), template)
    with raises(ErrorCode.WRONG_SHAPE, match="4 views, not 3"):
        fixed(inputs_of(2, 3))


def test_a_config_is_read_again() -> None:
    from dataclasses import asdict

    config = ModelConfig("mvr", vertex_fusion="printed", views=6)
    assert config_from_saved(asdict(config)) == config
    with pytest.raises(TypeError):
        config_from_saved({"layers": 3})
    assert SIZES.keys() == set(model.FORMS)


def test_views_and_crops_are_the_same_rows() -> None:
    inputs = inputs_of(6)
    again = of_crops(of_views(inputs, 3))
    assert again.middle_map is not None
    assert inputs.middle_map is not None
    assert torch.equal(again.middle_map, inputs.middle_map)
    assert again.image is None


def test_landmarks_give_the_palm_s_rotation(template) -> None:
    """Those of a turned hand at rest give its rotation, whatever its size and place."""
    turns = Rotation.random(4, random_state=3).as_matrix()
    keypoints = template.keypoint_regressor @ template.vertices_m
    found = palm_frame(torch.tensor(2.0 * keypoints @ turns.transpose(0, 2, 1) + 0.3))
    found = found @ palm_frame(torch.tensor(keypoints)).transpose(-1, -2).double()
    np.testing.assert_allclose(found.numpy(), turns, atol=1e-5)


def test_rotation_and_2d_joints_start_at_the_landmarks(template) -> None:
    torch.manual_seed(0)
    network = build_model(ModelConfig(), template).eval()
    turns = Rotation.random(3, random_state=4).as_matrix()
    world = (template.keypoint_regressor @ template.vertices_m) @ turns.transpose(0, 2, 1) * 10
    screen = drawn(3, 21, 3) * 0.3
    landmarks = torch.cat([screen.flatten(1), torch.tensor(world).float().flatten(1), torch.ones(3, 2)], dim=1)
    found = network(Inputs(drawn(3, 112, 14, 14), landmarks))
    angles = Rotation.from_matrix(found.rotation.detach().double().numpy().transpose(0, 2, 1) @ turns).magnitude()
    assert np.rad2deg(angles).max() < 5
    assert float((found.joints_crop - screen[..., :2]).abs().max().detach()) < 0.1


def test_landmarks_of_nothing_give_finite_numbers(single) -> None:
    found = single(Inputs(torch.zeros(1, 112, 14, 14), torch.zeros(1, 128)))
    assert all(torch.isfinite(part).all() for part in found[:-1])
