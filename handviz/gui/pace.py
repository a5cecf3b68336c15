"""When the next frame of a clip or folder is due."""

from handviz.records import Frame

LONGEST_PAUSE_S = 2.0
"""Of a clip that stands still for longer at normal speed."""


class Pace:
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

    def go_on(self, nominal_fps: float, now_s: float) -> None:
        """A frame is read now: say when the one after it is due; what is late is not made up for."""
        self._interval_s = self._interval_s or 1 / nominal_fps
        self.due_s = max(self.due_s + self._interval_s / self._speed, now_s)

    def note(self, frame: Frame, nominal_fps: float) -> None:
        """Learn from a frame how long frames last here."""
        self._interval_s = 1 / nominal_fps
        if frame.time_ms is None:
            return
        if self._last is not None and self._last[0] + 1 == frame.number:
            self._interval_s = min(max(frame.time_ms - self._last[1], 0.0) / 1000, LONGEST_PAUSE_S)
        self._last = frame.number, frame.time_ms
