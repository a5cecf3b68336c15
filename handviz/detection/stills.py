"""Hands of a still image: many squares of it are searched for palms, and the landmark network judges what they show.

MediaPipe's palm detector sees 192 x 192 pixels: it misses hands that fill the image, small hands, turned hands, and
hands behind objects. Margins help the first, tiles the second, turns the third, a low threshold the last. Palms of all
squares are gathered where they agree, and the landmark network then looks at each place, first in the palm's square,
then in the square of its own landmarks: a true hand stays where it is, what is none fades (docs/log/experiments.md).
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import apply_affine
from handviz.core.records import CROP_SIZE, CropLandmarks, Detection, FloatArray, Frame, Handedness
from handviz.detection.detector import HandDetector, hand_in_square
from handviz.detection.landmark_network import batch_of
from handviz.detection.palm import PALM_SIZE, HandSquare, Palm, same_palm, square_of_hand, square_of_palm
from handviz.detection.palm_search import belongs_to
from handviz.detection.still_appearances import appearances_of, skin_tinted
from handviz.detection.still_squares import (
    SQUARES_OF_ONE,
    Pyramid,
    close_up_squares,
    glimpse_squares,
    is_long,
    other_squares,
    pieces_of_shape,
    quick_squares,
    tinted_squares,
)
from handviz.detection.still_views import whole
from handviz.detection.tracking import box_cover, groups_of, same_hand

MIN_SIDE_PX = 8
PALM_SCORE = 0.1
BATCH = 16
"""Squares at once: more need memory and are no faster."""
MAX_PLACES = 64
"""So many places with palms are looked at by the landmark network, best first."""
FINGERS_OF_OTHER = (0.7, 15.0)
"""A hand with this part of its finger keypoints in the box of one with so many times its support has its fingers."""
FIRST_FINGER_KEYPOINT = 5
STRONG_SUM, LEAST_SUM = 4.0, 0.2
"""Sums of the scores of palms at one place: looked at first, and at all."""
CERTAIN, CERTAIN_SUPPORT = 0.95, 4.0
"""Least presence and support of a hand for which weak palms at its own count without being looked at."""
LEAST_PRESENCE = 0.05
"""At the first look; below it there is no second one."""
SURE_PALMS, SURE_PRESENCE, SURE_MOTION = 1.8, 0.9, 0.1
"""Of the only hand of the first squares, which then are enough: palms, presence, and motion between both looks."""
QUICK_WEIGHT = 5.0
"""Squares of a small image for each of the first ones: without them, a hand's support is what it would be with all."""
SURE_EXTENT = 0.4
"""And its least size, as a fraction of the image's longer side."""
ACCEPTED = ((0.6, 0.9, 0.9), (4.0, 0.7, 0.75), (8.0, 0.5, 0.0))
"""Support, presence and score of the side: a hand needs all three of one of these. What is no hand has no side."""
SETTLED = ((2.4, 0.7, 0.8),)
"""The same where presence and side are the mean of several looks. Without the side a mouth and a knee were hands."""
OUTVOTING = ((0.8, 1.5), (0.68, 6.0), (0.5, 15.0))
"""A hand whose box is covered by more than the first number is outvoted by one with so many times its support."""
DOUBTFUL_PRESENCE, MAX_DOUBTFUL = 0.6, 6
"""Least presence of a hand of little support that is looked at again, and so many of them."""
LOOKS = ((0.0, 1.0), (-0.3, 1.0), (0.3, 1.0), (0.0, 0.8), (0.0, 1.25))
"""Turns in radians and sides, per the hand's own square, in which the landmark network looks at a doubtful hand."""
SUPPORT_OF_LOOKS, LOOKED_PRESENCE = 2.4, 0.35
"""Least support and presence of a doubtful hand that is worth them."""
SURE_SIDE = 0.9
"""Below this score of the side many crops decide it."""
SIDE_CROPS = ((-0.5, 1.0), (-0.25, 1.0), (0.0, 1.0), (0.25, 1.0), (0.5, 1.0), (0.0, 0.8), (0.0, 0.9), (0.0, 1.2))
"""Their turns in radians and sides, from and per the hand's own square."""
CROPS_PART = 2 / 3
"""Of the crops in the side, besides that of all palms."""
SAME_PLACE = 0.25
"""Mean distance of the keypoints of one hand from two palms, as a fraction of its size."""


@dataclass(frozen=True, eq=False)
class Place:
    """Palms that squares agree on, and what the landmark network says there."""

    palms: tuple[Palm, ...]
    """Best first."""
    hand: Detection
    presence: float
    motion: float
    """Mean distance of the keypoints between both looks, as a fraction of the hand's size."""
    weight: float = 1.0
    """How many squares each palm stands for."""
    is_settled: bool = False
    """Whether presence and side are those of many looks, which ask for less."""

    @property
    def support(self) -> float:
        """Sum of the palms' scores, weighted."""
        return self.weight * sum(palm.score for palm in self.palms)

    @property
    def is_accepted(self) -> bool:
        """Whether support, presence and side are those of a hand."""
        found = (self.support, self.presence, self.hand.score)
        return any(all(map(operator.ge, found, least)) for least in (SETTLED if self.is_settled else ACCEPTED))

    @property
    def extent_px(self) -> float:
        """Longer side of the box of its keypoints."""
        return _extent_px(self.hand.keypoints_px)


class StillDetector:
    """Finds the hands of still images by MediaPipe's two networks; for any thread."""

    def __init__(self, networks: HandDetector) -> None:
        """Use the networks of another detector, which stay loaded for as long as this one lives."""
        self._networks = networks

    def detect(self, frame: Frame) -> tuple[Detection, ...]:
        """Return all hands of a still image, as ``detectors.Detector`` says."""
        return self.search(frame.image)

    def close(self) -> None:
        """Do nothing: the networks are freed with the detector."""

    def search(self, image: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """Return the hands of an RGB image (H, W, 3), best supported first; () for images below 8 pixels.

        ``support`` of each is the sum of the scores of the palms that squares show there.
        """
        if min(image.shape[:2]) < MIN_SIDE_PX:
            return ()
        view = whole(image)
        for number, appearance in enumerate(appearances_of(view.image)):
            places = self._search(Pyramid(appearance), is_first=number == 0)
            if places:
                break
        return tuple(
            Detection(
                place.hand.handedness,
                place.hand.score,
                apply_affine(view.image_from_view, place.hand.keypoints_px),
                support=place.support,
            )
            for place in places
        )

    def _search(self, pyramid: Pyramid, *, is_first: bool) -> list[Place]:
        """Return the hands of one appearance of an image, best supported first; the first in most detail."""
        shape = pyramid.image.shape
        if is_long(shape):
            palms, pieces = [], self._pieces_with_hands(pyramid)
        else:
            pieces = pieces_of_shape(shape)
            palms = self._palms(pyramid, quick_squares(pieces[0][0], float(max(shape))))
            places = self._places(pyramid, palms)
            if _is_enough(places, float(max(shape))):
                return [replace(place, weight=QUICK_WEIGHT) for place in _agreed(places)]
        for middle_px, part in pieces:
            quick = quick_squares(middle_px, float(max(part))) if is_long(shape) else []
            palms += self._palms(pyramid, quick + other_squares(middle_px, part, all_tiles=is_first))
        if is_first and pieces:
            skin = Pyramid(skin_tinted(pyramid.image))
            palms += self._palms(skin, [square for piece in pieces for square in tinted_squares(*piece)])
        palms *= SQUARES_OF_ONE
        found = _agreed(self._with_close_ups(pyramid, self._places(pyramid, palms)))
        return [place if place.hand.score >= SURE_SIDE else self._side_settled(pyramid, place) for place in found]

    def _pieces_with_hands(self, pyramid: Pyramid) -> list[tuple[FloatArray, tuple[int, int]]]:
        """Return for every palm of a long image the piece that has it nearest to its middle."""
        pieces = pieces_of_shape(pyramid.image.shape)
        squares = [square for piece in pieces for square in glimpse_squares(*piece)]
        middles = np.array([middle for middle, _ in pieces])
        seen = [group[0].keypoints_px.mean(axis=0) for group in _groups(self._palms(pyramid, squares))]
        chosen = {int(np.argmin(np.linalg.norm(middles - point, axis=1))) for point in seen[:MAX_PLACES]}
        return [pieces[index] for index in sorted(chosen)]

    def _palms(self, pyramid: Pyramid, squares: Sequence[HandSquare]) -> list[Palm]:
        """Return the palms of all squares, in the image's pixels."""
        found = []
        for start in range(0, len(squares), BATCH):
            part = squares[start : start + BATCH]
            cut = [pyramid.cut_out(square, PALM_SIZE, border=cv2.BORDER_CONSTANT) for square in part]
            found += [palm for palms in self._networks.palms.find_in_squares(cut, part, PALM_SCORE) for palm in palms]
        return found

    def _places(self, pyramid: Pyramid, palms: Sequence[Palm]) -> list[Place]:
        """Return what the landmark network says where palms agree, most palms first.

        The strong groups are looked at first; weaker ones on a hand that is certain then are votes for it.
        """
        groups = sorted(_groups(palms), key=_sum_of, reverse=True)[:MAX_PLACES]
        groups = [group for group in groups if _sum_of(group) >= LEAST_SUM]
        strong = [group for group in groups if _sum_of(group) >= STRONG_SUM]
        places = self._places_of(pyramid, strong)
        certain = [place for place in places if place.presence >= CERTAIN and place.support >= CERTAIN_SUPPORT]
        others = []
        for group in groups[len(strong) :]:
            owner = next((place for place in certain if belongs_to(group[0], place.hand.keypoints_px)), None)
            if owner is None:
                others.append(group)
            else:
                places.append(replace(owner, palms=tuple(group)))
        return places + self._places_of(pyramid, others)

    def _places_of(self, pyramid: Pyramid, groups: Sequence[list[Palm]]) -> list[Place]:
        """Return what the landmark network says at groups of palms, where it may be a hand."""
        first = self._looks(pyramid, [square_of_palm(group[0], turn_rad=0.0) for group in groups])
        likely = [index for index, (_, presence) in enumerate(first) if presence >= LEAST_PRESENCE]
        second = self._looks(pyramid, [square_of_hand(first[index][0].keypoints_px) for index in likely])
        return [
            Place(tuple(groups[index]), hand, presence, _motion(first[index][0].keypoints_px, hand.keypoints_px))
            for index, (hand, presence) in zip(likely, second, strict=True)
        ]

    def _looks(
        self, pyramid: Pyramid, squares: Sequence[HandSquare], *, mirrored: bool = False
    ) -> list[tuple[Detection, float]]:
        """Return the hand and its presence in every square; ``mirrored``: as seen in a mirror, which is undone."""
        found = []
        for start in range(0, len(squares), BATCH):
            part = squares[start : start + BATCH]
            cut = batch_of([pyramid.cut_out(square, CROP_SIZE, border=cv2.BORDER_REPLICATE) for square in part])
            seen = self._networks.landmarks.of_images(np.ascontiguousarray(cut[..., ::-1]) if mirrored else cut)
            found += [
                (hand_in_square(_mirrored(one) if mirrored else one, square), one.presence)
                for one, square in zip(seen, part, strict=True)
            ]
        return found

    def _with_close_ups(self, pyramid: Pyramid, places: Sequence[Place]) -> list[Place]:
        """Add what further looks at the doubtful hands show, and squares around those that stay doubtful."""
        merged = _merged(places)
        looked = {
            id(place): self._looked_again(pyramid, place) if place.support >= SUPPORT_OF_LOOKS else place
            for place in _doubtful(merged)
        }
        doubtful = [place for place in looked.values() if not place.is_accepted and place.presence >= DOUBTFUL_PRESENCE]
        squares = [
            square
            for place in doubtful[:MAX_DOUBTFUL]
            for square in close_up_squares(square_of_hand(place.hand.keypoints_px), place.extent_px)
        ]
        settled = {key: place for key, place in looked.items() if place.is_accepted}
        places = [settled.get(id(place), place) for place in merged]
        return [*places, *self._places(pyramid, self._palms(pyramid, squares))]

    def _looked_again(self, pyramid: Pyramid, place: Place) -> Place:
        """Return the place as the better half of several turned and scaled squares shows it."""
        square = square_of_hand(place.hand.keypoints_px)
        squares = [HandSquare(square.centre_px, square.side_px * side, square.angle_rad + turn) for turn, side in LOOKS]
        looks = sorted(self._looks(pyramid, squares), key=lambda look: -look[1])[: len(LOOKS) // 2 + 1]
        presence = float(np.mean([presence for _, presence in looks]))
        right = float(np.mean([_right_of(hand) for hand, _ in looks]))
        hand = Detection("right" if right > 0.5 else "left", max(right, 1 - right), looks[0][0].keypoints_px)
        return replace(place, hand=hand, presence=presence, is_settled=True)

    def _side_settled(self, pyramid: Pyramid, place: Place) -> Place:
        """Return the place with the side that most of many crops see, mirrored ones too, and their keypoints."""
        square = square_of_hand(place.hand.keypoints_px)
        squares = [
            HandSquare(square.centre_px, square.side_px * side, square.angle_rad + turn) for turn, side in SIDE_CROPS
        ]
        looks = self._looks(pyramid, squares) + self._looks(pyramid, squares, mirrored=True)
        hands = [hand for hand, _ in looks]
        crops = float(np.mean([_right_of(hand) for hand in hands]))
        mean = CROPS_PART * crops + (1 - CROPS_PART) * _right_of(place.hand)
        side: Handedness = "right" if mean > 0.5 else "left"
        agreeing = [hand.keypoints_px for hand in hands if hand.handedness == side] or [place.hand.keypoints_px]
        return replace(place, hand=Detection(side, max(mean, 1 - mean), np.median(agreeing, axis=0)))


def _doubtful(places: Sequence[Place]) -> list[Place]:
    """Return the hands that may be some and are not accepted, nor part of one that is."""
    accepted = [place for place in places if place.is_accepted]
    return [
        place
        for place in places
        if not place.is_accepted
        and place.presence >= LOOKED_PRESENCE
        and not any(_is_outvoted(place, other) for other in accepted)
    ]


def _is_enough(places: Sequence[Place], longer_px: float) -> bool:
    """Return whether the first squares show one large and certain hand and nothing else."""
    merged = _merged(places)
    if len(merged) != 1:
        return False
    (place,) = merged
    sure = place.support >= SURE_PALMS and place.presence >= SURE_PRESENCE and place.motion <= SURE_MOTION
    return sure and place.extent_px >= SURE_EXTENT * longer_px


def _agreed(places: Sequence[Place]) -> list[Place]:
    """Return the accepted hands, each once, best supported first.

    Of one that was also seen with the other side, the score of its side is that of both together.
    """
    kept: list[Place] = []
    for place in _merged(places):
        if not place.is_accepted:
            continue
        rivals = [index for index, other in enumerate(kept) if _is_outvoted(place, other)]
        if not rivals:
            kept.append(place)
        for index in rivals:
            if place.hand.handedness != kept[index].hand.handedness and same_hand(place.hand, kept[index].hand):
                kept[index] = replace(kept[index], hand=_with_side_of_both(kept[index], place))
    return kept


def _with_side_of_both(place: Place, other: Place) -> Detection:
    """Return the hand of a place with the mean side of both, by their support."""
    weights = np.array([place.support * place.presence, other.support * other.presence])
    right = float(weights @ [_right_of(place.hand), _right_of(other.hand)] / weights.sum())
    return replace(place.hand, handedness="right" if right > 0.5 else "left", score=max(right, 1 - right))


def _groups(palms: Sequence[Palm]) -> list[list[Palm]]:
    return groups_of(palms, same_palm, lambda palm: palm.score)


def _sum_of(palms: Sequence[Palm]) -> float:
    return sum(palm.score for palm in palms)


def _merged(places: Sequence[Place]) -> list[Place]:
    """Return places with those together that turned out to be the same hand, best supported first."""
    groups = groups_of(places, _is_same_place, lambda place: place.presence)
    return sorted((_together(group) for group in groups), key=lambda one: -one.support)


def _is_same_place(place: Place, other: Place) -> bool:
    distance_px = np.linalg.norm(place.hand.keypoints_px - other.hand.keypoints_px, axis=1).mean()
    return bool(distance_px < SAME_PLACE * max(place.extent_px, other.extent_px))


def _together(group: Sequence[Place]) -> Place:
    """Return one place of the same hand's: keypoints of the most present, and the side that most palms speak for."""
    best = group[0]
    weights = np.array([place.support * place.presence for place in group])
    right = np.array([_right_of(place.hand) for place in group])
    mean = float(weights @ right / weights.sum())
    hand = Detection("right" if mean > 0.5 else "left", max(mean, 1 - mean), best.hand.keypoints_px)
    palms = sorted((palm for place in group for palm in place.palms), key=lambda palm: -palm.score)
    return Place(tuple(palms), hand, best.presence, best.motion, is_settled=any(place.is_settled for place in group))


def _is_outvoted(place: Place, other: Place) -> bool:
    """Return whether ``other``, at least as well supported, is the same hand or a likelier one around it."""
    covered = box_cover(place.hand.keypoints_px, other.hand.keypoints_px)
    ratio = other.support / max(place.support, 1e-9)
    covers = any(covered > cover and ratio >= least for cover, least in OUTVOTING)
    part, least = FINGERS_OF_OTHER
    return same_hand(place.hand, other.hand) or covers or (ratio >= least and _fingers_inside(place, other) >= part)


def _fingers_inside(place: Place, other: Place) -> float:
    """Return which part of the finger keypoints, thumb left out, lies in the box of the other hand."""
    fingers, box = place.hand.keypoints_px[FIRST_FINGER_KEYPOINT:], other.hand.keypoints_px
    return float(((fingers > box.min(axis=0)) & (fingers < box.max(axis=0))).all(axis=1).mean())


def _mirrored(found: CropLandmarks) -> CropLandmarks:
    """Return what the network would say of the mirrored crop's other side."""
    keypoints = found.keypoints * np.array([-1, 1, 1], found.keypoints.dtype)
    return replace(found, keypoints=keypoints, right_hand=1 - found.right_hand)


def _right_of(hand: Detection) -> float:
    return hand.score if hand.handedness == "right" else 1 - hand.score


def _motion(before_px: FloatArray, after_px: FloatArray) -> float:
    return float(np.linalg.norm(after_px - before_px, axis=1).mean()) / _extent_px(after_px)


def _extent_px(points_px: FloatArray) -> float:
    return max(float(np.ptp(points_px, axis=0).max()), 1e-6)
