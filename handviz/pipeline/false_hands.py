"""Detections of still images that are no hand, or the same hand once more: what the network shows of them.

The limits were chosen on photographs and rendered pairs of hands (docs/log/experiments.md). Elbows, knees and eyes have
a low presence and few votes, covered hands at most one of both. A second mesh on a hand lies far from its detection.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from handviz.core.geometry import distance_from_detector
from handviz.core.records import Detection, HandMesh, NetworkOutput
from handviz.detection.tracking import box_cover

MIN_PRESENCE = 0.35
"""Below it there is no hand, whatever the views say."""
WEAK_PRESENCE, DOUBTFUL_PRESENCE = 0.5, 0.7
"""Below the first a hand of little support is none; below the second only if its mesh and its detection disagree, or if
a better hand is in the image. Covered hands with much support reach 0.4."""
LITTLE_SUPPORT = 5.0
MIN_RIGHT_HAND = 0.2
"""A hand of little support that the network is so sure to be the other side's is none: both look at something else."""
MIN_HAND_PROBABILITY, SURE_PRESENCE = 0.1, 0.9
"""A hand of little support is none if the model itself says so by less than the first, unless MediaPipe's presence
reaches the second: the model is trained on rendered crops, and must lose no hand of which MediaPipe is sure."""
MAX_DISTANCE = 0.1
"""Between the keypoints of mesh and detection, as a fraction of the longer side of their box."""
COVER_OF_ONE_HAND, SUPPORT_OF_ONE_HAND = 0.5, 2.0
"""A mesh that disagrees with its detection is another hand's, if that covers so much of its box and has so many times
its support."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A detection and what was reconstructed from it."""

    detection: Detection
    canonical: NetworkOutput
    mesh: HandMesh
    other_side: bool
    """Whether it was reconstructed as the other hand: then the detector's keypoints are wrong too."""

    @property
    def distance(self) -> float:
        """Between the keypoints of mesh and detection, as a fraction of the longer side of their box."""
        return distance_from_detector(self.mesh, self.detection)

    @property
    def support(self) -> float:
        """Of the detection by the image's views; infinite where it is unknown."""
        return math.inf if self.detection.support is None else self.detection.support


def indices_of_true_hands(candidates: Sequence[Candidate]) -> list[int]:
    """Return which hands of one image are true; candidates in the order of their support, best first."""
    kept: list[int] = []
    for index, candidate in enumerate(candidates):
        others = [candidates[other] for other in kept]
        if not _is_no_hand(candidate, first=not kept) and not any(_is_same_hand(candidate, other) for other in others):
            kept.append(index)
    return kept


def _is_no_hand(candidate: Candidate, *, first: bool) -> bool:
    """Return whether MediaPipe's heads see no hand, or doubt it where the model itself sees none.

    Networks without these heads know nothing of it.
    """
    presence, is_little = candidate.canonical.presence, candidate.support < LITTLE_SUPPORT
    if candidate.canonical.landmarks_m is None:
        return False
    if is_little and not candidate.other_side and candidate.canonical.right_hand < MIN_RIGHT_HAND:
        return True
    if is_little and presence < SURE_PRESENCE and _sees_none(candidate.canonical):
        return True
    if presence >= DOUBTFUL_PRESENCE or not is_little:
        return presence < MIN_PRESENCE
    disagrees = not candidate.other_side and candidate.distance > MAX_DISTANCE
    return presence < WEAK_PRESENCE or disagrees or not first


def _sees_none(hand: NetworkOutput) -> bool:
    """Return whether the model's own probability says that its crop shows no hand; models without one never do."""
    return hand.hand_probability is not None and hand.hand_probability < MIN_HAND_PROBABILITY


def _is_same_hand(candidate: Candidate, better: Candidate) -> bool:
    """Return whether a mesh that disagrees with its detection lies where a better one agrees with its own."""
    cover = box_cover(candidate.detection.keypoints_px, better.detection.keypoints_px)
    outvoted = better.support >= SUPPORT_OF_ONE_HAND * candidate.support
    return outvoted and cover > COVER_OF_ONE_HAND and candidate.distance > max(MAX_DISTANCE, better.distance)
