"""Where each point of the dense mesh lies in a texture's picture: the hand cut open round its edge, both halves flat.

The uv of ``open_hand.npz`` is no use for a picture of the hand: it is the body's, of which the hand fills 4 %, and with
one point per vertex every seventh triangle stretches across a seam. This layout follows from the rest shape alone, so
every hand has the same.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from handviz.core.records import FloatArray
from handviz.hand_models.anatomy import joint_axes
from handviz.hand_models.flatten import flatten
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


@dataclass(frozen=True, eq=False)
class UvAtlas:
    """The dense mesh with its vertices along the cut doubled, so that each has one place in the picture."""

    vertex_ids: NDArray[np.int32]
    """(A,) the dense mesh's vertex."""
    faces: NDArray[np.int32]
    """(F, 3) the dense mesh's triangles in their order, into ``vertex_ids``."""
    uv: FloatArray
    """(A, 2) in [0, 1], u right, v down from the picture's first row, as in glTF."""
    side_m: float
    """What the picture's side measures on the mean hand."""


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
