"""Layout of the models' panes in a view: side by side, below each other, or four in a square. No OpenGL here."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from handviz.core.records import ModelId
from handviz.rendering.camera import Size
from handviz.rendering.options import ViewMode

GAP_PX = 2
ROW_PREFERENCE = 1.15
"""How much larger images must be in a square or a column for it to replace the row."""


@dataclass(frozen=True)
class Pane:
    """A model's rectangle of a view, in physical pixels, y down."""

    model: ModelId
    left_px: int
    top_px: int
    width_px: int
    height_px: int

    @property
    def size_px(self) -> Size:
        """Width and height."""
        return self.width_px, self.height_px

    def viewport(self, target_size: Size) -> tuple[int, int, int, int]:
        """Return left, bottom, width, height in OpenGL's coordinates of a framebuffer of this size."""
        return self.left_px, target_size[1] - self.top_px - self.height_px, *self.size_px


class PanePoint(NamedTuple):
    """A point in a pane."""

    model: ModelId
    point_px: tuple[float, float]
    """From the pane's upper left corner, x right, y down, in physical pixels."""
    size_px: Size
    """Of the pane (width, height), in physical pixels."""


def panes_of(
    view_size: Size,
    models: Sequence[ModelId],
    *,
    image_size: Size,
    view: ViewMode = "overlay",
    pixel_ratio: float = 1.0,
) -> tuple[Pane, ...]:
    """Return one pane per model, in order: a row, or a square or column if that shows image or hands clearly larger."""
    gap, count = max(1, round(GAP_PX * pixel_ratio)), len(models)

    def in_grid(rows: int, columns: int) -> tuple[Pane, ...]:
        across, down = _parts(columns, view_size[0], gap), _parts(rows, view_size[1], gap)
        places = [(left, top, width, height) for top, height in down for left, width in across]
        return tuple(Pane(model, *place) for model, place in zip(models, places, strict=True))

    def room(panes: Sequence[Pane]) -> float:
        if view == "orbit":
            return min(panes[0].size_px)
        return min(panes[0].width_px / image_size[0], panes[0].height_px / image_size[1])

    best = in_grid(1, count)
    for shape in dict.fromkeys((grid_of(count), (count, 1))):
        other = in_grid(*shape)
        if room(other) > ROW_PREFERENCE * room(best):
            best = other
    return best


def grid_of(count: int) -> tuple[int, int]:
    """Return how many rows and columns so many panes make when all of them are as large as they can be."""
    return (2, 2) if count == 4 else (1, count)


def pane_at(panes: Sequence[Pane], x_px: float, y_px: float) -> PanePoint | None:
    """Return the pane under a point of the view; None on a gap."""
    for pane in panes:
        right, down = x_px - pane.left_px, y_px - pane.top_px
        if 0 <= right < pane.width_px and 0 <= down < pane.height_px:
            return PanePoint(pane.model, (right, down), pane.size_px)
    return None


def _parts(count: int, length: int, gap: int) -> list[tuple[int, int]]:
    """Return start and length of each of ``count`` parts of a side."""
    ends = [round((length + gap) * number / count) for number in range(count + 1)]
    return [(start, max(1, end - gap - start)) for start, end in pairwise(ends)]
