"""What a person can choose about the picture."""

from dataclasses import dataclass, replace
from typing import Literal

from handviz.core.records import VariantName

ColourMode = Literal["deviation", "texture", "plain"]
ViewMode = Literal["overlay", "orbit"]
UncertainMode = Literal["show", "fade", "hide"]
Background = Literal["picture", "none"]


@dataclass(frozen=True)
class Difference:
    """Which two variants' distance the colours show (``difference.py``)."""

    first: VariantName
    second: VariantName
    aligned: bool = False
    """Leave out turn, shift and size of the whole hand: what is left is pose and shape."""

    @property
    def pair(self) -> tuple[VariantName, VariantName]:
        """Both."""
        return self.first, self.second


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
    inset: bool = True
    """In free orbit, the picture in a corner."""
    mark_inferred: bool = False
    """In texture colour: stripes over what no picture has shown."""
    relight: bool = False
    """In texture and plain colour: the viewport's light instead of the picture's, from where the person puts it."""
    uncertain: UncertainMode = "show"
    """What becomes of the parts of a mesh whose deviation is above ``uncertain_above_mm``."""
    uncertain_above_mm: float = 10.0
    ellipses: bool = False
    """Around every keypoint, the ellipse of its Gaussian."""
    ellipse_sigmas: float = 2.0
    """Its half axes in deviations."""
    background: Background = "picture"
    """``none``: the hands alone over nothing, in premultiplied colours with their opacity in alpha."""
    compare: bool = False
    """A pane for every variant."""
    difference: Difference | None = None
    """Distances instead of ``colour``; None: as ``colour`` says."""

    @property
    def light_can_move(self) -> bool:
        """Whether the person moves the light; in the heatmap it would change what colours seem to say."""
        return self.relight and self.colour != "deviation" and self.difference is None

    def cut_out(self) -> "DrawOptions":
        """The same hands, opaque and alone, for a picture that is laid over others."""
        return replace(self, background="none", opacity=1.0, legend=False, inset=False)
