"""Draws legends into a corner of a view, where they cover no hand."""

from collections.abc import Sequence

import moderngl

from handviz.records import FloatArray
from handviz.render.image_pass import ImagePass
from handviz.render.legend_place import CORNERS, Corner, LegendRoom, corner_rectangle, covered_points, free_corner
from handviz.render.legend_stack import LegendPart, stacked_picture, stacked_size

MARGIN_PX = 14
LEAST_RATIO, SHRINKING = 0.5, 0.85


class LegendPass:
    """Stays in a corner as long as it can."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self._picture = ImagePass(ctx, components=4)
        self._corner: Corner = CORNERS[0]
        self._fitted_for: tuple[object, ...] | None = None
        self._steps = 0

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
        """Ratio and corner: where it may shrink it does rather than cover a point, and stays so while the room does."""
        if not room.may_shrink:
            return largest, free_corner(
                points_px, room.inner(MARGIN_PX * largest), _scaled(size_px, largest), self._corner
            )
        wanted = (size_px, room, largest)
        if wanted != self._fitted_for:
            self._fitted_for, self._steps = wanted, 0
        while True:
            ratio = max(largest * SHRINKING**self._steps, LEAST_RATIO)
            inner, size = room.inner(MARGIN_PX * ratio), _scaled(size_px, ratio)
            corner = free_corner(points_px, inner, size, self._corner)
            if ratio <= LEAST_RATIO or not covered_points(points_px, corner_rectangle(corner, inner, size)):
                return ratio, corner
            self._steps += 1

    def release(self) -> None:
        """Free everything on the graphics card."""
        self._picture.release()


def _scaled(size_px: tuple[int, int], ratio: float) -> tuple[int, int]:
    return round(size_px[0] * ratio), round(size_px[1] * ratio)
