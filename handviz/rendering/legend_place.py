"""Where the legend goes: into a corner without a hand, and there it stays as long as it can."""

from dataclasses import dataclass

import numpy as np

from handviz.core.records import FloatArray

Rectangle = tuple[int, int, int, int]
"""left, top, right, bottom in pixels"""
Corner = tuple[bool, bool]
"""right rather than left, bottom rather than top"""
CORNERS: tuple[Corner, ...] = ((True, True), (True, False), (False, True), (False, False))
LEAST_BESIDE_RATIO = 0.7
LABEL_WEIGHT = 40
"""Points a side: what a label counts against vertices of a hand."""


@dataclass(frozen=True)
class LegendRoom:
    """Where a legend may go."""

    box: tuple[float, float, float, float]
    """left, top, right, bottom, in one of whose corners it lies"""
    view_size: tuple[int, int]
    pixel_ratio: float
    beside: tuple[float, float] | None = None
    """Width and height that pictures leave free: the legend is made for that if it need not be much smaller."""

    may_shrink: bool = False
    """Whether it rather becomes smaller than cover a hand."""

    def inner(self, margin: float) -> tuple[float, float, float, float]:
        """The box without a margin."""
        left, top, right, bottom = self.box
        return left + margin, top + margin, right - margin, bottom - margin

    def legend_ratio(self, size: tuple[int, int], margin: float) -> float:
        """How large, against its nominal size (width, height), a legend may be here."""
        (width, height), (view_width, view_height) = size, self.view_size
        ratio = min(self.pixel_ratio, 0.4 * view_width / width, 0.6 * view_height / height)
        if self.beside is None:
            return ratio
        beside = max(self.beside[0] / (width + 2 * margin), self.beside[1] / (height + 2 * margin))
        return min(ratio, beside) if beside >= LEAST_BESIDE_RATIO * self.pixel_ratio else ratio


def points_in(rectangle: Rectangle) -> FloatArray:
    """A grid of points (N, 2) all over a rectangle, its edges included."""
    left, top, right, bottom = rectangle
    across, down = np.linspace(left, right, LABEL_WEIGHT), np.linspace(top, bottom, LABEL_WEIGHT)
    return np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)


def corner_rectangle(corner: Corner, box: tuple[float, float, float, float], size: tuple[int, int]) -> Rectangle:
    """A rectangle of ``size`` (width, height) in a corner of ``box`` (left, top, right, bottom)."""
    left = box[2] - size[0] if corner[0] else box[0]
    top = box[3] - size[1] if corner[1] else box[1]
    return round(left), round(top), round(left) + size[0], round(top) + size[1]


def free_corner(
    points_px: FloatArray, box: tuple[float, float, float, float], size: tuple[int, int], current: Corner
) -> Corner:
    """The current corner if none of the points (N, 2) lies under the legend there, otherwise the emptiest one."""
    return min((current, *CORNERS), key=lambda corner: covered_points(points_px, corner_rectangle(corner, box, size)))


def covered_points(points_px: FloatArray, rectangle: Rectangle) -> int:
    """How many of the points (N, 2) lie in a rectangle."""
    left, top, right, bottom = rectangle
    inside = (points_px >= [left, top]) & (points_px <= [right, bottom])
    return int(np.count_nonzero(inside.all(axis=1)))
