"""The metrics against scipy, slow loops, and cases whose answer is known."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from handviz.core import metrics
from handviz.core.errors import ErrorCode
from tests.errors import raises

HANDS, POINTS = 5, 21


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(4)


@pytest.fixture
def truth_m(random):
    return random.normal(scale=0.05, size=(HANDS, POINTS, 3))


@pytest.fixture
def predicted_m(random, truth_m):
    return truth_m + random.normal(scale=0.01, size=truth_m.shape)


def transformed(points, *, scale=1.3, seed=1):
    rotations = Rotation.random(len(points), rng=seed).as_matrix()
    return scale * points @ rotations.transpose(0, 2, 1) + np.array([0.2, -0.1, 0.5])


def test_mean_error_is_in_millimetres():
    predicted, truth = np.zeros((2, 3, 3)), np.zeros((2, 3, 3))
    predicted[0, 0] = [0.003, 0.004, 0.0]
    np.testing.assert_allclose(metrics.mpjpe_mm(predicted, truth), [5 / 3, 0])


def test_alignment_undoes_rotation_scale_and_shift(truth_m):
    np.testing.assert_allclose(metrics.procrustes_aligned(transformed(truth_m), truth_m), truth_m, atol=1e-12)
    np.testing.assert_allclose(metrics.pa_mpjpe_mm(transformed(truth_m), truth_m), 0, atol=1e-9)


def test_alignment_is_as_good_as_scipys(predicted_m, truth_m):
    aligned = metrics.procrustes_aligned(transformed(predicted_m), truth_m)
    for one_aligned, predicted, truth in zip(aligned, predicted_m, truth_m, strict=True):
        disparity = procrustes(truth, predicted)[2]
        size = np.square(truth - truth.mean(axis=0)).sum()
        assert np.square(one_aligned - truth).sum() == pytest.approx(disparity * size)


def test_alignment_never_mirrors(truth_m):
    mirrored = truth_m * [-1, 1, 1]
    assert (metrics.pa_mpjpe_mm(mirrored, truth_m) > 5).all()
    volume = np.linalg.det(metrics.procrustes_aligned(mirrored, truth_m)[:, 1:4] - truth_m.mean(1)[:, None])
    assert (np.sign(volume) == np.sign(np.linalg.det(mirrored[:, 1:4] - mirrored.mean(1)[:, None]))).all()


def test_alignment_of_a_collapsed_hand_only_shifts_it(truth_m):
    aligned = metrics.procrustes_aligned(np.ones_like(truth_m), truth_m)
    np.testing.assert_allclose(aligned, np.broadcast_to(truth_m.mean(1)[:, None], truth_m.shape))


def test_vertices_are_aligned_by_themselves(predicted_m, truth_m):
    expected = metrics.mpjpe_mm(metrics.procrustes_aligned(predicted_m, truth_m), truth_m)
    np.testing.assert_array_equal(metrics.pa_mpvpe_mm(predicted_m, truth_m), expected)


def slow_f_score(predicted, truth, threshold):
    distances = np.array([[np.linalg.norm(one - other) for other in truth] for one in predicted])
    precision = (distances.min(axis=1) < threshold).mean()
    recall = (distances.min(axis=0) < threshold).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def test_f_score_is_that_of_a_slow_loop(predicted_m, truth_m):
    truth_m = np.concatenate([truth_m[:, 1:], truth_m[:, 1:2]], axis=1)
    slow = [
        [slow_f_score(predicted, truth, threshold) for threshold in (0.005, 0.015)]
        for predicted, truth in zip(predicted_m, truth_m, strict=True)
    ]
    assert np.std(slow) > 0
    np.testing.assert_allclose(metrics.f_scores(predicted_m, truth_m), slow)


def test_f_score_of_equal_and_of_far_hands(truth_m):
    np.testing.assert_array_equal(metrics.f_scores(truth_m, truth_m), 1.0)
    np.testing.assert_array_equal(metrics.f_scores(truth_m + 9.0, truth_m), 0.0)


def test_area_under_pck_is_that_of_fine_trapezoids(random):
    errors = random.exponential(20, size=1000)
    thresholds = np.linspace(0, 50, 20001)
    fraction = [(errors <= threshold).mean() for threshold in thresholds]
    assert metrics.pck_auc(errors) == pytest.approx(np.trapezoid(fraction, thresholds) / 50, abs=1e-4)


@pytest.mark.parametrize("probability", [0.68, 0.95])
def test_coverage_of_normal_errors_is_the_probability(random, probability):
    std = random.uniform(0.5, 3.0, size=100_000)
    errors = random.normal(scale=std)
    assert metrics.interval_coverage(errors, std, probability) == pytest.approx(probability, abs=5e-3)
    assert metrics.interval_coverage(errors, std * 2, probability) > probability + 0.04


def test_nll_is_that_of_scipy(random):
    errors, std = random.normal(size=(4, 3)), random.uniform(0.1, 2, size=(4, 3))
    np.testing.assert_allclose(metrics.gaussian_nll(errors, std), -stats.norm(scale=std).logpdf(errors))


def slow_area(errors, order_by):
    kept = [error for _, error in sorted(zip(order_by, errors, strict=True))]
    return np.mean([np.mean(kept[: len(kept) - thrown_out]) for thrown_out in range(len(kept))])


def test_sparsification_is_that_of_a_slow_loop(random):
    errors, std = random.exponential(size=50), random.permutation(50).astype(float)
    area, best = slow_area(errors, std), slow_area(errors, errors)
    assert metrics.means_of_kept(errors, std).mean() == pytest.approx(area)
    assert metrics.sparsification_error(errors, std) == pytest.approx((area - best) / errors.mean())
    assert metrics.sparsification_error(errors, errors * 3) == pytest.approx(0)
    assert metrics.sparsification_error(errors, -errors) > metrics.sparsification_error(errors, std)
    assert np.isnan(metrics.sparsification_error(np.zeros(3), np.ones(3)))


def test_reliability_is_coverage_at_every_probability(random):
    errors, std = random.normal(size=(40, 3)), random.uniform(0.5, 2, size=(40, 3))
    probabilities = [0.1, 0.5, 0.9]
    slow = [
        np.mean([abs(error) <= stats.norm.interval(fraction, scale=one)[1] for error, one in zip(
            errors.ravel(), std.ravel(), strict=True)])
        for fraction in probabilities
    ]  # fmt: skip
    np.testing.assert_allclose(metrics.reliability_curve(errors, std, probabilities), slow)
    assert metrics.reliability_curve(errors, std, [0.9])[0] == metrics.interval_coverage(errors, std, 0.9)


def test_reliability_of_normal_errors_is_the_diagonal(random):
    std = random.uniform(0.5, 3.0, size=200_000).astype(np.float32)
    errors = random.normal(scale=std).astype(np.float32)
    probabilities = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(metrics.reliability_curve(errors, std, probabilities), probabilities, atol=5e-3)


def test_the_sparsification_curve_is_that_of_a_slow_loop(random):
    errors, std = random.exponential(size=40), random.permutation(40).astype(float)
    fractions = [0.0, 0.25, 0.5, 0.975, 1.0]
    slow = []
    for fraction in fractions:
        kept = sorted(zip(std, errors, strict=True))[: max(1, 40 - round(40 * fraction))]
        slow.append(np.mean([error for _, error in kept]))
    curve = metrics.at_removed_fractions(metrics.means_of_kept(errors, std), fractions)
    np.testing.assert_allclose(curve, slow)
    assert curve[0] == pytest.approx(errors.mean())


def test_sparsification_of_exponential_errors_in_no_order_is_known(random):
    # The best order's curve, 1 + (1 - p) ln(1 - p) / p for the fraction p kept, has the area 2 - pi^2 / 6.
    errors = random.exponential(size=300_000)
    assert metrics.sparsification_error(errors, np.zeros_like(errors)) == pytest.approx(np.pi**2 / 6 - 1, abs=0.01)


def test_rank_correlation_is_that_of_scipy_also_with_ties(random):
    first = random.integers(0, 5, size=60).astype(float)
    second = first + random.integers(0, 4, size=60)
    assert metrics.spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)
    assert np.isnan(metrics.spearman(first, np.ones_like(first)))
    assert np.isnan(metrics.spearman(first[:0], first[:0]))


def test_linear_correlation_is_that_of_scipy(random):
    first = random.exponential(size=60).astype(np.float32)
    second = first + random.normal(size=60)
    assert metrics.pearson(first, second) == pytest.approx(stats.pearsonr(first, second).statistic, abs=1e-6)
    assert np.isnan(metrics.pearson(first, np.ones_like(first)))
    assert np.isnan(metrics.pearson(first[:0], first[:0]))


def test_distances_of_normal_offsets_are_covered_as_their_balls_promise(random):
    axis_std = random.uniform(0.5, 3.0, size=100_000)
    distances = np.linalg.norm(random.normal(scale=axis_std[:, None], size=(100_000, 3)), axis=1)
    probabilities = [0.5, 0.68, 0.9, 0.95]
    observed = metrics.distance_coverage(distances, axis_std * np.sqrt(3), probabilities)
    np.testing.assert_allclose(observed, probabilities, atol=5e-3)
    # Twice the standard deviation: the square of the radius is that of chi-squared over 4.
    wide = metrics.distance_coverage(distances, axis_std * np.sqrt(12), probabilities)
    expected = stats.chi2(3).cdf(4 * stats.chi2(3).ppf(probabilities))
    np.testing.assert_allclose(wide, expected, atol=5e-3)


def test_shapes_that_differ_are_said(truth_m):
    for function in (metrics.mpjpe_mm, metrics.procrustes_aligned, metrics.f_scores):
        with raises(ErrorCode.WRONG_SHAPE):
            function(truth_m[:, :5], truth_m)
