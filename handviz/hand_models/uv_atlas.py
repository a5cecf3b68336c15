"""Where each point of the dense mesh lies in a texture's image: the hand cut open round its edge, both halves flat.

The uv of ``open_hand.npz`` is no use for an image of the hand: it is the body's, of which the hand fills 4 %, and with
one point per vertex every seventh triangle stretches across a seam. This layout follows from the rest shape alone, so
every hand has the same.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csc_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from handviz.core.records import FloatArray
from handviz.hand_models.anatomy import joint_axes
from handviz.hand_models.open_hand import load_display_mesh, load_open_hand
from handviz.hand_models.template import HandTemplate

TIPS = [4, 8, 12, 16, 20]
SEAM_FACING = -0.14
"""The cut runs a little on the palm's side, where the webs between fingers stay in one piece with the back; with this,
found by trial, no triangle of either half lies on another (tested)."""
SMOOTHING_STEPS = 6
PALM_FROM_BACK_M = (-0.113, -0.117)
"""Right and down, corner to corner of the halves' boxes: the palm's fingers reach into gaps of the back."""
MARGIN_M = 0.002


# A cut-open surface laid flat, lengths kept as far as they can be: what a texture's image is painted on. Least
# squares conformal maps (Lévy et al. 2002) keep angles but shrink fingers; what repairs that is the local/global
# method of Liu et al. (2008), which alternates between the turn of each triangle and one sparse solution for all
# points.


def flatten(
    vertices: FloatArray, faces: NDArray[np.int32], seen_from: FloatArray, *, repair_steps: int = 3
) -> FloatArray:
    """Vertices (V, 3) of a disc with triangles (F, 3) -> plane (V, 2), x right, y down, as seen from outside.

    ``seen_from`` (V, 2) is a rough flat image: its highest and lowest vertex stay where they are at first.
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


@dataclass(frozen=True, eq=False)
class UvAtlas:
    """The dense mesh with its vertices along the cut doubled, so that each has one place in the image."""

    vertex_ids: NDArray[np.int32]
    """(A,) the dense mesh's vertex."""
    faces: NDArray[np.int32]
    """(F, 3) the dense mesh's triangles in their order, into ``vertex_ids``."""
    uv: FloatArray
    """(A, 2) in [0, 1], u right, v down from the image's first row, as in glTF."""
    side_m: float
    """What the image's side measures on the mean hand."""


@cache
def load_uv_atlas() -> UvAtlas:
    """The layout of the open hand's dense mesh; raises HandvizError if the hand's file is missing or damaged."""
    template, display = load_open_hand(), load_display_mesh()
    vertices = display.lift(template.vertices_m.astype(np.float64))
    outwards = display.lift(template.skinning_weights @ _back_directions(template))
    is_back = _is_back(vertices, display.faces, outwards)
    back = _half(vertices, display.faces[is_back], np.array([-1.0, 1.0]))
    palm = _half(vertices, display.faces[~is_back], np.array([1.0, 1.0]))
    faces = np.empty_like(display.faces)
    faces[is_back], faces[~is_back] = back.faces, palm.faces + len(back.vertex_ids)
    flat = np.concatenate([back.flat, palm.flat + PALM_FROM_BACK_M])
    flat += MARGIN_M - flat.min(axis=0)
    side_m = float(flat.max()) + MARGIN_M
    return UvAtlas(np.concatenate([back.vertex_ids, palm.vertex_ids]), faces, flat / side_m, side_m)


@dataclass(frozen=True, eq=False)
class _Half:
    """Palm or back by itself."""

    vertex_ids: NDArray[np.int32]
    faces: NDArray[np.int32]
    flat: FloatArray
    """(C, 2) metres, from the upper left corner of its box."""


def _half(vertices: FloatArray, faces: NDArray[np.int32], seen_from: FloatArray) -> _Half:
    """Flatten the part of the mesh that has these triangles; ``seen_from`` mirrors the rest frame's x and y."""
    vertex_ids, own = np.unique(faces, return_inverse=True)
    own_faces = own.reshape(-1, 3).astype(np.int32)
    part = vertices[vertex_ids]
    flat = flatten(part, own_faces, part[:, :2] * seen_from)
    return _Half(vertex_ids.astype(np.int32), own_faces, flat - flat.min(axis=0))


def _back_directions(template: HandTemplate) -> FloatArray:
    """(16, 3) where the back of the wrist and of each finger bone looks in the rest frame; the thumb's is its own."""
    joints = template.joint_regressor @ template.vertices_m
    axes = joint_axes(joints, (template.keypoint_regressor @ template.vertices_m)[TIPS])
    return np.concatenate([[[0.0, 0.0, 1.0]], -np.cross(axes.flexion, axes.twist)])


def _is_back(vertices: FloatArray, faces: NDArray[np.int32], outwards: FloatArray) -> NDArray[np.bool_]:
    """(F,) whether a triangle belongs to the back; both halves hang together."""
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    facing = (normals * outwards[faces].mean(axis=1)).sum(axis=1)
    neighbours = _neighbours(faces)
    spread = (neighbours + csr_matrix((np.full(len(faces), 2.0), (range(len(faces)),) * 2))).tocsr()
    for _ in range(SMOOTHING_STEPS):
        facing = (spread @ facing) / np.asarray(spread.sum(axis=1)).ravel()
    is_back = facing > SEAM_FACING
    one, other = neighbours.nonzero()
    same = is_back[one] == is_back[other]
    inside = csr_matrix((np.ones(same.sum()), (one[same], other[same])), neighbours.shape)
    _, part = connected_components(inside, directed=False)
    crumbs = np.bincount(part)[part] < len(faces) / 10
    return is_back ^ crumbs


def _neighbours(faces: NDArray[np.int32]) -> csr_matrix:
    """(F, F) 1 where triangles share an edge."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, edge = np.unique(edges, axis=0, return_inverse=True)
    owner = np.repeat(np.arange(len(faces)), 3)
    touches = csr_matrix((np.ones(len(owner)), (owner, edge.ravel())))
    shared = (touches @ touches.T).tolil()
    shared.setdiag(0)
    return shared.tocsr()
