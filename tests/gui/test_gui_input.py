"""Wheel and keyboard over the controls of the real window: nothing changes by accident, and keys come back."""

from collections import Counter
from collections.abc import Iterator

import pytest
from gui_fakes import TRIANGLE, FakePipeline, FakeSource
from PyQt6.QtCore import QPoint, QPointF, Qt
from PyQt6.QtGui import QWheelEvent
from PyQt6.QtTest import QTest
from PyQt6.QtWidgets import QAbstractSpinBox, QApplication, QComboBox, QSlider, QWidget
from pytestqt.qtbot import QtBot

from handviz.core.camera_model import CameraModel
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import SettingsStore, ThemeSetting, ViewSettings
from handviz.gui.widgets.theme import Theme
from tests.gui.test_gui_comfort import contrast


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[MainWindow]:
    """Return a low window, which is shown, so that both panels scroll."""
    controller = Controller(FakePipeline, SettingsStore(), opener=lambda _: FakeSource(270), lister=list)
    made = MainWindow(controller, TRIANGLE)
    made.resize(1100, 500)
    made.show()
    qtbot.waitExposed(made)
    yield made
    made.close()
    made.deleteLater()


def turn_wheel(widget: QWidget) -> None:
    """Turn the wheel down by a notch over the middle of a widget, as the system reports it."""
    middle = QPointF(widget.rect().center())
    event = QWheelEvent(
        middle,
        widget.mapToGlobal(middle),
        QPoint(),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)


@pytest.mark.parametrize("side", ["source_panel", "view_panel"])
def test_the_wheel_over_a_panel_scrolls_it_and_changes_nothing(window: MainWindow, side: str) -> None:
    panel = getattr(window, side)
    bar = panel.verticalScrollBar()
    assert bar.maximum() > 0
    controls = [
        control
        for kind in (QComboBox, QAbstractSpinBox, QSlider)
        for control in panel.widget().findChildren(kind)
        if control.isVisibleTo(window)
    ]
    assert len(controls) >= 3
    for control in controls:
        control.setFocus()
        bar.setValue(0)
        turn_wheel(control)
        assert bar.value() > 0, control.toolTip()
    assert window._controller.settings == ViewSettings()
    assert window.timeline.speed.currentText() == "1×"


def test_enter_gives_the_keyboard_back_and_escape_restores(window: MainWindow) -> None:
    box = window.source_panel.camera_model.field_of_view
    box.setFocus()
    box.selectAll()
    QTest.keyClicks(box, "40")
    QTest.keyClick(box, Qt.Key.Key_Return)
    assert not box.hasFocus()
    assert window._controller.settings.pipeline.camera_model == CameraModel("angle", 40.0)
    box.setFocus()
    box.selectAll()
    QTest.keyClicks(box, "22")
    QTest.keyClick(box, Qt.Key.Key_Escape)
    assert (box.hasFocus(), box.value()) == (False, 40.0)
    assert window._controller.settings.pipeline.camera_model == CameraModel("angle", 40.0)
    QTest.keyClick(window, Qt.Key.Key_2)
    assert window._controller.settings.pipeline.model == "amvur"


@pytest.mark.parametrize("end", [Qt.Key.Key_Return, Qt.Key.Key_Escape])
def test_every_field_of_the_panels_gives_the_keyboard_back(window: MainWindow, end: Qt.Key) -> None:
    fields = [
        field
        for panel in (window.source_panel, window.view_panel)
        for field in panel.findChildren(QAbstractSpinBox)
        if field.isVisibleTo(window) and field.isEnabled()
    ]
    assert len(fields) >= 2
    for field in fields:
        field.setFocus()
        assert field.hasFocus()
        QTest.keyClick(field, end)
        assert not field.hasFocus(), field.toolTip()


def test_a_frame_number_beyond_the_last_goes_to_the_last(window: MainWindow, qtbot: QtBot) -> None:
    controller = window._controller
    with qtbot.waitSignal(controller.source_opened):
        controller.start("clip")
    asked: list[int] = []
    window.timeline.number.valueChanged.connect(asked.append)
    window.timeline.edit_number()
    QTest.keyClicks(window.timeline.number, "9999")
    QTest.keyClick(window.timeline.number, Qt.Key.Key_Return)
    assert asked == [270]


@pytest.fixture
def theme() -> Iterator[Theme]:
    """Return the program's theme, and remove it afterwards."""
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    style, palette = application.style().objectName(), application.palette()
    yield Theme(application)
    application.setStyleSheet("")
    application.setPalette(palette)
    application.setStyle(style)


@pytest.mark.parametrize("name", ["dark", "light"])
def test_the_marked_entry_of_a_list_can_be_read(
    window: MainWindow, qtbot: QtBot, theme: Theme, name: ThemeSetting
) -> None:
    theme.choose(name)
    box = window.source_panel.sides
    box.showPopup()
    view = box.view()
    assert view is not None
    qtbot.waitUntil(view.isVisible)
    viewport = view.viewport()
    assert viewport is not None
    image = viewport.grab(view.visualRect(view.currentIndex())).toImage()
    shades = Counter(image.pixelColor(x, y).name() for x in range(image.width()) for y in range(image.height()))
    ground = shades.most_common(1)[0][0]
    assert max(contrast(ground, shade) for shade in shades) >= 4  # antialiased
    assert contrast(ground, theme.colours.field) >= 3
    box.hidePopup()
