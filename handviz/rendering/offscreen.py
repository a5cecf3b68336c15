"""Draws results without a window or a display."""

import sys
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import moderngl
import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import HandvizError
from handviz.core.records import VARIANTS, FrameResult
from handviz.rendering.camera import OrbitCamera, Size
from handviz.rendering.options import DrawOptions
from handviz.rendering.panes import GAP_PX
from handviz.rendering.split_scene import SplitScene
from handviz.rendering.surface import Surface
from handviz.rendering.target import SAMPLES, MultisampleTarget, affordable_samples, read_pixels, straight_alpha

LARGEST_SIDE_PX = 2048


def create_standalone_context() -> moderngl.Context:
    """An OpenGL 3.3 context of its own (EGL on Linux); raises HandvizError where there is none."""
    settings: dict[str, Any] = {"backend": "egl"} if sys.platform.startswith("linux") else {}
    try:
        return moderngl.create_context(standalone=True, require=330, **settings)
    # moderngl and glcontext raise plain Exception.
    except Exception as error:
        raise HandvizError(
            f"no OpenGL 3.3 without a window ({error}); on Debian and Ubuntu install libegl1 and libgl1-mesa-dri"
        ) from error


class OffscreenRenderer:
    """Pictures of results, each as large as its frame unless a size is given; a context manager."""

    def __init__(
        self,
        surface: Surface,
        width: int | None = None,
        height: int | None = None,
        *,
        samples: int | None = SAMPLES,
    ) -> None:
        """``samples`` per pixel smooth the edges; None takes as many as the live window does here."""
        self._fixed_size = (width, height) if width and height else None
        self._resources = ExitStack()
        self._ctx = create_standalone_context()
        self._resources.callback(self._ctx.release)
        self._scene = SplitScene(self._ctx, surface)
        self._resources.callback(self._scene.release)
        wanted = affordable_samples(self._ctx) if samples is None else samples
        self._samples = min(wanted, self._ctx.max_samples)
        self._drawn = MultisampleTarget(self._ctx, self._samples)
        self._plain = MultisampleTarget(self._ctx, 0)
        for target in (self._drawn, self._plain):
            self._resources.callback(target.release)

    def draw(
        self, result: FrameResult, options: DrawOptions | None = None, orbit: OrbitCamera | None = None
    ) -> NDArray[np.uint8]:
        """(H, W, 3) RGB of the result."""
        return self._pixels(result, options or DrawOptions(), orbit, components=3)

    def draw_cut_out(
        self, result: FrameResult, options: DrawOptions | None = None, orbit: OrbitCamera | None = None
    ) -> NDArray[np.uint8]:
        """(H, W, 4) RGB and straight alpha of the hands alone."""
        return straight_alpha(self._pixels(result, (options or DrawOptions()).cut_out(), orbit, components=4))

    def _pixels(
        self, result: FrameResult, options: DrawOptions, orbit: OrbitCamera | None, *, components: int
    ) -> NDArray[np.uint8]:
        size = self._fixed_size or _size_of(result, options)
        plain = self._plain.framebuffer(size)
        drawn = self._drawn.framebuffer(size) if self._samples else plain
        self._scene.show(result)
        self._scene.draw(drawn, options, orbit=orbit)
        if self._samples:
            self._drawn.resolve(plain)
        return read_pixels(plain, components=components)

    def release(self) -> None:
        """Free the context and everything in it."""
        self._resources.close()

    def __enter__(self) -> "OffscreenRenderer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _size_of(result: FrameResult, options: DrawOptions) -> Size:
    """The frame's, or three of them side by side; reduced if that is very large."""
    height, width = result.frame.image.shape[:2]
    if options.compare:
        width = len(VARIANTS) * width + (len(VARIANTS) - 1) * GAP_PX
    share = min(1.0, LARGEST_SIDE_PX / max(width, height))
    return max(1, round(width * share)), max(1, round(height * share))
