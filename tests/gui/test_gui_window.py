"""The window: offscreen without its image, and with it where there is a display."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
from gui_fakes import PHOTOGRAPHED, TRIANGLE, FakePipeline, FakeSource, frame, hand
from PyQt6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PyQt6.QtGui import QColor, QDropEvent, QImage
from PyQt6.QtWidgets import QApplication, QFileDialog
from pytestqt.qtbot import QtBot

from handviz.core.camera_model import CameraModel
from handviz.core.errors import HandvizError
from handviz.core.paths import PROJECT_ROOT
from handviz.core.records import FrameResult, HandMesh, NetworkFile, NetworkRole, NetworkState, StageTimes
from handviz.gui.main_window import MainWindow
from handviz.gui.record.screenshot import SCREENSHOT_FOLDER, free_path, save_image
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer, SourceInfo, Status
from handviz.gui.session.rates import RateMeter
from handviz.gui.session.settings import SettingsStore, ViewSettings, changed, value_of, wanted_of_pipeline
from handviz.gui.view import viewport
from handviz.gui.view.view_panel import PerformancePanel, provider_text
from handviz.gui.view.viewport import NO_OPENGL
from handviz.gui.widgets.shortcuts import ShortcutWindow
from handviz.rendering.camera import OrbitCamera
from handviz.rendering.options import DrawOptions
from handviz.sources.source import CameraInfo


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    """Return a controller that opens "clip" as five slow frames and "picture" as one."""
    sources = {"clip": FakeSource(5, nominal_fps=10.0), "picture": FakeSource(1, names=True, nominal_fps=1.0)}
    return Controller(
        FakePipeline,
        SettingsStore(),
        opener=sources.__getitem__,
        lister=lambda: [CameraInfo(0, "Front"), CameraInfo(2, "Back")],
        fallback_clip=tmp_path / "none.mp4",
    )


@pytest.fixture
def window(qtbot: QtBot, controller: Controller) -> Iterator[MainWindow]:
    """Return a window that is not shown."""
    made = MainWindow(controller, TRIANGLE)
    yield made
    made.close()
    made.deleteLater()


def press(qtbot: QtBot, window: MainWindow, key: str) -> None:
    """Trigger the action of a shortcut, as Qt does for the active window."""
    action = next(a for a in window.actions() if key in [k.toString() for k in a.shortcuts()])
    action.trigger()


@pytest.mark.parametrize(
    ("key", "name", "value"),
    [
        ("1", "model", "prior"),
        ("2", "model", "amvur"),
        ("P", "colour", "plain"),
        ("T", "colour", "texture"),
        ("I", "mark_inferred", True),
        ("R", "relight", True),
        ("W", "wireframe", True),
        ("S", "skeleton", True),
        ("K", "smoothing_kind", "one_euro"),
        ("O", "view", "orbit"),
        ("F", "view", "orbit"),
        ("M", "mirror", True),
        ("L", "loop", False),
    ],
)
def test_keys_change_settings(qtbot: QtBot, window: MainWindow, key: str, name: str, value: object) -> None:
    press(qtbot, window, key)
    assert value_of(window._controller.settings, name) == value


def test_panels_follow_the_keys(qtbot: QtBot, window: MainWindow) -> None:
    press(qtbot, window, "1")
    press(qtbot, window, "W")
    assert window.view_panel.choice("model", "prior").isChecked()
    assert window.view_panel.wireframe.isChecked()


def test_panels_change_settings(window: MainWindow) -> None:
    panel = window.view_panel
    panel.choice("model", "amvur").click()
    panel.smoothing.setValue(80)
    panel.range_is_automatic.setChecked(False)
    panel.range_high.setValue(25.0)
    window.source_panel.camera_model.field_of_view.setValue(72.5)
    assert window._controller.settings == changed(
        ViewSettings(),
        model="amvur",
        smoothing=0.8,
        range_is_automatic=False,
        range_high_mm=25.0,
        camera_model=CameraModel("angle", 72.5),
    )
    assert window.viewport._options.std_range_mm == (0.0, 25.0)


def test_panel_shows_what_is_relevant_for_the_colour(qtbot: QtBot, window: MainWindow) -> None:
    panel = window.view_panel

    def shown() -> list[bool]:
        lines = panel.range_is_automatic, panel.range_low, panel.mark_inferred, panel.relight, panel.reset_texture
        return [line.isVisibleTo(panel) for line in lines]

    assert shown() == [True, True, False, False, False]
    panel.choice("shown_colour", "texture").click()
    assert shown() == [False, False, True, True, True]
    panel.mark_inferred.click()
    panel.relight.click()
    assert "right mouse button" in window.message.text()
    options = window.viewport.options
    assert (options.colour, options.mark_inferred, options.relight) == ("texture", True, True)
    panel.reset_texture.click()
    assert "Texture reset" in window.message.text()
    press(qtbot, window, "P")
    assert shown() == [False, False, False, True, False]
    assert not panel.reset_texture.isEnabled()


def test_the_width_of_the_skeleton_is_there_with_the_skeleton(qtbot: QtBot, window: MainWindow) -> None:
    panel = window.view_panel
    assert not panel.skeleton_width.isVisibleTo(panel)
    press(qtbot, window, "S")
    assert panel.skeleton_width.isVisibleTo(panel)
    panel.skeleton_width.setValue(250)
    assert window.viewport.options.skeleton_width == 2.5


def test_the_most_hands_of_a_stream_are_a_setting(qtbot: QtBot, window: MainWindow, controller: Controller) -> None:
    box = window.view_panel.max_hands
    assert [box.itemText(row) for row in range(box.count())] == [str(number) for number in range(1, 11)]
    assert box.currentText() == "2"
    box.setCurrentText("5")
    assert wanted_of_pipeline(controller.settings).max_hands == 5
    assert SettingsStore().load().pipeline.max_hands == 5
    press(qtbot, window, "Ctrl+Z")
    assert (controller.settings.pipeline.max_hands, box.currentText()) == (2, "2")
    assert "max hands" in window.message.text()
    press(qtbot, window, "Ctrl+Y")
    assert box.currentText() == "5"


def test_hands_beyond_the_most_of_an_image_are_counted(window: MainWindow, controller: Controller) -> None:
    many = FrameResult(frame(0, "a.jpg"), "final", hands=(hand(), hand(track_id=2)), left_out=3)
    panel = window.source_panel
    for result, is_said in ((many, True), (replace(many, left_out=0), False)):
        controller.answered.emit(Answer(0, result, 0.0, 0.0, 0, ""))
        assert ("2 of 5 hands" in panel.hands.text()) == is_said


def test_labels_of_hands_are_there_until_they_are_switched_off(qtbot: QtBot, window: MainWindow) -> None:
    assert window.viewport.options.labels
    press(qtbot, window, "N")
    assert not window.viewport.options.labels
    assert not window.view_panel.labels.isChecked()


def test_switches_without_effect_in_this_colour_are_explained(qtbot: QtBot, window: MainWindow) -> None:
    for key, message in (("R", "(T) and shaded (P)"), ("I", "texture colour (T)"), ("Ctrl+R", "only (T)")):
        press(qtbot, window, key)
        assert message in window.message.text()


def test_meshes_of_the_shown_hands_are_saved(
    qtbot: QtBot, window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: list[str] = []

    def choose(_: object, __: str, start: str, filters: str) -> tuple[str, str]:
        offered.append(start)
        return str(tmp_path / "mine"), filters.split(";;")[1]

    def export(path: Path, hand: HandMesh, *, colour: str, **others: object) -> list[Path]:
        path.write_text(f"{hand.handedness} {colour} {sorted(others)}")
        return [path]

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    monkeypatch.setitem(sys.modules, "handviz.io.mesh_export", SimpleNamespace(export_mesh=export))
    press(qtbot, window, "Ctrl+E")
    assert "no hand" in window.message.text()
    press(qtbot, window, "T")
    hands = hand(textured=True), hand(handedness="left", textured=True)
    window._show_answer(Answer(0, FrameResult(frame(), "final", hands=hands), 0.0, 0.0, 0, ""))
    with qtbot.waitSignal(window._controller._saver.finished):
        window.source_panel.save_meshes.click()
    qtbot.waitUntil(lambda: "Saved" in window.message.text())
    assert window.message.text() == f"Saved mine_right.obj and mine_left.obj in {tmp_path}"
    assert (tmp_path / "mine_left.obj").read_text() == "left texture ['colour_map', 'image', 'range_mm']"
    press(qtbot, window, "Ctrl+E")
    window._controller._saver.stop()
    assert "handviz_final_texture_" in offered[0]
    assert offered[1].startswith(str(tmp_path))


def test_errors_lie_over_the_image_and_messages_below(window: MainWindow) -> None:
    window.show_status(Status("camera 0 is not there", is_error=True))
    assert not window.banner.isHidden()
    assert "camera 0" in window.banner.text()
    window.show_status(Status("Saved x.png"))
    assert window.banner.isHidden()
    assert window.message.text() == "Saved x.png"


def test_names_that_look_like_html_are_shown_as_they_are(window: MainWindow) -> None:
    for label in (window.banner, window.message, window.source_panel.description, window.timeline.count):
        assert label.textFormat() == Qt.TextFormat.PlainText


def test_cameras_are_listed_by_name(window: MainWindow) -> None:
    window.source_panel.show_cameras([CameraInfo(0, "Front"), CameraInfo(2, "Back")])
    box = window.source_panel.cameras
    assert [box.itemText(row) for row in range(1, box.count())] == ["Front (0)", "Back (2)"]


def test_timeline_is_there_for_clips_only(window: MainWindow) -> None:
    window.timeline.show_source(SourceInfo(1, "clip", "clip", "", 5, False))
    assert not window.timeline.isHidden()
    window.timeline.show_source(SourceInfo(1, "camera:0", "camera 0", "", None, True))
    assert window.timeline.isHidden()


def test_dropped_file_is_opened(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path))])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    event = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, buttons, keys)
    with qtbot.waitSignal(window._controller.source_changing) as changing:
        window.dropEvent(event)
    assert changing.args == [str(tmp_path)]


def test_list_of_shortcuts_names_them_all(qtbot: QtBot, window: MainWindow) -> None:
    window.show_shortcuts()
    (listing,) = window.findChildren(ShortcutWindow)
    assert listing.layout() is not None
    listing.close()
    keys = [key for shortcut in window.shortcuts for key in shortcut.keys]
    assert len(keys) == len(set(keys))


def test_performance_panel_shows_what_was_measured(qtbot: QtBot) -> None:
    numbers = PerformancePanel()
    result = FrameResult(frame(), "final", times=StageTimes(20.5, 1.0, 14.0, 0.25, 4.25))
    numbers.take_answer(Answer(1, result, 30.0, 15.0, 4, "CPUExecutionProvider"))
    numbers.take_paint(6.54)
    numbers.refresh()
    shown = {name: label.text() for name, label in numbers.values.items()}
    assert (shown["detect"], shown["draw"], shown["capture_rate"]) == ("20.5 ms", "6.5 ms", "30.0 /s")
    assert (shown["texture"], shown["dropped"], shown["provider"]) == ("4.2 ms", "4", "CPU (no GPU)")
    numbers.stop()
    numbers.deleteLater()


def test_provider_has_a_short_name() -> None:
    assert [provider_text(name) for name in ("", "CUDAExecutionProvider")] == ["No model", "CUDA"]


def test_rate_is_that_of_the_last_two_seconds() -> None:
    meter = RateMeter()
    assert meter.tick(0.0) == 0.0
    assert [meter.tick(10.0 + number / 20) for number in range(11)][-1] == pytest.approx(20.0)


def test_screenshots_do_not_replace_each_other(tmp_path: Path) -> None:
    now = datetime(2025, 1, 2, 3, 4, 5)
    first = free_path(tmp_path, "handviz", now)
    first.touch()
    assert first.name == "handviz_2025-01-02_03-04-05.png"
    assert free_path(tmp_path, "handviz", now) != first


def test_screenshot_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HandvizError, match="cannot be made"):
        save_image(QImage(4, 4, QImage.Format.Format_RGB32), tmp_path / "file" / "x.png")


def test_live_program_never_loads_torch() -> None:
    code = "import sys, handviz.gui.app, handviz.pipeline.pipeline; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=True, timeout=120)


@pytest.fixture
def shown(qtbot: QtBot, window: MainWindow) -> MainWindow:
    """Return the window on a display."""
    with qtbot.waitExposed(window):
        window.show()
    return window


@pytest.mark.display
def test_stream_is_painted_and_saved_with_its_hand(qtbot: QtBot, shown: MainWindow, tmp_path: Path) -> None:
    shown._controller.store.save_text(SCREENSHOT_FOLDER, str(tmp_path / "pictures"))
    shown._controller.change(colour="plain", opacity=1.0)
    with qtbot.waitSignal(shown.result_painted):
        shown._controller.start("picture")
    press(qtbot, shown, "Ctrl+S")
    (saved,) = (tmp_path / "pictures").glob("handviz_0_final_plain_*.png")
    image = cv2.imread(str(saved))
    assert image is not None
    height, width = image.shape[:2]
    assert height / width == pytest.approx(48 / 64, abs=0.01), "no bars beside the image"
    assert image[height // 2, width // 2].max() > 130
    assert tuple(image[height // 2, 5]) == (100, 100, 100)
    assert "Saved" in shown.message.text()


@pytest.mark.display
def test_image_survives_resizing_a_new_parent_and_smooth_edges(qtbot: QtBot, shown: MainWindow) -> None:
    viewport = shown.viewport
    viewport.set_options(DrawOptions(colour="plain", opacity=1.0))
    viewport.show_result(FrameResult(frame(), "final", hands=(hand(),)))
    for samples, size in ((0, (900, 700)), (4, (1000, 640)), (4, (820, 620))):
        viewport._samples = samples
        if viewport._smooth_target is not None:
            viewport._smooth_target._samples = samples
        shown.resize(*size)
        QApplication.processEvents()
        assert centre_of(viewport.grabFramebuffer()).lightness() > 130
    central = shown.takeCentralWidget()
    shown.setCentralWidget(central)
    QApplication.processEvents()
    assert centre_of(viewport.grabFramebuffer()).lightness() > 130


@pytest.mark.display
def test_keys_switch_the_network_of_the_running_stream_within_one_frame(qtbot: QtBot, shown: MainWindow) -> None:
    camera = FakeSource()
    shown._controller._capture._opener = lambda _: camera
    shown._controller.start("camera:0")
    for key, model in (("3", "final"), ("1", "prior"), ("2", "amvur"), ("3", "final")):
        press(qtbot, shown, key)
        with qtbot.waitSignal(shown.result_painted) as painted:
            camera.may_read.release()
        assert painted.args[0].model == model
        assert [hand.model for hand in painted.args[0].hands] == [model]
    camera.let_go()


@pytest.mark.display
def test_driver_without_opengl_3_3_is_a_message(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise ValueError("Requested OpenGL version 330, got version 210")

    monkeypatch.setattr(viewport.moderngl, "create_context", refuse)
    window.show()
    qtbot.waitUntil(lambda: NO_OPENGL in window.banner.text())
    with qtbot.waitSignal(window._controller.answered):
        window._controller.start("picture")
    assert not window.banner.isHidden()


@pytest.mark.display
def test_mouse_rotates_and_zooms_the_3d_view(qtbot: QtBot, shown: MainWindow) -> None:
    viewport = shown.viewport
    viewport.set_options(DrawOptions(view="orbit"))
    qtbot.mousePress(viewport, Qt.MouseButton.LeftButton, pos=QPoint(100, 100))
    qtbot.mouseMove(viewport, QPoint(140, 110))
    qtbot.waitUntil(lambda: viewport._orbit.yaw_rad != 0)
    qtbot.mouseRelease(viewport, Qt.MouseButton.LeftButton, pos=QPoint(140, 110))
    qtbot.mouseDClick(viewport, Qt.MouseButton.LeftButton)
    assert viewport._orbit.yaw_rad == 0


@pytest.mark.display
def test_texture_is_painted_marked_and_relit(qtbot: QtBot, shown: MainWindow) -> None:
    shown._controller.change(opacity=1.0)
    with qtbot.waitSignal(shown.result_painted):
        shown._controller.start("picture")
    with qtbot.waitSignal(shown.result_painted):
        press(qtbot, shown, "T")
    viewport, centre = shown.viewport, viewport_centre(shown)
    for key in ("O", "O"):
        press(qtbot, shown, key)
        assert centre_of(viewport.grabFramebuffer()).getRgbF()[:3] == pytest.approx(PHOTOGRAPHED, abs=0.04)
    press(qtbot, shown, "I")
    row = [viewport.grabFramebuffer().pixelColor(centre.x() + right, centre.y()).lightness() for right in range(14)]
    assert max(row) > min(row) + 40
    press(qtbot, shown, "I")
    press(qtbot, shown, "R")
    lit = centre_of(viewport.grabFramebuffer())
    assert lit.greenF() > lit.redF(), "the evenly lit colours"
    right_button = Qt.MouseButton.RightButton
    qtbot.mousePress(viewport, right_button, pos=QPoint(100, 100))
    qtbot.mouseMove(viewport, QPoint(480, 100))
    qtbot.waitUntil(lambda: centre_of(viewport.grabFramebuffer()).lightness() < 0.7 * lit.lightness())
    qtbot.mouseRelease(viewport, right_button, pos=QPoint(480, 100))
    assert viewport._orbit == OrbitCamera()
    qtbot.mouseDClick(viewport, right_button)
    assert centre_of(viewport.grabFramebuffer()) == lit


def viewport_centre(window: MainWindow) -> QPoint:
    """Return the centre in pixels of the grabbed image."""
    image = window.viewport.grabFramebuffer()
    return QPoint(image.width() // 2, image.height() // 2)


def centre_of(image: QImage) -> QColor:
    """Return the colour at the centre."""
    return image.pixelColor(image.width() // 2, image.height() // 2)


@pytest.mark.parametrize(
    ("states", "row", "is_in_status"),
    [
        ({}, "–", False),
        ({"network": "shipped", "detector": "shipped"}, "As shipped", False),
        ({"network": "own", "detector": "shipped"}, "Own files", False),
        ({"network": "changed", "detector": "shipped"}, "Network changed", True),
        ({"network": "own", "detector": "changed", "texture_net": "changed"}, "Detector, texture net changed", True),
    ],
)
def test_changed_networks_are_named_beside_the_provider(
    qtbot: QtBot, states: dict[NetworkRole, NetworkState], row: str, is_in_status: bool
) -> None:
    numbers = PerformancePanel()
    networks = {role: NetworkFile(f"{role}.onnx", "ab", state) for role, state in states.items()}
    numbers.take_answer(Answer(1, FrameResult(frame(), "final", networks=networks), 30.0, 15.0, 4, "CPU"))
    with qtbot.waitSignal(numbers.summarised) as summarised:
        numbers.refresh()
    assert numbers.values["networks"].text() == row
    assert (row in summarised.args[0]) == is_in_status
    numbers.stop()
    numbers.deleteLater()
