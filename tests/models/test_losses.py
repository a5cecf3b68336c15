"""The losses against torch.distributions, term by term, and where their gradients go."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from handviz.core.errors import ErrorCode
from handviz.core.gaussian import gaussian_nll, rotation_from_6d, six_d_from_rotation
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.features import ImageFeatures
from handviz.models.amvur.loss_config import LossConfig
from handviz.models.amvur.losses import (
    covariance_terms,
    crop_terms,
    l2_terms,
    presence_terms,
    squared_terms,
    supervised_terms,
)
from handviz.models.amvur.model import VARIANTS, ModelConfig, ModelOutput, build_model
from handviz.models.amvur.network import CameraOutput, PriorOutput, camera_vector
from handviz.models.truth import Truth
from tests.errors import raises

BATCH, VERTICES, KEYPOINTS = 2, 5, 3
SIDE_CM = 10
CONFIG = LossConfig()


def leaf(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def camera_of(mean, log_variance):
    scale = torch.exp(mean[:, 6]) / 10
    return CameraOutput(mean, log_variance, rotation_from_6d(mean[:, :6]), scale, mean[:, 7:])


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


@pytest.fixture
def regressor():
    """(3, 5) rows that sum to 1."""
    weights = torch.rand(KEYPOINTS, VERTICES, dtype=torch.float64)
    return weights / weights.sum(dim=1, keepdim=True)


@pytest.fixture
def output():
    prior = PriorOutput(leaf(BATCH, 45), leaf(BATCH, 10), leaf(BATCH, VERTICES, 3))
    camera = camera_of(leaf(BATCH, 9), leaf(BATCH, 9))
    joints_crop = leaf(BATCH, KEYPOINTS, 3)
    return ModelOutput(leaf(BATCH, VERTICES, 3), leaf(BATCH, VERTICES, 3), camera, prior, joints_crop)


@pytest.fixture
def truth():
    rotation = rotation_from_6d(leaf(BATCH, 6)).detach()
    scale = torch.rand(BATCH, dtype=torch.float64) + 0.05
    points = leaf(BATCH, VERTICES, 3).detach()
    return Truth(points, leaf(BATCH, KEYPOINTS, 2).detach(), rotation, scale, leaf(BATCH, 2).detach())


def normal(mean, log_variance):
    return Normal(mean, torch.exp(0.5 * log_variance))


def slow_keypoints(mean, log_variance, regressor, correlation):
    """Means and variances of weighted sums, by the whole covariance of every coordinate."""
    std = torch.exp(0.5 * log_variance)
    shared = torch.full((VERTICES, VERTICES), correlation, dtype=torch.float64).fill_diagonal_(1.0)
    variance = torch.zeros(BATCH, KEYPOINTS, 3, dtype=torch.float64)
    for sample in range(BATCH):
        for axis in range(3):
            covariance = shared * torch.outer(std[sample, :, axis], std[sample, :, axis])
            variance[sample, :, axis] = torch.diagonal(regressor @ covariance @ regressor.T)
    return regressor @ mean, variance


def slow_in_crop(points, rotation, scale, translation):
    """Place one hand's points in the crop: rotated and scaled, moved in the image plane only."""
    return [
        [float(scale * (rotation[axis] @ point)) + (float(translation[axis]) if axis < 2 else 0.0) for axis in range(3)]
        for point in points
    ]


@torch.no_grad()
def slow_crop_terms(output, truth, regressor, config):
    """Mean absolute errors of every vertex and every joint in the crop, unweighted."""
    of_vertices, of_joints = [], []
    for row in range(BATCH):
        true_camera = (truth.rotation[row], truth.scale_per_cm[row], truth.translation[row])
        camera = (output.camera.rotation[row], output.camera.scale[row], output.camera.translation[row])
        found = slow_in_crop(output.mean_cm[row], *camera)
        wanted = slow_in_crop(truth.vertices_cm[row], *true_camera)
        depth = slow_in_crop(regressor @ truth.vertices_cm[row], *true_camera)
        for mine, true in zip(found, wanted, strict=True):
            of_vertices += [abs(one - other) for one, other in zip(mine, true, strict=True)]
        for joint in range(KEYPOINTS):
            place = [*truth.keypoints_crop[row, joint].tolist(), depth[joint][2]]
            mine = output.joints_crop[row, joint].tolist()
            of_joints += [abs(one - other) for one, other in zip(mine, place, strict=True)]
    means = (SIDE_CM * sum(errors) / len(errors) for errors in (of_vertices, of_joints))
    return dict(zip(("crop", "joints"), torch.tensor(list(means), dtype=torch.float64), strict=True))


def slow_terms(output, truth, regressor, config):
    """Every term of the supervised loss, unweighted."""
    camera, rho = output.camera, config.vertex_correlation
    mean, variance = slow_keypoints(output.mean_cm, output.log_variance, regressor, rho)
    image_mean = torch.zeros(BATCH, KEYPOINTS, 2, dtype=torch.float64)
    image_variance = torch.zeros_like(image_mean)
    for sample in range(BATCH):
        scale, rotation = camera.scale[sample], camera.rotation[sample]
        for point in range(KEYPOINTS):
            turned = scale * (rotation @ mean[sample, point])[:2]
            image_mean[sample, point] = turned + camera.translation[sample]
            covariance = scale**2 * rotation @ torch.diag(variance[sample, point]) @ rotation.T
            of_scale = turned**2 * camera.log_variance[sample, 6].exp()
            of_camera = camera.log_variance[sample, 7:].exp() + of_scale
            image_variance[sample, point] = torch.diagonal(covariance)[:2] + of_camera
    log_scale = torch.log(10 * truth.scale_per_cm)[:, None]
    true_camera = torch.cat([six_d_from_rotation(truth.rotation), log_scale, truth.translation], dim=1)
    prior = normal(output.prior.vertices_cm, torch.zeros_like(output.prior.vertices_cm) + config.prior_log_variance)
    prior_mean, prior_variance = slow_keypoints(prior.mean, prior.variance.log(), regressor, rho)
    prior_error = output.prior.vertices_cm - truth.vertices_cm
    of_vertices = kl_divergence(normal(output.mean_cm, output.log_variance), prior)
    of_keypoints = kl_divergence(Normal(mean, variance.sqrt()), Normal(prior_mean, prior_variance.sqrt()))
    camera_nll = -normal(camera.mean, camera.log_variance).log_prob(true_camera).mean()
    return {
        "vertices": -normal(output.mean_cm, output.log_variance).log_prob(truth.vertices_cm).mean(),
        "keypoints": -Normal(mean, variance.sqrt()).log_prob(regressor @ truth.vertices_cm).mean(),
        "image": -Normal(image_mean, image_variance.sqrt()).log_prob(truth.keypoints_crop).mean(),
        "camera": (camera.mean - true_camera).square().mean() + 0.1 / config.camera * camera_nll,
        "kl": of_vertices.mean() + of_keypoints.mean(),
        "prior": prior_error.square().mean() + (regressor @ prior_error).square().mean(),
    } | slow_crop_terms(output, truth, regressor, config)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.0])
def test_supervised_terms_are_those_of_torch_distributions(output, truth, regressor, correlation):
    config = replace(CONFIG, vertex_correlation=correlation, prior_log_variance=-0.7)
    found, expected = supervised_terms(output, truth, regressor, config), slow_terms(output, truth, regressor, config)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], getattr(config, name) * value)


def test_without_correlation_the_variances_of_a_sum_add_up(output, truth, regressor):
    config = replace(CONFIG, vertex_correlation=0.0)
    variance = regressor.square() @ output.log_variance.exp()
    distribution = Normal(regressor @ output.mean_cm, variance.sqrt())
    expected = -distribution.log_prob(regressor @ truth.vertices_cm).mean()
    torch.testing.assert_close(supervised_terms(output, truth, regressor, config)["keypoints"], expected)


def test_a_prior_alone_or_none_has_no_joint_terms(output, truth, regressor):
    names = {"vertices", "keypoints", "image", "camera", "crop", "joints"}
    assert supervised_terms(output._replace(prior=None), truth, regressor, CONFIG).keys() == names
    alone = output._replace(mean_cm=output.prior.vertices_cm)
    assert supervised_terms(alone, truth, regressor, CONFIG).keys() == names


def test_squared_terms_are_squared_errors_and_one_uncertainty(output, truth, regressor):
    errors = output.mean_cm - truth.vertices_cm
    camera = output.camera
    image = torch.stack(
        [
            camera.scale[row] * (regressor @ output.mean_cm[row]) @ camera.rotation[row].T[:, :2]
            + camera.translation[row]
            for row in range(BATCH)
        ]
    )
    expected = {
        "vertices": CONFIG.vertices * errors.square().mean(),
        "keypoints": CONFIG.keypoints * (regressor @ errors).square().mean(),
        "image": 20 * CONFIG.image * (image - truth.keypoints_crop).square().mean(),
        "camera": CONFIG.camera * slow_terms(output, truth, regressor, CONFIG)["camera"],
        "deviation": -normal(output.mean_cm, output.log_variance).log_prob(truth.vertices_cm).mean(),
    } | {
        name: getattr(CONFIG, name) * value for name, value in slow_crop_terms(output, truth, regressor, CONFIG).items()
    }
    found = squared_terms(output, truth, regressor, CONFIG)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_every_term_is_a_mean_over_the_batch(output, truth, regressor):
    def twice(record):
        return type(record)(*(torch.cat([part, part]) for part in record))

    doubled = ModelOutput(
        torch.cat([output.mean_cm] * 2),
        torch.cat([output.log_variance] * 2),
        twice(output.camera),
        twice(output.prior),
        torch.cat([output.joints_crop] * 2),
    )
    doubled_truth = Truth(**{name: torch.cat([getattr(truth, name)] * 2) for name in Truth.__dataclass_fields__})
    for terms in (supervised_terms, squared_terms):
        once, two = terms(output, truth, regressor, CONFIG), terms(doubled, doubled_truth, regressor, CONFIG)
        for name, value in once.items():
            torch.testing.assert_close(two[name], value)


def test_the_crop_does_not_tell_the_absolute_size(output, truth, regressor):
    """A hand k times as large under a scale of 1/k stands in the same place."""
    larger = torch.tensor([1.7, 0.6], dtype=torch.float64)
    camera = output.camera._replace(scale=output.camera.scale / larger)
    grown = output._replace(mean_cm=output.mean_cm * larger[:, None, None], camera=camera)
    grown_truth = replace(
        truth, vertices_cm=truth.vertices_cm * larger[:, None, None], scale_per_cm=truth.scale_per_cm / larger
    )
    once = crop_terms(output, truth, regressor, CONFIG)
    for mine, true in ((grown, truth), (output, grown_truth)):
        for name, value in crop_terms(mine, true, regressor, CONFIG).items():
            torch.testing.assert_close(value, once[name])
    assert once["crop"] > 0
    moved = output._replace(mean_cm=grown.mean_cm)
    assert not torch.isclose(crop_terms(moved, truth, regressor, CONFIG)["crop"], once["crop"])


def test_crop_terms_can_be_left_out(output, truth, regressor):
    assert crop_terms(output, truth, regressor, replace(CONFIG, crop=0.0)).keys() == {"joints"}
    assert crop_terms(output, truth, regressor, replace(CONFIG, joints=0.0)).keys() == {"crop"}
    assert crop_terms(output._replace(joints_crop=None), truth, regressor, CONFIG).keys() == {"crop"}


def test_what_the_joints_miss_moves_them_and_what_the_mesh_misses_moves_mesh_and_camera(output, truth, regressor):
    terms = crop_terms(output, truth, regressor, CONFIG)
    parts = (output.joints_crop, output.mean_cm, output.camera.mean, output.log_variance)
    assert moved_by(terms["joints"], *parts) == [True, False, False, False]
    assert moved_by(terms["crop"], *parts) == [False, True, True, False]


@pytest.mark.parametrize("terms", [supervised_terms, squared_terms])
def test_the_truth_is_the_best_answer(truth, regressor, terms):
    """Gradients of the means vanish where the answer is the truth; an absolute error has none there, but is zero."""
    mean = truth.vertices_cm.clone().requires_grad_()
    log_scale = torch.log(10 * truth.scale_per_cm)[:, None]
    vector = torch.cat([six_d_from_rotation(truth.rotation), log_scale, truth.translation], dim=1).requires_grad_()
    camera = camera_of(vector, torch.zeros(BATCH, 9, dtype=torch.float64))
    turned = camera.scale[:, None, None] * (regressor @ mean) @ camera.rotation[:, :2].transpose(1, 2)
    exact = replace(truth, keypoints_crop=(turned + camera.translation[:, None]).detach())
    output = ModelOutput(mean, torch.zeros_like(mean), camera, None)
    torch.testing.assert_close(crop_terms(output, exact, regressor, CONFIG)["crop"].item(), 0.0)
    loss = sum(terms(output, exact, regressor, replace(CONFIG, crop=0.0)).values())
    of_mean, of_camera = torch.autograd.grad(loss, [mean, vector])
    if terms is supervised_terms:
        # A smaller scale would make the image's standard deviation smaller too, which an error of exactly 0 allows.
        assert (of_camera[:, 6] > 0).all()
        of_camera = of_camera[:, [0, 1, 2, 3, 4, 5, 7, 8]]
    for gradient in (of_mean, of_camera):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))


# Where the gradients go.


def moved_by(term, *tensors):
    gradients = torch.autograd.grad(term, tensors, retain_graph=True, allow_unused=True)
    return [gradient is not None and bool(gradient.abs().sum() > 0) for gradient in gradients]


def test_the_image_moves_mesh_uncertainty_and_camera(output, truth, regressor):
    parts = (output.mean_cm, output.log_variance, output.camera.mean, output.camera.log_variance)
    terms = supervised_terms(output, truth, regressor, CONFIG)
    assert moved_by(terms["image"], *parts) == [True] * 4
    gradient = torch.autograd.grad(terms["image"], output.camera.mean)[0]
    assert (gradient[:, 6:].abs() > 0).all()
    assert (gradient[:, :6].abs().sum(dim=1) > 0).all()


def test_the_camera_s_uncertainty_does_not_excuse_its_mean(output, truth, regressor):
    """Its likelihood fits the standard deviation only: the mean is fitted by squares. Weight 0 switches both off."""
    true_camera = camera_vector(truth.rotation, truth.scale_per_cm, truth.translation)
    squares = (output.camera.mean - true_camera).square().mean()
    (wanted,) = torch.autograd.grad(squares, output.camera.mean, retain_graph=True)
    for terms in (supervised_terms, squared_terms):
        found = terms(output, truth, regressor, replace(CONFIG, camera=1.0))["camera"]
        mean, std = torch.autograd.grad(found, (output.camera.mean, output.camera.log_variance), retain_graph=True)
        torch.testing.assert_close(mean, wanted)
        assert std.abs().sum() > 0
        assert terms(output, truth, regressor, replace(CONFIG, camera=0.0))["camera"].item() == 0


def test_divergence_and_prior_term_move_the_prior(output, truth, regressor):
    terms = supervised_terms(output, truth, regressor, CONFIG)
    parts = (output.mean_cm, output.log_variance, output.prior.vertices_cm)
    assert moved_by(terms["kl"], *parts) == [True, True, True]
    assert moved_by(terms["prior"], *parts) == [False, False, True]
    for name in ("vertices", "keypoints", "image"):
        assert moved_by(terms[name], *parts) == [True, True, False]


def test_the_prior_s_uncertainty_does_not_move_its_mesh(output, truth, regressor):
    terms = squared_terms(output, truth, regressor, CONFIG)
    assert moved_by(terms["deviation"], output.mean_cm, output.log_variance) == [False, True]
    for name in ("vertices", "keypoints", "image"):
        assert moved_by(terms[name], output.mean_cm, output.log_variance) == [True, False]


@pytest.fixture
def open_hand_truth():
    rest_cm = 100 * torch.from_numpy(load_open_hand().vertices_m.copy())
    vertices = rest_cm + 0.3 * torch.randn(BATCH, 778, 3)
    rotation = rotation_from_6d(torch.randn(BATCH, 6))
    return Truth(vertices, torch.rand(BATCH, 21, 2) - 0.5, rotation, torch.full((BATCH,), 0.09), torch.zeros(BATCH, 2))


SMALL = ModelConfig(width=16, regressor_width=16, feature_width=16, feature_layers=1)


def random_features(model):
    """Return features of a batch."""
    return ImageFeatures(torch.randn(BATCH, model.features.feature_size), torch.randn(BATCH, 21, 16))


@pytest.mark.parametrize("conditioning", ["prior", "rest"])
def test_amvur_does_not_push_the_prior_through_the_base(open_hand_truth, conditioning):
    template = load_open_hand()
    model = build_model(replace(SMALL, conditioning=conditioning), template)
    heads = model.heads
    regressor = torch.from_numpy(template.keypoint_regressor.copy())
    terms = supervised_terms(heads(random_features(model)), open_hand_truth, regressor, CONFIG)
    of_prior = list(heads.prior.parameters())
    answer = terms["vertices"] + terms["keypoints"] + terms["image"] + terms["camera"]
    assert moved_by(answer, *of_prior) == [False] * len(of_prior)
    assert moved_by(terms["kl"], *of_prior) == [True] * len(of_prior)
    assert moved_by(terms["prior"], *of_prior) == [True] * len(of_prior)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_behind_the_feature_learns(open_hand_truth, variant):
    template = load_open_hand()
    model = build_model(replace(SMALL, variant=variant), template)
    heads = model.heads
    # Zero at the start, on purpose: nothing behind it could move.
    torch.nn.init.normal_(heads.camera.log_variance.weight, std=0.1)
    terms = squared_terms if variant == "prior" else supervised_terms
    regressor = torch.from_numpy(template.keypoint_regressor.copy())
    output = heads(random_features(model))
    present = presence_terms(output, open_hand_truth, CONFIG)
    of_errors = covariance_terms(output, open_hand_truth, regressor, CONFIG)
    loss = sum((terms(output, open_hand_truth, regressor, CONFIG) | present | of_errors).values())
    names, parameters = zip(*heads.named_parameters(), strict=True)
    still = [name for name, displacements in zip(names, moved_by(loss, *parameters), strict=True) if not displacements]
    assert still == []


# Squared errors instead of likelihood and divergence (supplement, Table 3).


def test_l2_has_the_gradient_of_squared_errors_and_none_of_the_variance(output, truth, regressor):
    only = LossConfig(likelihood="l2", keypoints=0, image=0, camera=0, kl=0, prior=0, crop=0, joints=0)
    loss = sum(supervised_terms(output, truth, regressor, only).values())
    gradient, of_variance = torch.autograd.grad(loss, [output.mean_cm, output.log_variance], allow_unused=True)
    errors = output.mean_cm.detach() - truth.vertices_cm
    torch.testing.assert_close(gradient, 2 * errors / errors.numel())
    assert of_variance is None
    # Half of it is the Gaussian's at a variance of 1 cm².
    mean = output.mean_cm.detach().requires_grad_()
    gaussian_nll(truth.vertices_cm, mean, torch.zeros_like(mean)).mean().backward()
    torch.testing.assert_close(mean.grad, gradient / 2)


def test_l2_keeps_amvur_near_the_prior_without_a_divergence(output, truth, regressor):
    apart = output.mean_cm - output.prior.vertices_cm
    terms = l2_terms(output, truth, regressor, LossConfig(kl=2.0))
    expected = 2 * (apart.square().mean() + (regressor @ apart).square().mean())
    torch.testing.assert_close(terms["kl"], expected)
    assert "deviation" not in terms


def test_an_unknown_likelihood_is_an_error():
    with raises(ErrorCode.UNKNOWN_NAME):
        LossConfig(likelihood="l1")
