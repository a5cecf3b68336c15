"""One hand found twice is one hand."""

from collections.abc import Sequence

import numpy as np

from handviz.records import Detection, FloatArray

SAME_HAND_DISTANCE = 0.25
SAME_HAND_COVER = 0.8


def without_duplicates(detections: Sequence[Detection]) -> tuple[Detection, ...]:
    """Keep the better of any two detections of the same hand; best score first."""
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda item: -item.score):
        if not any(same_hand(detection, other) for other in kept):
            kept.append(detection)
    return tuple(kept)


def same_hand(first: Detection, second: Detection) -> bool:
    """Whether keypoints lie together, or one box covers the other and both say left, or both right."""
    extent_px = max(_extent_px(first), _extent_px(second))
    distances_px = np.linalg.norm(first.keypoints_px - second.keypoints_px, axis=1)
    if distances_px.mean() < SAME_HAND_DISTANCE * extent_px:
        return True
    covered = box_cover(first.keypoints_px, second.keypoints_px)
    return first.handedness == second.handedness and covered > SAME_HAND_COVER


def box_cover(first_px: FloatArray, second_px: FloatArray) -> float:
    """Overlap of the boxes of two point sets (N, 2) over the smaller box's area."""
    low = np.maximum(first_px.min(axis=0), second_px.min(axis=0))
    high = np.minimum(first_px.max(axis=0), second_px.max(axis=0))
    overlap = float(np.prod(np.maximum(high - low, 0.0)))
    areas = [float(np.prod(np.ptp(points, axis=0))) for points in (first_px, second_px)]
    return overlap / max(min(areas), 1e-9)


def _extent_px(detection: Detection) -> float:
    return float(np.ptp(detection.keypoints_px, axis=0).max())
