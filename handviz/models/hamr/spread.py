"""How the spread of a heatmap becomes the 2D uncertainty of its joint: two numbers, fitted on rendered hands.

A map's spread is that of the Gaussian which it was trained to be, even where it is right. So the covariance of a
joint's error in the crop is taken as scale x (spread + floor x 1), whose ellipse of two standard deviations covers as
much as that of a normal distribution.
"""

import math

import numpy as np

from handviz.core.records import FloatArray

STDS = 2.0
COVERED = 1 - math.exp(-0.5 * STDS**2)
"""By the ellipse of two standard deviations of a normal distribution in the plane: 86 %."""
FLOORS = (0.0, *np.geomspace(1e-5, 1e-1, 33).tolist())
"""Square half-sides, among which the likeliest is taken."""
DEGREES = 4.0
"""Of the t distribution by which they are compared, so that joints seen in a wrong place do not decide."""
LEAST_VARIANCE = 1e-8


def fit_spread(errors: FloatArray, spreads: FloatArray) -> tuple[float, float]:
    """Return scale and floor for errors (N, 2) of expectations, half-sides, and spreads (N, 2, 2) of their maps.

    Rows that are not finite are left out; without any the spread stays as it is: 1 and 0.
    """
    known = np.isfinite(errors).all(axis=1) & np.isfinite(spreads).all(axis=(1, 2))
    if not known.any():
        return 1.0, 0.0
    _, scale, floor = min(_scored(errors[known], spreads[known], floor) for floor in FLOORS)
    return scale, floor


def _scored(errors: FloatArray, spreads: FloatArray, floor: float) -> tuple[float, float, float]:
    """Return the negative log-likelihood of a floor with its scale, both, and the floor."""
    covariances = spreads + (floor + LEAST_VARIANCE) * np.eye(2)
    squares = np.einsum("ni,nij,nj->n", errors, np.linalg.inv(covariances), errors)
    scale = max(float(np.quantile(squares, COVERED)) / STDS**2, LEAST_VARIANCE)
    log_areas = np.log(np.linalg.det(covariances)) / 2 + math.log(scale)
    tails = (DEGREES + 2) / 2 * np.log1p(squares / scale / DEGREES)
    return float(np.mean(log_areas + tails)), scale, floor
