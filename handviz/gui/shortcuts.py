"""Every action of the window once: its keys, its place in the menus, and the window that lists the keys."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QAction, QKeySequence
from PyQt6.QtWidgets import QDialog, QGridLayout, QMainWindow, QPushButton, QVBoxLayout, QWidget

from handviz.gui.parts import named_label

MenuName = Literal["File", "Source", "Network", "View", "Tools", "Help"]
MOUSE = (
    "drag: turn (free orbit)",
    "wheel: zoom (free orbit)",
    "double click: look as the camera does",
    "right drag: move the light (relight)",
    "double right click: the light as it was at first",
)


@dataclass(frozen=True)
class Shortcut:
    """One action of the window, with its keys if it has any."""

    keys: tuple[str, ...]
    text: str
    action: Callable[[], object]
    menu: MenuName = "View"


def install(window: QMainWindow, shortcuts: Sequence[Shortcut]) -> None:
    """Let the keys work anywhere in the window, and put every action into its menu."""
    bar = window.menuBar()
    assert bar is not None
    menus = {name: bar.addMenu(f"&{name}") for name in get_args(MenuName)}
    for shortcut in shortcuts:
        action = QAction(shortcut.text[:1].upper() + shortcut.text[1:], window)
        action.setShortcuts([QKeySequence(key) for key in shortcut.keys])
        action.triggered.connect(lambda _=False, do=shortcut.action: do())
        window.addAction(action)
        menu = menus[shortcut.menu]
        assert menu is not None
        menu.addAction(action)


class ShortcutWindow(QDialog):
    """Lists the shortcuts."""

    def __init__(self, shortcuts: Sequence[Shortcut], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Shortcuts")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        grid = QGridLayout()
        grid.setHorizontalSpacing(24)
        for row, shortcut in enumerate(shortcut for shortcut in shortcuts if shortcut.keys):
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
