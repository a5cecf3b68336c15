"""The rows of an inspection, sorted and filtered in one go; the view asks for those in sight."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PyQt6.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt

from handviz.gui.picture_loaders import Thumbnails
from handviz.infer.inspection_rows import HandRow, PictureRow

Shown = Literal["all", "hands", "no hands", "failed", "waiting"]
Side = Literal["both", "left", "right"]
NOTHING = "–"
Value = float | str | None
Key = tuple[str, int]
"""File and number of the hand, -1 without one."""


@dataclass(frozen=True)
class TableRow:
    """A hand, or a picture without one."""

    picture: PictureRow
    hand: HandRow | None

    @property
    def key(self) -> Key:
        """Names the row whatever the order."""
        return self.picture.file, self.hand.number if self.hand is not None else -1


@dataclass(frozen=True)
class RowFilter:
    """Which rows are shown."""

    text: str = ""
    """Part of the file's name."""
    side: Side = "both"
    shown: Shown = "all"
    above_mm: float = 0.0
    """Of the mean deviation."""

    def admits(self, row: TableRow) -> bool:
        """Whether the row is shown."""
        hand, picture = row.hand, row.picture
        if self.text and self.text.casefold() not in picture.file.casefold():
            return False
        if self.side != "both" and (hand is None or hand.handedness != self.side):
            return False
        if self.above_mm > 0 and (hand is None or hand.mean_std_mm <= self.above_mm):
            return False
        if self.shown == "hands":
            return hand is not None
        if self.shown == "no hands":
            return picture.state == "done" and hand is None
        return self.shown == "all" or picture.state == self.shown


@dataclass(frozen=True)
class Column:
    """One column: its heading, what it means, and what a row has there."""

    title: str
    meaning: str
    value: Callable[[TableRow], Value]
    form: str = ""


def _of_hand(name: str) -> Callable[[TableRow], Value]:
    return lambda row: getattr(row.hand, name) if row.hand is not None else None


def note_of(row: TableRow) -> str:
    """What is to be said of a row apart from numbers."""
    if row.picture.state == "failed":
        return row.picture.reason
    if row.picture.state == "waiting":
        return "waiting"
    return "" if row.hand is not None else "no hand found"


COLUMNS = (
    Column("Picture", "Name of the file", lambda row: row.picture.file),
    Column("Hand", "The person's true hand", _of_hand("handedness")),
    Column("Score", "How sure the detector is, 0 to 1", _of_hand("score"), ".2f"),
    Column("Mean mm", "Mean deviation over the vertices", _of_hand("mean_std_mm"), ".1f"),
    Column("Max mm", "Largest deviation of a vertex", _of_hand("max_std_mm"), ".1f"),
    Column("Visible", "Share of the vertices that the picture shows", _of_hand("visible_share"), ".0%"),
    Column(
        "Error mm",
        "Mean distance of the keypoints from the ground truth, wrists laid together",
        _of_hand("error_mm"),
        ".1f",
    ),
    Column(
        "Aligned mm",
        "The same after the best rotation, scale and shift (PA-MPJPE)",
        _of_hand("aligned_error_mm"),
        ".1f",
    ),
    Column("Note", "Why there are no numbers", note_of),
)
NAME, MEAN, ERROR, ALIGNED = 0, 3, 6, 7
LARGEST_FIRST = Qt.SortOrder.DescendingOrder


class InspectionModel(QAbstractTableModel):
    """Pictures with their hands; ten thousand rows are sorted and filtered in some 20 ms."""

    def __init__(self, thumbnails: Thumbnails, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thumbnails = thumbnails
        self._folder = Path()
        self._pictures: dict[str, tuple[TableRow, ...]] = {}
        self._rows: list[TableRow] = []
        self._places: dict[Key, int] = {}
        self._filter = RowFilter()
        self._column, self._order = NAME, Qt.SortOrder.AscendingOrder

    @property
    def pictures(self) -> list[PictureRow]:
        """All of them by name, whatever is shown."""
        return [rows[0].picture for rows in self._pictures.values()]

    @property
    def rows(self) -> Sequence[TableRow]:
        """What is shown, in its order."""
        return self._rows

    def take_listing(self, folder: Path, pictures: Iterable[PictureRow]) -> None:
        """Show these pictures instead of all others."""
        self._folder = folder
        self._pictures = {picture.file: _rows_of(picture) for picture in pictures}
        self._arrange()

    def take(self, pictures: Iterable[PictureRow]) -> None:
        """Replace what is known of these pictures."""
        changed = {picture.file: _rows_of(picture) for picture in pictures}
        if changed:
            self._pictures |= changed
            self._arrange()

    def set_filter(self, chosen: RowFilter) -> None:
        """Show what this admits."""
        if chosen != self._filter:
            self._filter = chosen
            self._arrange()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Rows without a value in the column come last either way."""
        self._column, self._order = column, order
        self._arrange()

    def place_of(self, key: Key) -> int | None:
        """Where a row stands now; a picture's first hand for a picture that had none; None if it is not shown."""
        if not self._places:
            self._places = {row.key: place for place, row in reversed(list(enumerate(self._rows)))}
        file, _ = key
        return next((self._places[one] for one in (key, (file, 0), (file, -1)) if one in self._places), None)

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        """Qt asks."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        """Qt asks."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Headings and what they mean."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section].title
        return COLUMNS[section].meaning if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Asked for rows in sight only."""
        row, column = self._rows[index.row()], COLUMNS[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            value = column.value(row)
            return NOTHING if value is None else format(value, column.form)
        if role == Qt.ItemDataRole.DecorationRole and index.column() == NAME:
            return self._thumbnails.pixmap(self._folder / row.picture.file)
        if role == Qt.ItemDataRole.TextAlignmentRole and column.form:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ToolTipRole and index.column() in (NAME, len(COLUMNS) - 1):
            return note_of(row) or row.picture.file
        return None

    def _arrange(self) -> None:
        """Filter and sort anew; what is selected stays selected."""
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        keys = [self._rows[index.row()].key for index in before]
        admits, value = self._filter.admits, COLUMNS[self._column].value
        rows = [row for rows in self._pictures.values() for row in rows if admits(row)]
        if self._column != NAME:
            present = [row for row in rows if value(row) is not None]
            present.sort(key=value, reverse=self._order == LARGEST_FIRST)  # type: ignore[arg-type]
            self._rows = present + [row for row in rows if value(row) is None]
        else:
            self._rows = rows[::-1] if self._order == LARGEST_FIRST else rows
        self._places = {}
        places = [self.place_of(key) for key in keys]
        after = [
            QModelIndex() if place is None else self.createIndex(place, index.column())
            for index, place in zip(before, places, strict=True)
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()


def _rows_of(picture: PictureRow) -> tuple[TableRow, ...]:
    return tuple(TableRow(picture, hand) for hand in picture.hands) or (TableRow(picture, None),)
