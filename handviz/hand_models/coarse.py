"""A nested subset of a mesh's vertices, and the weights that lift values on it to all vertices."""

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray
from handviz.hand_models.fitting import dense_rows, fit_rows, nearest, signed_weights

COARSE_COUNT = 195
NEIGHBOURS = 9


def coarse_tokens(
    points: FloatArray, count: int = COARSE_COUNT, neighbours: int = NEIGHBOURS
) -> tuple[NDArray[np.int32], FloatArray]:
    """Ids (T,) of evenly spread vertices and weights (V, T), rows summing to 1, from posed meshes (N, V, 3).

    Vertices that stay together in every one of the N poses are near; two fingers that touch in one are not.
    """
    poses, vertices, _ = points.shape
    paths = points.transpose(1, 0, 2).reshape(vertices, -1) / np.sqrt(poses)
    ids = farthest_points(paths, count)
    candidates = nearest(paths[ids], paths, neighbours)
    weights, _ = fit_rows(points[:, ids], points, candidates, signed_weights)
    lift = dense_rows(weights, candidates, count)
    lift[ids] = np.eye(count)
    return ids, lift


def farthest_points(points: FloatArray, count: int) -> NDArray[np.int32]:
    """Ids (count,), ascending, of points (V, D): each new one is the farthest from all before (Gonzalez 1985)."""
    ids = np.empty(count, np.int32)
    distance = np.linalg.norm(points - points.mean(axis=0), axis=1)
    for index in range(count):
        ids[index] = distance.argmax()
        to_new = np.linalg.norm(points - points[ids[index]], axis=1)
        distance = to_new if index == 0 else np.minimum(distance, to_new)
    return np.sort(ids)
