"""Draws results without a window or a display."""

import sys
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import moderngl
import numpy as np
from numpy.typing import NDArray

from handviz.errors import HandvizError
from handviz.records import FrameResult
from handviz.render.camera import OrbitCamera, Size
from handviz.render.options import DrawOptions
from handviz.render.scene import Scene
from handviz.render.surface import Surface

SAMPLES = 4
LARGEST_SIDE_PX = 2048


def create_standalone_context() -> moderngl.Context:
    """An OpenGL 3.3 context of its own (EGL on Linux); raises HandvizError where there is none."""
    settings: dict[str, Any] = {"backend": "egl"} if sys.platform.startswith("linux") else {}
    try:
        return moderngl.create_context(standalone=True, require=330, **settings)
    except Exception as error:  # noqa: BLE001 - moderngl and glcontext raise plain Exception
        raise HandvizError(
            f"no OpenGL 3.3 without a window ({error}); on Debian and Ubuntu install libegl1 and libgl1-mesa-dri"
        ) from error


class OffscreenRenderer:
    """Pictures of results; a context manager. Every picture is as large as its frame unless a size is given."""

    def __init__(self, surface: Surface, width: int | None = None, height: int | None = None) -> None:
        self._fixed_size = (width, height) if width and height else None
        self._resources = ExitStack()
        self._ctx = create_standalone_context()
        self._resources.callback(self._ctx.release)
        self._scene = Scene(self._ctx, surface)
        self._resources.callback(self._scene.release)
        self._target_resources = ExitStack()
        self._resources.callback(self._target_resources.close)
        self._size: Size = (0, 0)

    def draw(
        self, result: FrameResult, options: DrawOptions | None = None, orbit: OrbitCamera | None = None
    ) -> NDArray[np.uint8]:
        """(H, W, 3) RGB of the result."""
        self._prepare_target(self._fixed_size or _size_of(result))
        self._scene.show(result)
        self._scene.draw(self._drawn, options or DrawOptions(), orbit=orbit)
        self._ctx.copy_framebuffer(self._plain, self._drawn)
        pixels = np.frombuffer(self._plain.read(components=3, alignment=1), dtype=np.uint8)
        return np.ascontiguousarray(pixels.reshape(self._size[1], self._size[0], 3)[::-1])

    def _prepare_target(self, size: Size) -> None:
        if size == self._size:
            return
        self._target_resources.close()
        samples = min(SAMPLES, self._ctx.max_samples)
        colour = self._ctx.renderbuffer(size, samples=samples)
        depth = self._ctx.depth_renderbuffer(size, samples=samples)
        self._drawn = self._ctx.framebuffer([colour], depth)
        resolved = self._ctx.renderbuffer(size)
        self._plain = self._ctx.framebuffer([resolved])
        for resource in (colour, depth, resolved, self._drawn, self._plain):
            self._target_resources.callback(resource.release)
        self._size = size

    def release(self) -> None:
        """Free the context and everything in it."""
        self._resources.close()

    def __enter__(self) -> "OffscreenRenderer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _size_of(result: FrameResult) -> Size:
    height, width = result.frame.image.shape[:2]
    share = min(1.0, LARGEST_SIDE_PX / max(width, height))
    return max(1, round(width * share)), max(1, round(height * share))
