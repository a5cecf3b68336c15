"""Picked points, attention, uncertain regions and ellipses through the window."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gui_fakes import TRIANGLE, FakePipeline, FakeSource, frame, hand
from PyQt6.QtCore import QPoint, QPointF, Qt
from PyQt6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import CROP_SIZE, FrameResult, HandCrop, HandMesh, ModelId
from handviz.core.shape_posterior import CONTRADICTION, ShapePosterior
from handviz.gui import main_window
from handviz.gui.inspector import attention
from handviz.gui.inspector.attention import AttentionReader, AttentionRequest, rest_after
from handviz.gui.inspector.point_inspector import NO_HAND, PickedHand, PointInspector
from handviz.gui.inspector.point_panel import ABSENT, CLICK
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.session.settings import SettingsStore
from handviz.gui.source.source_panel import uncertainty_text
from handviz.pipeline.settings import PipelineConfig
from handviz.rendering.highlight import AttentionShown, Pick
from tests.gui.test_gui_window import press
from tests.hands import made_up_detection, shifted

CROP = HandCrop(np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8), np.eye(2, 3), made_up_detection())
JOINTS = np.eye(21)[7] * 0.6 + np.eye(21)[3] * 0.4


class FakeAttention:
    """Attention that is always the same; the prior has none."""

    def __init__(self, model_dir: Path) -> None:
        self.model_dir = model_dir
        self.asked: list[tuple[ModelId, int | None, int | None]] = []
        self._last: tuple[ModelId, HandCrop] | None = None

    def knows(self, crop: HandCrop, model: ModelId, /) -> bool:
        return self._last == (model, crop)

    def prepare(self, model: ModelId, /) -> None:
        if model == "prior":
            raise HandvizError("The prior-net has no attention.", ErrorCode.NOT_PROVIDED)
        if model == "amvur":
            raise ZeroDivisionError("broken")

    def ask(self, crop: HandCrop, model: ModelId, /, *, vertex: int | None, joint: int | None) -> AttentionShown:
        self._last = model, crop
        self.asked.append((model, vertex, joint))
        return AttentionShown(np.array([0.0, 1.0, 4.0]), JOINTS if vertex is not None else None)


@pytest.fixture
def made() -> list[FakeAttention]:
    return []


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    sources = {"picture": FakeSource(1, names=True, nominal_fps=1.0)}
    return Controller(
        FakePipeline,
        SettingsStore(),
        opener=sources.__getitem__,
        lister=lambda: [],
        fallback_clip=tmp_path / "none.mp4",
        config=PipelineConfig(tmp_path),
    )


@pytest.fixture
def window(
    qtbot: QtBot, controller: Controller, made: list[FakeAttention], monkeypatch: pytest.MonkeyPatch
) -> Iterator[MainWindow]:
    def make(model_dir: Path) -> FakeAttention:
        made.append(FakeAttention(model_dir))
        return made[-1]

    monkeypatch.setattr(attention, "PAUSE_S", 0.0)
    monkeypatch.setattr(main_window, "PointInspector", lambda *parts: PointInspector(*parts, maker=make))
    window = MainWindow(controller, TRIANGLE)
    yield window
    window.close()
    window.deleteLater()


def inspector_of(window: MainWindow) -> PointInspector:
    (found,) = (feature for feature in window.features if isinstance(feature, PointInspector))
    return found


def show(window: MainWindow, *hands: HandMesh, model: ModelId = "final", number: int = 0) -> None:
    crops = tuple(replace(CROP) for _ in hands)
    result = FrameResult(frame(number), model, hands=hands, crops=crops)
    window._controller.answered.emit(Answer(0, result, 0.0, 0.0, 0, ""))


def certain_hand(**changes: object) -> HandMesh:
    covariances = np.tile(np.diag([1.0, 4.0, 9.0]), (21, 1, 1))
    spread = {"keypoint_covariance_mm2": covariances, "vertex_covariance_mm2": covariances[:3]}
    return replace(hand(), **{**spread, **changes})  # type: ignore[arg-type]


def shown_row(inspector: PointInspector, name: str) -> list[str]:
    return [label.text() for label in inspector.panel.values[name]]


def test_a_picked_point_shows_its_numbers_and_follows_the_stream(qtbot: QtBot, window: MainWindow) -> None:
    inspector = inspector_of(window)
    assert inspector.panel.name.text() == CLICK
    show(window, certain_hand())
    inspector.pick(Pick(0, vertex=2))
    assert inspector.panel.name.text() == "Vertex 2"
    assert shown_row(inspector, "wrist") == ["0.0", "-50.0", "0.0"]
    assert shown_row(inspector, "camera") == ["0.0", "-50.0", "500.0"]
    assert shown_row(inspector, "axes") == ["1.0", "2.0", "3.0"]
    assert shown_row(inspector, "principal") == ["3.0", "2.0", "1.0"]
    assert inspector.panel.std.text() == "± 6.0 mm"
    assert "geometry only" in inspector.panel.visible.text()
    assert window.viewport._highlight is not None
    assert window.viewport._highlight.pick == Pick(0, vertex=2)
    moved = certain_hand(vertices_m=hand().vertices_m + 0.01, vertex_std_mm=np.array([2.0, 4.0, 7.5]))
    show(window, hand(track_id=2), replace(moved, handedness="left"), number=1)
    qtbot.waitUntil(lambda: shown_row(inspector, "wrist") == ["10.0", "-40.0", "10.0"])
    assert inspector.panel.std.text() == "± 7.5 mm"
    assert window.viewport._highlight.pick == Pick(1, vertex=2)


def test_a_point_is_followed_by_its_hands_number_and_on_another_mesh_to_the_nearest_vertex() -> None:
    reordered = replace(hand(), hand_model="another", vertices_m=hand().vertices_m[[2, 0, 1]] + 0.001)
    assert PickedHand(hand(), 2, None).find([hand(track_id=3), hand()]) == Pick(1, vertex=2)
    picked = PickedHand(hand(), 2, None)
    assert picked.find([reordered]) == Pick(0, vertex=0)
    assert picked.find([hand()]) == Pick(0, vertex=2), "and back"
    assert PickedHand(hand(), None, 8).find([reordered]) == Pick(0, joint=8)


def test_a_reading_says_that_there_is_no_uncertainty_or_one_for_all_vertices(qtbot: QtBot, window: MainWindow) -> None:
    inspector = inspector_of(window)
    show(window, replace(hand(), vertex_std_mm=None, keypoint_std_mm=None, model="mediapipe"))
    inspector.pick(Pick(0, vertex=2))
    assert inspector.panel.std.text() == "none: MediaPipe predicts none"
    show(window, replace(hand(), vertex_std_mm=np.full(3, 14.9)), number=1)
    qtbot.waitUntil(lambda: inspector.panel.std.text() == "± 14.9 mm, one for all vertices")


def test_no_reading_is_wider_than_the_panel_usually_needs(qtbot: QtBot, window: MainWindow) -> None:
    inspector = inspector_of(window)
    table = inspector.panel.std.parentWidget()
    assert table is not None
    show(window, hand())
    inspector.pick(Pick(0, vertex=2))
    usual_px = table.minimumSizeHint().width()
    show(window, replace(hand(), vertex_std_mm=None, keypoint_std_mm=None, model="mediapipe"), number=1)
    qtbot.waitUntil(lambda: inspector.panel.std.text() == "none: MediaPipe predicts none")
    assert table.minimumSizeHint().width() <= usual_px
    show(window, replace(hand(), vertex_std_mm=np.full(3, 14.9)), number=2)
    qtbot.waitUntil(lambda: inspector.panel.std.text() == "± 14.9 mm, one for all vertices")
    assert table.minimumSizeHint().width() <= usual_px


def test_compared_models_show_the_same_point(window: MainWindow) -> None:
    inspector = inspector_of(window)
    show(window, hand())
    inspector.pick(Pick(0, vertex=2))
    assert inspector.panel.networks.isHidden()
    moved_m = hand().vertices_m + np.array([0.003, 0, 0.004])
    other = replace(hand("prior"), vertices_m=moved_m, vertex_std_mm=np.array([1, 2, 9.5]))
    others = {"prior": (other,), "amvur": ()}
    result = FrameResult(frame(1), "final", hands=(hand(),), others=others)  # type: ignore[arg-type]
    window._controller.answered.emit(Answer(0, result, 0.0, 0.0, 0, ""))
    inspector.pick(Pick(0, vertex=2))
    assert inspector.panel.networks.text() == "Prior-net: ± 9.5 mm, distance 5.0 mm"
    inspector.pick(Pick(0, joint=3))
    assert inspector.panel.networks.text() == "Prior-net: ± 1.0 mm, distance 0.0 mm"
    inspector.deselect()
    assert inspector.panel.networks.isHidden()


def test_a_joint_has_a_name_and_texture_says_what_is_visible(window: MainWindow) -> None:
    inspector = inspector_of(window)
    show(window, hand(textured=True))
    inspector.pick(Pick(0, joint=8))
    assert inspector.panel.name.text() == "Index tip"
    assert inspector.panel.visible.text() == "0%, so far 0%"
    assert shown_row(inspector, "axes") == ["–"] * 3
    assert "Picked: Index tip" in window.message.text()


def test_a_hand_that_leaves_comes_back_and_escape_deselects(qtbot: QtBot, window: MainWindow) -> None:
    inspector = inspector_of(window)
    show(window, hand())
    inspector.pick(Pick(0, vertex=1))
    show(window, number=1)
    assert inspector.panel.name.text() == ABSENT
    assert window.viewport._highlight is None
    far = shifted(hand(), 30, 30)
    show(window, far, number=2)
    qtbot.waitUntil(lambda: inspector.panel.name.text() == "Vertex 1")
    press(qtbot, window, "Esc")
    assert inspector.panel.name.text() == CLICK
    assert window.viewport._highlight is None
    show(window, hand(), number=3)
    assert inspector.panel.name.text() == CLICK
    inspector.pick(Pick(0, vertex=1))
    window._controller.source_changing.emit("another")
    assert inspector.panel.name.text() == CLICK


def test_a_click_beside_the_hands_says_so_and_keeps_the_point(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector = inspector_of(window)
    show(window, hand())
    found: list[Pick | None] = [Pick(0, vertex=1), None]
    monkeypatch.setattr(window.viewport, "pick_at", lambda _: found.pop(0))
    window.viewport.clicked.emit(QPointF(5, 5))
    window.viewport.clicked.emit(QPointF(6, 5))
    assert window.message.text() == NO_HAND
    assert inspector.panel.name.text() == "Vertex 1"


def test_attention_is_asked_for_when_wanted_and_never_before(
    qtbot: QtBot, window: MainWindow, made: list[FakeAttention]
) -> None:
    inspector = inspector_of(window)
    press(qtbot, window, "A")
    assert "Click on a hand" in window.message.text()
    press(qtbot, window, "A")
    show(window, hand())
    inspector.pick(Pick(0, vertex=2))
    assert not inspector._worker.isRunning()
    with qtbot.waitSignal(inspector._worker.answered):
        press(qtbot, window, "A")
    assert made[0].model_dir == window._controller.config.model_dir
    assert made[0].asked == [("final", 2, None)]
    lines = inspector.panel.attention_text.text().splitlines()
    assert [line.split() for line in lines[:2]] == [["60%", "Index", "DIP"], ["40%", "Thumb", "IP"]]
    assert any("not causes" in line for line in lines)
    assert lines[-1].endswith("ms per run")
    assert window.viewport._highlight is not None
    assert window.viewport._highlight.attention is not None
    with qtbot.waitSignal(inspector._worker.answered):
        inspector.pick(Pick(0, joint=4))
    assert made[0].asked[-1] == ("final", None, 4)
    assert "this joint" in inspector.panel.attention_text.text()
    press(qtbot, window, "A")
    assert inspector.panel.attention_text.text() == ""
    assert window.viewport._highlight.attention is None
    asked = len(made[0].asked)
    show(window, hand(), number=5)
    assert len(made[0].asked) == asked


def test_networks_without_attention_and_failures_are_messages(
    qtbot: QtBot, window: MainWindow, made: list[FakeAttention], caplog: pytest.LogCaptureFixture
) -> None:
    inspector = inspector_of(window)
    window._controller.change(attention=True)
    for model, message in (("prior", "prior-net has no"), ("amvur", "could not be read (broken)"), ("final", "60%")):
        show(window, hand(), model=model)  # type: ignore[arg-type]
        inspector.pick(Pick(0, vertex=0))
        qtbot.waitUntil(lambda expected=message: expected in inspector.panel.attention_text.text())
    bare = FrameResult(frame(9), "final", hands=(hand(),))
    window._controller.answered.emit(Answer(0, bare, 0.0, 0.0, 0, ""))
    assert "no crop" in inspector.panel.attention_text.text()


def test_another_network_begins_without_the_last_ones_attention(qtbot: QtBot, window: MainWindow) -> None:
    inspector = inspector_of(window)
    window._controller.change(attention=True)
    show(window, hand())
    with qtbot.waitSignal(inspector._worker.answered):
        inspector.pick(Pick(0, vertex=0))
    assert inspector._attention is not None
    show(window, hand(), model="prior", number=1)
    assert inspector._attention is None
    assert inspector.panel.attention_text.text() == ""
    qtbot.waitUntil(lambda: "prior-net" in inspector.panel.attention_text.text())


def test_answers_for_a_deselected_point_are_dropped(qtbot: QtBot, window: MainWindow) -> None:
    inspector, answered = inspector_of(window), []
    inspector._worker.answered.connect(lambda request, _: answered.append(request.joint))
    window._controller.change(attention=True)
    show(window, hand())
    inspector.pick(Pick(0, vertex=0))
    inspector.deselect()
    assert window.viewport._highlight is None
    inspector.pick(Pick(0, joint=4))
    qtbot.waitUntil(lambda: bool(answered))
    assert answered == [4]


def test_keys_and_panel_choose_the_mode_of_uncertain_regions(qtbot: QtBot, window: MainWindow) -> None:
    panel, settings = inspector_of(window).panel, window._controller
    for mode in ("fade", "hide", "show"):
        press(qtbot, window, "H")
        assert settings.settings.draw.uncertain == window.viewport.options.uncertain == mode
        assert panel.choice("uncertain", mode).isChecked()
        assert panel.threshold.isVisibleTo(panel.uncertainty_group) == (mode != "show")
    panel.choice("uncertain", "hide").click()
    panel.threshold.setValue(15)
    assert (window.viewport.options.uncertain, window.viewport.options.uncertain_above_mm) == ("hide", 7.5)
    assert panel.threshold_text.text() == "7.5 mm"


def test_keys_and_panel_choose_the_ellipses(qtbot: QtBot, window: MainWindow) -> None:
    panel = inspector_of(window).panel
    small = panel.choice("ellipse_sigmas", 1.0)
    assert not small.isVisibleTo(panel.uncertainty_group)
    press(qtbot, window, "E")
    assert window.viewport.options.ellipses
    assert panel.ellipses.isChecked()
    assert small.isVisibleTo(panel.uncertainty_group)
    small.click()
    assert window.viewport.options.ellipse_sigmas == 1.0
    panel.ellipses.click()
    assert not window.viewport.options.ellipses


def test_the_key_and_the_panel_choose_plausible_hands(qtbot: QtBot, window: MainWindow) -> None:
    panel = inspector_of(window).panel
    for samples in ("ghosts", "animation", "none"):
        press(qtbot, window, "G")
        assert window.viewport.options.samples == samples
        assert panel.choice("samples", samples).isChecked()
    panel.choice("samples", "ghosts").click()
    assert window.viewport.options.samples == "ghosts"
    window._controller.undo()
    assert window.viewport.options.samples == "none"
    window._controller.change(samples="animation")
    assert SettingsStore().load().draw.samples == "animation"


def uncertain_hand() -> HandMesh:
    shape = ShapePosterior(1e-4 * np.eye(63), 1e-4 * np.eye(63), np.eye(3, 21), 98.0, 98)
    return replace(hand(), shape=shape)


@pytest.mark.display
def test_the_animation_follows_the_clock_while_it_is_seen(qtbot: QtBot, shown: MainWindow) -> None:
    viewport, now_s = shown.viewport, 0.0
    viewport.clock = lambda: now_s
    shown._controller.change(samples="animation")
    still = viewport.grabFramebuffer()
    now_s = 1.0
    assert viewport.grabFramebuffer() == still, "nothing moves without a posterior"
    assert not viewport._animation.isActive()
    # The source has ended: only the clock goes on.
    show(shown, uncertain_hand())
    first = viewport.grabFramebuffer()
    assert viewport._animation.isActive()
    assert viewport.grabFramebuffer() == first
    now_s = 2.0
    assert viewport.grabFramebuffer() != first
    for _ in range(3):
        with qtbot.waitSignal(viewport.painted):
            pass
    shown.hide()
    qtbot.waitUntil(lambda: not viewport._animation.isActive())
    with qtbot.waitSignal(viewport.painted):
        shown.show()
    assert viewport._animation.isActive()
    press(qtbot, shown, "G")
    qtbot.waitUntil(lambda: not viewport._animation.isActive())
    assert viewport.grabFramebuffer() == viewport.grabFramebuffer()
    assert not viewport._animation.isActive()


def test_the_choices_are_saved(window: MainWindow) -> None:
    window._controller.change(uncertain="fade", uncertain_above_mm=12.5, ellipses=True, ellipse_sigmas=1.0)
    loaded = SettingsStore().load().draw
    assert (loaded.uncertain, loaded.uncertain_above_mm, loaded.ellipses, loaded.ellipse_sigmas) == (
        "fade",
        12.5,
        True,
        1.0,
    )


@pytest.fixture
def shown(qtbot: QtBot, window: MainWindow) -> MainWindow:
    """Show the window with its hand of three vertices."""
    with qtbot.waitExposed(window):
        window.show()
    with qtbot.waitSignal(window.result_painted):
        window._controller.start("picture")
    return window


def position_of(window: MainWindow, x_px: float, y_px: float) -> QPoint:
    """Return the position of a pixel of the 64 x 48 image in the viewport."""
    width, height = window.viewport.width(), window.viewport.height()
    scale = min(width / 64, height / 48)
    return QPoint(round(width / 2 + scale * (x_px - 32)), round(height / 2 + scale * (y_px - 24)))


@pytest.mark.display
def test_a_click_picks_and_a_drag_does_not(qtbot: QtBot, shown: MainWindow) -> None:
    inspector, left = inspector_of(shown), Qt.MouseButton.LeftButton
    qtbot.mousePress(shown.viewport, left, pos=position_of(shown, 32, 12))
    qtbot.mouseMove(shown.viewport, position_of(shown, 40, 12))
    qtbot.mouseRelease(shown.viewport, left, pos=position_of(shown, 40, 12))
    assert inspector.panel.name.text() == CLICK
    qtbot.mouseClick(shown.viewport, Qt.MouseButton.RightButton, pos=position_of(shown, 32, 12))
    assert inspector.panel.name.text() == CLICK
    for (x_px, y_px), name in (((32, 12), "Vertex 2"), ((20, 38), "Vertex 0"), ((44, 38), "Vertex 1")):
        qtbot.mouseClick(shown.viewport, left, pos=position_of(shown, x_px, y_px))
        assert inspector.panel.name.text() == name
    shown._controller.change(mirror=True)
    QApplication.processEvents()
    shown.viewport.grabFramebuffer()
    qtbot.mouseClick(shown.viewport, left, pos=position_of(shown, 20, 38))
    assert inspector.panel.name.text() == "Vertex 1"
    shown._controller.change(mirror=False, skeleton=True)
    shown.viewport.grabFramebuffer()
    qtbot.mouseClick(shown.viewport, left, pos=position_of(shown, 32, 24) + QPoint(4, 4))
    assert inspector.panel.name.text() in {"Wrist", "Thumb CMC"}


@pytest.mark.display
def test_the_mark_is_painted_and_goes(qtbot: QtBot, shown: MainWindow) -> None:
    before = shown.viewport.grabFramebuffer()
    position = position_of(shown, 32, 12)
    qtbot.mouseClick(shown.viewport, Qt.MouseButton.LeftButton, pos=position)
    corner = position_of(shown, 32, 9)
    marked = shown.viewport.grabFramebuffer()
    assert marked.pixelColor(corner).red() > 200
    assert marked.pixelColor(corner).green() < 80
    press(qtbot, shown, "Esc")
    assert shown.viewport.grabFramebuffer() == before
    press(qtbot, shown, "H")
    press(qtbot, shown, "H")
    shown._controller.change(uncertain_above_mm=0.5)
    hidden = shown.viewport.grabFramebuffer().pixelColor(shown.viewport.width() // 2, shown.viewport.height() // 2)
    assert hidden.getRgb()[:3] == (100, 100, 100), "the image's grey"


def test_the_groups_stand_between_view_and_smoothing(window: MainWindow) -> None:
    titles = [group.title for group in window.view_panel.groups]
    index = titles.index("Picked point")
    assert titles[index - 1 : index + 3] == ["View", "Picked point", "Uncertainty", "Smoothing"]
    column = window.view_panel.widget().layout()  # type: ignore[union-attr]
    assert column is not None
    shown = [column.itemAt(row).widget() for row in range(len(titles))]  # type: ignore[union-attr]
    assert shown == window.view_panel.groups


@pytest.mark.display
def test_the_picked_point_comes_into_sight_in_a_low_window(qtbot: QtBot, shown: MainWindow) -> None:
    inspector, panel = inspector_of(shown), shown.view_panel
    shown.resize(900, 100)
    show(shown, certain_hand())
    inspector.pick(Pick(0, vertex=1))

    def is_in_sight() -> bool:
        group, view = inspector.panel.point_group, panel.viewport()
        assert view is not None
        top = group.mapTo(view, QPoint(0, 0)).y()
        return top >= 0 and top + group.height() <= view.height()

    qtbot.waitUntil(is_in_sight)
    bar = panel.verticalScrollBar()
    assert bar is not None
    bar.setValue(0 if bar.value() > 100 else bar.maximum())
    assert not is_in_sight()
    inspector.pick(Pick(0, vertex=2))
    qtbot.waitUntil(is_in_sight)


def test_the_stream_has_the_processor_for_itself_most_of_the_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reader = AttentionReader(tmp_path, FakeAttention)
    clock = iter((10.0, 10.1, 11.0, 12.0))
    monkeypatch.setattr(attention.time, "perf_counter", lambda: next(clock))
    request = AttentionRequest(CROP, "final", 0, None)
    assert rest_after(reader.read(request)) == pytest.approx(0.4)
    assert rest_after(reader.read(request)) == 0.0, "the last run of the network gave the answer"


def test_answers_that_come_after_the_window_has_closed_begin_nothing(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector, started = inspector_of(window), []
    show(window, hand())
    inspector.pick(Pick(0, vertex=2))
    window._controller.change(attention=True)
    window.close()
    monkeypatch.setattr(inspector._worker, "start", lambda *_: started.append(True))
    show(window, hand(), number=1)
    assert started == []
    late = Answer(window._controller._generation - 1, FrameResult(frame(2), "final"), 0.0, 0.0, 0, "")
    window._controller._on_answered(late)
    assert inspector._result is not late.result


def test_a_picked_point_says_how_much_came_from_the_landmarks(window: MainWindow) -> None:
    inspector = inspector_of(window)
    shape = ShapePosterior(0.25 * np.eye(63), np.eye(63), np.ones((3, 21)) / 21, 98.0, 98)
    show(window, certain_hand(shape=shape))
    inspector.pick(Pick(0, vertex=2))
    assert inspector.panel.std.text().endswith("75% by landmarks")


def test_a_hand_that_landmarks_contradict_is_flagged() -> None:
    calm, contradicted = (ShapePosterior(np.eye(63), np.eye(63), np.ones((3, 21)), far, 98) for far in (98.0, 190.0))
    assert CONTRADICTION in uncertainty_text(certain_hand(shape=contradicted))
    assert CONTRADICTION not in uncertainty_text(certain_hand(shape=calm))
    assert CONTRADICTION not in uncertainty_text(certain_hand())
