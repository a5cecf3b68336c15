"""The formulas against torch.distributions, against sampling, and against finite differences."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.distributions import Normal, kl_divergence

from handviz.core.gaussian import (
    gaussian_kl,
    gaussian_nll,
    image_from_keypoints,
    keypoints_from_vertices,
    rotation_from_6d,
    sample,
    sample_correlated,
    six_d_from_rotation,
)

BATCH, VERTICES, KEYPOINTS, DRAWS = 2, 12, 4, 200_000


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture
def draw(generator):
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def regressor(generator):
    weights = torch.rand(KEYPOINTS, VERTICES, generator=generator, dtype=torch.float64) ** 3
    return weights / weights.sum(dim=1, keepdim=True)


@pytest.fixture
def rotation():
    return torch.from_numpy(Rotation.random(BATCH, rng=3).as_matrix())


def normal(mean, log_variance):
    return Normal(mean, torch.exp(0.5 * log_variance))


def test_nll_is_that_of_torch(draw):
    value, mean, log_variance = draw(5, 3), draw(5, 3), draw(5, 3)
    torch.testing.assert_close(gaussian_nll(value, mean, log_variance), -normal(mean, log_variance).log_prob(value))


def test_kl_is_that_of_torch_and_zero_for_equal_distributions(draw):
    mean, log_variance, prior_mean, prior_log_variance = draw(5, 3), draw(5, 3), draw(5, 3), draw(5, 3)
    expected = kl_divergence(normal(mean, log_variance), normal(prior_mean, prior_log_variance))
    torch.testing.assert_close(gaussian_kl(mean, log_variance, prior_mean, prior_log_variance), expected)
    assert not gaussian_kl(mean, log_variance, mean, log_variance).any()


@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.0])
def test_keypoints_are_those_of_sampled_vertices(draw, generator, regressor, correlation):
    mean, log_variance = draw(1, VERTICES, 3), draw(1, VERTICES, 3)
    own, shared = (torch.randn(DRAWS, count, 3, generator=generator, dtype=torch.float64) for count in (VERTICES, 1))
    noise = (1 - correlation) ** 0.5 * own + correlation**0.5 * shared
    keypoints = regressor @ (mean + torch.exp(0.5 * log_variance) * noise)
    expected_mean, expected_log_variance = keypoints_from_vertices(mean, log_variance, regressor, correlation)
    torch.testing.assert_close(keypoints.mean(0, keepdim=True), expected_mean, atol=0.02, rtol=0)
    torch.testing.assert_close(keypoints.var(0, keepdim=True).log(), expected_log_variance, atol=0.02, rtol=0)


def test_image_points_are_those_of_sampled_keypoints(draw, generator, rotation):
    mean, log_variance = draw(BATCH, KEYPOINTS, 3), draw(BATCH, KEYPOINTS, 3)
    scale, translation = torch.tensor([0.7, 5.0], dtype=torch.float64), draw(BATCH, 2)
    draws = sample(mean.expand(DRAWS, -1, -1, -1), log_variance, generator)
    points = scale[:, None, None] * torch.einsum("bij,nbkj->nbki", rotation, draws)[..., :2]
    points = points + translation[:, None]
    projected, projected_log_variance = image_from_keypoints(mean, log_variance, rotation, scale, translation)
    torch.testing.assert_close(points.mean(0), projected, atol=0.05, rtol=0)
    torch.testing.assert_close(points.var(0).log(), projected_log_variance, atol=0.02, rtol=0)


def test_uncertainty_in_the_image_knows_nothing_of_translation_and_depth(draw):
    mean, eye = draw(1, KEYPOINTS, 3), torch.eye(3, dtype=torch.float64)[None]
    log_variance = draw(1, KEYPOINTS, 3)
    scale, far = torch.ones(1, dtype=torch.float64), torch.full((1, 2), 100.0, dtype=torch.float64)
    _, projected = image_from_keypoints(mean, log_variance, eye, scale, far)
    torch.testing.assert_close(projected, log_variance[..., :2])


def test_sample_has_the_given_timed_results_and_repeats_by_seed(generator):
    mean, log_variance = torch.tensor([1.0, -2.0]), torch.tensor([0.5, -3.0])
    draws = sample(mean.expand(DRAWS, 2), log_variance, generator)
    torch.testing.assert_close(draws.mean(0), mean, atol=0.01, rtol=0)
    torch.testing.assert_close(draws.var(0).log(), log_variance, atol=0.02, rtol=0)
    same = [sample(mean, log_variance, torch.Generator().manual_seed(1)) for _ in range(2)]
    torch.testing.assert_close(*same)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.0])
def test_errors_of_correlated_samples_correlate_over_vertices_and_not_over_axes(draw, generator, correlation):
    mean, log_variance = draw(1, 4, 3), draw(1, 4, 3)
    draws = sample_correlated(mean.expand(DRAWS, -1, -1), log_variance, correlation, generator)
    errors = ((draws - mean) * torch.exp(-0.5 * log_variance)).transpose(1, 2).flatten(1)
    of_vertices = torch.full((4, 4), correlation, dtype=torch.float64).fill_diagonal_(1.0)
    torch.testing.assert_close(torch.cov(errors.T), torch.block_diag(*[of_vertices] * 3), atol=0.02, rtol=0)
    torch.testing.assert_close(draws.mean(0, keepdim=True), mean, atol=0.02, rtol=0)


@pytest.mark.parametrize("extreme", [-300.0, 300.0])
@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_extreme_variances_stay_finite_in_single_precision(regressor, rotation, extreme, correlation):
    log_variance = torch.full((BATCH, VERTICES, 3), extreme, requires_grad=True)
    mean = torch.zeros(BATCH, VERTICES, 3)
    keypoints = keypoints_from_vertices(mean, log_variance, regressor.float(), correlation)
    camera = (torch.full((BATCH,), 8.0), torch.zeros(BATCH, 2))
    _, projected = image_from_keypoints(*keypoints, rotation.float(), *camera)
    assert torch.allclose(projected, torch.tensor(extreme), atol=20)
    projected.sum().backward()
    assert log_variance.grad is not None
    assert log_variance.grad.isfinite().all()
    assert log_variance.grad.any()


def test_rotation_from_6d_is_gram_schmidt_on_columns(draw):
    six = draw(6, 6)
    rotation = rotation_from_6d(six)
    for slow_input, result in zip(six.numpy(), rotation.numpy(), strict=True):
        slow, triangle = np.linalg.qr(np.stack([slow_input[:3], slow_input[3:]], axis=1))
        slow = slow * np.sign(np.diag(triangle))
        np.testing.assert_allclose(result[:, :2], slow, atol=1e-12)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(rotation_from_6d(six_d_from_rotation(rotation)), rotation)


def test_gradients_are_right(draw, regressor, rotation):
    def needs_gradient(*shape):
        return draw(*shape).requires_grad_()

    points = [needs_gradient(BATCH, VERTICES, 3) for _ in range(4)]
    assert torch.autograd.gradcheck(gaussian_nll, points[:3])
    assert torch.autograd.gradcheck(gaussian_kl, points)
    for correlation in (0.0, 0.3):
        assert torch.autograd.gradcheck(keypoints_from_vertices, (*points[:2], regressor, correlation))
    keypoints = [needs_gradient(BATCH, KEYPOINTS, 3) for _ in range(2)]
    scale = torch.tensor([0.5, 3.0], dtype=torch.float64, requires_grad=True)
    camera = (rotation.clone().requires_grad_(), scale, needs_gradient(BATCH, 2))
    assert torch.autograd.gradcheck(image_from_keypoints, (*keypoints, *camera))
    assert torch.autograd.gradcheck(rotation_from_6d, needs_gradient(3, 6))


@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0])
def test_the_best_variance_under_the_priors_pull_is_that_of_the_method_page(weight):
    error, prior_variance = 0.3, 0.8
    inverse = (1 - weight + ((1 - weight) ** 2 + 4 * weight * error**2 / prior_variance) ** 0.5) / (2 * error**2)
    log_variance = torch.tensor(1 / inverse, dtype=torch.float64).log().requires_grad_()
    mean, truth = torch.zeros((), dtype=torch.float64), torch.tensor(error, dtype=torch.float64)
    prior_log_variance = torch.tensor(prior_variance, dtype=torch.float64).log()
    pull = gaussian_kl(mean, log_variance, mean, prior_log_variance)
    (gaussian_nll(truth, mean, log_variance) + weight * pull).backward()
    assert log_variance.grad is not None
    assert abs(log_variance.grad) < 1e-12
    if weight == 1.0:
        assert 1 / inverse == pytest.approx(error * prior_variance**0.5)
