"""Labels of hands and their places, without OpenGL."""

from dataclasses import replace

import numpy as np
import pytest

from handviz.rendering.camera import Size
from handviz.rendering.hand_label import HandLabel, LabelPlacer, hand_label, hand_number, hand_text
from tests.hands import made_up_hand

VIEW = (640, 480)
Rectangle = tuple[int, int, int, int]


def label(number: int, left: float, top: float, *, side: float = 120.0, size: Size = (90, 26)) -> HandLabel:
    """Return a label of a hand whose points fill a square."""
    across, down = np.meshgrid(np.linspace(left, left + side, 12), np.linspace(top, top + side, 12))
    points = np.column_stack([across.ravel(), down.ravel()])
    return HandLabel(number, np.zeros((size[1], size[0], 4), np.uint8), points)


def overlap(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_a_label_says_number_side_and_score() -> None:
    hand = replace(made_up_hand(handedness="left"), detection_score=0.934, track_id=0)
    assert hand_text(hand, 0) == "1 · left · 0.93"
    assert hand_text(replace(hand, track_id=7), 0) == "7 · left · 0.93"
    assert [hand_number(one, index) for index, one in enumerate((hand, hand))] == [1, 2]


def test_small_views_get_the_number_alone_and_the_picked_hand_another_colour() -> None:
    def made(size: Size, *, is_picked: bool = False) -> HandLabel:
        return hand_label(made_up_hand(), 0, np.zeros((1, 2)), size, 1.0, is_picked=is_picked)

    assert made((160, 120)).size[0] < made(VIEW).size[0] / 2
    assert made(VIEW).image is made(VIEW).image, "nothing to upload again"
    assert made(VIEW).image[1, 1, :3].max() < 60
    assert made(VIEW, is_picked=True).image[1, 1, :3].max() > 200


@pytest.mark.parametrize(
    "hands",
    [
        [(250.0, 200.0)],
        [(250.0, 0.0)],
        [(-60.0, 400.0)],
        [(200.0, 180.0), (260.0, 200.0)],
        [(200.0, 180.0), (240.0, 180.0), (220.0, 200.0)],
        [(0.0, 0.0), (0.0, 0.0), (0.0, 0.0)],
    ],
)
@pytest.mark.parametrize("taken", [(), ((500, 250, 630, 470),), ((0, 0, 300, 50), (250, 150, 400, 190))])
def test_labels_cover_neither_each_other_nor_what_is_there_and_stay_near(
    hands: list[tuple[float, float]], taken: tuple[Rectangle, ...]
) -> None:
    labels = [label(number, *place) for number, place in enumerate(hands, 1)]
    found = LabelPlacer().place(labels, VIEW, taken, 1.0)
    kept = [one for one in found if one is not None]
    assert len(kept) == len(labels)
    for index, (one, own) in enumerate(zip(kept, labels, strict=True)):
        assert one[0] >= 0
        assert one[1] >= 0
        assert one[2] <= VIEW[0]
        assert one[3] <= VIEW[1]
        assert not any(overlap(one, other) for other in (*taken, *kept[:index]))
        nearest = np.linalg.norm(own.points_px - [(one[0] + one[2]) / 2, (one[1] + one[3]) / 2], axis=1).min()
        assert nearest < 160


def test_a_label_stays_on_its_side_while_hands_move() -> None:
    placer = LabelPlacer()
    (before,) = placer.place([label(1, 250.0, 20.0)], VIEW, (), 1.0)
    assert before is not None
    assert before[1] > 140, "there is no room above"
    for step in range(1, 40):
        (after,) = placer.place([label(1, 250.0, 20.0 + step)], VIEW, (), 1.0)
        assert after == (before[0], before[1] + step, before[2], before[3] + step)


def test_without_a_free_place_there_is_no_label() -> None:
    assert LabelPlacer().place([label(1, 10.0, 10.0)], VIEW, [(0, 0, *VIEW)], 1.0) == [None]
    assert LabelPlacer().place([label(1, 0.0, 0.0)], (60, 20), [], 1.0) == [None], "larger than the view"
    assert LabelPlacer().place([], VIEW, [], 1.0) == []


def test_the_view_is_searched_when_all_around_the_hand_is_taken() -> None:
    taken = [(0, 0, 640, 400)]
    (found,) = LabelPlacer().place([label(1, 250.0, 100.0)], VIEW, taken, 1.0)
    assert found is not None
    assert found[1] >= 400
