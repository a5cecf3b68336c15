"""The heatmap's legend as a small picture: a bar with millimetres beside it."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from handviz.render.colormap import deviation_colours

WIDTH_PX, HEIGHT_PX = 108, 206
BAR_LEFT_PX, BAR_RIGHT_PX, BAR_TOP_PX, BAR_BOTTOM_PX = 12, 28, 38, 190
TITLE, TITLE_MIDDLE_PX = "Deviation, mm", 18
PANEL_COLOUR = (14, 17, 22, 190)
TEXT_COLOUR = (238, 240, 243)
TICK_COLOUR = (170, 178, 188)
TEXT_SIZE_PX, TICK_LENGTH_PX, MOST_TICKS = 13, 4, 6
NICE_STEPS_MM = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def ticks_mm(range_mm: tuple[float, float]) -> list[float]:
    """At most six round values from one end of the range to the other."""
    low, high = range_mm
    wanted = (high - low) / (MOST_TICKS - 1)
    step = next((step for step in NICE_STEPS_MM if step >= wanted - 1e-9), NICE_STEPS_MM[-1])
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


@lru_cache(maxsize=8)
def legend_picture(range_mm: tuple[float, float], pixel_ratio: float = 1.0) -> NDArray[np.uint8]:
    """(H, W, 4) sRGB with premultiplied opacity, ``pixel_ratio`` times the nominal 108 x 206 pixels."""
    panel = Image.new("RGB", (_scaled(WIDTH_PX, pixel_ratio), _scaled(HEIGHT_PX, pixel_ratio)), PANEL_COLOUR[:3])
    opacity = Image.new("L", panel.size, PANEL_COLOUR[3])
    left, right, top, bottom = (
        _scaled(edge, pixel_ratio) for edge in (BAR_LEFT_PX, BAR_RIGHT_PX, BAR_TOP_PX, BAR_BOTTOM_PX)
    )
    panel.paste(_bar(right - left, bottom - top), (left, top))
    opacity.paste(255, (left, top, right, bottom))
    colour_ink, opacity_ink = ImageDraw.Draw(panel), ImageDraw.Draw(opacity)
    tick_px, (low, high) = _scaled(TICK_LENGTH_PX, pixel_ratio), range_mm
    font = ImageFont.load_default(_scaled(TEXT_SIZE_PX, pixel_ratio))

    def write(left_middle: tuple[int, int], text: str) -> None:
        # Colour and opacity get the same letters: so soft edges mix with the panel and cut no holes into it.
        colour_ink.text(left_middle, text, TEXT_COLOUR, font, anchor="lm")
        opacity_ink.text(left_middle, text, 255, font, anchor="lm")

    write((left, _scaled(TITLE_MIDDLE_PX, pixel_ratio)), TITLE)
    for tick in ticks_mm(range_mm):
        share = (tick - low) / max(high - low, 1e-9)
        row = round(bottom - 1 - share * (bottom - 1 - top))
        stroke = (right, row, right + tick_px - 1, row)
        colour_ink.line(stroke, TICK_COLOUR)
        opacity_ink.line(stroke, 255)
        write((right + 2 * tick_px, row), f"{tick:g}")
    alpha = np.asarray(opacity)[:, :, None]
    colours = np.asarray(panel).astype(np.uint16) * alpha // 255
    picture = np.concatenate([colours.astype(np.uint8), alpha], axis=2)
    picture.flags.writeable = False
    return picture


def _scaled(length_px: int, pixel_ratio: float) -> int:
    return max(1, round(length_px * pixel_ratio))


def _bar(width: int, height: int) -> Image.Image:
    """The colour map, its largest value on top."""
    rows = np.rint(deviation_colours()[np.linspace(255, 0, height).round().astype(np.intp)] * 255)
    return Image.fromarray(np.repeat(rows.astype(np.uint8)[:, None], width, axis=1))
