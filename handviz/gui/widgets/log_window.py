"""What the program has written to its log, in a window that can be searched, copied and saved."""

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
LEVELS = {"everything": logging.DEBUG, "notes and worse": logging.INFO, "troubles": logging.WARNING}
FORMAT = "%(asctime)s  %(levelname)-8s  %(name)s: %(message)s"


class LogBuffer(QObject, logging.Handler):
    """Keeps the newest lines of every thread; ``written`` tells the window of each."""

    written = pyqtSignal(int, str)
    """Level and line."""

    def __init__(self) -> None:
        QObject.__init__(self)
        logging.Handler.__init__(self)
        self.setFormatter(logging.Formatter(FORMAT))
        self.lines: deque[tuple[int, str]] = deque(maxlen=MAX_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record (logging calls this, in whichever thread)."""
        try:
            line = self.format(record)
        except (TypeError, ValueError):
            # A message that does not fit its arguments must not end the thread that wrote it.
            line = str(record.msg)
        self.lines.append((record.levelno, line))
        self.written.emit(record.levelno, line)


class LogWindow(QDialog):
    """Follows a LogBuffer."""

    def __init__(self, keeper: LogBuffer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Log")
        self.resize(860, 420)
        self._keeper = keeper
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setMaximumBlockCount(MAX_LINES)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setAccessibleName("Log lines")
        self.level = QComboBox()
        self.level.addItems(list(LEVELS))
        self.level.setCurrentText("notes and worse")
        self.level.setToolTip("Which lines are shown")
        self.search = QLineEdit()
        self.search.setPlaceholderText("only lines with …")
        self.search.setToolTip("Show only lines that hold this text")
        self.message = named_label("faint")
        self.save = push_button("Save …", "Write the lines that are shown into a file")
        self._lay_out()
        self.level.currentTextChanged.connect(self._show_all)
        self.search.textChanged.connect(self._show_all)
        self.save.clicked.connect(self._save)
        keeper.written.connect(self._show_line)
        self._show_all()

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.addLayout(row_of(self.level, self.search, self.save, wide=self.search))
        column.addWidget(self.text, 1)
        column.addWidget(self.message)

    def _is_wanted(self, level: int, line: str) -> bool:
        return level >= LEVELS[self.level.currentText()] and self.search.text().lower() in line.lower()

    def _show_all(self) -> None:
        lines = [line for level, line in list(self._keeper.lines) if self._is_wanted(level, line)]
        self.text.setPlainText("\n".join(lines))
        self.text.moveCursor(QTextCursor.MoveOperation.End)

    def _show_line(self, level: int, line: str) -> None:
        if self._is_wanted(level, line):
            self.text.appendPlainText(line)

    def _save(self) -> None:
        path = QFileDialog.getSaveFileName(self, "Save the log", "handviz.log", "Text (*.log *.txt)")[0]
        if not path:
            return
        try:
            write_files({Path(path): self.text.toPlainText().encode("utf-8")})
            self.message.setText(f"Saved {path}")
        except HandvizError as error:
            self.message.setText(str(error))
