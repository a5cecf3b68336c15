"""Event filters of controls: the wheel scrolls the panel behind them, and Enter and Escape end typing."""

from PyQt6.QtCore import QEvent, QObject, Qt
from PyQt6.QtGui import QKeyEvent, QWheelEvent
from PyQt6.QtWidgets import QAbstractSpinBox, QApplication, QComboBox, QLineEdit, QSlider, QWidget

from handviz.gui.widgets.controls import Panel

ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


def let_wheel_scroll(root: QWidget) -> None:
    """Let the wheel over controls scroll the panel that they lie in; it changes a value on the timeline only."""
    passing = _WheelFilter(root)
    for widget in root.findChildren(QWidget):
        is_slider = isinstance(widget, QSlider) and _panel_of(widget) is not None
        if is_slider or isinstance(widget, QAbstractSpinBox | QComboBox):
            widget.installEventFilter(passing)


def give_keyboard_back(root: QWidget) -> None:
    """Let Enter take over what was typed in a field, Escape restore what was there, and both end the typing."""
    for widget in root.findChildren(QWidget):
        is_inside = isinstance(widget.parentWidget(), QAbstractSpinBox | QComboBox)
        if isinstance(widget, QAbstractSpinBox | QLineEdit) and not is_inside:
            widget.installEventFilter(_FieldFilter(widget))


def _panel_of(widget: QWidget) -> Panel | None:
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, Panel):
        parent = parent.parentWidget()
    return parent


class _WheelFilter(QObject):
    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Give the wheel to the scroll bar of the panel, if there is one."""
        if isinstance(event, QWheelEvent) and isinstance(watched, QWidget):
            panel = _panel_of(watched)
            if panel is not None:
                QApplication.sendEvent(panel.verticalScrollBar(), event)
            return True
        return super().eventFilter(watched, event)


class _FieldFilter(QObject):
    """Filter of one field, which remembers the text from before the typing."""

    def __init__(self, field: QAbstractSpinBox | QLineEdit) -> None:
        super().__init__(field)
        self._field, self._before = field, ""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """End the typing on Enter and Escape, which Qt offers to the window's shortcuts first."""
        if event is not None and event.type() == QEvent.Type.FocusIn:
            self._before = self._field.text()
        if not isinstance(event, QKeyEvent) or event.key() not in (*ENTER, Qt.Key.Key_Escape):
            return super().eventFilter(watched, event)
        if event.type() == QEvent.Type.ShortcutOverride:
            event.accept()
            return True
        if event.type() == QEvent.Type.KeyPress:
            self._end(restores=event.key() == Qt.Key.Key_Escape)
            return True
        return super().eventFilter(watched, event)

    def _end(self, *, restores: bool) -> None:
        field = self._field
        if isinstance(field, QAbstractSpinBox):
            if restores:
                line = field.lineEdit()
                assert line is not None
                line.setText(self._before)
            field.interpretText()
        elif restores:
            field.setText(self._before)
        # Signals ``editingFinished``.
        field.clearFocus()
