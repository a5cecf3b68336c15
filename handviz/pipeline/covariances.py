"""Covariances that follow their deviations when these are smoothed."""

import numpy as np

from handviz.core.records import FloatArray


def resized(covariance_mm2: FloatArray | None, std_mm: FloatArray, smoothed_std_mm: FloatArray) -> FloatArray | None:
    """Covariances (N, 3, 3) of deviations (N,), in the same directions, as large as the smoothed deviations (N,) say.

    None where there are none.
    """
    if covariance_mm2 is None:
        return None
    ratio = smoothed_std_mm / np.maximum(std_mm, 1e-6)
    return np.asarray(covariance_mm2 * np.square(ratio)[:, None, None])
