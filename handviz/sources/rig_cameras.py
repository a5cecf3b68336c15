"""Moments of a rig of live cameras: each is read in a thread of its own, and frames of one time are put together."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from handviz.core.errors import HandvizError
from handviz.core.multiview import LeftOutView
from handviz.core.records import Frame
from handviz.sources.rig import Rig, RigView
from handviz.sources.rig_moments import Moment, MomentView
from handviz.sources.source import Source, open_source

MAX_SKEW_MS = 40.0
"""Farthest from a moment's time that a frame may be: more than a frame of 30 a second."""
KEPT_FRAMES = 8
WAIT_S, RETRY_S = 0.5, 1.0
"""How long the slowest camera is waited for, and the pause before one that failed is opened again."""


class _Reader(threading.Thread):
    """Reads a camera; the newest frames wait in ``frames``."""

    def __init__(self, view: RigView, opener: Callable[[str], Source], arrived: threading.Condition) -> None:
        super().__init__(name=f"camera-{view.name}", daemon=True)
        self.view = view
        self._opener, self._arrived = opener, arrived
        self.frames: deque[Frame] = deque(maxlen=KEPT_FRAMES)
        self.error = ""
        self._is_stopping = threading.Event()

    def run(self) -> None:
        """Read until it is stopped; a camera that fails is opened again."""
        while not self._is_stopping.is_set():
            try:
                self._read_on()
            except HandvizError as error:
                with self._arrived:
                    self.error = str(error)
                    self.frames.clear()
                    self._arrived.notify_all()
                self._is_stopping.wait(RETRY_S)

    def stop(self) -> None:
        """Ask it to end."""
        self._is_stopping.set()

    def nearest(self, time_ms: float) -> Frame | None:
        """Return the frame nearest to a time; None if it is too far from it."""
        frame = min(self.frames, key=lambda one: abs(one.captured_ms - time_ms), default=None)
        return frame if frame is not None and abs(frame.captured_ms - time_ms) <= MAX_SKEW_MS else None

    def _read_on(self) -> None:
        source = self._opener(str(self.view.source))
        try:
            while not self._is_stopping.is_set():
                frame = source.read()
                if frame is None:
                    return
                with self._arrived:
                    self.error = ""
                    self.frames.append(frame)
                    self._arrived.notify_all()
        finally:
            source.close()


class LiveRig:
    """The moments of cameras, until it is closed. Frames count as of one time by when they were read."""

    is_clip = True
    count: int | None = None

    def __init__(self, rig: Rig, opener: Callable[[str], Source] = open_source) -> None:
        """Start to read all cameras; one that cannot be opened is left out of moments, with the reason."""
        self.name = rig.name
        self._arrived = threading.Condition()
        self._readers = [_Reader(view, opener, self._arrived) for view in rig.views]
        self._is_closed = False
        self._begun_ms = time.perf_counter() * 1000
        for reader in self._readers:
            reader.start()

    def moments(self) -> Iterator[Moment]:
        """Yield moments as frames arrive; those that arrive while nobody asks are skipped."""
        number, last_ms = 0, -1.0
        while True:
            with self._arrived:
                self._arrived.wait_for(partial(self._is_due, last_ms), WAIT_S)
                if self._is_closed:
                    return
                newest = [reader.frames[-1].captured_ms for reader in self._readers if reader.frames]
                fresh = [time_ms for time_ms in newest if time_ms > last_ms]
                if not fresh and not all(reader.error for reader in self._readers):
                    continue
                # The slowest camera's newest frame, of those that deliver.
                time_ms = min(fresh, default=time.perf_counter() * 1000)
                found = [(reader.view, reader.nearest(time_ms), reader.error) for reader in self._readers]
            last_ms = max(time_ms, last_ms)
            yield self._moment(number, time_ms, found)
            number += 1
            if not fresh:
                time.sleep(RETRY_S)

    def close(self) -> None:
        """Close all cameras and wait for their threads; may be called twice."""
        with self._arrived:
            self._is_closed = True
            self._arrived.notify_all()
        for reader in self._readers:
            reader.stop()
        for reader in self._readers:
            reader.join()

    def _is_due(self, time_ms: float) -> bool:
        """Return whether all cameras have a newer frame, or the rig is closed."""
        return self._is_closed or all(
            reader.frames and reader.frames[-1].captured_ms > time_ms for reader in self._readers
        )

    def _moment(self, number: int, time_ms: float, found: list[tuple[RigView, Frame | None, str]]) -> Moment:
        views: list[MomentView] = []
        left_out: list[LeftOutView] = []
        for view, frame, error in found:
            if frame is None:
                without_error = LeftOutView(view.name, "time", "it has no frame near this time")
                left_out.append(LeftOutView(view.name, "unreadable", error) if error else without_error)
                continue
            try:
                undistorted, camera = view.undistorted(frame)
            except HandvizError as problem:
                left_out.append(LeftOutView(view.name, "unreadable", str(problem)))
            else:
                views.append(MomentView(view.name, f"{view.source}#{frame.number:06d}", undistorted, camera))
        return Moment(number, tuple(views), tuple(left_out), time_ms - self._begun_ms)
