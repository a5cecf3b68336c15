"""The spread of heatmaps as uncertainty: it is found again, and covers what it says."""

import numpy as np
import pytest

from handviz.models.hamr.spread import COVERED, fit_spread


def drawn(scale: float, floor: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Return errors with covariances scale x (spread + floor), and the spreads."""
    random = np.random.default_rng(0)
    roots = random.normal(size=(count, 2, 2)) * random.uniform(0.01, 0.1, (count, 1, 1))
    spreads = roots @ roots.transpose(0, 2, 1)
    covariances = scale * (spreads + floor * np.eye(2))
    factors = np.linalg.cholesky(covariances)
    return np.einsum("nij,nj->ni", factors, random.normal(size=(count, 2))), spreads


def covered(errors: np.ndarray, spreads: np.ndarray, scale: float, floor: float) -> float:
    inverse = np.linalg.inv(scale * (spreads + floor * np.eye(2)))
    return float(np.mean(np.einsum("ni,nij,nj->n", errors, inverse, errors) <= 4))


@pytest.mark.parametrize(("scale", "floor"), [(1.0, 1e-3), (3.0, 1e-2), (0.5, 1e-4)])
def test_scale_and_floor_are_found_again(scale: float, floor: float) -> None:
    errors, spreads = drawn(scale, floor)
    found = fit_spread(errors, spreads)
    assert found[0] == pytest.approx(scale, rel=0.25)
    assert found[1] == pytest.approx(floor, rel=0.5)
    assert covered(errors, spreads, *found) == pytest.approx(COVERED, abs=0.005)


def test_joints_in_a_wrong_place_do_not_decide_the_floor() -> None:
    errors, spreads = drawn(1.0, 1e-3)
    wrong = errors.copy()
    wrong[::50] += 1.0
    assert fit_spread(wrong, spreads)[1] == pytest.approx(1e-3, rel=0.6)


def test_without_finite_rows_the_spread_stays() -> None:
    assert fit_spread(np.full((3, 2), np.nan), np.ones((3, 2, 2))) == (1.0, 0.0)


def test_flat_maps_of_no_spread_are_finite() -> None:
    scale, floor = fit_spread(np.full((50, 2), 0.02), np.zeros((50, 2, 2)))
    assert np.isfinite([scale, floor]).all()
    assert scale > 0
