"""A cut-open surface laid flat, lengths kept as far as they can be: what a texture's picture is painted on.

Least squares conformal maps (Lévy et al. 2002) keep angles but shrink fingers; what repairs that is the local/global
method of Liu et al. (2008), which alternates between the turn of each triangle and one sparse solution for all points.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csc_matrix
from scipy.sparse.linalg import splu

from handviz.core.records import FloatArray


def flatten(
    vertices: FloatArray, faces: NDArray[np.int32], seen_from: FloatArray, *, repair_steps: int = 3
) -> FloatArray:
    """Vertices (V, 3) of a disc with triangles (F, 3) -> plane (V, 2), x right, y down, as seen from outside.

    ``seen_from`` (V, 2) is a rough flat picture: its highest and lowest vertex stay where they are at first.
    """
    triangles = _laid_flat(vertices[faces])
    return _as_rigid_as_possible(_conformal(seen_from, faces, triangles), faces, triangles, repair_steps)


def _laid_flat(corners: FloatArray) -> FloatArray:
    """Each triangle (F, 3, 3) by itself in the plane (F, 3, 2): counter-clockwise ones stay so where y is down."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    length = np.linalg.norm(first, axis=1)
    along = (second * first).sum(axis=1) / length
    across = np.linalg.norm(second - (along / length)[:, None] * first, axis=1)
    nothing = np.zeros_like(length)
    flat = [(nothing, nothing), (length, nothing), (along, -across)]
    return np.stack([np.stack(point, axis=1) for point in flat], axis=1)


def _conformal(seen_from: FloatArray, faces: NDArray[np.int32], triangles: FloatArray) -> FloatArray:
    """The map (V, 2) that keeps angles best and two vertices of ``seen_from`` (V, 2) in place."""
    points = triangles @ np.array([1.0, 1.0j])
    opposite = np.roll(points, -2, axis=1) - np.roll(points, -1, axis=1)
    entries = opposite / np.sqrt(np.abs(_doubled_areas(triangles)))[:, None]
    rows = np.repeat(np.arange(len(faces)), 3)
    system = coo_matrix((entries.ravel(), (rows, faces.ravel())), (len(faces), len(seen_from))).tocsc()
    pinned = np.array([seen_from[:, 1].argmin(), seen_from[:, 1].argmax()])
    free = np.setdiff1d(np.arange(len(seen_from)), pinned)
    flat = seen_from @ np.array([1.0, 1.0j])
    transposed = system[:, free].conj().T
    normal = csc_matrix(transposed @ system[:, free])
    flat[free] = splu(normal).solve(-transposed @ (system[:, pinned] @ flat[pinned]))
    return np.stack([flat.real, flat.imag], axis=1)


def _as_rigid_as_possible(flat: FloatArray, faces: NDArray[np.int32], triangles: FloatArray, steps: int) -> FloatArray:
    """Alternate between each triangle's own turn and the positions (V, 2) that follow all turns best."""
    start, end = faces[:, [1, 2, 0]], faces[:, [2, 0, 1]]
    edges = triangles[:, [1, 2, 0]] - triangles[:, [2, 0, 1]]
    weights = _cotangents(triangles)
    solve = splu(_laplacian(start.ravel(), end.ravel(), weights.ravel(), len(flat))).solve
    wanted = edges @ np.array([1.0, 1.0j])
    for _ in range(steps):
        now = (flat[start] - flat[end]) @ np.array([1.0, 1.0j])
        turn = (weights * now * wanted.conj()).sum(axis=1)
        pull = (turn / np.abs(turn))[:, None] * wanted * weights
        sums = np.zeros(len(flat), dtype=complex)
        np.add.at(sums, start, pull)
        np.add.at(sums, end, -pull)
        sums[0] += flat[0] @ np.array([1.0, 1.0j])
        flat = np.stack([solve(sums.real), solve(sums.imag)], axis=1)
    return flat


def _cotangents(triangles: FloatArray) -> FloatArray:
    """(F, 3) cotangent of the angle at each corner, the weight of the edge opposite."""
    first = np.roll(triangles, -1, axis=1) - triangles
    second = np.roll(triangles, -2, axis=1) - triangles
    return (first * second).sum(axis=2) / np.abs(_doubled_areas(triangles))[:, None]


def _laplacian(start: NDArray[np.int32], end: NDArray[np.int32], weights: FloatArray, count: int) -> csc_matrix:
    """The sum over edges; vertex 0 is held, else the whole could move."""
    rows, columns = np.concatenate([start, end, start, end, [0]]), np.concatenate([start, end, end, start, [0]])
    values = np.concatenate([weights, weights, -weights, -weights, [1.0]])
    return coo_matrix((values, (rows, columns)), (count, count)).tocsc()


def _doubled_areas(triangles: FloatArray) -> FloatArray:
    """(F,) twice the signed area of flat triangles (F, 3, 2)."""
    first, second = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
