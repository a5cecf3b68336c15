"""Draws pictures: the camera's frame and the legend."""

from contextlib import ExitStack

import cv2
import moderngl
import numpy as np
from numpy.typing import NDArray

from handviz.rendering.camera import Size
from handviz.rendering.programs import load_program

LARGEST_SIDE_PX = 2048
CORNERS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=np.float32)
Rectangle = tuple[float, float, float, float]


class ImagePass:
    """One texture on one rectangle; its texture is written in place until the picture's size changes."""

    def __init__(self, ctx: moderngl.Context, *, components: int = 3) -> None:
        self._ctx = ctx
        self._components = components
        self._resources = ExitStack()
        self._program = load_program(ctx, "picture")
        self._corners = ctx.buffer(CORNERS)
        self._array = ctx.vertex_array(self._program, [(self._corners, "2f", "in_corner")])
        for resource in (self._program, self._corners, self._array):
            self._resources.callback(resource.release)
        self._texture: moderngl.Texture | None = None
        self._picture: NDArray[np.uint8] | None = None

    def set_picture(self, picture: NDArray[np.uint8]) -> None:
        """Upload (H, W, components) sRGB, unless it is there already; very large pictures are reduced first."""
        if picture is self._picture:
            return
        whole = picture
        if max(picture.shape[:2]) > LARGEST_SIDE_PX:
            share = LARGEST_SIDE_PX / max(picture.shape[:2])
            size = tuple(max(1, round(side * share)) for side in picture.shape[1::-1])
            picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        size = (picture.shape[1], picture.shape[0])
        if self._texture is None or self._texture.size != size:
            self._release_texture()
            self._texture = self._ctx.texture(size, self._components, alignment=1)
            self._texture.filter = moderngl.LINEAR, moderngl.LINEAR
            self._texture.repeat_x = self._texture.repeat_y = False
        self._texture.write(np.ascontiguousarray(picture), alignment=1)
        self._picture = whole

    def use_as_backdrop(self, view_size: Size, rectangle_px: Rectangle, *, mirror: bool) -> Rectangle:
        """Bind the texture for another pass; returns scale and offset from fragments to the picture drawn there."""
        left, top, right, bottom = _mirrored(rectangle_px) if mirror else rectangle_px
        if self._texture is not None:
            self._texture.use(0)
        across, down = 1 / (right - left), 1 / (bottom - top)
        return across, -down, -left * across, (view_size[1] - top) * down

    def draw(self, view_size: Size, rectangle_px: Rectangle, *, mirror: bool = False) -> None:
        """Draw into the bound framebuffer at (left, top, right, bottom) in view pixels, y down."""
        if self._texture is None:
            return
        left, top, right, bottom = _mirrored(rectangle_px) if mirror else rectangle_px
        width, height = view_size
        self._ctx.enable_only(moderngl.BLEND if self._components == 4 else moderngl.NOTHING)
        self._ctx.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        self._texture.use(0)
        ndc = (2 * left / width - 1, 1 - 2 * top / height, 2 * right / width - 1, 1 - 2 * bottom / height)
        self._program["rectangle"] = ndc
        self._array.render(moderngl.TRIANGLE_STRIP)

    def _release_texture(self) -> None:
        if self._texture is not None:
            self._texture.release()
            self._texture = self._picture = None

    def release(self) -> None:
        """Free everything on the graphics card."""
        self._release_texture()
        self._resources.close()


def _mirrored(rectangle: Rectangle) -> Rectangle:
    left, top, right, bottom = rectangle
    return right, top, left, bottom
