"""Asks the system for its cameras without holding up the window, and notices when one comes or goes."""

import logging
import threading
import time
from collections.abc import Callable, Hashable

from PyQt6.QtCore import QThread, pyqtSignal

from handviz.sources.camera import device_hint
from handviz.sources.sources import CameraInfo, list_cameras

WATCH_S = 2.0
LARGEST_SHARE = 0.02
"""Of its time that the thread may spend on looking where only a full look tells."""
logger = logging.getLogger(__name__)


class CameraProbe(QThread):
    """Looks when asked, and every few seconds; ``found`` is emitted after a look that was asked for, and on changes."""

    found = pyqtSignal(list)
    """CameraInfo; empty if the look failed."""

    def __init__(
        self,
        lister: Callable[[], list[CameraInfo]] = list_cameras,
        *,
        hint: Callable[[], Hashable | None] = device_hint,
        watch_s: float = WATCH_S,
    ) -> None:
        """``hint``: changes with the cameras and costs nothing; None where only ``lister`` tells."""
        super().__init__()
        self._lister, self._hint, self._watch_s = lister, hint, watch_s
        self._wake = threading.Event()
        self._is_asked, self._stopping = False, False
        self._last: list[CameraInfo] | None = None

    def look(self) -> None:
        """Look now; begins the watch."""
        self._is_asked = True
        self._wake.set()
        if not self.isRunning():
            self.start()

    def run(self) -> None:
        """Look, wait, and look again where something seems to have changed."""
        known: Hashable | None = None
        is_fresh = False
        while not self._stopping:
            began_s = time.monotonic()
            hint, is_asked = self._hint(), self._is_asked
            has_changed = hint is None or hint != known
            # A device that has just come may get its name and its rights a moment later.
            if is_asked or has_changed or is_fresh:
                self._is_asked = False
                self._look(is_asked)
            known, is_fresh = hint, has_changed and hint is not None
            cost_s = time.monotonic() - began_s
            self._wake.wait(max(self._watch_s, cost_s / LARGEST_SHARE))
            self._wake.clear()

    def stop(self) -> None:
        """End the watch and wait for it."""
        self._stopping = True
        self._wake.set()
        self.wait()

    def _look(self, is_asked: bool) -> None:
        try:
            cameras = self._lister()
        # The thread's outermost place: whatever a driver raises, the window gets its answer.
        except Exception:
            logger.exception("cameras cannot be listed")
            cameras = []
        if is_asked or cameras != self._last:
            self._last = cameras
            self.found.emit(cameras)
