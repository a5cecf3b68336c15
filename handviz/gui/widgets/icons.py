"""Icons of the timeline, drawn by code."""

from typing import Literal

from PyQt6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PyQt6.QtGui import (
    QColor,
    QGuiApplication,
    QIcon,
    QIconEngine,
    QPainter,
    QPainterPath,
    QPalette,
    QPen,
    QPixmap,
    QPolygonF,
)

IconName = Literal["play", "pause", "back", "forward", "loop"]
SIDE_PX = 48.0
"""Side of the square in which the shapes are drawn"""


def icon(name: IconName) -> QIcon:
    """Return an icon in the colour of button texts at the time of painting."""
    return QIcon(_DrawnIcon(name))


class _DrawnIcon(QIconEngine):
    def __init__(self, name: IconName) -> None:
        super().__init__()
        self._name = name

    def paint(self, painter: QPainter | None, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        """Paint the icon; Qt calls this."""
        assert painter is not None
        is_disabled = mode == QIcon.Mode.Disabled
        group = QPalette.ColorGroup.Disabled if is_disabled else QPalette.ColorGroup.Normal
        colour = QGuiApplication.palette().color(group, QPalette.ColorRole.ButtonText)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.translate(rect.topLeft().toPointF())
        painter.scale(rect.width() / SIDE_PX, rect.height() / SIDE_PX)
        if self._name == "loop":
            _draw_loop(painter, colour)
        else:
            painter.fillPath(_path(self._name), colour)
        painter.restore()

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        """Return the icon on a transparent ground, which is black by default."""
        pixmap = QPixmap(size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        self.paint(painter, QRect(0, 0, size.width(), size.height()), mode, state)
        painter.end()
        return pixmap

    def clone(self) -> QIconEngine:
        """Return a copy; Qt calls this."""
        return _DrawnIcon(self._name)


def _path(name: IconName) -> QPainterPath:
    path = QPainterPath()
    if name == "play":
        path.addPolygon(_triangle(14, 38))
    elif name == "pause":
        path.addRect(QRectF(13, 10, 8, 28))
        path.addRect(QRectF(27, 10, 8, 28))
    elif name == "forward":
        path.addPolygon(_triangle(11, 30))
        path.addRect(QRectF(32, 10, 5, 28))
    else:
        path.addPolygon(_triangle(37, 18))
        path.addRect(QRectF(11, 10, 5, 28))
    return path


def _triangle(base: float, tip: float) -> QPolygonF:
    return QPolygonF([QPointF(base, 10), QPointF(tip, 24), QPointF(base, 38)])


def _draw_loop(painter: QPainter, colour: QColor) -> None:
    painter.setPen(QPen(colour, 4))
    painter.drawArc(QRectF(11, 11, 26, 26), 60 * 16, 290 * 16)
    path = QPainterPath()
    path.addPolygon(QPolygonF([QPointF(28, 4), QPointF(40, 14), QPointF(26, 19)]))
    painter.fillPath(path, colour)
