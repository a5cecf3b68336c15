"""Uncertainty over time below the timeline: what it remembers, how it is drawn, and where a click goes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gui_fakes import TRIANGLE, FakePipeline, FakeSource, frame, hand
from PyQt6.QtCore import QPoint, Qt
from PyQt6.QtTest import QTest
from pytestqt.qtbot import QtBot

from handviz.core.records import FrameResult, Handedness
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import SettingsStore
from handviz.gui.source.uncertainty_strip import (
    COLOURS,
    HEIGHT_PX,
    MAX_FRAMES,
    UncertaintyStrip,
    runs,
    thinned,
)
from tests.gui.test_gui_window import press

COUNT = 12


def result(number: int, *sides: Handedness, model: str = "final", std_mm: float = 4.0) -> FrameResult:
    """Return a frame with hands of these sides, whose deviations are up to twice ``std_mm``."""
    made = [replace(hand(model, handedness=side), vertex_std_mm=np.array([0.0, std_mm, 2 * std_mm])) for side in sides]
    return FrameResult(frame(number), model, hands=tuple(made))


@pytest.fixture
def strip(qtbot: QtBot) -> UncertaintyStrip:
    made = UncertaintyStrip()
    qtbot.addWidget(made)
    made.resize(200, HEIGHT_PX)
    made.reset(COUNT)
    return made


def test_every_frame_says_what_is_known_of_it(strip: UncertaintyStrip) -> None:
    strip.take(result(2, "right", "left"))
    strip.take(result(3))
    strip.take(result(4, "left", std_mm=7.0))
    assert strip.values_at(1) == "frame 2: not reconstructed yet"
    assert strip.values_at(2) == "frame 3: right mean 4.0, max 8.0 mm; left mean 4.0, max 8.0 mm"
    assert strip.values_at(3) == "frame 4: no hand"
    assert strip.values_at(4) == "frame 5: left mean 7.0, max 14.0 mm"
    strip.take(result(COUNT + 3, "right"))  # a frame that the source should not have
    assert strip.values_at(COUNT + 3).endswith("not reconstructed yet")


def test_another_model_begins_anew_and_a_new_length_keeps_what_is_known(strip: UncertaintyStrip) -> None:
    strip.take(result(2, "right"))
    strip.resize_to(COUNT + 5)
    assert "mean 4.0" in strip.values_at(2)
    strip.take(result(3, "right", model="prior"))
    assert strip.values_at(2).endswith("not reconstructed yet")


@pytest.mark.parametrize("count", [None, 1, 0, MAX_FRAMES + 1])
def test_sources_without_a_length_have_no_strip(strip: UncertaintyStrip, count: int | None) -> None:
    strip.reset(count)
    assert strip.isHidden()
    strip.take(result(0, "right"))
    QTest.mouseClick(strip, Qt.MouseButton.LeftButton)


def test_curves_and_gaps_are_drawn_where_they_are(strip: UncertaintyStrip) -> None:
    for number in range(COUNT):
        strip.take(result(number, *(["right"] if number < 6 else []), std_mm=10.0))
    image = strip.grab().toImage()

    def has(colour, left: int, right: int) -> bool:
        wanted = np.array([colour.red(), colour.green(), colour.blue()])
        pixels = [image.pixelColor(x, y) for x in range(left, right) for y in range(HEIGHT_PX)]
        rgb = np.array([[one.red(), one.green(), one.blue()] for one in pixels])
        return bool((np.abs(rgb - wanted).sum(axis=1) < 60).any())

    assert has(COLOURS["right"], 5, 80)
    assert not has(COLOURS["right"], 120, 190)
    missed, found = (image.pixelColor(x, HEIGHT_PX - 2) for x in (150, 40))
    assert missed.red() - missed.green() > 30 > found.red() - found.green()


def test_many_frames_keep_the_largest_of_each_group() -> None:
    values = np.full(1000, np.nan)
    values[[100, 101, 102]] = 5, 9, 7
    numbers, thinner = thinned(np.arange(1000), values, 50)
    assert len(numbers) == len(thinner) == 100
    assert np.nanmax(thinner) == 9
    assert numbers[np.nanargmax(thinner)] == 101
    assert np.isfinite(thinner).sum() == 1
    numbers, thinner = thinned(np.array([3, 8]), np.array([1.0, 3.0]), 4)
    assert (numbers.tolist(), thinner.tolist()) == ([3, 8], [1, 3])


def test_skipped_frames_do_not_interrupt_the_curve(strip: UncertaintyStrip) -> None:
    strip.take(result(0, "right", std_mm=10.0))
    strip.take(result(COUNT - 1, "right", std_mm=10.0))
    image = strip.grab().toImage()
    middle = [image.pixelColor(120, y) for y in range(HEIGHT_PX)]
    assert any(one.red() > one.blue() + 40 for one in middle)


def test_runs_are_first_and_last_indices() -> None:
    assert runs(np.array([True, True, False, True, False, False, True])) == [(0, 1), (3, 3), (6, 6)]
    assert runs(np.zeros(3, bool)) == []


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    controller = Controller(
        FakePipeline,
        SettingsStore(),
        opener={"clip": FakeSource(COUNT, nominal_fps=100.0)}.__getitem__,
        lister=lambda: [],
        fallback_clip=tmp_path / "none.mp4",
    )
    made = MainWindow(controller, TRIANGLE)
    made.show()
    controller.start("clip")
    yield made
    made.close()
    made.deleteLater()


def test_a_clip_fills_the_strip_and_a_click_goes_to_the_frame(qtbot: QtBot, window: MainWindow) -> None:
    strip = window.timeline.strip
    qtbot.waitUntil(lambda: strip.isVisible() and "mean" in strip.values_at(COUNT - 1))
    click = QPoint(round(0.5 * strip.width()), 5)
    wanted = strip.frame_at(click.x())
    QTest.mouseClick(strip, Qt.MouseButton.LeftButton, pos=click)
    qtbot.waitUntil(lambda: window.timeline.number.value() == wanted + 1)
    assert not window._controller.is_playing


def test_in_and_out_point_are_set_at_the_present_frame(qtbot: QtBot, window: MainWindow) -> None:
    timeline, controller = window.timeline, window._controller
    qtbot.waitUntil(lambda: timeline.strip.isVisible() and "mean" in timeline.strip.values_at(COUNT - 1))
    controller.go_to(3)
    qtbot.waitUntil(lambda: timeline.slider.value() == 3)
    press(qtbot, window, "Ctrl+[")
    assert timeline.strip._span == (3, COUNT - 1)
    controller.go_to(6)
    qtbot.waitUntil(lambda: timeline.slider.value() == 6)
    press(qtbot, window, "Ctrl+]")
    assert timeline.strip._span == (3, 6)
    assert window.message.text() == "Plays frames 4 to 7."
    qtbot.waitUntil(lambda: controller._capture._span == (3, 6))
    controller.go_to(1)
    qtbot.waitUntil(lambda: timeline.slider.value() == 1)
    press(qtbot, window, "Ctrl+]")  # before the in point, which gives way
    assert timeline.strip._span == (0, 1)
    press(qtbot, window, "Ctrl+\\")
    assert timeline.strip._span is None
    qtbot.waitUntil(lambda: controller._capture._span == (0, None))
