"""Search for cameras beside the window, and notice when one is plugged in or unplugged."""

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

from PyQt6.QtCore import QThread, pyqtSignal

from handviz.core.errors import ErrorCode, HandvizError
from handviz.sources.camera import CameraRequest, device_hint, find_again
from handviz.sources.source import CAMERA_PREFIX, CameraInfo, list_cameras

WATCH_S = 2.0
MAX_FRACTION = 0.02
"""Largest fraction of the thread's time for searches, where the system offers no hint."""
logger = logging.getLogger(__name__)


class CameraFinder:
    """Present number of the camera in use, which the system may change; belongs to the capture thread."""

    def __init__(self, lister: Callable[[], list[CameraInfo]]) -> None:
        self._lister = lister
        self._text = ""
        self._other_cameras: Sequence[CameraInfo] = ()
        self.request: CameraRequest | None = None

    @property
    def camera(self) -> CameraInfo | None:
        """The camera in use, None while unknown."""
        return self.request.camera if self.request else None

    def reset(self, text: str, request: CameraRequest | None) -> None:
        """Follow another source, which need not be a camera."""
        self._text, self.request, self._other_cameras = text, request, ()

    def update(self, cameras: Sequence[CameraInfo], named: CameraInfo | None) -> None:
        """Take the list of cameras; ``named`` is the one in use, if that was not known before."""
        if named is not None and self._text == f"{CAMERA_PREFIX}{named.index}" and self.camera is None:
            self.request = replace(self.request or CameraRequest(), camera=named)
        mine = self.camera
        if mine is not None and any(mine.is_same(camera) for camera in cameras):
            self._other_cameras = [camera for camera in cameras if not camera.is_same(mine)]

    def text(self) -> str:
        """Return the source to open; raise HandvizError while the camera is unplugged."""
        lost = self.camera
        if lost is None:
            return self._text
        cameras = self._lister()
        camera = find_again(lost, cameras, self._other_cameras)
        if camera is not None:
            self.request = replace(self.request or CameraRequest(), camera=camera)
            self._text = f"{CAMERA_PREFIX}{camera.index}"
        elif cameras:
            message = f"{lost.name} is not plugged in; it is used again as soon as it is back"
            raise HandvizError(message, ErrorCode.CAMERA_LOST)
        # Some systems offer no list; the number is assumed to be the same.
        return self._text


class CameraProbe(QThread):
    """Thread that searches on request and every few seconds; ``found`` follows requests and changes."""

    found = pyqtSignal(list)
    """list of CameraInfo; empty if the search failed"""

    def __init__(
        self,
        lister: Callable[[], list[CameraInfo]] = list_cameras,
        *,
        hint: Callable[[], Hashable | None] = device_hint,
        watch_s: float = WATCH_S,
    ) -> None:
        """``hint`` is cheap and changes with the cameras; it returns None where only ``lister`` knows."""
        super().__init__()
        self._lister, self._hint, self._watch_s = lister, hint, watch_s
        self._wake = threading.Event()
        self._is_asked, self._stopping = False, False
        self._last: list[CameraInfo] | None = None

    def refresh(self) -> None:
        """Search now, and start watching."""
        self._is_asked = True
        self._wake.set()
        if not self.isRunning():
            self.start()

    def run(self) -> None:
        """Search whenever something seems to have changed."""
        known: Hashable | None = None
        is_fresh = False
        while not self._stopping:
            began_s = time.monotonic()
            hint, is_asked = self._hint(), self._is_asked
            has_changed = hint is None or hint != known
            # A new device may get its name and permissions a moment later.
            if is_asked or has_changed or is_fresh:
                self._is_asked = False
                self._search(is_asked)
            known, is_fresh = hint, has_changed and hint is not None
            cost_s = time.monotonic() - began_s
            self._wake.wait(max(self._watch_s, cost_s / MAX_FRACTION))
            self._wake.clear()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopping = True
        self._wake.set()
        self.wait()

    def _search(self, is_asked: bool) -> None:
        try:
            cameras = self._lister()
        # The thread's outermost loop: whatever a driver raises, the window gets an answer.
        except Exception:
            logger.exception("The cameras cannot be listed")
            cameras = []
        if is_asked or cameras != self._last:
            self._last = cameras
            self.found.emit(cameras)
