"""Every shortcut once: what it does, and the window that lists them."""

from collections.abc import Callable
from dataclasses import dataclass

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QAction, QKeySequence
from PyQt6.QtWidgets import QDialog, QGridLayout, QPushButton, QVBoxLayout, QWidget

from handviz.gui.parts import named_label

MOUSE = (
    "drag: turn (free orbit)",
    "wheel: zoom (free orbit)",
    "double click: look as the camera does",
    "right drag: move the light (relight)",
    "double right click: the light as it was at first",
)


@dataclass(frozen=True)
class Shortcut:
    """One or more keys for one action."""

    keys: tuple[str, ...]
    text: str
    action: Callable[[], object]


def install(window: QWidget, shortcuts: list[Shortcut]) -> None:
    """Let the keys work anywhere in the window."""
    for shortcut in shortcuts:
        action = QAction(shortcut.text, window)
        action.setShortcuts([QKeySequence(key) for key in shortcut.keys])
        action.triggered.connect(lambda _=False, do=shortcut.action: do())
        window.addAction(action)


class ShortcutWindow(QDialog):
    """Lists the shortcuts."""

    def __init__(self, shortcuts: list[Shortcut], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Shortcuts")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        grid = QGridLayout()
        grid.setHorizontalSpacing(24)
        for row, shortcut in enumerate(shortcuts):
            grid.addWidget(named_label("number", "  ".join(shortcut.keys)), row, 0)
            grid.addWidget(named_label("", shortcut.text), row, 1)
        for text in MOUSE:
            row = grid.rowCount()
            mouse, _, meaning = text.partition(": ")
            grid.addWidget(named_label("number", mouse), row, 0)
            grid.addWidget(named_label("", meaning), row, 1)
        close = QPushButton("Close")
        close.clicked.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 16, 20, 16)
        column.addLayout(grid)
        column.addSpacing(8)
        column.addWidget(close)
