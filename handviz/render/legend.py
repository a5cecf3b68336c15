"""The heatmap's legend as a small picture: a bar with millimetres beside it."""

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.render.colormap import deviation_colours

WIDTH_PX, HEIGHT_PX = 96, 216
BAR_LEFT_PX, BAR_RIGHT_PX, BAR_TOP_PX, BAR_BOTTOM_PX = 14, 30, 48, 200
PANEL_COLOUR = (14, 17, 22, 190)
TEXT_COLOUR = (238, 240, 243, 255)
FAINT_TEXT_COLOUR = (170, 178, 188, 255)
TEXT_SIZE_PX, MOST_TICKS = 13, 6
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
    """(H, W, 4) sRGB with premultiplied opacity, ``pixel_ratio`` times the nominal 96 x 216 pixels."""
    width, height = round(WIDTH_PX * pixel_ratio), round(HEIGHT_PX * pixel_ratio)
    picture = np.zeros((height, width, 4), dtype=np.uint8)
    picture[:] = PANEL_COLOUR
    left, right, top, bottom = (
        round(edge * pixel_ratio) for edge in (BAR_LEFT_PX, BAR_RIGHT_PX, BAR_TOP_PX, BAR_BOTTOM_PX)
    )
    rows = np.linspace(255, 0, bottom - top).round().astype(np.intp)
    picture[top:bottom, left:right, :3] = np.rint(deviation_colours()[rows] * 255).astype(np.uint8)[:, None]
    picture[top:bottom, left:right, 3] = 255
    _write(picture, "Deviation", (12, 21), pixel_ratio)
    _write(picture, "mm", (12, 38), pixel_ratio, faint=True)
    low, high = range_mm
    for tick in ticks_mm(range_mm):
        share = (tick - low) / max(high - low, 1e-9)
        row = BAR_BOTTOM_PX - share * (BAR_BOTTOM_PX - BAR_TOP_PX)
        y = min(max(round(row * pixel_ratio), top), bottom - 1)
        cv2.line(picture, (right, y), (right + round(4 * pixel_ratio), y), FAINT_TEXT_COLOUR, 1)
        _write(picture, f"{tick:g}", (BAR_RIGHT_PX + 9, row + 4.5), pixel_ratio)
    picture[..., :3] = (picture[..., :3].astype(np.uint16) * picture[..., 3:] // 255).astype(np.uint8)
    picture.flags.writeable = False
    return picture


def _write(
    picture: NDArray[np.uint8],
    text: str,
    baseline_px: tuple[float, float],
    pixel_ratio: float,
    *,
    faint: bool = False,
) -> None:
    point = (round(baseline_px[0] * pixel_ratio), round(baseline_px[1] * pixel_ratio))
    colour = FAINT_TEXT_COLOUR if faint else TEXT_COLOUR
    cv2.putText(picture, text, point, colour, cv2.FontFace("sans"), round(TEXT_SIZE_PX * pixel_ratio), 450)
