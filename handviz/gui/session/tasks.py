"""Threads beside the window: one function at a time (``Task``), or the newest request (``LatestWins``)."""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, TypeVar

from PyQt6.QtCore import QThread, pyqtBoundSignal, pyqtSignal

from handviz.core.errors import HandvizError
from handviz.core.extras import imports_explained

NICENESS = 5
Result = TypeVar("Result")
logger = logging.getLogger(__name__)


def lower_priority(thread: QThread) -> None:
    """Lower the priority of ``thread``, the present one, and of those it starts, so that the window responds sooner."""
    if sys.platform.startswith("linux"):
        # Qt has no priorities under Linux' default scheduler; every thread has its own niceness.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    else:
        thread.setPriority(QThread.Priority.LowPriority)


def attempt(function: Callable[[], Result], failure: str) -> tuple[Result | None, str]:
    """Return the function's result, or None and the message of the error that it raised.

    The outermost call of a thread: errors other than HandvizError are logged and begin with ``failure``.
    """
    try:
        with imports_explained():
            return function(), ""
    except HandvizError as error:
        return None, str(error)
    except Exception as error:
        logger.exception("%s", failure)
        return None, f"{failure} ({error}); details are in the log."


class _Worker(QThread):
    """Thread whose signals are emitted in the thread that made it, until ``stop``."""

    _sent = pyqtSignal(int, object)
    """Generation, and the function that emits"""

    def __init__(self, failure: str, *, low_priority: bool) -> None:
        super().__init__()
        self._failure, self._low_priority = failure, low_priority
        self._generation = self._present_generation = 0
        self._is_stopped = False
        self._sent.connect(self._deliver)

    def report(self, signal: pyqtBoundSignal, *values: object) -> None:
        """Emit a signal from within the thread; dropped if its request was forgotten meanwhile."""
        self._sent.emit(self._present_generation, lambda: signal.emit(*values))

    def stop(self) -> None:
        """Wait for the thread to end; no signal is emitted and nothing can be started from now on."""
        self._is_stopped = True
        self._generation += 1
        self.wait()

    def _deliver(self, generation: int, emit: Callable[[], None]) -> None:
        if generation == self._generation:
            emit()


class Task(_Worker):
    """Runner of one function at a time, each in a thread that ends with it."""

    done = pyqtSignal(object)
    """result of the function"""
    failed = pyqtSignal(str)
    """message of the error that it raised"""
    progressed = pyqtSignal(object)
    """progress, which the function reports by ``task.report(task.progressed, value)``"""

    def __init__(self, failure: str, *, low_priority: bool = False) -> None:
        """``failure`` begins the message of an error that is not a HandvizError: "The meshes could not be saved"."""
        super().__init__(failure, low_priority=low_priority)
        self._function: Callable[[], object] | None = None
        self._is_cancelled = False
        for signal in (self.done, self.failed):
            signal.connect(self._forget_function)

    @property
    def is_busy(self) -> bool:
        """Whether a function was started whose end has not been reported yet."""
        return self._function is not None

    @property
    def is_cancelled(self) -> bool:
        """Whether the function should end early; long functions check it."""
        return self._is_cancelled

    def begin(self, function: Callable[[], object]) -> bool:
        """Run it in the thread; return False, and do nothing, while another one runs or after ``stop``."""
        if self.is_busy or self._is_stopped:
            return False
        # The last function has ended, but its thread may need a moment.
        self.wait()
        self._function, self._is_cancelled = function, False
        self.start()
        return True

    def cancel(self) -> None:
        """Ask the function to end early."""
        self._is_cancelled = True

    def stop(self) -> None:
        """Cancel and wait; see ``_Worker.stop``."""
        self.cancel()
        super().stop()
        self._function = None

    def run(self) -> None:
        """Run the function; QThread calls this in the new thread."""
        assert self._function is not None
        if self._low_priority:
            lower_priority(self)
        result, message = attempt(self._function, self._failure)
        if message:
            self.report(self.failed, message)
        else:
            self.report(self.done, result)

    def _forget_function(self, _: object) -> None:
        self._function = None


class LatestWins(_Worker):
    """Thread that answers requests, the newest first, from the first request until ``stop``.

    Only the newest ``capacity`` requests wait. A request that fails does not end the thread.
    """

    answered = pyqtSignal(object, object)
    """Request and answer"""
    failed = pyqtSignal(object, str)
    """Request, and the message of the error that it raised"""

    def __init__(
        self,
        answer: Callable[[Any], object],
        failure: str,
        *,
        capacity: int = 1,
        low_priority: bool = False,
        rest_s: Callable[[Any], float] | None = None,
    ) -> None:
        """``answer`` is called in the thread, which rests ``rest_s`` after each; ``failure`` as in Task."""
        super().__init__(failure, low_priority=low_priority)
        self._answer, self._capacity, self._rest_s = answer, capacity, rest_s
        self._waiting: dict[Hashable, int] = {}
        self._changed = threading.Condition()

    def ask(self, request: Hashable) -> None:
        """Queue a request to be answered next; equal requests wait once."""
        with self._changed:
            if self._is_stopped:
                return
            self._waiting.pop(request, None)
            self._waiting[request] = self._generation
            if len(self._waiting) > self._capacity:
                del self._waiting[next(iter(self._waiting))]
            self._changed.notify()
        if not self.isRunning():
            self.start()

    def forget(self) -> None:
        """Drop all requests so far, including the one that is being answered."""
        with self._changed:
            self._waiting.clear()
            self._generation += 1

    def stop(self) -> None:
        """End after the present request and wait; see ``_Worker.stop``."""
        with self._changed:
            self._waiting.clear()
            self._is_stopped = True
            self._changed.notify()
        super().stop()

    def run(self) -> None:
        """Answer until it is stopped; QThread calls this in the new thread."""
        if self._low_priority:
            lower_priority(self)
        while self._answer_next():
            pass

    def _answer_next(self) -> bool:
        """Wait for a request and answer it; return False when stopped. Its memory is freed before the next wait."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_stopped)
            if self._is_stopped:
                return False
            request, self._present_generation = self._waiting.popitem()
        answer, message = attempt(partial(self._answer, request), self._failure)
        if message:
            self.report(self.failed, request, message)
            return True
        self.report(self.answered, request, answer)
        if self._rest_s is not None:
            with self._changed:
                self._changed.wait_for(lambda: self._is_stopped, self._rest_s(answer))
        return True
