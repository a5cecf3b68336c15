"""Position of the legend, away from hands."""

import moderngl
import numpy as np
import pytest

from handviz.rendering.legend import CORNERS, STAY_S, LegendPart, LegendPass, LegendRoom, corner_rectangle, free_corner
from handviz.rendering.offscreen import MultisampleTarget

BOX = (10.0, 20.0, 210.0, 120.0)
SIZE = (40, 30)


def centre(corner: tuple[bool, bool]) -> list[float]:
    left, top, right, bottom = corner_rectangle(corner, BOX, SIZE)
    return [(left + right) / 2, (top + bottom) / 2]


def test_rectangles_lie_inside_the_box() -> None:
    assert corner_rectangle((True, True), BOX, SIZE) == (170, 90, 210, 120)
    assert corner_rectangle((False, False), BOX, SIZE) == (10, 20, 50, 50)


def test_it_stays_where_no_hand_is() -> None:
    for corner in CORNERS:
        assert free_corner(np.array([[110.0, 70.0]]), BOX, SIZE, corner) == corner


def test_it_leaves_a_hand_for_an_empty_corner() -> None:
    points = np.array([centre((True, True)), centre((True, False))])
    assert free_corner(points, BOX, SIZE, (True, True)) == (False, True)


def test_it_takes_the_emptiest_corner_if_hands_are_everywhere() -> None:
    points = np.array([centre(corner) for corner in CORNERS] + [centre(corner) for corner in CORNERS[:3]])
    assert free_corner(points, BOX, SIZE, (True, True)) == (False, False)


def test_a_legend_shrinks_a_little_to_lie_beside_the_images() -> None:
    def ratio(beside: tuple[float, float] | None) -> float:
        return LegendRoom((0.0, 0.0, 400.0, 700.0), (400, 700), 1.0, beside).legend_ratio((100, 200), 10)

    assert ratio(None) == ratio((0, 250)) == 1.0
    assert ratio((0, 176)) == pytest.approx(176 / 220)
    assert ratio((100, 0)) == pytest.approx(100 / 120)
    assert ratio((0, 100)) == 1.0, "too small to read: rather over the image"


def test_a_legend_takes_a_fraction_of_a_small_view_only() -> None:
    assert LegendRoom((0, 0, 100, 600), (100, 600), 1.0).legend_ratio((100, 200), 10) == pytest.approx(0.4)
    assert LegendRoom((0, 0, 600, 100), (600, 100), 2.0).legend_ratio((100, 200), 10) == pytest.approx(0.3)
    assert LegendRoom((0, 0, 600, 900), (600, 900), 2.0).legend_ratio((100, 200), 10) == pytest.approx(2.0)


def test_it_does_not_hop_while_a_hand_moves_about(ctx: moderngl.Context) -> None:
    now_s, view = 0.0, (400, 400)
    target = MultisampleTarget(ctx, 0)
    target.framebuffer(view).use()
    shown, room = LegendPass(ctx, clock=lambda: now_s), LegendRoom((0.0, 0.0, *map(float, view)), view, 1.0)
    parts = (LegendPart("notes", lines=("a note",)),)

    def place_of(*hand: float) -> tuple[int, ...]:
        rectangle = shown.draw(parts, room, np.array([hand]))
        assert rectangle is not None
        return rectangle

    right_below = place_of(10, 10)
    assert right_below[0] > 200
    now_s = 1.0
    moved = place_of(380, 370)
    assert moved != right_below, "out of the way of the first hand"
    inside = ((moved[0] + moved[2]) / 2, (moved[1] + moved[3]) / 2)
    on_the_way = [place_of(*place) for place in np.linspace((380, 370), inside, 12)]
    assert set(on_the_way) == {moved}, "it has just moved"
    now_s += STAY_S
    assert place_of(*inside) != moved
    shown.release()
    target.release()


def test_it_leaves_at_once_for_the_hand_of_another_image(ctx: moderngl.Context) -> None:
    view = 400, 400
    target = MultisampleTarget(ctx, 0)
    target.framebuffer(view).use()
    shown, room = LegendPass(ctx, clock=lambda: 0.0), LegendRoom((0.0, 0.0, *map(float, view)), view, 1.0)
    parts = (LegendPart("notes", lines=("a note",)),)
    for hand in ((380, 370), (380, 30), (30, 370), (30, 30), (380, 370)):
        rectangle = shown.draw(parts, room, np.array([hand], dtype=float))
        assert rectangle is not None
        left, top, right, bottom = rectangle
        assert not (left <= hand[0] <= right and top <= hand[1] <= bottom)
    shown.release()
    target.release()
