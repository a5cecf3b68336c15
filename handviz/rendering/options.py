"""Drawing options of the view, and the numbers that shaders derive from them."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np

from handviz.core.arguments import between
from handviz.core.records import FloatArray, ModelId
from handviz.rendering.colormap import DEFAULT_RANGE_MM, ColourMap

ColourMode = Literal["uncertainty", "texture", "plain"]
ViewMode = Literal["overlay", "orbit"]
UncertainMode = Literal["show", "fade", "hide"]
SampleMode = Literal["none", "ghosts", "animation"]
CompareMode = Literal["panes", "wipe", "blink"]
HeatmapMode = Literal[
    "none", "all", "wrist",
    "thumb_1", "thumb_2", "thumb_3", "thumb_4",
    "index_1", "index_2", "index_3", "index_4",
    "middle_1", "middle_2", "middle_3", "middle_4",
    "ring_1", "ring_2", "ring_3", "ring_4",
    "little_1", "little_2", "little_3", "little_4",
]  # fmt: skip
"""Heatmaps over the image: none, those of all keypoints, or that of one."""
DEFAULT_COMPARED: tuple[ModelId, ...] = ("prior", "amvur", "final")
"""The models of a comparison unless others are chosen."""
Background = Literal["picture", "none"]
Ground = Literal["dark", "grey", "white", "checker"]
GROUNDS: dict[Ground, tuple[float, float, float]] = {
    "dark": (0.055, 0.063, 0.078),
    "grey": (0.36, 0.38, 0.41),
    "white": (1.0, 1.0, 1.0),
    "checker": (0.75, 0.75, 0.75),
}
"""Colours around image and hands; of the checkerboard the middle one."""
Fade = tuple[float, float, float]
"""Standard deviations in mm between which a surface fades, and the fraction of its opacity that is left above both."""
FADED_FROM, FADED_TO, FADED_OPACITY = 0.8, 1.25, 0.15
"""Fractions of the threshold between which opacity changes smoothly."""
HIDDEN_FROM, HIDDEN_TO = 0.97, 1.03
GROUND_COLOUR, GROUND_FRACTION = (0.07, 0.13, 0.27), 0.42
STRIPE_COLOUR, STRIPE_FRACTION = (0.80, 0.93, 1.0), 0.62
PERIOD_PX, HALF_WIDTH_PX = 7.0, 1.0
"""Along a row of the view, to which stripes are fixed, so that they are nowhere too fine or too coarse."""
SEEN_FROM, SEEN_TO = 0.4, 0.6
"""Values of ``seen`` between which the stripes fade: half at 0.5."""
LEAST_RANGE_MM = 0.5
"""Of a colour map whose upper end is not above the lower one."""
MIN_COMPARED, MAX_COMPARED = 2, 4
"""How many models stand side by side."""
RESULT_STEP = 11
"""Number of an iteration that stands for the result, after smoothing and fusion; no model has more than ten."""
Direction = tuple[float, float, float]


@dataclass(frozen=True)
class Difference:
    """Pair of models whose distance the colours show (``difference.py``)."""

    first: ModelId
    second: ModelId
    aligned: bool = False
    """Align the hands first (Procrustes), which leaves differences of pose and shape."""

    @property
    def pair(self) -> tuple[ModelId, ModelId]:
        """Both models."""
        return self.first, self.second


@dataclass(frozen=True)
class DrawOptions:
    """Options for drawing a result, which do not change the result."""

    colour: ColourMode = "uncertainty"
    view: ViewMode = "overlay"
    """``overlay``: on the image; ``orbit``: the hands alone, from any side."""
    wireframe: bool = False
    skeleton: bool = False
    skeleton_width: Annotated[float, between(0.5, 3.0)] = 1.0
    """Of its bones and keypoints; 1 is the usual width."""
    mirror: bool = False
    """Flip the whole image left to right."""
    opacity: Annotated[float, between(0.1, 1.0)] = 0.9
    """Of the mesh over the image, 0 to 1; in the 3D view hands are always opaque."""
    colour_map: ColourMap = "viridis"
    """Of the uncertainty."""
    range_is_automatic: bool = False
    """Let the ends of the colour map follow the data; otherwise they are the next two."""
    range_low_mm: Annotated[float, between(0.0, 499.0)] = DEFAULT_RANGE_MM[0]
    range_high_mm: Annotated[float, between(0.5, 500.0)] = DEFAULT_RANGE_MM[1]
    legend: bool = True
    inset: bool = True
    """In the 3D view, the image in a corner."""
    mark_inferred: bool = False
    """In texture colour: hatch unobserved regions."""
    relight: bool = False
    """In texture and plain colour: the viewport's movable light instead of the image's."""
    uncertain: UncertainMode = "show"
    """Drawing of regions whose standard deviation is above ``uncertain_above_mm``."""
    uncertain_above_mm: Annotated[float, between(0.5, 30.0)] = 10.0
    ellipses: bool = False
    """Ellipses of the keypoints' Gaussians."""
    ellipse_sigmas: Annotated[float, between(1.0, 2.0)] = 2.0
    """Their half axes in standard deviations."""
    samples: SampleMode = "none"
    """Hands drawn from the posterior: faint ones around the mean (``ghosts``), or one that moves (``animation``)."""
    heatmaps: HeatmapMode = "none"
    """Heatmaps of the model over the image: ``none``, ``all``, or the name of a keypoint."""
    iteration: Annotated[int, between(0, RESULT_STEP)] = RESULT_STEP
    """Step of an iterative model whose hand is drawn, 0 for its start; beyond the last one the result."""
    plays_iterations: bool = False
    """Show the steps one after the other."""
    background: Background = "picture"
    """``none``: the hands alone, in premultiplied colours with their opacity in alpha."""
    compare: bool = False
    """One pane for each of ``compared``."""
    compared: tuple[ModelId, ...] = DEFAULT_COMPARED
    """Two to four models, in the order of their panes."""
    compare_mode: CompareMode = "panes"
    """``panes``: side by side; ``wipe``: the first two on both sides of a line; ``blink``: one after the other."""
    compare_crop: bool = False
    """Show the hands' surroundings large instead of the whole image."""
    wipe_at: Annotated[float, between(0.0, 1.0)] = 0.5
    """Where the line of ``wipe`` is, as a fraction of the view's width."""
    difference: bool = False
    """Difference map of ``difference_pair`` instead of ``colour``."""
    difference_pair: tuple[ModelId, ModelId] = ("prior", "final")
    difference_aligned: bool = False
    """Align the hands first (Procrustes), which leaves differences of pose and shape."""
    labels: bool = True
    """On the image, each hand's number, side and score."""
    guides: bool = True
    """In the 3D view, a grid below the hands, the camera's axes, and a scale bar."""
    ground: Ground = "dark"
    """Colour around image and hands."""
    detections: bool = False
    """On the image, MediaPipe's 21 landmarks of each hand and the square of its crop."""

    @property
    def std_range_mm(self) -> tuple[float, float] | None:
        """Ends of the uncertainty's colour map; None: automatic."""
        if self.range_is_automatic:
            return None
        low_mm, high_mm = self.range_low_mm, self.range_high_mm
        return low_mm, high_mm if high_mm > low_mm else low_mm + LEAST_RANGE_MM

    @property
    def shown_difference(self) -> Difference | None:
        """The two models whose distance the colours show, None if no difference map is shown."""
        return Difference(*self.difference_pair, aligned=self.difference_aligned) if self.difference else None

    @property
    def light_can_move(self) -> bool:
        """Whether the light can be moved, which would falsify the colours of heatmaps."""
        return self.relight and self.colour != "uncertainty" and not self.difference

    def with_range(self, range_mm: tuple[float, float] | None) -> "DrawOptions":
        """Return options with these ends of the colour map; None: automatic."""
        if range_mm is None:
            return replace(self, range_is_automatic=True)
        return replace(self, range_is_automatic=False, range_low_mm=range_mm[0], range_high_mm=range_mm[1])

    def cut_out(self) -> "DrawOptions":
        """Return options for the same hands without background, opaque."""
        return replace(
            self,
            background="none",
            opacity=1.0,
            legend=False,
            inset=False,
            labels=False,
            guides=False,
            detections=False,
        )


def fade_of(options: DrawOptions) -> Fade | None:
    """Return the shader's numbers for uncertain regions; None: they are drawn as all others."""
    above_mm = options.uncertain_above_mm
    if options.uncertain == "fade":
        return FADED_FROM * above_mm, FADED_TO * above_mm, FADED_OPACITY
    if options.uncertain == "hide":
        return HIDDEN_FROM * above_mm, HIDDEN_TO * above_mm, 0.0
    return None


# Unobserved regions have pale stripes on a darker, cooler ground: the difference in lightness shows on every skin, also
# to colour-blind people. ``shaders/mesh.frag.glsl`` computes the same per fragment, with the numbers of this module.


def stripe_cover(column_px: FloatArray, row_px: FloatArray, pixel_ratio: float = 1.0) -> FloatArray:
    """Return the fraction of pixels that stripes cover; rows count upwards as in OpenGL."""
    period_px = PERIOD_PX * pixel_ratio
    distance_px = np.abs((column_px + row_px) / period_px % 1.0 - 0.5) * period_px
    return np.clip(HALF_WIDTH_PX * pixel_ratio + 0.5 - distance_px, 0.0, 1.0)


def marked(colours: FloatArray, cover: FloatArray) -> FloatArray:
    """Hatch colours (..., 3) as inferred, with stripes that cover fractions (...)."""
    ground = colours + (np.array(GROUND_COLOUR) - colours) * GROUND_FRACTION
    return ground + (np.array(STRIPE_COLOUR) - ground) * (STRIPE_FRACTION * cover)[..., None]


def unit(direction: Direction) -> Direction:
    """Normalize the direction in single precision, as a shader's ``normalize`` does."""
    vector = np.array(direction, dtype=np.float32)
    x, y, z = (vector * (np.float32(1.0) / np.sqrt(vector @ vector))).tolist()
    return x, y, z


DEFAULT_DIRECTION = unit((-0.45, -0.65, -0.80))


@dataclass(frozen=True)
class KeyLight:
    """The viewport's main light, which can be moved; each change gives a new light."""

    to_light: Direction = DEFAULT_DIRECTION
    """Unit vector in the eye's axes (x right, y down, z away): independent of the orbit."""

    RADIANS_PER_PX = 0.008
    STEEPEST_RAD = math.radians(89.0)

    def dragged(self, right_px: float, down_px: float) -> "KeyLight":
        """Move the light with the mouse around the hands, and behind them if it goes far enough."""
        x, y, z = self.to_light
        yaw = math.atan2(x, -z) + right_px * self.RADIANS_PER_PX
        pitch = math.asin(min(max(y, -1.0), 1.0)) + down_px * self.RADIANS_PER_PX
        pitch = min(max(pitch, -self.STEEPEST_RAD), self.STEEPEST_RAD)
        level = math.cos(pitch)
        return KeyLight((math.sin(yaw) * level, math.sin(pitch), -math.cos(yaw) * level))

    def between_light_and_eye(self) -> Direction:
        """Return the half vector between light and eye; any direction for a light behind the hands."""
        x, y, z = self.to_light
        return unit((x, y, z - 1.0)) if z < 1.0 else (0.0, 0.0, -1.0)
