"""The image of the chosen row: on it and from any side, what the network saw, and the numbers."""

from dataclasses import replace

from PyQt6.QtCore import QSize, Qt
from PyQt6.QtGui import QPixmap, QResizeEvent
from PyQt6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from handviz.core.records import FrameResult
from handviz.gui.folder.image_loaders import Look, image_of
from handviz.gui.session.settings import ViewSettings
from handviz.gui.view.viewport import Viewport
from handviz.gui.widgets.controls import named_label
from handviz.inspection.columns import COLUMNS, TableRow, note_of
from handviz.rendering.hand_shape import Surface
from handviz.rendering.options import ViewMode

SMALL_HEIGHT_PX = 250
CROP_MEANING = "What the network saw of this hand; left hands are mirrored"


class InspectionDetail(QWidget):
    """Follows the table's row; the large view is the one of the settings, the small one the other."""

    def __init__(self, surface: Surface, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.large, self.small = Viewport(surface), Viewport(surface)
        self.small.setMinimumSize(QSize(160, 120))
        self.crop = QLabel()
        self.crop.setToolTip(CROP_MEANING)
        self.crop.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.crop.setMinimumSize(QSize(160, 120))
        self.numbers = named_label("number", wraps=True)
        self.reason = named_label("banner", wraps=True)
        self.reason.setParent(self.large)
        self.reason.hide()
        self._look: Look | None = None
        self._row: TableRow | None = None
        self._settings = ViewSettings()
        self._range_mm: tuple[float, float] | None = None
        self._lay_out()

    @property
    def result(self) -> FrameResult | None:
        """What is shown now."""
        return self._look.result if self._look is not None else None

    def apply(self, settings: ViewSettings) -> None:
        """Draw as the settings say; results are of one variant, without texture, which is shown as standard
        deviation."""
        self._settings = settings
        options = replace(settings.draw_options(), compare=False, difference=None)
        if options.std_range_mm is None:
            options = replace(options, std_range_mm=self._range_mm)
        if options.colour == "texture":
            options = replace(options, colour="uncertainty")
        other: ViewMode = "orbit" if options.view == "overlay" else "overlay"
        self.large.set_options(replace(options, inset=False))
        self.small.set_options(replace(options, view=other, inset=False, legend=False))

    def set_range(self, range_mm: tuple[float, float]) -> None:
        """The heatmap's ends for the whole folder, where the settings fix none."""
        if range_mm != self._range_mm:
            self._range_mm = range_mm
            self.apply(self._settings)

    def show_look(self, look: Look | None) -> None:
        """Show an image with its hands; None empties everything."""
        self._look = look
        self.large.show_result(self.result)
        self.reason.setText(look.reason if look is not None else "")
        self.reason.setVisible(bool(self.reason.text()))
        self._place_reason()
        self._show_hand()

    def show_row(self, row: TableRow | None) -> None:
        """Write the numbers of a row, and show what the network saw of its hand."""
        self._row = row
        self.numbers.setText(line_of(row) if row is not None else "")
        self._show_hand()

    def release_gl(self) -> None:
        """Free everything on the graphics card."""
        for viewport in (self.large, self.small):
            viewport.release_gl()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """Keep the sentence in its place."""
        super().resizeEvent(event)
        self._place_reason()

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
        """The row's hand, alone in the small view, and as the network saw it."""
        look, row = self._look, self._row
        hand = row.hand if row is not None else None
        fits = look is not None and row is not None and look.file == row.image.file
        if look is None or look.result is None or hand is None or not fits or hand.number >= len(look.crops):
            self.small.show_result(self.result)
            self.crop.clear()
            return
        self.small.show_result(replace(look.result, hands=look.result.hands[hand.number : hand.number + 1]))
        pixmap = QPixmap.fromImage(image_of(look.crops[hand.number]))
        ratio = self.devicePixelRatioF()
        side = round((SMALL_HEIGHT_PX - 12) * ratio)
        pixmap = pixmap.scaled(
            side, side, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        )
        pixmap.setDevicePixelRatio(ratio)
        self.crop.setPixmap(pixmap)

    def _place_reason(self) -> None:
        width = max(self.large.width() - 28, 100)
        self.reason.setGeometry(14, 14, width, self.reason.heightForWidth(width))


def line_of(row: TableRow) -> str:
    """The row in one line."""
    numbers = [f"{column.title} {column.text(row)}" for column in COLUMNS[2:-1] if column.text(row)]
    image = row.image
    size = f"{image.width} x {image.height}" if image.width else ""
    side = row.hand.handedness if row.hand is not None else ""
    return "   ".join(part for part in (image.file, size, side, *numbers, note_of(row)) if part)
