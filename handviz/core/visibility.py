"""Which vertices a mesh does not hide from the camera by itself; numpy only, for the live program."""

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray

DEPTH_TOLERANCE = 0.02
"""Crop half-sides, about 2 mm: nearer surfaces than this in front of a vertex do not hide it."""
MIN_AREA = 1e-9
ROUNDING = 1e-5
ROWS = 48
"""Points at a time: intermediate results fit the processor's cache, and products so small run in one thread; larger
ones would run in several, which wait for each other on a busy processor."""


def self_visible(points: FloatArray, faces: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return (V,) which points (V, 3) the triangles (F, 3) leave visible to a viewer that looks along z.

    Points in crop half-sides, x right, y down, z away; triangles counter-clockwise seen from outside. Exact but for
    rounding: a ray through every vertex against every triangle that faces the viewer, whose barycentrics and depth
    are planes over the image. Points that are not finite are hidden and hide nothing.
    """
    first, second, third = (points[faces[:, corner]].astype(np.float64) for corner in range(3))
    area = _cross(second - first, third - first)
    front = area < -MIN_AREA
    first, second, third, area = first[front], second[front], third[front], area[front]
    visible = np.zeros(len(points), dtype=bool)
    # A vertex of no triangle that faces the viewer is hidden.
    visible[faces[front]] = True
    tested = np.flatnonzero(visible & np.isfinite(points).all(axis=1))
    visible[:] = False
    exact = [_plane(*edge, area) for edge in ((second, third), (third, first), (first, second))]
    depth = sum(weight * corner[:, 2] for weight, corner in zip(exact, (first, second, third), strict=True))
    weights = [weight.astype(np.float32) for weight in exact]
    hidden = [
        _hidden(part, weights, np.asarray(depth, np.float32))
        for part in np.split(points[tested], range(ROWS, len(tested), ROWS))
    ]
    visible[tested] = ~np.concatenate(hidden)
    return visible


def _hidden(points: FloatArray, weights: list[FloatArray], depth: FloatArray) -> NDArray[np.bool_]:
    """Return (N,) whether a triangle, by its planes (3, F) of weights and depth, occludes points (N, 3)."""
    rays = np.column_stack([points[:, :2], np.ones(len(points))]).astype(np.float32)
    nearer = (points[:, 2:] - DEPTH_TOLERANCE).astype(np.float32) - rays @ depth
    for weight in weights:
        np.minimum(nearer, rays @ weight, out=nearer)
    return np.asarray((nearer > ROUNDING).any(axis=1))


def _cross(one: FloatArray, other: FloatArray) -> FloatArray:
    return one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]


def _plane(start: FloatArray, end: FloatArray, area: FloatArray) -> FloatArray:
    """Return (3, F) coefficients of x, y and 1 in the weight of the corner opposite an edge."""
    along = end - start
    return np.stack([-along[:, 1], along[:, 0], along[:, 1] * start[:, 0] - along[:, 0] * start[:, 1]]) / area
