"""Short messages over the window's corner that disappear by themselves."""

from functools import partial

from PyQt6.QtCore import QEvent, QObject, QRect, Qt, QTimer, QUrl
from PyQt6.QtGui import QDesktopServices
from PyQt6.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from handviz.gui.widgets.controls import push_button

SHOWN_MS = 7000
MAX_AT_ONCE = 4
WIDTH_PX, MARGIN_PX, TOP_PX, GAP_PX = 360, 14, 40, 6
PADDING_PX = 13
"""Around the text: what the theme gives, and its border."""


class Toast(QLabel):
    """One message; ``button`` opens the folder that it is about, if it is about one."""

    def __init__(self, message: str, name: str, folder: str) -> None:
        super().__init__()
        # File names may look like HTML.
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.setObjectName(name)
        self.setWordWrap(True)
        self.setText(message)
        self.setToolTip("Click to dismiss")
        self.setAccessibleName(message)
        self.button: QPushButton | None = None
        if folder:
            self.button = push_button("Open folder", folder, partial(open_folder, folder))
            self.button.setParent(self)

    def height_for(self, width_px: int) -> int:
        """Return the height at a width, with the button below the text."""
        self.ensurePolished()  # so that the font is the theme's
        space = QRect(0, 0, width_px - 2 * PADDING_PX, 10_000)
        text = self.fontMetrics().boundingRect(space, int(Qt.TextFlag.TextWordWrap), self.text())
        below = self.button.sizeHint().height() + 2 * GAP_PX if self.button is not None else 0
        return text.height() + 2 * PADDING_PX + below

    def place_button(self) -> None:
        """Put the button into the lower right corner."""
        if self.button is not None:
            hint = self.button.sizeHint()
            self.button.setGeometry(
                self.width() - hint.width() - GAP_PX,
                self.height() - hint.height() - GAP_PX,
                hint.width(),
                hint.height(),
            )


class Toasts(QWidget):
    """Messages in the upper right corner of the parent; a click dismisses one."""

    def __init__(self, parent: QWidget, *, shown_ms: int = SHOWN_MS) -> None:
        super().__init__(parent)
        self._shown_ms = shown_ms
        self.labels: list[Toast] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(6)
        parent.installEventFilter(self)
        self.hide()

    def show_toast(self, message: str) -> None:
        """Show an error; one that is already shown stays longer."""
        self._show(Toast(message, "toast", ""))

    def show_saved(self, message: str, folder: str) -> None:
        """Show what was written, with a button that opens its folder."""
        self._show(Toast(message, "saved_toast", folder))

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Follow the parent's size; dismiss clicked messages."""
        if event is not None and event.type() == QEvent.Type.Resize and watched is self.parent():
            self._place()
        if event is not None and event.type() == QEvent.Type.MouseButtonRelease and watched in self.labels:
            assert isinstance(watched, Toast)
            self._drop(watched)
        return super().eventFilter(watched, event)

    def _show(self, toast: Toast) -> None:
        for label in self.labels:
            if label.text() == toast.text():
                self._drop(label)
                break
        toast.installEventFilter(self)
        timer = QTimer(toast)
        timer.setSingleShot(True)
        timer.timeout.connect(lambda: self._drop(toast))
        timer.start(self._shown_ms)
        self.labels.append(toast)
        self._column.addWidget(toast)
        for oldest in self.labels[:-MAX_AT_ONCE]:
            self._drop(oldest)
        self._place()

    def _drop(self, label: Toast) -> None:
        if label in self.labels:
            self.labels.remove(label)
            self._column.removeWidget(label)
            label.hide()
            label.deleteLater()
            self._place()

    def _place(self) -> None:
        parent = self.parentWidget()
        assert parent is not None
        if not self.labels:
            self.hide()
            return
        width = min(WIDTH_PX, max(parent.width() - 2 * MARGIN_PX, 80))
        for label in self.labels:
            label.setFixedHeight(label.height_for(width))
            label.setFixedWidth(width)
            label.place_button()
        height = sum(label.height() for label in self.labels) + self._column.spacing() * (len(self.labels) - 1)
        self.setGeometry(parent.width() - width - MARGIN_PX, TOP_PX, width, height)
        self.show()
        self.raise_()


def open_folder(folder: str, _: bool = False) -> None:
    """Show a folder in the system's file manager."""
    QDesktopServices.openUrl(QUrl.fromLocalFile(folder))
