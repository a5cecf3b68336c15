"""Detections of still images that are no hand, or the same hand once more: what the network shows of them.

The limits were chosen on photographs (docs/log/experiments.md): true hands have a presence above 0.6, elbows, knees and
eyes mostly below 0.5, and a second mesh on a hand lies more than a tenth of its box from the detector's keypoints.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from handviz.core.geometry import distance_from_detector
from handviz.core.records import CanonicalHand, Detection, HandMesh
from handviz.detection.tracking import box_cover

MIN_PRESENCE = 0.5
DOUBTFUL_PRESENCE = 0.7
"""Below it a hand is none if its mesh and its detection disagree, or if a better hand is in the image."""
MAX_DISTANCE = 0.1
"""Between the keypoints of mesh and detection, as a fraction of the longer side of their box."""
COVER_OF_ONE_HAND = 0.5
"""Of the smaller box, from which on a mesh that disagrees with its detection is another hand's."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A detection and what was reconstructed from it."""

    detection: Detection
    canonical: CanonicalHand
    mesh: HandMesh
    other_side: bool
    """Whether it was reconstructed as the other hand: then the detector's keypoints are wrong too."""

    @property
    def distance(self) -> float:
        """Between the keypoints of mesh and detection, as a fraction of the longer side of their box."""
        return distance_from_detector(self.mesh, self.detection)


def indices_of_true_hands(candidates: Sequence[Candidate]) -> list[int]:
    """Return which hands of one image are true; candidates in the order of their support, best first."""
    kept: list[int] = []
    for index, candidate in enumerate(candidates):
        others = [candidates[other] for other in kept]
        if not _is_no_hand(candidate, first=not kept) and not any(_is_same_hand(candidate, other) for other in others):
            kept.append(index)
    return kept


def _is_no_hand(candidate: Candidate, *, first: bool) -> bool:
    """Return whether MediaPipe's heads see no hand; networks without them know nothing of it."""
    presence = candidate.canonical.presence
    if candidate.canonical.landmarks_m is None or presence >= DOUBTFUL_PRESENCE:
        return False
    disagrees = not candidate.other_side and candidate.distance > MAX_DISTANCE
    return presence < MIN_PRESENCE or disagrees or not first


def _is_same_hand(candidate: Candidate, better: Candidate) -> bool:
    """Return whether a mesh that disagrees with its detection lies where a better one agrees with its own."""
    cover = box_cover(candidate.detection.keypoints_px, better.detection.keypoints_px)
    return cover > COVER_OF_ONE_HAND and candidate.distance > max(MAX_DISTANCE, better.distance)
