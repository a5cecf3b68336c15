"""How far predictions lie from the truth, and whether their standard deviations tell it (numpy; batches of N hands)."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import NormalDist

import numpy as np

from handviz.core.geometry import _check_same_shape, procrustes_aligned
from handviz.core.records import FloatArray
from handviz.core.units import MILLIMETRES_PER_METRE

F_SCORE_THRESHOLDS_MM = (5.0, 15.0)
PCK_LIMIT_MM = 50.0


def point_errors_mm(predicted_m: FloatArray, truth_m: FloatArray) -> FloatArray:
    """Distances (N, K) in mm between points (N, K, 3) in metres; raises HandvizError if the shapes differ."""
    _check_same_shape(predicted_m, truth_m)
    return np.linalg.norm(predicted_m - truth_m, axis=-1) * MILLIMETRES_PER_METRE


def mpjpe_mm(predicted_m: FloatArray, truth_m: FloatArray) -> FloatArray:
    """Mean error (N,) in mm of each hand's points (N, K, 3): MPJPE of keypoints, MPVPE of vertices."""
    return point_errors_mm(predicted_m, truth_m).mean(axis=1)


def pa_mpjpe_mm(predicted_m: FloatArray, truth_m: FloatArray) -> FloatArray:
    """``mpjpe_mm`` after ``procrustes_aligned``; keypoints (N, 21, 3)."""
    return mpjpe_mm(procrustes_aligned(predicted_m, truth_m), truth_m)


def pa_mpvpe_mm(predicted_m: FloatArray, truth_m: FloatArray) -> FloatArray:
    """As ``pa_mpjpe_mm``, over vertices (N, V, 3) with an alignment of their own, as FreiHAND evaluates."""
    return pa_mpjpe_mm(predicted_m, truth_m)


def f_scores(
    predicted_m: FloatArray, truth_m: FloatArray, thresholds_mm: Sequence[float] = F_SCORE_THRESHOLDS_MM
) -> FloatArray:
    """F-score (N, thresholds) of aligned vertices (N, V, 3) in metres (Knapitsch et al. 2017, as in FreiHAND).

    Harmonic mean of the fraction of predicted vertices that have a true vertex nearer than the threshold, and of
    the fraction of true vertices that have a predicted one.
    """
    _check_same_shape(predicted_m, truth_m)
    limits = np.asarray(thresholds_mm, dtype=np.float64) / MILLIMETRES_PER_METRE
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        fractions = list(threads.map(partial(_precision_and_recall, limits=limits), predicted_m, truth_m))
    precision, recall = np.array(fractions).reshape(-1, 2, len(limits)).transpose(1, 0, 2)
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)


def pck_auc(errors_mm: FloatArray, limit_mm: float = PCK_LIMIT_MM) -> float:
    """Area, 0 to 1, under the fraction of points within a threshold, over thresholds from 0 to ``limit_mm``.

    The exact integral, where the field adds up a hundred trapezoids.
    """
    return float(np.clip(1.0 - np.asarray(errors_mm) / limit_mm, 0.0, 1.0).mean())


def interval_coverage(errors: FloatArray, std: FloatArray, probability: float) -> float:
    """Fraction of errors inside the central interval that should hold ``probability`` of them, if they are normal.

    Errors and standard deviations of the same shape and unit, one coordinate each.
    """
    half_width = NormalDist().inv_cdf(0.5 + probability / 2)
    return float((np.abs(errors) <= half_width * std).mean())


def gaussian_nll(errors: FloatArray, std: FloatArray) -> FloatArray:
    """-ln N(errors; 0, std squared), elementwise, nats per coordinate in the unit of ``errors``."""
    return 0.5 * np.square(errors / std) + np.log(std) + 0.5 * np.log(2 * np.pi)


def reliability_curve(errors: FloatArray, std: FloatArray, probabilities: Sequence[float]) -> FloatArray:
    """``interval_coverage`` (P,) at every probability: observed against nominal, the diagonal is perfect.

    The diagram of Guo et al. 2017 for regression, with central intervals (Kuleshov et al. 2018).
    """
    standardised = np.abs(errors / std)
    half_widths = [NormalDist().inv_cdf(0.5 + probability / 2) for probability in probabilities]
    return np.array([(standardised <= half_width).mean() for half_width in half_widths])


def means_of_kept(errors: FloatArray, order_by: FloatArray) -> FloatArray:
    """Mean errors (n,) of the 1, 2 .. n of n points with the smallest ``order_by``, in the errors' unit.

    Read from the end it is the sparsification curve: the largest ``order_by`` are thrown out first.
    """
    ordered = np.asarray(errors, dtype=np.float64).ravel()[np.argsort(np.ravel(order_by), kind="stable")]
    return np.cumsum(ordered) / np.arange(1, ordered.size + 1)


def at_removed_fractions(kept_means: FloatArray, fractions: Sequence[float]) -> FloatArray:
    """``means_of_kept`` (n,) where each share from 0 to 1 of the points is thrown out; one at least is kept."""
    size = len(kept_means)
    kept = np.clip(np.rint((1.0 - np.asarray(fractions)) * size).astype(np.int64), 1, size)
    return np.asarray(kept_means)[kept - 1]


def sparsification_error(errors: FloatArray, std: FloatArray) -> float:
    """AUSE: the area above the best possible order, by the mean error; 0 is perfect (Ilg et al. 2018).

    Errors >= 0 and standard deviations of the same shape. An order at random gives the area 1 before subtraction.
    """
    return excess_area(means_of_kept(errors, std), means_of_kept(errors, errors))


def excess_area(kept_means: FloatArray, best_means: FloatArray) -> float:
    """AUSE from ``means_of_kept`` (n,) by standard deviation and by the error itself; nan if there is no error at
    all."""
    mean = float(best_means[-1])
    return float(kept_means.mean() - best_means.mean()) / mean if mean > 0 else float("nan")


def spearman(first: FloatArray, second: FloatArray) -> float:
    """Rank correlation, -1 to 1, of two arrays of the same shape; nan if one is constant or empty."""
    if np.size(first) == 0:
        return float("nan")
    # The live program, which ranks nothing, starts half a second sooner without it.
    from scipy.stats import rankdata

    ranks = [rankdata(values.ravel()) for values in (first, second)]
    stds = [rank - rank.mean() for rank in ranks]
    norm = float(np.linalg.norm(stds[0]) * np.linalg.norm(stds[1]))
    return float(stds[0] @ stds[1]) / norm if norm > 0 else float("nan")


def _precision_and_recall(predicted: FloatArray, truth: FloatArray, limits: FloatArray) -> FloatArray:
    """(2, limits) of one hand's vertices (V, 3)."""
    apart = np.linalg.norm(predicted - truth, axis=1)
    return np.stack([_fraction_near(predicted, truth, apart, limits), _fraction_near(truth, predicted, apart, limits)])


def _fraction_near(points: FloatArray, others: FloatArray, apart: FloatArray, limits: FloatArray) -> FloatArray:
    """Fraction of points (V, 3) whose nearest of ``others`` is nearer than each limit.

    ``apart`` (V,) from a point's own counterpart: where that is near enough nobody has to search.
    """
    from scipy.spatial import cKDTree

    distance, searched = apart.copy(), apart >= limits.min()
    if searched.any():
        tree = cKDTree(others, balanced_tree=False, compact_nodes=False)
        distance[searched], _ = tree.query(points[searched], distance_upper_bound=float(limits.max()))
    return (distance[:, None] < limits).mean(axis=0)


def decibel(squared_error: float) -> float:
    """Peak signal to noise of a mean squared error of values in [0, 1]."""
    return -10 * float(np.log10(max(squared_error, 1e-12)))
