"""Figures of calibration."""

import cv2
import numpy as np
import pytest

from handviz.evaluation import plots
from handviz.evaluation.calibration import NOMINAL, REMOVED, Calibration
from handviz.evaluation.plots import draw_reliability, draw_sparsification


def row(points, seen, count=10):
    values = np.asarray(NOMINAL) if count else np.full(len(NOMINAL), np.nan)
    curve = np.linspace(9, 4, len(REMOVED)) if count else np.full(len(REMOVED), np.nan)
    return Calibration(points, seen, count, values[:4], 1.0, 6.0, 0.2, 0.5, 0.4, 9.0, 8.0, values, curve, curve / 2)


ROWS = (row("vertices", "all"), row("vertices", "hidden"), row("keypoints", "all"), row("keypoints", "hidden", 0))


@pytest.fixture
def saved(monkeypatch):
    """Figures that would have been saved."""
    figures = []
    save = plots.save_figure
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: figures.append(figure) or save(figure, path))
    return figures


def lines_of(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_reliability_shows_a_line_a_kind_and_the_diagonal(tmp_path, saved):
    path = draw_reliability(ROWS, tmp_path / "new" / "picture.png")
    assert cv2.imread(str(path)).std() > 5
    vertices, keypoints = saved[0].axes
    assert set(lines_of(vertices)) == {"perfect", "all", "hidden"}
    assert set(lines_of(keypoints)) == {"perfect", "all"}
    np.testing.assert_array_equal(lines_of(vertices)["hidden"].get_ydata(), NOMINAL)


def test_sparsification_shows_the_order_the_best_one_and_none(tmp_path, saved):
    path = draw_sparsification(ROWS, tmp_path / "picture.svg")
    assert "<svg" in path.read_text(encoding="utf-8")
    lines = saved[0].axes[0].get_lines()
    np.testing.assert_array_equal(lines[0].get_ydata(), ROWS[0].sparsification_mm)
    np.testing.assert_array_equal(lines[1].get_ydata(), ROWS[0].oracle_mm)
    np.testing.assert_array_equal(lines[2].get_ydata(), [9.0, 9.0])
