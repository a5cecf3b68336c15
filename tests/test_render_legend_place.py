"""The legend keeps out of the hands' way."""

import numpy as np

from handviz.render.legend_place import CORNERS, corner_rectangle, free_corner

BOX = (10.0, 20.0, 210.0, 120.0)
SIZE = (40, 30)


def middle(corner: tuple[bool, bool]) -> list[float]:
    left, top, right, bottom = corner_rectangle(corner, BOX, SIZE)
    return [(left + right) / 2, (top + bottom) / 2]


def test_rectangles_lie_inside_the_box() -> None:
    assert corner_rectangle((True, True), BOX, SIZE) == (170, 90, 210, 120)
    assert corner_rectangle((False, False), BOX, SIZE) == (10, 20, 50, 50)


def test_it_stays_where_no_hand_is() -> None:
    for corner in CORNERS:
        assert free_corner(np.array([[110.0, 70.0]]), BOX, SIZE, corner) == corner


def test_it_leaves_a_hand_for_an_empty_corner() -> None:
    points = np.array([middle((True, True)), middle((True, False))])
    assert free_corner(points, BOX, SIZE, (True, True)) == (False, True)


def test_it_takes_the_emptiest_corner_if_hands_are_everywhere() -> None:
    points = np.array([middle(corner) for corner in CORNERS] + [middle(corner) for corner in CORNERS[:3]])
    assert free_corner(points, BOX, SIZE, (True, True)) == (False, False)
