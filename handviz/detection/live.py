"""Hands of a stream: each is followed from frame to frame by the landmark network on the crop that is reconstructed.

The crop comes from the landmarks of the last frame, moved on by their velocity. The landmark network, the first part of
handviz's own models, sees it in any case: its landmarks are the hand's keypoints in this frame, its presence says
whether the hand is still there, and its side is one more vote for left or right. Palms are searched only for hands that
are not followed yet (``palm_search.py``).
"""

import weakref
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import apply_affine, invert_affine
from handviz.core.records import Detection, Frame, HandCrop, Handedness
from handviz.detection.crop import crop_hand
from handviz.detection.detector import HandDetector
from handviz.detection.palm import Palm
from handviz.detection.palm_search import PalmSearch, palms_without_hand
from handviz.detection.tracking import HandTracker, same_hand

MIN_PRESENCE = 0.5
"""Below it the hand is lost."""
MIN_NEW_PRESENCE = 0.5
"""Of a hand that is found anew."""
MIN_SIDE_PX = 8


class LiveDetector:
    """Follows hands from frame to frame; ``tracker`` knows where they were, and which is which."""

    def __init__(self, networks: HandDetector, tracker: HandTracker | None, *, max_hands: int, is_beside: bool) -> None:
        """``tracker``: the caller's, which gets the hands of every frame; None: one of its own.

        ``is_beside``: palms are searched on a thread of its own, for a live window.
        """
        self._networks, self._max_hands = networks, max_hands
        self._tracker, self._owns_tracker = tracker or HandTracker(video=True), tracker is None
        self._search = PalmSearch(networks.palms, is_beside=is_beside)
        self._last: tuple[int, weakref.ref[NDArray[np.uint8]]] | None = None
        self._shape: tuple[int, ...] = ()
        self._found: tuple[Detection, ...] = ()

    def close(self) -> None:
        """End the search; the networks are their owner's."""
        self._search.close()

    def detect(self, frame: Frame) -> tuple[Detection, ...]:
        """Return the hands of the next frame, those that are followed first; () for images below 8 pixels.

        The last frame once more has the same hands again.
        """
        image, last = frame.image, self._last
        self._last = frame.number, weakref.ref(image)
        before = None if last is None else last[1]()
        if last is not None and last[0] == frame.number and before is image:
            return self._found
        if self._shape and self._shape != image.shape:
            self._tracker.lose_places()
        self._shape = image.shape
        self._found = self._detected(image) if min(image.shape[:2]) >= MIN_SIDE_PX else ()
        if self._owns_tracker:
            self._found = self._tracker.update(self._found)
        return self._found

    def _detected(self, image: NDArray[np.uint8]) -> tuple[Detection, ...]:
        expected = self._tracker.expected()[: self._max_hands]
        followed = self._followed(image, expected)
        has_lost = len(followed) < len(expected)
        palms = self._search.palms(image, followed=len(followed), wanted=self._max_hands, has_lost=has_lost)
        found = self._new(image, palms, followed) if palms else []
        return tuple([*followed, *found][: self._max_hands])

    def _followed(self, image: NDArray[np.uint8], expected: Sequence[Detection]) -> list[Detection]:
        """Return the hands of the last frame that are still there."""
        seen = self._seen_in([crop_hand(image, one) for one in expected], MIN_PRESENCE)
        kept: list[Detection] = []
        for one in sorted(seen, key=_doubt):
            if not any(same_hand(one, other) for other in kept):
                kept.append(one)
        return sorted(kept, key=lambda hand: hand.track_id)

    def _new(self, image: NDArray[np.uint8], palms: Sequence[Palm], followed: Sequence[Detection]) -> list[Detection]:
        """Return the hands at palms that are none of the followed hands'."""
        found = self._networks.hands_of_palms(image, palms_without_hand(palms, followed))
        kept: list[Detection] = []
        for one in self._seen_in([crop_hand(image, one) for one in found], MIN_NEW_PRESENCE):
            if not any(same_hand(one, other) for other in (*followed, *kept)):
                kept.append(one)
        return kept

    def _seen_in(self, crops: Sequence[HandCrop], min_presence: float) -> list[Detection]:
        """Return the hands that the landmark network sees in crops, in their order."""
        found = self._networks.landmarks.of_crops(crops)
        return [
            hand_in_crop(replace(crop, landmarks=one))
            for one, crop in zip(found, crops, strict=True)
            if one.presence >= min_presence
        ]


def _doubt(hand: Detection) -> tuple[bool, float]:
    """Return how little a followed hand is to be believed: it has changed sides, or is far from where it was."""
    assert hand.crop is not None
    expected = hand.crop.detection
    moved_px = np.linalg.norm(hand.keypoints_px - expected.keypoints_px, axis=1).mean()
    return hand.handedness != expected.handedness, float(moved_px)


def hand_in_crop(crop: HandCrop) -> Detection:
    """Return the hand that the landmark network sees in a crop, with the number that the crop's detection had."""
    found, side = crop.landmarks, crop.detection.handedness
    assert found is not None
    other: Handedness = "left" if side == "right" else "right"
    in_crop = (found.keypoints[:, :2].astype(np.float64) + 1) * crop.half_px
    return replace(
        crop.detection,
        handedness=side if found.right_hand >= 0.5 else other,
        score=max(found.right_hand, 1 - found.right_hand),
        keypoints_px=apply_affine(invert_affine(crop.crop_from_image), in_crop),
        crop=crop,
    )
