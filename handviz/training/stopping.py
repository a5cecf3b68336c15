"""Ctrl-C and SIGTERM end a run at the next step, saved; a second one ends it at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether somebody asked to stop."""

    asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note the signal."""
        self.asked = True
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)


@contextmanager
def stop_at_signals() -> Iterator[Stop]:
    """Watch for signals while a run goes on; outside the main thread there is nothing to watch."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
