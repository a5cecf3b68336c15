"""What is written over a pane, and where: whose hands it shows, what distances come to, or why there are none."""

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FrameResult
from handviz.rendering.difference import DISPLAY_NAMES, Distances, name_of
from handviz.rendering.image_pass import Rectangle
from handviz.rendering.label import label_picture
from handviz.rendering.legend_place import Rectangle as WholeRectangle
from handviz.rendering.options import Difference
from handviz.rendering.panes import Pane

MARGIN_PX, LEAST_BESIDE_PX = 8, 110


def pane_lines(
    result: FrameResult, pane: Pane, difference: Difference | None, distances: Distances | None
) -> tuple[str, ...]:
    """The variant's name and a few facts, a line each."""
    name = DISPLAY_NAMES[pane.variant]
    if pane.variant == result.variant and result.is_compared:
        name += ", chosen"
    if pane.variant in result.other_troubles:
        return name, result.other_troubles[pane.variant]
    if pane.variant != result.variant and result.hands and not result.is_compared:
        return name, "comes in a moment"
    if difference is None or not result.hands:
        return (name,)
    if pane.variant not in difference.pair:
        return name, "not one of the two"
    return (
        (name, *_numbers(result, distances)) if distances is not None else (name, f"no distance {name_of(difference)}")
    )


def pane_label(
    lines: tuple[str, ...], pane: Pane, picture: Rectangle | None, pixel_ratio: float
) -> tuple[NDArray[np.uint8], WholeRectangle]:
    """(H, W, 4) sRGB with premultiplied opacity, the same object while nothing changes, and its place in the pane.

    Beside the picture or above it if there is room, otherwise in its upper left corner; in the pane's without one.
    """
    margin = round(MARGIN_PX * pixel_ratio)
    beside = round(picture[0]) - 2 * margin if picture is not None else 0
    is_beside = beside >= LEAST_BESIDE_PX * pixel_ratio
    label = label_picture(lines, pixel_ratio, max(beside if is_beside else pane.width_px - 2 * margin, 1))
    height, width = label.shape[:2]
    left = top = margin
    if picture is not None and not is_beside:
        has_room_above = picture[1] >= height + margin
        left = round(picture[0]) + margin
        top = round(picture[1]) + (-height - margin // 2 if has_room_above else margin)
    left = max(0, min(left, pane.width_px - width))
    return label, (left, top, left + width, top + height)


def _numbers(result: FrameResult, distances: Distances) -> list[str]:
    several = len(result.hands) > 1
    sides = [f"{hand.handedness}: " if several else "" for hand in result.hands]
    return [
        f"{side}mean {mean:.1f}, most {most:.1f} mm"
        for side, mean, most in zip(sides, distances.mean_mm, distances.most_mm, strict=True)
    ]
