"""Tracks of hands over frames, such as "right" and "right_2", and the rows of ``keypoints.csv``."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from handviz.core.records import FloatArray, HandMesh
from handviz.io.recording.timed_results import KEYPOINT_NAMES

TIMED_RESULT_COLUMNS = ("frame", "time", "monotonic_ms", "clip_ms", "recording_ms", "source", "picture", "variant")
HAND_COLUMNS = ("track", "handedness", "detection_score")
WRIST_COLUMNS = tuple(f"wrist_camera_{axis}_m" for axis in "xyz")
MEASURES = ("x_m", "y_m", "z_m", "std_mm", "u_px", "v_px")
COLUMNS = (
    *TIMED_RESULT_COLUMNS,
    *HAND_COLUMNS,
    *WRIST_COLUMNS,
    *(f"{name}_{measure}" for name in KEYPOINT_NAMES for measure in MEASURES),
)
"""Keypoints are in the camera's axes with the wrist at the origin; add ``wrist_camera`` for the camera frame."""


class Tracks:
    """Names of hands by handedness and, among several of one side, by the nearest last wrist of a track."""

    def __init__(self) -> None:
        self._wrists: dict[str, FloatArray] = {}

    def names(self, hands: Sequence[HandMesh]) -> list[str]:
        """Assign a unique track to every hand of a frame."""
        taken: list[str] = []
        for hand in hands:
            known = [name for name in self._wrists if name.startswith(hand.handedness) and name not in taken]
            name = min(known, key=lambda one: self._distance_m(one, hand), default="") or self._new_name(hand)
            self._wrists[name] = np.asarray(hand.wrist_camera_m)
            taken.append(name)
        return taken

    def _distance_m(self, name: str, hand: HandMesh) -> float:
        return float(np.linalg.norm(self._wrists[name] - hand.wrist_camera_m))

    def _new_name(self, hand: HandMesh) -> str:
        number = 1 + sum(name.startswith(hand.handedness) for name in self._wrists)
        return hand.handedness if number == 1 else f"{hand.handedness}_{number}"


def table_header() -> bytes:
    """Return the header line of ``keypoints.csv``."""
    return _line(COLUMNS)


def table_rows(entry: dict[str, Any]) -> bytes:
    """Return the rows of ``keypoints.csv``, one per hand, of one entry of ``hands.jsonl``."""
    return b"".join(_line(_cells(entry, hand)) for hand in entry["hands"])


def _cells(entry: dict[str, Any], hand: dict[str, Any]) -> list[Any]:
    stds_mm = hand["keypoint_std_mm"] or [""] * len(KEYPOINT_NAMES)
    points = zip(hand["keypoints_camera_m"], stds_mm, hand["keypoints_image_px"], strict=True)
    return [
        *(entry[name] for name in TIMED_RESULT_COLUMNS),
        *(hand[name] for name in HAND_COLUMNS),
        *hand["wrist_camera_m"],
        *(value for position, std_mm, pixel in points for value in (*position, std_mm, *pixel)),
    ]


def _line(cells: Sequence[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8")
