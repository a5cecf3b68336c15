"""A source that plays freely, or gives one frame at a time when it is told to."""

import threading

from handviz.core.records import Frame
from handviz.sources.source import InterruptibleSource, Source


class Gate:
    """What frames pass: all while it is open, otherwise one for each ``let_one``; for several threads."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._is_open, self._permits = True, 0
        self.newest = -1
        """Number of the frame that passed last."""

    def open(self) -> None:
        """Let all frames pass from now on."""
        with self._condition:
            self._is_open = True
            self._condition.notify_all()

    def hold(self) -> None:
        """Let no frame pass but one for each ``let_one``."""
        with self._condition:
            self._is_open, self._permits = False, 0

    def let_one(self) -> None:
        """Let the next frame pass."""
        with self._condition:
            self._permits = 1
            self._condition.notify_all()

    def wait(self) -> None:
        """Wait until a frame may pass."""
        with self._condition:
            self._condition.wait_for(lambda: self._is_open or self._permits > 0)
            self._permits = 0


class SteppedSource:
    """Another source behind a gate; closing it leaves the gate open."""

    def __init__(self, source: Source, gate: Gate) -> None:
        self._source, self._gate = source, gate
        self.name, self.is_live, self.nominal_fps = source.name, source.is_live, source.nominal_fps

    @property
    def description(self) -> str:
        """That of the source."""
        return self._source.description

    @property
    def frame_count(self) -> int | None:
        """That of the source."""
        return self._source.frame_count

    def read(self) -> Frame | None:
        """Wait for the gate, then return the next frame; the gate stays open for another if there is none."""
        self._gate.wait()
        frame = None
        try:
            frame = self._source.read()
        finally:
            if frame is None:
                self._gate.let_one()
            else:
                self._gate.newest = frame.number
        return frame

    def seek(self, number: int) -> None:
        """Seek in the source."""
        self._source.seek(number)

    def interrupt(self) -> None:
        """Open the gate, and interrupt a seek; from any thread."""
        self._gate.open()
        if isinstance(self._source, InterruptibleSource):
            self._source.interrupt()

    def close(self) -> None:
        """Close the source."""
        self._source.close()
