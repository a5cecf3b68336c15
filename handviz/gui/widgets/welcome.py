"""Panel of the first start: what the program does, and what to try."""

from PyQt6.QtCore import QEvent, QObject, Qt
from PyQt6.QtGui import QKeyEvent
from PyQt6.QtWidgets import QFrame, QGridLayout, QVBoxLayout, QWidget

from handviz.gui.widgets.choices import choices_of
from handviz.gui.widgets.controls import named_label, push_button, row_of

WELCOMED = "welcomed"
INTRODUCTION = (
    "handviz detects the hands in an image and reconstructs a 3D mesh of each. Colours show the uncertainty of every "
    "point in millimetres: dark = confident, yellow = uncertain."
)
MODELS = "The models, in the order of the panel; C compares two to four side by side"
THINGS_TO_TRY = (
    ("V  T  P", "Colour: uncertainty, texture or shaded"),
    ("O", "Overlay or 3D view: drag to rotate, wheel to zoom, double-click to reset"),
    ("Click", "Select a hand and read that point; X gives it the other side, Del hides it"),
    ("F3", "Folder inspector: a table of all images, worst first, and a report"),
    ("Ctrl+L", "Camera intrinsics: distances rest on an assumed field of view until you state yours"),
    ("F1", "Keyboard shortcuts; the menus have every function"),
)
WIDTH_PX = 520


def things_to_try() -> tuple[tuple[str, str], ...]:
    """Return keys and what they are for; those of the models are the registry's."""
    keys = [choice.key for choice in choices_of("model") if choice.key]
    source = "On the left: a camera, clip or folder; or drop one anywhere"
    return ("Source", source), (f"{keys[0]} – {keys[-1]}", MODELS), *THINGS_TO_TRY


class Welcome(QFrame):
    """Card in the centre of its parent."""

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
        for row, (key, text) in enumerate(things_to_try()):
            grid.addWidget(named_label("number", key), row, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(named_label("", text, wraps=True), row, 1)
        column.addLayout(grid)
        self.close_button = push_button("Get started", "Close this panel", self.hide)
        hint = named_label("faint", "Show again from Help > Welcome")
        column.addLayout(row_of(hint, self.close_button, wide=hint))
        parent.installEventFilter(self)
        self.hide()

    def appear(self) -> None:
        """Show the card, with the focus on its button."""
        self.show()
        self._place()
        self.raise_()
        self.close_button.setFocus(Qt.FocusReason.OtherFocusReason)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Close on Enter, as a dialog does."""
        if event is not None and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.hide()
        else:
            super().keyPressEvent(event)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Stay in the centre; Escape closes the card before any other use of the key."""
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
    """Return whether Qt asks for Escape before it runs a shortcut."""
    return event.type() == QEvent.Type.ShortcutOverride and event.key() == Qt.Key.Key_Escape
