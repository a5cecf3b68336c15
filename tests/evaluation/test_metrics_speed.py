"""What ``handviz benchmark --metrics`` measures is the right thing."""

import logging

import numpy as np

from handviz.core.metrics import f_scores
from handviz.evaluation.performance.metrics_speed import f_scores_by_cdist, made_up_points, measure


def test_both_searches_give_the_same_scores():
    points = made_up_points(10)
    both = [search(points.vertices_m, points.true_vertices_m) for search in (f_scores, f_scores_by_cdist)]
    assert 0.1 < both[0][:, 0].mean() < both[0][:, 1].mean() < 1
    np.testing.assert_allclose(both[0], both[1], atol=1e-12)


def test_the_measurement_says_seconds_and_both_searches(caplog):
    caplog.set_level(logging.INFO)
    measure(20)
    assert "20 samples of 778 vertices" in caplog.text
    assert "k-d trees" in caplog.text
    assert "torch.cdist" in caplog.text
