"""How often something happens."""

from collections import deque

from handviz.core.records import Frame

WINDOW_S = 2.0
MAX_PAUSE_S = 2.0
"""Of a clip that stands still for longer at normal speed."""


class RateMeter:
    """Events per second over the last two seconds."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque()

    def tick(self, now_s: float) -> float:
        """Count an event at ``now_s``; returns the present rate in Hz, 0 until there are two events."""
        self._times_s.append(now_s)
        while now_s - self._times_s[0] > WINDOW_S:
            self._times_s.popleft()
        span_s = now_s - self._times_s[0]
        return (len(self._times_s) - 1) / span_s if span_s > 0 else 0.0

    def reset(self) -> None:
        """Forget everything."""
        self._times_s.clear()


# When the next frame of a clip or folder is due.


class PlaybackClock:
    """Follows the times that a clip's frames bear, or its nominal rate where they bear none."""

    def __init__(self) -> None:
        self.due_s = 0.0
        self._speed = 1.0
        self._interval_s = 0.0
        self._last: tuple[int, float] | None = None

    def begin(self, now_s: float) -> None:
        """The next frame is due now."""
        self.due_s, self._interval_s, self._last = now_s, 0.0, None

    def set_speed(self, speed: float, now_s: float) -> None:
        """1 is as fast as it was taken; what is waited for already gets the new speed too."""
        self._speed = speed
        self.due_s = min(self.due_s, now_s + self._interval_s / speed)

    def resume(self, frame: Frame | None, nominal_fps: float, began_s: float) -> None:
        """This frame, read at ``began_s``, was due: say when the next one is; what is late is not made up for."""
        self._interval_s = self._interval_of(frame, nominal_fps)
        self.due_s = max(self.due_s + self._interval_s / self._speed, began_s)

    def _interval_of(self, frame: Frame | None, nominal_fps: float) -> float:
        """How long it lasts: as long as the one before it did, for the time of the next one is not known yet."""
        before, self._last = self._last, None
        if frame is None or frame.time_ms is None:
            return 1 / nominal_fps
        self._last = frame.number, frame.time_ms
        if before is None or before[0] + 1 != frame.number:
            return 1 / nominal_fps
        return min(max(frame.time_ms - before[1], 0.0) / 1000, MAX_PAUSE_S)
