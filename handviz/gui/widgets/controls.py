"""Widgets that the panels share."""

from collections.abc import Callable, Mapping
from typing import Any

from PyQt6.QtCore import QObject, QSignalBlocker, QSize, Qt, QTimer, pyqtSignal
from PyQt6.QtGui import QPainter, QPaintEvent
from PyQt6.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

PANEL_WIDTH_PX = 254


def named_label(name: str, text: str = "", *, wraps: bool = False) -> QLabel:
    """Return a plain-text label (file names may look like HTML) that the theme styles by ``name``."""
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setObjectName(name)
    label.setWordWrap(wraps)
    return label


def push_button(text: str, hint: str, clicked: Callable[..., object] | None = None) -> QPushButton:
    """Return a button with a tooltip."""
    button = QPushButton(text)
    button.setToolTip(hint)
    if clicked is not None:
        button.clicked.connect(clicked)
    return button


def check_box(text: str, hint: str, toggled: Callable[[bool], object] | None = None) -> QCheckBox:
    """Return a check box with a tooltip; ``toggled`` is called with its new state."""
    box = QCheckBox(text)
    box.setToolTip(hint)
    if toggled is not None:
        box.toggled.connect(toggled)
    return box


def combo_box(texts: Mapping[Any, str], hint: str) -> QComboBox:
    """Return a combo box with a tooltip; its data are the keys of ``texts``."""
    box = QComboBox()
    box.setToolTip(hint)
    for value, text in texts.items():
        box.addItem(text, value)
    return box


def check_quietly(button: QAbstractButton, checked: bool) -> None:
    """Check or uncheck a button without its signals."""
    with QSignalBlocker(button):
        button.setChecked(checked)


def row_of(*parts: QWidget | None, wide: QWidget | None = None) -> QHBoxLayout:
    """Return a row of widgets; ``wide`` takes the free space, and so does None."""
    row = QHBoxLayout()
    for part in parts:
        if part is None:
            row.addStretch(1)
        else:
            row.addWidget(part, int(part is wide))
    return row


def number_box(limits: tuple[float, float], suffix: str) -> QDoubleSpinBox:
    """Return a field for a number with one decimal, which signals complete numbers only."""
    box = QDoubleSpinBox()
    box.setRange(*limits)
    box.setDecimals(1)
    box.setSuffix(suffix)
    box.setKeyboardTracking(False)
    box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    box.setAlignment(Qt.AlignmentFlag.AlignRight)
    box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    box.setFixedWidth(84)
    return box


def single_shot(parent: QObject, interval_ms: int, fired: Callable[[], object]) -> QTimer:
    """Return a timer that calls ``fired`` once after each ``start``; another start begins the interval anew."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(interval_ms)
    timer.timeout.connect(fired)
    return timer


class LiveLabel(QLabel):
    """Line of text that changes with every frame; the layout hears of it only when it needs more room.

    A label of free size has the window laid out, and all of it painted, for every text.
    """

    def __init__(self, name: str, text: str = "") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setObjectName(name)
        self.setFixedSize(0, 0)
        self.setText(text)

    def setText(self, text: str | None) -> None:  # noqa: N802
        """Set the text; an empty one gives its room back."""
        super().setText(text)
        hint = self.sizeHint() if text else QSize(0, 0)
        if not text or hint.width() > self.width() or hint.height() != self.height():
            self.setFixedSize(hint)


class ElidedLabel(QLabel):
    """Line of text, elided in the middle where it is too long; the tooltip has all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setMinimumWidth(1)

    def setText(self, text: str | None) -> None:  # noqa: N802
        """Set the text and the tooltip."""
        if text != self.text():
            super().setText(text)
            self.setToolTip(text or "")

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Return no width, so that long texts do not displace neighbours."""
        return QSize(1, super().minimumSizeHint().height())

    def paintEvent(self, _: QPaintEvent | None) -> None:  # noqa: N802
        """Draw as much of the text as fits."""
        fitting = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideMiddle, self.width())
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        painter.drawText(self.rect(), int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), fitting)
        painter.end()


class Group(QFrame):
    """Titled part of a panel; a click on its title, or Space, collapses it."""

    folded = pyqtSignal(bool)

    def __init__(self, title: str) -> None:
        super().__init__()
        self.setObjectName("group")
        self.title = title
        self.heading = QToolButton()
        self.heading.setObjectName("heading")
        self.heading.setText(title.upper())
        self.heading.setToolTip("Collapse or expand this group")
        self.heading.setCheckable(True)
        self.heading.setChecked(True)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.body = QWidget()
        self.column = QVBoxLayout(self.body)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(7)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(5)
        whole.addWidget(self.heading)
        whole.addWidget(self.body)
        self.heading.toggled.connect(self._follow_heading)
        self._follow_heading(True)

    @property
    def is_folded(self) -> bool:
        """Whether only the title is shown."""
        return not self.heading.isChecked()

    def set_folded(self, folded: bool) -> None:
        """Collapse or expand the group."""
        self.heading.setChecked(not folded)

    def _follow_heading(self, is_open: bool) -> None:
        self.body.setVisible(is_open)
        self.heading.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)
        self.folded.emit(not is_open)


class Panel(QScrollArea):
    """Column of groups at the side of the window, which scrolls if the window is low."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFixedWidth(PANEL_WIDTH_PX)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        content = QFrame()
        content.setObjectName("panel")
        self._whole = QVBoxLayout(content)
        self._whole.setContentsMargins(14, 8, 14, 12)
        self._whole.setSpacing(9)
        # Without this a growing text squeezes the widgets above it until the scroll area adapts: flicker.
        self._whole.setSizeConstraint(QLayout.SizeConstraint.SetMinimumSize)
        self._whole.addStretch(1)
        self.groups: list[Group] = []
        self.column = self._whole
        """layout of the present group"""
        self.setWidget(content)

    def group(self, title: str, *, before: str = "") -> Group:
        """Add a group, which ``column`` belongs to from now on; ``before`` is the title of another group."""
        group = Group(title)
        indices = [index for index, other in enumerate(self.groups) if other.title == before]
        index = indices[0] if indices else len(self.groups)
        self.groups.insert(index, group)
        self._whole.insertWidget(index, group)
        self.column = group.column
        return group

    def resume(self, title: str) -> None:
        """Let ``column`` belong to the group with this title again."""
        self.column = next(group.column for group in self.groups if group.title == title)

    def add_line(self) -> QHBoxLayout:
        """Add a line to the present group; its widgets' parent can be hidden."""
        holder = QWidget()
        line = QHBoxLayout(holder)
        line.setContentsMargins(0, 0, 0, 0)
        self.column.addWidget(holder)
        return line

    def add_with_key(self, button: QAbstractButton, key: str) -> None:
        """Add a line with a button and its key."""
        line = self.add_line()
        line.addWidget(button, 1)
        line.addWidget(named_label("key", key))

    def add_switch(self, text: str, key: str, hint: str, toggled: Callable[[bool], object] | None = None) -> QCheckBox:
        """Add a line with a check box and its key."""
        box = check_box(text, hint, toggled)
        self.add_with_key(box, key)
        return box
