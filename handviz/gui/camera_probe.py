"""Asks the system for its cameras without holding up the window."""

import logging
from collections.abc import Callable

from PyQt6.QtCore import QThread, pyqtSignal

from handviz.capture.sources import CameraInfo, list_cameras

logger = logging.getLogger(__name__)


class CameraProbe(QThread):
    """One look for cameras; ``found`` is always emitted, with an empty list if the look failed."""

    found = pyqtSignal(list)

    def __init__(self, lister: Callable[[], list[CameraInfo]] = list_cameras) -> None:
        super().__init__()
        self._lister = lister

    def run(self) -> None:
        """Look once."""
        try:
            cameras = self._lister()
        # The thread's outermost place: whatever a driver raises, the window gets its answer.
        except Exception:
            logger.exception("cameras cannot be listed")
            cameras = []
        self.found.emit(cameras)

    def stop(self) -> None:
        """Wait for the look to end."""
        self.wait()
