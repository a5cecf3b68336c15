"""A made-up world of hands, and a detector that knows it: no network, and no pixels are looked at."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import apply_affine
from handviz.core.records import CROP_SIZE, CropLandmarks, Detection, FloatArray, Frame, HandCrop
from handviz.detection.detector import HandDetector, Sighting
from handviz.detection.landmark_network import MIDDLE_MAP_SHAPE, LandmarkNetwork
from handviz.detection.palm import HandSquare, Palm, PalmDetector
from handviz.detection.palm_search import PALM_LANDMARKS
from tests.hands import made_up_detection

SURE = 0.98
"""Presence of a hand that lies in a crop, and the probability of its side."""
HALF = CROP_SIZE / 2


def hand_at(x: float, side: str = "right", *, y: float = 240.0, score: float = 0.95) -> Detection:
    """Return a hand of 100 pixels about (x, y)."""
    hand = made_up_detection("right" if side == "right" else "left")
    middle_px = (hand.keypoints_px.min(axis=0) + hand.keypoints_px.max(axis=0)) / 2
    return replace(hand, keypoints_px=hand.keypoints_px + np.array([x, y]) - middle_px, score=score)


def palm_of(keypoints_px: FloatArray, score: float = 0.9) -> Palm:
    """Return the palm that belongs to a hand's keypoints (21, 2)."""
    points = keypoints_px[list(PALM_LANDMARKS)]
    return Palm(score, np.concatenate([points.min(axis=0), points.max(axis=0)]), points)


class KnownPalms(PalmDetector):
    """Finds the palm of every hand of the world; counts its calls."""

    def __init__(self, world: "HandWorld") -> None:
        self._world, self.calls = world, 0

    def find(self, images: Sequence[NDArray[np.uint8]], min_score: float) -> list[list[Palm]]:
        """Return the palms of all hands that are there, for each image."""
        self.calls += 1
        return [[palm_of(hand.keypoints_px) for hand in self._world.hands] for _ in images]


class KnownLandmarks(LandmarkNetwork):
    """Sees the hand of the world that is nearest to a crop's middle, if it lies in it; notes what it was shown."""

    def __init__(self, world: "HandWorld") -> None:
        self._world = world
        self.shown: list[HandCrop] = []

    def of_crops(self, crops: Sequence[HandCrop]) -> list[CropLandmarks]:
        """Return the world's hands in crops, or what ``misread`` makes of them."""
        self.shown.extend(crops)
        return [self._world.misread(crop, self._seen(crop)) for crop in crops]

    def _seen(self, crop: HandCrop) -> CropLandmarks:
        in_crops = [apply_affine(crop.crop_from_image, hand.keypoints_px) / HALF - 1 for hand in self._world.hands]
        away = [float(np.linalg.norm(points.mean(axis=0))) for points in in_crops]
        if not away or min(away) > 1:
            return landmarks(np.zeros((21, 2)), presence=0.02, right_hand=0.5)
        nearest = int(np.argmin(away))
        is_right = self._world.hands[nearest].handedness == crop.detection.handedness
        return landmarks(in_crops[nearest], presence=SURE, right_hand=SURE if is_right else 1 - SURE)


class HandWorld(HandDetector):
    """``hands`` are what there is; networks see them truly, but for what ``misread`` and ``misjudge`` change."""

    def __init__(self, *hands: Detection) -> None:
        self.hands = list(hands)
        self.palms: KnownPalms = KnownPalms(self)
        self.landmarks: KnownLandmarks = KnownLandmarks(self)
        self.squares: list[HandSquare] = []
        self.misread: Callable[[HandCrop, CropLandmarks], CropLandmarks] = lambda crop, seen: seen
        self.misjudge: Callable[[HandSquare, Sighting], Sighting] = lambda square, seen: seen

    def in_squares(self, rgb: NDArray[np.uint8], squares: Sequence[HandSquare]) -> list[Sighting]:
        """Return the hand that is nearest to each square's middle; presence 0 for none in it."""
        self.squares.extend(squares)
        return [self.misjudge(square, self._in_square(square)) for square in squares]

    def _in_square(self, square: HandSquare) -> Sighting:
        def away_px(hand: Detection) -> float:
            return float(np.linalg.norm(hand.keypoints_px.mean(axis=0) - square.centre_px))

        nearest = min(self.hands, key=away_px, default=None)
        if nearest is None or away_px(nearest) > square.side_px / 2:
            return Sighting(hand_at(float(square.centre_px[0])), 0.0)
        return Sighting(replace(nearest, score=SURE), SURE)


def landmarks(in_crop: FloatArray, *, presence: float, right_hand: float) -> CropLandmarks:
    """Return landmarks at points (21, 2) of a crop, flat."""
    return CropLandmarks(
        keypoints=np.concatenate([in_crop, np.zeros((21, 1))], axis=1).astype(np.float32),
        world_m=np.zeros((21, 3), np.float32),
        presence=presence,
        right_hand=right_hand,
        middle_map=np.zeros(MIDDLE_MAP_SHAPE, np.float32),
    )


_numbers = count()


def frame_of(width: int = 640, height: int = 480) -> Frame:
    """Return the next frame of a stream, black."""
    number = next(_numbers)
    return Frame(number, np.zeros((height, width, 3), np.uint8), number * 1000 / 30)
