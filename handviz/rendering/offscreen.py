"""Rendering of results without a window or a display."""

import sys
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any

import moderngl
import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import FrameResult
from handviz.rendering.camera import OrbitCamera, Size
from handviz.rendering.hand_shape import ModelDisplay
from handviz.rendering.options import DrawOptions
from handviz.rendering.panes import GAP_PX, grid_of
from handviz.rendering.split_scene import SplitScene

SAMPLES = 4
SOFTWARE_RENDERERS = ("llvmpipe", "softpipe", "swiftshader", "gdi generic", "basic render")
MAX_SIDE_PX = 2048


def affordable_samples(ctx: moderngl.Context) -> int:
    """Return samples per pixel for live drawing: 0 with a software renderer, where they would double the cost."""
    renderer = str(ctx.info["GL_RENDERER"]).lower()
    return 0 if any(name in renderer for name in SOFTWARE_RENDERERS) else min(SAMPLES, ctx.max_samples)


class MultisampleTarget:
    """Multisampled framebuffer, recreated only when the size changes."""

    def __init__(self, ctx: moderngl.Context, samples: int) -> None:
        self._ctx = ctx
        self._samples = samples
        self._resources = ExitStack()
        self._framebuffer: moderngl.Framebuffer | None = None

    def framebuffer(self, size: Size) -> moderngl.Framebuffer:
        """Return a framebuffer with depth of this size."""
        if self._framebuffer is None or self._framebuffer.size != size:
            self.release()
            colour = self._ctx.renderbuffer(size, samples=self._samples)
            depth = self._ctx.depth_renderbuffer(size, samples=self._samples)
            self._framebuffer = self._ctx.framebuffer([colour], depth)
            for resource in (colour, depth, self._framebuffer):
                self._resources.callback(resource.release)
        return self._framebuffer

    def resolve(self, into: moderngl.Framebuffer) -> None:
        """Average the samples into a framebuffer of the same size."""
        assert self._framebuffer is not None
        self._ctx.copy_framebuffer(into, self._framebuffer)

    def release(self) -> None:
        """Free the framebuffer, unbound first: moderngl would restore it later."""
        if self._framebuffer is not None:
            self._ctx.detect_framebuffer(0).use()
        self._resources.close()
        self._framebuffer = None


def read_pixels(framebuffer: moderngl.Framebuffer, *, components: int) -> NDArray[np.uint8]:
    """Read (H, W, components), the top row first."""
    width, height = framebuffer.size
    pixels = np.frombuffer(framebuffer.read(components=components, alignment=1), dtype=np.uint8)
    return np.ascontiguousarray(pixels.reshape(height, width, components)[::-1])


def straight_alpha(premultiplied: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert premultiplied pixels (H, W, 4) to straight alpha, as image files need: edges would be dark otherwise."""
    alpha = premultiplied[..., 3:].astype(np.float32)
    colours = premultiplied[..., :3] * (255 / np.maximum(alpha, 1))
    return np.concatenate([np.rint(np.minimum(colours, 255)), alpha], axis=2).astype(np.uint8)


def create_standalone_context() -> moderngl.Context:
    """Create an OpenGL 3.3 context without a window (EGL on Linux); raises HandvizError if there is none."""
    settings: dict[str, Any] = {"backend": "egl"} if sys.platform.startswith("linux") else {}
    try:
        return moderngl.create_context(standalone=True, require=330, **settings)
    # moderngl and glcontext raise plain Exception.
    except Exception as error:
        raise HandvizError(
            f"no OpenGL 3.3 without a window ({error}): on Debian and Ubuntu install libegl1 and libgl1-mesa-dri",
            ErrorCode.NO_OPENGL,
        ) from error


class OffscreenRenderer:
    """Renderer of results, in their frames' size unless one is given; a context manager."""

    def __init__(
        self,
        display: ModelDisplay,
        width: int | None = None,
        height: int | None = None,
        *,
        samples: int | None = SAMPLES,
        labels: bool = False,
    ) -> None:
        """Create with ``samples`` per pixel against aliasing; None: as the live window.

        ``labels``: draw labels of hands, and guides of the 3D view, as the options say; without it there are none.
        """
        self._labels = labels
        self._fixed_size = (width, height) if width and height else None
        self._parts, self._resources = ExitStack(), ExitStack()
        self._ctx = create_standalone_context()
        self._resources.callback(self._ctx.release)
        self._resources.callback(self._release_parts)
        # Current only while it is used: several renderers, and Qt, draw in one thread.
        with self._ctx:
            self._scene = SplitScene(self._ctx, display)
            self._parts.callback(self._scene.release)
            wanted = affordable_samples(self._ctx) if samples is None else samples
            self._samples = min(wanted, self._ctx.max_samples)
            self._drawn = MultisampleTarget(self._ctx, self._samples)
            self._plain = MultisampleTarget(self._ctx, 0)
            for target in (self._drawn, self._plain):
                self._parts.callback(target.release)

    @property
    def device_name(self) -> str:
        """What OpenGL draws with."""
        return str(self._ctx.info["GL_RENDERER"])

    def draw(
        self,
        result: FrameResult,
        options: DrawOptions | None = None,
        orbit: OrbitCamera | None = None,
        *,
        time_s: float = 0.0,
    ) -> NDArray[np.uint8]:
        """Render (H, W, 3) RGB. ``time_s`` is the moment of an animation (``DrawOptions.samples``)."""
        return self._pixels(result, options or DrawOptions(), orbit, components=3, time_s=time_s)

    def draw_cut_out(
        self,
        result: FrameResult,
        options: DrawOptions | None = None,
        orbit: OrbitCamera | None = None,
        *,
        time_s: float = 0.0,
    ) -> NDArray[np.uint8]:
        """Render (H, W, 4) RGB and straight alpha of the hands alone; ``time_s`` as of ``draw``."""
        options = (options or DrawOptions()).cut_out()
        return straight_alpha(self._pixels(result, options, orbit, components=4, time_s=time_s))

    def _pixels(
        self,
        result: FrameResult,
        options: DrawOptions,
        orbit: OrbitCamera | None,
        *,
        components: int,
        time_s: float,
    ) -> NDArray[np.uint8]:
        size = self._fixed_size or _size_of(result, options)
        if not self._labels:
            options = replace(options, labels=False, guides=False)
        with self._ctx:
            plain = self._plain.framebuffer(size)
            drawn = self._drawn.framebuffer(size) if self._samples else plain
            self._scene.show(result)
            self._scene.draw(drawn, options, orbit=orbit, time_s=time_s)
            if self._samples:
                self._drawn.resolve(plain)
            return read_pixels(plain, components=components)

    def release(self) -> None:
        """Free the context and everything in it."""
        self._resources.close()

    def _release_parts(self) -> None:
        """Free what the context holds, and leave it: a current one would outlive its release."""
        with self._ctx:
            self._parts.close()

    def __enter__(self) -> "OffscreenRenderer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _size_of(result: FrameResult, options: DrawOptions) -> Size:
    """Return the frame's size, or that of all panes side by side (four: in a square), at most ``MAX_SIDE_PX``."""
    height, width = result.frame.image.shape[:2]
    if options.compare:
        rows, columns = grid_of(len(options.compared))
        width, height = columns * width + (columns - 1) * GAP_PX, rows * height + (rows - 1) * GAP_PX
    fraction = min(1.0, MAX_SIDE_PX / max(width, height))
    return max(1, round(width * fraction)), max(1, round(height * fraction))
