"""Draws legends into a corner of a view, where they cover no hand."""

from collections.abc import Sequence

import moderngl

from handviz.core.records import FloatArray
from handviz.rendering.image_pass import ImagePass
from handviz.rendering.legend_place import CORNERS, Corner, LegendRoom, corner_rectangle, covered_points, free_corner
from handviz.rendering.legend_stack import LegendPart, stacked_picture, stacked_size

MARGIN_PX = 14
LEAST_RATIO, SHRINKING = 0.5, 0.85
DRAWS_BEFORE_GROWING = 60


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
