"""Hands of a still image: several views of it are searched, and hands found in at least two of them are accepted.

MediaPipe's palm detector gets the image reduced to 192 x 192: it misses hands that fill the image, small hands, and
hands behind objects. A margin helps the first, tiles the second, a low threshold the third; the views' vote removes
the false hands of a low threshold (``still_views.py``). What it misses for noise, gloves or faded colours is searched
in other appearances (``still_appearances.py``).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import apply_affine
from handviz.core.records import Detection
from handviz.detection.still_appearances import appearances_of
from handviz.detection.still_views import View, close_ups, glimpses_of, nearest_centre, pieces_of, views_of_piece, whole
from handviz.detection.tracking import SAME_HAND_COVER, box_cover, groups_of, same_hand

Finder = Callable[[NDArray[np.uint8]], Sequence[Detection]]
STILL_PALM_SCORE = 0.1
MIN_VOTES = 2
OUTVOTING = ((SAME_HAND_COVER, 1.5), (0.68, 6.0))
"""A hand whose box is covered by more than the first number is outvoted by one with so many times its support."""
LONE_SCORE, MAX_LONE = 0.95, 3
"""A hand seen in one view alone is looked at again from this score on, and so many of them."""


def search_still(image: NDArray[np.uint8], find: Finder, *, max_hands: int) -> tuple[Detection, ...]:
    """Return the hands of an RGB image (H, W, 3) that at least two views agree on, best supported first.

    A noisy image is smoothed before. Only where no hand is found, those that one view is sure of are looked at again,
    and then the image is searched smoother or in the colours of skin.
    """
    start = whole(image)
    for appearance in appearances_of(start.image):
        view = View(appearance, start.image_from_view)
        groups = _groups(_votes(view, find))
        found = _agreed(groups) or _agreed([_confirmed(group, view, find) for group in _lone(groups)])
        if found:
            return tuple(found[:max_hands])
    return ()


def _votes(view: View, find: Finder) -> list[Detection]:
    """Return what is found in all views, in the image's pixels; of a long one in the pieces that show any hand."""
    pieces = pieces_of(view)
    if len(pieces) > 1:
        pieces = _with_hands(pieces, find)
    return [hand for piece in pieces for part in views_of_piece(piece) for hand in _found(part, find)]


def _with_hands(pieces: Sequence[View], find: Finder) -> list[View]:
    """Return for every hand that a glimpse shows the piece that has it nearest to its centre."""
    seen = [hand for piece in pieces for glimpse in glimpses_of(piece) for hand in _found(glimpse, find)]
    chosen = {nearest_centre(pieces, group[0].keypoints_px.mean(axis=0)) for group in _groups(seen)}
    return [pieces[index] for index in sorted(chosen)]


def _found(view: View, find: Finder) -> list[Detection]:
    return [
        Detection(hand.handedness, hand.score, apply_affine(view.image_from_view, hand.keypoints_px))
        for hand in find(view.image)
    ]


def _lone(groups: Sequence[list[Detection]]) -> list[list[Detection]]:
    """Return the groups of one detection that its view is sure of, best first."""
    return [group for group in groups if len(group) == 1 and group[0].score > LONE_SCORE][:MAX_LONE]


def _confirmed(group: Sequence[Detection], view: View, find: Finder) -> list[Detection]:
    """Return the group with the detections of the same hand in squares around it."""
    seen_again = [hand for square in close_ups(view, group[0]) for hand in _found(square, find)]
    return [*group, *(hand for hand in seen_again if same_hand(hand, group[0]))]


def _agreed(groups: Sequence[list[Detection]]) -> list[Detection]:
    """Return the hands that at least two views agree on, best supported first."""
    kept: list[Detection] = []
    for group in sorted(groups, key=_support, reverse=True):
        hand = agreement(group)
        if len(group) >= MIN_VOTES and not any(_outvoted(hand, other) for other in kept):
            kept.append(hand)
    return kept


def _outvoted(hand: Detection, other: Detection) -> bool:
    """Return whether ``other``, at least as well supported, is the same hand or a likelier one around it."""
    covered = box_cover(hand.keypoints_px, other.keypoints_px)
    ratio = (other.support or 0.0) / max(hand.support or 0.0, 1e-9)
    return same_hand(hand, other) or any(covered > cover and ratio >= least for cover, least in OUTVOTING)


def _support(group: Sequence[Detection]) -> float:
    return sum(item.score**2 for item in group)


def _groups(found: Sequence[Detection]) -> list[list[Detection]]:
    return groups_of(found, same_hand, lambda hand: hand.score)


def agreement(group: Sequence[Detection]) -> Detection:
    """Return the handedness with the larger sum of scores, and the median keypoints of its detections."""
    total = sum(item.score for item in group)
    right = sum(item.score for item in group if item.handedness == "right")
    handedness = "right" if right >= total - right else "left"
    agreeing = [item for item in group if item.handedness == handedness]
    return Detection(
        handedness="right" if handedness == "right" else "left",
        score=max(right, total - right) / len(group),
        keypoints_px=np.median([item.keypoints_px for item in agreeing], axis=0),
        support=_support(group),
    )
