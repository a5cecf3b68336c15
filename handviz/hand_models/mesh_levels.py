"""Nested levels of a hand's mesh with spirals of neighbours, for networks that decode a mesh from coarse to fine.

They are computed of any hand template when a network is built, so that a user's MANO file works as the open hand does.
"""

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import FloatArray
from handviz.hand_models.coarse import convex_weights, farthest_points, fit_rows, nearest
from handviz.hand_models.skinning import joint_transforms, skin
from handviz.hand_models.template import POSE_SIZE, SHAPE_SIZE, HandTemplate

SPIRAL_LENGTH = 9
"""Vertices of a spiral, the own one first (Lim et al. 2018)."""
LIFT_NEIGHBOURS = 4
"""Vertices of a level that one of the next finer level is a mixture of."""
HALVINGS = 4
SAMPLE_POSES, SAMPLE_POSE_STD_RAD = 12, 0.25
"""Poses in which vertices must be near to count as neighbours, so that two fingers never do."""
PARALLEL = 1e-9


@dataclass(frozen=True, eq=False)
class MeshLevels:
    """Levels from coarse to fine; the last one is the whole mesh, in the template's order."""

    ids: tuple[NDArray[np.int32], ...]
    """(V_l,) vertices of the template, ascending; each level is part of the next"""
    lift_ids: tuple[NDArray[np.int32], ...]
    """(V_(l+1), 4) indices into level l, for every level but the last"""
    lift_weights: tuple[FloatArray, ...]
    """(V_(l+1), 4) their weights, rows sum to 1"""
    spirals: tuple[NDArray[np.int32], ...]
    """(V_l, 9) indices into level l: the vertex, then its neighbours by angle in the tangent plane"""

    @property
    def counts(self) -> tuple[int, ...]:
        """Vertices of each level."""
        return tuple(map(len, self.ids))


def level_counts(vertices: int, halvings: int = HALVINGS) -> tuple[int, ...]:
    """Return the sizes of the levels, coarse to fine, each half of the next: 49, 98, 195, 389, 778."""
    counts = [vertices]
    for _ in range(halvings):
        counts.append(-(-counts[-1] // 2))
    return tuple(reversed(counts))


def mesh_levels(template: HandTemplate, halvings: int = HALVINGS) -> MeshLevels:
    """Return the levels of a template; HandvizError if its mesh is too small for them."""
    if level_counts(template.vertex_count, halvings)[0] < SPIRAL_LENGTH:
        raise HandvizError(
            f"hand model {template.name}: {template.vertex_count} vertices cannot be halved {halvings} times to at "
            f"least {SPIRAL_LENGTH}",
            ErrorCode.WRONG_SHAPE,
        )
    return _levels_of(template, halvings)


@lru_cache(maxsize=4)
def _levels_of(template: HandTemplate, halvings: int) -> MeshLevels:
    points = posed_meshes(template)
    paths = points.transpose(1, 0, 2).reshape(template.vertex_count, -1) / np.sqrt(len(points))
    normals = vertex_normals(points[0], template.faces)
    ids = [farthest_points(paths, count) for count in level_counts(template.vertex_count, halvings)]
    lifts = [_lift(points, paths, coarse, fine) for coarse, fine in itertools.pairwise(ids)]
    spirals = [ordered_neighbours(points[0, level], normals[level], paths[level]) for level in ids]
    lift_ids, lift_weights = zip(*lifts, strict=True)
    return MeshLevels(tuple(ids), lift_ids, lift_weights, tuple(spirals))


def posed_meshes(template: HandTemplate) -> FloatArray:
    """Return meshes (12, V, 3) of random pose and shape, metres, the first at rest; correctives are left out."""
    random = np.random.default_rng(0)
    shapes = random.normal(size=(SAMPLE_POSES, SHAPE_SIZE))
    poses = random.normal(scale=SAMPLE_POSE_STD_RAD, size=(SAMPLE_POSES, POSE_SIZE))
    shapes[0], poses[0] = 0.0, 0.0
    rest = template.vertices_m + np.einsum("vcs,ns->nvc", template.shape_basis.astype(np.float64), shapes)
    transforms = joint_transforms(poses, template.joint_regressor @ rest, template.parents)
    return skin(rest, template.skinning_weights.astype(np.float64), transforms)


def vertex_normals(vertices: FloatArray, faces: NDArray[np.integer]) -> FloatArray:
    """Return unit normals (V, 3) of a mesh, means of the faces' by area; of a vertex without faces it is z."""
    corners = vertices[faces]
    of_faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], of_faces)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(lengths > 0, normals / np.maximum(lengths, np.finfo(float).tiny), (0.0, 0.0, 1.0))


def _lift(
    points: FloatArray, paths: FloatArray, coarse: NDArray[np.int32], fine: NDArray[np.int32]
) -> tuple[NDArray[np.int32], FloatArray]:
    """Return ids and weights (F, 4) that lift values at coarse vertices to fine ones; those of both keep theirs."""
    candidates = nearest(paths[coarse], paths[fine], LIFT_NEIGHBOURS)
    weights, _ = fit_rows(points[:, coarse], points[:, fine], candidates, convex_weights)
    for row in np.flatnonzero(np.isin(fine, coarse)):
        weights[row] = coarse[candidates[row]] == fine[row]
    return candidates.astype(np.int32), weights.astype(np.float32)


def ordered_neighbours(points: FloatArray, normals: FloatArray, paths: FloatArray) -> NDArray[np.int32]:
    """Return spirals (V, 9): each vertex, then its eight nearest counter-clockwise from the nearest, seen from outside.

    points (V, 3) and normals (V, 3) at rest give the angles, paths (V, D) through the poses what is near.
    """
    near = nearest(paths, paths, SPIRAL_LENGTH)
    rows = []
    for vertex, found in enumerate(near):
        others = found[found != vertex][: SPIRAL_LENGTH - 1]
        offsets = points[others] - points[vertex]
        along = offsets[0] - (offsets[0] @ normals[vertex]) * normals[vertex]
        if np.linalg.norm(along) < PARALLEL:  # right above: any direction will do
            along = np.cross(normals[vertex], np.eye(3)[np.abs(normals[vertex]).argmin()])
        across = np.cross(normals[vertex], along)
        angles = np.arctan2(offsets @ across, offsets @ along) % (2 * np.pi)
        angles[0] = 0.0
        rows.append([vertex, *others[np.argsort(angles, kind="stable")]])
    return np.array(rows, np.int32)
