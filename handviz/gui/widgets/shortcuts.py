"""Actions of the window: keys, menus, and the list of keyboard shortcuts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from PyQt6.QtCore import QEvent, QObject, QSize, Qt
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
    QScrollArea,
    QStyle,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

from handviz.gui.session.settings import ViewSettings, value_of
from handviz.gui.widgets.controls import named_label, push_button

MenuName = Literal["File", "Source", "Model", "View", "Tools", "Help"]
COLUMN_COUNT, MAX_LINES = 3, 24
"""Of the list of keys; longer blocks are continued in another one."""
SCREEN_MARGIN_PX = 80
MOUSE = (
    "Click: Select a hand, read a point",
    "Drag: Move the image, rotate the 3D view",
    "Middle drag, Shift+drag: Pan",
    "Wheel: Zoom",
    "Double-click: Reset zoom and viewpoint",
    "Right drag: Move the light (studio light)",
    "Right double-click: Reset the light",
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
    """Action of the window, with its keys if it has any."""

    keys: tuple[str, ...]
    text: str
    action: Callable[[], object]
    menu: MenuName = "View"
    setting: tuple[str, object] | None = None
    """name and value of the setting for which the menu marks the action"""


class Feature(QObject):
    """Function of the window with its own actions, widgets and threads."""

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the actions for keys and menus."""
        return ()

    def stop(self) -> None:
        """Stop all threads and wait for them; the window is closing."""


def install(window: QMainWindow, shortcuts: Sequence[Shortcut], settings: Callable[[], ViewSettings]) -> None:
    """Add the actions to the window and its menus."""
    bar = window.menuBar()
    assert bar is not None
    menus = {name: bar.addMenu(f"&{name}") for name in get_args(MenuName)}
    marked: list[tuple[QAction, str, object]] = []

    def mark() -> None:
        for action, name, value in marked:
            action.setChecked(value_of(settings(), name) == value)

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
    """Dialog that lists the keys by menu, and the mouse."""

    def __init__(self, shortcuts: Sequence[Shortcut], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keyboard shortcuts")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        with_keys = [shortcut for shortcut in shortcuts if shortcut.keys]
        blocks = [
            (name, [("  ".join(one.keys), one.text) for one in with_keys if one.menu == name])
            for name in get_args(MenuName)
        ]
        blocks.append(("Mouse", [(mouse, meaning) for mouse, _, meaning in (text.partition(": ") for text in MOUSE)]))
        blocks = [
            (name, lines[at : at + MAX_LINES]) for name, lines in blocks for at in range(0, len(lines), MAX_LINES)
        ]
        content = QWidget()
        columns = QHBoxLayout(content)
        columns.setSpacing(34)
        for part in _even_columns(blocks):
            columns.addLayout(_column_of(part))
        area = QScrollArea()
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setWidget(content)
        close = push_button("Close", "Close (Escape)", self.reject)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(22, 16, 22, 16)
        whole.addWidget(area)
        whole.addSpacing(8)
        whole.addWidget(close, 0, Qt.AlignmentFlag.AlignRight)
        screen = self.screen()
        style = self.style()
        assert screen is not None
        assert style is not None
        bar = style.pixelMetric(QStyle.PixelMetric.PM_ScrollBarExtent)
        wanted = content.sizeHint() + QSize(44 + bar, close.sizeHint().height() + 60 + bar)
        self.resize(wanted.boundedTo(screen.availableSize() - QSize(SCREEN_MARGIN_PX, SCREEN_MARGIN_PX)))


Block = tuple[str, list[tuple[str, str]]]


def _even_columns(blocks: list[Block]) -> list[list[Block]]:
    """Distribute blocks, in their order, over columns of about the same length."""
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


class FocusKeyFilter(QObject):
    """Event filter of the application: a focused button takes the space bar before the shortcut for play / pause.

    Buttons get the focus by Tab only (``focus_by_tab_only``), so that mouse users keep the shortcuts.
    """

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Accept keys that the focused widget uses; Qt asks before it runs a shortcut."""
        asks_for_key = event is not None and event.type() == QEvent.Type.ShortcutOverride
        if (
            asks_for_key
            and isinstance(event, QKeyEvent)
            and not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        ):
            for kind, keys in OWN_KEYS:
                if isinstance(watched, kind) and event.key() in keys:
                    event.accept()
                    return True
        return super().eventFilter(watched, event)


def focus_by_tab_only(root: QWidget) -> None:
    """Give buttons, sliders and lists under ``root`` the focus by Tab only; fields are unchanged."""
    for widget in root.findChildren(QWidget):
        if isinstance(widget, QAbstractButton | QAbstractSlider | QComboBox | QTabBar):
            widget.setFocusPolicy(Qt.FocusPolicy.TabFocus)
