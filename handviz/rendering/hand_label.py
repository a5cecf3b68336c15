"""Labels of hands: number, side and score, and a place near the hand where nothing else is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import moderngl
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray, HandMesh
from handviz.rendering.camera import Size
from handviz.rendering.legend import Rectangle as WholeRectangle
from handviz.rendering.legend import covered_points
from handviz.rendering.pane_label import label_image
from handviz.rendering.passes import ImagePass

Box = tuple[float, float, float, float]
"""Left, top, right and bottom of a hand in pixels."""
GAP_PX, EDGE_PX = 6, 3
"""Between a hand's box and its label, and between labels and everything else."""
MAX_WIDTH_FRACTION = 0.35
"""Of the view: labels that are wider are reduced to the number."""
UNLIMITED_PX = 10**4
GRID = (7, 9)
"""Rows and columns of places all over the view, for labels that find none beside their hand."""
ALL_OVER = 100
"""Number of the first of these places; those beside the hand count from 0."""
STAYING, COVERING, LATER = 0.1, 3.0, 0.01
"""What staying in place, covering all vertices, and each place before it count; the view's diagonal counts 1."""


def hand_number(hand: HandMesh, index: int) -> int:
    """Return the number that views call a hand by: that of its track, else its place in the frame, from 1."""
    return hand.track_id or index + 1


def hand_text(hand: HandMesh, index: int) -> str:
    """Return number, side and score, as "2 · left · 0.93"."""
    return f"{hand_number(hand, index)} \u00b7 {hand.handedness} \u00b7 {hand.detection_score:.2f}"


@dataclass(frozen=True, eq=False)
class HandLabel:
    """A label to place."""

    number: int
    image: NDArray[np.uint8]
    """(H, W, 4) sRGB with premultiplied opacity; the same object while nothing changes."""
    points_px: FloatArray
    """(N, 2) of its hand in the view."""

    @property
    def size(self) -> Size:
        """Width and height."""
        return self.image.shape[1], self.image.shape[0]


def hand_label(
    hand: HandMesh, index: int, points_px: FloatArray, view_size: Size, pixel_ratio: float, *, is_picked: bool
) -> HandLabel:
    """Return a hand's label: all of it, or only the number in small views; bright if a point of it is picked."""
    number = hand_number(hand, index)
    image = label_image((hand_text(hand, index),), pixel_ratio, UNLIMITED_PX, is_inverse=is_picked)
    if image.shape[1] > MAX_WIDTH_FRACTION * view_size[0]:
        image = label_image((f"{number}",), pixel_ratio, UNLIMITED_PX, is_inverse=is_picked)
    return HandLabel(number, image, points_px)


class LabelPlacer:
    """Places of labels, which stay where they are beside their hands unless another place is clearly better."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}

    def place(
        self, labels: Sequence[HandLabel], view_size: Size, taken: Sequence[WholeRectangle], pixel_ratio: float
    ) -> list[WholeRectangle | None]:
        """Return each label's rectangle, off each other and off ``taken``; None where no place is free.

        The first labels choose first.
        """
        if not labels:
            self._places = {}
            return []
        points_px = np.concatenate([label.points_px for label in labels])
        occupied, found, places = list(taken), [], {}
        for label in labels:
            chosen = self._best(label, view_size, occupied, points_px, pixel_ratio)
            if chosen is not None:
                places[label.number], rectangle = chosen
                occupied.append(rectangle)
            found.append(chosen[1] if chosen is not None else None)
        self._places = places
        return found

    def _best(
        self,
        label: HandLabel,
        view_size: Size,
        occupied: Sequence[WholeRectangle],
        points_px: FloatArray,
        pixel_ratio: float,
    ) -> tuple[int, WholeRectangle] | None:
        """Return number and rectangle of the best free place; None if there is none."""
        gap, edge = round(GAP_PX * pixel_ratio), round(EDGE_PX * pixel_ratio)
        box = *label.points_px.min(axis=0).tolist(), *label.points_px.max(axis=0).tolist()
        diagonal = math.hypot(*view_size)
        for first, places in ((0, _beside(label.size, box, gap)), (ALL_OVER, _all_over(label.size, view_size))):
            best: tuple[float, int, WholeRectangle] | None = None
            for number, place in enumerate(places, first):
                rectangle = _moved_into(view_size, place, label.size)
                if not _is_inside(rectangle, view_size) or any(_overlap(rectangle, one, edge) for one in occupied):
                    continue
                cost = _distance(rectangle, box) / diagonal
                cost += LATER * (number - first) - STAYING * (self._places.get(label.number) == number)
                # Covered points are counted last, because that takes longest and only adds to the cost.
                if best is None or cost < best[0]:
                    cost += COVERING * covered_points(points_px, rectangle) / len(points_px)
                if best is None or cost < best[0]:
                    best = cost, number, rectangle
            if best is not None:
                return best[1:]
        return None


def _beside(size: Size, box: Box, gap: int) -> list[tuple[float, float]]:
    """Return upper left corners around the hand's box and in its corners, the best first."""
    (width, height), (left, top, right, bottom) = size, box
    middle, beside = (left + right - width) / 2, (top + bottom - height) / 2
    return [
        (middle, top - height - gap),
        (middle, bottom + gap),
        (right + gap, top),
        (left - width - gap, top),
        (right + gap, beside),
        (left - width - gap, beside),
        (right + gap, bottom - height),
        (left - width - gap, bottom - height),
        (left, top),
        (right - width, top),
        (left, bottom - height),
        (right - width, bottom - height),
    ]


def _all_over(size: Size, view_size: Size) -> list[tuple[float, float]]:
    """Return upper left corners in a grid over the view."""
    rooms = view_size[0] - size[0], view_size[1] - size[1]
    rows, columns = GRID
    across, down = (np.linspace(0, room, steps) for room, steps in zip(rooms, (columns, rows), strict=True))
    return [(float(x), float(y)) for y in down for x in across]


def _moved_into(view_size: Size, place: tuple[float, float], size: Size) -> WholeRectangle:
    """Return the rectangle of this size at a place, moved into the view."""
    left = round(min(max(place[0], 0), max(view_size[0] - size[0], 0)))
    top = round(min(max(place[1], 0), max(view_size[1] - size[1], 0)))
    return left, top, left + size[0], top + size[1]


def _is_inside(rectangle: WholeRectangle, view_size: Size) -> bool:
    return rectangle[2] <= view_size[0] and rectangle[3] <= view_size[1]


def _overlap(one: WholeRectangle, other: WholeRectangle, edge: int) -> bool:
    across = one[0] < other[2] + edge and other[0] < one[2] + edge
    return across and one[1] < other[3] + edge and other[1] < one[3] + edge


def _distance(rectangle: WholeRectangle, box: Box) -> float:
    """Return the distance between a rectangle's centre and the box of a hand."""
    x, y = (rectangle[0] + rectangle[2]) / 2, (rectangle[1] + rectangle[3]) / 2
    return math.hypot(max(box[0] - x, 0.0, x - box[2]), max(box[1] - y, 0.0, y - box[3]))


class HandLabelPass:
    """Drawing of labels, with an image for each, made when needed."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self._ctx = ctx
        self._placer = LabelPlacer()
        self._images: list[ImagePass] = []

    def draw(
        self, labels: Sequence[HandLabel], view_size: Size, taken: Sequence[WholeRectangle], pixel_ratio: float
    ) -> None:
        """Draw into the bound framebuffer, off rectangles ``taken`` and each other."""
        places = self._placer.place(labels, view_size, taken, pixel_ratio)
        while len(self._images) < len(labels):
            self._images.append(ImagePass(self._ctx, components=4))
        for image, label, place in zip(self._images, labels, places, strict=False):
            if place is not None:
                image.set_image(label.image)
                image.draw(view_size, place)

    def release(self) -> None:
        """Free all GPU resources."""
        for image in self._images:
            image.release()
