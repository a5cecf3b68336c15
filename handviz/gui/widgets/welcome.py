"""The panel of the first start: what this is, and the five things to try."""

from PyQt6.QtCore import QEvent, QObject, Qt
from PyQt6.QtGui import QKeyEvent
from PyQt6.QtWidgets import QFrame, QGridLayout, QVBoxLayout, QWidget

from handviz.gui.widgets.controls import named_label, push_button, row_of

WELCOMED = "welcomed"
INTRODUCTION = (
    "handviz finds the hands in an image and lays a 3D mesh on each. Its colours say how far the network expects to "
    "be off at every point, in millimetres: dark is sure, yellow is not."
)
THINGS_TO_TRY = (
    ("Source", "on the left: a camera, a clip or a folder, or drop one anywhere"),
    ("1  2  3", "prior-net, AMVUR or both; C shows them side by side"),
    ("V  T  P", "standard deviation, the hand's own skin, plain colour"),
    ("O", "free orbit: drag to turn, wheel to zoom, double click to come back"),
    ("click", "on the hand: what is known of that point, and how well"),
    ("F3", "inspect a whole folder: a table, worst first, and a report"),
    ("Ctrl+L", "tell your camera's field of view: until then distances are assumed"),
    ("F1", "all keys; the menus hold everything too"),
)
WIDTH_PX = 520


class Welcome(QFrame):
    """A card in the middle of its parent, until it is put away."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("card")
        column = QVBoxLayout(self)
        column.setContentsMargins(26, 22, 26, 20)
        column.setSpacing(12)
        column.addWidget(named_label("title", "Welcome to handviz"))
        column.addWidget(named_label("", INTRODUCTION, wraps=True))
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        grid.setColumnStretch(1, 1)
        for row, (key, text) in enumerate(THINGS_TO_TRY):
            grid.addWidget(named_label("number", key), row, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(named_label("", text, wraps=True), row, 1)
        column.addLayout(grid)
        self.close_button = push_button("Begin", "Put this panel away; Help, Welcome brings it back", self.hide)
        hint = named_label("faint", "Help, Welcome shows this again")
        column.addLayout(row_of(hint, self.close_button, wide=hint))
        parent.installEventFilter(self)
        self.hide()

    def appear(self) -> None:
        """Show it, with the keyboard on its button."""
        self.show()
        self._place()
        self.raise_()
        self.close_button.setFocus(Qt.FocusReason.OtherFocusReason)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Enter begins, as it would in a dialog."""
        if event is not None and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.hide()
        else:
            super().keyPressEvent(event)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Stay in the middle; Escape puts it away before it means anything else."""
        if event is not None and event.type() == QEvent.Type.Resize and self.isVisible():
            self._place()
        if self.isVisible() and isinstance(event, QKeyEvent) and _is_escape(event):
            event.accept()
            self.hide()
            return True
        return super().eventFilter(watched, event)

    def _place(self) -> None:
        parent = self.parentWidget()
        assert parent is not None
        width, layout = max(min(WIDTH_PX, parent.width() - 24), 200), self.layout()
        assert layout is not None
        # Labels that wrap have no height before they have a width.
        self.setFixedSize(width, layout.totalHeightForWidth(width))
        self.move(max((parent.width() - self.width()) // 2, 0), max((parent.height() - self.height()) // 2, 0))


def _is_escape(event: QKeyEvent) -> bool:
    """Asked before it is taken for a shortcut."""
    return event.type() == QEvent.Type.ShortcutOverride and event.key() == Qt.Key.Key_Escape
