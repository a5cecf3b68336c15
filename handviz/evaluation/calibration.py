"""Calibration of standard deviations: coverage, likelihood and order, separately for visible and hidden points.

Errors are those of the canonical frame without any alignment, prediction minus truth, as the model's Gaussian describes
them. A point's error is the norm of its offset over x, y and z, its standard deviation the root of the summed
variances. Keypoints are the 20 beside the wrist: the wrist is the origin of prediction and truth.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from handviz.core import metrics
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import FloatArray
from handviz.core.units import CENTIMETRES_PER_METRE, MILLIMETRES_PER_METRE
from handviz.evaluation.card import COVERAGE_PERCENTS, Answers, cell, mean_or_nan, uncertainty_of

NOMINAL = tuple(float(value) for value in np.linspace(0.05, 0.95, 19))
"""Probabilities of the reliability diagram."""
REMOVED = tuple(float(value) for value in np.linspace(0.0, 0.99, 100))
"""Fractions removed in the sparsification curves."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """One row: some points of all hands. Every number is nan where there are none."""

    points: str
    """``vertices`` or ``keypoints``"""
    seen: str
    """``all``, ``visible`` or ``hidden``"""
    count: int
    """points, not hands"""
    coverage: FloatArray
    """(4,) fraction of coordinates inside the central intervals of COVERAGE_PERCENTS"""
    nll: float
    """nats per coordinate, in cm"""
    ausc_mm: float
    """mean error of the remaining points, over all fractions (Ilg et al. 2018)"""
    ause: float
    """difference of that from the best order's, by the mean error: 0 is perfect"""
    spearman: float
    """of standard deviation and error over all points of all hands at once"""
    spearman_each: float
    """mean over points of the correlation over hands, so that it does not depend on which point it is"""
    error_mm: float
    std_mm: float
    reliability: FloatArray
    """(19,) observed fractions at NOMINAL"""
    sparsification_mm: FloatArray
    """(100,) mean error without the REMOVED fractions of largest standard deviation"""
    oracle_mm: FloatArray
    """(100,) likewise, without those of largest error"""


class VarianceScale(NamedTuple):
    """Factors for a model's variances (not standard deviations)."""

    vertices: float
    keypoints: float


def calibrate(answers: Answers) -> tuple[Calibration, ...]:
    """Return rows for vertices, then keypoints; each for all, visible and hidden ones. None without uncertainty."""
    if uncertainty_of(answers) == "none":
        return ()
    rows = []
    for name, offsets_m, std_m, visible in (
        ("vertices", answers.offsets_m, answers.std_m, answers.visible),
        ("keypoints", answers.keypoint_offsets_m, answers.keypoint_std_m, answers.keypoint_visible),
    ):
        for seen, chosen in (("all", np.ones_like(visible)), ("visible", visible), ("hidden", ~visible)):
            rows.append(_row(name, seen, offsets_m, std_m, chosen))
    return tuple(rows)


def _row(points: str, seen: str, offsets_m: FloatArray, std_m: FloatArray, chosen: NDArray[np.bool_]) -> Calibration:
    """Return the row of offsets and standard deviations (N, P, 3), of which ``chosen`` (N, P) count."""
    errors_mm, std_mm = (np.linalg.norm(part, axis=2) * MILLIMETRES_PER_METRE for part in (offsets_m, std_m))
    each = spearman_each(errors_mm, std_mm, chosen)
    offsets_m, std_m = offsets_m[chosen], std_m[chosen]
    errors_mm, std_mm = errors_mm[chosen], std_mm[chosen]
    remaining = _remaining_means(errors_mm, std_mm)
    best = _remaining_means(errors_mm, errors_mm)
    probabilities = (*(percent / 100 for percent in COVERAGE_PERCENTS), *NOMINAL)
    observed = metrics.reliability_curve(offsets_m, std_m, probabilities) if len(std_m) else _nan(len(probabilities))
    return Calibration(
        points=points,
        seen=seen,
        count=len(errors_mm),
        coverage=observed[: len(COVERAGE_PERCENTS)],
        nll=mean_or_nan(metrics.gaussian_nll(offsets_m * CENTIMETRES_PER_METRE, std_m * CENTIMETRES_PER_METRE)),
        ausc_mm=mean_or_nan(remaining),
        ause=metrics.excess_area(remaining, best),
        spearman=metrics.spearman(errors_mm, std_mm),
        spearman_each=each,
        error_mm=mean_or_nan(errors_mm),
        std_mm=mean_or_nan(std_mm),
        reliability=observed[len(COVERAGE_PERCENTS) :],
        sparsification_mm=metrics.at_removed_fractions(remaining, REMOVED),
        oracle_mm=metrics.at_removed_fractions(best, REMOVED),
    )


def _nan(size: int) -> FloatArray:
    return np.full(size, np.nan)


def _remaining_means(errors: FloatArray, order_by: FloatArray) -> FloatArray:
    return metrics.means_of_kept(errors, order_by) if len(errors) else _nan(1)


def spearman_each(errors: FloatArray, stds: FloatArray, chosen: NDArray[np.bool_]) -> float:
    """Return the mean over points of the rank correlation over hands (N, P), without points of fewer than three."""
    count = chosen.sum(axis=0)
    # What is not chosen gets the last ranks, so that those of the others are as without it: (count + 1) / 2 on average.
    ranks = (rankdata(np.where(chosen, values, np.inf), axis=0) for values in (errors, stds))
    first, second = (np.where(chosen, rank - (count + 1) / 2, 0.0) for rank in ranks)
    norms = np.sqrt(np.square(first).sum(axis=0) * np.square(second).sum(axis=0))
    usable = (count > 2) & (norms > 0)
    return mean_or_nan((first * second).sum(axis=0)[usable] / norms[usable])


def fit_variance_scale(answers: Answers) -> VarianceScale:
    """Return the factors that calibrate a model's variances; fit them on a validation split.

    They are the means of the squared standardised errors, which maximise the Gaussian likelihood in closed form
    (temperature scaling of Guo et al. 2017, for regression). A factor under which 68 % cover 68 % would fit one
    quantile and ignore the tail; nll is a proper score, to which every error counts. The price: with heavy tails the
    inner intervals cover more than their nominal fraction, which the table of coverage shows. Order is unchanged: AUSC,
    AUSE and Spearman stay. Vertices and keypoints have one factor each, because the correlation between vertices, from
    which a keypoint's variance comes, is an assumption of its own.
    """
    if uncertainty_of(answers) == "none":
        raise HandvizError(
            "this model predicts no uncertainty: there is nothing to calibrate, choose another one",
            ErrorCode.NOT_PROVIDED,
        )
    scale = VarianceScale(
        _mean_square(answers.offsets_m, answers.std_m),
        _mean_square(answers.keypoint_offsets_m, answers.keypoint_std_m),
    )
    if not all(np.isfinite(value) and value > 0 for value in scale):
        raise HandvizError(
            f"no variance scale fits these predictions: {scale.vertices}, {scale.keypoints}", ErrorCode.NOT_FINITE
        )
    return scale


def _mean_square(offsets_m: FloatArray, std_m: FloatArray) -> float:
    return mean_or_nan(np.square(offsets_m / std_m))


TABLE_COLUMNS = (
    ("nll, nats (cm)", "nll", "{:.3f}"),
    ("AUSC, mm", "ausc_mm", "{:.2f}"),
    ("AUSE / mean error", "ause", "{:.3f}"),
    ("Spearman", "spearman", "{:.2f}"),
    ("Spearman, each point", "spearman_each", "{:.2f}"),
    ("error, mm", "error_mm", "{:.2f}"),
    ("standard deviation, mm", "std_mm", "{:.2f}"),
)


def calibration_table(rows: tuple[Calibration, ...]) -> str:
    """Return a Markdown table of the rows, errors in the canonical frame without alignment."""
    covers = [f"{percent} %" for percent in COVERAGE_PERCENTS]
    titles = ["canonical frame, not aligned", "points", *covers, *(title for title, _, _ in TABLE_COLUMNS)]
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for row in rows:
        numbers = [cell("{:.1%}", float(fraction)) for fraction in row.coverage]
        numbers += [cell(form, getattr(row, name)) for _, name, form in TABLE_COLUMNS]
        lines.append("| " + " | ".join([f"{row.points}, {row.seen}", f"{row.count:,}", *numbers]) + " |")
    return "\n".join(lines)
