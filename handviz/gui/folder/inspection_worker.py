"""Runs inspections, one after the other, and sends what they say in batches that a window can take in."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from PyQt6.QtCore import pyqtSignal

from handviz.gui.session.tasks import LatestWins
from handviz.inspection.columns import ImageRow, InspectionRequest, Listing

BATCH_S = 0.25
RATE_WINDOW_S = 20.0


class InspectionLike(Protocol):
    """What the worker needs of ``handviz.inspection.inspection.Inspection``."""

    def events(self) -> Iterator[Listing | ImageRow]:
        """The listing, then every image."""
        ...

    def cancel(self) -> None:
        """End after the present image."""
        ...


InspectionMaker = Callable[[InspectionRequest], InspectionLike]


def make_inspection(order: InspectionRequest) -> InspectionLike:
    """The real one; its libraries are loaded in the worker."""
    from handviz.inspection.inspection import Inspection

    return Inspection(order)


@dataclass(frozen=True)
class Progress:
    """How far an inspection is, and what came since the last time."""

    rows: tuple[ImageRow, ...]
    done: int
    total: int
    rate_hz: float
    """Images per second over the last seconds, 0 as long as that is unknown."""

    @property
    def seconds_left(self) -> float | None:
        """None as long as that is unknown."""
        return (self.total - self.done) / self.rate_hz if self.rate_hz > 0 else None


class InspectionRun:
    """One order on its way; it may be cancelled before it begins, from any thread."""

    def __init__(self, order: InspectionRequest, make: InspectionMaker) -> None:
        self._order, self._make = order, make
        self._inspection: InspectionLike | None = None
        self._is_cancelled = False

    def events(self) -> Iterator[Listing | ImageRow]:
        """Yield what the inspection says, as long as it is not cancelled."""
        if not self._is_cancelled:
            self._inspection = self._make(self._order)
        if self._inspection is not None and not self._is_cancelled:
            yield from self._inspection.events()

    def cancel(self) -> None:
        """End after the present image."""
        self._is_cancelled = True
        if self._inspection is not None:
            self._inspection.cancel()


class InspectionWorker(LatestWins):
    """Carries out one order after the other; a newer order ends the present one, of which nothing is heard any more."""

    listed = pyqtSignal(object)
    """Listing"""
    progressed = pyqtSignal(object)
    """Progress"""
    ended = pyqtSignal(str)
    """Why it could not go on; empty if it was done or cancelled."""

    def __init__(self, make: InspectionMaker = make_inspection) -> None:
        super().__init__(self._carry_out, "The inspection failed unexpectedly, what is done is kept", low_priority=True)
        self._make = make
        self._run: InspectionRun | None = None
        self._pending: list[ImageRow] = []
        self._times_s: deque[float] = deque()
        self._done, self._total, self._sent_s = 0, 0, 0.0
        self.answered.connect(lambda *_: self.ended.emit(""))
        self.failed.connect(lambda _, message: self.ended.emit(message))

    def begin(self, order: InspectionRequest) -> None:
        """Carry out this order, at once instead of any other."""
        self.cancel()
        self.forget()
        self._run = InspectionRun(order, self._make)
        self.ask(self._run)

    def cancel(self) -> None:
        """End after the present image."""
        if self._run is not None:
            self._run.cancel()

    def stop(self) -> None:
        """End after the present image and wait."""
        self.cancel()
        super().stop()

    def _carry_out(self, run: InspectionRun) -> None:
        self._pending.clear()
        self._times_s.clear()
        self._done = self._total = 0
        try:
            for event in run.events():
                self._take(event)
        finally:
            # What was done before an error counts too.
            self._send()

    def _take(self, event: Listing | ImageRow) -> None:
        if isinstance(event, Listing):
            self._send()
            self._total, self._done = len(event.rows), sum(row.state != "waiting" for row in event.rows)
            self.report(self.listed, event)
            self._send()
            return
        self._pending.append(event)
        self._done += 1
        now_s = time.monotonic()
        self._times_s.append(now_s)
        if now_s - self._sent_s >= BATCH_S:
            self._send()

    def _send(self) -> None:
        rows, self._pending = tuple(self._pending), []
        self._sent_s = time.monotonic()
        self.report(self.progressed, Progress(rows, self._done, self._total, self._rate_hz()))

    def _rate_hz(self) -> float:
        times_s = self._times_s
        while times_s and times_s[-1] - times_s[0] > RATE_WINDOW_S:
            times_s.popleft()
        span_s = times_s[-1] - times_s[0] if times_s else 0.0
        return (len(times_s) - 1) / span_s if span_s > 0 else 0.0
