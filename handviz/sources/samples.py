"""Samples of any depth as 8 bits: integers of 10 to 32 bits and floats, as cameras and image files have them."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_BITS = (8, 10, 12, 14, 16, 24, 32)
PART_SAMPLES = 1_000_000
MAX_HIGHLIGHTS = 0.01
"""Floats are from 0 to 1 if no more of them lie above: lights do in linear images."""


def bits_of(image: NDArray[Any]) -> int:
    """Return how many bits the samples use, 8 for bytes and floats: 12 of 16 are usual in industrial cameras."""
    if image.dtype.kind not in "ui" or image.dtype.itemsize == 1:
        return 8
    return bits_for(int(image.max(initial=0)))


def bits_for(largest: int) -> int:
    """Return the smallest usual depth, in bits, that holds this value."""
    return next((bits for bits in SAMPLE_BITS if largest < 1 << bits), SAMPLE_BITS[-1])


def white_of(parts: Iterable[NDArray[Any]]) -> float:
    """Return the value of white in an image that comes in parts: 1 of floats, or the largest of the depth in use."""
    largest, above_one, count = 0.0, 0, 0
    is_float = False
    for part in parts:
        is_float = part.dtype.kind == "f"
        finite = part[np.isfinite(part)] if is_float else part
        largest = max(largest, float(finite.max(initial=0)))
        above_one, count = above_one + int((finite > 1).sum()) * is_float, count + finite.size
    if is_float and above_one <= MAX_HIGHLIGHTS * count:
        return 1.0
    return max(float((1 << bits_for(int(largest))) - 1), largest if is_float else 0.0)


def eight_bit(samples: NDArray[Any], white: float) -> NDArray[np.uint8]:
    """Return samples of any shape from 0 to ``white`` as 0 to 255; what is no number is black."""
    levels = np.empty(samples.shape, np.uint8)
    # In parts, because floats take eight times the memory.
    rows = max(1, PART_SAMPLES // max(1, samples[:1].size))
    for top in range(0, len(samples), rows):
        part = samples[top : top + rows].astype(np.float64) / white * 255
        part = np.nan_to_num(part, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
        levels[top : top + rows] = np.clip(np.rint(part), 0, 255)
    return levels
