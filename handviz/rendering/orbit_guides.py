"""Guides of the 3D view: a grid below the hands, the camera's axes, and a scale bar."""

import math
from contextlib import ExitStack
from functools import lru_cache

import moderngl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from handviz.core.records import FloatArray
from handviz.rendering.camera import Matrix, Size
from handviz.rendering.options import GROUNDS, Ground
from handviz.rendering.passes import ImagePass
from handviz.rendering.programs import load_program

GRID_STEP_M = 0.05
GRID_REACH, GRID_DEPTH = 3.0, 0.85
"""Extent of the grid around the hands and its place below their centre, in radii of the ball that contains them."""
GRID_OPACITY = 0.22
AXES_PX, AXIS_LENGTH_PX, AXIS_WIDTH_PX = 78, 23, 2
AXES = (("x", (222, 84, 84)), ("y", (92, 172, 74)), ("z", (78, 138, 230)))
"""The camera's: x right, y down, z away."""
BAR_HEIGHT_PX, BAR_MARGIN_PX, TICK_PX = 34, 12, 5
SCALES_CM = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
MAX_BAR_PX, MAX_BAR_FRACTION = 130, 0.25
SMALLEST_VIEW_PX = 150
"""Shorter side of a view below which axes and scale bar are left out."""
TEXT_PX, OVERSAMPLING = 13, 3
LIGHT_INK, DARK_INK = (214, 219, 226), (38, 42, 48)
Ink = tuple[int, int, int]


def ink_on(ground: Ground) -> Ink:
    """Return the colour of lines and text that can be read on a ground."""
    return DARK_INK if sum(GROUNDS[ground]) > 1.5 else LIGHT_INK


def grid_lines(radius_m: float) -> NDArray[np.float32]:
    """Return (N, 3) ends of the grid's lines, two for each, in the scene."""
    count = math.ceil(GRID_REACH * radius_m / GRID_STEP_M)
    steps, reach = np.arange(-count, count + 1) * GRID_STEP_M, count * GRID_STEP_M
    across = [((x, -reach), (x, reach)) for x in steps]
    along = [((-reach, z), (reach, z)) for z in steps]
    flat = np.array([*across, *along]).reshape(-1, 2)
    return np.insert(flat, 1, GRID_DEPTH * radius_m, axis=1).astype(np.float32)


def scale_cm(metres_per_px: float, longest_px: float) -> float:
    """Return the longest round length that a bar of at most ``longest_px`` can have."""
    fitting = [length for length in SCALES_CM if length / 100 / metres_per_px <= longest_px]
    return fitting[-1] if fitting else SCALES_CM[0]


class OrbitGuides:
    """Drawing of the guides into any framebuffer."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self._ctx = ctx
        self._resources = ExitStack()
        self._program = load_program(ctx, "line")
        self._lines = ctx.buffer(reserve=4, dynamic=True)
        self._array = ctx.vertex_array(self._program, [(self._lines, "3f", "in_position")])
        self._axes, self._bar = ImagePass(ctx, components=4), ImagePass(ctx, components=4)
        for resource in (self._program, self._lines, self._array, self._axes, self._bar):
            self._resources.callback(resource.release)
        self._radius_m = 0.0

    def draw_grid(self, clip_from_scene: Matrix, radius_m: float, ground: Ground) -> None:
        """Draw the grid, before everything that covers it."""
        if radius_m != self._radius_m:
            lines = grid_lines(radius_m)
            self._lines.orphan(lines.nbytes)
            self._lines.write(lines)
            self._array.vertices, self._radius_m = len(lines), radius_m
        self._program["clip_from_scene"] = tuple(clip_from_scene.T.ravel())
        self._program["depth_bias"] = 0.0
        self._program["line_colour"] = (*(value / 255 for value in ink_on(ground)), GRID_OPACITY)
        self._ctx.enable_only(moderngl.BLEND)
        over = moderngl.ONE_MINUS_SRC_ALPHA
        # moderngl accepts four factors, unlike its types: the last two are for alpha.
        self._ctx.blend_func = moderngl.SRC_ALPHA, over, moderngl.ONE, over  # type: ignore[assignment]
        self._array.render(moderngl.LINES)

    def draw_axes_and_scale(
        self,
        eye_from_scene: FloatArray,
        metres_per_px: float,
        corner_px: tuple[float, float],
        *,
        view_size: Size,
        pixel_ratio: float,
        ground: Ground,
    ) -> None:
        """Draw axes and scale bar, right of and above ``corner_px``, which is the lower left one."""
        if min(view_size) < SMALLEST_VIEW_PX * pixel_ratio:
            return
        left, bottom = map(round, corner_px)
        ink = ink_on(ground)
        directions = tuple(tuple(np.round(axis, 2).tolist()) for axis in eye_from_scene.T)
        self._draw(self._axes, axes_image(directions, ink, pixel_ratio), (left, bottom), view_size)
        longest_px = min(MAX_BAR_PX * pixel_ratio, MAX_BAR_FRACTION * view_size[0])
        length_cm = scale_cm(metres_per_px, longest_px)
        image = bar_image(round(length_cm / 100 / metres_per_px), length_cm, ink, pixel_ratio)
        left += round(AXES_PX * pixel_ratio)
        if left + image.shape[1] <= view_size[0]:
            self._draw(self._bar, image, (left, bottom), view_size)

    def _draw(self, onto: ImagePass, image: NDArray[np.uint8], corner_px: Size, view_size: Size) -> None:
        (height, width), (left, bottom) = image.shape[:2], corner_px
        onto.set_image(image)
        onto.draw(view_size, (left, bottom - height, left + width, bottom))

    def release(self) -> None:
        """Free all GPU resources."""
        self._resources.close()


@lru_cache(maxsize=8)
def axes_image(directions: tuple[tuple[float, ...], ...], ink: Ink, pixel_ratio: float) -> NDArray[np.uint8]:
    """Return (H, W, 4) with premultiplied opacity: three axes, given in the eye's axes, the nearest one on top."""
    drawn = _Sheet((AXES_PX, AXES_PX), pixel_ratio)
    middle = AXES_PX / 2
    for (name, colour), (right, down, _) in sorted(zip(AXES, directions, strict=True), key=lambda pair: -pair[1][2]):
        tip = middle + AXIS_LENGTH_PX * right, middle + AXIS_LENGTH_PX * down
        drawn.line((middle, middle), tip, colour)
        reach = math.hypot(right, down)
        away = AXIS_LENGTH_PX + TEXT_PX * 0.6 if reach > 0.3 else 0.0
        drawn.write((middle + away * right, middle + away * down) if away else tip, name, colour if away else ink)
    return drawn.image()


@lru_cache(maxsize=8)
def bar_image(length_px: int, length_cm: float, ink: Ink, pixel_ratio: float) -> NDArray[np.uint8]:
    """Return (H, W, 4) with premultiplied opacity: a bar of this many physical pixels, and its length as text."""
    length = length_px / pixel_ratio
    drawn = _Sheet((math.ceil(max(length, 40.0)) + 2 * BAR_MARGIN_PX, BAR_HEIGHT_PX), pixel_ratio)
    row, left, right = BAR_HEIGHT_PX - TICK_PX - 2, BAR_MARGIN_PX, BAR_MARGIN_PX + length
    drawn.line((left, row), (right, row), ink)
    for end in (left, right):
        drawn.line((end, row - TICK_PX), (end, row + TICK_PX), ink)
    drawn.write(((left + right) / 2, row - TEXT_PX), f"{length_cm:g} cm", ink)
    return drawn.image()


class _Sheet:
    """Transparent sheet for antialiased lines and text, in logical pixels."""

    def __init__(self, size: Size, pixel_ratio: float) -> None:
        self._scale = pixel_ratio * OVERSAMPLING
        self._size = round(size[0] * pixel_ratio), round(size[1] * pixel_ratio)
        self._image = Image.new("RGBa", (self._size[0] * OVERSAMPLING, self._size[1] * OVERSAMPLING))
        self._ink = ImageDraw.Draw(self._image)
        self._font = ImageFont.load_default(max(1, round(TEXT_PX * self._scale)))

    def line(self, start: tuple[float, float], end: tuple[float, float], colour: Ink) -> None:
        ends = [(x * self._scale, y * self._scale) for x, y in (start, end)]
        self._ink.line(ends, (*colour, 255), round(AXIS_WIDTH_PX * self._scale))

    def write(self, centre: tuple[float, float], text: str, colour: Ink) -> None:
        place = centre[0] * self._scale, centre[1] * self._scale
        self._ink.text(place, text, (*colour, 255), self._font, anchor="mm")

    def image(self) -> NDArray[np.uint8]:
        """Return the pixels with premultiplied opacity, each the mean of those drawn."""
        image = np.asarray(self._image.resize(self._size, Image.Resampling.BOX))
        image.flags.writeable = False
        return image


@lru_cache(maxsize=2)
def checker_image(size: Size, square_px: int) -> NDArray[np.uint8]:
    """Return (H, W, 3): the checkerboard that stands for transparency."""
    rows, columns = np.indices((size[1], size[0])) // square_px
    grey = np.where((rows + columns) % 2, 165, 217).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
