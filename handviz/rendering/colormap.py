"""Colour maps with linear perceived lightness (Oklab): uncertainty has viridis' hues, or those that are chosen."""

import math
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray

ColourMap = Literal["viridis", "plasma", "magma", "grey"]
"""Colour maps of the uncertainty."""
# Viridis, plasma and magma (van der Walt and Smith, CC0) at eleven uniform steps.
VIRIDIS = (
    (0x44, 0x01, 0x54),
    (0x48, 0x24, 0x75),
    (0x41, 0x44, 0x87),
    (0x35, 0x5F, 0x8D),
    (0x2A, 0x78, 0x8E),
    (0x21, 0x91, 0x8C),
    (0x22, 0xA8, 0x84),
    (0x44, 0xBF, 0x70),
    (0x7A, 0xD1, 0x51),
    (0xBD, 0xDF, 0x26),
    (0xFD, 0xE7, 0x25),
)
PLASMA = (
    (0x0D, 0x08, 0x87),
    (0x41, 0x04, 0x9D),
    (0x6A, 0x00, 0xA8),
    (0x8F, 0x0D, 0xA4),
    (0xB1, 0x2A, 0x90),
    (0xCC, 0x47, 0x78),
    (0xE1, 0x64, 0x62),
    (0xF2, 0x84, 0x4B),
    (0xFC, 0xA6, 0x36),
    (0xFC, 0xCE, 0x25),
    (0xF0, 0xF9, 0x21),
)
# Without its black end, which would be lost on the dark ground.
MAGMA = (
    (0x1A, 0x10, 0x42),
    (0x3F, 0x0F, 0x72),
    (0x62, 0x19, 0x80),
    (0x86, 0x27, 0x81),
    (0xAA, 0x33, 0x7D),
    (0xCF, 0x40, 0x70),
    (0xEC, 0x58, 0x60),
    (0xFA, 0x81, 0x5F),
    (0xFE, 0xAA, 0x74),
    (0xFE, 0xD5, 0x97),
    (0xFC, 0xFD, 0xBF),
)
GREY = ((0x1C, 0x1C, 0x1C), (0xFF, 0xFF, 0xFF))
UNCERTAINTY_CONTROL_COLOURS: dict[ColourMap, tuple[tuple[int, int, int], ...]] = {
    "viridis": VIRIDIS,
    "plasma": PLASMA,
    "magma": MAGMA,
    "grey": GREY,
}
# Inferno (van der Walt and Smith, CC0), without its black end: other hues than the standard deviations'.
ATTENTION_CONTROL_COLOURS = (
    (0x24, 0x1A, 0x4A),
    (0x42, 0x0A, 0x68),
    (0x6A, 0x17, 0x6E),
    (0x93, 0x26, 0x67),
    (0xBC, 0x37, 0x54),
    (0xDD, 0x51, 0x3A),
    (0xF3, 0x78, 0x19),
    (0xFC, 0xA5, 0x0A),
    (0xF6, 0xD7, 0x46),
    (0xFC, 0xFF, 0xA4),
)
# Distances between models: sand, orange, crimson, plum; light to dark, to differ from the uncertainty.
DISTANCE_CONTROL_COLOURS = (
    (0xF7, 0xEE, 0xE0),
    (0xF6, 0xC3, 0x9E),
    (0xF2, 0x90, 0x62),
    (0xE4, 0x55, 0x45),
    (0xC0, 0x28, 0x52),
    (0x8C, 0x1B, 0x60),
    (0x56, 0x18, 0x5C),
    (0x2E, 0x14, 0x44),
)
COLOUR_COUNT = 256
# Björn Ottosson's Oklab: linear sRGB -> cone responses -> (lightness, a, b).
CONES_FROM_RGB = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
OKLAB_FROM_ROOTS = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
DEFAULT_RANGE_MM = (0.0, 20.0)
"""The same for every source, so that colours can be compared; few standard deviations are larger."""
STEP_MM = 1.0
LOW_PERCENTILE, HIGH_PERCENTILE = 2.0, 98.0
MIN_FILL = 0.45


def oklab_from_srgb(srgb: FloatArray) -> FloatArray:
    """Convert sRGB (..., 3) in [0, 1] to Oklab (..., 3): perceived lightness, a, b."""
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ CONES_FROM_RGB.T) @ OKLAB_FROM_ROOTS.T


def srgb_from_oklab(oklab: FloatArray) -> FloatArray:
    """Convert Oklab (..., 3) to sRGB (..., 3), clipped to [0, 1]."""
    roots = oklab @ np.linalg.inv(OKLAB_FROM_ROOTS).T
    linear = np.clip(roots**3 @ np.linalg.inv(CONES_FROM_RGB).T, 0.0, 1.0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


@cache
def uncertainty_colours(colour_map: ColourMap = "viridis") -> NDArray[np.float32]:
    """Return (256, 3) sRGB in [0, 1], from the smallest standard deviation (dark) to the largest (light)."""
    return uniform_ramp(UNCERTAINTY_CONTROL_COLOURS[colour_map])


@cache
def attention_colours() -> NDArray[np.float32]:
    """Return (256, 3) sRGB in [0, 1], from no attention (dark) to much (light)."""
    return uniform_ramp(ATTENTION_CONTROL_COLOURS)


def uniform_ramp(control_colours: tuple[tuple[int, int, int], ...]) -> NDArray[np.float32]:
    """Interpolate colours (0 to 255) to (256, 3) sRGB in [0, 1] with linear perceived lightness."""
    control = oklab_from_srgb(np.array(control_colours) / 255.0)
    steps = np.linspace(0.0, 1.0, COLOUR_COUNT)
    control_steps = np.linspace(0.0, 1.0, len(control))
    oklab = np.stack([np.interp(steps, control_steps, control[:, axis]) for axis in range(3)], axis=1)
    oklab[:, 0] = np.linspace(control[0, 0], control[-1, 0], COLOUR_COUNT)
    colours = srgb_from_oklab(oklab).astype(np.float32)
    colours.flags.writeable = False
    return colours


def colours_from_std(
    std_mm: FloatArray, range_mm: tuple[float, float], colour_map: ColourMap = "viridis"
) -> NDArray[np.float32]:
    """Map standard deviations (N,) to sRGB (N, 3); values outside ``range_mm`` take the colour of its ends."""
    return uncertainty_colours(colour_map)[ramp_indices(std_mm, range_mm)]


def colours_from_attention(attention: FloatArray, upper: float) -> NDArray[np.float32]:
    """Map attention (N,) to sRGB (N, 3), lightest from ``upper`` on."""
    return attention_colours()[ramp_indices(attention, (0.0, upper))]


def ramp_indices(values: FloatArray, ends: tuple[float, float]) -> NDArray[np.intp]:
    """Return colour map indices of values (N,); those outside the ends are clipped, NaN becomes the last."""
    low, high = ends
    fraction = np.nan_to_num((values - low) / max(high - low, 1e-6), nan=1.0)
    return np.clip(np.rint(fraction * (COLOUR_COUNT - 1)), 0, COLOUR_COUNT - 1).astype(np.intp)


def fitted_range(std_mm: FloatArray) -> tuple[float, float]:
    """Return whole millimetres around the 2nd to 98th percentile of standard deviations (N,); the default for none."""
    finite = std_mm[np.isfinite(std_mm)]
    if not finite.size:
        return DEFAULT_RANGE_MM
    low, high = np.percentile(finite, (LOW_PERCENTILE, HIGH_PERCENTILE))
    low_mm = math.floor(low / STEP_MM) * STEP_MM
    return low_mm, max(math.ceil(high / STEP_MM) * STEP_MM, low_mm + 2 * STEP_MM)


class RangeFollower:
    """Range for a stream, without flicker: refitted only when values leave it or fill too little of it."""

    def __init__(self) -> None:
        self.range_mm = DEFAULT_RANGE_MM
        self._fitted = False

    def update(self, std_mm: FloatArray) -> tuple[float, float]:
        """Update by the values (N,) of a new frame; returns the range in use."""
        finite = std_mm[np.isfinite(std_mm)]
        if finite.size and not (self._fitted and self._still_good(finite)):
            self.range_mm, self._fitted = fitted_range(finite), True
        return self.range_mm

    def _still_good(self, std_mm: FloatArray) -> bool:
        low, high = np.percentile(std_mm, (LOW_PERCENTILE, HIGH_PERCENTILE))
        own_low, own_high = self.range_mm
        inside = low >= own_low - STEP_MM / 2 and high <= own_high + STEP_MM / 2
        return bool(inside and (high - low) >= MIN_FILL * (own_high - own_low - 2 * STEP_MM))


@cache
def distance_colours() -> NDArray[np.float32]:
    """Return (256, 3) sRGB in [0, 1], from no distance (light) to the largest (dark)."""
    return uniform_ramp(DISTANCE_CONTROL_COLOURS)


def colours_from_distance(distances_mm: FloatArray, range_mm: tuple[float, float]) -> NDArray[np.float32]:
    """Map distances (N,) to sRGB (N, 3); values outside ``range_mm`` take the colour of its ends."""
    return distance_colours()[ramp_indices(distances_mm, range_mm)]
