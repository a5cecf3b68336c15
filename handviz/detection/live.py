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
from handviz.detection.detector import HandDetector, Sighting
from handviz.detection.palm import MIN_SIDE_PX, Palm, square_of_hand, square_of_palm
from handviz.detection.palm_search import PalmSearch, belongs_to, palms_without_hand
from handviz.detection.tracking import SAME_HAND_DISTANCE, HandTracker, same_hand

MIN_PRESENCE = 0.5
"""Below it the hand is lost."""
MIN_TRUST, LEAST_TRUST = 0.6, 0.5
"""A followed hand that is believed less than the first is looked at in MediaPipe's own square too, in every third
frame; below the second in each."""
FRAMES_BETWEEN_LOOKS = 3
SEARCHES_BETWEEN_CHECKS = 5
"""After so many searches the palms of all followed hands are compared."""
SAME_LANDMARKS = 0.06
"""Mean distance, in extents of the hand, up to which both are the same."""
MAX_GAP_MS = 300.0
"""After a longer time without a frame a hand may be anywhere: it is searched, and known by its side."""


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
        self._time_ms = 0.0
        self._found: tuple[Detection, ...] = ()
        self._searches = self._frames = 0

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
        time_ms = frame.captured_ms if frame.time_ms is None else frame.time_ms
        if self._shape and (self._shape != image.shape or abs(time_ms - self._time_ms) > MAX_GAP_MS):
            self._tracker.lose_places()
        self._shape, self._time_ms = image.shape, time_ms
        self._found = self._detected(image) if min(image.shape[:2]) >= MIN_SIDE_PX else ()
        if self._owns_tracker:
            self._found = self._tracker.update(self._found)
        return self._found

    def _detected(self, image: NDArray[np.uint8]) -> tuple[Detection, ...]:
        self._frames += 1
        expected = self._tracker.expected()[: self._max_hands]
        followed = self._followed(image, expected)
        palms = self._search.palms(
            image,
            followed=len(followed),
            wanted=self._max_hands,
            has_lost=len(followed) < len(expected),
            has_doubt=any(trust(one) < MIN_TRUST for one in followed),
            time_ms=self._time_ms,
        )
        return tuple(self._with_palms(image, palms, followed)[: self._max_hands])

    def _followed(self, image: NDArray[np.uint8], expected: Sequence[Detection]) -> list[Detection]:
        """Return the hands of the last frame that are still there."""
        seen = self._in_crops([crop_hand(image, one) for one in expected])
        doubtful = [row for row, one in enumerate(seen) if self._is_doubtful(one)]
        squares = [square_of_hand(expected[row].keypoints_px) for row in doubtful]
        opinions = self._networks.in_squares(image, squares)
        for row, hand in zip(doubtful, self._by_opinion(image, [seen[row] for row in doubtful], opinions), strict=True):
            if not any(are_one(hand, other) for index, other in enumerate(seen) if index != row):
                seen[row] = hand
        kept: list[Detection] = []
        for one in sorted(seen, key=_doubt):
            if presence(one) >= MIN_PRESENCE and not any(are_one(one, other) for other in kept):
                kept.append(one)
        return sorted(kept, key=lambda hand: hand.track_id)

    def _is_doubtful(self, hand: Detection) -> bool:
        """Return whether another look at a followed hand is worth its time."""
        if trust(hand) < LEAST_TRUST or not self._tracker.is_settled(hand.track_id):
            return True
        return trust(hand) < MIN_TRUST and self._frames % FRAMES_BETWEEN_LOOKS == 0

    def _by_opinion(
        self, image: NDArray[np.uint8], hands: Sequence[Detection], opinions: Sequence[Sighting]
    ) -> list[Detection]:
        """Return hands as squares show them that are believed more, with their side and score."""
        chosen = list(hands)
        turned = []
        for row, (hand, opinion) in enumerate(zip(hands, opinions, strict=True)):
            if opinion.presence < MIN_PRESENCE or opinion.trust <= trust(hand):
                continue
            chosen[row] = _of_both(hand, opinion.hand)
            if not _has_crop_of(hand, opinion.hand):
                turned.append(row)
        again = self._in_crops([_crop_by(image, hands[row], opinions[row].hand) for row in turned])
        for row, hand in zip(turned, again, strict=True):
            chosen[row] = _of_both(hand, opinions[row].hand)
        return chosen

    def _with_palms(
        self, image: NDArray[np.uint8], palms: Sequence[Palm], followed: Sequence[Detection]
    ) -> list[Detection]:
        """Return the followed hands, as their palms show them where that is believed more, and new ones.

        A crop that is made from wrong landmarks shows the hand turned, so that the next ones are wrong too.
        """
        hands = list(followed)
        looked = self._worth_a_look(palms, followed)
        squares = [square_of_palm(palm, turn_rad=0.0) for palm in looked]
        for palm, seen in zip(looked, self._networks.in_squares(image, squares), strict=True):
            if seen.presence < MIN_PRESENCE:
                continue
            same = _row_of(seen.hand, palm, hands)
            if same is not None:
                (hands[same],) = self._by_opinion(image, [hands[same]], [seen])
            elif len(hands) < self._max_hands:
                (found,) = self._in_crops([crop_hand(image, seen.hand)])
                found = replace(found, handedness=seen.hand.handedness, score=seen.hand.score)
                if presence(found) >= MIN_PRESENCE and _row_of(found, palm, hands) is None:
                    hands.append(found)
        return hands

    def _worth_a_look(self, palms: Sequence[Palm], followed: Sequence[Detection]) -> list[Palm]:
        """Return the palms of hands that are not followed or in doubt; now and then all."""
        self._searches += bool(palms)
        if self._searches % SEARCHES_BETWEEN_CHECKS == 0:
            return list(palms)
        return palms_without_hand(palms, [hand for hand in followed if trust(hand) >= MIN_TRUST])

    def _in_crops(self, crops: Sequence[HandCrop]) -> list[Detection]:
        """Return what the landmark network sees in crops, in their order."""
        found = self._networks.landmarks.of_crops(crops)
        return [hand_in_crop(replace(crop, landmarks=one)) for one, crop in zip(found, crops, strict=True)]


def _crop_by(image: NDArray[np.uint8], hand: Detection, opinion: Detection) -> HandCrop:
    """Return the crop of a followed hand where, and as, another look has seen it."""
    return crop_hand(image, replace(opinion, track_id=hand.track_id))


def _of_both(hand: Detection, opinion: Detection) -> Detection:
    """Return a followed hand with the side and score of another look that is believed more, between both in place.

    The mean of two looks is steadier than either, above all where they take turns from frame to frame.
    """
    keypoints_px = (hand.keypoints_px + opinion.keypoints_px) / 2
    return replace(hand, handedness=opinion.handedness, score=opinion.score, keypoints_px=keypoints_px)


def trust(hand: Detection) -> float:
    """Return the probability, 0 to 1, that the crop in which a hand was seen shows a hand of its side."""
    return presence(hand) * hand.score if hand.crop and hand.crop.detection.handedness == hand.handedness else 0.0


def _has_crop_of(hand: Detection, opinion: Detection) -> bool:
    """Return whether a hand's crop is of the side that another look sees, with the same landmarks."""
    extent_px = max(float(np.ptp(opinion.keypoints_px, axis=0).max()), 1e-6)
    is_side = hand.crop is not None and hand.crop.detection.handedness == opinion.handedness
    return is_side and _distance_px(hand, opinion) < SAME_LANDMARKS * extent_px


def _row_of(seen: Detection, palm: Palm, hands: Sequence[Detection]) -> int | None:
    """Return the row of the hand that was seen at a palm; None for another one.

    Boxes of clasped hands overlap as much as those of one hand, but each has its palm.
    """
    is_alone = belongs_to(palm, seen.keypoints_px) and not any(belongs_to(palm, hand.keypoints_px) for hand in hands)
    is_same = are_one if is_alone else same_hand
    rows = [row for row, hand in enumerate(hands) if is_same(seen, hand)]
    return min(rows, key=lambda row: _distance_px(seen, hands[row]), default=None)


def are_one(first: Detection, second: Detection) -> bool:
    """Return whether the keypoints of two are one hand's; boxes of clasped hands overlap as much as those of one."""
    extent_px = max(float(np.ptp(one.keypoints_px, axis=0).max()) for one in (first, second))
    return _distance_px(first, second) < SAME_HAND_DISTANCE * extent_px


def _distance_px(first: Detection, second: Detection) -> float:
    """Return the mean distance of the keypoints of two."""
    return float(np.linalg.norm(first.keypoints_px - second.keypoints_px, axis=1).mean())


def presence(hand: Detection) -> float:
    """Return the probability, 0 to 1, that the crop in which a hand was seen shows one."""
    return hand.crop.landmarks.presence if hand.crop is not None and hand.crop.landmarks is not None else 0.0


def _doubt(hand: Detection) -> tuple[bool, float]:
    """Return how little a followed hand is to be believed: it has changed sides, or is far from where it was."""
    assert hand.crop is not None
    expected = hand.crop.detection
    return hand.handedness != expected.handedness, _distance_px(hand, expected)


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
