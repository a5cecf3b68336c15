"""The image of the selected row: overlay and 3D view, the crop that the network received, and the numbers."""

from dataclasses import replace

from PyQt6.QtCore import QSize, Qt
from PyQt6.QtGui import QPixmap, QResizeEvent
from PyQt6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from handviz.core.records import FrameResult
from handviz.gui.folder.image_loaders import Preview, image_of
from handviz.gui.session.settings import ViewSettings
from handviz.gui.view.viewport import Viewport
from handviz.gui.widgets.controls import named_label
from handviz.inspection.columns import COLUMNS, Column, TableRow, note_of
from handviz.rendering.hand_shape import ModelDisplay
from handviz.rendering.options import ViewMode

SMALL_HEIGHT_PX = 250
CROP_MEANING = "Crop that the network received; left hands are mirrored"


class InspectionDetail(QWidget):
    """View of the selected row; the large view is the overlay or the 3D view as set, the small one the other."""

    def __init__(self, display: ModelDisplay, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.large, self.small = Viewport(display), Viewport(display)
        self.small.setMinimumSize(QSize(160, 120))
        self.crop = QLabel()
        self.crop.setToolTip(CROP_MEANING)
        self.crop.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.crop.setMinimumSize(QSize(160, 120))
        self.numbers = named_label("number", wraps=True)
        self.reason = named_label("banner", wraps=True)
        self.reason.setParent(self.large)
        self.reason.hide()
        self._preview: Preview | None = None
        self._row: TableRow | None = None
        self._settings = ViewSettings()
        self._range_mm: tuple[float, float] | None = None
        self._lay_out()

    @property
    def result(self) -> FrameResult | None:
        """The result on screen."""
        return self._preview.result if self._preview is not None else None

    def apply(self, settings: ViewSettings) -> None:
        """Draw by the settings; results are of one model and without texture, so uncertainty is shown instead."""
        self._settings = settings
        options = replace(settings.draw, compare=False, difference=False)
        if options.range_is_automatic:
            options = options.with_range(self._range_mm)
        if options.colour == "texture":
            options = replace(options, colour="uncertainty")
        other: ViewMode = "orbit" if options.view == "overlay" else "overlay"
        self.large.set_options(replace(options, inset=False))
        self.small.set_options(replace(options, view=other, inset=False, legend=False))

    def set_range(self, range_mm: tuple[float, float]) -> None:
        """Set the colour range of the whole folder, used unless the settings fix one."""
        if range_mm != self._range_mm:
            self._range_mm = range_mm
            self.apply(self._settings)

    def show_preview(self, preview: Preview | None) -> None:
        """Show an image with its hands; None empties everything."""
        self._preview = preview
        self.large.show_result(self.result)
        self.reason.setText(preview.reason if preview is not None else "")
        self.reason.setVisible(bool(self.reason.text()))
        self._position_reason()
        self._show_hand()

    def show_row(self, row: TableRow | None) -> None:
        """Write the numbers of a row, and show the crop of its hand."""
        self._row = row
        self.numbers.setText(line_of(row) if row is not None else "")
        self._show_hand()

    def release_gl(self) -> None:
        """Free everything on the graphics card."""
        for viewport in (self.large, self.small):
            viewport.release_gl()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """Keep the message in its position."""
        super().resizeEvent(event)
        self._position_reason()

    def _lay_out(self) -> None:
        bottom = QHBoxLayout()
        bottom.setSpacing(1)
        bottom.addWidget(self.small, 3)
        bottom.addWidget(self.crop, 2)
        for part in (self.small, self.crop):
            part.setFixedHeight(SMALL_HEIGHT_PX)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        column.addWidget(self.large, 1)
        column.addLayout(bottom)
        column.addWidget(self.numbers)
        self.numbers.setMargin(6)

    def _show_hand(self) -> None:
        """Show the row's hand alone in the small view, and its crop."""
        preview, row = self._preview, self._row
        hand = row.hand if row is not None else None
        fits = preview is not None and row is not None and preview.file == row.image.file
        if preview is None or preview.result is None or hand is None or not fits or hand.number >= len(preview.crops):
            self.small.show_result(self.result)
            self.crop.clear()
            return
        self.small.show_result(replace(preview.result, hands=preview.result.hands[hand.number : hand.number + 1]))
        pixmap = QPixmap.fromImage(image_of(preview.crops[hand.number]))
        ratio = self.devicePixelRatioF()
        side = round((SMALL_HEIGHT_PX - 12) * ratio)
        pixmap = pixmap.scaled(
            side, side, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        )
        pixmap.setDevicePixelRatio(ratio)
        self.crop.setPixmap(pixmap)

    def _position_reason(self) -> None:
        width = max(self.large.width() - 28, 100)
        self.reason.setGeometry(14, 14, width, self.reason.heightForWidth(width))


def line_of(row: TableRow) -> str:
    """Return the row in one line."""
    numbers = [_number_text(column, row) for column in COLUMNS[2:-1] if column.text(row)]
    image = row.image
    size = f"{image.width} x {image.height}" if image.width else ""
    side = row.hand.handedness if row.hand is not None else ""
    return "   ".join(part for part in (image.file, size, side, *numbers, note_of(row)) if part)


def _number_text(column: Column, row: TableRow) -> str:
    name, _, unit = column.title.partition(" (")
    # Lines break between numbers, not within one.
    return f"{name} {column.text(row)} {unit.rstrip(')')}".rstrip().replace(" ", "\N{NO-BREAK SPACE}")
