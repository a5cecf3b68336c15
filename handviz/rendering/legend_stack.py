"""Which legends a picture needs, below each other: the colours', and what is faded or drawn around joints."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from handviz.rendering.camera import Size
from handviz.rendering.distance_colours import DISTANCE_LEGEND_PX, distance_legend_picture
from handviz.rendering.ellipses import share_inside
from handviz.rendering.legend import (
    HEIGHT_PX,
    NOTE_WIDTH_PX,
    SEEN_HEIGHT_PX,
    SEEN_WIDTH_PX,
    WIDTH_PX,
    attention_legend_picture,
    legend_picture,
    note_height_px,
    note_picture,
    seen_legend_picture,
)
from handviz.rendering.options import DrawOptions

GAP_PX = 6


@dataclass(frozen=True)
class LegendPart:
    """One legend of the stack; ``ends`` belong to the colours', ``lines`` to notes and to the name of a distance."""

    kind: Literal["deviation", "attention", "distance", "seen", "notes"]
    ends: tuple[float, float] = (0.0, 1.0)
    lines: tuple[str, ...] = ()

    @property
    def size(self) -> Size:
        """Nominal (width, height)."""
        if self.kind == "notes":
            return NOTE_WIDTH_PX, note_height_px(self.lines)
        if self.kind == "distance":
            return DISTANCE_LEGEND_PX
        return (SEEN_WIDTH_PX, SEEN_HEIGHT_PX) if self.kind == "seen" else (WIDTH_PX, HEIGHT_PX)

    def picture(self, pixel_ratio: float) -> NDArray[np.uint8]:
        """(H, W, 4) sRGB with premultiplied opacity."""
        match self.kind:
            case "deviation":
                return legend_picture(self.ends, pixel_ratio)
            case "attention":
                return attention_legend_picture(self.ends[1], pixel_ratio)
            case "distance":
                return distance_legend_picture(self.lines[0], self.ends, pixel_ratio)
            case "seen":
                return seen_legend_picture(pixel_ratio)
            case "notes":
                return note_picture(self.lines, pixel_ratio)


def notes_for(options: DrawOptions, *, ellipses: bool) -> tuple[str, ...]:
    """Lines on what is not shown as it is, and on the ellipses."""
    lines: tuple[str, ...] = ()
    if options.uncertain != "show":
        verb = "Faded" if options.uncertain == "fade" else "Hidden"
        lines += (f"{verb} above {options.uncertain_above_mm:g} mm",)
    if ellipses:
        sigmas = options.ellipse_sigmas
        lines += (f"Ellipses: {sigmas:g} sigma, {share_inside(sigmas):.0%}",)
    return lines


def stacked_size(parts: tuple[LegendPart, ...]) -> Size:
    """Nominal (width, height) of legends below each other."""
    sizes = [part.size for part in parts]
    return max(width for width, _ in sizes), sum(height for _, height in sizes) + GAP_PX * (len(parts) - 1)


@lru_cache(maxsize=8)
def stacked_picture(parts: tuple[LegendPart, ...], pixel_ratio: float) -> NDArray[np.uint8]:
    """(H, W, 4) sRGB with premultiplied opacity; the same object while nothing changes."""
    pictures = [part.picture(pixel_ratio) for part in parts]
    width, gap_px = max(picture.shape[1] for picture in pictures), max(1, round(GAP_PX * pixel_ratio))
    rows: list[NDArray[np.uint8]] = []
    for picture in pictures:
        rows += [np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)))]
        rows += [np.zeros((gap_px, width, 4), np.uint8)]
    return np.concatenate(rows[:-1])
