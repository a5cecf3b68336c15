"""Appearances of a still image in which the detector finds hands that it misses in the image itself.

It was trained on skin in good light. Noise, gloves, faded and grey images lie outside of that.
"""

import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

NOISY, MIN_NOISE_SIDE_PX = 12.0, 8
"""Least standard deviation of noise, in levels, that is smoothed, and least side of an image where it is known."""
NOISE_BLURS_PX = (1.5, 3.0)
"""Standard deviations of the Gaussian filter for noisy images: the second where nothing is found after the first."""
TINT_BLUR_PX = 1.5
MEDIAN_OF_NORMAL = 0.6745
"""Median of the absolute value of a standard normal number."""
SAMPLES, MAX_NOISE_PX = 200_000, 16_000_000
"""Of a larger image the centre tells the noise, in less memory."""
SKIN = ((0, (20, 10, 8)), (96, (120, 75, 55)), (192, (225, 170, 140)), (255, (255, 235, 215)))
"""RGB of skin by brightness, from shadow to highlight; levels between are interpolated."""
BRIGHTEST_AND_DARKEST_PERCENT = 1


def appearances_of(image: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield images (H, W, 3), each to be searched if nothing was found in those before it.

    First the image itself, or smoothed by as much as its noise asks for; last in the colours of skin.
    """
    noisy = is_noisy(image)
    first = _blurred(image, NOISE_BLURS_PX[0]) if noisy else image
    yield first
    if noisy:
        yield _blurred(image, NOISE_BLURS_PX[1])
    yield _blurred(skin_tinted(first), TINT_BLUR_PX)


def is_noisy(image: NDArray[np.uint8]) -> bool:
    """Return whether the noise of an image (H, W, 3) hides hands from the detector."""
    return min(image.shape[:2]) >= MIN_NOISE_SIDE_PX and noise_of(image) >= NOISY


def noise_of(image: NDArray[np.uint8]) -> float:
    """Return the standard deviation of the noise, in levels: the median over pixels, since edges are few."""
    part = min(1.0, math.sqrt(MAX_NOISE_PX / (image.shape[0] * image.shape[1])))
    height, width = (max(round(side * part), 1) for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    centre = np.ascontiguousarray(image[top : top + height, left : left + width])
    grey = cv2.cvtColor(centre, cv2.COLOR_RGB2GRAY).astype(np.float32)
    # Differences of second order along both axes: smooth shading cancels, and white noise has six times its deviation.
    residual = cv2.filter2D(grey, -1, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)).ravel()
    step = max(1, residual.size // SAMPLES)
    return float(np.median(np.abs(residual[::step]))) / (6 * MEDIAN_OF_NORMAL)


def skin_tinted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image (H, W, 3) as if all were skin: its brightness, stretched over skin's colours."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    # Of a sample: percentiles of all pixels would take eight times the image's memory.
    sample = grey.ravel()[:: max(1, grey.size // SAMPLES)]
    low, high = np.percentile(sample, (BRIGHTEST_AND_DARKEST_PERCENT, 100 - BRIGHTEST_AND_DARKEST_PERCENT))
    levels = np.clip((np.arange(256) - low) * (255 / max(high - low, 1.0)), 0, 255)
    known = [level for level, _ in SKIN]
    colours = np.array([colour for _, colour in SKIN])
    palette = np.stack([np.interp(levels, known, channel) for channel in colours.T], axis=1)
    return np.asarray(np.round(palette).astype(np.uint8)[grey])


def _blurred(image: NDArray[np.uint8], std_px: float) -> NDArray[np.uint8]:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), std_px), dtype=np.uint8)
