"""Asks the system for its cameras without holding up the window, and notices when one comes or goes."""

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

from PyQt6.QtCore import QThread, pyqtSignal

from handviz.core.errors import HandvizError
from handviz.sources.camera import CameraRequest, device_hint, find_again
from handviz.sources.source import CAMERA_PREFIX, CameraInfo, list_cameras

WATCH_S = 2.0
MAX_FRACTION = 0.02
"""Of its time that the thread may spend on looking where only a full look tells."""
logger = logging.getLogger(__name__)


# Which number the camera in use has now, though the system may have given it another one.


class CameraFinder:
    """Belongs to the capture thread; keeps what is wished of the camera and what was plugged in beside it."""

    def __init__(self, lister: Callable[[], list[CameraInfo]]) -> None:
        self._lister = lister
        self._text = ""
        self._beside: Sequence[CameraInfo] = ()
        self.request: CameraRequest | None = None

    @property
    def camera(self) -> CameraInfo | None:
        """Which one is in use, as far as that is known."""
        return self.request.camera if self.request else None

    def begin(self, text: str, request: CameraRequest | None) -> None:
        """Another source: "camera:0", or no camera at all."""
        self._text, self.request, self._beside = text, request, ()

    def know(self, cameras: Sequence[CameraInfo], named: CameraInfo | None) -> None:
        """What is plugged in now, and which of it is in use, if that was not known before."""
        if named is not None and self._text == f"{CAMERA_PREFIX}{named.index}" and self.camera is None:
            self.request = replace(self.request or CameraRequest(), camera=named)
        mine = self.camera
        if mine is not None and any(mine.is_same(camera) for camera in cameras):
            self._beside = [camera for camera in cameras if not camera.is_same(mine)]

    def text(self) -> str:
        """What to open; HandvizError while the camera is away."""
        lost = self.camera
        if lost is None:
            return self._text
        cameras = self._lister()
        camera = find_again(lost, cameras, self._beside)
        if camera is not None:
            self.request = replace(self.request or CameraRequest(), camera=camera)
            self._text = f"{CAMERA_PREFIX}{camera.index}"
        elif cameras:
            raise HandvizError(f"{lost.name} is not plugged in; it is used again as soon as it is back")
        # Some systems offer no list: then it is where it was.
        return self._text


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
            self._wake.wait(max(self._watch_s, cost_s / MAX_FRACTION))
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
