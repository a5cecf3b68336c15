"""How far two variants' answers to the same hand lie apart, vertex by vertex. No OpenGL here."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from handviz.core.geometry import procrustes_aligned
from handviz.core.metrics import point_errors_mm
from handviz.core.records import FloatArray, FrameResult, HandMesh, VariantName
from handviz.rendering.options import Difference

DISPLAY_NAMES: Mapping[VariantName, str] = {"prior": "prior-net", "amvur": "AMVUR", "final": "final"}


def vertex_distances_mm(first: HandMesh, second: HandMesh, *, aligned: bool = False) -> FloatArray:
    """(V,) distances in mm between corresponding vertices of one hand as two variants give it.

    Both as drawn: in the camera's axes, wrist on wrist. So pose, shape, size and the turn of the whole hand count;
    where in space the wrists are does not. ``aligned``: after the first hand's best turn, shift and scale onto the
    second (Procrustes), so that pose and shape alone count.
    """
    first_m, second_m = first.vertices_m[None], second.vertices_m[None]
    if aligned:
        first_m = procrustes_aligned(first_m.astype(np.float64), second_m.astype(np.float64))
    return point_errors_mm(first_m, second_m)[0]


@dataclass(frozen=True, eq=False)
class Distances:
    """What is shown of a difference in one frame."""

    difference: Difference
    hands_mm: tuple[FloatArray, ...]
    """(V,) each, in the order of the result's hands."""

    @cached_property
    def mean_mm(self) -> tuple[float, ...]:
        """Of every hand."""
        return tuple(float(distances.mean()) for distances in self.hands_mm)

    @cached_property
    def most_mm(self) -> tuple[float, ...]:
        """Of every hand."""
        return tuple(float(distances.max()) for distances in self.hands_mm)


def distances_of(result: FrameResult, difference: Difference) -> Distances | None:
    """The distances in a compared result; None if one of the two has no hands to compare."""
    first, second = (result.of_variant(variant).hands for variant in (difference.first, difference.second))
    if not first or len(first) != len(second) or any(_differ(*pair) for pair in zip(first, second, strict=True)):
        return None
    return Distances(
        difference,
        tuple(vertex_distances_mm(a, b, aligned=difference.aligned) for a, b in zip(first, second, strict=True)),
    )


def name_of(difference: Difference) -> str:
    """As "prior-net to final"; the font of legends has no dash."""
    return f"{DISPLAY_NAMES[difference.first]} to {DISPLAY_NAMES[difference.second]}"


def _differ(first: HandMesh, second: HandMesh) -> bool:
    return first.vertices_m.shape != second.vertices_m.shape
