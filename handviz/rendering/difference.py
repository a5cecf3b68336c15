"""Distances between two models' results for the same hand, per vertex. No OpenGL here."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from handviz.core.geometry import procrustes_aligned
from handviz.core.metrics import point_errors_mm
from handviz.core.records import FloatArray, FrameResult, HandMesh
from handviz.rendering.hand_shape import ModelDisplay
from handviz.rendering.highlight import Pick
from handviz.rendering.options import Difference


def vertex_distances_mm(first: HandMesh, second: HandMesh, *, aligned: bool = False) -> FloatArray:
    """Return distances (V,) in mm between corresponding vertices of two models' results for one hand.

    Both are in the camera's axes with the wrist at the origin: pose, shape, size and global rotation count, translation
    does not. ``aligned``: after Procrustes alignment of the first to the second, so that only pose and shape count.
    """
    first_m, second_m = first.vertices_m[None], second.vertices_m[None]
    if aligned:
        first_m = procrustes_aligned(first_m.astype(np.float64), second_m.astype(np.float64))
    return point_errors_mm(first_m, second_m)[0]


@dataclass(frozen=True, eq=False)
class Distances:
    """Distances of one frame, for a difference map."""

    difference: Difference
    hands_mm: tuple[FloatArray, ...]
    """(V,) each, in the order of the result's hands."""

    @cached_property
    def mean_mm(self) -> tuple[float, ...]:
        """Mean distance of every hand."""
        return tuple(float(distances.mean()) for distances in self.hands_mm)

    @cached_property
    def max_mm(self) -> tuple[float, ...]:
        """Largest distance of every hand."""
        return tuple(float(distances.max()) for distances in self.hands_mm)


def distances_of(result: FrameResult, difference: Difference) -> Distances | None:
    """Compute the distances in a compared result; None if one of the two models has no hands to compare."""
    first, second = (result.of_model(model).hands for model in (difference.first, difference.second))
    if not first or len(first) != len(second) or not all(map(meshes_correspond, first, second)):
        return None
    return Distances(
        difference,
        tuple(vertex_distances_mm(a, b, aligned=difference.aligned) for a, b in zip(first, second, strict=True)),
    )


def have_different_meshes(result: FrameResult, difference: Difference) -> bool:
    """Return whether both models have hands, but of hand models whose vertices do not correspond."""
    first, second = (result.of_model(model).hands for model in difference.pair)
    return not all(map(meshes_correspond, first, second))


def on_mesh_of(pick: Pick, first: HandMesh, second: HandMesh) -> Pick:
    """Return a picked point of the first result of a hand on the second: the same one, or the nearest vertex.

    Vertices of different meshes do not correspond: nearest is meant relative to the wrist, in the camera's axes.
    """
    if pick.vertex is None or meshes_correspond(first, second) or pick.vertex >= len(first.vertices_m):
        return pick
    distances_m = np.linalg.norm(second.vertices_m - first.vertices_m[pick.vertex], axis=1)
    return replace(pick, vertex=int(distances_m.argmin()))


def name_of(difference: Difference, display: ModelDisplay) -> str:
    """Name a pair, as "prior-net to final"; the font of legends has no dash."""
    return f"{display.label(difference.first)} to {display.label(difference.second)}"


def meshes_correspond(first: HandMesh, second: HandMesh) -> bool:
    """Return whether the vertices of two hands are the same points of one hand model."""
    return first.hand_model == second.hand_model and first.vertices_m.shape == second.vertices_m.shape
