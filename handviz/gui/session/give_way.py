"""Threads that compute step back where the interface wants a core: it answers sooner, and they lose little."""

import contextlib
import os
import sys
import threading

from PyQt6.QtCore import QThread

STEPS_BACK = 5
SWITCH_INTERVAL_S = 0.001
"""How long a thread in Python may keep the others waiting; Python's own 5 ms add up in a paint of fifty calls."""


def give_way(thread: QThread) -> None:
    """Lower the priority of the present thread, which is ``thread``, and of those that it starts from now on."""
    if sys.platform.startswith("linux"):
        # Qt has no priorities under Linux' usual scheduler; there every thread has a niceness of its own.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), STEPS_BACK)
    else:
        thread.setPriority(QThread.Priority.LowPriority)
