"""Reads ``ground_truth.json`` beside images, the list of ``hands.json`` with true keypoints, and computes errors."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.metrics import mpjpe_mm, pa_mpjpe_mm
from handviz.core.records import KEYPOINT_COUNT, FloatArray
from handviz.inspection.columns import GROUND_TRUTH_NAME, HandRow

SIDES = ("left", "right")
MAX_POSITION_M, MAX_HAND_M = 1000.0, 1.0
"""Larger numbers are in other units, most often millimetres."""


@dataclass(frozen=True, eq=False)
class TrueHand:
    """One hand of the ground truth."""

    handedness: str
    keypoints_m: FloatArray
    """(21, 3), wrist at the origin."""


GroundTruth = dict[str, tuple[TrueHand, ...]]


def load_ground_truth(folder: Path) -> GroundTruth:
    """Return true hands by file name, empty without the file; HandvizError if it cannot be used."""
    path = folder / GROUND_TRUTH_NAME
    if not os.path.lexists(path):
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(entries, list):
            raise ValueError("it must be a list of images, as hands.json is")
        return dict(_image(number, entry) for number, entry in enumerate(entries))
    except (OSError, ValueError, RecursionError) as error:
        raise HandvizError(
            f"{path} cannot be used ({error}): images are inspected without errors against it.",
            ErrorCode.FILE_DAMAGED,
        ) from error


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


def _image(number: int, entry: Any) -> tuple[str, tuple[TrueHand, ...]]:
    if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
        raise ValueError(f'entry {number} has no "file"')
    file, hands = entry["file"], entry.get("hands")
    if not isinstance(hands, list):
        raise ValueError(f'{file}: "hands" is not a list')
    return file, tuple(_hand(file, hand) for hand in hands)


def _hand(file: str, hand: Any) -> TrueHand:
    side = hand.get("handedness") if isinstance(hand, dict) else None
    if side not in SIDES:
        raise ValueError(f'{file}: a hand\'s "handedness" is neither "left" nor "right"')
    try:
        points = np.asarray(hand.get("keypoints_camera_m"), dtype=np.float64)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.shape != (KEYPOINT_COUNT, 3) or not np.isfinite(points).all():
        raise ValueError(f'{file}: "keypoints_camera_m" is not 21 x 3 numbers')
    if np.abs(points).max() > MAX_POSITION_M or np.abs(points - points[0]).max() > MAX_HAND_M:
        raise ValueError(f'{file}: "keypoints_camera_m" is no hand in metres')
    return TrueHand(str(side), points - points[0])
