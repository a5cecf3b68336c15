"""Durations for which the interface is busy, from a timer in its thread that measures its delays."""

import time
from collections.abc import Sequence

import numpy as np
from PyQt6.QtCore import QObject, Qt, QTimer

INTERVAL_MS = 10
PROMISED_MS = 50.0


class LatenessMeter(QObject):
    """A timer that records its delays while it runs."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._last_ms: float | None = None
        self.late_ms: list[float] = []

    def start(self) -> None:
        """Reset and start."""
        self.late_ms, self._last_ms = [], None
        self._timer.start(INTERVAL_MS)

    def stop(self) -> None:
        """Stop the timer."""
        self._timer.stop()

    def _tick(self) -> None:
        now_ms = time.perf_counter() * 1000
        if self._last_ms is not None:
            self.late_ms.append(max(now_ms - self._last_ms - INTERVAL_MS, 0.0))
        self._last_ms = now_ms


def waits_ms(late_ms: Sequence[float]) -> tuple[float, float, float]:
    """Return median, 95th percentile and longest wait of an input at a random moment.

    Ticks that are late tell how long the interface was busy; who comes during that waits for the rest of it.
    So long busy times count for as many moments as they last.
    """
    timed_results = [np.zeros(1)]
    for late in late_ms:
        # One moment a millisecond: first those that wait for the busy time's end, then those of the idle interval.
        timed_results += [np.arange(late, 0, -1.0), np.zeros(INTERVAL_MS)]
    every = np.concatenate(timed_results)
    return float(np.median(every)), float(np.percentile(every, 95)), float(every.max())


def report(name: str, late_ms: Sequence[float]) -> str:
    """Return one line of a report."""
    median, most, longest = waits_ms(late_ms)
    fraction = float(np.mean(np.asarray(late_ms) > PROMISED_MS)) if late_ms else 0.0
    verdict = "holds" if most <= PROMISED_MS else "does not hold"
    return (
        f"{name:24} waits: median {median:5.1f} ms, 95 % {most:5.1f} ms, longest {longest:6.1f} ms; "
        f"{fraction:.2%} of {len(late_ms)} ticks late by over {PROMISED_MS:.0f} ms: {verdict}"
    )
