"""How parts that no picture has shown are marked: pale stripes on a ground that is darker and cooler.

The stripes differ from their ground in lightness, not in hue alone: so they show on every skin, to every eye.
``shaders/mesh.frag.glsl`` does the same per fragment, with the numbers of this module.
"""

import numpy as np

from handviz.core.records import FloatArray

GROUND_COLOUR, GROUND_SHARE = (0.07, 0.13, 0.27), 0.42
STRIPE_COLOUR, STRIPE_SHARE = (0.80, 0.93, 1.0), 0.62
PERIOD_PX, HALF_WIDTH_PX = 7.0, 1.0
"""Along a row of the view; fixed to the view, so that stripes are nowhere too fine or too coarse."""
SEEN_FROM, SEEN_TO = 0.4, 0.6
"""Values of ``seen`` between which the mark fades: half of it at 0.5."""


def stripe_cover(column_px: FloatArray, row_px: FloatArray, pixel_ratio: float = 1.0) -> FloatArray:
    """How much of a pixel, 0 to 1, a stripe covers; rows count upwards as OpenGL's do."""
    period_px = PERIOD_PX * pixel_ratio
    away_px = np.abs((column_px + row_px) / period_px % 1.0 - 0.5) * period_px
    return np.clip(HALF_WIDTH_PX * pixel_ratio + 0.5 - away_px, 0.0, 1.0)


def marked(colours: FloatArray, cover: FloatArray) -> FloatArray:
    """Colours (..., 3) as they look where they are inferred, under stripes that cover (...) of them."""
    ground = colours + (np.array(GROUND_COLOUR) - colours) * GROUND_SHARE
    return ground + (np.array(STRIPE_COLOUR) - ground) * (STRIPE_SHARE * cover)[..., None]
