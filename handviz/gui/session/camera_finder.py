"""Which number the camera in use has now, though the system may have given it another one."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from handviz.core.errors import HandvizError
from handviz.sources.camera import CameraInfo, CameraWish, find_again
from handviz.sources.sources import CAMERA_PREFIX


class CameraFinder:
    """Belongs to the capture thread; keeps what is wished of the camera and what was plugged in beside it."""

    def __init__(self, lister: Callable[[], list[CameraInfo]]) -> None:
        self._lister = lister
        self._text = ""
        self._beside: Sequence[CameraInfo] = ()
        self.wish: CameraWish | None = None

    @property
    def camera(self) -> CameraInfo | None:
        """Which one is in use, as far as that is known."""
        return self.wish.camera if self.wish else None

    def begin(self, text: str, wish: CameraWish | None) -> None:
        """Another source: "camera:0", or no camera at all."""
        self._text, self.wish, self._beside = text, wish, ()

    def know(self, cameras: Sequence[CameraInfo], named: CameraInfo | None) -> None:
        """What is plugged in now, and which of it is in use, if that was not known before."""
        if named is not None and self._text == f"{CAMERA_PREFIX}{named.index}" and self.camera is None:
            self.wish = replace(self.wish or CameraWish(), camera=named)
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
            self.wish = replace(self.wish or CameraWish(), camera=camera)
            self._text = f"{CAMERA_PREFIX}{camera.index}"
        elif cameras:
            raise HandvizError(f"{lost.name} is not plugged in; it is used again as soon as it is back")
        # Some systems offer no list: then it is where it was.
        return self._text
