"""Table model of an inspection: its rows, sorted and filtered."""

from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PyQt6.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt

from handviz.gui.folder.image_loaders import Thumbnails
from handviz.inspection.columns import COLUMNS, NOTHING, ImageRow, Key, TableRow, note_of, rows_of

Shown = Literal["all", "hands", "no hands", "failed", "waiting"]
Side = Literal["both", "left", "right"]


@dataclass(frozen=True)
class RowFilter:
    """Condition for rows to be shown."""

    text: str = ""
    """Part of the file's name."""
    side: Side = "both"
    shown: Shown = "all"
    min_std_mm: float = 0.0
    """Least mean standard deviation; 0 admits all."""

    def admits(self, row: TableRow) -> bool:
        """Return whether the row is shown."""
        hand, image = row.hand, row.image
        if self.text and self.text.casefold() not in image.file.casefold():
            return False
        if self.side != "both" and (hand is None or hand.handedness != self.side):
            return False
        if self.min_std_mm > 0 and (hand is None or (hand.mean_std_mm or 0.0) < self.min_std_mm):
            return False
        if self.shown == "hands":
            return hand is not None
        if self.shown == "no hands":
            return image.state == "done" and hand is None
        return self.shown == "all" or image.state == self.shown


NAME, MEAN, ERROR, ALIGNED = 0, 3, 6, 7
ROLES = frozenset(
    (
        Qt.ItemDataRole.DisplayRole,
        Qt.ItemDataRole.DecorationRole,
        Qt.ItemDataRole.TextAlignmentRole,
        Qt.ItemDataRole.ToolTipRole,
    )
)
MAX_FIRST = Qt.SortOrder.DescendingOrder


class InspectionModel(QAbstractTableModel):
    """Images with their hands; among ten thousand, a new result takes 3 ms, sorting and filtering all some 30."""

    def __init__(self, thumbnails: Thumbnails, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thumbnails = thumbnails
        self._folder = Path()
        self._images: dict[str, tuple[TableRow, ...]] = {}
        self._rows: list[TableRow] = []
        self._filter = RowFilter()
        self._column, self._order = NAME, Qt.SortOrder.AscendingOrder
        self._present: list[TableRow] = []
        self._absent: list[TableRow] = []

    @property
    def images(self) -> list[ImageRow]:
        """All images by name, shown or not."""
        return [rows[0].image for rows in self._images.values()]

    @property
    def rows(self) -> Sequence[TableRow]:
        """The rows that are shown, in order."""
        return self._rows

    @property
    def count(self) -> int:
        """Number of rows without the filter."""
        return sum(len(rows) for rows in self._images.values())

    def all_rows(self) -> list[TableRow]:
        """Return all rows without the filter, in order."""
        return self._in_order(*self._parted(RowFilter()))

    def take_listing(self, folder: Path, images: Iterable[ImageRow]) -> None:
        """Show these images instead of all others."""
        self._folder = folder
        self._images = {image.file: rows_of(image) for image in images}
        self._arrange()

    def take(self, images: Iterable[ImageRow]) -> None:
        """Replace the rows of these images."""
        changed = {image.file: rows_of(image) for image in images}
        if changed:
            self._images |= changed
            self._replace(changed)

    def set_filter(self, chosen: RowFilter) -> None:
        """Show the rows that this admits."""
        if chosen != self._filter:
            self._filter = chosen
            self._arrange()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; rows without a value come last in both orders."""
        self._column, self._order = column, order
        self._arrange()

    def index_of(self, key: Key) -> int | None:
        """Return the index of a row; that of an image's first hand if it had none before; None if it is not shown."""
        return self._indices_of({key})[key]

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        """Return the number of rows shown."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        """Return the number of columns."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return headings and their tooltips."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section].title
        return COLUMNS[section].meaning if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows; the view asks only for rows in sight."""
        if role not in ROLES:
            return None
        row, column = self._rows[index.row()], COLUMNS[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(row) or ("" if column.value is note_of else NOTHING)
        if role == Qt.ItemDataRole.DecorationRole and index.column() == NAME:
            return self._thumbnails.pixmap(self._folder / row.image.file)
        if role == Qt.ItemDataRole.TextAlignmentRole and column.form:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ToolTipRole and index.column() in (NAME, len(COLUMNS) - 1):
            return note_of(row) or row.image.file
        return None

    def _arrange(self) -> None:
        """Filter and sort all rows."""
        self._present, self._absent = self._parted(self._filter)
        self._show(self._in_order(self._present, self._absent))

    def _replace(self, changed: dict[str, tuple[TableRow, ...]]) -> None:
        """Insert the new rows among the sorted ones, several times as fast as sorting all."""
        self._present = [row for row in self._present if row.image.file not in changed]
        self._absent = [row for row in self._absent if row.image.file not in changed]
        for rows in changed.values():
            for row in rows:
                if not self._filter.admits(row):
                    continue
                if self._value(row) is None:
                    insort(self._absent, row, key=_name_of)
                else:
                    insort(self._present, row, key=self._value)
        self._show(self._in_order(self._present, self._absent))

    def _parted(self, chosen: RowFilter) -> tuple[list[TableRow], list[TableRow]]:
        """Return what the filter admits: rows with a value of the sort column by that value, the others by name."""
        present: list[TableRow] = []
        absent: list[TableRow] = []
        value = self._value
        for rows in self._images.values():
            for row in rows:
                if chosen.admits(row):
                    (absent if value(row) is None else present).append(row)
        present.sort(key=value)
        return present, absent

    def _in_order(self, present: list[TableRow], absent: list[TableRow]) -> list[TableRow]:
        return (present[::-1] if self._order == MAX_FIRST else present) + absent

    @property
    def _value(self) -> Callable[[TableRow], Any]:
        """The sort key."""
        return _name_of if self._column == NAME else COLUMNS[self._column].value

    def _show(self, rows: list[TableRow]) -> None:
        """Show these rows and keep the selection."""
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        keys = [self._rows[index.row()].key for index in before]
        self._rows = rows
        indices = self._indices_of(set(keys))
        after = [self._index(indices[key], index.column()) for index, key in zip(before, keys, strict=True)]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _index(self, row: int | None, column: int) -> QModelIndex:
        return QModelIndex() if row is None else self.createIndex(row, column)

    def _indices_of(self, keys: set[Key]) -> dict[Key, int | None]:
        files = {file for file, _ in keys}
        indices = {row.key: index for index, row in enumerate(self._rows) if row.image.file in files}
        return {
            key: next((indices[one] for one in (key, (key[0], 0), (key[0], -1)) if one in indices), None)
            for key in keys
        }


def _name_of(row: TableRow) -> Key:
    return row.key
