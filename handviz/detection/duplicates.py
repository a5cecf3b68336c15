"""One hand found twice is one hand."""

from collections.abc import Sequence

import numpy as np

from handviz.core.records import Detection, FloatArray

SAME_HAND_DISTANCE = 0.25
SAME_HAND_COVER = 0.8
SAME_HAND_UNION_SHARE = 0.6


def without_duplicates(detections: Sequence[Detection]) -> tuple[Detection, ...]:
    """Keep the better of any two detections of the same hand; best score first."""
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda item: -item.score):
        if not any(same_hand(detection, other) for other in kept):
            kept.append(detection)
    return tuple(kept)


def same_hand(first: Detection, second: Detection) -> bool:
    """Whether keypoints lie together, or boxes overlap too much for two hands."""
    extent_px = max(_extent_px(first), _extent_px(second))
    distances_px = np.linalg.norm(first.keypoints_px - second.keypoints_px, axis=1)
    if distances_px.mean() < SAME_HAND_DISTANCE * extent_px:
        return True
    covered = box_cover(first.keypoints_px, second.keypoints_px)
    if first.handedness == second.handedness:
        return covered > SAME_HAND_COVER
    return box_union_share(first.keypoints_px, second.keypoints_px) > SAME_HAND_UNION_SHARE


def box_cover(first_px: FloatArray, second_px: FloatArray) -> float:
    """Overlap of the boxes of two point sets (N, 2) over the smaller box's area."""
    overlap, smaller, _ = _box_areas(first_px, second_px)
    return overlap / max(smaller, 1e-9)


def box_union_share(first_px: FloatArray, second_px: FloatArray) -> float:
    """Overlap of the boxes of two point sets (N, 2) over their union's area."""
    overlap, smaller, larger = _box_areas(first_px, second_px)
    return overlap / max(smaller + larger - overlap, 1e-9)


def _box_areas(first_px: FloatArray, second_px: FloatArray) -> tuple[float, float, float]:
    """Areas of the overlap, the smaller and the larger box, square pixels."""
    low = np.maximum(first_px.min(axis=0), second_px.min(axis=0))
    high = np.minimum(first_px.max(axis=0), second_px.max(axis=0))
    overlap = float(np.prod(np.maximum(high - low, 0.0)))
    smaller, larger = sorted(float(np.prod(np.ptp(points, axis=0))) for points in (first_px, second_px))
    return overlap, smaller, larger


def _extent_px(detection: Detection) -> float:
    return float(np.ptp(detection.keypoints_px, axis=0).max())
