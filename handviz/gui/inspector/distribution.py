"""How a hand's standard deviations are distributed: a histogram of its vertices, and a bar for each joint."""

from collections.abc import Sequence

import numpy as np
from PyQt6.QtCore import QEvent, QPointF, QRectF, QSize
from PyQt6.QtGui import QColor, QHelpEvent, QPainter, QPaintEvent
from PyQt6.QtWidgets import QToolTip, QWidget

from handviz.core.records import FloatArray, HandMesh
from handviz.core.skeleton import KEYPOINT_NAMES
from handviz.gui.inspector.point_inspector import PointInspector
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.widgets.controls import Panel, named_label
from handviz.gui.widgets.shortcuts import Feature
from handviz.rendering.passes import COLOURS

TITLE = "Distribution"
TOP_MM, BINS = 40.0, 40
"""Upper end of both plots, and bins of the histogram: of a millimetre each; larger values count in the last one."""
HISTOGRAM_PX, BARS_PX = 54, 74
GREY = QColor("#8a94a0")


class Plot(QWidget):
    """Bars side by side, each of a colour; pointing at one says what it is."""

    def __init__(self, height_px: int, name: str) -> None:
        super().__init__()
        self.setFixedHeight(height_px)
        self.setAccessibleName(name)
        self.heights: FloatArray = np.empty(0)
        """(N,) fractions of the plot's height"""
        self._colours: Sequence[QColor] = ()
        self._texts: Sequence[str] = ()

    def show_bars(self, heights: FloatArray, colours: Sequence[QColor], texts: Sequence[str]) -> None:
        """Draw these bars from now on; none empties the plot."""
        self.heights, self._colours, self._texts = heights, colours, texts
        self.update()

    def text_at(self, x: float) -> str:
        """Return what the bar at a position across is; empty without bars."""
        count = len(self.heights)
        return self._texts[min(max(int(x * count / max(self.width(), 1)), 0), count - 1)] if count else ""

    def sizeHint(self) -> QSize:  # noqa: N802
        """Return the height that it has."""
        return QSize(180, self.height())

    def event(self, event: QEvent | None) -> bool:
        """Say what the bar under the pointer is."""
        if isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), self.text_at(event.pos().x()), self)
            return True
        return super().event(event)

    def paintEvent(self, _: QPaintEvent | None) -> None:  # noqa: N802
        """Draw the bars, and a line below them."""
        painter = QPainter(self)
        bottom = self.height() - 1
        step = self.width() / max(len(self.heights), 1)
        for number, (height, colour) in enumerate(zip(self.heights.tolist(), self._colours, strict=True)):
            tall = min(max(height, 0.0), 1.0) * bottom
            painter.fillRect(QRectF(number * step, bottom - tall, max(step - 1, 1.0), tall), colour)
        painter.setPen(GREY)
        painter.drawLine(QPointF(0, bottom), QPointF(self.width(), bottom))
        painter.end()


class Distribution(Feature):
    """Group of the right panel: plots of the picked hand, or of the first one."""

    def __init__(self, controller: Controller, inspector: PointInspector, panel: Panel) -> None:
        super().__init__()
        self._inspector = inspector
        self.group = panel.group(TITLE)
        self.heading = named_label("faint", wraps=True)
        self.histogram = Plot(HISTOGRAM_PX, "Histogram of the vertices' standard deviations")
        self.joints = Plot(BARS_PX, "Standard deviation of each joint")
        for part in (self.heading, self.histogram, named_label("faint", f"vertices, 0 to {TOP_MM:g} mm"), self.joints,
                     named_label("faint", "joints: wrist, thumb … little finger")):  # fmt: skip
            panel.column.addWidget(part)
        controller.reported.connect(self._take_answer)
        controller.source_changing.connect(lambda _: self.show_hand(None))
        self.show_hand(None)

    def show_hand(self, hand: HandMesh | None) -> None:
        """Plot a hand; None, and a hand without an uncertainty of its own, empties the plots."""
        if hand is None or hand.vertex_std_mm is None or hand.keypoint_std_mm is None:
            self.heading.setText("no hand" if hand is None else "its model predicts no uncertainty")
            self.histogram.show_bars(np.empty(0), (), ())
            self.joints.show_bars(np.empty(0), (), ())
            return
        number = f"{hand.track_id} · " if hand.track_id else ""
        self.heading.setText(f"{number}{hand.handedness} hand, median {np.median(hand.vertex_std_mm):.1f} mm")
        counts = histogram(hand.vertex_std_mm)
        width = TOP_MM / BINS
        texts = [f"{at * width:g} to {(at + 1) * width:g} mm: {count} vertices" for at, count in enumerate(counts)]
        self.histogram.show_bars(counts / max(int(counts.max()), 1), [GREY] * BINS, texts)
        names = [name.replace("_", " ") for name in KEYPOINT_NAMES]
        of_joints = [f"{name}: {std:.1f} mm" for name, std in zip(names, hand.keypoint_std_mm, strict=True)]
        colours = [QColor.fromRgbF(*map(float, colour)) for colour in COLOURS]
        self.joints.show_bars(np.asarray(hand.keypoint_std_mm / TOP_MM), colours, of_joints)

    def _take_answer(self, answer: Answer) -> None:
        if self.group.is_folded:
            return
        hands = answer.result.hands
        picked = self._inspector.picked_index(hands) or 0
        self.show_hand(hands[picked] if hands else None)


def histogram(std_mm: FloatArray) -> FloatArray:
    """Return how many values (N,) each of the bins has, those beyond the end in the last one."""
    return np.histogram(np.clip(std_mm, 0, np.nextafter(TOP_MM, 0)), BINS, (0, TOP_MM))[0]
