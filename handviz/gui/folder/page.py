"""Folder inspector: folder and progress above the table at the left, the selected image at the right."""

from PyQt6.QtCore import QEvent, QModelIndex, QSize, Qt, pyqtSignal
from PyQt6.QtGui import QDragEnterEvent, QDropEvent, QKeyEvent
from PyQt6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QProgressBar,
    QSplitter,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from handviz.gui.folder.detail import InspectionDetail
from handviz.gui.folder.image_loaders import THUMBNAIL_SIDE_PX, Thumbnails
from handviz.gui.folder.inspection_worker import Progress
from handviz.gui.folder.table import (
    ALIGNED,
    ERROR,
    MAX_FIRST,
    MEAN,
    NAME,
    InspectionModel,
    RowFilter,
)
from handviz.gui.widgets.controls import combo_box, named_label, number_box, push_button, row_of
from handviz.gui.widgets.dropping import dropped_paths, welcome
from handviz.inspection.columns import TableRow
from handviz.rendering.hand_shape import ModelDisplay

SIDES = (("both", "Any hand"), ("left", "Left hands"), ("right", "Right hands"))
SHOWN = (
    ("all", "All images"),
    ("hands", "With hands"),
    ("no hands", "Without hands"),
    ("failed", "Unreadable"),
    ("waiting", "Pending"),
)
WIDTHS_PX = (176, 50, 56, 136, 128, 62, 90, 102, 60)
TABLE_WIDTH_PX = 710
ROW_HEIGHT_PX = THUMBNAIL_SIDE_PX * 3 // 4 + 6
KEYS_OF_THE_TABLE = {Qt.Key.Key_Up: -1, Qt.Key.Key_Left: -1, Qt.Key.Key_Down: 1, Qt.Key.Key_Right: 1}
INVITATION = "Drop a folder of images here, or choose one with Ctrl+I."
WITHOUT_SIGMA = "without hands that have no sigma"


class ImageTable(QTableView):
    """Table in which all four arrow keys move through the rows, whatever they do elsewhere in the window."""

    def event(self, event: QEvent | None) -> bool:
        """Take the arrow keys before the window's shortcuts do."""
        if event is not None and event.type() == QEvent.Type.ShortcutOverride:
            assert isinstance(event, QKeyEvent)
            if event.key() in KEYS_OF_THE_TABLE and not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
                event.accept()
                return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Treat left and right as up and down."""
        if event is not None and event.key() in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            self.move_by(KEYS_OF_THE_TABLE[Qt.Key(event.key())])
            return
        super().keyPressEvent(event)

    def move_by(self, by: int) -> None:
        """Move the selection by ``by`` rows, within the table."""
        model = self.model()
        count = model.rowCount() if model is not None else 0
        if count:
            self.selectRow(min(max(self.currentIndex().row() + by, 0), count - 1))


class InspectionPage(QWidget):
    """Widgets of the page; the feature connects them."""

    folder_dropped = pyqtSignal(str)
    row_chosen = pyqtSignal(object)
    """TableRow, or None."""

    def __init__(self, display: ModelDisplay, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAcceptDrops(True)
        self.thumbnails = Thumbnails()
        self.model = InspectionModel(self.thumbnails, self)
        self.detail = InspectionDetail(display)
        hint = "Reconstruct all images of a folder; results are saved and an inspection can be resumed later (Ctrl+I)"
        self.choose = push_button("Inspect folder…", hint)
        self.resume = push_button("Resume", "Pause or resume the inspection; rescan a finished folder")
        self.export = push_button("Export…", "Save hands.json, CSV, meshes and a report for the browser")
        self.worst = push_button(
            "Worst first", "Sort by error where there is a ground truth, else by mean standard deviation"
        )
        self.title = named_label("", INVITATION)
        self.status = named_label("faint")
        self.bar = QProgressBar()
        self.name = QLineEdit()
        self.side = combo_box(dict(SIDES), "Filter by handedness")
        self.shown = combo_box(dict(SHOWN), "Filter by state")
        self.above = number_box((0.0, 500.0), " mm")
        self.count = named_label("faint")
        self.table = self._new_table()
        self._lay_out()
        self._connect()

    @property
    def chosen(self) -> TableRow | None:
        """The selected row."""
        row = self.table.currentIndex().row()
        return self.model.rows[row] if 0 <= row < len(self.model.rows) else None

    def show_progress(self, progress: Progress, *, is_running: bool) -> None:
        """Show progress, rate and remaining time."""
        self.bar.setRange(0, max(progress.total, 1))
        self.bar.setValue(progress.done)
        parts = [f"{progress.done:,} of {progress.total:,}"]
        if is_running and progress.rate_hz > 0:
            parts.append(f"{progress.rate_hz:.1f} images/s")
            parts.append(f"{duration_text(progress.seconds_left or 0.0)} left")
        self.status.setText("  ·  ".join(parts))

    def show_running(self, is_running: bool, *, can_start: bool) -> None:
        """Set the button that pauses and resumes."""
        self.resume.setText("Pause" if is_running else "Resume")
        self.resume.setEnabled(is_running or can_start)
        self.bar.setVisible(is_running)

    def show_ground_truth(self, has_ground_truth: bool) -> None:
        """Show the columns of errors only with a ground truth."""
        for column in (ERROR, ALIGNED):
            self.table.setColumnHidden(column, not has_ground_truth)

    def show_worst_first(self) -> None:
        """Sort by error with a ground truth, else by mean standard deviation."""
        column = MEAN if self.table.isColumnHidden(ERROR) else ERROR
        self.table.sortByColumn(column, MAX_FIRST)
        self.select_row(0)

    def select_row(self, row: int) -> None:
        """Select a row and scroll to it."""
        if 0 <= row < self.model.rowCount():
            self.table.selectRow(row)
            self.table.scrollTo(self.model.index(row, NAME))
            self.table.setFocus()

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:  # noqa: N802
        """Accept dragged files."""
        welcome(event)

    def dropEvent(self, event: QDropEvent | None) -> None:  # noqa: N802
        """Report the first dropped folder or image."""
        paths = dropped_paths(event)
        self.folder_dropped.emit(paths[0] if paths else "")

    def stop(self) -> None:
        """End the thread of the thumbnails and free the graphics card."""
        self.thumbnails.stop()
        self.detail.release_gl()

    def _new_table(self) -> ImageTable:
        table = ImageTable()
        table.setModel(self.model)
        table.setSortingEnabled(True)
        table.sortByColumn(NAME, Qt.SortOrder.AscendingOrder)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setIconSize(QSize(THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX * 3 // 4))
        table.setShowGrid(False)
        table.setWordWrap(False)
        table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        table.setTabKeyNavigation(False)
        rows, columns = table.verticalHeader(), table.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.hide()
        # Rows of one height need not be measured, even ten thousand.
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(ROW_HEIGHT_PX)
        for column, width in enumerate(WIDTHS_PX):
            table.setColumnWidth(column, width)
        columns.setStretchLastSection(True)
        columns.setHighlightSections(False)
        return table

    def _lay_out(self) -> None:
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.bar.hide()
        self.name.setPlaceholderText("Filter by name…")
        self.name.setClearButtonEnabled(True)
        self.above.setToolTip("Only hands with at least this mean standard deviation")
        self.resume.setEnabled(False)
        self.export.setEnabled(False)
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(10, 8, 6, 6)
        column.addLayout(row_of(self.choose, self.title, None, self.resume, self.export))
        column.addWidget(self.status)
        column.addWidget(self.bar)
        column.addLayout(row_of(self.name, self.side, self.shown))
        column.addLayout(row_of(named_label("faint", "Sigma mean ≥"), self.above, None, self.count, self.worst))
        column.addWidget(self.table, 1)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.addWidget(left)
        splitter.addWidget(self.detail)
        splitter.setStretchFactor(1, 1)
        splitter.setSizes([TABLE_WIDTH_PX, 680])
        splitter.setChildrenCollapsible(False)
        whole = QHBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(splitter)
        self.show_ground_truth(False)

    def _connect(self) -> None:
        self.name.textChanged.connect(self._apply_filter)
        self.side.currentIndexChanged.connect(self._apply_filter)
        self.shown.currentIndexChanged.connect(self._apply_filter)
        self.above.valueChanged.connect(self._apply_filter)
        self.worst.clicked.connect(self.show_worst_first)
        self.model.layoutChanged.connect(self._show_count)
        viewport = self.table.viewport()
        assert viewport is not None
        self.thumbnails.changed.connect(viewport.update)
        selection = self.table.selectionModel()
        assert selection is not None
        selection.currentRowChanged.connect(self._report_selection)

    def _apply_filter(self) -> None:
        chosen = RowFilter(
            text=self.name.text(),
            side=self.side.currentData(),
            shown=self.shown.currentData(),
            min_std_mm=self.above.value(),
        )
        self.model.set_filter(chosen)

    def _show_count(self) -> None:
        count = self.model.rowCount()
        text = f"{count:,} row{'s' * (count != 1)}"
        self.count.setText(f"{text}, {WITHOUT_SIGMA}" if self._leaves_out_hands_without_sigma() else text)

    def _leaves_out_hands_without_sigma(self) -> bool:
        if self.above.value() <= 0:
            return False
        return any(hand.mean_std_mm is None for image in self.model.images for hand in image.hands)

    def _report_selection(self, _: QModelIndex, __: QModelIndex) -> None:
        self.row_chosen.emit(self.chosen)


def duration_text(seconds: float) -> str:
    """Format seconds as s, min or h."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
