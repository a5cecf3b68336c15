"""Thread that runs inspections one after the other and reports their results in batches."""

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
    """Interface of ``handviz.inspection.inspection.Inspection`` that the worker needs."""

    def events(self) -> Iterator[Listing | ImageRow]:
        """Yield the listing, then every image."""
        ...

    def cancel(self) -> None:
        """End after the present image."""
        ...


InspectionMaker = Callable[[InspectionRequest], InspectionLike]


def make_inspection(request: InspectionRequest) -> InspectionLike:
    """Return a real inspection; its libraries are loaded in the worker."""
    from handviz.inspection.inspection import Inspection

    return Inspection(request)


@dataclass(frozen=True)
class Progress:
    """Progress of an inspection, with the rows since the last report."""

    rows: tuple[ImageRow, ...]
    done: int
    total: int
    rate_hz: float
    """Images per second over the last seconds; 0 while unknown."""

    @property
    def seconds_left(self) -> float | None:
        """Remaining time; None while unknown."""
        return (self.total - self.done) / self.rate_hz if self.rate_hz > 0 else None


class InspectionRun:
    """One inspection; it may be cancelled before it starts, from any thread."""

    def __init__(self, request: InspectionRequest, make: InspectionMaker) -> None:
        self._request, self._make = request, make
        self._inspection: InspectionLike | None = None
        self._is_cancelled = False

    def events(self) -> Iterator[Listing | ImageRow]:
        """Yield the events of the inspection until it is cancelled."""
        if not self._is_cancelled:
            self._inspection = self._make(self._request)
        if self._inspection is not None and not self._is_cancelled:
            yield from self._inspection.events()

    def cancel(self) -> None:
        """End after the present image."""
        self._is_cancelled = True
        if self._inspection is not None:
            self._inspection.cancel()


class InspectionWorker(LatestWins):
    """Worker for one request after the other; a newer request cancels the present one, whose reports are dropped."""

    listed = pyqtSignal(object)
    """Listing"""
    progressed = pyqtSignal(object)
    """Progress"""
    ended = pyqtSignal(str)
    """Error message; empty if it finished or was cancelled."""

    def __init__(self, make: InspectionMaker = make_inspection) -> None:
        super().__init__(
            self._inspect, "The inspection failed unexpectedly; finished results are saved", low_priority=True
        )
        self._make = make
        self._run: InspectionRun | None = None
        self._pending: list[ImageRow] = []
        self._times_s: deque[float] = deque()
        self._done, self._total, self._sent_s = 0, 0, 0.0
        self.answered.connect(lambda *_: self.ended.emit(""))
        self.failed.connect(lambda _, message: self.ended.emit(message))

    def begin(self, request: InspectionRequest) -> None:
        """Start this request instead of any other."""
        self.cancel()
        self.forget()
        self._run = InspectionRun(request, self._make)
        self.ask(self._run)

    def cancel(self) -> None:
        """End after the present image."""
        if self._run is not None:
            self._run.cancel()

    def stop(self) -> None:
        """End after the present image and wait."""
        self.cancel()
        super().stop()

    def _inspect(self, run: InspectionRun) -> None:
        self._pending.clear()
        self._times_s.clear()
        self._done = self._total = 0
        try:
            for event in run.events():
                self._take(event)
        finally:
            # Results before an error count too.
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
