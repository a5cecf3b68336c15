"""The model card: its numbers from predictions and truth, and its table."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handviz.core import metrics
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import SAME_STD, FloatArray, UncertaintyKind
from handviz.core.units import CENTIMETRES_PER_METRE, MILLIMETRES_PER_METRE

COVERAGE_PERCENTS = (50, 68, 90, 95)
HEAVILY_HIDDEN = 0.5
"""Fraction of a hand's otherwise visible vertices that objects occlude, from which it counts as heavily hidden."""


@dataclass(frozen=True, eq=False)
class SeenPoints:
    """Predictions and truth of N hands in metres, in the crop's axes, so that rotation counts in MPJPE."""

    keypoints_m: FloatArray
    """(N, 21, 3) in the crop's axes, wrist at 0"""
    vertices_m: FloatArray
    """(N, V, 3) in the crop's axes, wrist at 0"""
    true_keypoints_m: FloatArray
    true_vertices_m: FloatArray


@dataclass(frozen=True, eq=False)
class Answers(SeenPoints):
    """The predictions and labels that the card is computed from."""

    offsets_m: FloatArray
    """(N, V, 3) canonical prediction minus truth"""
    std_m: FloatArray
    """(N, V, 3) canonical"""
    keypoint_offsets_m: FloatArray
    """(N, 20, 3) without the wrist, which is the origin of prediction and truth"""
    keypoint_std_m: FloatArray
    """(N, 20, 3) without the wrist"""
    visible: NDArray[np.bool_]
    """(N, V)"""
    visible_alone: NDArray[np.bool_]
    """(N, V) without the objects in front of the hand"""
    keypoint_visible: NDArray[np.bool_]
    """(N, 20) without the wrist, by ``keypoints_visible``"""
    hidden_fraction: FloatArray
    """(N,) fraction of otherwise visible vertices that objects occlude"""
    rotation_errors: FloatArray
    """(N, 3, 3) true rotation of the hand times the inverse of the predicted one, in the crop's axes"""
    hand_probability: FloatArray
    """(N,) the model's own probability that the crop shows a hand; nan if it predicts none"""


@dataclass(frozen=True)
class Card:
    """The numbers of one model; nan where no crop or vertex is of the kind."""

    mpjpe_mm: float
    pa_mpjpe_mm: float
    pa_mpjpe_visible_mm: float
    """of hands less than half occluded by objects"""
    pa_mpjpe_hidden_mm: float
    """of the others, the heavily hidden ones"""
    pa_mpvpe_mm: float
    f5: float
    f15: float
    rotation_median_deg: float
    """angle between predicted and true rotation of the hand"""
    rotation_mean_deg: float
    mpjpe_true_rotation_mm: float
    """MPJPE with the true rotation"""
    mpjpe_true_rotation_size_mm: float
    """that with the true size too: the root mean square distance of the keypoints from the wrist"""
    nll: float
    """nats per vertex coordinate, in cm"""
    coverage_50: float
    coverage_68: float
    coverage_90: float
    coverage_95: float
    keypoint_coverage_50: float
    keypoint_coverage_68: float
    keypoint_coverage_90: float
    keypoint_coverage_95: float
    ause: float
    """of vertices, by their mean error"""
    spearman: float
    """rank correlation of standard deviation and error over all vertices"""
    std_mm: float
    hidden_over_visible: float
    """mean standard deviation of hidden vertices over that of visible ones, occluded by objects or the hand itself"""
    hidden_over_visible_heavy: float
    """the same within heavily hidden hands"""
    things_over_visible: float
    """as ``hidden_over_visible``, but of those hidden vertices alone that only objects occlude"""
    things_over_visible_heavy: float


def mean_or_nan(values: FloatArray) -> float:
    """Return the mean in double precision; nan, without a warning, for no values."""
    return float(np.mean(values, dtype=np.float64)) if np.size(values) else float("nan")


class PartMeans(NamedTuple):
    """A mean over all hands, and over those of which objects occlude less, or not less, than half."""

    everything: float
    visible: float
    heavily_hidden: float


def means_by_part(values: FloatArray, hidden_fraction: FloatArray) -> PartMeans:
    """Return the means of values (N,) by ``hidden_fraction`` (N,); nan for a part without hands."""
    parts = values, values[hidden_fraction < HEAVILY_HIDDEN], values[hidden_fraction >= HEAVILY_HIDDEN]
    return PartMeans(*(mean_or_nan(part) for part in parts))


def hidden_over_visible(std: FloatArray, hidden: NDArray[np.bool_], visible: NDArray[np.bool_]) -> float:
    """Return the mean standard deviation of hidden over that of visible vertices, all (N, V); nan without any of
    either."""
    return mean_or_nan(std[hidden]) / mean_or_nan(std[visible])


def _coverages(offsets_m: FloatArray, std_m: FloatArray, name: str) -> dict[str, float]:
    """Return the card's fields of interval coverage, ``name_50`` and so on."""
    fractions = metrics.reliability_curve(offsets_m, std_m, [percent / 100 for percent in COVERAGE_PERCENTS])
    return {
        f"{name}_{percent}": float(fraction) for percent, fraction in zip(COVERAGE_PERCENTS, fractions, strict=True)
    }


def point_figures(points: SeenPoints) -> dict[str, float]:
    """Return the errors of the card: means over all hands, in mm and fractions."""
    aligned = metrics.procrustes_aligned(points.vertices_m, points.true_vertices_m)
    f5, f15 = metrics.f_scores(aligned, points.true_vertices_m).mean(axis=0)
    return {
        "mpjpe_mm": mean_or_nan(metrics.mpjpe_mm(points.keypoints_m, points.true_keypoints_m)),
        "pa_mpvpe_mm": mean_or_nan(metrics.mpjpe_mm(aligned, points.true_vertices_m)),
        "f5": float(f5),
        "f15": float(f15),
    }


def rotation_figures(answers: Answers) -> dict[str, float]:
    """Return the card's errors of the rotation, and MPJPE with the true rotation, then with the true size too."""
    cosines = (np.trace(answers.rotation_errors, axis1=1, axis2=2) - 1) / 2
    angles_deg = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    true_m = answers.true_keypoints_m
    rotated_m = answers.keypoints_m @ answers.rotation_errors.transpose(0, 2, 1)
    own_size, true_size = (np.linalg.norm(points, axis=(1, 2)) for points in (rotated_m, true_m))
    scaled_m = rotated_m * (true_size / np.maximum(own_size, np.finfo(np.float32).tiny))[:, None, None]
    return {
        "rotation_median_deg": float(np.median(angles_deg)) if len(angles_deg) else math.nan,
        "rotation_mean_deg": mean_or_nan(angles_deg),
        "mpjpe_true_rotation_mm": mean_or_nan(metrics.mpjpe_mm(rotated_m, true_m)),
        "mpjpe_true_rotation_size_mm": mean_or_nan(metrics.mpjpe_mm(scaled_m, true_m)),
    }


def uncertainty_figures(offsets_m: FloatArray, std_m: FloatArray) -> dict[str, float]:
    """Return the card's numbers on the vertices' standard deviations (N, V, 3) and canonical offsets (N, V, 3)."""
    std, error = np.linalg.norm(std_m, axis=2), np.linalg.norm(offsets_m, axis=2)
    return {
        "nll": mean_or_nan(metrics.gaussian_nll(offsets_m * CENTIMETRES_PER_METRE, std_m * CENTIMETRES_PER_METRE)),
        **_coverages(offsets_m, std_m, "coverage"),
        "ause": metrics.sparsification_error(error, std),
        "spearman": metrics.spearman(error, std),
        "std_mm": mean_or_nan(std) * MILLIMETRES_PER_METRE,
    }


def _hidden_ratios(answers: Answers, std: FloatArray) -> dict[str, float]:
    """Return the card's ``hidden_over_visible``: by anything or by objects alone, of all or of heavily hidden hands."""
    heavy = answers.hidden_fraction >= HEAVILY_HIDDEN
    found: dict[str, float] = {}
    for name, hidden in (("hidden", ~answers.visible), ("things", answers.visible_alone & ~answers.visible)):
        found[f"{name}_over_visible"] = hidden_over_visible(std, hidden, answers.visible)
        found[f"{name}_over_visible_heavy"] = hidden_over_visible(std[heavy], hidden[heavy], answers.visible[heavy])
    return found


def uncertainty_of(answers: Answers) -> UncertaintyKind:
    """Return whether each vertex has a standard deviation of its own, all of a hand have the same, or there is none."""
    if np.isnan(answers.std_m).all() and np.isnan(answers.keypoint_std_m).all():
        return "none"
    std = np.linalg.norm(answers.std_m, axis=2)
    return "constant" if (np.ptp(std, axis=1) <= SAME_STD * std.max(axis=1)).all() else "per_vertex"


def card(answers: Answers) -> Card:
    """Return every number of the card; those on uncertainty are nan for a model that predicts none.

    HandvizError if a prediction is not finite.
    """
    has_std = uncertainty_of(answers) != "none"
    if not (np.isfinite(answers.vertices_m).all() and (np.isfinite(answers.std_m).all() or not has_std)):
        raise HandvizError("the model's predictions are not finite", ErrorCode.NOT_FINITE)
    keypoint_errors = metrics.pa_mpjpe_mm(answers.keypoints_m, answers.true_keypoints_m)
    by_part = means_by_part(keypoint_errors, answers.hidden_fraction)
    return Card(
        pa_mpjpe_mm=by_part.everything,
        pa_mpjpe_visible_mm=by_part.visible,
        pa_mpjpe_hidden_mm=by_part.heavily_hidden,
        **point_figures(answers),
        **rotation_figures(answers),
        **(_figures_of_std(answers) if has_std else NO_FIGURES_OF_STD),
    )


def _figures_of_std(answers: Answers) -> dict[str, float]:
    return {
        **uncertainty_figures(answers.offsets_m, answers.std_m),
        **_coverages(answers.keypoint_offsets_m, answers.keypoint_std_m, "keypoint_coverage"),
        **_hidden_ratios(answers, np.linalg.norm(answers.std_m, axis=2)),
    }


FIRST_OF_STD = "nll"
NO_FIGURES_OF_STD = dict.fromkeys(
    list(Card.__dataclass_fields__)[list(Card.__dataclass_fields__).index(FIRST_OF_STD) :], math.nan
)
"""The card's figures on standard deviations, where there are none."""
UNCERTAINTY_NOTES: dict[UncertaintyKind, str] = {
    "per_vertex": "",
    "constant": "predicts one standard deviation for all vertices of a hand",
    "none": "predicts no uncertainty",
}
CARD_ROWS = (
    ("MPJPE, mm", "mpjpe_mm", "{:.2f}"),
    ("PA-MPJPE, mm", "pa_mpjpe_mm", "{:.2f}"),
    ("PA-MPJPE, visible hands, mm", "pa_mpjpe_visible_mm", "{:.2f}"),
    ("PA-MPJPE, heavily hidden, mm", "pa_mpjpe_hidden_mm", "{:.2f}"),
    ("PA-MPVPE, mm", "pa_mpvpe_mm", "{:.2f}"),
    ("F@5 mm", "f5", "{:.3f}"),
    ("F@15 mm", "f15", "{:.3f}"),
    ("rotation error, median, degrees", "rotation_median_deg", "{:.1f}"),
    ("rotation error, mean, degrees", "rotation_mean_deg", "{:.1f}"),
    ("MPJPE with the true rotation, mm", "mpjpe_true_rotation_mm", "{:.2f}"),
    ("MPJPE with the true rotation and size, mm", "mpjpe_true_rotation_size_mm", "{:.2f}"),
    ("nll, nats per coordinate (cm)", "nll", "{:.3f}"),
    *(
        (f"{percent} % interval covers, {points}", f"{prefix}coverage_{percent}", "{:.1%}")
        for points, prefix in (("vertices", ""), ("keypoints", "keypoint_"))
        for percent in COVERAGE_PERCENTS
    ),
    ("AUSE / mean error, vertices", "ause", "{:.3f}"),
    ("Spearman of standard deviation and error", "spearman", "{:.2f}"),
    ("mean standard deviation, mm", "std_mm", "{:.2f}"),
    ("standard deviation hidden / visible vertices", "hidden_over_visible", "{:.2f}"),
    ("the same, heavily hidden hands", "hidden_over_visible_heavy", "{:.2f}"),
    ("standard deviation hidden by things / visible", "things_over_visible", "{:.2f}"),
    ("that, heavily hidden hands", "things_over_visible_heavy", "{:.2f}"),
)


def cell(form: str, value: float) -> str:
    """Format a number of a table; a dash where there is none."""
    return "–" if math.isnan(value) else form.format(value)


def card_table(cards: dict[str, Card]) -> str:
    """Return a Markdown table: one row per measure, one column per model."""
    lines = ["| | " + " | ".join(cards) + " |", "|---" * (len(cards) + 1) + "|"]
    for title, name, form in CARD_ROWS:
        values = " | ".join(cell(form, getattr(one, name)) for one in cards.values())
        lines.append(f"| {title} | {values} |")
    return "\n".join(lines)
