"""Draws legends into a corner of a view, where they cover no hand."""

from collections.abc import Sequence
from dataclasses import dataclass

import moderngl
import numpy as np

from handviz.core.records import FloatArray
from handviz.rendering.image_pass import ImagePass
from handviz.rendering.legend import LegendPart, stacked_picture, stacked_size

Rectangle = tuple[int, int, int, int]
"""left, top, right, bottom in pixels"""
Corner = tuple[bool, bool]
"""right rather than left, bottom rather than top"""
CORNERS: tuple[Corner, ...] = ((True, True), (True, False), (False, True), (False, False))
LEAST_BESIDE_RATIO = 0.7
LABEL_WEIGHT = 40
"""Points a side: what a label counts against vertices of a hand."""
MARGIN_PX = 14
LEAST_RATIO, SHRINKING = 0.5, 0.85
DRAWS_BEFORE_GROWING = 60


# Where the legend goes: into a corner without a hand, and there it stays as long as it can.


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


class LegendPass:
    """Stays in a corner as long as it can."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self._picture = ImagePass(ctx, components=4)
        self._corner: Corner = CORNERS[0]
        self._fitted_for: tuple[object, ...] | None = None
        self._steps = self._calm_draws = 0

    def draw(self, parts: Sequence[LegendPart], room: LegendRoom, points_px: FloatArray) -> None:
        """Draw into the bound framebuffer, off the points (N, 2); a small view gets a smaller one, a tiny view none."""
        if not parts:
            return
        ratio = room.legend_ratio(stacked_size(tuple(parts)), MARGIN_PX)
        if ratio < LEAST_RATIO:
            return
        size_px = stacked_size(tuple(parts))
        ratio, self._corner = self._fit(size_px, room, ratio, points_px)
        picture = stacked_picture(tuple(parts), round(ratio, 2))
        self._picture.set_picture(picture)
        height, width = picture.shape[:2]
        place = corner_rectangle(self._corner, room.inner(MARGIN_PX * ratio), (width, height))
        self._picture.draw(room.view_size, place)

    def _fit(
        self, size_px: tuple[int, int], room: LegendRoom, largest: float, points_px: FloatArray
    ) -> tuple[float, Corner]:
        """Ratio and corner: where it may shrink it does rather than cover a point, and grows when that is long past."""
        if not room.may_shrink:
            return largest, self._corner_at(largest, size_px, room, points_px)[0]
        wanted = (size_px, room, largest)
        if wanted != self._fitted_for:
            self._fitted_for, self._steps, self._calm_draws = wanted, 0, 0
        while True:
            ratio = max(largest * SHRINKING**self._steps, LEAST_RATIO)
            corner, is_free = self._corner_at(ratio, size_px, room, points_px)
            if is_free or ratio <= LEAST_RATIO:
                break
            self._steps += 1
            self._calm_draws = 0
        if self._steps:
            could_grow = self._corner_at(ratio / SHRINKING, size_px, room, points_px)[1]
            self._calm_draws = self._calm_draws + 1 if could_grow else 0
            if self._calm_draws > DRAWS_BEFORE_GROWING:
                self._steps, self._calm_draws = self._steps - 1, 0
        return ratio, corner

    def _corner_at(
        self, ratio: float, size_px: tuple[int, int], room: LegendRoom, points_px: FloatArray
    ) -> tuple[Corner, bool]:
        """The corner for this size, and whether no point is covered there."""
        inner, size = room.inner(MARGIN_PX * ratio), _scaled(size_px, ratio)
        corner = free_corner(points_px, inner, size, self._corner)
        return corner, not covered_points(points_px, corner_rectangle(corner, inner, size))

    def release(self) -> None:
        """Free everything on the graphics card."""
        self._picture.release()


def _scaled(size_px: tuple[int, int], ratio: float) -> tuple[int, int]:
    return round(size_px[0] * ratio), round(size_px[1] * ratio)
