"""Which deviations the ends of the heatmap stand for."""

import math

import numpy as np

from handviz.core.records import FloatArray

DEFAULT_RANGE_MM = (0.0, 10.0)
STEP_MM = 1.0
LOW_PERCENTILE, HIGH_PERCENTILE = 2.0, 98.0
SMALLEST_FILL = 0.45


def fitted_range(deviation_mm: FloatArray) -> tuple[float, float]:
    """Whole millimetres around all but the outermost 2 % of the deviations (N,); the default for none."""
    finite = deviation_mm[np.isfinite(deviation_mm)]
    if not finite.size:
        return DEFAULT_RANGE_MM
    low, high = np.percentile(finite, (LOW_PERCENTILE, HIGH_PERCENTILE))
    low_mm = math.floor(low / STEP_MM) * STEP_MM
    return low_mm, max(math.ceil(high / STEP_MM) * STEP_MM, low_mm + 2 * STEP_MM)


class RangeFollower:
    """Follows a stream without flicker: refits only when deviations leave the range or fill it badly."""

    def __init__(self) -> None:
        self.range_mm = DEFAULT_RANGE_MM
        self._fitted = False

    def update(self, deviation_mm: FloatArray) -> tuple[float, float]:
        """Take the deviations (N,) of a new frame into account; returns the range in use."""
        finite = deviation_mm[np.isfinite(deviation_mm)]
        if finite.size and not (self._fitted and self._still_good(finite)):
            self.range_mm, self._fitted = fitted_range(finite), True
        return self.range_mm

    def _still_good(self, deviation_mm: FloatArray) -> bool:
        low, high = np.percentile(deviation_mm, (LOW_PERCENTILE, HIGH_PERCENTILE))
        own_low, own_high = self.range_mm
        inside = low >= own_low - STEP_MM / 2 and high <= own_high + STEP_MM / 2
        return bool(inside and (high - low) >= SMALLEST_FILL * (own_high - own_low - 2 * STEP_MM))
