"""``python -m tools.evaluation_speed``: both searches agree, and the report has its lines."""

import numpy as np

from handviz.core.metrics import f_scores
from tools.evaluation_speed import f_scores_by_cdist, measure, sample_points


def test_both_searches_give_the_same_scores():
    points = sample_points(10)
    both = [search(points.vertices_m, points.true_vertices_m) for search in (f_scores, f_scores_by_cdist)]
    assert 0.1 < both[0][:, 0].mean() < both[0][:, 1].mean() < 1
    np.testing.assert_allclose(both[0], both[1], atol=1e-12)


def test_the_measurement_says_seconds_and_both_searches(capsys):
    measure(20)
    printed = capsys.readouterr().out
    assert "20 samples of 778 vertices" in printed
    assert "k-d trees" in printed
    assert "torch.cdist" in printed
