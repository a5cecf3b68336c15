"""What is written over a pane, and where: whose hands it shows, what distances come to, or why there are none."""

import numpy as np
from numpy.typing import NDArray

from handviz.records import FrameResult
from handviz.render.difference import DISPLAY_NAMES, Distances, name_of
from handviz.render.image_pass import Rectangle
from handviz.render.label import label_picture
from handviz.render.legend_place import Rectangle as WholeRectangle
from handviz.render.options import Difference
from handviz.render.panes import Pane

MARGIN_PX = 8


def pane_lines(
    result: FrameResult, pane: Pane, difference: Difference | None, distances: Distances | None
) -> tuple[str, ...]:
    """The variant's name and a few facts, a line each."""
    name = DISPLAY_NAMES[pane.variant]
    if pane.variant in result.other_troubles:
        return name, result.other_troubles[pane.variant]
    if difference is None or not result.hands:
        return (name,)
    if distances is None:
        return (name, f"no distance {name_of(difference)}") if pane.variant in difference.pair else (name,)
    return (name, *_numbers(result, distances)) if pane.variant in difference.pair else (name,)


def pane_label(
    result: FrameResult, pane: Pane, difference: Difference | None, distances: Distances | None, pixel_ratio: float
) -> NDArray[np.uint8]:
    """(H, W, 4) sRGB with premultiplied opacity, no wider than the pane; the same object while nothing changes."""
    room = pane.width_px - 2 * round(MARGIN_PX * pixel_ratio)
    return label_picture(pane_lines(result, pane, difference, distances), pixel_ratio, max(room, 1))


def label_place(pane: Pane, picture: Rectangle | None, shape: tuple[int, ...], pixel_ratio: float) -> WholeRectangle:
    """Beside or above the picture if there is room, otherwise in its upper left corner; in the pane's without one."""
    height, width = shape[:2]
    margin = round(MARGIN_PX * pixel_ratio)
    left = top = margin
    if picture is not None and picture[0] < width + 2 * margin:
        has_room_above = picture[1] >= height + margin
        left = margin + round(picture[0]) * (not has_room_above)
        top = round(picture[1]) + (-height - margin // 2 if has_room_above else margin)
    left = max(0, min(left, pane.width_px - width))
    return left, top, left + width, top + height


def _numbers(result: FrameResult, distances: Distances) -> list[str]:
    several = len(result.hands) > 1
    sides = [f"{hand.handedness}: " if several else "" for hand in result.hands]
    return [
        f"{side}mean {mean:.1f}, most {most:.1f} mm"
        for side, mean, most in zip(sides, distances.mean_mm, distances.most_mm, strict=True)
    ]
