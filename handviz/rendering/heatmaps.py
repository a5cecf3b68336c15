"""Heatmaps of a model over the image: every keypoint in the colour of its bones, its spread as an ellipse."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import KEYPOINT_COUNT, FloatArray, HandMesh, Heatmaps
from handviz.core.skeleton import KEYPOINT_NAMES
from handviz.rendering.options import HeatmapMode
from handviz.rendering.passes import COLOURS

ALL = "all"
STRENGTH = 0.85
"""Opacity of a map where it is 1."""
ELLIPSE_STDS = 2.0
CUT = 0.25
"""Fraction of the peak under which pixels of a map count as background."""
LEAST_PEAK = 0.05
"""Of a map with an ellipse: below, the model sees no keypoint."""
SHIFT_BITS = 4


def shown_keypoints(choice: HeatmapMode) -> tuple[int, ...]:
    """Return the numbers of the keypoints whose maps ``options.HeatmapMode`` shows."""
    if choice == ALL:
        return tuple(range(KEYPOINT_COUNT))
    return (KEYPOINT_NAMES.index(choice),) if choice in KEYPOINT_NAMES else ()


def image_with_heatmaps(image: NDArray[np.uint8], hands: Sequence[HandMesh], choice: HeatmapMode) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) with the chosen maps of all hands over it; the image itself if there are none."""
    numbers = shown_keypoints(choice)
    drawn = [hand.heatmaps for hand in hands if hand.heatmaps is not None]
    if not numbers or not drawn:
        return image
    result = image.astype(np.float32)
    for heatmaps in drawn:
        _blend(result, heatmaps, numbers)
    finished = np.clip(result, 0, 255).astype(np.uint8)
    for heatmaps in drawn:
        _draw_ellipses(finished, heatmaps, numbers)
    return finished


def _blend(image: FloatArray, heatmaps: Heatmaps, numbers: Sequence[int]) -> None:
    """Blend maps over an image (H, W, 3) of 0 to 255, in place."""
    maps = np.clip(heatmaps.maps[list(numbers)].astype(np.float32), 0, 1)
    colours = 255 * COLOURS[list(numbers)].astype(np.float32)
    total = maps.sum(axis=0)
    colour = np.einsum("khw,kc->hwc", maps, colours) / np.maximum(total, 1e-6)[..., None]
    layer = np.dstack([colour, STRENGTH * np.minimum(maps.max(axis=0), 1)]).astype(np.float32)
    height, width = image.shape[:2]
    over = cv2.warpAffine(layer, heatmaps.image_from_map, (width, height), flags=cv2.INTER_LINEAR)
    opacity = over[..., 3:]
    image += opacity * (over[..., :3] - image)


def spread_of(heatmap: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Return expectation (2,) and covariance (2, 2) of a map (S, S) in its pixels, and its peak.

    Weights are what rises above a quarter of the peak; without a positive peak all are equal.
    """
    peak = float(heatmap.max(initial=0.0))
    weights = np.maximum(heatmap - CUT * peak, 0) if peak > 0 else np.ones_like(heatmap)
    weights = weights / weights.sum()
    rows, columns = np.indices(heatmap.shape)
    points = np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float64)
    mean = weights.ravel() @ points
    offsets = points - mean
    return mean, (offsets * weights.reshape(-1, 1)).T @ offsets, peak


def _draw_ellipses(image: NDArray[np.uint8], heatmaps: Heatmaps, numbers: Sequence[int]) -> None:
    """Draw the ellipse of two standard deviations of every map's spread, in place."""
    linear, offset = heatmaps.image_from_map[:, :2], heatmaps.image_from_map[:, 2]
    for number in numbers:
        mean, covariance, peak = spread_of(heatmaps.maps[number])
        if peak < LEAST_PEAK:
            continue
        scale, floor = heatmaps.spread
        covariance = scale * (covariance + floor * (heatmaps.maps.shape[-1] / 2) ** 2 * np.eye(2))
        variances, directions = np.linalg.eigh(linear @ covariance @ linear.T)
        axes = ELLIPSE_STDS * np.sqrt(np.maximum(variances[::-1], 0))
        angle = math.degrees(math.atan2(directions[1, 1], directions[0, 1]))
        centre, bits = linear @ mean + offset, 1 << SHIFT_BITS
        colour = tuple(int(255 * part) for part in COLOURS[number])
        cv2.ellipse(
            image,
            tuple(round(part * bits) for part in centre),
            tuple(round(part * bits) for part in axes),
            angle, 0, 360, colour, 1, cv2.LINE_AA, SHIFT_BITS,
        )  # fmt: skip
