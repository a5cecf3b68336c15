"""Palms and landmarks together, with networks that answer what a test wants."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from handviz.core.records import CropLandmarks
from handviz.detection.detector import HandDetector, Sighting, hand_in_square
from handviz.detection.landmark_network import MIDDLE_MAP_SHAPE, LandmarkNetwork
from handviz.detection.palm import HandSquare, Palm, PalmDetector, square_of_palm
from tests.hands import made_up_detection

IMAGE = np.zeros((240, 320, 3), np.uint8)


def palm_at(x: float, y: float = 120.0, score: float = 0.9) -> Palm:
    keypoints = np.tile([x, y], (7, 1))
    keypoints[0, 1] += 10
    return Palm(score, np.array([x - 10, y - 10, x + 10, y + 10]), keypoints)


def landmarks(*, presence: float = 0.9, right_hand: float = 0.8) -> CropLandmarks:
    """Return those of an upright hand that fills half of its crop."""
    points = np.column_stack([made_up_detection(size=1.0, x=0.0).keypoints_px - [0, 139.5], np.zeros(21)])
    return CropLandmarks(points, np.zeros((21, 3)), presence, right_hand, np.zeros(MIDDLE_MAP_SHAPE))


@dataclass
class FakePalms:
    """Finds the same palms in every image."""

    palms: Sequence[Palm]
    scores: list[float] = field(default_factory=list)

    def find(self, images: Sequence[NDArray[np.uint8]], min_score: float) -> list[list[Palm]]:
        self.scores.append(min_score)
        return [list(self.palms) for _ in images]


@dataclass
class FakeLandmarks:
    """Answers in turn."""

    answers: list[CropLandmarks]
    batches: list[int] = field(default_factory=list)

    def of_images(self, images: NDArray[np.uint8]) -> list[CropLandmarks]:
        self.batches.append(len(images))
        return self.answers[: len(images)]


def detector(palms: Sequence[Palm], answers: Sequence[CropLandmarks]) -> tuple[HandDetector, FakePalms, FakeLandmarks]:
    fake_palms, fake_landmarks = FakePalms(palms), FakeLandmarks(list(answers))
    return (
        HandDetector(cast(PalmDetector, fake_palms), cast(LandmarkNetwork, fake_landmarks)),
        fake_palms,
        fake_landmarks,
    )


def test_hands_of_all_palms_are_looked_at_in_one_batch() -> None:
    both, palms, network = detector([palm_at(80), palm_at(240, score=0.7)], [landmarks(), landmarks(right_hand=0.1)])
    found = both.detect_image(IMAGE, min_score=0.3)
    assert (palms.scores, network.batches) == ([0.3], [2])
    assert [(hand.handedness, hand.score) for hand in found] == [("left", 0.9), ("right", 0.8)]


def test_keypoints_lie_in_the_square_of_their_palm() -> None:
    both, _, _ = detector([palm_at(80)], [landmarks()])
    (hand,) = both.detect_image(IMAGE)
    assert (hand.keypoints_px == hand_in_square(landmarks(), square_of_palm(palm_at(80))).keypoints_px).all()


def test_a_palm_without_presence_is_no_hand() -> None:
    both, _, _ = detector([palm_at(80), palm_at(240)], [landmarks(presence=0.49), landmarks(presence=0.5)])
    (hand,) = both.detect_image(IMAGE)
    assert hand.keypoints_px[:, 0].mean() > 160


def test_of_more_palms_than_hands_the_first_are_looked_at() -> None:
    both, _, network = detector([palm_at(40), palm_at(160), palm_at(280)], [landmarks()] * 3)
    assert len(both.detect_image(IMAGE, max_hands=2)) == 2
    assert network.batches == [2]


def test_a_hand_that_two_palms_show_is_one() -> None:
    both, _, _ = detector([palm_at(80), palm_at(81)], [landmarks(), landmarks(right_hand=0.9)])
    (hand,) = both.detect_image(IMAGE)
    assert hand.score == pytest.approx(0.9)


@pytest.mark.parametrize("shape", [(7, 100, 3), (100, 7, 3)])
def test_an_image_below_eight_pixels_is_not_searched(shape: tuple[int, int, int]) -> None:
    both, palms, network = detector([palm_at(80)], [landmarks()])
    assert both.detect_image(np.zeros(shape, np.uint8)) == ()
    assert palms.scores == network.batches == []


def test_no_palm_no_hand() -> None:
    both, _, _ = detector([], [])
    assert both.detect_image(IMAGE) == ()


def test_the_middle_of_a_square_is_that_of_its_landmarks() -> None:
    points = np.zeros((21, 3))
    points[1, :2], points[2, :2] = (1, 0), (0, 1)
    found = CropLandmarks(points, points, 0.9, 0.8, np.zeros(MIDDLE_MAP_SHAPE))
    hand = hand_in_square(found, HandSquare(np.array([100.0, 50.0]), 60.0, math.pi / 2))
    np.testing.assert_allclose(hand.keypoints_px[:3], [[100, 50], [100, 80], [70, 50]], atol=1e-9)


def test_trust_is_presence_and_side() -> None:
    hand = hand_in_square(landmarks(right_hand=0.3), HandSquare(np.zeros(2), 10.0, 0.0))
    assert (hand.handedness, hand.score) == ("left", pytest.approx(0.7))
    assert Sighting(hand, 0.6).trust == pytest.approx(0.42)
