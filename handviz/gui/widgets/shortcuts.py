"""Every action of the window once: what offers it, its keys, its place in the menus, and the window that lists them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from PyQt6.QtCore import QEvent, QObject, Qt
from PyQt6.QtGui import QAction, QKeyEvent, QKeySequence
from PyQt6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QDialog,
    QGridLayout,
    QHBoxLayout,
    QMainWindow,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

from handviz.gui.session.settings import ViewSettings
from handviz.gui.widgets.controls import named_label, push_button

MenuName = Literal["File", "Source", "Network", "View", "Tools", "Help"]
COLUMN_COUNT = 2
MOUSE = (
    "click: read a point of a hand",
    "drag: turn (free orbit)",
    "wheel: zoom (free orbit)",
    "double click: look as the camera does",
    "right drag: move the light (relight)",
    "double right click: the light as it was at first",
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


@dataclass(frozen=True)
class Shortcut:
    """One action of the window, with its keys if it has any."""

    keys: tuple[str, ...]
    text: str
    action: Callable[[], object]
    menu: MenuName = "View"
    setting: tuple[str, object] | None = None
    """Name and value in ViewSettings that it stands for: the menu marks it while they hold."""


class Feature(QObject):
    """A function of the window with its own actions, widgets and threads; the window knows no more of it."""

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return its actions for keys and menus."""
        return ()

    def stop(self) -> None:
        """End what runs and wait for it; the window is closing."""


def install(window: QMainWindow, shortcuts: Sequence[Shortcut], settings: Callable[[], ViewSettings]) -> None:
    """Let the keys work anywhere in the window, and put every action into its menu."""
    bar = window.menuBar()
    assert bar is not None
    menus = {name: bar.addMenu(f"&{name}") for name in get_args(MenuName)}
    marked: list[tuple[QAction, str, object]] = []

    def mark() -> None:
        for action, name, value in marked:
            action.setChecked(getattr(settings(), name) == value)

    for menu in menus.values():
        assert menu is not None
        menu.aboutToShow.connect(mark)
    for shortcut in shortcuts:
        action = QAction(shortcut.text[:1].upper() + shortcut.text[1:], window)
        action.setShortcuts([QKeySequence(key) for key in shortcut.keys])
        if shortcut.setting is not None:
            action.setCheckable(True)
            marked.append((action, *shortcut.setting))
        action.triggered.connect(lambda _=False, do=shortcut.action: do())
        window.addAction(action)
        menu = menus[shortcut.menu]
        assert menu is not None
        menu.addAction(action)


class ShortcutWindow(QDialog):
    """Lists the keys by menu, and what the mouse does."""

    def __init__(self, shortcuts: Sequence[Shortcut], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Shortcuts")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        with_keys = [shortcut for shortcut in shortcuts if shortcut.keys]
        blocks = [
            (name, [("  ".join(one.keys), one.text) for one in with_keys if one.menu == name])
            for name in get_args(MenuName)
        ]
        blocks.append(("Mouse", [(mouse, meaning) for mouse, _, meaning in (text.partition(": ") for text in MOUSE)]))
        columns = QHBoxLayout()
        columns.setSpacing(34)
        for part in _even_columns([block for block in blocks if block[1]]):
            columns.addLayout(_column_of(part))
        close = push_button("Close", "Close this list (Escape)", self.reject)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(22, 16, 22, 16)
        whole.addLayout(columns)
        whole.addSpacing(8)
        whole.addWidget(close, 0, Qt.AlignmentFlag.AlignRight)


Block = tuple[str, list[tuple[str, str]]]


def _even_columns(blocks: list[Block]) -> list[list[Block]]:
    """Blocks in their order, in columns of about the same length."""
    lengths = [len(lines) + 2 for _, lines in blocks]
    columns: list[list[Block]] = [[] for _ in range(COLUMN_COUNT)]
    before = 0
    for block, length in zip(blocks, lengths, strict=True):
        columns[min((before + length // 2) * COLUMN_COUNT // sum(lengths), COLUMN_COUNT - 1)].append(block)
        before += length
    return [column for column in columns if column]


def _column_of(blocks: list[Block]) -> QGridLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(18)
    grid.setVerticalSpacing(3)
    for name, lines in blocks:
        row = grid.rowCount()
        grid.addWidget(named_label("faint", name.upper()), row, 0, 1, 2)
        for number, (keys, text) in enumerate(lines, start=row + 1):
            grid.addWidget(named_label("number", keys), number, 0)
            grid.addWidget(named_label("", text), number, 1)
        grid.setRowMinimumHeight(grid.rowCount(), 10)
    grid.setRowStretch(grid.rowCount(), 1)
    return grid


# Keys go to the widget that has the focus where it has a use for them, and to the window's shortcuts otherwise.


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
