"""Small icons of the timeline, drawn rather than shipped."""

from typing import Literal

from PyQt6.QtCore import QPointF, QRectF, Qt
from PyQt6.QtGui import QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap, QPolygonF

IconName = Literal["play", "hold", "back", "forward", "loop"]
SIDE_PX = 48
COLOUR = QColor("#dfe3e8")


def icon(name: IconName) -> QIcon:
    """An icon in the theme's light colour."""
    pixmap = QPixmap(SIDE_PX, SIDE_PX)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    if name == "loop":
        _draw_loop(painter)
    else:
        painter.fillPath(_path(name), COLOUR)
    painter.end()
    return QIcon(pixmap)


def _path(name: IconName) -> QPainterPath:
    path = QPainterPath()
    if name == "play":
        path.addPolygon(_triangle(14, 38))
    elif name == "hold":
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


def _draw_loop(painter: QPainter) -> None:
    painter.setPen(QPen(COLOUR, 4))
    painter.drawArc(QRectF(11, 11, 26, 26), 60 * 16, 290 * 16)
    path = QPainterPath()
    path.addPolygon(QPolygonF([QPointF(28, 4), QPointF(40, 14), QPointF(26, 19)]))
    painter.fillPath(path, COLOUR)
