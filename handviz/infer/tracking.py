"""Which hand of a frame is which hand of the frames before."""

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from handviz.records import HandMesh

SAME_HAND_EXTENTS = 1.0


class Track(Protocol):
    """Whatever remembers a hand."""

    @property
    def latest(self) -> HandMesh:
        """As it was seen last."""
        ...


AnyTrack = TypeVar("AnyTrack", bound=Track)


def nearest_track(hand: HandMesh, tracks: Sequence[AnyTrack]) -> AnyTrack | None:
    """The nearest track of this handedness and hand model within one hand's size."""
    middle, extent_px = hand.keypoints_px.mean(axis=0), float(np.ptp(hand.keypoints_px, axis=0).max())
    near = [
        (float(np.linalg.norm(track.latest.keypoints_px.mean(axis=0) - middle)), index)
        for index, track in enumerate(tracks)
        if track.latest.handedness == hand.handedness and len(track.latest.vertices_m) == len(hand.vertices_m)
    ]
    distance_px, index = min(near, default=(math.inf, -1))
    return tracks[index] if distance_px < SAME_HAND_EXTENTS * extent_px else None
