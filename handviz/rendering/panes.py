"""Layout of the models' panes in a view: side by side, below each other, or four in a square. No OpenGL here."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from handviz.core.records import HandMesh, ModelId
from handviz.rendering.camera import Region, Size
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
    shown_px: tuple[int, int] | None = None
    """Left and right end of what is drawn of it, from its left side; None: all."""

    @property
    def size_px(self) -> Size:
        """Width and height."""
        return self.width_px, self.height_px

    def viewport(self, target_size: Size) -> tuple[int, int, int, int]:
        """Return left, bottom, width, height in OpenGL's coordinates of a framebuffer of this size."""
        return self.left_px, target_size[1] - self.top_px - self.height_px, *self.size_px

    def scissor(self, target_size: Size) -> tuple[int, int, int, int]:
        """Return what is drawn of it, as ``viewport``."""
        left, bottom, width, height = self.viewport(target_size)
        start, end = self.shown_px or (0, width)
        return left + start, bottom, end - start, height


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


def wiped(view_size: Size, models: Sequence[ModelId], wipe_at: float) -> tuple[Pane, Pane]:
    """Return panes of the first two models that fill the view, each drawn on one side of a line."""
    line = min(max(round(wipe_at * view_size[0]), 1), view_size[0] - 1)
    return Pane(models[0], 0, 0, *view_size, (0, line)), Pane(models[1], 0, 0, *view_size, (line, view_size[0]))


class CropFollower:
    """Region of an image around the hands, which moves only when they leave it or could be shown much larger."""

    MARGIN, MAX_GROWTH = 0.2, 2.5

    def __init__(self) -> None:
        self._region: Region | None = None

    def update(self, hands: Sequence[HandMesh], image_size: Size) -> Region | None:
        """Return the region for these hands; the last one without hands, None if there were none."""
        if not hands:
            return self._region
        points = np.concatenate([hand.vertices_px for hand in hands])
        (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        margin = self.MARGIN * max(right - left, bottom - top, 1.0)
        wanted = left - margin, top - margin, right + margin, bottom + margin
        held = self._region
        contains = held is not None and held[0] <= left and held[1] <= top and held[2] >= right and held[3] >= bottom
        if held is not None and contains and _area(held) <= self.MAX_GROWTH * _area(wanted):
            return held
        self._region = wanted if _area(wanted) < image_size[0] * image_size[1] else (0.0, 0.0, *image_size)
        return self._region

    def reset(self) -> None:
        """Forget the region."""
        self._region = None


def _area(region: Region) -> float:
    return (region[2] - region[0]) * (region[3] - region[1])


def grid_of(count: int) -> tuple[int, int]:
    """Return how many rows and columns so many panes make when all of them are as large as they can be."""
    return (2, 2) if count == 4 else (1, count)


def pane_at(panes: Sequence[Pane], x_px: float, y_px: float) -> PanePoint | None:
    """Return the pane under a point of the view; None on a gap."""
    for pane in panes:
        right, down = x_px - pane.left_px, y_px - pane.top_px
        start, end = pane.shown_px or (0, pane.width_px)
        if start <= right < end and 0 <= down < pane.height_px:
            return PanePoint(pane.model, (right, down), pane.size_px)
    return None


def _parts(count: int, length: int, gap: int) -> list[tuple[int, int]]:
    """Return start and length of each of ``count`` parts of a side."""
    ends = [round((length + gap) * number / count) for number in range(count + 1)]
    return [(start, max(1, end - gap - start)) for start, end in pairwise(ends)]
