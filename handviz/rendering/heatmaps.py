"""Heatmaps of a model over the image: every keypoint in the colour of its bones, its spread as an ellipse."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import HEATMAP_CUT, KEYPOINT_COUNT, FloatArray, HandMesh, Heatmaps
from handviz.core.skeleton import KEYPOINT_NAMES
from handviz.rendering.options import HeatmapMode
from handviz.rendering.passes import COLOURS

ALL = "all"
STRENGTH = 0.85
"""Opacity of a map where it is 1."""
ELLIPSE_STDS = 2.0
LEAST_PEAK = 0.05
"""Of a map with an ellipse: below, the model sees no keypoint."""
SHIFT_BITS = 4
ROUNDING = 0.5
FARTHEST = 4
"""Sums of the image's sides from which on an ellipse is not drawn."""


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
    result = image.copy()
    for heatmaps in drawn:
        _blend(result, heatmaps, numbers)
    for heatmaps in drawn:
        _draw_ellipses(result, heatmaps, numbers)
    return result


def _blend(image: NDArray[np.uint8], heatmaps: Heatmaps, numbers: Sequence[int]) -> None:
    """Blend maps over the part of an image (H, W, 3) that their crop covers, in place."""
    maps = np.clip(heatmaps.maps[list(numbers)].astype(np.float32), 0, 1)
    colours = 255 * COLOURS[list(numbers)].astype(np.float32)
    colour = np.einsum("khw,kc->hwc", maps, colours) / np.maximum(maps.sum(axis=0), 1e-6)[..., None]
    layer = np.dstack([colour, STRENGTH * maps.max(axis=0)]).astype(np.float32)
    left, top, right, bottom = _covered(heatmaps, image.shape[1], image.shape[0])
    if right <= left or bottom <= top:
        return
    affine = heatmaps.image_from_map - np.array([[0, 0, left], [0, 0, top]])
    over = cv2.warpAffine(layer, affine, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    part = image[top:bottom, left:right]
    part[:] = part + over[..., 3:] * (over[..., :3] - part) + ROUNDING


def _covered(heatmaps: Heatmaps, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the pixels of an image, left to right and top to bottom, that the maps' crop covers."""
    side = heatmaps.maps.shape[-1]
    corners = np.array([[x, y, 1.0] for x in (-1, side) for y in (-1, side)]) @ heatmaps.image_from_map.T
    low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0)) + 1
    limits = np.array([width, height])
    (left, top), (right, bottom) = (np.clip(part, 0, limits).astype(int).tolist() for part in (low, high))
    return left, top, right, bottom


def spread_of(heatmap: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Return expectation (2,) and covariance (2, 2) of a map (S, S) in its pixels, and its peak.

    Weights are what rises above a quarter of the peak, as where the spread was calibrated
    (``models.hamr.heatmaps.soft_keypoints``, which needs torch); without a positive peak all are equal.
    """
    peak = float(heatmap.max(initial=0.0))
    weights = np.maximum(heatmap - HEATMAP_CUT * peak, 0) if peak > 0 else np.ones_like(heatmap)
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
        if peak < LEAST_PEAK or not np.isfinite(mean).all():
            continue
        scale, floor = heatmaps.spread
        covariance = scale * (covariance + floor * (heatmaps.maps.shape[-1] / 2) ** 2 * np.eye(2))
        variances, directions = np.linalg.eigh(linear @ covariance @ linear.T)
        axes = np.minimum(ELLIPSE_STDS * np.sqrt(np.maximum(variances[::-1], 0)), sum(image.shape[:2]))
        angle = math.degrees(math.atan2(directions[1, 1], directions[0, 1]))
        centre, bits = linear @ mean + offset, 1 << SHIFT_BITS
        if np.abs(centre).max() > FARTHEST * sum(image.shape[:2]):
            continue
        colour = tuple(int(255 * part) for part in COLOURS[number])
        cv2.ellipse(
            image,
            tuple(round(part * bits) for part in centre),
            tuple(round(part * bits) for part in axes),
            angle, 0, 360, colour, 1, cv2.LINE_AA, SHIFT_BITS,
        )  # fmt: skip
