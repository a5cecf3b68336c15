"""Smooth edges: a multisampled framebuffer that is resolved into a plain one."""

from contextlib import ExitStack

import moderngl
import numpy as np
from numpy.typing import NDArray

from handviz.rendering.camera import Size

SAMPLES = 4
SOFTWARE_RENDERERS = ("llvmpipe", "softpipe", "swiftshader", "gdi generic", "basic render")


def affordable_samples(ctx: moderngl.Context) -> int:
    """Samples per pixel for live drawing: none where the processor draws and they would double the cost."""
    renderer = str(ctx.info["GL_RENDERER"]).lower()
    return 0 if any(name in renderer for name in SOFTWARE_RENDERERS) else min(SAMPLES, ctx.max_samples)


class MultisampleTarget:
    """Made anew only when the size changes."""

    def __init__(self, ctx: moderngl.Context, samples: int) -> None:
        self._ctx = ctx
        self._samples = samples
        self._resources = ExitStack()
        self._framebuffer: moderngl.Framebuffer | None = None

    def framebuffer(self, size: Size) -> moderngl.Framebuffer:
        """A framebuffer with depth of this size."""
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
        """Free the framebuffer; moderngl would go back to it later if it stayed bound."""
        if self._framebuffer is not None:
            self._ctx.detect_framebuffer(0).use()
        self._resources.close()
        self._framebuffer = None


def read_pixels(framebuffer: moderngl.Framebuffer, *, components: int) -> NDArray[np.uint8]:
    """(H, W, components), the upper row first."""
    width, height = framebuffer.size
    pixels = np.frombuffer(framebuffer.read(components=components, alignment=1), dtype=np.uint8)
    return np.ascontiguousarray(pixels.reshape(height, width, components)[::-1])


def straight_alpha(premultiplied: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels (H, W, 4) as files keep them: what covers half of a pixel has its full colour, and alpha one half.

    Averaging the samples of an edge leaves the colour multiplied by what it covers; kept so, edges would be dark.
    """
    alpha = premultiplied[..., 3:].astype(np.float32)
    colours = premultiplied[..., :3] * (255 / np.maximum(alpha, 1))
    return np.concatenate([np.rint(np.minimum(colours, 255)), alpha], axis=2).astype(np.uint8)
