"""Runs inspections, one after the other, and sends what they say in batches that a window can take in."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

from PyQt6.QtCore import QThread, pyqtSignal

from handviz.core.errors import HandvizError
from handviz.gui.session.give_way import give_way
from handviz.inspection.columns import InspectionOrder, Listing, PictureRow

BATCH_S = 0.25
RATE_WINDOW_S = 20.0
logger = logging.getLogger(__name__)


class InspectionLike(Protocol):
    """What this thread needs of ``handviz.inspection.inspection.Inspection``."""

    def events(self) -> Iterator[Listing | PictureRow]:
        """The listing, then every picture."""
        ...

    def cancel(self) -> None:
        """End after the present picture."""
        ...


InspectionMaker = Callable[[InspectionOrder], InspectionLike]


def make_inspection(order: InspectionOrder) -> InspectionLike:
    """The real one; its libraries are loaded in the worker."""
    from handviz.inspection.inspection import Inspection

    return Inspection(order)


@dataclass(frozen=True)
class Progress:
    """How far an inspection is, and what came since the last time."""

    rows: tuple[PictureRow, ...]
    done: int
    total: int
    rate_hz: float
    """Pictures per second over the last seconds, 0 as long as that is unknown."""

    @property
    def seconds_left(self) -> float | None:
        """None as long as that is unknown."""
        return (self.total - self.done) / self.rate_hz if self.rate_hz > 0 else None


class InspectionThread(QThread):
    """One loop: wait for an order, carry it out; a newer order ends the present one."""

    listed = pyqtSignal(int, object)
    """Number of the order, and Listing."""
    progressed = pyqtSignal(int, object)
    """Number of the order, and Progress."""
    ended = pyqtSignal(int, str)
    """Number of the order, and why it could not go on; empty if it was done or cancelled."""

    def __init__(self, make: InspectionMaker = make_inspection) -> None:
        super().__init__()
        self._make = make
        self._orders: SimpleQueue[tuple[int, InspectionOrder] | None] = SimpleQueue()
        self._number = 0
        self._cancelled_to = 0
        self._inspection: InspectionLike | None = None
        self._pending: list[PictureRow] = []
        self._times_s: deque[float] = deque()
        self._done, self._total, self._sent_s = 0, 0, 0.0

    def begin(self, order: InspectionOrder) -> int:
        """Carry out this order, at once instead of any other; returns the number that its signals carry."""
        self.cancel()
        self._number += 1
        self._orders.put((self._number, order))
        if not self.isRunning():
            self.start()
        return self._number

    def cancel(self) -> None:
        """End after the present picture."""
        self._cancelled_to = self._number
        inspection = self._inspection
        if inspection is not None:
            inspection.cancel()

    def stop(self) -> None:
        """End the loop and wait for it."""
        self.cancel()
        self._orders.put(None)
        if self.isRunning():
            self.wait()

    def run(self) -> None:
        """The loop."""
        give_way(self)
        while (item := self._newest()) is not None:
            number, order = item
            trouble = ""
            try:
                self._carry_out(number, order)
            except HandvizError as error:
                trouble = str(error)
                logger.error("%s", error)
            # The outermost loop: whatever goes wrong, the next order finds the thread alive.
            except Exception as error:
                logger.exception("the inspection failed")
                trouble = f"The inspection failed unexpectedly ({error}); the log says where. What is done is kept."
            self._inspection = None
            self.ended.emit(number, trouble)

    def _newest(self) -> tuple[int, InspectionOrder] | None:
        item = self._orders.get()
        while True:
            try:
                item = self._orders.get_nowait()
            except Empty:
                return item

    def _carry_out(self, number: int, order: InspectionOrder) -> None:
        if number <= self._cancelled_to:
            return
        inspection = self._inspection = self._make(order)
        if number <= self._cancelled_to:
            return
        self._pending.clear()
        self._times_s.clear()
        self._done = self._total = 0
        try:
            for event in inspection.events():
                self._take(number, event)
        finally:
            # What was done before a trouble counts too.
            self._send(number)

    def _take(self, number: int, event: Listing | PictureRow) -> None:
        if isinstance(event, Listing):
            self._send(number)
            self._total, self._done = len(event.rows), sum(row.state != "waiting" for row in event.rows)
            self.listed.emit(number, event)
            self._send(number)
            return
        self._pending.append(event)
        self._done += 1
        now_s = time.monotonic()
        self._times_s.append(now_s)
        if now_s - self._sent_s >= BATCH_S:
            self._send(number)

    def _send(self, number: int) -> None:
        rows, self._pending = tuple(self._pending), []
        self._sent_s = time.monotonic()
        self.progressed.emit(number, Progress(rows, self._done, self._total, self._rate_hz()))

    def _rate_hz(self) -> float:
        times_s = self._times_s
        while times_s and times_s[-1] - times_s[0] > RATE_WINDOW_S:
            times_s.popleft()
        span_s = times_s[-1] - times_s[0] if times_s else 0.0
        return (len(times_s) - 1) / span_s if span_s > 0 else 0.0
