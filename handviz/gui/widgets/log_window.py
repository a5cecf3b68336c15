"""Window with the program's log, which can be filtered, copied and saved."""

import logging
from collections import deque
from pathlib import Path

from PyQt6.QtCore import QObject, pyqtSignal
from PyQt6.QtGui import QFontDatabase, QTextCursor
from PyQt6.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QLineEdit,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from handviz.core.errors import HandvizError
from handviz.core.files import write_files
from handviz.gui.widgets.controls import named_label, push_button, row_of

MAX_LINES = 5000
LEVELS = {"Everything": logging.DEBUG, "Info and above": logging.INFO, "Warnings and above": logging.WARNING}
FORMAT = "%(asctime)s  %(levelname)-8s  %(name)s: %(message)s"


class LogBuffer(QObject, logging.Handler):
    """Log handler that stores the newest lines of all threads; ``written`` reports each."""

    written = pyqtSignal(int, str)
    """level and line"""

    def __init__(self) -> None:
        QObject.__init__(self)
        logging.Handler.__init__(self)
        self.setFormatter(logging.Formatter(FORMAT))
        self.lines: deque[tuple[int, str]] = deque(maxlen=MAX_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Store a record; logging calls this in any thread."""
        try:
            line = self.format(record)
        except (TypeError, ValueError):
            # A message that does not fit its arguments must not end its thread.
            line = str(record.msg)
        self.lines.append((record.levelno, line))
        self.written.emit(record.levelno, line)


class LogWindow(QDialog):
    """Dialog that shows the lines of a LogBuffer."""

    def __init__(self, buffer: LogBuffer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Log")
        self.resize(860, 420)
        self._buffer = buffer
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setMaximumBlockCount(MAX_LINES)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setAccessibleName("Log lines")
        self.level = QComboBox()
        self.level.addItems(list(LEVELS))
        self.level.setCurrentText("Info and above")
        self.level.setToolTip("Minimum level of the lines shown")
        self.search = QLineEdit()
        self.search.setPlaceholderText("Filter…")
        self.search.setToolTip("Show only lines that contain this text")
        self.message = named_label("faint")
        self.save = push_button("Save…", "Save the shown lines to a file")
        self._lay_out()
        self.level.currentTextChanged.connect(self._show_all)
        self.search.textChanged.connect(self._show_all)
        self.save.clicked.connect(self._save)
        buffer.written.connect(self._show_line)
        self._show_all()

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.addLayout(row_of(self.level, self.search, self.save, wide=self.search))
        column.addWidget(self.text, 1)
        column.addWidget(self.message)

    def _is_wanted(self, level: int, line: str) -> bool:
        return level >= LEVELS[self.level.currentText()] and self.search.text().lower() in line.lower()

    def _show_all(self) -> None:
        lines = [line for level, line in list(self._buffer.lines) if self._is_wanted(level, line)]
        self.text.setPlainText("\n".join(lines))
        self.text.moveCursor(QTextCursor.MoveOperation.End)

    def _show_line(self, level: int, line: str) -> None:
        if self._is_wanted(level, line):
            self.text.appendPlainText(line)

    def _save(self) -> None:
        path = QFileDialog.getSaveFileName(self, "Save log", "handviz.log", "Text (*.log *.txt)")[0]
        if not path:
            return
        try:
            write_files({Path(path): self.text.toPlainText().encode("utf-8")})
            self.message.setText(f"Saved {path}")
        except HandvizError as error:
            self.message.setText(str(error))
