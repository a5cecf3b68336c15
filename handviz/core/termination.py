"""Ends of processes: SIGTERM and SIGHUP stop a command as Ctrl+C does, and worker processes end with their parent."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

TERMINATIONS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What log-out, shut-down, a closed terminal, systemd, SLURM and containers send; Windows has no SIGHUP."""
INTERRUPTED_STATUS, SIGNAL_STATUS = 130, 128


class Terminated(KeyboardInterrupt):
    """A stop by another signal than Ctrl+C's: results so far are saved, as after Ctrl+C."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = SIGNAL_STATUS + number


@contextmanager
def terminations_as_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise Terminated, a KeyboardInterrupt, within the block; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # One that is ignored stays so: nohup asks for it.
    numbers = [number for number in TERMINATIONS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _terminate) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated(number)


def interrupt_status(stop: KeyboardInterrupt) -> int:
    """Return the exit status after a stop: 130 for Ctrl+C, 143 for SIGTERM."""
    return stop.status if isinstance(stop, Terminated) else INTERRUPTED_STATUS


def follow_parent() -> None:
    """Let this worker process end when its parent does, however that ends; Ctrl+C is left to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in TERMINATIONS:
        signal.signal(number, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
