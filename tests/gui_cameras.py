"""A fake system whose cameras a test plugs in and unplugs."""

import weakref

import numpy as np
from gui_fakes import FakeSource

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Frame
from handviz.gui.session.controller import Controller
from handviz.sources.camera import CameraRequest
from handviz.sources.source import CAMERA_PREFIX, CameraInfo, Source, open_source


class FakeCamera(FakeSource):
    """Camera with its own image size, until it is unplugged."""

    def __init__(self, info: CameraInfo, request: CameraRequest | None, height: int) -> None:
        super().__init__()
        self.info, self.request, self.height = info, request, height
        self.name = info.name
        self.description = f"{info.name}: {height} lines"
        self.is_plugged = True

    def read(self) -> Frame | None:
        """Return a frame when the test allows it; raise an error when unplugged."""
        frame = super().read()
        if not self.is_plugged or frame is None:
            raise HandvizError(
                f"{self.name} stopped delivering images: check that it is plugged in", ErrorCode.CAMERA_LOST
            )
        image = np.full((self.height, self.height * 4 // 3, 3), 100, np.uint8)
        return Frame(frame.number, image, frame.captured_ms)


class CameraWorld:
    """``lister`` and ``opener`` of a controller; sources other than cameras are opened for real."""

    def __init__(self, *cameras: CameraInfo) -> None:
        self.cameras = list(cameras)
        self.opened: list[weakref.ref[FakeCamera]] = []
        self.height = 48
        self.is_busy = False
        self._is_free = False

    def lister(self) -> list[CameraInfo]:
        """Return the cameras that are plugged in."""
        return list(self.cameras)

    def opener(self, text: str, request: CameraRequest | None = None) -> Source:
        """Return a fake camera, or a real file."""
        if not text.startswith(CAMERA_PREFIX):
            return open_source(text)
        info = next((one for one in self.cameras if text == f"{CAMERA_PREFIX}{one.index}"), None)
        if info is None or self.is_busy:
            name = request.camera.name if request and request.camera else text
            reason, code = (
                ("does not open: another program uses it", ErrorCode.CAMERA_BUSY)
                if info
                else ("is not there", ErrorCode.CAMERA_MISSING)
            )
            raise HandvizError(f"{name} {reason}", code)
        camera = FakeCamera(info, request, self.height)
        self.opened.append(weakref.ref(camera))
        if self._is_free:
            camera.let_go()
        return camera

    @property
    def camera(self) -> FakeCamera:
        """The camera that was opened last."""
        camera = self.opened[-1]()
        assert camera is not None
        return camera

    def alive(self) -> list[FakeCamera]:
        """Return the cameras that are still referenced."""
        return [camera for reference in self.opened if (camera := reference()) is not None]

    def plug_out(self, info: CameraInfo) -> None:
        """Break the camera's stream and remove it from the list."""
        self.cameras.remove(info)
        for camera in self.alive():
            if camera.info == info:
                camera.is_plugged = False
                camera.may_read.release()

    def resume(self) -> None:
        """Let every camera give one image."""
        for camera in self.alive():
            camera.may_read.release()

    def let_go(self) -> None:
        """Let all reads return, so that threads can end."""
        self._is_free = True
        for camera in self.alive():
            camera.let_go()


def quicken(controller: Controller, world: CameraWorld) -> None:
    """Search and retry after milliseconds instead of seconds."""
    controller._capture._retry_s = controller._capture._refresh_s = 0.002
    controller._probe._watch_s = 0.002
    controller._probe._hint = lambda: tuple(world.cameras)
