"""A nested subset of a mesh's vertices, and the weights that lift values on it to all vertices.

SciPy is imported where it is used: its import takes as long as half of a network's loading.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray

SUM_WEIGHT = 10.0
RIDGE_M = 0.001
"""A weight of 1 costs as much as an error of 1 mm."""
COARSE_COUNT = 195
NEIGHBOURS = 9


def convex_weights(sources: FloatArray, targets: FloatArray) -> FloatArray:
    """Fit non-negative weights (K,), summing to 1, that map sources (N, K, 3) to targets (N, 3)."""
    from scipy.optimize import nnls

    matrix = sources.transpose(0, 2, 1).reshape(-1, sources.shape[1])
    scale = SUM_WEIGHT * np.abs(matrix).max()
    matrix = np.concatenate([matrix, np.full((1, matrix.shape[1]), scale)])
    weights, _ = nnls(matrix, np.append(targets.reshape(-1), scale))
    return weights / weights.sum()


def signed_weights(sources: FloatArray, targets: FloatArray) -> FloatArray:
    """Fit weights (K,) of either sign, summing to 1, with a ridge: they reach points outside the sources' hull."""
    matrix = sources.transpose(0, 2, 1).reshape(-1, sources.shape[1])
    scale = SUM_WEIGHT * np.linalg.norm(matrix)
    ridge = RIDGE_M * np.sqrt(len(matrix)) * np.eye(matrix.shape[1])
    system = np.concatenate([matrix, ridge, np.full((1, matrix.shape[1]), scale)])
    wanted = np.concatenate([targets.reshape(-1), np.zeros(len(ridge)), [scale]])
    weights = np.linalg.lstsq(system, wanted, rcond=None)[0]
    return weights / weights.sum()


def fit_rows(
    sources: FloatArray,
    targets: FloatArray,
    candidates: NDArray[np.integer],
    fit: Callable[[FloatArray, FloatArray], FloatArray] = convex_weights,
) -> tuple[FloatArray, float]:
    """Fit every target row from its own candidates.

    sources (N, S, 3) and targets (N, T, 3) are the same N poses; candidates (T, K) index into S.
    Returns weights (T, K) and the largest error over everything, in the unit of the points.
    """
    weights = np.stack([fit(sources[:, row], targets[:, index]) for index, row in enumerate(candidates)])
    fitted = np.einsum("tk,ntkc->ntc", weights, sources[:, candidates])
    return weights, float(np.linalg.norm(fitted - targets, axis=2).max())


def nearest(sources: FloatArray, targets: FloatArray, count: int) -> NDArray[np.integer]:
    """Return the indices (T, count) of the sources (S, 3) nearest to each target (T, 3)."""
    from scipy.spatial import cKDTree

    _, ids = cKDTree(sources).query(targets, k=count)
    return ids


def dense_rows(weights: FloatArray, candidates: NDArray[np.integer], width: int) -> FloatArray:
    """Spread weights (T, K) over a dense (T, width) matrix."""
    dense = np.zeros((len(weights), width))
    np.put_along_axis(dense, candidates, weights, axis=1)
    return dense


def coarse_tokens(
    points: FloatArray, count: int = COARSE_COUNT, neighbours: int = NEIGHBOURS
) -> tuple[NDArray[np.int32], FloatArray]:
    """Return ids (T,) of uniformly spread vertices and weights (V, T), rows summing to 1, from posed meshes (N, V, 3).

    Vertices count as near if they are so in all N poses; two fingers that touch in one are not.
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
    """Return ids (count,), ascending, of points (V, D): each new one is farthest from all before (Gonzalez 1985)."""
    ids = np.empty(count, np.int32)
    distance = np.linalg.norm(points - points.mean(axis=0), axis=1)
    for index in range(count):
        ids[index] = distance.argmax()
        to_new = np.linalg.norm(points - points[ids[index]], axis=1)
        distance = to_new if index == 0 else np.minimum(distance, to_new)
    return np.sort(ids)
