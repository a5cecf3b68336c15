"""Picking of vertices and joints in the view, and marks of the picked point. No OpenGL here."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray
from handviz.rendering.camera import Matrix, Size
from handviz.rendering.hand_shape import HandShape, Surface
from handviz.rendering.highlight import Highlight, Pick

MARK_RADIUS_PX, CORE_RADIUS_PX = 5.0, 3.0
MARK_COLOUR, CORE_COLOUR = (1.0, 1.0, 1.0), (0.91, 0.13, 0.42)
DISC_COLOUR = (0.35, 0.80, 1.0)
"""Of no colour map: a disc states its weight by its area alone."""
MIN_DISC_PX, MAX_DISC_PX = 2.0, 26.0
"""Radii of joints with none and all of the attention, to which areas are proportional."""


def highlight_strokes(
    highlight: Highlight, shape: HandShape, clip_from_scene: Matrix, view_size: Size, pixel_ratio: float
) -> NDArray[np.float32]:
    """Return (N, 8) as ``passes.strokes``: discs at the joints, then the mark over them."""
    joints_px = in_view(clip_from_scene, shape.keypoints, view_size)[:, :2]
    rows = []
    attention = highlight.attention
    if attention is not None and attention.joints is not None:
        fractions = np.clip(attention.joints, 0, 1)
        radii = MIN_DISC_PX + (MAX_DISC_PX - MIN_DISC_PX) * np.sqrt(fractions)
        colours = np.tile(DISC_COLOUR, (len(fractions), 1))
        order = np.argsort(-fractions)
        rows.append(_discs(joints_px[order], colours[order], radii[order] * pixel_ratio))
    pick = highlight.pick
    point = shape.model_vertices[[pick.vertex]] if pick.vertex is not None else shape.keypoints[[pick.joint or 0]]
    marked = np.repeat(in_view(clip_from_scene, point, view_size)[:, :2], 2, axis=0)
    radii = np.array([MARK_RADIUS_PX, CORE_RADIUS_PX]) * pixel_ratio
    rows.append(_discs(marked, np.array([MARK_COLOUR, CORE_COLOUR]), radii))
    return np.concatenate(rows)


def _discs(centres_px: FloatArray, colours: FloatArray, radii_px: FloatArray) -> NDArray[np.float32]:
    return np.concatenate([centres_px, centres_px, colours, radii_px[:, None]], axis=1, dtype=np.float32)


JOINT_REACH_PX = 8.0
"""Radius around a drawn joint in which a click picks it (logical pixels)."""
MIN_FRACTION = 0.05
"""Smallest weight of a vertex that counts as near a point of the display mesh."""
MIN_AREA_PX2, ROUNDING = 1e-9, 1e-9


@dataclass(frozen=True, eq=False)
class PickView:
    """A view as it was drawn."""

    clip_from_scene: Matrix
    size: Size
    """Physical pixels."""


@lru_cache(maxsize=4)
def _weights(surface: Surface, vertex_count: int) -> FloatArray:
    """Return (Vd, V): weights of the model's vertices in each display vertex."""
    return surface.lift(np.eye(vertex_count, dtype=np.float32))


def pick(view: PickView, shapes: Sequence[HandShape], point_px: FloatArray, *, joint_reach_px: float) -> Pick | None:
    """Return the vertex or joint under ``point_px`` (2,) in physical view pixels, None beside the hands.

    Joints within ``joint_reach_px`` come first (0: joints are not drawn), then the nearest visible vertex of the
    front-most surface.
    """
    joint = _nearest_joint(view, shapes, point_px, joint_reach_px) if joint_reach_px > 0 else None
    return joint or _front_vertex(view, shapes, point_px)


def in_view(clip_from_scene: FloatArray, points: FloatArray, view_size: Size) -> FloatArray:
    """Project scene points (N, 3) to view pixels, y down, and OpenGL's depth, linear over a triangle: (N, 3)."""
    clip = points @ clip_from_scene[:, :3].T + clip_from_scene[:, 3]
    ndc = clip[:, :3] / clip[:, 3:]
    return np.column_stack([(ndc[:, :2] * [0.5, -0.5] + 0.5) * view_size, ndc[:, 2]])


def front_hit(points: FloatArray, faces: NDArray[np.int32], point_px: FloatArray) -> tuple[float, FloatArray] | None:
    """Return depth and weights (Vd,) of the first mesh point under ``point_px``; ``points`` (Vd, 3) of ``in_view``."""
    first, second, third = (points[faces[:, corner], :2] - point_px for corner in range(3))
    parts = np.stack([_cross(second, third), _cross(third, first), _cross(first, second)], axis=1)
    area = parts.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        fractions = parts / area[:, None]
    inside = (np.abs(area) > MIN_AREA_PX2) & (fractions >= -ROUNDING).all(axis=1)
    hit = np.flatnonzero(inside)
    if not len(hit):
        return None
    depths = np.einsum("fc,fc->f", fractions[hit], points[faces[hit], 2])
    nearest = int(depths.argmin())
    weights = np.zeros(len(points))
    np.add.at(weights, faces[hit[nearest]], fractions[hit[nearest]])
    return float(depths[nearest]), weights


def _nearest_joint(view: PickView, shapes: Sequence[HandShape], point_px: FloatArray, reach_px: float) -> Pick | None:
    found: list[tuple[float, int, int]] = []
    for number, shape in enumerate(shapes):
        joints = in_view(view.clip_from_scene, shape.keypoints, view.size)
        distances_px = np.linalg.norm(joints[:, :2] - point_px, axis=1)
        joint = int(distances_px.argmin())
        found.append((float(distances_px[joint]), number, joint))
    nearest_px, number, joint = min(found, default=(np.inf, 0, 0))
    return Pick(number, joint=joint) if nearest_px <= reach_px else None


def _front_vertex(view: PickView, shapes: Sequence[HandShape], point_px: FloatArray) -> Pick | None:
    hits: list[tuple[float, int, FloatArray, FloatArray]] = []
    for number, shape in enumerate(shapes):
        points = in_view(view.clip_from_scene, shape.vertices[:, :3].astype(np.float64), view.size)
        hit = front_hit(points, shape.surface.faces, point_px)
        if hit is not None:
            hits.append((hit[0], number, hit[1], points))
    if not hits:
        return None
    _, number, weights, points = min(hits, key=lambda hit: hit[0])
    shape = shapes[number]
    model_weights = _weights(shape.surface, len(shape.model_vertices))
    own_px = in_view(view.clip_from_scene, shape.model_vertices, view.size)[:, :2]
    distances_m = np.linalg.norm((shape.model_vertices - weights @ shape.vertices[:, :3]) / shape.units_per_m, axis=1)
    fractions = weights @ model_weights
    around = np.flatnonzero(fractions > MIN_FRACTION)
    for vertex in around[np.argsort(distances_m[around])]:
        seen = front_hit(points, shape.surface.faces, own_px[vertex])
        if seen is None or seen[1] @ model_weights[:, vertex] > MIN_FRACTION:
            return Pick(number, vertex=int(vertex))
    # At a silhouette all vertices around may be hidden.
    return Pick(number, vertex=int(fractions.argmax()))


def _cross(one: FloatArray, other: FloatArray) -> FloatArray:
    return one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
