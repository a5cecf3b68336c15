"""The page for folders: what to inspect and how far it is, the table at the left, the chosen image at the right."""

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
from handviz.rendering.hand_shape import Surface

SIDES = (("both", "both hands"), ("left", "left hands"), ("right", "right hands"))
SHOWN = (
    ("all", "all images"),
    ("hands", "with hands"),
    ("no hands", "without hands"),
    ("failed", "that failed"),
    ("waiting", "still waiting"),
)
WIDTHS_PX = (186, 50, 56, 82, 72, 64, 78, 90, 60)
TABLE_WIDTH_PX = 600
ROW_HEIGHT_PX = THUMBNAIL_SIDE_PX * 3 // 4 + 6
KEYS_OF_THE_TABLE = {Qt.Key.Key_Up: -1, Qt.Key.Key_Left: -1, Qt.Key.Key_Down: 1, Qt.Key.Key_Right: 1}
INVITATION = "Drop a folder of images here, or choose one with Ctrl+I."


class ImageTable(QTableView):
    """All four arrows walk through the rows, whatever they do elsewhere in the window."""

    def event(self, event: QEvent | None) -> bool:
        """Take the arrows before the window's shortcuts do."""
        if event is not None and event.type() == QEvent.Type.ShortcutOverride:
            assert isinstance(event, QKeyEvent)
            if event.key() in KEYS_OF_THE_TABLE and not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
                event.accept()
                return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Left and right are up and down."""
        if event is not None and event.key() in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            self.walk(KEYS_OF_THE_TABLE[Qt.Key(event.key())])
            return
        super().keyPressEvent(event)

    def walk(self, by: int) -> None:
        """Go ``by`` rows further, as far as there are any."""
        model = self.model()
        count = model.rowCount() if model is not None else 0
        if count:
            self.selectRow(min(max(self.currentIndex().row() + by, 0), count - 1))


class InspectionPage(QWidget):
    """Widgets only; what they mean is the feature's."""

    folder_dropped = pyqtSignal(str)
    row_chosen = pyqtSignal(object)
    """TableRow, or None."""

    def __init__(self, surface: Surface, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAcceptDrops(True)
        self.thumbnails = Thumbnails()
        self.model = InspectionModel(self.thumbnails, self)
        self.detail = InspectionDetail(surface)
        hint = "A folder of images; results are kept, so that an inspection can go on later (Ctrl+I)"
        self.choose = push_button("Inspect a folder …", hint)
        self.resume = push_button("Go on", "Stop, or go on where it stopped")
        self.export = push_button("Export …", "hands.json, CSV, meshes and a report for the browser")
        self.worst = push_button(
            "Worst first", "Sort by error where there is a ground truth, else by mean standard deviation"
        )
        self.title = named_label("", INVITATION)
        self.told = named_label("faint")
        self.bar = QProgressBar()
        self.name = QLineEdit()
        self.side = combo_box(dict(SIDES), "Rows of which hand")
        self.shown = combo_box(dict(SHOWN), "Rows of which images")
        self.above = number_box((0.0, 500.0), " mm")
        self.count = named_label("faint")
        self.table = self._new_table()
        self._lay_out()
        self._connect()

    @property
    def chosen(self) -> TableRow | None:
        """The row that the person looks at."""
        place = self.table.currentIndex().row()
        return self.model.rows[place] if 0 <= place < len(self.model.rows) else None

    def show_progress(self, progress: Progress, *, is_running: bool) -> None:
        """Bar, rate and time left."""
        self.bar.setRange(0, max(progress.total, 1))
        self.bar.setValue(progress.done)
        told = [f"{progress.done:,} of {progress.total:,}"]
        if is_running and progress.rate_hz > 0:
            told.append(f"{progress.rate_hz:.1f} images/s")
            told.append(f"{duration_text(progress.seconds_left or 0.0)} left")
        self.told.setText("  ·  ".join(told))

    def show_running(self, is_running: bool, *, can_begin: bool) -> None:
        """The one button that ends or goes on."""
        self.resume.setText("Cancel" if is_running else "Go on")
        self.resume.setEnabled(is_running or can_begin)
        self.bar.setVisible(is_running)

    def show_ground_truth(self, is_there: bool) -> None:
        """Errors have columns only where there is a truth."""
        for column in (ERROR, ALIGNED):
            self.table.setColumnHidden(column, not is_there)

    def show_worst_first(self) -> None:
        """By error where there is one, else by mean standard deviation."""
        column = MEAN if self.table.isColumnHidden(ERROR) else ERROR
        self.table.sortByColumn(column, MAX_FIRST)
        self.choose_place(0)

    def choose_place(self, place: int) -> None:
        """Go to a row."""
        if 0 <= place < self.model.rowCount():
            self.table.selectRow(place)
            self.table.scrollTo(self.model.index(place, NAME))
            self.table.setFocus()

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:  # noqa: N802
        """Files are welcome."""
        welcome(event)

    def dropEvent(self, event: QDropEvent | None) -> None:  # noqa: N802
        """The first dropped folder or image."""
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
        # Rows of one height: the view needs to measure none of ten thousand.
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
        self.name.setPlaceholderText("name contains …")
        self.name.setClearButtonEnabled(True)
        self.above.setToolTip("Only hands whose mean standard deviation is above this")
        self.resume.setEnabled(False)
        self.export.setEnabled(False)
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(10, 8, 6, 6)
        column.addLayout(row_of(self.choose, self.title, None, self.resume, self.export))
        column.addWidget(self.told)
        column.addWidget(self.bar)
        column.addLayout(row_of(self.name, self.side, self.shown))
        column.addLayout(row_of(named_label("faint", "mean above"), self.above, None, self.count, self.worst))
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
        selection.currentRowChanged.connect(self._tell_choice)

    def _apply_filter(self) -> None:
        chosen = RowFilter(
            text=self.name.text(),
            side=self.side.currentData(),
            shown=self.shown.currentData(),
            above_mm=self.above.value(),
        )
        self.model.set_filter(chosen)

    def _show_count(self) -> None:
        count = self.model.rowCount()
        self.count.setText(f"{count:,} row{'s' * (count != 1)}")

    def _tell_choice(self, _: QModelIndex, __: QModelIndex) -> None:
        self.row_chosen.emit(self.chosen)


def duration_text(seconds: float) -> str:
    """Seconds as a person says them."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
