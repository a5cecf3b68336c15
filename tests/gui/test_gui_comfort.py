"""Themes, toasts, the log, the layout, the welcome and the keyboard, through the real window."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from gui_fakes import TRIANGLE, FakePipeline, FakeSource, frame
from PyQt6.QtCore import QRect, Qt
from PyQt6.QtGui import QColor, QDesktopServices, QPalette
from PyQt6.QtTest import QTest
from PyQt6.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QLabel,
    QLineEdit,
    QStatusBar,
    QTabBar,
    QWidget,
)
from pytestqt.qtbot import QtBot

from handviz.core.records import FrameResult, StageTimes
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer, SourceInfo, Status
from handviz.gui.session.settings import SettingsStore, ViewSettings
from handviz.gui.widgets.choices import choices_of
from handviz.gui.widgets.controls import ElidedLabel, Panel
from handviz.gui.widgets.log_window import LogBuffer
from handviz.gui.widgets.shortcuts import FocusKeyFilter
from handviz.gui.widgets.theme import DARK, LIGHT, Theme, ThemeColours
from tests.gui.test_gui_window import press


@pytest.fixture
def log_buffer() -> Iterator[LogBuffer]:
    """Collect what is logged while the test runs."""
    made = LogBuffer()
    logging.getLogger().addHandler(made)
    yield made
    logging.getLogger().removeHandler(made)


def new_controller() -> Controller:
    """Return a controller with the settings in the test's folder."""
    return Controller(FakePipeline, SettingsStore(), opener=lambda _: FakeSource(5), lister=list)


@pytest.fixture
def window(qtbot: QtBot, log_buffer: LogBuffer) -> Iterator[MainWindow]:
    """Return a window that is not shown."""
    made = MainWindow(new_controller(), TRIANGLE, log_buffer)
    yield made
    made.close()
    made.deleteLater()


def choose(window: MainWindow, text: str) -> None:
    """Trigger the menu entry that starts with this text."""
    next(action for action in window.actions() if action.text().startswith(text)).trigger()


@pytest.fixture
def theme(window: MainWindow) -> Iterator[Theme]:
    """Return the theme, which follows the window's settings as in ``app.py``."""
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    style, palette = application.style().objectName(), application.palette()
    theme = Theme(application)
    window._controller.settings_changed.connect(lambda settings: theme.choose(settings.theme))
    yield theme
    application.setStyleSheet("")
    application.setPalette(palette)
    application.setStyle(style)


def lightness(role: QPalette.ColorRole) -> int:
    """Return the lightness of a colour of the palette."""
    return QApplication.palette().color(role).lightness()


@pytest.mark.parametrize("colour", ["uncertainty", "texture", "plain", "difference", "attention"])
@pytest.mark.parametrize("model", ["final", "hamr"])
def test_nothing_in_a_panel_is_cut_off(window: MainWindow, theme: Theme, colour: str, model: str) -> None:
    window._controller.change(shown_colour=colour, model=model)
    for panel in window.findChildren(Panel):
        content, viewport = panel.widget(), panel.viewport()
        assert content is not None
        assert viewport is not None
        assert content.minimumSizeHint().width() <= viewport.width()


def test_theme_is_chosen_from_the_menu_and_saved(window: MainWindow, theme: Theme) -> None:
    choose(window, "Theme: Light")
    assert (theme.colours, lightness(QPalette.ColorRole.Window) > 200) == (LIGHT, True)
    choose(window, "Theme: Dark")
    assert (theme.colours, lightness(QPalette.ColorRole.Window) < 60) == (DARK, True)
    assert SettingsStore().load().theme == "dark"


@pytest.mark.parametrize("colour", ["dark", "light"])
def test_check_boxes_have_ticks_and_lists_an_arrow_without_a_frame(
    window: MainWindow, theme: Theme, qtbot: QtBot, colour: str
) -> None:
    theme.choose("light" if colour == "light" else "dark")
    box, field = QCheckBox("Loop"), QComboBox()
    for widget in (box, field):
        qtbot.addWidget(widget)
        widget.resize(140, 28)
        widget.show()
    box.setChecked(True)
    image = box.grab().toImage()
    inside = {image.pixelColor(x, y).name() for x in range(3, 11) for y in range(10, 18)}
    assert theme.colours.accent in inside
    assert len(inside) > 1
    field.setEnabled(False)
    image = field.grab().toImage()
    assert image.pixelColor(field.width() - 3, field.height() // 2).name() == theme.colours.field
    arrow = {image.pixelColor(x, field.height() // 2).name() for x in range(field.width() - 18, field.width() - 3)}
    assert len(arrow) > 1


def test_theme_follows_the_system_until_one_is_chosen(theme: Theme, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hints:
        scheme = Qt.ColorScheme.Light

        def colorScheme(self) -> Qt.ColorScheme:  # noqa: N802
            return self.scheme

    hints = Hints()
    monkeypatch.setattr(theme, "_hints", hints)
    theme._apply()
    assert theme.colours is LIGHT
    hints.scheme = Qt.ColorScheme.Dark
    theme._apply()
    assert theme.colours is DARK
    theme.choose("light")
    theme._apply()
    assert theme.colours is LIGHT


@pytest.mark.parametrize("colours", [DARK, LIGHT], ids=["dark", "light"])
def test_texts_can_be_read_in_both_themes(colours: ThemeColours) -> None:
    """Check WCAG 2.1, 1.4.3: at least 4.5 to 1."""
    pairs = [
        (colours.text, colours.window),
        (colours.text, colours.panel),
        (colours.text, colours.button),
        (colours.faint, colours.panel),
        (colours.on_accent, colours.accent),
        (colours.error_text, colours.error_ground),
    ]
    assert min(contrast(*pair) for pair in pairs) >= 4.5


def contrast(first: str, second: str) -> float:
    """Return WCAG's contrast ratio of two colours."""
    low, high = sorted(luminance(QColor(name)) for name in (first, second))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: QColor) -> float:
    """Return WCAG's relative luminance."""
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in colour.getRgbF()[:3]]
    return sum(fraction * value for fraction, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_failures_are_toasts_that_disappear_and_stay_in_the_log(
    qtbot: QtBot, window: MainWindow, log_buffer: LogBuffer
) -> None:
    window.toasts._shown_ms = 40
    window._controller.warn("The folder /x cannot be made.")
    window._controller.warn("The folder /x cannot be made.")
    assert [label.text() for label in window.toasts.labels] == ["The folder /x cannot be made."]
    assert "cannot be made" in window.message.text()
    qtbot.waitUntil(lambda: not window.toasts.labels)
    assert window.toasts.isHidden()
    assert sum("cannot be made" in line for _, line in log_buffer.lines) == 2


def test_all_of_a_toast_s_text_can_be_read(qtbot: QtBot, window: MainWindow) -> None:
    window.show()
    for text in ("the rig has no moments: check its sources", "a long message, " * 12):
        window._controller.warn(text)
    for toast in window.toasts.labels:
        space = QRect(0, 0, toast.width() - 26, 10_000)
        text = toast.fontMetrics().boundingRect(space, int(Qt.TextFlag.TextWordWrap), toast.text())
        assert toast.height() >= text.height() + 18
        assert toast.width() > 300
    heights = [toast.height() for toast in window.toasts.labels]
    assert heights[1] > heights[0]
    assert window.toasts.height() >= sum(heights)


def test_a_click_dismisses_a_toast_and_there_are_at_most_four(qtbot: QtBot, window: MainWindow) -> None:
    for number in range(7):
        window._controller.warn(f"error {number}")
    assert [label.text() for label in window.toasts.labels] == [f"error {number}" for number in (3, 4, 5, 6)]
    qtbot.mouseClick(window.toasts.labels[0], Qt.MouseButton.LeftButton)
    assert window.toasts.labels[0].text() == "error 4"


def test_what_was_saved_is_a_toast_that_opens_its_folder(
    qtbot: QtBot, window: MainWindow, log_buffer: LogBuffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO)  # as in the program
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    window._controller.report_saved(f"Saved hand.glb in {tmp_path}", tmp_path)
    (toast,) = window.toasts.labels
    assert toast.button is not None
    assert toast.rect().contains(toast.button.geometry())
    space = QRect(0, 0, toast.width(), 1000)
    text = toast.fontMetrics().boundingRect(space, int(Qt.TextFlag.TextWordWrap), toast.text())
    assert toast.button.y() >= text.height() - 2, "the button is below the text"
    qtbot.mouseClick(toast.button, Qt.MouseButton.LeftButton)
    assert [Path(path) for path in opened] == [tmp_path]
    assert any("Saved hand.glb" in line for _, line in log_buffer.lines)
    assert "Saved hand.glb" in window.message.text()


def test_messages_of_the_status_bar_expire_and_errors_do_not(qtbot: QtBot, window: MainWindow) -> None:
    window._expiry.setInterval(30)
    window._controller.notify("Texture reset.")
    assert window.message.text() == "Texture reset."
    qtbot.waitUntil(lambda: not window.message.text())
    window._controller.report_view("There is no OpenGL")
    window._controller.notify("Saved to a folder")
    assert window.message.text() == "Saved to a folder"
    qtbot.waitUntil(lambda: window.message.text() == "There is no OpenGL")


def test_log_window_follows_searches_and_saves(
    qtbot: QtBot, window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("handviz.test")
    logger.warning("a camera went away")
    press(qtbot, window, "F12")
    log = window.log_window
    assert log is not None
    assert log.isVisible()
    logger.warning("a second error")
    qtbot.waitUntil(lambda: "second error" in log.text.toPlainText())
    log.search.setText("CAMERA")
    assert "camera went away" in log.text.toPlainText()
    assert "second error" not in log.text.toPlainText()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "saved.log"), ""))
    log.save.click()
    assert "camera went away" in (tmp_path / "saved.log").read_text()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "saved.log" / "x"), ""))
    log.save.click()
    assert "cannot be written" in log.message.text()
    log.close()


def test_a_message_that_does_not_fit_its_arguments_is_logged_unchanged(log_buffer: LogBuffer) -> None:
    log_buffer.emit(logging.LogRecord("x", logging.ERROR, "", 1, "%d hands", ("many",), None))
    assert log_buffer.lines[-1] == (logging.ERROR, "%d hands")


@pytest.mark.display
def test_layout_is_saved_and_reset(qtbot: QtBot, window: MainWindow) -> None:
    window.show()
    window.resize(1121, 655)
    window.view_panel.groups[1].heading.click()
    press(qtbot, window, "F10")
    assert window.source_panel.isHidden()
    window._controller.change(model="prior", theme="light")
    window.close()
    second = MainWindow(new_controller(), TRIANGLE)
    assert (second.width(), second.height()) == (1121, 655)
    assert [group.is_folded for group in second.view_panel.groups[:3]] == [False, True, False]
    assert second.source_panel.isHidden()
    choose(second, "Reset settings")
    assert second._controller.settings == ViewSettings()
    assert not second.source_panel.isHidden()
    assert not second.view_panel.groups[1].is_folded
    assert "before-reset" in second.message.text()
    assert "prior" in second._controller.store.path.with_name("handviz.json.before-reset").read_text()
    second.close()
    second.deleteLater()


def test_full_screen_and_back(qtbot: QtBot, window: MainWindow) -> None:
    window.show()
    press(qtbot, window, "F11")
    assert window.isFullScreen()
    press(qtbot, window, "F11")
    assert not window.isFullScreen()


@pytest.mark.parametrize(
    "content", [b'{"memory": {"settings_version": "77"}, "view": {"variant": "prior"}}', b"\xff\xfe\x00broken\x00"]
)
def test_settings_of_another_version_or_broken_ones_are_backed_up_and_reported(
    qtbot: QtBot, settings_folder: Path, content: bytes
) -> None:
    settings_folder.mkdir()
    (settings_folder / "handviz.json").write_bytes(content)
    controller = new_controller()
    warned: list[str] = []
    controller.warned.connect(warned.append)
    controller.start("clip")
    controller.close()
    assert controller.settings == ViewSettings()
    assert "handviz.json.before-reset beside it" in warned[0]
    assert (settings_folder / "handviz.json.before-reset").read_bytes() == content
    assert SettingsStore().notice == ""


def test_settings_of_this_version_are_taken(window: MainWindow) -> None:
    window._controller.change(opacity=0.5)
    store = SettingsStore()
    assert (store.notice, store.load().draw.opacity) == ("", 0.5)


def test_status_line_sums_up_the_stages(window: MainWindow) -> None:
    result = FrameResult(frame(), "final", times=StageTimes(20.5, 1.0, 14.0, 0.25, 4.0))
    window.view_panel.numbers.take_answer(Answer(1, result, 30.0, 15.0, 4, "CPUExecutionProvider"))
    window.view_panel.numbers.refresh()
    assert window.stages.text() == "detect 20 + network 18 + draw 0 ms  ·  15 /s  ·  4 frames skipped  ·  CPU (no GPU)"


def test_user_actions_are_answered_while_an_error_lasts(window: MainWindow) -> None:
    controller = window._controller
    controller.notify("Saved before")
    controller.report_view("There is no OpenGL")
    assert window.message.text() == "There is no OpenGL"
    controller.notify("Saved to a folder")
    assert window.message.text() == "Saved to a folder"
    assert window.banner.text() == "There is no OpenGL"
    assert not window.banner.isHidden()


def test_reset_includes_rotation_and_speed(qtbot: QtBot, window: MainWindow) -> None:
    controller = window._controller
    with qtbot.waitSignal(controller.answered):
        controller.start("clip.mp4")
    choose(window, "Rotate")
    choose(window, "Slower")
    assert controller.rotation_deg == 90
    assert controller.speed < 1
    choose(window, "Reset settings")
    assert (controller.rotation_deg, controller.speed) == (0, 1.0)


def test_an_image_that_cannot_be_shown_is_not_being_opened_for_ever(window: MainWindow) -> None:
    window.show_status(Status("Opening broken.jpg…"))
    assert window.invitation.text() == "Opening broken.jpg…"
    window._controller.source = SourceInfo(1, "broken.jpg", "broken.jpg", "broken.jpg: 1 image", 1, False)
    window.show_status(Status("broken.jpg: not an image in a known format", is_error=True))
    assert "Opening" not in window.invitation.text()


def test_the_welcome_names_the_keys_of_all_models(window: MainWindow) -> None:
    texts = [label.text() for label in window.welcome.findChildren(QLabel)]
    count = len([choice for choice in choices_of("model") if choice.key])
    assert f"1 – {count}" in texts
    assert count >= 4


def test_welcome_is_shown_once_and_on_demand(qtbot: QtBot, window: MainWindow) -> None:
    window.show()
    window.welcome_once()
    assert window.welcome.isVisible()
    QTest.keyClick(window.welcome.close_button, Qt.Key.Key_Space)
    assert not window.welcome.isVisible()
    window.welcome_once()
    assert not window.welcome.isVisible()
    choose(window, "Welcome")
    assert window.welcome.isVisible()
    QTest.keyClick(window.welcome.close_button, Qt.Key.Key_Return)
    assert not window.welcome.isVisible()


def test_escape_closes_the_welcome_wherever_the_focus_is(window: MainWindow) -> None:
    window.show()
    choose(window, "Welcome")
    QTest.keyClick(window.welcome.close_button, Qt.Key.Key_Escape)
    assert not window.welcome.isVisible()
    choose(window, "Welcome")
    QTest.keyClick(window.viewport, Qt.Key.Key_Escape)
    assert not window.welcome.isVisible()


def test_a_long_message_is_cut_and_its_neighbour_is_not(qtbot: QtBot) -> None:
    bar, message, stages = QStatusBar(), ElidedLabel(), QLabel("detect 20 + network 18 + draw 0 ms")
    qtbot.addWidget(bar)
    bar.addWidget(message, 1)
    bar.addPermanentWidget(stages)
    bar.resize(400, 24)
    message.setText("Recording to " + 40 * "folder/")
    bar.show()
    QApplication.processEvents()
    assert bar.width() == 400
    assert stages.width() >= stages.sizeHint().width()
    assert message.toolTip() == message.text()


def test_a_text_that_grows_squeezes_nothing_in_its_panel(qtbot: QtBot, window: MainWindow) -> None:
    window.resize(1240, 600)
    window.show()
    panel = window.source_panel
    button, heights = panel.save_meshes, set[int]()
    qtbot.waitUntil(lambda: button.height() >= button.sizeHint().height())
    panel.hands.setText("\n".join(str(line) for line in range(30)))
    while panel.hands.height() < panel.hands.sizeHint().height():
        QApplication.processEvents()
        heights.add(button.height())
    assert heights == {button.sizeHint().height()}


@pytest.fixture
def key_filter() -> Iterator[FocusKeyFilter]:
    """Return the key filter, installed as in ``app.py``."""
    application = QApplication.instance()
    assert application is not None
    made = FocusKeyFilter()
    application.installEventFilter(made)
    yield made
    application.removeEventFilter(made)


@pytest.mark.display
def test_space_serves_the_focused_button_before_the_shortcut(
    qtbot: QtBot, window: MainWindow, key_filter: FocusKeyFilter
) -> None:
    with qtbot.waitActive(window):
        window.show()
        window.activateWindow()
    assert QApplication.focusWidget() is window.viewport
    box = window.view_panel.wireframe
    toggled: list[bool] = []
    pause = next(action for action in window.actions() if action.text() == "Play / pause")
    pause.triggered.connect(toggled.append)
    box.setFocus(Qt.FocusReason.TabFocusReason)
    QTest.keyClick(box, Qt.Key.Key_Space)
    assert (box.isChecked(), toggled) == (True, [])
    qtbot.mouseClick(window.viewport, Qt.MouseButton.LeftButton)
    QTest.keyClick(window.viewport, Qt.Key.Key_Space)
    assert toggled == [False]
    QTest.keyClick(window, Qt.Key.Key_W)
    assert not box.isChecked()


CONTROLS = QAbstractButton | QAbstractSlider | QComboBox | QAbstractSpinBox


def controls(window: MainWindow) -> list[QWidget]:
    """Return all controls except scroll bars and parts of other controls."""
    return [
        widget
        for widget in window.findChildren(QWidget)
        if isinstance(widget, CONTROLS)
        and widget.metaObject().className() not in ("QScrollBar", "QTabBar", "CloseButton")
        and not isinstance(widget.parent(), CONTROLS | QTabBar | QLineEdit)
        and not widget.objectName().startswith("qt_")
    ]


def test_everything_is_reached_by_tab_and_explains_itself(window: MainWindow) -> None:
    parts = controls(window)
    assert len(parts) > 25
    unreachable = [name_of(part) for part in parts if not part.focusPolicy() & Qt.FocusPolicy.TabFocus]
    silent = [name_of(part) for part in parts if not part.toolTip()]
    assert unreachable == []
    assert silent == []


def name_of(widget: QWidget) -> str:
    """Return a name for the message of a failing test."""
    text = widget.text() if isinstance(widget, QAbstractButton) else ""
    return f"{type(widget).__name__} {text} in {type(widget.parent()).__name__}"


def test_handedness_can_be_overridden(window: MainWindow) -> None:
    box = window.source_panel.sides
    box.setCurrentIndex(1)
    box.activated.emit(1)
    assert window._controller.settings.pipeline.side == "left"
    window._controller.change(side="right")
    assert box.currentText() == "Force right"


def test_menus_mark_what_is_on(qtbot: QtBot, window: MainWindow) -> None:
    window._controller.change(model="amvur", wireframe=True)

    def marked() -> set[str]:
        bar = window.menuBar()
        assert bar is not None
        for entry in bar.actions():
            menu = entry.menu()
            assert menu is not None
            menu.aboutToShow.emit()
        return {action.text() for action in window.actions() if action.isChecked()}

    usual = {"Colour: Uncertainty", "Grid, axes and scale bar (3D view)", "Labels of hands", "Loop", "Theme: System"}
    assert marked() == usual | {"AMVUR", "Wireframe"}
    press(qtbot, window, "2")
    press(qtbot, window, "W")
    press(qtbot, window, "C")
    assert marked() == usual | {"AMVUR", "Compare models side by side"}


def test_escape_leaves_full_screen_when_nothing_is_selected(qtbot: QtBot, window: MainWindow) -> None:
    window.show()
    press(qtbot, window, "F11")
    qtbot.waitUntil(window.isFullScreen)
    press(qtbot, window, "Esc")
    qtbot.waitUntil(lambda: not window.isFullScreen())
    press(qtbot, window, "Esc")
    assert not window.isFullScreen()
