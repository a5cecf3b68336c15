"""Comparison of models and difference maps, through the real window."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gui_fakes import TRIANGLE, FakePipeline, FakeSource, press_key
from PyQt6.QtCore import QPoint, QPointF, Qt
from PyQt6.QtGui import QImage
from PyQt6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from handviz.core.records import Frame, FrameResult, HandMesh, ModelId
from handviz.gui.inspector.compare import Compare
from handviz.gui.main_window import SCREENSHOT_FOLDER, MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import SettingsStore, ViewSettings, changed, shown_colour, wanted_of_pipeline
from handviz.gui.widgets import choices
from handviz.models.registry import list_models, model_ids
from handviz.rendering.options import DEFAULT_COMPARED, Difference
from handviz.rendering.panes import PanePoint

SIZES: dict[ModelId, float] = {"prior": 0.5, "amvur": 0.75, "final": 1.0}


def sized(hand: HandMesh, size: float) -> HandMesh:
    """Return the hand scaled by ``size``; smaller hands are more uncertain."""
    return replace(
        hand,
        vertices_m=hand.vertices_m * size,
        vertex_std_mm=np.full(3, 12.0 * (1 - size) + 1),
    )


class SizedPipeline(FakePipeline):
    """Pipeline whose models answer with hands of different sizes; AMVUR can be missing."""

    misses_amvur = False

    def process(self, frame: Frame) -> FrameResult:
        """Return the results of FakePipeline, scaled for each model."""
        result = super().process(frame)
        hands = {
            model: tuple(sized(hand, SIZES[model]) for hand in result.of_model(model).hands)
            for model in DEFAULT_COMPARED
        }
        others = {model: hands[model] for model in result.others}
        errors = {}
        if self.misses_amvur and "amvur" in others:
            del others["amvur"]
            errors = {"amvur": "handviz_amvur.onnx is missing"}
        return replace(result, hands=hands[result.model], others=others, other_errors=errors)


@pytest.fixture
def camera() -> FakeSource:
    return FakeSource(1, names=True, nominal_fps=1.0)


@pytest.fixture
def window(qtbot: QtBot, camera: FakeSource, tmp_path: Path) -> Iterator[MainWindow]:
    """Make a window, not shown, that opens "image" as one image."""
    controller = Controller(
        SizedPipeline,
        SettingsStore(),
        opener=lambda _: camera,
        lister=lambda: [],
        fallback_clip=tmp_path / "none.mp4",
    )
    made = MainWindow(controller, TRIANGLE)
    yield made
    made.close()
    made.deleteLater()


@pytest.fixture
def shown(qtbot: QtBot, window: MainWindow) -> MainWindow:
    """Show the window with an image and its hand."""
    window.resize(1300, 780)
    with qtbot.waitExposed(window):
        window.show()
    window._controller.change(opacity=1.0, colour="plain")
    with qtbot.waitSignal(window.result_painted):
        window._controller.start("picture")
    return window


def control(window: MainWindow):
    """Return the feature behind the group."""
    return next(feature for feature in window.features if type(feature).__name__ == "Compare")


def test_keys_and_boxes_switch_compare_and_distances(window: MainWindow) -> None:
    controls = control(window)
    press_key(window, "C")
    assert window._controller.settings.draw.compare
    assert controls.compare.isChecked()
    assert not controls.first.isVisibleTo(window.view_panel)
    press_key(window, "D")
    assert window.view_panel.choice("shown_colour", "difference").isChecked()
    assert controls.first.isVisibleTo(window.view_panel)
    controls.first.setCurrentIndex(controls.first.findData("amvur"))
    controls.aligned.click()
    assert window.viewport.options.shown_difference == Difference("amvur", "final", aligned=True)
    controls.compare.click()
    press_key(window, "D")
    assert window._controller.settings == changed(
        ViewSettings(), difference_pair=("amvur", "final"), difference_aligned=True
    )
    assert window.viewport.options.shown_difference is None


def test_the_colours_show_one_thing(window: MainWindow) -> None:
    """Distances and attention are entries of Colour, which V, T, P, D and A choose from."""
    panel, settings = window.view_panel, lambda: window._controller.settings
    for key, shown in (
        ("D", "difference"), ("V", "uncertainty"), ("D", "difference"), ("A", "attention"), ("T", "texture"),
        ("A", "attention"), ("D", "difference"), ("P", "plain"), ("A", "attention"), ("A", "plain"),
        ("D", "difference"),
    ):  # fmt: skip
        press_key(window, key)
        assert shown_colour(settings()) == shown
        assert panel.choice("shown_colour", shown).isChecked()
        assert window.viewport.options.difference == (shown == "difference")
    panel.choice("shown_colour", "uncertainty").click()
    assert window.viewport.options.colour == "uncertainty"
    assert not window.viewport.options.difference
    window._controller.undo()
    assert shown_colour(settings()) == "difference", "one step"
    window._controller.change(colour="plain")
    window._controller.change(shown_colour="attention", relight=True)
    assert (window.viewport.options.colour, window.viewport.options.light_can_move) == ("plain", False)


def test_the_colour_of_the_command_line_is_shown_whatever_was_saved() -> None:
    SettingsStore().save(changed(ViewSettings(), difference=True))
    controller = Controller(SizedPipeline, SettingsStore(), lister=list, for_this_run={"colour": "texture"})
    assert shown_colour(controller.settings) == "texture"


@pytest.mark.parametrize("pair", list(itertools.permutations(model_ids(), 2)))
def test_every_pair_is_offered_and_saved(window: MainWindow, pair: tuple[ModelId, ModelId]) -> None:
    controls = control(window)
    window._controller.change(difference=True, difference_pair=pair, compare=True)
    assert (controls.first.currentData(), controls.second.currentData()) == pair
    found = SettingsStore().load()
    assert (found.draw.difference_pair, found.draw.difference, found.draw.compare) == (pair, True, True)
    assert found.draw.shown_difference == Difference(*pair)


def test_a_model_has_no_difference_from_itself(window: MainWindow) -> None:
    controls = control(window)
    window._controller.change(difference=True, difference_pair=("prior", "final"))
    controls.first.setCurrentIndex(controls.first.findData("final"))
    assert window._controller.settings.draw.difference_pair == ("final", "prior")


@pytest.fixture
def five_models(monkeypatch: pytest.MonkeyPatch) -> tuple[ModelId, ...]:
    """Return the ids of five models: three of handviz and two more."""
    more = tuple(replace(list_models()[0], id=name, label=name) for name in ("fourth", "fifth"))
    monkeypatch.setattr(choices, "list_models", lambda: (*list_models()[:3], *more))
    return ("prior", "amvur", "final", "fourth", "fifth")


def test_two_to_four_models_have_panes(five_models: tuple[ModelId, ...], window: MainWindow) -> None:
    controller, boxes = window._controller, control(window).compared
    assert tuple(boxes) == five_models
    assert not boxes["prior"].isVisibleTo(window.view_panel)
    press_key(window, "C")
    assert boxes["prior"].isVisibleTo(window.view_panel)
    boxes["fourth"].click()
    assert window.viewport.options.compared == five_models[:4]
    boxes["fifth"].click()
    assert window.viewport.options.compared == five_models[:4]
    assert not boxes["fifth"].isChecked()
    assert "clear one" in window.message.text()
    for model in ("prior", "amvur", "final"):
        boxes[model].click()
    assert controller.settings.draw.compared == ("final", "fourth")
    assert boxes["final"].isChecked()
    assert "select another" in window.message.text()
    assert wanted_of_pipeline(controller.settings).others == ("final", "fourth")


def test_an_active_model_without_a_pane_is_named_beside_the_chosen_ones(window: MainWindow) -> None:
    note, controller = control(window).without_pane, window._controller
    controller.change(model="final", compared=("prior", "amvur"))
    assert not note.isVisibleTo(window.view_panel), "nothing is compared"
    press_key(window, "C")
    assert note.isVisibleTo(window.view_panel)
    assert note.text().startswith("Final is active but has no pane")
    press_key(window, "1")
    assert not note.isVisibleTo(window.view_panel)


def test_a_click_beside_the_hand_of_a_pane_says_which_model_is_active(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls, viewport = control(window), window.viewport
    press_key(window, "C")
    monkeypatch.setattr(controls, "_others", frozenset({"amvur"}))
    monkeypatch.setattr(viewport, "pane_at", lambda _: PanePoint("amvur", (1.0, 1.0), (9, 9)))
    viewport.clicked.emit(QPointF(1.0, 1.0))
    assert window._controller.settings.pipeline.model == "amvur"
    assert window.message.text() == "AMVUR is the active model now."


def test_a_long_label_of_a_model_is_shortened_and_its_hint_has_it_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    label = "A model of others whose name\nhas no end in sight"
    monkeypatch.setattr(choices, "list_models", lambda: (replace(list_models()[0], label=label),))
    (choice,) = choices.choices_of("model")
    assert len(choice.label) == choices.MAX_LABEL_CHARACTERS
    assert choice.label.endswith("…")
    assert choice.hint.startswith(label)


def test_a_paused_image_is_reconstructed_again_for_the_others(qtbot: QtBot, window: MainWindow) -> None:
    answers: list[FrameResult] = []
    window._controller.answered.connect(lambda answer: answers.append(answer.result))
    with qtbot.waitSignal(window._controller.answered):
        window._controller.start("picture")
    assert not answers[-1].is_compared
    for key, compared in (("C", True), ("C", False), ("D", True)):
        with qtbot.waitSignal(window._controller.answered):
            press_key(window, key)
        assert answers[-1].is_compared == compared
        assert answers[-1].frame is answers[0].frame or answers[-1].frame.number == answers[0].frame.number


def test_the_page_for_folders_shows_its_one_model(window: MainWindow) -> None:
    window._controller.change(compare=True, difference=True)
    for view in (window.inspection.page.detail.large, window.inspection.page.detail.small):
        assert not view.options.compare
        assert not view.options.difference


def rows_of_hands(window: MainWindow, above: int = 130) -> list[int]:
    """Return for each pane the largest number of pixels in a row that are lighter than ``above``: the hand."""
    return [int((pixels > above).all(axis=2).sum(axis=1).max()) for pixels in pane_pixels(window)]


def pane_pixels(window: MainWindow) -> list[np.ndarray]:
    """Return (H, W, 3) of the centre of every pane, without label and legend."""
    viewport = window.viewport
    image = rgb(viewport.grabFramebuffer())
    panes = viewport._scene.panes(image.shape[1::-1], viewport.options, viewport.devicePixelRatioF())
    found = []
    for pane in panes:
        middle = image[pane.top_px : pane.top_px + pane.height_px, pane.left_px : pane.left_px + pane.width_px]
        rows, columns = pane.height_px // 5, pane.width_px // (3 if pane.width_px > pane.height_px else 6)
        found.append(middle[rows:-rows, columns:-columns])
    return found


def rgb(image: QImage) -> np.ndarray:
    """Convert an image to (H, W, 3)."""
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    bits = image.constBits()
    assert bits is not None
    bits.setsize(image.sizeInBytes())
    pixels = np.frombuffer(bits, np.uint8).reshape(image.height(), image.bytesPerLine())
    return pixels[:, : image.width() * 3].reshape(image.height(), image.width(), 3).astype(int)


@pytest.mark.display
def test_three_panes_show_three_hands_and_rotate_together(qtbot: QtBot, shown: MainWindow) -> None:
    assert len(rows_of_hands(shown)) == 1
    shown._controller.change(guides=False)
    with qtbot.waitSignal(shown.result_painted):
        press_key(shown, "C")
    press_key(shown, "O")
    small, middle, large = rows_of_hands(shown, above=40)
    assert (small / large, middle / large) == pytest.approx((0.5, 0.75), abs=0.06)
    viewport = shown.viewport
    pane = viewport.pane_at(QPointF(viewport.width() / 2, viewport.height() / 2))
    assert pane is not None
    assert pane.model == "amvur"
    qtbot.mousePress(viewport, Qt.MouseButton.LeftButton, pos=QPoint(100, 100))
    qtbot.mouseMove(viewport, QPoint(220, 100))
    qtbot.waitUntil(lambda: viewport._orbit.yaw_rad != 0)
    qtbot.mouseRelease(viewport, Qt.MouseButton.LeftButton, pos=QPoint(220, 100))
    rotated = rows_of_hands(shown, above=40)
    np.testing.assert_allclose(np.divide(rotated, (small, middle, large)), np.cos(120 * 0.008), atol=0.12)


@pytest.mark.display
def test_one_scale_colours_all_panes(qtbot: QtBot, shown: MainWindow) -> None:
    shown._controller.change(colour="uncertainty", range_is_automatic=True)
    with qtbot.waitSignal(shown.result_painted):
        press_key(shown, "C")
    assert shown.viewport.range_mm() == (1.0, 7.0)
    colours = [pixels[pixels.shape[0] // 2, pixels.shape[1] // 2] for pixels in pane_pixels(shown)]
    uncertain, between, certain = colours
    assert uncertain[0] > 2 * uncertain[2], "yellow"
    assert between[1] > between[0] + 40, "green"
    assert certain[2] > certain[1] + 20, "violet"


@pytest.mark.display
def test_distances_appear_and_a_screenshot_has_all_panes(qtbot: QtBot, shown: MainWindow, tmp_path: Path) -> None:
    shown._controller.store.save_text(SCREENSHOT_FOLDER, str(tmp_path))
    shown._controller.change(range_is_automatic=True)
    with qtbot.waitSignal(shown.result_painted):
        press_key(shown, "D")
    (single,) = pane_pixels(shown)
    assert (single[..., 0] - single[..., 1]).max() > 60, "orange to plum"
    press_key(shown, "C")
    prior, amvur, final = pane_pixels(shown)
    reddest = [(pixels[..., 0] - pixels[..., 1]).max() for pixels in (prior, amvur, final)]
    assert min(reddest[0], reddest[2]) > 100
    assert reddest[1] < 40, "AMVUR is not one of the two"
    press_key(shown, "Ctrl+S")
    (saved,) = tmp_path.glob("handviz_*.png")
    difference = rgb(QImage(str(saved))) - rgb(shown.viewport.grabFramebuffer())
    assert (np.abs(difference) > 2).any(axis=2).mean() < 0.005, "only edges, which are smooth in the file"


@pytest.mark.display
def test_a_missing_network_is_reported_in_its_pane_alone(
    qtbot: QtBot, shown: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown._controller.change(compare_crop=False)
    monkeypatch.setattr(SizedPipeline, "misses_amvur", True)
    with qtbot.waitSignal(shown.result_painted):
        press_key(shown, "C")
    small, none, large = rows_of_hands(shown)
    assert none == 0
    assert 0 < small < large
    assert shown.banner.isHidden()


@pytest.mark.display
def test_small_windows_and_new_contexts_keep_the_panes(qtbot: QtBot, shown: MainWindow) -> None:
    with qtbot.waitSignal(shown.result_painted):
        press_key(shown, "C")
    for size in ((700, 500), (1500, 420), (1300, 780)):
        shown.resize(*size)
        QApplication.processEvents()
        small, middle, large = rows_of_hands(shown)
        assert 0 < small < middle < large
    central = shown.takeCentralWidget()
    shown.setCentralWidget(central)
    QApplication.processEvents()
    assert len(rows_of_hands(shown)) == 3
    for _ in range(3):
        press_key(shown, "C")
    assert len(rows_of_hands(shown)) == 1


@pytest.mark.display
def test_a_click_chooses_the_model_of_its_pane(qtbot: QtBot, shown: MainWindow) -> None:
    with qtbot.waitSignal(shown.result_painted):
        press_key(shown, "C")
    viewport = shown.viewport
    middle = QPoint(viewport.width() // 2, viewport.height() // 2)
    with qtbot.waitSignal(shown.result_painted) as painted:
        qtbot.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=middle)
    assert painted.args[0].model == "amvur"
    assert shown.view_panel.choice("model", "amvur").isChecked()
    small, between, large = rows_of_hands(shown)
    assert small < between < large, "the panes stay where they are"


@pytest.mark.display
def test_a_click_on_a_missing_model_chooses_nothing(
    qtbot: QtBot, shown: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SizedPipeline, "misses_amvur", True)
    with qtbot.waitSignal(shown.result_painted):
        press_key(shown, "C")
    viewport = shown.viewport
    qtbot.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=QPoint(viewport.width() // 2, viewport.height() // 2))
    assert shown._controller.settings.pipeline.model == "final"


def hands_of(shown: MainWindow, model: str) -> np.ndarray:
    """Return the view with one model alone in the only pane."""
    shown._controller.change(compare_mode="blink", compared=(model, "final" if model != "final" else "prior"))
    shown.viewport.clock = lambda: 0.0
    return rgb(shown.viewport.grabFramebuffer())


@pytest.mark.display
def test_a_wipe_shows_two_models_on_both_sides_of_a_line_to_drag(qtbot: QtBot, shown: MainWindow) -> None:
    shown._controller.change(labels=False)
    with qtbot.waitSignal(shown.result_painted):
        press_key(shown, "C")
    viewport = shown.viewport
    alone = {model: hands_of(shown, model) for model in ("prior", "final")}
    shown._controller.change(compared=("prior", "final"), compare_mode="wipe")
    both = rgb(viewport.grabFramebuffer())
    height, width = both.shape[:2]
    middle = slice(height // 3, 2 * height // 3)
    np.testing.assert_array_equal(both[middle, : width // 2 - 4], alone["prior"][middle, : width // 2 - 4])
    np.testing.assert_array_equal(both[middle, width // 2 + 4 : -150], alone["final"][middle, width // 2 + 4 : -150])
    assert both[height // 2, width // 2].min() > 200, "the line"
    for x, model in ((0.25, "prior"), (0.75, "final")):
        pane = viewport.pane_at(QPointF(x * viewport.width(), viewport.height() / 2))
        assert pane is not None
        assert pane.model == model
    start, end = (QPoint(round(x * viewport.width()), viewport.height() // 2) for x in (0.5, 0.25))
    qtbot.mousePress(viewport, Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(viewport, end)
    qtbot.waitUntil(lambda: shown._controller.settings.draw.wipe_at < 0.3)
    qtbot.mouseRelease(viewport, Qt.MouseButton.LeftButton, pos=end)
    both = rgb(viewport.grabFramebuffer())
    right = slice(width // 4 + 6, -150)
    np.testing.assert_array_equal(both[middle, right], alone["final"][middle, right])


@pytest.mark.display
def test_blink_shows_one_model_after_the_other(qtbot: QtBot, shown: MainWindow) -> None:
    with qtbot.waitSignal(shown.result_painted):
        press_key(shown, "C")
    for _ in range(2):
        press_key(shown, "Shift+C")
    assert shown._controller.settings.draw.compare_mode == "blink"
    viewport, models, centre = shown.viewport, [], QPointF(50, 50)
    for moment_s in (0.0, 0.9, 1.7, 2.5):
        viewport.clock = lambda moment_s=moment_s: moment_s
        viewport.grabFramebuffer()
        pane = viewport.pane_at(centre)
        assert pane is not None
        assert pane.size_px[0] == viewport.grabFramebuffer().width()
        models.append(pane.model)
    assert models == ["prior", "amvur", "final", "prior"]
    assert viewport._animation.isActive()
    press_key(shown, "C")
    viewport._animation.stop()
    viewport.grabFramebuffer()
    assert not viewport._animation.isActive()


@pytest.mark.display
def test_panes_are_cropped_to_the_hands(qtbot: QtBot, shown: MainWindow) -> None:
    with qtbot.waitSignal(shown.result_painted):
        press_key(shown, "C")
    assert shown._controller.settings.draw.compare_crop
    shown._controller.change(compare_crop=False)
    whole = rows_of_hands(shown, above=130)
    compare = next(part for part in shown.features if isinstance(part, Compare))
    compare.crop.click()
    cropped = rows_of_hands(shown, above=130)
    assert len(cropped) == 3
    assert max(cropped) > 1.15 * max(whole)
    height = shown.viewport.height() / 2
    row = [shown.viewport.pane_at(QPointF(x * shown.viewport.width(), height)) for x in (0.1, 0.5, 0.9)]
    assert [pane.model for pane in row if pane is not None] == ["prior", "amvur", "final"], "side by side"
    assert SettingsStore().load().draw.compare_crop
