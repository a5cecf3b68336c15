"""Colour scale of the real window: the same for every source unless it is fitted, followed, locked or chosen."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from gui_fakes import TRIANGLE, FakePipeline, FakeSource
from pytestqt.qtbot import QtBot

from handviz.core.records import Frame, FrameResult
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import SettingsStore
from handviz.rendering.colormap import uncertainty_colours
from tests.gui.test_gui_compare import rgb

pytestmark = pytest.mark.display

STDS_MM = {"sure": 4.0, "wild": 35.0}


class NamedSource(FakeSource):
    """One image, whose name says how uncertain its hand is."""

    def __init__(self, name: str) -> None:
        super().__init__(1, nominal_fps=1.0)
        self.text = name

    def read(self) -> Frame | None:
        """Return the image under its name."""
        frame = super().read()
        return None if frame is None else replace(frame, name=self.text)


class StatedPipeline(FakePipeline):
    """Pipeline whose hands are as uncertain as the image's name says."""

    def process(self, frame: Frame) -> FrameResult:
        """Return one hand with that standard deviation everywhere."""
        result = super().process(frame)
        (hand,) = result.hands
        return replace(result, hands=(replace(hand, vertex_std_mm=np.full(3, STDS_MM[frame.name])),))


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[MainWindow]:
    """Return a window that shows the image "sure"."""
    made = MainWindow(Controller(StatedPipeline, SettingsStore(), opener=NamedSource, lister=list), TRIANGLE)
    made._controller.change(opacity=1.0, labels=False)
    made.show()
    with qtbot.waitSignal(made.result_painted):
        made._controller.start("sure")
    yield made
    made.close()
    made.deleteLater()


def show(qtbot: QtBot, window: MainWindow, name: str) -> None:
    with qtbot.waitSignal(window.result_painted):
        window._controller.open(name)


def colour(window: MainWindow) -> np.ndarray:
    """Return the normalized colour in the middle of the hand."""
    image = rgb(window.viewport.grabFramebuffer())
    middle = image[image.shape[0] // 2, image.shape[1] // 2]
    return np.asarray(middle / middle.max())


def expected(std_mm: float, high_mm: float, colour_map: str = "viridis") -> np.ndarray:
    entry = uncertainty_colours(colour_map)[round(255 * min(std_mm / high_mm, 1.0))]  # type: ignore[arg-type]
    return np.asarray(entry / entry.max())


def test_colours_do_not_depend_on_what_was_seen_before(qtbot: QtBot, window: MainWindow) -> None:
    assert window.viewport.range_mm() == (0.0, 20.0)
    first = colour(window)
    np.testing.assert_allclose(first, expected(4.0, 20.0), atol=0.1)
    show(qtbot, window, "wild")
    np.testing.assert_allclose(colour(window), expected(35.0, 20.0), atol=0.1)
    show(qtbot, window, "sure")
    np.testing.assert_array_equal(colour(window), first)


def test_the_scale_is_fitted_once_followed_and_locked(qtbot: QtBot, window: MainWindow) -> None:
    panel, draw = window.view_panel, lambda: window._controller.settings.draw
    assert not panel.lock_range.isEnabled()
    panel.fit_range.click()
    assert (draw().range_is_automatic, draw().std_range_mm) == (False, (4.0, 6.0))
    show(qtbot, window, "wild")
    assert window.viewport.range_mm() == (4.0, 6.0)
    panel.range_is_automatic.click()
    with qtbot.waitSignal(window.viewport.painted):
        window.viewport.update()
    followed = window.viewport.range_mm()
    assert followed == (35.0, 37.0)
    panel.lock_range.click()
    assert (draw().range_is_automatic, draw().std_range_mm) == (False, followed)
    window._controller.undo()
    assert draw().range_is_automatic, "the lock is one step"


def test_presets_and_the_colour_map(window: MainWindow) -> None:
    panel = window.view_panel
    menu = panel.presets.menu()
    assert menu is not None
    next(action for action in menu.actions() if "10 mm" in action.text()).trigger()
    assert window.viewport.range_mm() == (0.0, 10.0)
    panel.colour_map.setCurrentIndex(panel.colour_map.findData("plasma"))
    np.testing.assert_allclose(colour(window), expected(4.0, 10.0, "plasma"), atol=0.1)


def test_without_an_uncertainty_nothing_is_fitted(qtbot: QtBot, window: MainWindow) -> None:
    window.viewport.show_result(None)
    window.view_panel.fit_range.click()
    assert "fit the colour scale" in window.message.text()
