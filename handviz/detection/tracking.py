"""Matching a frame's hands with each other and with the hands of earlier frames: the only place that decides it."""

import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import numpy as np

from handviz.core.records import Detection, FloatArray, Handedness, HandednessSetting

Item = TypeVar("Item")
SAME_HAND_DISTANCE = 0.25
SAME_HAND_COVER = 0.8
SAME_HAND_UNION_FRACTION = 0.6
SCORE_DECAY = 0.9
"""Fraction of a hand's summed handedness that is kept for the next frame: a memory of about ten frames."""
SETTLED_SCORE = 1.5
"""Sum of a hand's handedness from which its side is sure: three or four frames in which it is clear."""
SAME_TRACK_DISTANCE = 0.5
"""Mean distance of the keypoints of one hand in two frames, as a fraction of its size; more is another hand."""
OTHER_SIDE_DISTANCE = 0.25
"""Added to that distance where the sides differ: of two hands that cross, each keeps the number of its side."""
VELOCITY_FRACTION = 0.5
"""Fraction of the last step in a hand's velocity."""
SHAPE_FRACTION = 0.5
"""Fraction of the last frame in the shape that a hand is expected with: a steady crop gives steady landmarks."""
EXPECTED_FRACTION = 0.5
"""Fraction of its velocity by which a hand is moved on: the crop of the next frame has room for the rest."""
MAX_FRAMES_UNSEEN = 5
"""A hand that was away for longer has no place any more, only a side."""


def without_duplicates(detections: Sequence[Detection]) -> tuple[Detection, ...]:
    """Keep the better of any two detections of the same hand; best score first."""
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda item: -item.score):
        if not any(same_hand(detection, other) for other in kept):
            kept.append(detection)
    return tuple(kept)


def groups_of(
    items: Iterable[Item], is_same: Callable[[Item, Item], bool], rank: Callable[[Item], float]
) -> list[list[Item]]:
    """Group what is the same by ``is_same``; the best of each group by ``rank`` comes first and represents it."""
    groups: list[list[Item]] = []
    for item in sorted(items, key=rank, reverse=True):
        for group in groups:
            if is_same(item, group[0]):
                group.append(item)
                break
        else:
            groups.append([item])
    return groups


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
    """Return the detections with the user's handedness of all hands, if it is set; sides of single hands stay."""
    if setting == "detected":
        return tuple(detections)
    return tuple(one if one.side_is_stated else replace(one, handedness=setting) for one in detections)


@dataclass(eq=False)
class _TrackedHand:
    """One hand over frames, and what the user stated of it."""

    track_id: int
    latest: Detection
    """As the detector found it."""
    side: Handedness
    """By the scores of all frames so far."""
    right_score: float = 0.0
    """Those scores, summed; positive means right, 0 that there are none yet."""
    shape_px: FloatArray | None = None
    """(21, 2) its keypoints about their centre, smoothed over frames"""
    frames_unseen: int = 0
    velocity_px: FloatArray = field(default_factory=lambda: np.zeros(2))
    """(2,) per frame, of the keypoints' centre"""
    shown: Handedness | None = None
    """The side that the last result gave it, or that the next one will."""
    stated: Handedness | None = None
    """The user's side."""
    is_hidden: bool = False

    @property
    def is_untouched(self) -> bool:
        """Whether the user has stated nothing of it."""
        return self.stated is None and not self.is_hidden

    @property
    def has_begun(self) -> bool:
        """Whether there was a frame since the beginning."""
        return self.right_score != 0

    def settled(self, detection: Detection, *, is_again: bool) -> Detection:
        """Return the frame's detection with number and side, as evidence unless the last frame is seen again."""
        if not (is_again and self.has_begun and self.frames_unseen == 0):
            self._add(detection)
        shape_px = detection.keypoints_px - detection.keypoints_px.mean(axis=0)
        if self.shape_px is not None and self.frames_unseen == 0:
            shape_px = self.shape_px + SHAPE_FRACTION * (shape_px - self.shape_px)
        self.shape_px = shape_px
        # Without its crop, which would keep the image's pixels and maps alive as long as the hand.
        self.latest, self.frames_unseen = replace(detection, crop=None), 0
        stated = self.stated is not None
        return replace(detection, handedness=self.stated or self.side, track_id=self.track_id, side_is_stated=stated)

    def _add(self, detection: Detection) -> None:
        """Add the next frame's detection, its side weighted by its score from 0.5 (a guess) to 1."""
        if self.has_begun:
            step_px = (detection.keypoints_px - self.latest.keypoints_px).mean(axis=0) / (self.frames_unseen + 1)
            self.velocity_px = self.velocity_px + VELOCITY_FRACTION * (step_px - self.velocity_px)
        sign = 1.0 if detection.handedness == "right" else -1.0
        self.right_score = SCORE_DECAY * self.right_score + sign * max(detection.score - 0.5, 0.01)
        self.side = "right" if self.right_score > 0 else "left"

    def begin_again(self) -> None:
        """Keep number and overrides; the next frame's side is not judged by earlier ones, nor its motion."""
        self.right_score, self.velocity_px = 0.0, np.zeros(2)

    def expected(self) -> Detection:
        """Return where the hand is expected in the next frame, with its side by the evidence so far."""
        centre_px = self.latest.keypoints_px.mean(axis=0)
        centre_px = centre_px + EXPECTED_FRACTION * self.velocity_px * (self.frames_unseen + 1)
        shape_px = self.latest.keypoints_px - self.latest.keypoints_px.mean(axis=0)
        keypoints_px = centre_px + (shape_px if self.shape_px is None else self.shape_px)
        return replace(
            self.latest,
            handedness=self.side,
            keypoints_px=keypoints_px,
            track_id=self.track_id,
            crop=None,
        )

    def distance(self, detection: Detection, *, any_side: bool) -> float:
        """Return the distance to where the hand is expected, with that of the side; infinite for another hand."""
        is_other_side = detection.handedness != self.side
        if is_other_side and not any_side:
            return np.inf
        expected_px = self.latest.keypoints_px + self.velocity_px * (self.frames_unseen + 1)
        distance = _mean_distance(detection, expected_px)
        if min(distance, _mean_distance(detection, self.latest.keypoints_px)) > SAME_TRACK_DISTANCE:
            return np.inf
        return distance + OTHER_SIDE_DISTANCE * is_other_side

    def returned_distance(self, detection: Detection) -> float:
        """Return the distance of a hand that may be this one after an absence; infinite for the other side.

        A hidden hand, which may be no hand, does not come back somewhere else after a while.
        """
        if detection.handedness != self.side or (self.is_hidden and self.frames_unseen > MAX_FRAMES_UNSEEN):
            return np.inf
        return _mean_distance(detection, self.latest.keypoints_px)


def _mean_distance(detection: Detection, keypoints_px: FloatArray) -> float:
    """Return the mean distance of a detection's keypoints to others (21, 2) as a fraction of the hand's size."""
    distances_px = np.linalg.norm(detection.keypoints_px - keypoints_px, axis=1)
    return float(distances_px.mean()) / max(_extent_px(detection), 1e-6)


class HandTracker:
    """Numbers of hands over frames, from 1, their sides, and what the user states of single ones; for any thread.

    In a stream a hand keeps its number while it moves, also where its side is mistaken for some frames; a hand that
    was away gets the number of its side back. In images that do not follow each other hands are numbered in their
    order; the same image again keeps numbers and overrides, another one starts anew.
    """

    def __init__(self, *, video: bool) -> None:
        self._video = video
        self._lock = threading.Lock()
        self._hands: list[_TrackedHand] = []
        self._frame_key: Hashable = None
        self._hidden = 0
        self._most_at_once: dict[Handedness, int] = {"right": 1, "left": 1}

    @property
    def hidden(self) -> int:
        """How many hands of the last frame are hidden."""
        return self._hidden

    def reset(self, *, video: bool, same_hands: bool = False) -> None:
        """Start again; ``same_hands``: elsewhere in the same source, so that hands keep numbers and overrides."""
        with self._lock:
            keeps = same_hands and video == self._video
            self._most_at_once = self._most_at_once if keeps else {"right": 1, "left": 1}
            self._video, self._frame_key = video, None
            self._hands = self._hands if keeps else []
            for hand in self._hands:
                hand.begin_again()

    def expected(self) -> list[Detection]:
        """Return where the hands of the last frame are expected in the next one, each with its number and side."""
        with self._lock:
            return [hand.expected() for hand in self._hands if hand.has_begun and hand.frames_unseen == 0]

    def is_settled(self, track_id: int) -> bool:
        """Return whether the side of a hand is sure by the frames so far."""
        with self._lock:
            return any(abs(hand.right_score) >= SETTLED_SCORE for hand in self._numbered(track_id))

    def lose_places(self) -> None:
        """Take no hand to be where it was: the next frame is of another size, or follows a cut."""
        with self._lock:
            for hand in self._hands:
                hand.frames_unseen, hand.velocity_px = MAX_FRAMES_UNSEEN + 1, np.zeros(2)

    def update(
        self, detections: Sequence[Detection], *, frame_key: Hashable = None, is_again: bool = False
    ) -> tuple[Detection, ...]:
        """Return the next frame's detections with numbers and sides, without hidden ones, in the same order.

        Detections that have a number already are of that hand.

        ``frame_key`` tells images that do not follow each other apart; None: another one than the last. ``is_again``:
        it is the last frame of the stream once more, as with other settings while paused: no side changes by it.
        """
        with self._lock:
            if not self._video and (frame_key is None or frame_key != self._frame_key):
                self._hands = []
            self._frame_key = frame_key
            hands = self._hands_of(detections)
            for hand in self._hands:
                hand.frames_unseen += hand not in hands
            is_again = is_again and self._video
            found = [hand.settled(one, is_again=is_again) for hand, one in zip(hands, detections, strict=True)]
            self._hidden = sum(hand.is_hidden for hand in hands)
            self._forget_spare()
            return tuple(one for one, hand in zip(found, hands, strict=True) if not hand.is_hidden)

    def note_sides(self, detections: Iterable[Detection]) -> None:
        """Note the sides that the frame's hands were given in the end, which ``flip`` turns."""
        sides = {detection.track_id: detection.handedness for detection in detections}
        with self._lock:
            for hand in self._hands:
                hand.shown = sides.get(hand.track_id, hand.shown)

    def flip(self, track_id: int) -> None:
        """Give a hand the other side than it was shown with, from the next frame on."""
        with self._lock:
            for hand in self._numbered(track_id):
                hand.shown = "left" if (hand.shown or hand.side) == "right" else "right"
                # In the same image the other side of the stated one is that which was found without it.
                hand.stated = hand.shown if self._video or hand.stated is None else None

    def hide(self, track_id: int) -> None:
        """Leave a hand out from the next frame on."""
        with self._lock:
            for hand in self._numbered(track_id):
                hand.is_hidden = True

    def show_all(self) -> None:
        """Show the hidden hands again from the next frame on."""
        with self._lock:
            for hand in self._hands:
                hand.is_hidden = False

    def _numbered(self, track_id: int) -> list[_TrackedHand]:
        return [hand for hand in self._hands if hand.track_id == track_id]

    def _hands_of(self, detections: Sequence[Detection]) -> list[_TrackedHand]:
        """Return the tracked hand of every detection: by place, then by side, else a new one."""
        numbered = {hand.track_id: hand for hand in self._hands}
        found = {row: numbered[one.track_id] for row, one in enumerate(detections) if one.track_id in numbered}
        recent = [hand for hand in self._hands if hand.frames_unseen <= MAX_FRAMES_UNSEEN]
        # Elsewhere in a clip another hand may be at the place: there the side comes first.
        _match_nearest(found, detections, recent, lambda hand, one: hand.distance(one, any_side=hand.has_begun))
        if self._video:
            for hand in _match_nearest(found, detections, self._hands, _TrackedHand.returned_distance):
                hand.begin_again()
        _match_nearest(found, detections, recent, partial(_TrackedHand.distance, any_side=True))
        # Images are judged alone: another one of the same name must not change a side.
        for hand in () if self._video else found.values():
            hand.begin_again()
        return [found.get(row) or self._new(one) for row, one in enumerate(detections)]

    def _forget_spare(self) -> None:
        """Forget hands that are away, longest first, beyond as many of their side as were ever seen at once.

        A hand that begins with the wrong side gets a number of its own; with its true side it takes another's place.
        Hands that the user has stated something of stay.
        """
        for side, most in self._most_at_once.items():
            known = [hand for hand in self._hands if hand.side == side]
            here = sum(hand.frames_unseen == 0 for hand in known)
            self._most_at_once[side] = most = max(most, here)
            away = [hand for hand in known if hand.frames_unseen > MAX_FRAMES_UNSEEN and hand.is_untouched]
            away.sort(key=lambda hand: -hand.frames_unseen)
            spare = away[: max(len(known) - most, 0)]
            self._hands = [hand for hand in self._hands if hand not in spare]

    def _new(self, detection: Detection) -> _TrackedHand:
        taken = {hand.track_id for hand in self._hands}
        number = next(number for number in range(1, len(taken) + 2) if number not in taken)
        self._hands.append(_TrackedHand(number, detection, detection.handedness))
        return self._hands[-1]


def _match_nearest(
    found: dict[int, _TrackedHand],
    detections: Sequence[Detection],
    hands: Sequence[_TrackedHand],
    distance: Callable[[_TrackedHand, Detection], float],
) -> list[_TrackedHand]:
    """Add the nearest pairs to ``found``, by the detection's index, none of both twice; return the added hands."""
    pairs = [(distance(hand, one), row, hand) for row, one in enumerate(detections) for hand in hands]
    added = []
    for apart, row, hand in sorted(pairs, key=lambda pair: pair[:2]):
        if apart < np.inf and row not in found and hand not in found.values():
            found[row] = hand
            added.append(hand)
    return added
