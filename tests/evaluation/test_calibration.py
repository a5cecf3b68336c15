"""Calibration of predictions whose errors are drawn from known distributions, against scipy."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from handviz.core.errors import ErrorCode
from handviz.evaluation.calibration import NOMINAL, REMOVED, calibrate, calibration_table, fit_variance_scale
from handviz.evaluation.card import Answers
from tests.errors import raises

HANDS, VERTICES = 200, 60


@pytest.fixture
def random():
    return np.random.default_rng(3)


def answers_with(random, std_m, keypoint_std_m, factor=1.0):
    """Draw normal errors of these true standard deviations (N, P, 3); the model's are ``factor`` times as large."""
    empty = np.zeros((HANDS, 0, 3))
    return Answers(
        keypoints_m=empty,
        vertices_m=empty,
        true_keypoints_m=empty,
        true_vertices_m=empty,
        offsets_m=random.normal(scale=std_m).astype(np.float32),
        std_m=(factor * std_m).astype(np.float32),
        keypoint_offsets_m=random.normal(scale=keypoint_std_m).astype(np.float32),
        keypoint_std_m=(factor * keypoint_std_m).astype(np.float32),
        visible=random.random(std_m.shape[:2]) < 0.7,
        visible_alone=np.ones(std_m.shape[:2], bool),
        keypoint_visible=random.random(keypoint_std_m.shape[:2]) < 0.6,
        hidden_fraction=np.full(HANDS, np.nan),
        rotation_errors=np.tile(np.eye(3), (HANDS, 1, 1)),
        hand_probability=np.full(HANDS, np.nan),
    )


@pytest.fixture
def answers(random):
    vertices, keypoints = (random.uniform(0.001, 0.01, (HANDS, points, 1)) * np.ones(3) for points in (VERTICES, 20))
    return answers_with(random, vertices, keypoints)


@pytest.fixture
def rows(answers):
    return {(row.points, row.seen): row for row in calibrate(answers)}


def test_there_is_a_row_for_every_kind_of_point(answers, rows):
    assert list(rows) == [
        (points, seen) for points in ("vertices", "keypoints") for seen in ("all", "visible", "hidden")
    ]
    assert rows["vertices", "all"].count == HANDS * VERTICES
    assert rows["vertices", "visible"].count == answers.visible.sum()
    assert rows["keypoints", "hidden"].count == (~answers.keypoint_visible).sum()


def test_normal_errors_are_covered_as_promised(rows):
    for row in rows.values():
        np.testing.assert_allclose(row.coverage, [0.5, 0.68, 0.9, 0.95], atol=0.03)
        np.testing.assert_allclose(row.reliability, NOMINAL, atol=0.03)
    np.testing.assert_allclose(rows["vertices", "all"].reliability, NOMINAL, atol=0.012)


def test_hidden_points_are_judged_by_their_own_errors(answers, rows):
    bolder = np.where(answers.visible[..., None], answers.std_m, answers.std_m / 3)
    found = {(row.points, row.seen): row for row in calibrate(replace(answers, std_m=bolder))}
    np.testing.assert_array_equal(found["vertices", "visible"].coverage, rows["vertices", "visible"].coverage)
    assert found["vertices", "hidden"].coverage[1] < 0.4
    assert found["vertices", "hidden"].nll > rows["vertices", "hidden"].nll + 1


def test_likelihood_and_order_are_those_of_scipy(answers, rows):
    row, hidden = rows["vertices", "hidden"], ~answers.visible
    offsets, std = answers.offsets_m[hidden].astype(float), answers.std_m[hidden].astype(float)
    error, spread = np.linalg.norm(offsets, axis=1), np.linalg.norm(std, axis=1)
    assert row.nll == pytest.approx(-stats.norm(scale=100 * std).logpdf(100 * offsets).mean(), rel=1e-5)
    assert row.spearman == pytest.approx(stats.spearmanr(error, spread).statistic, abs=1e-6)
    assert row.error_mm == pytest.approx(1000 * error.mean(), rel=1e-5)
    assert row.std_mm == pytest.approx(1000 * spread.mean(), rel=1e-5)


def test_the_order_of_each_point_ignores_that_points_differ(random):
    scale = np.linspace(0.001, 0.02, VERTICES)[:, None] * np.ones((HANDS, VERTICES, 3))
    std = scale * (1 + 1e-3 * random.random((HANDS, VERTICES, 1)))
    row = calibrate(answers_with(random, std, np.full((HANDS, 20, 3), 0.01)))[0]
    assert row.spearman > 0.7
    assert abs(row.spearman_each) < 0.05


def maxwell_area():
    """Area under the best order's curve of errors whose three axes are standard normal."""

    def mean_of_smallest(fraction):
        bound = stats.maxwell.ppf(fraction)
        return integrate.quad(lambda x: x * stats.maxwell.pdf(x), 0, bound)[0] / fraction

    return integrate.quad(mean_of_smallest, 1e-9, 1)[0]


def test_ause_of_equal_uncertainties_is_known(random):
    row = calibrate(answers_with(random, np.full((HANDS, 500, 3), 0.002), np.full((HANDS, 20, 3), 0.01)))[0]
    mean = stats.maxwell.mean()
    assert row.ause == pytest.approx(1 - maxwell_area() / mean, abs=0.005)
    assert row.ausc_mm == pytest.approx(2 * mean, rel=0.01)
    assert np.isnan(row.spearman)


def test_curves_lie_between_the_best_and_no_order(rows):
    for row in rows.values():
        assert row.sparsification_mm[0] == row.oracle_mm[0] == pytest.approx(row.error_mm, rel=1e-6)
        assert (row.oracle_mm <= row.sparsification_mm + 1e-9).all()
        assert row.sparsification_mm[len(REMOVED) // 2] < row.error_mm
        assert 0 < row.ause < 0.3
        assert row.ausc_mm < row.error_mm


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_a_wrong_scale_is_found(random, factor):
    vertices, keypoints = random.uniform(0.001, 0.01, (HANDS, VERTICES, 3)), np.full((HANDS, 20, 3), 0.004)
    answers = answers_with(random, vertices, keypoints, factor)
    scale = fit_variance_scale(answers)
    assert scale == pytest.approx([factor**-2] * 2, rel=0.05)
    assert isinstance(scale.vertices, float)


def test_no_other_scale_is_more_likely(random):
    answers = answers_with(random, random.uniform(0.001, 0.01, (HANDS, VERTICES, 3)), np.full((HANDS, 20, 3), 0.004), 2)

    def nll(factor):
        return calibrate(replace(answers, std_m=answers.std_m * np.float32(np.sqrt(factor))))[0].nll

    best = fit_variance_scale(answers).vertices
    assert nll(best) < min(nll(best * 1.05), nll(best / 1.05))


def test_answers_without_error_have_no_scale(random):
    answers = answers_with(random, np.full((HANDS, 4, 3), 0.01), np.full((HANDS, 20, 3), 0.01))
    with raises(ErrorCode.NOT_FINITE):
        fit_variance_scale(replace(answers, offsets_m=np.zeros_like(answers.offsets_m)))


def test_no_hidden_point_is_a_dash(answers):
    rows = calibrate(replace(answers, visible=np.ones_like(answers.visible)))
    assert rows[2].count == 0
    lines = calibration_table(rows).splitlines()
    assert lines[4].startswith("| vertices, hidden | 0 | – | – |")
    assert {line.count("|") for line in lines} == {14}
    assert lines[2].startswith(f"| vertices, all | {HANDS * VERTICES:,} | 5")
