"""Keys go to the widget that has the focus where it has a use for them, and to the window's shortcuts otherwise."""

from PyQt6.QtCore import QEvent, QObject, Qt
from PyQt6.QtGui import QKeyEvent
from PyQt6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QTabBar,
    QWidget,
)

ARROWS = frozenset((Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down))
ENDS = frozenset((Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown))
OWN_KEYS: tuple[tuple[type[QWidget], frozenset[Qt.Key]], ...] = (
    (QAbstractButton, frozenset((Qt.Key.Key_Space,)) | ARROWS),
    (QComboBox, frozenset((Qt.Key.Key_Space,)) | ARROWS),
    (QAbstractSlider, ARROWS | ENDS),
    (QAbstractSpinBox, ARROWS),
    (QAbstractItemView, frozenset((Qt.Key.Key_Space,)) | ARROWS | ENDS),
    (QTabBar, ARROWS),
)


class KeyboardManners(QObject):
    """An event filter for the application: a focused button takes the space bar before the shortcut "hold" does.

    Buttons get the focus by Tab alone (``parts``), so whoever uses the mouse keeps the shortcuts.
    """

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Qt asks every focused widget before it runs a shortcut."""
        is_question = event is not None and event.type() == QEvent.Type.ShortcutOverride
        if is_question and isinstance(event, QKeyEvent) and not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            for kind, keys in OWN_KEYS:
                if isinstance(watched, kind) and event.key() in keys:
                    event.accept()
                    return True
        return super().eventFilter(watched, event)


def reach_by_tab_alone(root: QWidget) -> None:
    """Buttons, sliders and lists under ``root`` get the focus by Tab, never by a click; fields are as they were."""
    for widget in root.findChildren(QWidget):
        if isinstance(widget, QAbstractButton | QAbstractSlider | QComboBox | QTabBar):
            widget.setFocusPolicy(Qt.FocusPolicy.TabFocus)
