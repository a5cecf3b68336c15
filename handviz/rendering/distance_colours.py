"""Colours and legend of distances between variants: pale where they agree, dark where they differ.

Light to dark, unlike the deviations, so that nobody takes one for the other.
"""

from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray
from handviz.rendering.colormap import even_ramp, ramp_indices
from handviz.rendering.legend import HEIGHT_PX, TWO_TITLES_PX, WIDTH_PX, bar_legend

# Sand, orange, crimson, plum.
CONTROL_COLOURS = (
    (0xF7, 0xEE, 0xE0),
    (0xF6, 0xC3, 0x9E),
    (0xF2, 0x90, 0x62),
    (0xE4, 0x55, 0x45),
    (0xC0, 0x28, 0x52),
    (0x8C, 0x1B, 0x60),
    (0x56, 0x18, 0x5C),
    (0x2E, 0x14, 0x44),
)
TITLE = "Distance, mm"
DISTANCE_LEGEND_PX = WIDTH_PX + TWO_TITLES_PX[0], HEIGHT_PX + TWO_TITLES_PX[1]


@cache
def distance_colours() -> NDArray[np.float32]:
    """(256, 3) sRGB in [0, 1], from no distance (light) to the largest (dark); perceived lightness falls evenly."""
    return even_ramp(CONTROL_COLOURS)


def colours_from_distance(distances_mm: FloatArray, range_mm: tuple[float, float]) -> NDArray[np.float32]:
    """Distances (N,) -> sRGB (N, 3); values outside ``range_mm`` take the colour of its ends."""
    return distance_colours()[ramp_indices(distances_mm, range_mm)]


@lru_cache(maxsize=8)
def distance_legend_picture(name: str, range_mm: tuple[float, float], pixel_ratio: float = 1.0) -> NDArray[np.uint8]:
    """As ``legend.legend_picture``, with a second line on which two variants, as in ``difference.name_of``."""
    return bar_legend((TITLE, name), range_mm, distance_colours(), pixel_ratio)
