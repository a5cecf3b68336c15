"""What a person points at, and where its attention goes: shown over a result, no part of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray
from handviz.rendering.camera import Matrix, Size
from handviz.rendering.colormap import colours_from_attention
from handviz.rendering.hand_shape import HandShape
from handviz.rendering.picking import in_view

ROUND_NUMBERS = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
MARK_RADIUS_PX, CORE_RADIUS_PX = 5.0, 3.0
MARK_COLOUR, CORE_COLOUR = (1.0, 1.0, 1.0), (0.91, 0.13, 0.42)
SMALLEST_DISC_PX, LARGEST_DISC_PX = 2.0, 26.0
"""Radii of joints that get none and all of the attention; areas grow with it."""


@dataclass(frozen=True)
class Pick:
    """A vertex of the hand model, or a joint, of one of a result's hands."""

    hand: int
    """Index in ``FrameResult.hands``."""
    vertex: int | None = None
    joint: int | None = None


@dataclass(frozen=True, eq=False)
class AttentionShown:
    """Attention of one vertex to all others and to the joints, or of all vertices to one joint."""

    vertices: FloatArray
    """(V,) 1 is an even share; slightly below 0 where it was lifted from fewer tokens."""
    joints: FloatArray | None = None
    """(21,) shares that sum to 1; None where a joint was picked."""

    @property
    def most(self) -> float:
        """Upper end of the colours: the round number that holds all of it."""
        largest = float(self.vertices.max(initial=0.0))
        return next((number for number in ROUND_NUMBERS if number >= largest), ROUND_NUMBERS[-1])


@dataclass(frozen=True, eq=False)
class Highlight:
    """A picked point of the result that is shown."""

    pick: Pick
    attention: AttentionShown | None = None


# The picked point's mark and the joints' discs, as strokes of the skeleton's pass.


def highlight_strokes(
    highlight: Highlight, shape: HandShape, clip_from_scene: Matrix, view_size: Size, pixel_ratio: float
) -> NDArray[np.float32]:
    """(N, 8) as ``skeleton_pass.strokes``: discs at the joints, then the mark over them."""
    joints_px = in_view(clip_from_scene, shape.keypoints, view_size)[:, :2]
    rows = []
    attention = highlight.attention
    if attention is not None and attention.joints is not None:
        shares = np.clip(attention.joints, 0, 1)
        radii = SMALLEST_DISC_PX + (LARGEST_DISC_PX - SMALLEST_DISC_PX) * np.sqrt(shares)
        colours = colours_from_attention(shares, float(shares.max()))
        order = np.argsort(-shares)
        rows.append(_discs(joints_px[order], colours[order], radii[order] * pixel_ratio))
    pick = highlight.pick
    place = shape.model_vertices[[pick.vertex]] if pick.vertex is not None else shape.keypoints[[pick.joint or 0]]
    marked = np.repeat(in_view(clip_from_scene, place, view_size)[:, :2], 2, axis=0)
    radii = np.array([MARK_RADIUS_PX, CORE_RADIUS_PX]) * pixel_ratio
    rows.append(_discs(marked, np.array([MARK_COLOUR, CORE_COLOUR]), radii))
    return np.concatenate(rows)


def _discs(centres_px: FloatArray, colours: FloatArray, radii_px: FloatArray) -> NDArray[np.float32]:
    return np.concatenate([centres_px, centres_px, colours, radii_px[:, None]], axis=1, dtype=np.float32)
