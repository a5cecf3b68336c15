"""A hand does not change sides: what several frames say about left and right counts more than what one says."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from handviz.core.records import Detection

MEMORY = 0.9
"""Share of the evidence that the next frame keeps: about ten frames."""
SAME_TRACK_DISTANCE = 0.5
FRAMES_UNTIL_FORGOTTEN = 5


class HandTrack:
    """The evidence for one hand; positive means right."""

    def __init__(self, detection: Detection) -> None:
        self.latest = detection
        self.evidence = 0.0
        self.frames_unseen = 0

    def add(self, detection: Detection) -> None:
        """Take what one frame says: its score counts from 0.5, a guess, to 1, certainty."""
        sign = 1.0 if detection.handedness == "right" else -1.0
        self.evidence = MEMORY * self.evidence + sign * max(detection.score - 0.5, 0.01)
        self.latest, self.frames_unseen = detection, 0

    def distance(self, detection: Detection) -> float:
        """Mean distance of the keypoints as a share of the hand's size."""
        distances_px = np.linalg.norm(detection.keypoints_px - self.latest.keypoints_px, axis=1)
        extent_px = max(float(np.ptp(detection.keypoints_px, axis=0).max()), 1e-6)
        return float(distances_px.mean()) / extent_px


class HandednessMemory:
    """Names the hands of a stream by the evidence of the frames so far."""

    def __init__(self) -> None:
        self._tracks: list[HandTrack] = []

    def settle(self, detections: Sequence[Detection]) -> tuple[Detection, ...]:
        """The detections of the next frame, with the handedness that their track speaks for."""
        free, used, settled = list(self._tracks), [], []
        for detection in detections:
            track = _nearest(detection, free)
            if track is None:
                track = HandTrack(detection)
            else:
                free.remove(track)
            track.add(detection)
            used.append(track)
            settled.append(replace(detection, handedness="right" if track.evidence > 0 else "left"))
        for track in free:
            track.frames_unseen += 1
        self._tracks = used + [track for track in free if track.frames_unseen <= FRAMES_UNTIL_FORGOTTEN]
        return tuple(settled)


def _nearest(detection: Detection, tracks: Sequence[HandTrack]) -> HandTrack | None:
    near = [(track.distance(detection), index) for index, track in enumerate(tracks)]
    distance, index = min(near, default=(np.inf, -1))
    return tracks[index] if distance <= SAME_TRACK_DISTANCE else None
