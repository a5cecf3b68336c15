"""Colour scales as vectors: SVG and PDF."""

from pathlib import Path

from PyQt6.QtCore import QMarginsF, QPointF, QRectF, QSizeF, Qt
from PyQt6.QtGui import QColor, QFont, QLinearGradient, QPageLayout, QPageSize, QPaintDevice, QPainter, QPdfWriter

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import atomic_path, make_folder
from handviz.rendering.legend import LegendPart, labelled_mm

LEGEND_FORMATS = {"SVG (*.svg)": ".svg", "PDF (*.pdf)": ".pdf"}
BAR_PX = QRectF(8, 0, 16, 160)
TICK_PX, GAP_PX, LINE_PX, TEXT_PX, END_PX = 4, 4, 17, 12, 8
STOPS = 33
"""Of the gradient, between which colours are interpolated linearly."""
POINTS_PER_PX = 0.75


def save_legend(part: LegendPart, path: Path) -> None:
    """Write the colour scale, black on nothing, as the path's suffix says; raises HandvizError."""
    make_folder(path.parent)
    height = END_PX + LINE_PX * len(part.titles) + BAR_PX.height() + 2 * END_PX
    size = QSizeF(max(90.0, *(8.0 * len(title) for title in part.titles)) + BAR_PX.left(), height)
    with atomic_path(path) as target:
        device = _pdf(target, size) if path.suffix.lower() == ".pdf" else _svg(target, size)
        painter = QPainter()
        if not painter.begin(device):
            raise HandvizError(f"The legend cannot be written to {path}.", ErrorCode.NOT_WRITABLE)
        scale = device.width() / size.width()
        painter.scale(scale, scale)
        _paint(painter, part)
        painter.end()


def _pdf(path: Path, size: QSizeF) -> QPaintDevice:
    writer = QPdfWriter(str(path))
    page = QPageSize(size * POINTS_PER_PX, QPageSize.Unit.Point)
    writer.setPageLayout(QPageLayout(page, QPageLayout.Orientation.Portrait, QMarginsF()))
    return writer


def _svg(path: Path, size: QSizeF) -> QPaintDevice:
    # Imported here because most runs of the window need no SVG.
    from PyQt6.QtSvg import QSvgGenerator

    generator = QSvgGenerator()
    generator.setFileName(str(path))
    generator.setSize(size.toSize())
    generator.setViewBox(QRectF(QPointF(), size))
    generator.setTitle("handviz legend")
    return generator


def _paint(painter: QPainter, part: LegendPart) -> None:
    font = QFont("Helvetica")
    font.setPixelSize(TEXT_PX)
    painter.setFont(font)
    painter.setPen(QColor("black"))
    for number, title in enumerate(part.titles):
        painter.drawText(QPointF(BAR_PX.left(), END_PX + LINE_PX * number + TEXT_PX), title)
    bar = BAR_PX.translated(0, END_PX + LINE_PX * len(part.titles) + END_PX)
    gradient, colours = QLinearGradient(bar.bottomLeft(), bar.topLeft()), part.colours
    for number in range(STOPS):
        fraction = number / (STOPS - 1)
        gradient.setColorAt(fraction, QColor.fromRgbF(*colours[round(fraction * (len(colours) - 1))].tolist()))
    painter.fillRect(bar, gradient)
    low, high = part.ends
    for value in labelled_mm(part.ends):
        row = bar.bottom() - (value - low) / max(high - low, 1e-9) * bar.height()
        painter.drawLine(QPointF(bar.right(), row), QPointF(bar.right() + TICK_PX, row))
        place = QRectF(bar.right() + TICK_PX + GAP_PX, row - LINE_PX / 2, 60, LINE_PX)
        painter.drawText(place, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), f"{value:.4g}")
