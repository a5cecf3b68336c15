"""Pieces that the panels share."""

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget

PANEL_WIDTH_PX = 254


def heading(text: str) -> QLabel:
    """The title of a group."""
    label = QLabel(text.upper())
    label.setObjectName("heading")
    return label


def named_label(name: str, text: str = "", *, wraps: bool = False) -> QLabel:
    """A label that the theme styles by ``name``; it shows ``text`` as it is, for names of files may look like HTML."""
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setObjectName(name)
    label.setWordWrap(wraps)
    return label


def number_box(limits: tuple[float, float], suffix: str) -> QDoubleSpinBox:
    """A field for a number with one decimal; it speaks when the number is complete."""
    box = QDoubleSpinBox()
    box.setRange(*limits)
    box.setDecimals(1)
    box.setSuffix(suffix)
    box.setKeyboardTracking(False)
    box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    box.setAlignment(Qt.AlignmentFlag.AlignRight)
    box.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
    box.setFixedWidth(84)
    return box


def line() -> QFrame:
    """A thin line between groups."""
    frame = QFrame()
    frame.setObjectName("line")
    frame.setFixedHeight(1)
    return frame


class Panel(QScrollArea):
    """A column at the side of the window; it scrolls where the window is low."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFixedWidth(PANEL_WIDTH_PX)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        content = QFrame()
        content.setObjectName("panel")
        self.column = QVBoxLayout(content)
        self.column.setContentsMargins(14, 8, 14, 12)
        self.column.setSpacing(7)
        self.setWidget(content)

    def group(self, title: str) -> None:
        """Begin a new group."""
        if self.column.count():
            self.column.addSpacing(4)
            self.column.addWidget(line())
        self.column.addWidget(heading(title))
