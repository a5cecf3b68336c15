"""What a person can choose about the image."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from handviz.core.records import FloatArray, VariantName

ColourMode = Literal["uncertainty", "texture", "plain"]
ViewMode = Literal["overlay", "orbit"]
UncertainMode = Literal["show", "fade", "hide"]
Background = Literal["picture", "none"]
Fade = tuple[float, float, float]
"""Standard deviations in mm between which a surface fades, and the fraction of its opacity that is left above both."""
FADED_FROM, FADED_TO, FADED_OPACITY = 0.8, 1.25, 0.15
"""Fractions of the threshold; standard deviations differ smoothly over a hand, and so does what is seen of it."""
HIDDEN_FROM, HIDDEN_TO = 0.97, 1.03
GROUND_COLOUR, GROUND_FRACTION = (0.07, 0.13, 0.27), 0.42
STRIPE_COLOUR, STRIPE_FRACTION = (0.80, 0.93, 1.0), 0.62
PERIOD_PX, HALF_WIDTH_PX = 7.0, 1.0
"""Along a row of the view; fixed to the view, so that stripes are nowhere too fine or too coarse."""
SEEN_FROM, SEEN_TO = 0.4, 0.6
"""Values of ``seen`` between which the mark fades: half of it at 0.5."""
Direction = tuple[float, float, float]


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

    colour: ColourMode = "uncertainty"
    view: ViewMode = "overlay"
    """``overlay``: on the image; ``orbit``: the hands alone, from any side."""
    wireframe: bool = False
    skeleton: bool = False
    mirror: bool = False
    """Flip the whole image left to right, as in a mirror."""
    opacity: float = 0.9
    """Of the mesh over the image, 0 to 1; in free orbit hands are always opaque."""
    std_range_mm: tuple[float, float] | None = None
    """Ends of the heatmap; None follows the data."""
    legend: bool = True
    inset: bool = True
    """In free orbit, the image in a corner."""
    mark_inferred: bool = False
    """In texture colour: stripes over what no image has shown."""
    relight: bool = False
    """In texture and plain colour: the viewport's light instead of the image's, from where the person puts it."""
    uncertain: UncertainMode = "show"
    """What becomes of the parts of a mesh whose standard deviation is above ``uncertain_above_mm``."""
    uncertain_above_mm: float = 10.0
    ellipses: bool = False
    """Around every keypoint, the ellipse of its Gaussian."""
    ellipse_sigmas: float = 2.0
    """Its half axes in standard deviations."""
    background: Background = "picture"
    """``none``: the hands alone over nothing, in premultiplied colours with their opacity in alpha."""
    compare: bool = False
    """A pane for every variant."""
    difference: Difference | None = None
    """Distances instead of ``colour``; None: as ``colour`` says."""

    @property
    def light_can_move(self) -> bool:
        """Whether the person moves the light; in the heatmap it would change what colours seem to say."""
        return self.relight and self.colour != "uncertainty" and self.difference is None

    def cut_out(self) -> "DrawOptions":
        """The same hands, opaque and alone, for an image that is laid over others."""
        return replace(self, background="none", opacity=1.0, legend=False, inset=False)


# What is less certain than a threshold fades or goes: the numbers that the mesh's shader gets.


def fade_of(options: DrawOptions) -> Fade | None:
    """None where everything is shown alike."""
    above_mm = options.uncertain_above_mm
    if options.uncertain == "fade":
        return FADED_FROM * above_mm, FADED_TO * above_mm, FADED_OPACITY
    if options.uncertain == "hide":
        return HIDDEN_FROM * above_mm, HIDDEN_TO * above_mm, 0.0
    return None


# How parts that no image has shown are marked: pale stripes on a ground that is darker and cooler. The stripes
# differ from their ground in lightness, not in hue alone: so they show on every skin, to every eye.
# ``shaders/mesh.frag.glsl`` does the same per fragment, with the numbers of this module.


def stripe_cover(column_px: FloatArray, row_px: FloatArray, pixel_ratio: float = 1.0) -> FloatArray:
    """How much of a pixel, 0 to 1, a stripe covers; rows count upwards as OpenGL's do."""
    period_px = PERIOD_PX * pixel_ratio
    away_px = np.abs((column_px + row_px) / period_px % 1.0 - 0.5) * period_px
    return np.clip(HALF_WIDTH_PX * pixel_ratio + 0.5 - away_px, 0.0, 1.0)


def marked(colours: FloatArray, cover: FloatArray) -> FloatArray:
    """Colours (..., 3) as they look where they are inferred, under stripes that cover (...) of them."""
    ground = colours + (np.array(GROUND_COLOUR) - colours) * GROUND_FRACTION
    return ground + (np.array(STRIPE_COLOUR) - ground) * (STRIPE_FRACTION * cover)[..., None]


# The main light of the viewport, which the person can move.


def unit(direction: Direction) -> Direction:
    """The direction at length 1, in single precision as a shader's own ``normalize`` would give it."""
    vector = np.array(direction, dtype=np.float32)
    x, y, z = (vector * (np.float32(1.0) / np.sqrt(vector @ vector))).tolist()
    return x, y, z


FIRST_DIRECTION = unit((-0.45, -0.65, -0.80))


@dataclass(frozen=True)
class KeyLight:
    """Where the light comes from; each change gives a new light."""

    to_light: Direction = FIRST_DIRECTION
    """Unit vector in the eye's axes (x right, y down, z away): the light stays where it is when hands turn."""

    RADIANS_PER_PX = 0.008
    STEEPEST_RAD = math.radians(89.0)

    def dragged(self, right_px: float, down_px: float) -> "KeyLight":
        """The light follows the mouse around the hands, and behind them if it goes far enough."""
        x, y, z = self.to_light
        yaw = math.atan2(x, -z) + right_px * self.RADIANS_PER_PX
        pitch = math.asin(min(max(y, -1.0), 1.0)) + down_px * self.RADIANS_PER_PX
        pitch = min(max(pitch, -self.STEEPEST_RAD), self.STEEPEST_RAD)
        level = math.cos(pitch)
        return KeyLight((math.sin(yaw) * level, math.sin(pitch), -math.cos(yaw) * level))

    def between_light_and_eye(self) -> Direction:
        """Where the normal of a mirror points that shows the light; any direction for a light behind the hands."""
        x, y, z = self.to_light
        return unit((x, y, z - 1.0)) if z < 1.0 else (0.0, 0.0, -1.0)
