"""Layout of the models' panes in a view: side by side or below each other. No OpenGL here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from handviz.core.records import ModelId
from handviz.rendering.camera import Size
from handviz.rendering.options import ViewMode

GAP_PX = 2
ROW_PREFERENCE = 1.15
"""How much larger images must be in a column for it to replace the row."""


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
    """Return one pane per model, in order, as a row or a column: whichever shows image or hands clearly larger."""
    gap = max(1, round(GAP_PX * pixel_ratio))
    row = [Pane(v, start, 0, length, view_size[1]) for v, start, length in _parts(models, view_size[0], gap)]
    column = [Pane(v, 0, start, view_size[0], length) for v, start, length in _parts(models, view_size[1], gap)]

    def room(pane: Pane) -> float:
        if view == "orbit":
            return min(pane.size_px)
        return min(pane.width_px / image_size[0], pane.height_px / image_size[1])

    return tuple(column if room(column[0]) > ROW_PREFERENCE * room(row[0]) else row)


def pane_at(panes: Sequence[Pane], x_px: float, y_px: float) -> PanePoint | None:
    """Return the pane under a point of the view; None on a gap."""
    for pane in panes:
        right, down = x_px - pane.left_px, y_px - pane.top_px
        if 0 <= right < pane.width_px and 0 <= down < pane.height_px:
            return PanePoint(pane.model, (right, down), pane.size_px)
    return None


def _parts(models: Sequence[ModelId], length: int, gap: int) -> list[tuple[ModelId, int, int]]:
    """Return start and length of each model's part of a side."""
    count = len(models)
    ends = [round((length + gap) * number / count) for number in range(count + 1)]
    return [(v, ends[i], max(1, ends[i + 1] - gap - ends[i])) for i, v in enumerate(models)]
