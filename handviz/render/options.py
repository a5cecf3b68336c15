"""What a person can choose about the picture."""

from dataclasses import dataclass
from typing import Literal

ColourMode = Literal["deviation", "plain"]
ViewMode = Literal["overlay", "orbit"]


@dataclass(frozen=True)
class DrawOptions:
    """How a result is drawn; changes nothing in the result."""

    colour: ColourMode = "deviation"
    view: ViewMode = "overlay"
    """``overlay``: on the picture; ``orbit``: the hands alone, from any side."""
    wireframe: bool = False
    skeleton: bool = False
    mirror: bool = False
    """Flip the whole picture left to right, as in a mirror."""
    opacity: float = 0.9
    """Of the mesh over the picture, 0 to 1; in free orbit hands are always opaque."""
    deviation_range_mm: tuple[float, float] | None = None
    """Ends of the heatmap; None follows the data."""
    legend: bool = True
