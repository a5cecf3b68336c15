"""Errors of predictions, and how well their standard deviations match them (numpy; batches of N hands)."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import NormalDist

import numpy as np

from handviz.core.geometry import _check_same_shape, procrustes_aligned
from handviz.core.process import usable_cores
from handviz.core.records import FloatArray
from handviz.core.units import MILLIMETRES_PER_METRE

F_SCORE_THRESHOLDS_MM = (5.0, 15.0)
PCK_LIMIT_MM = 50.0


def point_errors_mm(predicted_m: FloatArray, truth_m: FloatArray) -> FloatArray:
    """Return distances (N, K) in mm between points (N, K, 3) in metres; raises HandvizError if the shapes differ."""
    _check_same_shape(predicted_m, truth_m)
    return np.linalg.norm(predicted_m - truth_m, axis=-1) * MILLIMETRES_PER_METRE


def mpjpe_mm(predicted_m: FloatArray, truth_m: FloatArray) -> FloatArray:
    """Return the mean error (N,) in mm of each hand's points (N, K, 3): MPJPE of keypoints, MPVPE of vertices."""
    return point_errors_mm(predicted_m, truth_m).mean(axis=1)


def pa_mpjpe_mm(predicted_m: FloatArray, truth_m: FloatArray) -> FloatArray:
    """Return ``mpjpe_mm`` after ``procrustes_aligned``; keypoints (N, 21, 3)."""
    return mpjpe_mm(procrustes_aligned(predicted_m, truth_m), truth_m)


def pa_mpvpe_mm(predicted_m: FloatArray, truth_m: FloatArray) -> FloatArray:
    """Return ``pa_mpjpe_mm`` of vertices (N, V, 3), with an alignment of their own, as FreiHAND evaluates."""
    return pa_mpjpe_mm(predicted_m, truth_m)


def f_scores(
    predicted_m: FloatArray, truth_m: FloatArray, thresholds_mm: Sequence[float] = F_SCORE_THRESHOLDS_MM
) -> FloatArray:
    """Return F-scores (N, thresholds) of aligned vertices (N, V, 3) in metres (Knapitsch et al. 2017, as in FreiHAND).

    Harmonic mean of the fraction of predicted vertices that have a true vertex nearer than the threshold, and of
    the fraction of true vertices that have a predicted one.
    """
    _check_same_shape(predicted_m, truth_m)
    limits = np.asarray(thresholds_mm, dtype=np.float64) / MILLIMETRES_PER_METRE
    with ThreadPoolExecutor(usable_cores()) as threads:
        fractions = list(threads.map(partial(_precision_and_recall, limits=limits), predicted_m, truth_m))
    precision, recall = np.array(fractions).reshape(-1, 2, len(limits)).transpose(1, 0, 2)
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)


def pck_auc(errors_mm: FloatArray, limit_mm: float = PCK_LIMIT_MM, *, start_mm: float = 0.0) -> float:
    """Return the area, 0 to 1, under the fraction of points within a threshold from ``start_mm`` to ``limit_mm``.

    The exact integral; the literature sums a hundred trapezoids, or a dozen.
    """
    return float(pck_areas(errors_mm, limit_mm, start_mm=start_mm).mean())


def pck_areas(errors_mm: FloatArray, limit_mm: float = PCK_LIMIT_MM, *, start_mm: float = 0.0) -> FloatArray:
    """Return each error's part of ``pck_auc``, 0 to 1, of the same shape: the fraction of thresholds not below it."""
    return np.clip((limit_mm - np.asarray(errors_mm)) / (limit_mm - start_mm), 0.0, 1.0)


def interval_coverage(errors: FloatArray, std: FloatArray, probability: float) -> float:
    """Return the fraction of errors inside the central interval of this probability of a normal distribution.

    Errors and standard deviations have the same shape and unit, one coordinate each.
    """
    half_width = NormalDist().inv_cdf(0.5 + probability / 2)
    return float((np.abs(errors) <= half_width * std).mean())


def gaussian_nll(errors: FloatArray, std: FloatArray) -> FloatArray:
    """Return -ln N(errors; 0, std squared), elementwise, nats per coordinate in the unit of ``errors``."""
    return 0.5 * np.square(errors / std) + np.log(std) + 0.5 * np.log(2 * np.pi)


def reliability_curve(errors: FloatArray, std: FloatArray, probabilities: Sequence[float]) -> FloatArray:
    """Return ``interval_coverage`` (P,) at every probability: observed against nominal, the diagonal is perfect.

    The diagram of Guo et al. 2017 for regression, with central intervals (Kuleshov et al. 2018).
    """
    standardised = np.abs(errors / std)
    half_widths = [NormalDist().inv_cdf(0.5 + probability / 2) for probability in probabilities]
    return np.array([(standardised <= half_width).mean() for half_width in half_widths])


def distance_coverage(distances: FloatArray, std: FloatArray, probabilities: Sequence[float]) -> FloatArray:
    """Return the fraction (P,) of distances in three dimensions inside the ball that holds each probability.

    ``std``: root of the summed variances of x, y and z, which are taken as equal (chi distribution of three degrees of
    freedom).
    """
    from scipy.stats import chi

    standardised = distances / std * np.sqrt(3)
    return np.array([(standardised <= radius).mean() for radius in chi(3).ppf(probabilities)])


def means_of_kept(errors: FloatArray, order_by: FloatArray) -> FloatArray:
    """Return mean errors (n,) of the 1, 2 .. n of n points with the smallest ``order_by``, in the errors' unit.

    Reversed it is the sparsification curve: the points with the largest ``order_by`` are removed first.
    """
    ordered = np.asarray(errors, dtype=np.float64).ravel()[np.argsort(np.ravel(order_by), kind="stable")]
    return np.cumsum(ordered) / np.arange(1, ordered.size + 1)


def at_removed_fractions(kept_means: FloatArray, fractions: Sequence[float]) -> FloatArray:
    """Return ``means_of_kept`` (n,) after removing each fraction, 0 to 1, of the points but at least one."""
    size = len(kept_means)
    kept = np.clip(np.rint((1.0 - np.asarray(fractions)) * size).astype(np.int64), 1, size)
    return np.asarray(kept_means)[kept - 1]


def sparsification_error(errors: FloatArray, std: FloatArray) -> float:
    """Return AUSE: the area above the curve of the ideal order, over the mean error; 0 is perfect (Ilg et al. 2018).

    Errors >= 0 and standard deviations of the same shape. A random order has the area 1 before subtraction.
    """
    return excess_area(means_of_kept(errors, std), means_of_kept(errors, errors))


def excess_area(kept_means: FloatArray, best_means: FloatArray) -> float:
    """Return AUSE from ``means_of_kept`` (n,) by standard deviation and by error; nan if all errors are 0."""
    mean = float(best_means[-1])
    return float(kept_means.mean() - best_means.mean()) / mean if mean > 0 else float("nan")


def spearman(first: FloatArray, second: FloatArray) -> float:
    """Return the rank correlation, -1 to 1, of two arrays of the same shape; nan if one is constant or empty."""
    if np.size(first) == 0:
        return float("nan")
    # Imported here: the live program starts half a second sooner without it.
    from scipy.stats import rankdata

    ranks = [rankdata(values.ravel()) for values in (first, second)]
    centred = [rank - rank.mean() for rank in ranks]
    norm = float(np.linalg.norm(centred[0]) * np.linalg.norm(centred[1]))
    return float(centred[0] @ centred[1]) / norm if norm > 0 else float("nan")


def pearson(first: FloatArray, second: FloatArray) -> float:
    """Return the linear correlation, -1 to 1, of two arrays of the same shape; nan if one is constant or empty."""
    if np.size(first) == 0:
        return float("nan")
    centred = [values.astype(np.float64).ravel() - values.mean(dtype=np.float64) for values in (first, second)]
    norm = float(np.linalg.norm(centred[0]) * np.linalg.norm(centred[1]))
    return float(centred[0] @ centred[1]) / norm if norm > 0 else float("nan")


def roc_auc(of_positives: FloatArray, of_negatives: FloatArray) -> float:
    """Return the area, 0 to 1, under the ROC curve of scores (P,) and (N,); nan if either is empty.

    The probability that a positive has a higher score than a negative, ties counted half (Mann and Whitney 1947): 0.5
    for scores that tell nothing.
    """
    positives, negatives = np.size(of_positives), np.size(of_negatives)
    if not positives or not negatives:
        return float("nan")
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([of_positives, of_negatives]))
    wins = ranks[:positives].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def _precision_and_recall(predicted: FloatArray, truth: FloatArray, limits: FloatArray) -> FloatArray:
    """Return precision and recall (2, limits) of one hand's vertices (V, 3)."""
    to_pair = np.linalg.norm(predicted - truth, axis=1)
    return np.stack(
        [_fraction_near(predicted, truth, to_pair, limits), _fraction_near(truth, predicted, to_pair, limits)]
    )


def _fraction_near(points: FloatArray, others: FloatArray, to_pair: FloatArray, limits: FloatArray) -> FloatArray:
    """Return the fraction of points (V, 3) whose nearest of ``others`` is nearer than each limit.

    ``to_pair`` (V,): distances to each point's counterpart; a search is needed only where they exceed a limit.
    """
    from scipy.spatial import cKDTree

    distance, searched = to_pair.copy(), to_pair >= limits.min()
    if searched.any():
        tree = cKDTree(others, balanced_tree=False, compact_nodes=False)
        distance[searched], _ = tree.query(points[searched], distance_upper_bound=float(limits.max()))
    return (distance[:, None] < limits).mean(axis=0)


def decibel(squared_error: float) -> float:
    """Return the PSNR in dB of a mean squared error of values in [0, 1]."""
    return -10 * float(np.log10(max(squared_error, 1e-12)))
