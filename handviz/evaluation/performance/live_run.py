"""The live program without its window: capture and reconstruction in a thread each, drawing in the caller's."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from handviz.core.errors import HandvizError
from handviz.core.process import resident_megabytes
from handviz.core.records import Frame, FrameResult
from handviz.pipeline.pipeline import Pipeline
from handviz.sources.mailbox import Mailbox
from handviz.sources.source import Source

MAX_WAIT_S = 30.0


@dataclass
class LiveMeasures:
    """Measurements of every frame that was shown, in order."""

    results: list[FrameResult] = field(default_factory=list)
    """Without their images."""
    draw_ms: list[float] = field(default_factory=list)
    age_ms: list[float] = field(default_factory=list)
    """From reading the frame to the end of its drawing."""
    shown_ms: list[float] = field(default_factory=list)
    resident_megabytes: list[float] = field(default_factory=list)
    dropped: int = 0


class LiveRun:
    """Playback of a source in a loop at a camera's rate until enough frames were shown."""

    def __init__(self, source: Source, pipeline: Pipeline, draw: Callable[[FrameResult], object], capture_fps: float):
        self._source, self._pipeline, self._draw = source, pipeline, draw
        self._step_s = 1 / capture_fps
        self._frames: Mailbox[Frame] = Mailbox()
        self._results: Mailbox[FrameResult] = Mailbox()
        self._stop = threading.Event()
        self._errors: list[Exception] = []

    def run(self, frame_count: int, progress: Callable[[], object] = lambda: None) -> LiveMeasures:
        """Show ``frame_count`` frames; raise a worker's error."""
        workers = [
            threading.Thread(target=self._guarded, args=(loop,), name=loop.__name__)
            for loop in (self._capture, self._reconstruct)
        ]
        for worker in workers:
            worker.start()
        measures = LiveMeasures()
        try:
            while len(measures.results) < frame_count and self._show(measures):
                progress()
        finally:
            self._end()
            for worker in workers:
                worker.join()
        if self._errors:
            raise self._errors[0]
        measures.dropped = self._frames.dropped
        return measures

    def _show(self, measures: LiveMeasures) -> bool:
        """Draw the next result; return False if there are no more."""
        result = self._results.get(MAX_WAIT_S)
        if result is None:
            return False
        start_ms = time.perf_counter() * 1000
        self._draw(result)
        now_ms = time.perf_counter() * 1000
        measures.draw_ms.append(now_ms - start_ms)
        measures.age_ms.append(now_ms - result.frame.captured_ms)
        measures.shown_ms.append(now_ms)
        measures.resident_megabytes.append(resident_megabytes())
        measures.results.append(_without_image(result))
        return True

    def _capture(self) -> None:
        next_s = time.perf_counter()
        while not self._stop.wait(max(0.0, next_s - time.perf_counter())):
            next_s = max(next_s + self._step_s, time.perf_counter() - self._step_s)
            frame = self._source.read()
            if frame is None:
                self._source.seek(0)
                continue
            self._frames.put(frame)

    def _reconstruct(self) -> None:
        while not self._stop.is_set():
            frame = self._frames.get(MAX_WAIT_S)
            if frame is not None:
                self._results.put(self._pipeline.process(frame))

    def _guarded(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except (HandvizError, OSError, RuntimeError, ValueError) as error:
            self._errors.append(error)
        finally:
            self._end()

    def _end(self) -> None:
        self._stop.set()
        self._frames.close()
        self._results.close()


def _without_image(result: FrameResult) -> FrameResult:
    """Return times and number of hands alone; thousands of whole results would look like a leak."""
    empty = Frame(number=result.frame.number, image=result.frame.image[:0].copy(), captured_ms=result.frame.captured_ms)
    return FrameResult(empty, result.model, times=result.times)
