"""Hands of a still picture: several views of it are searched, and what at least two of them show is believed.

MediaPipe's palm detector looks at the picture reduced to 192 x 192: it misses hands that fill the picture,
hands that are small in it, and hands behind objects. A margin helps the first, tiles the second, a low threshold
the third; the vote of the views takes back the false hands that a low threshold brings.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.detect.duplicates import SAME_HAND_COVER, box_cover, same_hand
from handviz.geometry import apply_affine
from handviz.records import Detection, FloatArray

Finder = Callable[[NDArray[np.uint8]], Sequence[Detection]]
STILL_PALM_SCORE = 0.1
MARGINS = (0.0, 0.15, 0.4)
TILES = ((2, 0.6), (3, 0.42))
LEAST_TILED_SIDE_PX = 320
LEAST_VOTES = 2
OUTVOTING_RATIO = 1.5


@dataclass(frozen=True, eq=False)
class View:
    """A part of a picture, perhaps turned or with a margin."""

    picture: NDArray[np.uint8]
    """(h, w, 3) RGB."""
    image_from_view: FloatArray
    """(2, 3) affine, pixels."""


def search_still(picture: NDArray[np.uint8], find: Finder, *, max_hands: int) -> tuple[Detection, ...]:
    """Hands of an RGB picture (H, W, 3) that at least two views agree on, best supported first."""
    found: list[Detection] = []
    for view in views_of(picture):
        for seen in find(view.picture):
            keypoints_px = apply_affine(view.image_from_view, seen.keypoints_px)
            found.append(Detection(seen.handedness, seen.score, keypoints_px))
    groups = sorted(groups_of(found), key=_support, reverse=True)
    kept: list[tuple[float, Detection]] = []
    for group in groups:
        hand = agreement(group)
        support = _support(group)
        if len(group) >= LEAST_VOTES and not any(_outvoted(hand, support, *other) for other in kept):
            kept.append((support, hand))
    return tuple(hand for _, hand in kept[:max_hands])


def _outvoted(hand: Detection, support: float, other_support: float, other: Detection) -> bool:
    """Whether ``other``, at least as well supported, is the same hand or a likelier one around it."""
    covered = box_cover(hand.keypoints_px, other.keypoints_px) > SAME_HAND_COVER
    return same_hand(hand, other) or (covered and other_support >= OUTVOTING_RATIO * support)


def _support(group: Sequence[Detection]) -> float:
    return sum(item.score**2 for item in group)


def groups_of(found: Sequence[Detection]) -> list[list[Detection]]:
    """Detections of the same hand together; the best of each group comes first and stands for it."""
    groups: list[list[Detection]] = []
    for detection in sorted(found, key=lambda item: -item.score):
        for group in groups:
            if same_hand(detection, group[0]):
                group.append(detection)
                break
        else:
            groups.append([detection])
    return groups


def agreement(group: Sequence[Detection]) -> Detection:
    """The handedness with the larger sum of scores, and the median keypoints of those who say so."""
    total = sum(item.score for item in group)
    right = sum(item.score for item in group if item.handedness == "right")
    handedness = "right" if right >= total - right else "left"
    agreeing = [item for item in group if item.handedness == handedness]
    return Detection(
        handedness="right" if handedness == "right" else "left",
        score=max(right, total - right) / len(group),
        keypoints_px=np.median([item.keypoints_px for item in agreeing], axis=0),
    )


def views_of(picture: NDArray[np.uint8]) -> Iterator[View]:
    """The picture with three margins, each also upside down, and overlapping tiles if it is not small."""
    for margin in MARGINS:
        view = _with_margin(picture, round(margin * max(picture.shape[:2])))
        yield view
        yield _upside_down(view)
    if min(picture.shape[:2]) >= LEAST_TILED_SIDE_PX:
        for count, part in TILES:
            yield from _tiles(picture, count, part)


def _with_margin(picture: NDArray[np.uint8], margin_px: int) -> View:
    sides = (margin_px,) * 4
    padded = np.asarray(cv2.copyMakeBorder(picture, *sides, cv2.BORDER_CONSTANT), dtype=np.uint8)
    return View(padded, np.array([[1.0, 0.0, -margin_px], [0.0, 1.0, -margin_px]]))


def _upside_down(view: View) -> View:
    height, width = view.picture.shape[:2]
    x, y = view.image_from_view[:, 2]
    return View(view.picture[::-1, ::-1], np.array([[-1.0, 0.0, x + width], [0.0, -1.0, y + height]]))


def _tiles(picture: NDArray[np.uint8], count: int, part: float) -> Iterator[View]:
    """``count`` x ``count`` squares of ``part`` of the longer side, as far as the picture reaches."""
    height, width = picture.shape[:2]
    side = round(part * max(height, width))
    tall, wide = min(side, height), min(side, width)
    for y in np.unique(np.linspace(0, height - tall, count).astype(int)):
        for x in np.unique(np.linspace(0, width - wide, count).astype(int)):
            yield View(picture[y : y + tall, x : x + wide], np.array([[1.0, 0.0, x], [0.0, 1.0, y]]))
