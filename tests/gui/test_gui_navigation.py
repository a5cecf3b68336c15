"""Moving the view: the zoom into the image, the 3D view's camera and guides, by mouse and keys."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gui_fakes import TRIANGLE, FakePipeline, FakeSource, frame, hand
from PyQt6.QtCore import QPoint, QPointF, Qt
from PyQt6.QtGui import QColor, QMouseEvent, QWheelEvent
from PyQt6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from handviz.core.records import CropSpec, Detection, FrameResult, HandCrop
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.session.settings import SettingsStore
from handviz.rendering.camera import ImageZoom, OrbitCamera, letterbox
from handviz.rendering.highlight import Pick

pytestmark = pytest.mark.display
LEFT, MIDDLE = Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton
PRESS, MOVE, RELEASE = (
    QMouseEvent.Type.MouseButtonPress,
    QMouseEvent.Type.MouseMove,
    QMouseEvent.Type.MouseButtonRelease,
)


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    """Return a window that shows an image with a hand of three vertices in its centre."""
    sources = {"picture": FakeSource(1, names=True)}
    opener = sources.__getitem__
    controller = Controller(FakePipeline, SettingsStore(), opener=opener, lister=list, fallback_clip=tmp_path / "none")
    made = MainWindow(controller, TRIANGLE)
    with qtbot.waitExposed(made):
        made.show()
    with qtbot.waitSignal(made.result_painted):
        controller.start("picture")
    controller.change(colour="plain", opacity=1.0)
    yield made
    made.close()
    made.deleteLater()


def press(window: MainWindow, key: str) -> None:
    """Trigger the action of a shortcut, as Qt does for the active window."""
    next(a for a in window.actions() if key in [k.toString() for k in a.shortcuts()]).trigger()


def show(window: MainWindow, result: FrameResult) -> None:
    """Show a result of the present source."""
    window._controller.answered.emit(Answer(1, result, 30.0, 15.0, 0, "CPUExecutionProvider"))
    window.viewport.grabFramebuffer()


def drag(
    window: MainWindow,
    by: tuple[int, int],
    button: Qt.MouseButton = LEFT,
    modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
) -> None:
    """Drag in the viewport, from its centre."""
    start = QPointF(window.viewport.rect().center())
    end = start + QPointF(*by)
    for kind, place, pressed in ((PRESS, start, button), (MOVE, end, button), (RELEASE, end, Qt.MouseButton.NoButton)):
        changed = Qt.MouseButton.NoButton if kind == MOVE else button
        QApplication.sendEvent(window.viewport, QMouseEvent(kind, place, place, changed, pressed, modifiers))


def click(window: MainWindow, place: QPointF) -> None:
    """Click at a place of the viewport."""
    view, none = window.viewport, Qt.KeyboardModifier.NoModifier
    for kind, pressed in ((PRESS, LEFT), (RELEASE, Qt.MouseButton.NoButton)):
        QApplication.sendEvent(view, QMouseEvent(kind, place, place, LEFT, pressed, none))


def wheel(window: MainWindow, place: QPointF, steps: int) -> None:
    """Turn the wheel over a place of the viewport."""
    none, phase = Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase
    event = QWheelEvent(place, place, QPoint(), QPoint(0, 120 * steps), Qt.MouseButton.NoButton, none, phase, False)
    QApplication.sendEvent(window.viewport, event)


def pixel(window: MainWindow, x: float, y: float) -> QColor:
    """Return a pixel of the drawn view, at fractions of its width and height."""
    image = window.viewport.grabFramebuffer()
    return image.pixelColor(round(x * (image.width() - 1)), round(y * (image.height() - 1)))


def image_point(window: MainWindow, place: QPointF) -> tuple[float, float]:
    """Return the point of the 64 x 48 image that is shown at a place of the viewport."""
    size = window.viewport.width(), window.viewport.height()
    box = window.viewport.camera.image.placed(letterbox((64, 48), size), size)
    return (place.x() - box.left_px) / box.scale, (place.y() - box.top_px) / box.scale


def test_the_wheel_zooms_the_image_at_the_pointer_and_a_double_click_fits_it(qtbot: QtBot, window: MainWindow) -> None:
    view = window.viewport
    before = view.grabFramebuffer()
    place = QPointF(0.4 * view.width(), 0.55 * view.height())
    point = image_point(window, place)
    wheel(window, place, 6)
    assert view.camera.image.zoom == pytest.approx(1.2**6)
    assert image_point(window, place) == pytest.approx(point)
    assert view.grabFramebuffer() != before
    qtbot.mouseDClick(view, LEFT, pos=place.toPoint())
    assert view.camera.image == ImageZoom()
    assert view.grabFramebuffer() == before


@pytest.mark.parametrize("mirror", [False, True])
def test_dragging_moves_the_zoomed_image_and_clicks_hit_what_is_seen(window: MainWindow, mirror: bool) -> None:
    view, centre = window.viewport, QPointF(window.viewport.rect().center())
    window._controller.change(mirror=mirror)
    drag(window, (120, 0))
    assert view.camera.image == ImageZoom(), "the whole image is seen: there is nothing to move"
    wheel(window, centre, 8)
    corner = next(QPointF(x, centre.y()) for x in range(view.width()) if view.pick_at(QPointF(x, centre.y())))
    drag(window, (150, 40))
    view.grabFramebuffer()
    assert view.pick_at(corner + QPointF(152, 40)) is not None
    assert view.pick_at(corner + QPointF(140, 40)) is None
    drag(window, (10**5, 0))
    edge = letterbox((64, 48), (view.width(), view.height()))
    size = view.width(), view.height()
    box = view.camera.image.placed(edge, size)
    near = size[0] - box.left_px - 64 * box.scale if mirror else box.left_px
    assert near == pytest.approx(0, abs=1), "the image is not moved out of the view"


def test_z_zooms_to_the_hand_and_the_next_source_is_seen_whole(window: MainWindow) -> None:
    view = window.viewport
    press(window, "Z")
    assert view.camera.image.zoom > 1.1
    assert pixel(window, 0.5, 0.6) != QColor(100, 100, 100)
    window._controller.source_changing.emit("another")
    assert view.camera.image == ImageZoom()
    press(window, "Z")
    assert "no hand" in window.message.text()


def test_keys_zoom_and_move_the_image(window: MainWindow) -> None:
    view = window.viewport
    for _ in range(6):
        press(window, "+")
    assert view.camera.image.zoom == pytest.approx(1.2**6)
    press(window, "Alt+Right")
    assert view.camera.image.right > 0
    press(window, "-")
    assert view.camera.image.zoom == pytest.approx(1.2**5)
    press(window, "Shift+Z")
    assert view.camera.image == ImageZoom()


@pytest.mark.parametrize(("button", "modifier"), [(MIDDLE, "NoModifier"), (LEFT, "ShiftModifier")])
def test_the_3d_view_is_moved_sideways(window: MainWindow, button: Qt.MouseButton, modifier: str) -> None:
    view = window.viewport
    window._controller.change(view="orbit", guides=False)
    view.grabFramebuffer()
    centre = QPointF(view.rect().center())
    drag(window, (120, -30), button, Qt.KeyboardModifier[modifier])
    assert (view.camera.yaw_rad, view.camera.pitch_rad) == (0.0, 0.0)
    view.grabFramebuffer()
    assert view.pick_at(centre + QPointF(120, -30)) is not None, "what was in the centre follows the mouse"
    drag(window, (50, 0))
    assert view.camera.yaw_rad != 0


def test_the_3d_view_frames_the_selected_of_two_hands(window: MainWindow) -> None:
    view = window.viewport
    window._controller.change(view="orbit", guides=False, labels=False)
    left = replace(hand(track_id=2, handedness="left"), wrist_camera_m=np.array([-0.4, 0.0, 0.5]))
    right = replace(hand(track_id=1), wrist_camera_m=np.array([0.4, 0.0, 0.5]))
    show(window, FrameResult(frame(), "final", hands=(left, right)))
    centre = QPointF(view.rect().center())
    assert view.pick_at(centre) is None, "between the hands"
    press(window, "Z")
    assert view.camera == OrbitCamera(), "none is selected: both are shown"
    view.clicked.emit(QPointF(view.width() * 0.5 + min(view.width(), view.height()) * 0.36, view.height() * 0.52))
    press(window, "Z")
    view.grabFramebuffer()
    picked = view.pick_at(centre)
    assert picked is not None
    assert picked.hand == 1
    assert view.camera.zoom > 2
    press(window, "Shift+Z")
    assert view.camera == OrbitCamera()


def test_keys_rotate_zoom_and_choose_the_side(window: MainWindow) -> None:
    view = window.viewport
    press(window, "Alt+2")
    assert window._controller.settings.draw.view == "orbit"
    np.testing.assert_allclose(view.camera.rotation() @ [0, 0, 1], [1, 0, 0], atol=1e-6)
    press(window, "Alt+3")
    np.testing.assert_allclose(view.camera.rotation() @ [0, -1, 0], [0, 0, -1], atol=1e-6)
    press(window, "Alt+1")
    assert view.camera == OrbitCamera()
    press(window, "+")
    assert view.camera.zoom == pytest.approx(1.1)
    press(window, "Alt+Left")
    press(window, "Alt+Down")
    assert view.camera.yaw_rad > 0
    assert view.camera.pitch_rad > 0


def test_a_double_click_picks_nothing_and_keeps_the_selection(qtbot: QtBot, window: MainWindow) -> None:
    view, centre = window.viewport, QPointF(window.viewport.rect().center())
    window._controller.change(view="orbit")
    view.grabFramebuffer()
    other = centre + 0.15 * QPointF(-view.height(), view.height())

    def picked() -> Pick | None:
        return None if view._highlight is None else view._highlight.pick

    def double_click(place: QPointF) -> None:
        click(window, place)
        assert picked() is not None, "the first click of two"
        qtbot.mouseDClick(view, LEFT, pos=place.toPoint())

    drag(window, (40, 0))
    double_click(centre)
    assert picked() is None
    assert view.camera == OrbitCamera()
    click(window, centre)
    first = picked()
    double_click(other)
    assert picked() == first
    click(window, other)
    assert picked() != first


def test_background_and_guides_are_drawn_and_saved(qtbot: QtBot, window: MainWindow) -> None:
    window._controller.change(view="orbit")
    with_guides = window.viewport.grabFramebuffer()
    window.view_panel.guides.click()
    without = window.viewport.grabFramebuffer()
    assert with_guides != without
    assert pixel(window, 0.97, 0.5).lightness() < 30
    box = window.view_panel.ground
    lightness = {}
    for name in ("grey", "white", "checker"):
        box.setCurrentIndex(box.findData(name))
        lightness[name] = pixel(window, 0.97, 0.5).lightness()
    assert lightness["white"] == 255
    assert 60 < lightness["grey"] < 120
    assert len({pixel(window, 0.9, y / 100).lightness() for y in range(40, 60)}) == 2, "squares of the checkerboard"
    loaded = SettingsStore().load().draw
    assert (loaded.ground, loaded.guides) == ("checker", False)


def test_landmarks_and_crop_are_drawn_on_the_image(window: MainWindow) -> None:
    keypoints = np.full((21, 2), 10.0)
    found = Detection("right", 0.9, keypoints)
    crop = HandCrop(np.zeros((224, 224, 3), np.uint8), np.array([[8.0, 0, -32.0], [0, 8.0, -32.0]]), found)
    show(window, FrameResult(frame(), "final", hands=(hand(),), detections=(found,), crops=(crop,)))
    width, height = window.viewport.width(), window.viewport.height()
    box = letterbox((64, 48), (width, height))

    def at(x_px: float, y_px: float) -> QColor:
        place = box.left_px + box.scale * x_px, box.top_px + box.scale * y_px
        return pixel(window, place[0] / width, place[1] / height)

    assert at(10, 10) == QColor(100, 100, 100)
    press(window, "U")
    assert at(10, 10).blue() > 200, "the landmarks"
    edge = max((at(4 + right / box.scale, 20) for right in (-1, 0, 1)), key=QColor.blue)
    assert edge.blue() > 130, "the square of the crop begins at 4 pixels"
    assert CropSpec().size_px == 224
