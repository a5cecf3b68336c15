"""Which hand of a frame is which hand of the frames before."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from handviz.core.records import Detection, HandMesh, SideChoice

SAME_HAND_EXTENTS = 1.0


# The person's word on which hand is which goes before the detector's.


def sided(detections: Sequence[Detection], choice: SideChoice) -> tuple[Detection, ...]:
    """The detections with the side that the choice gives them."""
    if choice == "detected":
        return tuple(detections)
    return tuple(replace(detection, handedness=choice) for detection in detections)


class Track(Protocol):
    """Whatever remembers a hand."""

    @property
    def latest(self) -> HandMesh:
        """As it was seen last."""
        ...


AnyTrack = TypeVar("AnyTrack", bound=Track)


def nearest_track(hand: HandMesh, tracks: Sequence[AnyTrack]) -> AnyTrack | None:
    """The nearest track of this handedness and hand model within one hand's size."""
    distances = [_distance(hand, track) for track in tracks]
    index = min(range(len(tracks)), key=distances.__getitem__, default=-1)
    return tracks[index] if index >= 0 and distances[index] < SAME_HAND_EXTENTS else None


def matched_tracks(hands: Sequence[HandMesh], tracks: Sequence[AnyTrack]) -> list[AnyTrack | None]:
    """The track of every hand, or None; nearest pairs first, and no track twice."""
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
    """In extents of the hand; infinite for another side or another hand model."""
    latest = track.latest
    if latest.handedness != hand.handedness or len(latest.vertices_m) != len(hand.vertices_m):
        return math.inf
    extent_px = float(np.ptp(hand.keypoints_px, axis=0).max())
    away_px = float(np.linalg.norm(latest.keypoints_px.mean(axis=0) - hand.keypoints_px.mean(axis=0)))
    return away_px / max(extent_px, 1e-6)
