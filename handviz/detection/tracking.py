"""Matching a frame's hands with each other and with the hands of earlier frames."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from handviz.core.records import Detection, FloatArray, HandednessSetting, HandMesh

SAME_HAND_DISTANCE = 0.25
SAME_HAND_COVER = 0.8
SAME_HAND_UNION_FRACTION = 0.6
SAME_HAND_EXTENTS = 1.0


def without_duplicates(detections: Sequence[Detection]) -> tuple[Detection, ...]:
    """Keep the better of any two detections of the same hand; best score first."""
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda item: -item.score):
        if not any(same_hand(detection, other) for other in kept):
            kept.append(detection)
    return tuple(kept)


def same_hand(first: Detection, second: Detection) -> bool:
    """Return whether keypoints are close, or boxes overlap too much for two hands."""
    extent_px = max(_extent_px(first), _extent_px(second))
    distances_px = np.linalg.norm(first.keypoints_px - second.keypoints_px, axis=1)
    if distances_px.mean() < SAME_HAND_DISTANCE * extent_px:
        return True
    covered = box_cover(first.keypoints_px, second.keypoints_px)
    if first.handedness == second.handedness:
        return covered > SAME_HAND_COVER
    return box_union_fraction(first.keypoints_px, second.keypoints_px) > SAME_HAND_UNION_FRACTION


def box_cover(first_px: FloatArray, second_px: FloatArray) -> float:
    """Return the overlap of the boxes of two point sets (N, 2) over the smaller box's area."""
    overlap, smaller, _ = _box_areas(first_px, second_px)
    return overlap / max(smaller, 1e-9)


def box_union_fraction(first_px: FloatArray, second_px: FloatArray) -> float:
    """Return the overlap of the boxes of two point sets (N, 2) over their union's area."""
    overlap, smaller, larger = _box_areas(first_px, second_px)
    return overlap / max(smaller + larger - overlap, 1e-9)


def _box_areas(first_px: FloatArray, second_px: FloatArray) -> tuple[float, float, float]:
    """Return the areas of the overlap, the smaller and the larger box in square pixels."""
    low = np.maximum(first_px.min(axis=0), second_px.min(axis=0))
    high = np.minimum(first_px.max(axis=0), second_px.max(axis=0))
    overlap = float(np.prod(np.maximum(high - low, 0.0)))
    smaller, larger = sorted(float(np.prod(np.ptp(points, axis=0))) for points in (first_px, second_px))
    return overlap, smaller, larger


def _extent_px(detection: Detection) -> float:
    return float(np.ptp(detection.keypoints_px, axis=0).max())


def override_handedness(detections: Sequence[Detection], setting: HandednessSetting) -> tuple[Detection, ...]:
    """Return the detections with the user's handedness instead of the detector's, if it is set."""
    if setting == "detected":
        return tuple(detections)
    return tuple(replace(detection, handedness=setting) for detection in detections)


class Track(Protocol):
    """Any object that stores the latest state of a hand."""

    @property
    def latest(self) -> HandMesh:
        """The hand in the last frame that showed it."""
        ...


AnyTrack = TypeVar("AnyTrack", bound=Track)


def nearest_track(hand: HandMesh, tracks: Sequence[AnyTrack]) -> AnyTrack | None:
    """Return the nearest track of this handedness and hand model within one hand's size."""
    distances = [_distance(hand, track) for track in tracks]
    index = min(range(len(tracks)), key=distances.__getitem__, default=-1)
    return tracks[index] if index >= 0 and distances[index] < SAME_HAND_EXTENTS else None


def matched_tracks(hands: Sequence[HandMesh], tracks: Sequence[AnyTrack]) -> list[AnyTrack | None]:
    """Return the track of every hand, or None; nearest pairs are matched first, no track twice."""
    pairs = sorted(
        (_distance(hand, track), row, column) for row, hand in enumerate(hands) for column, track in enumerate(tracks)
    )
    found: list[AnyTrack | None] = [None] * len(hands)
    taken: set[int] = set()
    for distance, row, column in pairs:
        if distance < SAME_HAND_EXTENTS and found[row] is None and column not in taken:
            found[row] = tracks[column]
            taken.add(column)
    return found


def _distance(hand: HandMesh, track: Track) -> float:
    """Return the distance in extents of the hand; infinite for another handedness or hand model."""
    latest = track.latest
    if latest.handedness != hand.handedness or len(latest.vertices_m) != len(hand.vertices_m):
        return math.inf
    extent_px = float(np.ptp(hand.keypoints_px, axis=0).max())
    distance_px = float(np.linalg.norm(latest.keypoints_px.mean(axis=0) - hand.keypoints_px.mean(axis=0)))
    return distance_px / max(extent_px, 1e-6)
