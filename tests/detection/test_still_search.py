"""A still image's search: other appearances, long images, lone and doubled hands, by finders that know colours only."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from handviz.core.records import Detection
from handviz.detection import still_search, still_views
from handviz.detection.still_search import MIN_VOTES, search_still
from handviz.detection.still_views import CLOSE_UP_SIDE_PX
from tests.hands import made_up_detection

RED, BLUE, GREY = (200, 60, 50), (40, 60, 200), (90, 90, 90)


def with_square(colour: tuple[int, int, int], *, size: tuple[int, int], centre: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a grey image of ``size`` (width, height) with a square of 60 pixels."""
    image = np.full((size[1], size[0], 3), GREY, np.uint8)
    x, y = centre
    image[y - 30 : y + 30, x - 30 : x + 30] = colour
    return image


class RedFinder:
    """Finds a hand where the image is red: in every view, or in the views with the numbers ``seen`` and in squares."""

    def __init__(self, *, seen: Sequence[int] | None = None, squares: bool = True) -> None:
        self.seen, self.squares, self.calls = seen, squares, 0

    def __call__(self, image: NDArray[np.uint8]) -> Sequence[Detection]:
        self.calls += 1
        rows, columns = np.nonzero(image[..., 0].astype(int) - image[..., 2] > 100)
        square = self.squares and image.shape[:2] == (CLOSE_UP_SIDE_PX, CLOSE_UP_SIDE_PX)
        if len(rows) < 400 or not (self.seen is None or self.calls - 1 in self.seen or square):
            return []
        made_up = made_up_detection().keypoints_px
        unit = (made_up - made_up.min(axis=0)) / np.ptp(made_up, axis=0)
        low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()])
        return [Detection("right", 0.97, low + unit * (high - low))]


def assert_at(hand: Detection, centre: tuple[int, int], within_px: float = 3.0) -> None:
    middle = (hand.keypoints_px.min(axis=0) + hand.keypoints_px.max(axis=0)) / 2
    np.testing.assert_allclose(middle, centre, atol=within_px)


def test_a_sound_image_is_searched_once() -> None:
    finder = RedFinder()
    image = with_square(RED, size=(300, 240), centre=(100, 120))
    (hand,) = search_still(image, finder, max_hands=2)
    assert_at(hand, (100, 120))
    assert finder.calls == len(list(still_views.views_of(image)))


def test_a_glove_is_found_in_the_colours_of_skin() -> None:
    """The finder sees nothing in grey and blue, and a hand in what is tinted."""

    def find(image: NDArray[np.uint8]) -> Sequence[Detection]:
        tinted = (image[..., 0].astype(int) - image[..., 2]).max() > 30
        return [Detection("right", 0.9, np.array(image.shape[1::-1]) / 2 + unit_hand)] if tinted else []

    unit_hand = made_up_detection().keypoints_px - (100, 110)
    image = with_square(BLUE, size=(300, 240), centre=(100, 120))
    image[:, 200:] = (160, 200, 170)
    hands = search_still(image, find, max_hands=1)
    assert [hand.handedness for hand in hands] == ["right"]
    assert search_still(image, lambda _: [], max_hands=2) == ()


@pytest.mark.parametrize(("size", "centre"), [((100, 2000), (50, 1260)), ((2000, 100), (1260, 50))])
def test_a_hand_in_a_long_image_is_found_with_few_views(size: tuple[int, int], centre: tuple[int, int]) -> None:
    finder = RedFinder()
    (hand,) = search_still(with_square(RED, size=size, centre=centre), finder, max_hands=2)
    assert_at(hand, centre)
    # 39 pieces in two glimpses each, and one of them in all of its views.
    assert finder.calls == 39 * 2 + 12


def test_a_lone_hand_needs_another_look() -> None:
    image = with_square(RED, size=(300, 240), centre=(100, 120))
    assert search_still(image, RedFinder(seen=[1], squares=False), max_hands=2) == ()
    (hand,) = search_still(image, RedFinder(seen=[1]), max_hands=2)
    assert_at(hand, (100, 120), within_px=10)


def test_an_unsure_lone_hand_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(still_search, "LONE_SCORE", 0.98)
    image = with_square(RED, size=(300, 240), centre=(100, 120))
    assert search_still(image, RedFinder(seen=[1]), max_hands=2) == ()


def _searched(counts: Sequence[tuple[Detection, int]]) -> tuple[Detection, ...]:
    """Search an image whose first so many views show each detection, wherever they look."""
    image = np.full((240, 300, 3), GREY, np.uint8)
    calls = iter(range(1000))

    def find(_: NDArray[np.uint8]) -> Sequence[Detection]:
        number = next(calls)
        views = list(still_views.views_of(image))
        if number >= len(views):
            return []
        affine = np.linalg.inv(np.vstack([views[number].image_from_view, [0, 0, 1]]))[:2]
        seen = [hand for hand, count in counts if number < count]
        return [
            Detection(hand.handedness, hand.score, hand.keypoints_px @ affine[:, :2].T + affine[:, 2]) for hand in seen
        ]

    return search_still(image, find, max_hands=5)


def test_a_second_hand_on_one_fist_is_outvoted_and_crossing_hands_are_not() -> None:
    """Seven tenths of the second hand's box are covered: too little to be the same hand for sure."""
    first = made_up_detection("right", size=100.0, x=60.0)
    width = float(np.ptp(first.keypoints_px[:, 0]))
    second = Detection("left", 0.9, first.keypoints_px + np.array([0.29 * width, 0.0]))
    assert [hand.handedness for hand in _searched([(first, 12), (second, MIN_VOTES - 1)])] == ["right"]
    assert [hand.handedness for hand in _searched([(first, 12), (second, MIN_VOTES)])] == ["right"]
    assert [hand.handedness for hand in _searched([(first, 12), (second, 6)])] == ["right", "left"]
