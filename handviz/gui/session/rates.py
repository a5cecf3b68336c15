"""Rates of events, the times at which frames of clips are due, and answers for texts, which are slower."""

from collections import deque

from PyQt6.QtCore import QObject, QTimer, pyqtSignal

from handviz.core.records import Frame
from handviz.gui.session.messages import Answer

WINDOW_S = 2.0
REPORT_MS = 100
"""Between two texts about a playing source."""
MAX_PAUSE_S = 2.0
"""Longest time between two frames of a clip at normal speed"""


class RateMeter:
    """Events per second over the last two seconds."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque()

    def tick(self, now_s: float) -> float:
        """Count an event at ``now_s``; return the present rate in Hz, 0 until there are two events."""
        self._times_s.append(now_s)
        while now_s - self._times_s[0] > WINDOW_S:
            self._times_s.popleft()
        span_s = now_s - self._times_s[0]
        return (len(self._times_s) - 1) / span_s if span_s > 0 else 0.0

    def reset(self) -> None:
        """Forget all events."""
        self._times_s.clear()


class PlaybackClock:
    """Due time of the next frame, by the clip's timestamps or its nominal rate where there are none."""

    def __init__(self) -> None:
        self.due_s = 0.0
        self._speed = 1.0
        self._interval_s = 0.0
        self._last: tuple[int, float] | None = None

    def begin(self, now_s: float) -> None:
        """Make the next frame due now."""
        self.due_s, self._interval_s, self._last = now_s, 0.0, None

    def set_speed(self, speed: float, now_s: float) -> None:
        """Set the speed (1 is the original one), also for the frame that is being waited for."""
        self._speed = speed
        self.due_s = min(self.due_s, now_s + self._interval_s / speed)

    def advance(self, frame: Frame | None, nominal_fps: float, began_s: float) -> None:
        """Schedule the frame after this one, which was read at ``began_s``; delays are not made up for."""
        self._interval_s = self._interval_of(frame, nominal_fps)
        self.due_s = max(self.due_s + self._interval_s / self._speed, began_s)

    def _interval_of(self, frame: Frame | None, nominal_fps: float) -> float:
        """Return the duration of the previous frame, because the next timestamp is not known yet."""
        before, self._last = self._last, None
        if frame is None or frame.time_ms is None:
            return 1 / nominal_fps
        self._last = frame.number, frame.time_ms
        if before is None or before[0] + 1 != frame.number:
            return 1 / nominal_fps
        return min(max(frame.time_ms - before[1], 0.0) / 1000, MAX_PAUSE_S)


class Reports(QObject):
    """Answers for what is read: the first at once, then the newest, at most ten times a second while a source plays."""

    due = pyqtSignal(object)
    """Answer"""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: Answer | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._report)

    def take(self, answer: Answer) -> None:
        """Report an answer now or later; of a paused source, where every frame is looked at, now."""
        self._waiting = answer
        if not self._timer.isActive() or answer.capture_rate_hz == 0:
            self._report()

    def forget(self) -> None:
        """Drop the answer that waits."""
        self._timer.stop()
        self._waiting = None

    def _report(self) -> None:
        answer, self._waiting = self._waiting, None
        if answer is not None:
            self._timer.start(REPORT_MS)
            self.due.emit(answer)
