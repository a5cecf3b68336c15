"""The search of still images: squares, places where palms agree, sides, and the bundled clip by the real networks."""

import math
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from handviz.core.geometry import apply_affine
from handviz.core.paths import CLIP_FILE
from handviz.core.records import Detection
from handviz.detection import still_squares, stills
from handviz.detection.detector import HandDetector
from handviz.detection.palm import MIDDLE_KNUCKLE, PALM_SIZE, WRIST, HandSquare, Palm
from handviz.detection.palm_search import PALM_LANDMARKS
from handviz.detection.still_squares import Pyramid
from handviz.detection.stills import Place, StillDetector
from handviz.sources.source import open_source
from tests.hands import made_up_detection


@pytest.fixture(scope="module")
def detector() -> Iterator[StillDetector]:
    opened = StillDetector(HandDetector())
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def clip_image() -> NDArray[np.uint8]:
    source = open_source(str(CLIP_FILE))
    source.seek(120)
    frame = source.read()
    source.close()
    assert frame is not None
    return frame.image


def palm_at(x: float, y: float, score: float, *, side: float = 40.0) -> Palm:
    box = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2])
    return Palm(score, box, np.array([x, y]) + np.linspace(-side / 2, side / 2, 7)[:, None])


def place_of(hand: Detection, *scores: float, presence: float = 0.95) -> Place:
    x, y = hand.keypoints_px.mean(axis=0)
    return Place(tuple(palm_at(x, y, score) for score in scores), hand, presence, 0.02)


# Squares.


def test_a_square_of_a_pyramid_is_the_image_itself() -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    cut = Pyramid(image).cut_out(HandSquare(np.array([32.0, 32.0]), 64.0, 0.0), 64, border=cv2.BORDER_CONSTANT)
    np.testing.assert_array_equal(cut, image)


@pytest.mark.parametrize("shape", [(700, 900), (333, 501), (900, 100)])
def test_a_large_square_is_averaged_and_stays_in_place(shape: tuple[int, int]) -> None:
    """A bright disc lies where the square's affine says, whatever the level it is taken from."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    centre = np.array([shape[1] * 0.6, shape[0] * 0.4])
    image = np.repeat(((np.hypot(x - centre[0], y - centre[1]) < 30) * 255).astype(np.uint8)[..., None], 3, axis=2)
    square = HandSquare(centre + np.array([20, -10]), 600.0, 0.7)
    cut = Pyramid(image).cut_out(square, 100, border=cv2.BORDER_CONSTANT)[..., 0].astype(float)
    rows, columns = np.mgrid[:100, :100] + 0.5
    found = np.array([(columns * cut).sum(), (rows * cut).sum()]) / cut.sum()
    np.testing.assert_allclose(apply_affine(square.image_from_square(100), found), centre, atol=1.5)
    # Every other pixel is black: looked up without averaging, squares would be black, or bright, at random.
    striped = np.zeros((400, 400, 3), np.uint8)
    striped[:, ::2] = 200
    grey = Pyramid(striped).cut_out(HandSquare(np.array([200.0, 200.0]), 400.0, 0.0), 100, border=cv2.BORDER_CONSTANT)
    np.testing.assert_allclose(grey, 100, atol=2)


@pytest.mark.parametrize("shape", [(480, 640), (1000, 700)])
def test_tiles_cover_the_image_in_several_turns(shape: tuple[int, int]) -> None:
    middle = np.array(shape[::-1]) / 2
    squares = still_squares.other_squares(middle, shape)
    corners = np.array([[0.0, 0.0], [shape[1], 0], [0, shape[0]], [shape[1], shape[0]], list(middle)])
    for corner in corners:
        turns = {
            round(math.degrees(square.angle_rad)) % 180
            for square in squares
            if square.side_px < max(shape) and (np.abs(_in_square(square, corner)) <= 0.5 + 1e-9).all()
        }
        assert len(turns) >= 2
    assert len(squares) < 55


def _in_square(square: HandSquare, point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a point in sides of a square, from its centre."""
    affine = square.image_from_square(1)
    return np.linalg.solve(affine[:, :2], point - affine[:, 2]) - 0.5


def test_a_small_image_has_no_tiles() -> None:
    squares = still_squares.other_squares(np.array([128.0, 128.0]), (256, 256))
    assert len(squares) == 2 * len(still_squares.WHOLE) - len(still_squares.QUICK)


@pytest.mark.parametrize("shape", [(3000, 200), (200, 3000), (30_000, 20)])
def test_pieces_of_a_long_image_cover_it_and_overlap(shape: tuple[int, int]) -> None:
    pieces = still_squares.pieces_of_shape(shape)
    along = int(shape[0] > shape[1])
    starts = [middle[along] - max(part) / 2 for middle, part in pieces]
    ends = [middle[along] + max(part) / 2 for middle, part in pieces]
    assert starts[0] == pytest.approx(0)
    assert ends[-1] == pytest.approx(max(shape))
    assert all(end > start for end, start in zip(ends[:-1], starts[1:], strict=True))
    assert len(still_squares.pieces_of_shape((300, 900))) == 1


# Places.


def test_palms_of_one_place_are_one_group_and_the_best_leads_it() -> None:
    groups = stills._groups([palm_at(50, 50, 0.3), palm_at(54, 48, 0.9), palm_at(90, 50, 0.5)])
    assert [[palm.score for palm in group] for group in groups] == [[0.9, 0.3], [0.5]]


@pytest.mark.parametrize(
    ("scores", "presence", "side", "is_accepted"),
    [
        ((0.3, 0.4), 0.95, 0.95, True),
        ((0.3,), 0.95, 0.95, False),
        ((0.3, 0.4), 0.95, 0.8, False),
        ((0.9,) * 5, 0.75, 0.8, True),
        ((0.9,) * 5, 0.75, 0.6, False),
        ((0.9,) * 5, 0.6, 0.6, False),
        ((0.9,) * 10, 0.6, 0.6, True),
        ((0.9,) * 40, 0.4, 0.99, False),
    ],
)
def test_little_support_asks_for_presence_and_a_side(
    scores: tuple[float, ...], presence: float, side: float, is_accepted: bool
) -> None:
    hand = Detection("right", side, made_up_detection().keypoints_px)
    assert place_of(hand, *scores, presence=presence).is_accepted == is_accepted


@pytest.mark.parametrize(
    ("scores", "presence", "side", "is_accepted"),
    [
        ((0.9,) * 3, 0.75, 0.85, True),
        ((0.9,) * 2, 0.75, 0.85, False),
        ((0.9,) * 3, 0.65, 0.85, False),
        ((0.9,) * 8, 0.75, 0.75, False),
    ],
)
def test_several_looks_let_less_support_do_and_ask_for_a_side(
    scores: tuple[float, ...], presence: float, side: float, is_accepted: bool
) -> None:
    hand = Detection("right", side, made_up_detection().keypoints_px)
    place = replace(place_of(hand, *scores, presence=presence), is_settled=True)
    assert place.is_accepted == is_accepted


def test_a_weak_palm_of_a_certain_hand_is_a_vote_without_a_look(
    detector: StillDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = made_up_detection()
    points = hand.keypoints_px[list(PALM_LANDMARKS)]
    low, high = points.min(axis=0), points.max(axis=0)
    palms = [Palm(0.9, np.concatenate([low, high]), points) for _ in range(6)]
    shift = np.array([0.3 * (high - low).max(), 0.0])
    palms.append(Palm(0.5, np.concatenate([low + shift, high + shift]), points + shift))
    elsewhere = shift * 20
    palms.append(Palm(0.4, np.concatenate([low + elsewhere, high + elsewhere]), points + elsewhere))
    looked: list[int] = []

    def look(_: Pyramid, squares: list[HandSquare], **__: bool) -> list[tuple[Detection, float]]:
        looked.append(len(squares))
        return [(hand, 0.99) for _ in squares]

    monkeypatch.setattr(detector, "_looks", look)
    places = detector._places(Pyramid(np.zeros((64, 64, 3), np.uint8)), palms)
    assert looked == [1, 1, 1, 1]
    assert sorted(place.support for place in places) == pytest.approx([0.4, 0.5, 5.4])


def test_a_doubtful_hand_is_judged_by_the_better_half_of_several_looks(
    detector: StillDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = Detection("right", 0.95, made_up_detection().keypoints_px)
    presences = [0.1, 0.9, 0.75, 0.6, 0.2]

    def look(_: Pyramid, squares: list[HandSquare], **__: bool) -> list[tuple[Detection, float]]:
        return [(hand, presence) for presence in presences[: len(squares)]]

    monkeypatch.setattr(detector, "_looks", look)
    pyramid = Pyramid(np.zeros((64, 64, 3), np.uint8))
    monkeypatch.setattr(detector, "_palms", lambda *_: [])
    (place,) = detector._with_close_ups(pyramid, [place_of(hand, *[0.9] * 4, presence=0.5)])
    assert place.is_accepted
    assert place.presence == pytest.approx(0.75)
    presences[1] = 0.65
    (place,) = detector._with_close_ups(pyramid, [place_of(hand, *[0.9] * 4, presence=0.5)])
    assert not place.is_accepted
    assert place.presence == 0.5


def test_the_same_hand_from_two_palms_is_one_and_its_support_adds_up() -> None:
    hand = Detection("right", 0.95, made_up_detection().keypoints_px)
    moved = Detection("right", 0.95, hand.keypoints_px + 2.0)
    (found,) = stills._agreed([place_of(hand, 0.9, 0.9), place_of(moved, 0.5, presence=0.99)])
    assert found.support == pytest.approx(2.3)
    np.testing.assert_array_equal(found.hand.keypoints_px, moved.keypoints_px)


def test_a_hand_seen_with_both_sides_is_one_hand_of_doubtful_side() -> None:
    right = Detection("right", 1.0, made_up_detection("right").keypoints_px)
    low, high = right.keypoints_px.min(axis=0), right.keypoints_px.max(axis=0)
    mirrored = right.keypoints_px.copy()
    mirrored[:, 0] = low[0] + high[0] - mirrored[:, 0]
    left = Detection("left", 1.0, mirrored)
    (found,) = stills._agreed([place_of(right, 0.9, 0.9, 0.9), place_of(left, 0.9, 0.9)])
    assert found.hand.handedness == "right"
    assert found.hand.score == pytest.approx(0.6)


def test_a_weak_hand_inside_a_strong_one_is_outvoted() -> None:
    strong = Detection("right", 0.95, made_up_detection(size=100.0).keypoints_px)
    corner = strong.keypoints_px.min(axis=0)
    small = (strong.keypoints_px - corner) * 0.3 + corner
    weak = Detection("right", 0.95, small)
    beside = Detection("right", 0.95, small + np.array([300.0, 0.0]))
    found = stills._agreed([place_of(strong, *[0.9] * 4), place_of(weak, 0.9), place_of(beside, 0.9)])
    assert [place.support for place in found] == pytest.approx([3.6, 0.9])


def test_a_weak_hand_with_the_fingers_of_a_strong_one_is_outvoted() -> None:
    """A palm below a fist, and the fist's fingers; of hands with equal support none is."""
    fist = Detection("right", 0.95, made_up_detection().keypoints_px)
    hybrid = fist.keypoints_px.copy()
    low, high = fist.keypoints_px.min(axis=0), fist.keypoints_px.max(axis=0)
    hybrid[5:] = low + (hybrid[5:] - low) * 0.5 + (high - low) * [0.2, 0.45]
    hybrid[:5] = high + (high - low) * np.linspace(0.2, 1.2, 5)[:, None]
    below = Detection("right", 0.95, hybrid)
    assert len(stills._agreed([place_of(fist, *[0.9] * 20), place_of(below, 0.9)])) == 1
    assert len(stills._agreed([place_of(fist, *[0.9] * 4), place_of(below, *[0.9] * 3)])) == 2


def test_the_square_of_an_upright_hand_is_upright_and_around_it() -> None:
    keypoints = made_up_detection().keypoints_px
    for turn in (0.0, 0.8, -2.5):
        cosine, sine = math.cos(turn), math.sin(turn)
        turned = keypoints @ np.array([[cosine, sine], [-sine, cosine]])
        square, upright = stills.square_of_hand(turned), stills.square_of_hand(keypoints)
        assert math.remainder(square.angle_rad - upright.angle_rad - turn, 2 * math.pi) == pytest.approx(0, abs=1e-9)
        assert square.side_px == pytest.approx(upright.side_px)
        assert (np.abs([_in_square(square, point) for point in turned]) < 0.5).all()


# The networks.


@pytest.mark.parametrize("turn", [0.0, 0.4, math.pi / 2])
def test_palms_of_a_turned_square_lie_where_the_image_has_them(
    detector: StillDetector, clip_image: NDArray[np.uint8], turn: float
) -> None:
    pyramid, middle = Pyramid(clip_image), np.array(clip_image.shape[1::-1]) / 2
    found = []
    for angle in (0.0, turn):
        square = HandSquare(middle, 800.0, angle)
        cut = pyramid.cut_out(square, PALM_SIZE, border=cv2.BORDER_CONSTANT)
        found.append(detector._networks.palms.find_in_squares([cut], [square], 0.5)[0][0])
    side = found[0].box[2] - found[0].box[0]
    # Of the fist's other knuckles the network is not sure.
    known = [WRIST, MIDDLE_KNUCKLE]
    np.testing.assert_allclose(found[1].keypoints_px[known], found[0].keypoints_px[known], atol=0.2 * side)


@pytest.mark.parametrize("angle", [0.0, math.pi / 4, math.pi / 2])
def test_a_square_upside_down_shows_the_same_palm(
    detector: StillDetector, clip_image: NDArray[np.uint8], angle: float
) -> None:
    """Squares are searched in one of two opposite turns and count as both."""
    pyramid, middle = Pyramid(clip_image), np.array(clip_image.shape[1::-1]) / 2
    upright, turned = (
        detector._palms(pyramid, [HandSquare(middle, 640.0, angle + turn)])[0] for turn in (0.0, math.pi)
    )
    assert turned.score == pytest.approx(upright.score, abs=0.15)
    side = upright.box[2] - upright.box[0]
    np.testing.assert_allclose(turned.box, upright.box, atol=0.2 * side)


def test_a_hand_that_fills_the_image_needs_the_first_squares_only(
    detector: StillDetector, clip_image: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []
    find = detector._networks.palms.find_in_squares

    def counted(cut: list[NDArray[np.uint8]], squares: list[HandSquare], min_score: float) -> list[list[Palm]]:
        searched.append(len(squares))
        return find(cut, squares, min_score)

    monkeypatch.setattr(detector._networks.palms, "find_in_squares", counted)
    (hand,) = detector.search(clip_image)
    assert hand.handedness == "right"
    low, high = (hand.keypoints_px.min(axis=0) - 60).astype(int), (hand.keypoints_px.max(axis=0) + 60).astype(int)
    close = np.ascontiguousarray(clip_image[max(low[1], 0) : high[1], max(low[0], 0) : high[0]])
    searched.clear()
    (again,) = detector.search(close)
    assert searched == [len(still_squares.QUICK)]
    expected = hand.keypoints_px - np.maximum(low, 0)
    extent = np.ptp(expected, axis=0).max()
    assert np.linalg.norm(again.keypoints_px - expected, axis=1).mean() < 0.05 * extent
    assert again.support is not None
    assert hand.support is not None
    assert again.support > stills.QUICK_WEIGHT


def test_the_other_side_is_found_in_the_mirrored_image(detector: StillDetector, clip_image: NDArray[np.uint8]) -> None:
    (hand,) = detector.search(np.ascontiguousarray(clip_image[:, ::-1]))
    assert hand.handedness == "left"


def test_tiny_and_empty_images_have_no_hands(detector: StillDetector) -> None:
    for size in ((7, 300), (300, 7), (8, 8), (64, 64), (500, 400)):
        assert detector.search(np.full((*size, 3), 128, np.uint8)) == ()
