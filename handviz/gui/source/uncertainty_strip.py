"""Uncertainty over time: a strip below the timeline with mean and largest standard deviation of each side's hand."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import QPointF, QRectF, QSize, Qt, pyqtSignal
from PyQt6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPolygonF
from PyQt6.QtWidgets import QWidget

from handviz.core.records import FloatArray, FrameResult, Handedness

HEIGHT_PX = 34
TOP_MM = 40.0
"""Standard deviation at the upper edge; larger ones are cut."""
MAX_FRAMES = 500_000
"""Of a clip whose frames are remembered: a longer one has no strip."""
COLOURS: dict[Handedness, QColor] = {"right": QColor("#e6a23c"), "left": QColor("#4aa3df")}
NO_HAND, CURSOR = QColor(200, 60, 60, 150), QColor("#36b5a2")


class FrameValues(NamedTuple):
    """Of every frame: mean and maximum of each side, nan where it has none; and whether it was reconstructed."""

    mean_mm: dict[Handedness, FloatArray]
    max_mm: dict[Handedness, FloatArray]
    is_known: NDArray[np.bool_]


class UncertaintyStrip(QWidget):
    """Curves of the frames that were reconstructed; frames without a hand are marked; a click seeks."""

    seek_wanted = pyqtSignal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedHeight(HEIGHT_PX)
        self.setMouseTracking(True)
        self.setAccessibleName("Uncertainty over time")
        self._values = empty_values(0)
        self._position, self._model = 0, ""
        self._span: tuple[int, int] | None = None

    def reset(self, count: int | None) -> None:
        """Forget all frames; the source has so many from now on, None if that is not known."""
        self._values = empty_values(count if count is not None and 1 < count <= MAX_FRAMES else 0)
        self._position, self._span = 0, None
        self.setVisible(len(self._values.is_known) > 0)
        self.update()

    def resize_to(self, count: int | None) -> None:
        """Take another number of frames, and keep what is known of those that stay."""
        before = self._values
        self.reset(count)
        kept = min(len(before.is_known), len(self._values.is_known))
        for old, new in ((before.mean_mm, self._values.mean_mm), (before.max_mm, self._values.max_mm)):
            for side in COLOURS:
                new[side][:kept] = old[side][:kept]
        self._values.is_known[:kept] = before.is_known[:kept]

    def take(self, result: FrameResult) -> None:
        """Remember a frame's hands, and show where it is."""
        number = result.frame.number
        if not 0 <= number < len(self._values.is_known) or result.failure:
            return
        if result.model != self._model:
            self._model, self._values = result.model, empty_values(len(self._values.is_known))
        self._values.is_known[number] = True
        for side in COLOURS:
            found = [hand.vertex_std_mm for hand in result.hands if hand.handedness == side]
            known = [std_mm for std_mm in found if std_mm is not None]
            without = 0.0 if found else np.nan
            self._values.mean_mm[side][number] = max((float(one.mean()) for one in known), default=without)
            self._values.max_mm[side][number] = max((float(one.max()) for one in known), default=without)
        self._position = number
        self.update()

    def show_span(self, span: tuple[int, int] | None) -> None:
        """Mark the frames from the in to the out point; None: all."""
        self._span = span
        self.update()

    def values_at(self, number: int) -> str:
        """Return a line on a frame."""
        values = self._values
        if not 0 <= number < len(values.is_known) or not values.is_known[number]:
            return f"frame {number + 1}: not reconstructed yet"
        sides = [
            f"{side} mean {values.mean_mm[side][number]:.1f}, max {values.max_mm[side][number]:.1f} mm"
            for side in COLOURS
            if np.isfinite(values.mean_mm[side][number])
        ]
        return f"frame {number + 1}: {'; '.join(sides) or 'no hand'}"

    def frame_at(self, x: float) -> int:
        """Return the frame at a position across."""
        count = len(self._values.is_known)
        return min(max(round(x / max(self.width() - 1, 1) * (count - 1)), 0), count - 1)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Return the height that it has."""
        return QSize(200, HEIGHT_PX)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Go to the frame under the pointer."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton and len(self._values.is_known):
            self.seek_wanted.emit(self.frame_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Say what is known of the frame under the pointer; go there while the button is down."""
        if event is None or not len(self._values.is_known):
            return
        number = self.frame_at(event.position().x())
        self.setToolTip(self.values_at(number))
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.seek_wanted.emit(number)

    def paintEvent(self, _: QPaintEvent | None) -> None:  # noqa: N802
        """Draw curves, gaps, in and out point, and the present frame."""
        count = len(self._values.is_known)
        if not count:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_gaps(painter)
        for side, colour in COLOURS.items():
            pale = QColor(colour)
            pale.setAlpha(110)
            self._paint_curve(painter, self._values.max_mm[side], pale)
            self._paint_curve(painter, self._values.mean_mm[side], colour)
        if self._span is not None:
            shade = QColor(0, 0, 0, 120)
            first, last = (self._x(number) for number in self._span)
            painter.fillRect(QRectF(0, 0, first, self.height()), shade)
            painter.fillRect(QRectF(last, 0, self.width() - last, self.height()), shade)
        painter.setPen(CURSOR)
        x = self._x(self._position)
        painter.drawLine(QPointF(x, 0), QPointF(x, self.height()))
        painter.end()

    def _paint_gaps(self, painter: QPainter) -> None:
        values = self._values
        has_hand = np.isfinite(values.mean_mm["right"]) | np.isfinite(values.mean_mm["left"])
        for first, last in runs(values.is_known & ~has_hand):
            left, right = self._x(first), self._x(last)
            painter.fillRect(QRectF(left, self.height() - 5, max(right - left, 1.5), 5), NO_HAND)

    def _paint_curve(self, painter: QPainter, values_mm: FloatArray, colour: QColor) -> None:
        painter.setPen(colour)
        numbers = np.flatnonzero(self._values.is_known)
        numbers, known_mm = thinned(numbers, values_mm[numbers], self.width())
        for first, last in runs(np.isfinite(known_mm)):
            points = [
                QPointF(self._x(number), self.height() * (1 - min(value / TOP_MM, 1.0)))
                for number, value in zip(
                    numbers[first : last + 1].tolist(), known_mm[first : last + 1].tolist(), strict=True
                )
            ]
            painter.drawPolyline(QPolygonF(points))
            if len(points) == 1:
                painter.drawPoint(points[0])

    def _x(self, number: int) -> float:
        return number / max(len(self._values.is_known) - 1, 1) * (self.width() - 1)


def empty_values(count: int) -> FrameValues:
    """Return what is known of no frame yet."""

    def unknown() -> dict[Handedness, FloatArray]:
        return {side: np.full(count, np.nan) for side in COLOURS}

    return FrameValues(unknown(), unknown(), np.zeros(count, bool))


def thinned(numbers: NDArray[np.intp], values: FloatArray, width: int) -> tuple[NDArray[np.intp], FloatArray]:
    """Return frames (K,) and their values, of neighbours only the largest where there are more than pixels can show.

    Frames without a hand (nan) stay where all of a group are.
    """
    group = -(-len(numbers) // max(2 * width, 1))
    if group <= 1:
        return numbers, values
    whole = len(numbers) // group * group
    parts = np.where(np.isfinite(values), values, -np.inf)[:whole].reshape(-1, group)
    best = parts.argmax(axis=1)
    chosen = np.arange(len(parts)) * group + best
    return numbers[chosen], values[chosen]


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return first and last index of each run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(first), int(last) - 1) for first, last in edges.reshape(-1, 2)]
