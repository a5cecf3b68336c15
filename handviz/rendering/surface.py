"""The surface that is drawn: triangles, normals, and how values at the hand model's vertices reach it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray


class Surface(Protocol):
    """A display mesh over a hand model's V vertices."""

    @property
    def faces(self) -> NDArray[np.int32]:
        """(F, 3), counter-clockwise seen from outside a right hand."""
        ...

    @property
    def vertex_count(self) -> int:
        """Vertices of the display mesh."""
        ...

    def lift(self, values: FloatArray) -> FloatArray:
        """Values (V, C) at the hand model's vertices -> (vertex_count, C)."""
        ...


@dataclass(frozen=True, eq=False)
class PlainSurface:
    """Draws the hand model's own vertices."""

    faces: NDArray[np.int32]
    vertex_count: int

    def lift(self, values: FloatArray) -> FloatArray:
        """The values themselves."""
        return values


class VertexNormals:
    """Area-weighted vertex normals of one topology; the face -> vertex incidence is built once."""

    def __init__(self, faces: NDArray[np.int32], vertex_count: int) -> None:
        corners = faces.reshape(-1)
        order = np.argsort(corners, kind="stable")
        self._faces = faces
        self._vertex_count = vertex_count
        self._face_of_corner = order // 3
        self._used_vertices, self._starts = np.unique(corners[order], return_index=True)

    def __call__(self, vertices: FloatArray) -> FloatArray:
        """Vertices (V, 3) -> unit normals (V, 3), outwards if faces are counter-clockwise; 0 without faces."""
        first, second, third = (vertices[self._faces[:, corner]] for corner in range(3))
        face_normals = _cross(second - first, third - first)
        normals = np.zeros((self._vertex_count, 3), dtype=vertices.dtype)
        corners = face_normals[self._face_of_corner]
        normals[self._used_vertices] = np.add.reduceat(corners, self._starts, axis=0)
        length = np.sqrt(np.einsum("ij,ij->i", normals, normals))[:, None]
        return normals / np.maximum(length, 1e-20)


def _cross(first: FloatArray, second: FloatArray) -> FloatArray:
    """Cross product of rows (N, 3); several times faster than numpy's general one."""
    (ax, ay, az), (bx, by, bz) = first.T, second.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)


def unique_edges(faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """Every edge of the triangles (F, 3) once: (E, 2)."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    return np.unique(edges, axis=0).astype(np.int32)
