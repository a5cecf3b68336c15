"""The covariance of the joints' errors: its likelihood, the errors that train it, and what it must not touch."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.stats import multivariate_normal

from handviz.core.errors import ErrorCode
from handviz.core.geometry import procrustes_aligned
from handviz.core.shape_posterior import is_covariance
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.joint_covariance import (
    COORDINATES,
    JointCovariance,
    LowRank,
    correlated_nll,
    shape_errors_cm,
)
from handviz.models.amvur.loss_config import LossConfig
from handviz.models.amvur.losses import covariance_terms
from handviz.models.amvur.model import ModelConfig, ModelOutput, build_model
from handviz.models.truth import Truth
from tests.errors import raises

TEMPLATE = load_open_hand()
REGRESSOR = torch.tensor(TEMPLATE.keypoint_regressor, dtype=torch.float32)
SMALL = {"width": 16, "feature_width": 16, "regressor_width": 16, "heads": 2, "feature_layers": 1}


def drawn(seed: int, rank: int = 3, batch: int = 4) -> LowRank:
    """Return covariances of random numbers."""
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(batch, COORDINATES, rank, generator=generator, dtype=torch.float64)
    return LowRank(factor, 0.1 + torch.rand(batch, COORDINATES, generator=generator, dtype=torch.float64))


def test_the_likelihood_is_that_of_the_dense_covariance() -> None:
    covariance = drawn(0)
    errors = torch.randn(4, COORDINATES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    dense = covariance.dense().numpy()
    expected = [-multivariate_normal(cov=matrix).logpdf(row) for matrix, row in zip(dense, errors.numpy(), strict=True)]
    np.testing.assert_allclose(correlated_nll(errors, covariance) * COORDINATES, expected, rtol=1e-9)


def test_errors_of_the_shape_are_those_after_the_best_rotation_scale_and_translation() -> None:
    random = np.random.default_rng(2)
    mine, true = random.normal(size=(2, 5, 21, 3))
    expected = procrustes_aligned(true, mine) - mine
    found = shape_errors_cm(torch.from_numpy(mine), torch.from_numpy(true))
    np.testing.assert_allclose(found, expected.reshape(5, -1), atol=1e-9)
    moved = 1.3 * mine @ Rotation.from_rotvec([0.3, -1.0, 2.0]).as_matrix() + 4.0
    np.testing.assert_allclose(shape_errors_cm(torch.from_numpy(mine), torch.from_numpy(moved)), 0, atol=1e-9)


def test_hands_in_one_place_have_errors_without_nan() -> None:
    points = torch.zeros(2, 21, 3)
    assert torch.isfinite(shape_errors_cm(points, points)).all()
    assert torch.isfinite(shape_errors_cm(points, torch.randn(2, 21, 3))).all()


def covariance_net(rank: int = 2) -> JointCovariance:
    """Return a small network without joints' tokens."""
    torch.manual_seed(0)
    return JointCovariance(torch.softmax(torch.randn(21, 6), dim=1), 8, 0, rank)


def test_training_finds_how_errors_hang_together() -> None:
    """Errors of one direction, the same in all hands, are told from those of single coordinates."""
    network, generator = covariance_net(), torch.Generator().manual_seed(3)
    direction = torch.randn(COORDINATES, generator=generator)
    tokens = torch.randn(1, 6, 8, generator=generator).expand(64, -1, -1)
    optimiser = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(150):
        numbers = torch.randn(64, 1, generator=generator)
        errors = numbers * direction + 0.3 * torch.randn(64, COORDINATES, generator=generator)
        optimiser.zero_grad()
        correlated_nll(errors, network(tokens, None)).mean().backward()
        optimiser.step()
    found = network(tokens[:1], None).dense()[0].detach()
    wanted = torch.outer(direction, direction) + 0.09 * torch.eye(COORDINATES)
    assert torch.corrcoef(torch.stack([found.flatten(), wanted.flatten()]))[0, 1] > 0.97
    assert float(found.trace()) == pytest.approx(float(wanted.trace()), rel=0.25)


def test_the_covariance_trains_nothing_before_it() -> None:
    network = covariance_net()
    tokens = torch.randn(2, 6, 8, requires_grad=True)
    network(tokens, None).dense().sum().backward()
    assert tokens.grad is None
    assert network.hidden.weight.grad is not None


@pytest.mark.parametrize("variant", ["final", "amvur"])
def test_models_predict_covariances_or_none_by_their_rank(variant: str) -> None:
    image = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        output: ModelOutput = build_model(ModelConfig(variant=variant, rank=5, **SMALL), TEMPLATE).eval()(image)  # type: ignore[arg-type]
        without: ModelOutput = build_model(ModelConfig(variant=variant, rank=0, **SMALL), TEMPLATE).eval()(image)  # type: ignore[arg-type]
    assert without.joint_covariance is None
    assert output.joint_covariance is not None
    assert output.joint_covariance.factor.shape == (2, COORDINATES, 5)
    assert all(is_covariance(matrix) for matrix in output.joint_covariance.dense().numpy())


def test_the_term_is_the_likelihood_of_the_joints_errors_in_its_weight() -> None:
    covariance = drawn(4)
    single = LowRank(*(part.float() for part in covariance))
    mine, true = torch.randn(2, 4, TEMPLATE.vertex_count, 3, generator=torch.Generator().manual_seed(5))
    output = ModelOutput(mine, torch.zeros_like(mine), None, None, joint_covariance=single)  # type: ignore[arg-type]
    truth = Truth(true, *(torch.empty(4) for _ in range(4)))
    term = covariance_terms(output, truth, REGRESSOR, LossConfig(covariance=2.0))["covariance"]
    errors = shape_errors_cm(REGRESSOR @ mine, REGRESSOR @ true)
    assert float(term) == pytest.approx(2 * float(correlated_nll(errors, single).mean()))
    assert covariance_terms(output, truth, REGRESSOR, LossConfig(covariance=0.0)) == {}
    assert covariance_terms(output._replace(joint_covariance=None), truth, REGRESSOR, LossConfig()) == {}


@pytest.mark.parametrize("rank", [-1, 64])
def test_a_rank_that_no_covariance_has_is_refused(rank: int) -> None:
    with raises(ErrorCode.BAD_VALUE, match="rank"):
        ModelConfig(rank=rank)


def test_what_is_no_covariance_is_told() -> None:
    good = drawn(6).dense()[0].float().numpy()
    assert is_covariance(good)
    assert is_covariance(np.zeros((4, 4)))
    singular = np.outer(good[0], good[0])
    assert is_covariance(singular)
    for bad in (-good, good + np.triu(good, 1), np.full((3, 3), np.nan), np.diag([1.0, 1.0, -0.1])):
        assert not is_covariance(bad)
