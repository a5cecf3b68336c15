"""The texture layout of the dense mesh: the hand cut along its edge into back and palm, both flattened.

The uv of ``open_hand.npz`` does not suit an image of the hand: it is the body's, of which the hand fills 4 %, and with
one point per vertex every seventh triangle stretches across a seam. This layout depends on the rest shape alone, so
it is the same for every hand.
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
"""The cut is slightly on the palm's side, so that the webs between fingers stay with the back; with this value, found
by trial, no triangles overlap (tested)."""
SMOOTHING_STEPS = 6
PALM_FROM_BACK_M = (-0.113, -0.117)
"""Right and down, corner to corner of the halves' boxes: the palm's fingers reach into gaps of the back."""
MARGIN_M = 0.002


# Least squares conformal maps (Lévy et al. 2002) preserve angles but shrink fingers; the local/global method of Liu et
# al. (2008), which alternates between each triangle's rotation and one sparse solution for all points, repairs that.


def flatten(
    vertices: FloatArray, faces: NDArray[np.int32], initial: FloatArray, *, repair_steps: int = 3
) -> FloatArray:
    """Flatten vertices (V, 3) of a disc with triangles (F, 3) to (V, 2), x right, y down, as seen from outside.

    ``initial`` (V, 2) is a rough flat layout: its highest and lowest vertex are fixed in the first step.
    """
    triangles = _flat_triangles(vertices[faces])
    return _as_rigid_as_possible(_conformal(initial, faces, triangles), faces, triangles, repair_steps)


def _flat_triangles(corners: FloatArray) -> FloatArray:
    """Flatten each triangle (F, 3, 3) by itself to (F, 3, 2): counter-clockwise ones stay so where y is down."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    length = np.linalg.norm(first, axis=1)
    along = (second * first).sum(axis=1) / length
    across = np.linalg.norm(second - (along / length)[:, None] * first, axis=1)
    zeros = np.zeros_like(length)
    flat = [(zeros, zeros), (length, zeros), (along, -across)]
    return np.stack([np.stack(point, axis=1) for point in flat], axis=1)


def _conformal(initial: FloatArray, faces: NDArray[np.int32], triangles: FloatArray) -> FloatArray:
    """Return the map (V, 2) that preserves angles best, with two vertices of ``initial`` (V, 2) fixed."""
    points = triangles @ np.array([1.0, 1.0j])
    opposite = np.roll(points, -2, axis=1) - np.roll(points, -1, axis=1)
    entries = opposite / np.sqrt(np.abs(_doubled_areas(triangles)))[:, None]
    rows = np.repeat(np.arange(len(faces)), 3)
    system = coo_matrix((entries.ravel(), (rows, faces.ravel())), (len(faces), len(initial))).tocsc()
    pinned = np.array([initial[:, 1].argmin(), initial[:, 1].argmax()])
    free = np.setdiff1d(np.arange(len(initial)), pinned)
    flat = initial @ np.array([1.0, 1.0j])
    transposed = system[:, free].conj().T
    normal = csc_matrix(transposed @ system[:, free])
    flat[free] = splu(normal).solve(-transposed @ (system[:, pinned] @ flat[pinned]))
    return np.stack([flat.real, flat.imag], axis=1)


def _as_rigid_as_possible(flat: FloatArray, faces: NDArray[np.int32], triangles: FloatArray, steps: int) -> FloatArray:
    """Alternate between each triangle's rotation and the positions (V, 2) that fit all rotations best."""
    start, end = faces[:, [1, 2, 0]], faces[:, [2, 0, 1]]
    edges = triangles[:, [1, 2, 0]] - triangles[:, [2, 0, 1]]
    weights = _cotangents(triangles)
    solve = splu(_laplacian(start.ravel(), end.ravel(), weights.ravel(), len(flat))).solve
    wanted = edges @ np.array([1.0, 1.0j])
    for _ in range(steps):
        now = (flat[start] - flat[end]) @ np.array([1.0, 1.0j])
        rotation = (weights * now * wanted.conj()).sum(axis=1)
        rotated_edges = (rotation / np.abs(rotation))[:, None] * wanted * weights
        sums = np.zeros(len(flat), dtype=complex)
        np.add.at(sums, start, rotated_edges)
        np.add.at(sums, end, -rotated_edges)
        sums[0] += flat[0] @ np.array([1.0, 1.0j])
        flat = np.stack([solve(sums.real), solve(sums.imag)], axis=1)
    return flat


def _cotangents(triangles: FloatArray) -> FloatArray:
    """Return (F, 3) cotangents of the angles at the corners, the weights of the opposite edges."""
    first = np.roll(triangles, -1, axis=1) - triangles
    second = np.roll(triangles, -2, axis=1) - triangles
    return (first * second).sum(axis=2) / np.abs(_doubled_areas(triangles))[:, None]


def _laplacian(start: NDArray[np.int32], end: NDArray[np.int32], weights: FloatArray, count: int) -> csc_matrix:
    """Return the weighted graph Laplacian (V, V); vertex 0 is fixed, for a unique solution."""
    rows, columns = np.concatenate([start, end, start, end, [0]]), np.concatenate([start, end, end, start, [0]])
    values = np.concatenate([weights, weights, -weights, -weights, [1.0]])
    return coo_matrix((values, (rows, columns)), (count, count)).tocsc()


def _doubled_areas(triangles: FloatArray) -> FloatArray:
    """Return (F,) twice the signed area of flat triangles (F, 3, 2)."""
    first, second = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]


@dataclass(frozen=True, eq=False)
class UvAtlas:
    """The dense mesh with duplicated vertices along the cut, so that each has one position in the image."""

    vertex_ids: NDArray[np.int32]
    """(A,) the dense mesh's vertex."""
    faces: NDArray[np.int32]
    """(F, 3) the dense mesh's triangles in their order, into ``vertex_ids``."""
    uv: FloatArray
    """(A, 2) in [0, 1], u right, v down from the image's first row, as in glTF."""
    side_m: float
    """The length of the image's side on the mean hand."""


@cache
def load_uv_atlas() -> UvAtlas:
    """Compute the layout of the open hand's dense mesh; raises HandvizError if its file is missing or damaged."""
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
    """The palm or the back."""

    vertex_ids: NDArray[np.int32]
    faces: NDArray[np.int32]
    flat: FloatArray
    """(C, 2) metres, from the upper left corner of its box."""


def _half(vertices: FloatArray, faces: NDArray[np.int32], axes: FloatArray) -> _Half:
    """Flatten the part of the mesh with these triangles; ``axes`` (2,) mirrors the rest frame's x and y."""
    vertex_ids, own = np.unique(faces, return_inverse=True)
    own_faces = own.reshape(-1, 3).astype(np.int32)
    part = vertices[vertex_ids]
    flat = flatten(part, own_faces, part[:, :2] * axes)
    return _Half(vertex_ids.astype(np.int32), own_faces, flat - flat.min(axis=0))


def _back_directions(template: HandTemplate) -> FloatArray:
    """Return the directions (16, 3) of the backs of wrist and finger bones in the rest frame; the thumb has its own."""
    joints = template.joint_regressor @ template.vertices_m
    axes = joint_axes(joints, (template.keypoint_regressor @ template.vertices_m)[TIPS])
    return np.concatenate([[[0.0, 0.0, 1.0]], -np.cross(axes.flexion, axes.twist)])


def _is_back(vertices: FloatArray, faces: NDArray[np.int32], outwards: FloatArray) -> NDArray[np.bool_]:
    """Return (F,) whether a triangle belongs to the back; both halves are connected."""
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
    fragments = np.bincount(part)[part] < len(faces) / 10
    return is_back ^ fragments


def _neighbours(faces: NDArray[np.int32]) -> csr_matrix:
    """Return (F, F) 1 where triangles share an edge."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, edge = np.unique(edges, axis=0, return_inverse=True)
    owner = np.repeat(np.arange(len(faces)), 3)
    touches = csr_matrix((np.ones(len(owner)), (owner, edge.ravel())))
    shared = (touches @ touches.T).tolil()
    shared.setdiag(0)
    return shared.tocsr()
