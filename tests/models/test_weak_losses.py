"""The weakly supervised losses against torch.distributions, sampling and finite differences; what they never read."""

from dataclasses import replace

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch.distributions import Normal, kl_divergence

from handviz.core.errors import ErrorCode
from handviz.core.gaussian import Gaussian, rotation_from_6d
from handviz.models.amvur.loss_config import LossConfig, WeakWeights
from handviz.models.amvur.model import ModelOutput
from handviz.models.amvur.network import CameraOutput, PriorOutput
from handviz.models.amvur.weak_losses import (
    PosePrior,
    WeakPriors,
    drawn_camera,
    expected_image_nll,
    pose_prior,
    weak_terms,
)
from handviz.models.truth import Truth
from tests.errors import raises

BATCH, VERTICES, KEYPOINTS = 2, 5, 3
RHO = 0.7
TABLE_4 = {
    "J2D": WeakWeights(camera=0, keypoints=0, vertices=0),
    "J2D + C": WeakWeights(keypoints=0, vertices=0),
    "J2D + C + J3D": WeakWeights(vertices=0),
    "J2D + C + J3D + V3D": WeakWeights(),
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(5)


def leaf(*shape, size=1.0):
    return (size * torch.randn(*shape, dtype=torch.float64)).requires_grad_()


def camera_of(mean, log_variance):
    return CameraOutput(mean, log_variance, rotation_from_6d(mean[:, :6]), torch.exp(mean[:, 6]) / 10, mean[:, 7:])


@pytest.fixture
def regressor():
    weights = torch.rand(KEYPOINTS, VERTICES, dtype=torch.float64)
    return weights / weights.sum(dim=1, keepdim=True)


@pytest.fixture
def output():
    prior = PriorOutput(leaf(BATCH, 45), leaf(BATCH, 10), leaf(BATCH, VERTICES, 3))
    camera = camera_of(leaf(BATCH, 9), leaf(BATCH, 9))
    return ModelOutput(leaf(BATCH, VERTICES, 3), leaf(BATCH, VERTICES, 3), camera, prior, leaf(BATCH, KEYPOINTS, 3))


@pytest.fixture
def truth():
    """Nothing but 2D joints."""
    unknown = torch.full((BATCH, VERTICES, 3), torch.nan, dtype=torch.float64)
    points = leaf(BATCH, KEYPOINTS, 2, size=0.5).detach()
    return Truth(unknown, points, unknown[:, :3], unknown[:, 0, 0], unknown[:, 0, :2])


@pytest.fixture
def priors():
    pose = PosePrior(torch.randn(45, dtype=torch.float64), torch.randn(45, 45, dtype=torch.float64))
    return WeakPriors(Gaussian(leaf(BATCH, 9).detach(), leaf(BATCH, 9).detach()), pose)


def loss(weak=None, **changes):
    return LossConfig(vertex_correlation=RHO, weak=weak or WeakWeights(), **changes)


def normal(mean, log_variance):
    return Normal(mean, torch.exp(0.5 * log_variance))


# The expected likelihood.


def vertices_drawn(output, count):
    """(count, B, V, 3) vertices whose errors have the correlation RHO."""
    own = torch.randn(count, BATCH, VERTICES, 3, dtype=torch.float64)
    shared = torch.randn(count, BATCH, 1, 3, dtype=torch.float64)
    noise = (1 - RHO) ** 0.5 * own + RHO**0.5 * shared
    return output.mean_cm + torch.exp(0.5 * output.log_variance) * noise


@torch.no_grad()
def test_the_expected_likelihood_is_that_of_drawn_vertices_and_cameras(output, truth, regressor):
    """V, then J = B V, then C, one after the other as Algorithm 2 has them; label variance alone, by torch."""
    calm = replace_camera(output, log_variance=output.camera.log_variance - 3)
    draws, std = 12_000, 0.8
    joints = regressor @ vertices_drawn(calm, draws)
    noise = torch.randn(draws, BATCH, 9, dtype=torch.float64)
    cameras = calm.camera.mean + torch.exp(0.5 * calm.camera.log_variance) * noise
    rotation, scale = rotation_from_6d(cameras[..., :6]), torch.exp(cameras[..., 6]) / 10
    turned = torch.einsum("nbij,nbkj->nbki", rotation, joints)[..., :2]
    points = scale[..., None, None] * turned + cameras[..., None, 7:]
    expected = -Normal(points, std).log_prob(truth.keypoints_crop).mean()
    weak = WeakWeights(draws=2, label_std=std, variance="labels")
    found = expected_image_nll(*repeated(calm, truth, draws // 2), regressor, loss(weak), generator())
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0)


def repeated(output, truth, count):
    """Repeat the batch: a sum over draws without a loop."""
    camera = CameraOutput(*(part.repeat(count, *[1] * (part.ndim - 1)) for part in output.camera))
    mean, log_variance = (part.repeat(count, 1, 1) for part in (output.mean_cm, output.log_variance))
    again = replace(truth, keypoints_crop=truth.keypoints_crop.repeat(count, 1, 1))
    return ModelOutput(mean, log_variance, camera, None), again


def replace_camera(output, **changes):
    camera = output.camera
    return output._replace(camera=camera_of(changes.get("mean", camera.mean), changes["log_variance"]))


@torch.no_grad()
def test_with_the_projected_variance_a_draw_costs_half_a_nat(output, truth, regressor):
    """x ~ N(m, v), so E[(t - x)^2 / v] = (t - m)^2 / v + 1: eq. 6 after sampling is eq. 6 and a constant."""
    known_camera = replace_camera(output, log_variance=torch.full_like(output.camera.log_variance, -40.0))
    weak = WeakWeights(draws=1)
    sampled = expected_image_nll(*repeated(known_camera, truth, 10_000), regressor, loss(weak), generator())
    total = 0.0
    for row in range(BATCH):
        camera = known_camera.camera
        for joint in range(KEYPOINTS):
            weights, std = regressor[joint], torch.exp(0.5 * output.log_variance[row])
            variance = (1 - RHO) * (weights**2 @ std**2) + RHO * (weights @ std) ** 2
            for axis in range(2):
                line = camera.scale[row] * camera.rotation[row, axis]
                mean = line @ (weights @ output.mean_cm[row]) + camera.translation[row, axis]
                seen = Normal(mean, (line**2 @ variance).sqrt())
                total -= float(seen.log_prob(truth.keypoints_crop[row, joint, axis]))
    expected = total / (BATCH * KEYPOINTS * 2) + 0.5
    assert float(sampled) == pytest.approx(expected, rel=0.01)


def test_the_likelihood_of_one_coordinate_is_its_integral():
    """One vertex that is the joint, a known camera that looks straight on: the expectation by quadrature."""
    output = ModelOutput(
        torch.tensor([[[0.3, 0.0, 0.0]]], dtype=torch.float64),
        torch.log(torch.tensor([[[0.5, 1e-30, 1e-30]]], dtype=torch.float64)),
        camera_of(
            torch.tensor([[1.0, 0, 0, 0, 1, 0, 0, 0, 0]], dtype=torch.float64), torch.full((1, 9), -60.0).double()
        ),
        None,
    )
    nothing = torch.full((1, 1, 3), torch.nan, dtype=torch.float64)
    truth = Truth(nothing, torch.zeros(1, 1, 2, dtype=torch.float64), nothing, nothing, nothing)
    weak = WeakWeights(draws=1, label_std=0.05, variance="labels")
    one = torch.ones(1, 1, dtype=torch.float64)
    found = float(expected_image_nll(*repeated(output, truth, 40_000), one, loss(weak), generator()))
    label, drawn = norm(0.0, 0.05), norm(0.03, 0.5**0.5 / 10)
    across = quad(lambda x: -label.logpdf(x) * drawn.pdf(x), -0.6, 0.6)[0]
    expected = (across - label.logpdf(0.0)) / 2
    assert found == pytest.approx(expected, rel=0.01)


@torch.no_grad()
def test_drawn_cameras_are_those_of_the_net(output):
    many = CameraOutput(*(part[:1].expand(50_000, *part.shape[1:]) for part in output.camera))
    drawn = drawn_camera(many, generator())
    torch.testing.assert_close(drawn.mean.mean(0), output.camera.mean[0], atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.mean.var(0).log(), output.camera.log_variance[0], atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.rotation[7], rotation_from_6d(drawn.mean[7, :6]))
    assert drawn.scale[7] == pytest.approx(float(drawn.mean[7, 6].exp()) / 10)


# Terms and weights.


def test_divergences_are_those_of_torch(output, truth, regressor, priors):
    weak = WeakWeights(camera=2.0, keypoints=3.0, vertices=5.0)
    terms = weak_terms(output, truth, regressor, loss(weak, prior_log_variance=0.4), generator(), priors)
    one = torch.full_like(output.mean_cm, 0.4)
    of_vertices = kl_divergence(normal(output.mean_cm, output.log_variance), normal(output.prior.vertices_cm, one))
    torch.testing.assert_close(terms["vertices"], 5 * of_vertices.mean())
    mine, prior = (
        Normal(regressor @ mean, std_of_joints(log_variance, regressor))
        for mean, log_variance in ((output.mean_cm, output.log_variance), (output.prior.vertices_cm, one))
    )
    torch.testing.assert_close(terms["keypoints"], 3 * kl_divergence(mine, prior).mean())
    of_camera = kl_divergence(normal(output.camera.mean, output.camera.log_variance), normal(*priors.camera))
    torch.testing.assert_close(terms["camera"], 2 * of_camera.mean())


def std_of_joints(log_variance, regressor):
    """By the whole covariance."""
    std = torch.exp(0.5 * log_variance)
    shared = torch.full((VERTICES, VERTICES), RHO, dtype=torch.float64).fill_diagonal_(1.0)
    covariance = std[:, :, None] * std[:, None] * shared[None, :, :, None]
    return torch.einsum("kv,bvwc,kw->bkc", regressor, covariance, regressor).sqrt()


def test_what_is_ours_is_a_mean_of_squares_or_distances(output, truth, regressor, priors):
    config = loss(WeakWeights(prior=2.0, pose=3.0, shape=5.0), joints=0.5)
    terms = weak_terms(output, truth, regressor, config, generator(), priors)
    camera, squares = output.camera, []
    for row in range(BATCH):
        for joint in range(KEYPOINTS):
            point = camera.scale[row] * camera.rotation[row] @ (regressor[joint] @ output.prior.vertices_cm[row])
            squares.append((point[:2] + camera.translation[row] - truth.keypoints_crop[row, joint]).square())
    torch.testing.assert_close(terms["prior"], 2 * 20 * config.image * torch.stack(squares).mean())
    whitened = (output.prior.pose - priors.pose.mean) @ priors.pose.whitening
    torch.testing.assert_close(terms["pose"], 3 * whitened.square().mean())
    torch.testing.assert_close(terms["shape"], 5 * output.prior.shape.square().mean())
    apart = (output.joints_crop[..., :2] - truth.keypoints_crop).abs().mean()
    torch.testing.assert_close(terms["joints"], 0.5 * 10 * apart)


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ("J2D", set()),
        ("J2D + C", {"camera"}),
        ("J2D + C + J3D", {"camera", "keypoints"}),
        ("J2D + C + J3D + V3D", {"camera", "keypoints", "vertices"}),
    ],
)
def test_every_row_of_table_4_is_a_configuration(output, truth, regressor, priors, row, names):
    weak = replace(TABLE_4[row], prior=0, pose=0, shape=0)
    terms = weak_terms(output, truth, regressor, loss(weak, joints=0), generator(), priors)
    assert set(terms) == {"image"} | names


def test_parts_alone_have_squared_2d_errors_and_no_prior(output, truth, regressor, priors):
    config = loss(WeakWeights(pose=0, shape=0), joints=0)
    camera = output.camera
    points = camera.scale[:, None, None] * (regressor @ output.mean_cm @ camera.rotation.transpose(1, 2))[..., :2]
    squares = (points + camera.translation[:, None] - truth.keypoints_crop).square().mean()
    amvur = output._replace(prior=None)
    terms = weak_terms(amvur, truth, regressor, replace(config, likelihood="l2"), generator())
    assert terms.keys() == {"image"}
    torch.testing.assert_close(terms["image"], 20 * config.image * squares)
    assert weak_terms(amvur, truth, regressor, config, generator()).keys() == {"image"}
    prior_net = output._replace(prior=output.prior._replace(vertices_cm=output.mean_cm))
    terms = weak_terms(prior_net, truth, regressor, config, generator(), priors)
    assert terms.keys() == {"image", "deviation", "camera"}
    torch.testing.assert_close(terms["image"], 20 * config.image * squares)
    pulled = torch.autograd.grad(terms["deviation"], (output.mean_cm, output.log_variance), allow_unused=True)
    assert pulled[0] is None
    assert pulled[1].abs().max() > 0


def test_l2_of_final_pulls_amvur_to_the_prior_by_distance_alone(output, truth, regressor):
    config = loss(WeakWeights(vertices=2.0), likelihood="l2", prior_log_variance=0.0)
    terms = weak_terms(output, truth, regressor, config, generator())
    apart = (output.mean_cm - output.prior.vertices_cm).square().mean() / 2
    torch.testing.assert_close(terms["vertices"], 2 * apart)


# Gradients.


def tensors(output):
    return output.mean_cm, output.log_variance, output.camera.mean, output.camera.log_variance


@pytest.mark.parametrize("variance", ["projected", "labels"])
def test_gradients_are_finite_differences(output, truth, regressor, priors, variance):
    config = loss(WeakWeights(label_std=0.3, variance=variance))
    # The scale's part of the variance does not pull the mesh (image_gaussian): here there is none.
    surely = output.camera.log_variance.detach().clone()
    surely[:, 6] = -40.0
    output = replace_camera(output, log_variance=surely.requires_grad_())

    def total(mean, log_variance, camera_mean, camera_log_variance, prior_vertices, pose, shape):
        camera = camera_of(camera_mean, camera_log_variance)
        prior = PriorOutput(pose, shape, prior_vertices)
        made = ModelOutput(mean, log_variance, camera, prior, output.joints_crop)
        return sum(weak_terms(made, truth, regressor, config, generator(), priors).values())

    prior = output.prior
    assert torch.autograd.gradcheck(
        total, (*tensors(output), prior.vertices_cm, prior.pose, prior.shape), fast_mode=True
    )


# What is not known.


@pytest.mark.parametrize("likelihood", ["gaussian", "l2"])
@pytest.mark.parametrize("kind", ["final", "amvur", "prior"])
def test_no_nan_reaches_losses_or_gradients(output, truth, regressor, priors, kind, likelihood):
    if kind == "amvur":
        output = output._replace(prior=None)
    if kind == "prior":
        output = output._replace(prior=output.prior._replace(vertices_cm=output.mean_cm))
    truth.keypoints_crop[0, 1] = torch.nan
    terms = weak_terms(output, truth, regressor, loss(likelihood=likelihood), generator(), priors)
    assert all(torch.isfinite(term) for term in terms.values())
    parts = (output.mean_cm, output.camera.mean, output.joints_crop)
    for gradient in torch.autograd.grad(sum(terms.values()), parts):
        assert torch.isfinite(gradient).all()
        assert gradient.any()


def test_an_unknown_keypoint_is_as_if_it_were_not_there(output, truth, regressor):
    truth.keypoints_crop[:, 1] = torch.nan
    without = replace(truth, keypoints_crop=truth.keypoints_crop[:, [0, 2]])
    config = loss(WeakWeights(pose=0, shape=0, keypoints=0, vertices=0), likelihood="l2")
    kept = output._replace(joints_crop=output.joints_crop[:, [0, 2]])
    expected = weak_terms(kept, without, regressor[[0, 2]], config, generator())
    found = weak_terms(output, truth, regressor, config, generator())
    assert found.keys() == expected.keys() == {"image", "prior", "joints"}
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name])
    truth.keypoints_crop[:] = torch.nan
    nothing = weak_terms(output, truth, regressor, config, generator())
    assert not sum(nothing.values())


def test_the_pose_prior_is_in_standard_uncertainties_of_anatomical_poses(template):
    prior = pose_prior(template)
    rows = torch.from_numpy(template.pose_components.copy()).float()
    torch.testing.assert_close(
        prior.components(prior.mean + 2 * rows[3])[None][0], 2 * torch.eye(45)[3], atol=1e-3, rtol=0
    )
    # A relaxed hand is bent; a flat one is less likely, one bent backwards least.
    away = [prior.components(bend * prior.mean[None]).square().sum() for bend in (1.0, 0.0, -1.0)]
    assert away[0] < 1e-6 < away[1] < away[2]
    assert not pose_prior(replace(template, name="mano")).mean.any()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"camera": -1.0}, "camera"),
        ({"pose": float("nan")}, "pose"),
        ({"draws": 0}, "draws"),
        ({"variance": "none"}, "variance"),
        ({"variance": "labels"}, "label_std"),
    ],
)
def test_wrong_weights_are_named(wrong, named):
    with raises(ErrorCode.BAD_VALUE, ErrorCode.OPTION_CONFLICT, ErrorCode.UNKNOWN_NAME, match=named):
        WeakWeights(**wrong)
