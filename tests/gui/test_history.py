"""Undo and redo of settings: the history alone, and in the window."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from handviz.core.camera_model import ASSUMED_CAMERA, CameraModel
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.history import MAX_STEPS, MERGE_S, History
from handviz.gui.session.settings import SettingsStore, ViewSettings, changed
from tests.gui_fakes import TRIANGLE, FakePipeline, press_key


@dataclass
class Clock:
    """Seconds that a test sets."""

    time_s: float = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.time_s


@pytest.fixture
def clock() -> Clock:
    """Return a clock at 0."""
    return Clock()


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, clock: Clock) -> Iterator[MainWindow]:
    """Return a window whose clock stands still."""
    controller = Controller(
        FakePipeline, SettingsStore(), lister=lambda: [], fallback_clip=tmp_path / "none.mp4", clock=clock
    )
    made = MainWindow(controller, TRIANGLE)
    yield made
    made.close()
    made.deleteLater()


def test_steps_go_back_and_forth_until_something_new_is_done(clock: Clock) -> None:
    history = History(clock)
    history.add({"colour": "plain"}, {"colour": "texture"})
    history.add({"model": "final"}, {"model": "prior"})
    assert [history.undo(), history.undo(), history.undo()] == [{"model": "final"}, {"colour": "plain"}, None]
    assert history.redo() == {"colour": "texture"}
    history.add({"loop": True}, {"loop": False})
    assert history.redo() is None
    assert [history.undo(), history.undo()] == [{"loop": True}, {"colour": "plain"}]


@pytest.mark.parametrize(("pause_s", "steps"), [(0.9 * MERGE_S, 1), (1.1 * MERGE_S, 3)])
def test_a_drag_is_one_step(clock: Clock, pause_s: float, steps: int) -> None:
    history = History(clock)
    for number in range(3):
        history.add({"opacity": number / 10}, {"opacity": (number + 1) / 10})
        clock.time_s += pause_s
    undone = [history.undo() for _ in range(steps)]
    assert undone[-1] == {"opacity": 0.0}
    assert history.undo() is None
    assert [history.redo() for _ in range(steps)][-1] == {"opacity": pytest.approx(0.3)}


def test_choices_and_other_settings_are_steps_of_their_own(clock: Clock) -> None:
    history = History(clock)
    history.add({"wireframe": False}, {"wireframe": True})
    history.add({"wireframe": True}, {"wireframe": False})
    history.add({"opacity": 0.1}, {"opacity": 0.2})
    history.add({"smoothing": 0.1}, {"smoothing": 0.2})
    assert len([history.undo() for _ in range(4)]) == 4
    assert history.undo() is None


def test_a_drag_after_undo_is_a_new_step(clock: Clock) -> None:
    history = History(clock)
    history.add({"opacity": 0.1}, {"opacity": 0.2})
    history.add({"smoothing": 0.1}, {"smoothing": 0.2})
    history.undo()
    history.add({"opacity": 0.2}, {"opacity": 0.3})
    assert [history.undo(), history.undo()] == [{"opacity": 0.2}, {"opacity": 0.1}]


def test_forgotten_settings_have_no_way_back(clock: Clock) -> None:
    history = History(clock)
    history.add({"camera_model": ASSUMED_CAMERA}, {"camera_model": CameraModel("angle", 70.0)})
    history.add({"camera_model": 1, "loop": True}, {"camera_model": 2, "loop": False})
    history.forget(("camera_model",))
    assert [history.undo(), history.undo()] == [{"loop": True}, None]


def test_the_oldest_steps_are_forgotten(clock: Clock) -> None:
    history = History(clock)
    for number in range(MAX_STEPS + 5):
        history.add({"colour": f"{number}"}, {"colour": f"{number + 1}"})
    undone = [history.undo() for _ in range(MAX_STEPS + 1)]
    assert undone[-2:] == [{"colour": "5"}, None]


def test_keys_take_back_and_say_what(window: MainWindow) -> None:
    controller, panel = window._controller, window.view_panel
    press_key(window, "W")
    panel.choice("shown_colour", "plain").click()
    press_key(window, "Ctrl+Z")
    assert window.message.text() == "Undone: colour."
    assert controller.settings == changed(ViewSettings(), wireframe=True)
    assert panel.choice("shown_colour", "uncertainty").isChecked()
    press_key(window, "Ctrl+Z")
    assert controller.settings == ViewSettings() == SettingsStore().load()
    assert not panel.wireframe.isChecked()
    press_key(window, "Ctrl+Z")
    assert window.message.text() == "No change of settings can be undone."
    press_key(window, "Ctrl+Shift+Z")
    assert window.message.text() == "Redone: wireframe."
    press_key(window, "Ctrl+Y")
    assert controller.settings == changed(ViewSettings(), wireframe=True, colour="plain")
    press_key(window, "Ctrl+Y")
    assert window.message.text() == "No change of settings can be redone."


def test_a_dragged_slider_goes_back_at_once(window: MainWindow, clock: Clock) -> None:
    slider = window.view_panel.opacity
    for value in range(80, 20, -10):
        slider.setValue(value)
        clock.time_s += 0.05
    assert window._controller.settings.draw.opacity == 0.3
    press_key(window, "Ctrl+Z")
    assert window._controller.settings.draw.opacity == 0.9
    assert slider.value() == 90


def test_the_theme_and_a_reset_go_back_too(window: MainWindow) -> None:
    controller = window._controller
    controller.change(theme="light", model="prior", skeleton=True, opacity=0.5)
    window.features[-1].reset()  # type: ignore[attr-defined]
    press_key(window, "Ctrl+Z")
    assert window.message.text() == "Undone: 4 settings."
    assert controller.settings == changed(ViewSettings(), theme="light", model="prior", skeleton=True, opacity=0.5)


def test_what_came_with_the_source_is_no_step(window: MainWindow) -> None:
    controller = window._controller
    controller.change(camera_model=CameraModel("angle", 70.0))
    controller.change_with_source(camera_model=CameraModel("angle", 80.0))
    press_key(window, "Ctrl+Z")
    assert controller.settings.pipeline.camera_model == CameraModel("angle", 80.0)
