"""Weights that map points to other points: exact where possible, and of the requested kind."""

import numpy as np
import pytest

from handviz.hand_models.coarse import convex_weights, dense_rows, fit_rows, nearest, signed_weights

POSES, SOURCES = 12, 6


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(8)


@pytest.fixture
def sources(random):
    """Return points (12, 6, 3) in metres."""
    return random.normal(scale=0.05, size=(POSES, SOURCES, 3))


def test_convex_weights_are_found_again(random, sources):
    weights = random.dirichlet(np.ones(SOURCES))
    weights[2] = 0.0
    weights /= weights.sum()
    np.testing.assert_allclose(convex_weights(sources, np.einsum("k,nkc->nc", weights, sources)), weights, atol=1e-6)


def test_convex_weights_of_a_point_outside_stay_convex(sources):
    weights = convex_weights(sources, 3.0 * sources[:, 0])
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)
    assert weights.argmax() == 0


def test_signed_weights_reach_outside_and_stay_small(random):
    sources = random.normal(scale=0.05, size=(1, 2, 3)) + random.normal(size=(POSES, 1, 3))
    target = sources[:, 0] + 0.5 * (sources[:, 0] - sources[:, 1])
    weights = signed_weights(sources, target)
    np.testing.assert_allclose(weights, [1.5, -0.5], atol=0.01)
    assert weights.sum() == pytest.approx(1)
    # Of two equal sources both carry half: the ridge decides.
    twins = np.concatenate([sources[:, :1], sources[:, :1]], axis=1)
    np.testing.assert_allclose(signed_weights(twins, sources[:, 0]), [0.5, 0.5])


def test_rows_are_fitted_from_their_own_candidates(random, sources):
    candidates = np.array([[0, 1, 2], [5, 3, 4]])
    weights = random.dirichlet(np.ones(3), size=2)
    targets = np.einsum("tk,ntkc->ntc", weights, sources[:, candidates])
    found, error = fit_rows(sources, targets, candidates)
    np.testing.assert_allclose(found, weights, atol=1e-6)
    assert error < 1e-8
    dense = dense_rows(found, candidates, SOURCES)
    np.testing.assert_allclose(dense @ sources, targets, atol=1e-8)
    assert (np.count_nonzero(dense, axis=1) <= 3).all()


def test_the_error_is_the_largest_distance(sources):
    targets = sources[:, :1].copy()
    targets[3, 0] += [0.0, 0.3, 0.4]
    _, error = fit_rows(sources, targets, np.array([[0]]))
    assert error == pytest.approx(0.5)


def test_nearest_are_those_of_a_slow_search(random):
    points, targets = random.normal(size=(30, 3)), random.normal(size=(5, 3))
    slow = [np.argsort([np.linalg.norm(point - target) for point in points])[:4] for target in targets]
    np.testing.assert_array_equal(nearest(points, targets, 4), slow)
