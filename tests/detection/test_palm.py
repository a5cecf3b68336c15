"""Palms: anchors, the network's answers, boxes of one palm, and squares of palms and hands."""

import math

import cv2
import numpy as np
import pytest

from handviz.core.geometry import apply_affine
from handviz.core.paths import CLIP_FILE
from handviz.core.records import FloatArray
from handviz.detection.palm import (
    ANCHOR_COUNT,
    MEDIAPIPE_TURN_RAD,
    NUMBERS,
    PALM_SIZE,
    HandSquare,
    Palm,
    PalmDetector,
    anchor_centres,
    palms_of,
    square_of_hand,
    square_of_palm,
    whole_square,
)
from handviz.sources.source import open_source
from tests.hands import made_up_detection

NEVER = -100.0
"""Logit of an anchor that sees no palm."""
WHOLE = HandSquare(np.array([96.0, 96.0]), float(PALM_SIZE), 0.0)


def answers(*palms: tuple[int, float, FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Return the network's numbers and logits for palms: anchor, logit, and points (9, 2) in pixels of its image.

    The first point is the box's middle, the second its size, the others are keypoints.
    """
    boxes, scores = np.zeros((ANCHOR_COUNT, NUMBERS)), np.full(ANCHOR_COUNT, NEVER)
    for anchor, logit, points in palms:
        offsets = points - anchor_centres()[anchor] * PALM_SIZE
        offsets[1] = points[1]
        boxes[anchor], scores[anchor] = offsets.ravel(), logit
    return boxes, scores


def palm_points(x: float, y: float, side: float = 40.0) -> FloatArray:
    """Return a palm's middle and size, and seven keypoints around the middle."""
    middle = np.array([x, y])
    keypoints = middle + side / 4 * np.stack([np.cos(np.arange(7)), np.sin(np.arange(7))], axis=1)
    return np.concatenate([[middle, [side, side]], keypoints])


def turned(points: FloatArray, angle: float, about: FloatArray) -> FloatArray:
    cosine, sine = math.cos(angle), math.sin(angle)
    return (points - about) @ np.array([[cosine, -sine], [sine, cosine]]).T + about


def test_anchors_lie_row_by_row_in_the_middle_of_their_cells() -> None:
    slow = [
        ((column + 0.5) / cells, (row + 0.5) / cells)
        for cells, count in ((24, 2), (12, 6))
        for row in range(cells)
        for column in range(cells)
        for _ in range(count)
    ]
    assert len(slow) == ANCHOR_COUNT
    np.testing.assert_allclose(anchor_centres(), slow)


@pytest.mark.parametrize("anchor", [0, 700, 1151, 1152, 2015])
def test_an_answer_at_any_anchor_is_decoded(anchor: int) -> None:
    points = palm_points(60, 80)
    (palm,) = palms_of(*answers((anchor, 2.0, points)), WHOLE, 0.5)
    np.testing.assert_allclose(palm.box, [40, 60, 80, 100])
    np.testing.assert_allclose(palm.keypoints_px, points[2:])
    assert palm.score == pytest.approx(1 / (1 + math.exp(-2)))


def test_a_palm_lies_in_the_pixels_of_the_image_behind_the_square() -> None:
    """The image is twice as wide as high: the square around it begins above its upper edge."""
    square = whole_square(np.zeros((192, 384, 3), np.uint8))
    points = palm_points(60, 80)
    (palm,) = palms_of(*answers((5, 2.0, points)), square, 0.5)
    np.testing.assert_allclose(palm.keypoints_px, points[2:] * 2 - [0, 96])
    np.testing.assert_allclose(palm.box, [80, 24, 160, 104])


def test_the_box_of_a_turned_square_stays_upright() -> None:
    quarter = HandSquare(np.array([96.0, 96.0]), float(PALM_SIZE), math.pi / 2)
    points = palm_points(60, 80)
    (palm,) = palms_of(*answers((5, 2.0, points)), quarter, 0.5)
    middle = turned(points[:1], math.pi / 2, np.array([96.0, 96.0]))[0]
    np.testing.assert_allclose(palm.box, [*(middle - 20), *(middle + 20)])
    np.testing.assert_allclose(palm.keypoints_px, turned(points[2:], math.pi / 2, np.array([96.0, 96.0])))


def test_palms_below_the_least_score_are_left_out() -> None:
    given = answers((5, math.log(0.7 / 0.3), palm_points(50, 50)), (9, math.log(0.2 / 0.8), palm_points(150, 150)))
    assert [round(palm.score, 6) for palm in palms_of(*given, WHOLE, 0.5)] == [0.7]
    assert [round(palm.score, 6) for palm in palms_of(*given, WHOLE, 0.1)] == [0.7, 0.2]
    assert palms_of(*given, WHOLE, 0.8) == []


def test_a_logit_beyond_all_bounds_is_a_score_of_one() -> None:
    (palm,) = palms_of(*answers((5, 1e6, palm_points(50, 50))), WHOLE, 0.5)
    assert palm.score == 1.0


def test_boxes_of_one_palm_are_averaged_by_their_scores() -> None:
    near = [(5, math.log(0.6 / 0.4), palm_points(50, 50)), (7, math.log(0.9 / 0.1), palm_points(56, 50))]
    (palm,) = palms_of(*answers(*near), WHOLE, 0.5)
    assert palm.score == pytest.approx(0.9)
    middle = (0.6 * 50 + 0.9 * 56) / 1.5
    np.testing.assert_allclose(palm.box, [middle - 20, 30, middle + 20, 70])
    np.testing.assert_allclose(palm.keypoints_px, (0.6 * near[0][2] + 0.9 * near[1][2])[2:] / 1.5)


@pytest.mark.parametrize(("shift", "count"), [(20.0, 1), (23.0, 2)])
def test_boxes_are_one_palm_from_an_overlap_of_three_tenths(shift: float, count: int) -> None:
    """Two squares of side 40 apart by s overlap by (40 - s) / (40 + s): 0.333 and 0.270."""
    given = answers((5, 3.0, palm_points(50, 50)), (7, 2.0, palm_points(50 + shift, 50)))
    assert len(palms_of(*given, WHOLE, 0.5)) == count


def test_only_the_overlap_with_the_best_box_counts() -> None:
    """A third box that overlaps the second, which belongs to the first, is a palm of its own."""
    row = [(5, 3.0, palm_points(50, 50)), (7, 2.0, palm_points(66, 50)), (9, 1.0, palm_points(82, 50))]
    both, third = palms_of(*answers(*row), WHOLE, 0.5)
    assert 30 < both.box[0] < 46
    assert third.box[0] == pytest.approx(62)


def test_without_a_palm_nothing_is_found() -> None:
    assert palms_of(*answers(), WHOLE, 0.5) == []


def upright_palm() -> Palm:
    keypoints = np.full((7, 2), 100.0)
    keypoints[0], keypoints[2] = (100, 120), (100, 80)
    return Palm(0.9, np.array([80.0, 80, 120, 120]), keypoints)


def test_the_square_of_an_upright_palm() -> None:
    """2.6 sides of the box, moved by half a side towards the fingers."""
    square = square_of_palm(upright_palm(), turn_rad=0.0)
    np.testing.assert_allclose(square.centre_px, [100, 80])
    assert (square.side_px, square.angle_rad) == (pytest.approx(104), pytest.approx(0))


@pytest.mark.parametrize("angle", [-2.0, 0.7, 3.0])
def test_the_square_of_a_palm_turns_with_it(angle: float) -> None:
    palm, middle = upright_palm(), np.array([100.0, 100.0])
    square = square_of_palm(Palm(0.9, palm.box, turned(palm.keypoints_px, angle, middle)), turn_rad=0.0)
    np.testing.assert_allclose(square.centre_px, turned(np.array([[100.0, 80.0]]), angle, middle)[0])
    assert square.angle_rad == pytest.approx(angle)


def test_mediapipe_turns_squares_of_palms_by_26_degrees() -> None:
    """Its target angle of 90 is read as radians."""
    assert pytest.approx((90 - math.pi / 2) % (2 * math.pi)) == MEDIAPIPE_TURN_RAD
    square = square_of_palm(upright_palm())
    assert math.degrees(square.angle_rad) == pytest.approx(26.62, abs=0.01)
    direction = np.array([math.sin(square.angle_rad), -math.cos(square.angle_rad)])
    np.testing.assert_allclose(square.centre_px, [100, 100] + 20 * direction)


def test_the_square_of_a_hand_is_that_of_its_palm_and_first_bones() -> None:
    hand = made_up_detection(size=100, x=100).keypoints_px
    square = square_of_hand(hand)
    knuckles = (hand[5] + hand[13] + 2 * hand[9]) / 4
    assert square.angle_rad == pytest.approx(math.atan2(knuckles[0] - hand[0, 0], hand[0, 1] - knuckles[1]))
    bent = hand.copy()
    bent[[4, 7, 8, 11, 12, 15, 16, 19, 20]] += 500.0
    again = square_of_hand(bent)
    np.testing.assert_allclose([*again.centre_px, again.side_px], [*square.centre_px, square.side_px])


@pytest.mark.parametrize("angle", [-2.0, 0.7, 3.0])
def test_the_square_of_a_hand_moves_turns_and_grows_with_it(angle: float) -> None:
    hand, origin = made_up_detection(size=100, x=100).keypoints_px, np.zeros(2)
    square, moved = square_of_hand(hand), square_of_hand(2 * turned(hand, angle, origin) + [30, -10])
    expected = 2 * turned(square.centre_px[None], angle, origin)[0] + [30, -10]
    np.testing.assert_allclose(moved.centre_px, expected)
    assert moved.side_px == pytest.approx(2 * square.side_px)
    difference = moved.angle_rad - square.angle_rad - angle
    assert math.cos(difference) == pytest.approx(1)


def test_corners_of_a_square_lie_where_it_was_turned_to() -> None:
    square = HandSquare(np.array([50.0, 60.0]), 20.0, math.pi / 2)
    corners = apply_affine(square.image_from_square(224), np.array([[0.0, 0.0], [224.0, 0.0], [112.0, 112.0]]))
    np.testing.assert_allclose(corners, [[60, 50], [60, 70], [50, 60]], atol=1e-9)


def test_what_is_cut_out_is_the_image_where_pixels_correspond() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_array_equal(whole_square(image).cut_out(image, 64), image)


def test_beside_the_image_its_border_is_repeated_or_black() -> None:
    """Landmarks are looked for with the border repeated, palms beside black, both as MediaPipe does."""
    image = np.full((40, 40, 3), 200, np.uint8)
    outside = HandSquare(np.array([0.0, 20.0]), 40.0, 0.0)
    assert (outside.cut_out(image, 40) == 200).all()
    black = outside.cut_out(image, 40, border=cv2.BORDER_CONSTANT)
    assert (black[:, :19] == 0).all()
    assert (black[:, 21:] == 200).all()


def test_images_of_any_shape_are_searched_at_once() -> None:
    source = open_source(str(CLIP_FILE))
    frame = source.read()
    source.close()
    assert frame is not None
    detector = PalmDetector(device="cpu")
    assert detector.find([], 0.5) == []
    empty = np.zeros((100, 30, 3), np.uint8)
    ((first, *_), none), ((alone, *_),) = detector.find([frame.image, empty], 0.5), detector.find([frame.image], 0.5)
    assert none == []
    np.testing.assert_allclose(first.keypoints_px, alone.keypoints_px, atol=0.05)
    height, width = frame.image.shape[:2]
    assert ((first.keypoints_px > 0) & (first.keypoints_px < [width, height])).all()
