"""Actions on one hand of the image: its side, hiding it, showing hidden hands again."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from handviz.core.records import FrameResult, HandMesh
from handviz.gui.inspector.hand_actions import ALL_HIDDEN, CLICK_FIRST, NO_HAND, NOTHING_HIDDEN, HandActions
from handviz.gui.inspector.point_inspector import PointInspector
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.session.settings import SettingsStore
from handviz.rendering.highlight import Pick
from tests.gui.test_gui_window import press
from tests.gui_fakes import TRIANGLE, FakePipeline, frame, hand


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    """Return a window that is not shown, without a source."""
    made = MainWindow(Controller(FakePipeline, SettingsStore(), fallback_clip=tmp_path / "none.mp4"), TRIANGLE)
    yield made
    made.close()
    made.deleteLater()


@pytest.fixture
def asked(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Record what the controller is asked for."""
    found: list[tuple[str, int]] = []
    monkeypatch.setattr(window._controller, "flip_hand", lambda track: found.append(("flip", track)))
    monkeypatch.setattr(window._controller, "hide_hand", lambda track: found.append(("hide", track)))
    monkeypatch.setattr(window._controller, "show_all_hands", lambda: found.append(("show", 0)))
    return found


def show(window: MainWindow, hands: Sequence[HandMesh], hidden: int = 0) -> None:
    """Answer with these hands."""
    result = FrameResult(frame(1), "final", hands=tuple(hands), hidden=hidden)
    window._controller.answered.emit(Answer(0, result, 0.0, 0.0, 0, ""))


def part(window: MainWindow, kind: type) -> object:
    """Return the window's feature of that class."""
    return next(feature for feature in window.features if isinstance(feature, kind))


TWO = (hand(), replace(hand(handedness="left"), track_id=4))


def test_the_only_hand_needs_no_click(qtbot: QtBot, window: MainWindow, asked: list[tuple[str, int]]) -> None:
    show(window, TWO[1:])
    press(qtbot, window, "X")
    press(qtbot, window, "Del")
    assert asked == [("flip", 4), ("hide", 4)]


def test_of_two_hands_the_picked_one_is_meant(qtbot: QtBot, window: MainWindow, asked: list[tuple[str, int]]) -> None:
    show(window, TWO)
    press(qtbot, window, "X")
    assert (asked, window.message.text()) == ([], CLICK_FIRST)
    inspector = part(window, PointInspector)
    assert isinstance(inspector, PointInspector)
    inspector.pick(Pick(1, vertex=0))
    press(qtbot, window, "X")
    assert asked == [("flip", 4)]
    # It is followed by its number, wherever it stands among the hands.
    show(window, TWO[::-1])
    press(qtbot, window, "Del")
    assert asked[1:] == [("hide", 4)]


def test_without_hands_nothing_is_asked(qtbot: QtBot, window: MainWindow, asked: list[tuple[str, int]]) -> None:
    show(window, ())
    press(qtbot, window, "X")
    assert (asked, window.message.text()) == ([], NO_HAND)
    press(qtbot, window, "Shift+Del")
    assert (asked, window.message.text()) == ([], NOTHING_HIDDEN)


def test_hidden_hands_are_counted_and_come_back(qtbot: QtBot, window: MainWindow, asked: list[tuple[str, int]]) -> None:
    actions = part(window, HandActions)
    assert isinstance(actions, HandActions)
    show(window, TWO)
    assert actions.hidden.isHidden()
    assert actions.show_hidden.isHidden()
    show(window, TWO[:1], hidden=1)
    assert actions.hidden.text() == "1 hand hidden"
    show(window, (), hidden=2)
    assert window.source_panel.hands.text() == "No other hand in this image", "it does not say that there is none"
    press(qtbot, window, "X")
    assert window.message.text() == ALL_HIDDEN
    press(qtbot, window, "Shift+Del")
    assert asked == [("show", 0)]


def test_a_model_that_failed_is_no_image_without_hands(window: MainWindow) -> None:
    result = FrameResult(frame(1), "final", failure="the model final did not answer")
    window._controller.answered.emit(Answer(0, result, 0.0, 0.0, 0, ""))
    assert window.source_panel.hands.text() == "No hands: the model failed"
