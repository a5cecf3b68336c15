"""Thread that plays the moments of a rig and reconstructs each of them."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Protocol

from PyQt6.QtCore import QThread, pyqtSignal

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.multiview import MultiViewHand
from handviz.core.records import FrameResult
from handviz.gui.session.rates import RateMeter
from handviz.gui.session.tasks import attempt, lower_priority
from handviz.pipeline.rig_results import results_of_views
from handviz.sources.rig_moments import Moment, MomentSource

FAILURE = "This moment could not be reconstructed"
STILL_S, LONGEST_S = 1.0, 1.0
"""How long a moment of images is shown, and the longest pause between moments of clips."""


class MultiViewPipelineLike(Protocol):
    """Interface of ``handviz.pipeline.multiview.MultiViewPipeline`` as this thread uses it."""

    def process(self, moment: Moment, /) -> list[MultiViewHand]:
        """Return the hands of a moment."""
        ...

    def close(self) -> None:
        """Free all resources."""
        ...


@dataclass(frozen=True, eq=False)
class OpenedRig:
    """A rig and what reconstructs its moments."""

    source: MomentSource
    pipeline: MultiViewPipelineLike

    def close(self) -> None:
        """Close both."""
        self.source.close()
        self.pipeline.close()


RigOpener = Callable[[str], OpenedRig]
"""Opens a rig by the path of its file; called in the thread."""


@dataclass(frozen=True, eq=False)
class MomentAnswer:
    """A moment for the page."""

    generation: int
    moment: Moment
    """With all views, those too that are switched off"""
    hands: tuple[MultiViewHand, ...]
    results: dict[str, FrameResult]
    """What each view shows, by its name"""
    count: int | None
    """Of the rig's moments, as far as is known"""
    rate_hz: float
    took_ms: float


class MomentPlayer(QThread):
    """Thread that plays a rig from its beginning, again and again; public methods may be called from any thread."""

    answered = pyqtSignal(object)
    """MomentAnswer"""
    failed = pyqtSignal(int, str)
    """Generation and message"""
    playing_changed = pyqtSignal(bool)

    def __init__(self, opener: RigOpener) -> None:
        super().__init__()
        self._opener = opener
        self._requests: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._is_stopping = False
        self._rig: OpenedRig | None = None
        self._moments: Iterator[Moment] | None = None
        self._moment: Moment | None = None
        self._off: frozenset[str] = frozenset()
        self._generation, self._is_playing = 0, False
        self._due_s = 0.0
        self._rate = RateMeter()

    def open(self, text: str, generation: int) -> None:
        """Change to another rig, and play it."""
        self._request(partial(self._open, text, generation))

    def set_playing(self, is_playing: bool) -> None:
        """Play or pause."""
        self._request(partial(self._set_playing, is_playing))

    def step(self) -> None:
        """Pause, and show the next moment."""
        self._request(self._step)

    def restart(self) -> None:
        """Go back to the first moment."""
        self._request(self._restart)

    def set_off(self, names: frozenset[str]) -> None:
        """Leave these views out from the next moment on; a paused moment is reconstructed again."""
        self._request(partial(self._set_off, names))

    def stop(self) -> None:
        """End and wait; the rig is closed."""
        self._is_stopping = True
        self._requests.put(lambda: None)
        self.wait()

    def run(self) -> None:
        """Handle requests and play until ``stop``."""
        lower_priority(self)
        while not self._is_stopping:
            request = self._next_request()
            _, message = attempt(request or self._advance, FAILURE)
            if message:
                self._set_playing(False)
                self.failed.emit(self._generation, message)
        self._close()

    def _request(self, request: Callable[[], None]) -> None:
        if not self._is_stopping:
            self._requests.put(request)
            if not self.isRunning():
                self.start()

    def _next_request(self) -> Callable[[], None] | None:
        """Wait for a request until the next moment is due."""
        timeout_s = max(self._due_s - time.monotonic(), 0.0) if self._is_playing else None
        try:
            return self._requests.get(timeout=timeout_s)
        except Empty:
            return None

    def _open(self, text: str, generation: int) -> None:
        self._close()
        self._generation, self._off = generation, frozenset()
        self._rig = self._opener(text)
        self._restart()
        self._set_playing(True)

    def _restart(self) -> None:
        if self._rig is not None:
            self._moments, self._moment = self._rig.source.moments(), None
            self._due_s = 0.0

    def _set_playing(self, is_playing: bool) -> None:
        self._is_playing = is_playing and self._rig is not None
        self._due_s = 0.0
        self._rate.reset()
        self.playing_changed.emit(self._is_playing)

    def _step(self) -> None:
        self._set_playing(False)
        self._advance()

    def _set_off(self, names: frozenset[str]) -> None:
        self._off = names
        if not self._is_playing and self._moment is not None:
            self._show(self._moment)

    def _advance(self) -> None:
        """Show the next moment, or the first one again after the last."""
        if self._rig is None or self._moments is None:
            return
        moment = next(self._moments, None)
        if moment is None:
            if self._moment is None:
                raise HandvizError("the rig has no moments: check its sources", ErrorCode.EMPTY_INPUT)
            self._restart()
            return
        before, self._moment = self._moment, moment
        self._due_s = max(self._due_s, time.monotonic()) + _seconds_between(before, moment)
        self._show(moment)

    def _show(self, moment: Moment) -> None:
        rig = self._rig
        if rig is None:
            return
        began_s = time.monotonic()
        used = replace(moment, views=tuple(view for view in moment.views if view.name not in self._off))
        hands = tuple(rig.pipeline.process(used))
        took_ms = (time.monotonic() - began_s) * 1000
        rate_hz = self._rate.tick(time.monotonic()) if self._is_playing else 0.0
        results = results_of_views(moment, hands)
        self.answered.emit(MomentAnswer(self._generation, moment, hands, results, rig.source.count, rate_hz, took_ms))

    def _close(self) -> None:
        rig, self._rig, self._moments, self._moment = self._rig, None, None, None
        if rig is not None:
            rig.close()


def _seconds_between(before: Moment | None, moment: Moment) -> float:
    """Return how long after the one before a moment is due to be over."""
    if moment.time_ms is None:
        return STILL_S
    if before is None or before.time_ms is None:
        return 0.0
    return min(max((moment.time_ms - before.time_ms) / 1000, 0.0), LONGEST_S)
