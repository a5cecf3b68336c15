"""Reads ``ground_truth.json`` beside images, the list of ``hands.json`` with true keypoints, and computes errors."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from handviz.core.json_files import MAX_LISTING_BYTES, Numbers, Rows, read_json
from handviz.core.metrics import mpjpe_mm, pa_mpjpe_mm
from handviz.core.records import KEYPOINT_COUNT, FloatArray, Handedness
from handviz.inspection.columns import GROUND_TRUTH_NAME, HandRow

MAX_POSITION_M, MAX_HAND_M = 1000.0, 1.0
"""Larger numbers are in other units, most often millimetres."""


@dataclass(frozen=True, eq=False)
class TrueHand:
    """One hand of the ground truth."""

    handedness: Handedness
    keypoints_camera_m: Annotated[FloatArray, Numbers(KEYPOINT_COUNT, 3)]
    """(21, 3) in the camera frame, or with the wrist at the origin"""

    def __post_init__(self) -> None:
        if np.abs(self.keypoints_camera_m).max() > MAX_POSITION_M or np.abs(self.keypoints_m).max() > MAX_HAND_M:
            raise ValueError("keypoints_camera_m is no hand in metres")

    @property
    def keypoints_m(self) -> FloatArray:
        """Keypoints (21, 3), wrist at the origin."""
        return self.keypoints_camera_m - self.keypoints_camera_m[0]


@dataclass(frozen=True)
class _TrueImage:
    """What is read of an image, under the names of ``hands.json``."""

    file: str
    hands: Rows[TrueHand]


GroundTruth = dict[str, tuple[TrueHand, ...]]


def load_ground_truth(folder: Path) -> GroundTruth:
    """Return true hands by file name, empty without the file; HandvizError if it cannot be used."""
    path = folder / GROUND_TRUTH_NAME
    if not os.path.lexists(path):
        return {}
    images = read_json(
        path, list[_TrueImage], "images are inspected without errors against it", max_bytes=MAX_LISTING_BYTES
    )
    return {image.file: tuple(image.hands) for image in images}


def with_errors(hands: Sequence[HandRow], keypoints_m: FloatArray, truth: Sequence[TrueHand]) -> tuple[HandRow, ...]:
    """Return the rows with their errors against the true hands; keypoints (N, 21, 3) in metres, wrist at the origin.

    A hand is compared with the nearest true hand of its handedness that no better one has taken, else it has no error.
    """
    rows = list(hands)
    pairs = [
        (_error_mm(mpjpe_mm, keypoints_m[index], true), index, number)
        for index, hand in enumerate(hands)
        for number, true in enumerate(truth)
        if true.handedness == hand.handedness
    ]
    taken_hands: set[int] = set()
    taken_truths: set[int] = set()
    for error_mm, index, number in sorted(pairs):
        if index not in taken_hands and number not in taken_truths:
            taken_hands.add(index)
            taken_truths.add(number)
            aligned_mm = _error_mm(pa_mpjpe_mm, keypoints_m[index], truth[number])
            rows[index] = replace(rows[index], error_mm=error_mm, aligned_error_mm=aligned_mm)
    return tuple(rows)


def _error_mm(measure: Any, keypoints_m: FloatArray, true: TrueHand) -> float:
    from_wrist = keypoints_m - keypoints_m[0]
    return float(measure(from_wrist[None].astype(np.float64), true.keypoints_m[None])[0])
