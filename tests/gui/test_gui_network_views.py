"""A network's own views in the real window: heatmaps over the image, and the hand after each iteration."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gui_fakes import TRIANGLE, FakePipeline, FakeSource, press_key
from pytestqt.qtbot import QtBot

from handviz.core.records import Frame, FrameResult, HandMesh, Heatmaps
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import SettingsStore
from handviz.rendering.options import RESULT_STEP

pytestmark = pytest.mark.display
STEPS = 3


def with_views(hand: HandMesh) -> HandMesh:
    """Return a hand with a heatmap of the index finger's tip on its left, and three steps that grow."""
    maps = np.zeros((21, 56, 56), np.float32)
    maps[8, 20:30, 5:15] = 1.0
    grown = [replace(hand, vertices_m=hand.vertices_m * (number + 1) / 4) for number in range(STEPS)]
    return replace(hand, heatmaps=Heatmaps(maps, np.array([[1.0, 0, 0], [0, 1, 0]])), steps=tuple(grown))


class ViewsPipeline(FakePipeline):
    """Pipeline whose model "hamr" has heatmaps and iterations."""

    def process(self, frame: Frame) -> FrameResult:
        """Return the results of FakePipeline, with views for HAMR."""
        result = super().process(frame)
        hands = {model: result.of_model(model).hands for model in (result.model, *result.others)}
        made = {model: tuple(map(with_views, found)) if model == "hamr" else found for model, found in hands.items()}
        return replace(result, hands=made[result.model], others={name: made[name] for name in result.others})


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    """Show a window with an image and its hand, of the model "final"."""
    controller = Controller(
        ViewsPipeline,
        SettingsStore(),
        opener=lambda _: FakeSource(1, names=True, nominal_fps=1.0),
        lister=lambda: [],
        fallback_clip=tmp_path / "none.mp4",
    )
    made = MainWindow(controller, TRIANGLE)
    made.resize(1300, 780)
    with qtbot.waitExposed(made):
        made.show()
    controller.change(colour="plain", opacity=1.0, labels=False)
    with qtbot.waitSignal(made.result_painted):
        controller.start("picture")
    yield made
    made.close()
    made.deleteLater()


def views(window: MainWindow):
    """Return the feature behind the group."""
    return next(feature for feature in window.features if type(feature).__name__ == "NetworkViews")


def choose_hamr(qtbot: QtBot, window: MainWindow) -> None:
    with qtbot.waitSignal(window.result_painted):
        press_key(window, "5")
    qtbot.waitUntil(lambda: views(window).step.maximum() == STEPS)


def pixels(window: MainWindow) -> np.ndarray:
    """Return the viewport's colours as numbers."""
    image = window.viewport.grabFramebuffer()
    data = image.constBits()
    assert data is not None
    data.setsize(image.sizeInBytes())
    return np.frombuffer(data, np.uint8).reshape(image.height(), image.width(), 4)[..., :3].astype(int)


def covered_pixels(window: MainWindow) -> int:
    """Return how many pixels show something else than the grey image."""
    return int((np.abs(pixels(window) - 100).max(axis=2) > 8).sum())


def test_the_group_is_there_for_a_model_that_has_them(qtbot: QtBot, window: MainWindow) -> None:
    assert not views(window).group.isVisibleTo(window.view_panel)
    choose_hamr(qtbot, window)
    assert views(window).group.isVisibleTo(window.view_panel)
    press_key(window, "3")
    assert not views(window).group.isVisibleTo(window.view_panel)
    window._controller.change(compare=True, compared=("final", "hamr"))
    assert views(window).group.isVisibleTo(window.view_panel)


def test_the_key_draws_heatmaps_and_takes_them_away(qtbot: QtBot, window: MainWindow) -> None:
    choose_hamr(qtbot, window)
    before = pixels(window)
    press_key(window, "J")
    assert window._controller.settings.draw.heatmaps == "all"
    assert views(window).heatmaps.currentData() == "all"
    qtbot.waitUntil(lambda: bool((np.abs(pixels(window) - before).max(axis=2) > 60).any()))
    changed = np.abs(pixels(window) - before).max(axis=2) > 60
    assert np.flatnonzero(changed.any(axis=0)).max() < changed.shape[1] / 2, "on the left, where the map is"
    box = views(window).heatmaps
    box.setCurrentIndex(box.findData("wrist"))
    qtbot.waitUntil(lambda: not (np.abs(pixels(window) - before).max(axis=2) > 60).any())
    press_key(window, "J")
    assert window._controller.settings.draw.heatmaps == "none"


def test_the_slider_goes_through_the_steps_to_the_result(qtbot: QtBot, window: MainWindow) -> None:
    choose_hamr(qtbot, window)
    slider = views(window).step
    assert (slider.value(), views(window).step_text.text()) == (STEPS, "result")
    covered = []
    for number, text in ((0, "start"), (1, "after 1"), (2, "after 2"), (STEPS, "result")):
        slider.setValue(number)
        assert views(window).step_text.text() == text
        covered.append(covered_pixels(window))
    assert covered == sorted(set(covered))
    assert window._controller.settings.draw.iteration == RESULT_STEP


def test_playing_moves_through_the_steps_by_itself(qtbot: QtBot, window: MainWindow) -> None:
    choose_hamr(qtbot, window)
    now = [0.0]
    window.viewport.clock = lambda: now[0]
    press_key(window, "B")
    assert views(window).plays.isChecked()
    assert not views(window).step.isEnabled()
    covered = []
    for moment in (0.1, 0.9, 1.7, 2.5):
        now[0] = moment
        window.viewport.update()
        covered.append(covered_pixels(window))
    assert covered == sorted(set(covered))


def test_without_such_a_model_the_keys_name_one(qtbot: QtBot, window: MainWindow) -> None:
    for key, what in (("J", "heatmaps"), ("B", "iterations")):
        press_key(window, key)
        assert window._controller._reply == f"The model has no {what}: choose HAMR."


def test_the_choices_are_saved(qtbot: QtBot, window: MainWindow) -> None:
    choose_hamr(qtbot, window)
    press_key(window, "J")
    views(window).step.setValue(1)
    found = SettingsStore().load().draw
    assert (found.heatmaps, found.iteration, found.plays_iterations) == ("all", 1, False)
