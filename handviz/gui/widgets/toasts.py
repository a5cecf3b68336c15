"""Short messages over the window's corner that disappear by themselves."""

from PyQt6.QtCore import QEvent, QObject, QTimer
from PyQt6.QtWidgets import QLabel, QVBoxLayout, QWidget

from handviz.gui.widgets.controls import named_label

SHOWN_MS = 7000
MAX_AT_ONCE = 4
WIDTH_PX, MARGIN_PX, TOP_PX = 360, 14, 40


class Toasts(QWidget):
    """Messages in the upper right corner of the parent; a click dismisses one."""

    def __init__(self, parent: QWidget, *, shown_ms: int = SHOWN_MS) -> None:
        super().__init__(parent)
        self._shown_ms = shown_ms
        self.labels: list[QLabel] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(6)
        parent.installEventFilter(self)
        self.hide()

    def show_toast(self, message: str) -> None:
        """Show a message; one that is already shown stays longer."""
        for label in self.labels:
            if label.text() == message:
                self._drop(label)
                break
        label = named_label("toast", message, wraps=True)
        label.setToolTip("Click to dismiss")
        label.setAccessibleName(message)
        label.installEventFilter(self)
        timer = QTimer(label)
        timer.setSingleShot(True)
        timer.timeout.connect(lambda: self._drop(label))
        timer.start(self._shown_ms)
        self.labels.append(label)
        self._column.addWidget(label)
        for oldest in self.labels[:-MAX_AT_ONCE]:
            self._drop(oldest)
        self._place()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Follow the parent's size; dismiss clicked messages."""
        if event is not None and event.type() == QEvent.Type.Resize and watched is self.parent():
            self._place()
        if event is not None and event.type() == QEvent.Type.MouseButtonRelease and watched in self.labels:
            assert isinstance(watched, QLabel)
            self._drop(watched)
        return super().eventFilter(watched, event)

    def _drop(self, label: QLabel) -> None:
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
        height = sum(max(label.heightForWidth(width), label.sizeHint().height()) for label in self.labels)
        height += self._column.spacing() * (len(self.labels) - 1)
        self.setGeometry(parent.width() - width - MARGIN_PX, TOP_PX, width, height)
        self.show()
        self.raise_()
