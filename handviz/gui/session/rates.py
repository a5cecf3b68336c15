"""How often something happens."""

from collections import deque

WINDOW_S = 2.0


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
