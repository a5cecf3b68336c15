"""The picked point's mark and the joints' discs, as strokes of the skeleton's pass."""

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray
from handviz.rendering.camera import Matrix, Size
from handviz.rendering.colormap import colours_from_attention
from handviz.rendering.hand_shape import HandShape
from handviz.rendering.highlight import Highlight
from handviz.rendering.picking import in_view

MARK_RADIUS_PX, CORE_RADIUS_PX = 5.0, 3.0
MARK_COLOUR, CORE_COLOUR = (1.0, 1.0, 1.0), (0.91, 0.13, 0.42)
SMALLEST_DISC_PX, LARGEST_DISC_PX = 2.0, 26.0
"""Radii of joints that get none and all of the attention; areas grow with it."""


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
