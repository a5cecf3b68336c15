"""The group "Distribution": a histogram of the vertices and a bar for each joint, of the hand that is meant."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gui_fakes import TRIANGLE, FakePipeline, FakeSource, frame, hand
from pytestqt.qtbot import QtBot

from handviz.core.records import FrameResult, HandMesh
from handviz.gui.inspector.distribution import BINS, TOP_MM, histogram
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.session.settings import SettingsStore


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    controller = Controller(
        FakePipeline,
        SettingsStore(),
        opener={"clip": FakeSource(3, nominal_fps=100.0)}.__getitem__,
        lister=lambda: [],
        fallback_clip=tmp_path / "none.mp4",
    )
    made = MainWindow(controller, TRIANGLE)
    yield made
    made.close()
    made.deleteLater()


def show(window: MainWindow, *hands: HandMesh) -> None:
    """Let the window show hands."""
    window._controller.reported.emit(Answer(0, FrameResult(frame(), "final", hands=hands), 30.0, 15.0, 0, ""))


def wide(track_id: int) -> HandMesh:
    """Return a hand whose joints have 1, 2, ... mm."""
    return replace(
        hand(track_id=track_id),
        vertex_std_mm=np.array([3.0, 3.5, 12.0]),
        keypoint_std_mm=np.arange(1.0, 22.0),
    )


def test_values_fall_into_bins_of_a_millimetre_and_large_ones_into_the_last() -> None:
    counts = histogram(np.array([0.0, 0.5, 3.2, 39.99, TOP_MM, 90.0]))
    assert len(counts) == BINS
    assert (counts[0], counts[3], counts[-1], counts.sum()) == (2, 1, 3, 6)


def test_the_first_hand_is_plotted_and_bars_say_what_they_are(window: MainWindow) -> None:
    show(window, wide(1), hand(track_id=2))
    plots = window.distribution
    assert plots.heading.text() == "1 · right hand, median 3.5 mm"
    assert plots.histogram.heights[3] == 1
    assert plots.histogram.heights[12] == 0.5
    np.testing.assert_allclose(plots.joints.heights, np.arange(1, 22) / TOP_MM)
    plots.joints.resize(210, plots.joints.height())
    assert plots.joints.text_at(5) == "wrist: 1.0 mm"
    assert plots.joints.text_at(209) == "little 4: 21.0 mm"
    assert plots.histogram.text_at(0.5) == "0 to 1 mm: 0 vertices"


def test_the_picked_hand_comes_first(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window.distribution._inspector, "picked_index", lambda hands: 1)
    show(window, hand(track_id=1), wide(7))
    assert window.distribution.heading.text().startswith("7 · right hand")


def test_no_hand_and_no_uncertainty_empty_the_plots(window: MainWindow) -> None:
    show(window, wide(1))
    show(window)
    assert window.distribution.heading.text() == "no hand"
    assert len(window.distribution.joints.heights) == 0
    assert window.distribution.joints.text_at(3) == ""
    show(window, replace(hand(), vertex_std_mm=None, keypoint_std_mm=None))
    assert window.distribution.heading.text() == "its model predicts no uncertainty"


def test_bars_are_as_high_as_their_values(window: MainWindow) -> None:
    show(window, wide(1))
    plot = window.distribution.joints
    plot.resize(210, plot.height())
    image = plot.grab().toImage()
    column = [image.pixelColor(205, y) for y in range(plot.height() - 1)]
    wanted = plot._colours[20]
    coloured = sum(abs(one.red() - wanted.red()) + abs(one.blue() - wanted.blue()) < 30 for one in column)
    assert coloured == pytest.approx(21 / TOP_MM * (plot.height() - 1), abs=3)
