"""Simple bodies of unit size, with places for prints."""

import math

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray
from handviz.rendering.studio_parts import Mesh


def _mesh(positions: FloatArray, normals: FloatArray, faces: NDArray[np.integer], uv: FloatArray) -> Mesh:
    """``uv`` (V, 2) is where a print lies."""
    marks = np.column_stack([uv, np.zeros(len(uv))])
    return Mesh(positions, normals, positions * 0.1, marks, faces.astype(np.int32))


def box() -> Mesh:
    """A cube of side 1 around the origin."""
    square = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    positions: list[FloatArray] = []
    normals: list[FloatArray] = []
    faces: list[list[int]] = []
    for axis in range(3):
        for side in (-0.5, 0.5):
            start = len(positions)
            for corner in square:
                positions.append(np.insert(corner, axis, side))
                normals.append(np.sign(side) * np.eye(3)[axis])
            faces += [[start, start + 1, start + 2], [start, start + 2, start + 3]]
    return _mesh(np.array(positions), np.array(normals), np.array(faces), np.tile(square + 0.5, (6, 1)))


def _turned(profile: FloatArray, slopes: FloatArray, around: int = 24) -> Mesh:
    """Surface of revolution about y: profile (R, 2) of radius and height, slopes (R, 2) its normals."""
    angles = np.linspace(0, 2 * math.pi, around + 1)
    ring = np.stack([np.cos(angles), np.ones(around + 1), np.sin(angles)], axis=1)
    factor = [0, 1, 0]
    positions = ring[None] * profile[:, None, factor]
    normals = ring[None] * slopes[:, None, factor]
    turn = np.broadcast_to(angles / (2 * math.pi), positions.shape[:2])
    uv = np.stack([turn, positions[..., 1] + 0.5], axis=-1)
    faces = grid_faces(len(profile), around + 1)
    return _mesh(positions.reshape(-1, 3), normals.reshape(-1, 3), faces, uv.reshape(-1, 2))


def grid_faces(rows: int, columns: int) -> NDArray[np.integer]:
    """Triangles (F, 3) between the points of a grid that are numbered row by row."""
    here = np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)
    lower = np.stack([here, here + columns, here + 1], axis=-1).reshape(-1, 3)
    upper = np.stack([here + 1, here + columns, here + columns + 1], axis=-1).reshape(-1, 3)
    return np.concatenate([lower, upper])


def ball() -> Mesh:
    """A sphere of diameter 1."""
    angles = np.linspace(-math.pi / 2, math.pi / 2, 12)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return _turned(directions * 0.5, directions)


def cylinder() -> Mesh:
    """A closed cylinder of diameter 1 and height 1."""
    profile = np.array([[1e-4, -0.5], [0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [0.5, 0.5], [1e-4, 0.5]])
    slopes = np.array([[0.0, -1], [0, -1], [1, 0], [1, 0], [0, 1], [0, 1]])
    return _turned(profile, slopes)


def bottle() -> Mesh:
    """A bottle of diameter 1 and height 1: body, shoulder, neck, cap."""
    shape = [
        [1e-4, -0.5], [0.5, -0.5], [0.5, -0.5], [0.5, 0.12], [0.45, 0.22], [0.2, 0.34],
        [0.18, 0.4], [0.24, 0.4], [0.24, 0.4], [0.24, 0.5], [0.24, 0.5], [1e-4, 0.5],
    ]  # fmt: skip
    slopes = [[0.0, -1], [0, -1], [1, 0], [1, 0], [0.9, 0.43], [0.7, 0.71], [1, 0], [0, -1], [1, 0], [1, 0], [0, 1]]
    directions = np.array([*slopes, [0, 1]])
    return _turned(np.array(shape), directions / np.linalg.norm(directions, axis=1, keepdims=True))
