"""Names of tracked hands, such as "right" and "right_2", and the rows of ``keypoints.csv``."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from handviz.core.records import Handedness, HandMesh
from handviz.core.skeleton import KEYPOINT_NAMES

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


class TrackNames:
    """Names of hands, such as "right" and "right_2": by number and side, in the order in which they come."""

    def __init__(self) -> None:
        self._names: dict[tuple[int, Handedness, int], str] = {}

    def names(self, hands: Sequence[HandMesh]) -> list[str]:
        """Return a unique name for every hand of a frame; one whose side changes gets another name from there on."""
        keys: list[tuple[int, Handedness, int]] = []
        for hand in hands:
            # Hands that are not tracked all have the number 0.
            namesakes = sum(key[:2] == (hand.track_id, hand.handedness) for key in keys)
            keys.append((hand.track_id, hand.handedness, namesakes))
        return [self._names.get(key) or self._new(key) for key in keys]

    def _new(self, key: tuple[int, Handedness, int]) -> str:
        number = 1 + sum(side == key[1] for _, side, _ in self._names)
        self._names[key] = key[1] if number == 1 else f"{key[1]}_{number}"
        return self._names[key]


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
