"""The field's measures as the datasets' own programs compute them (numpy; N samples, points in metres).

Read in lmb-freiburg/freihand (eval.py and its EvalUtil), shreyashampali/ho3d (eval.py), NVlabs/dex-ycb-toolkit
(hpe_eval.py, which imports FreiHAND's) and lmb-freiburg/hand3d (eval_full.py, of RHD and STB);
``docs/research/metrics.md`` lists where they differ. Means are over samples, which all have the same number of points:
they equal the means over points of FreiHAND's EvalUtil.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from handviz.core import metrics
from handviz.core.records import FloatArray
from handviz.core.units import MILLIMETRES_PER_METRE

ALIGNMENTS = ("absolute", "root", "scale_translation", "procrustes")
BONE_SCALE = "bone_scale"
"""A further alignment, of the datasets that give the hand's scale: ``bone_scale_aligned``."""
THRESHOLDS_MM = np.linspace(0.0, metrics.PCK_LIMIT_MM, 100)
"""np.linspace(val_min, val_max, steps): a hundred thresholds including 0 and 50, so 99 trapezoids."""
WRIST, MIDDLE_KNUCKLE, MIDDLE_JOINT = 0, 9, 10
NORM_EPSILON_M = 1e-8
RESAMPLES = 2000
BATCH = 100


@dataclass(frozen=True, eq=False)
class CameraPoints:
    """Predictions and truth of N samples, in the camera's frame and metres, left hands as they are."""

    keypoints_m: FloatArray
    """(N, 21, 3)"""
    true_keypoints_m: FloatArray
    vertices_m: FloatArray | None = None
    """(N, 778, 3); None where the network's mesh is not the dataset's"""
    true_vertices_m: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Scores:
    """The measures of N samples."""

    columns: dict[str, FloatArray] = field(default_factory=dict)
    """(N,) each, named ``root_mpjpe_mm`` and so on: those of alignments x ``COLUMNS`` that are defined"""
    pck: dict[str, FloatArray] = field(default_factory=dict)
    """(100,) mean fractions of points within THRESHOLDS_MM, named ``root_keypoints`` and so on"""


COLUMNS = ("mpjpe_mm", "auc_keypoints", "mpvpe_mm", "auc_vertices", "f5", "f15")
UPPER_AUC = "upper_auc_keypoints"
"""A further column, of the datasets whose area begins above 0 mm."""


@dataclass(frozen=True)
class Measures:
    """What is computed of a dataset's samples."""

    alignments: tuple[str, ...] = ALIGNMENTS
    upper_auc_from_mm: float | None = None
    """First threshold of ``UPPER_AUC``, whose last one is 50 mm; None: there is no such column"""


USUAL = Measures()


def threshold_places(errors_mm: FloatArray) -> NDArray[np.intp]:
    """Return each error's index of the first threshold not below it (<=, as EvalUtil compares); 100 beyond all."""
    return np.searchsorted(THRESHOLDS_MM, errors_mm, side="left")


def pck_curve(errors_mm: FloatArray) -> FloatArray:
    """Return the fraction (100,) of errors that are <= each threshold."""
    counts = np.bincount(np.ravel(threshold_places(errors_mm)), minlength=len(THRESHOLDS_MM) + 1)
    return np.cumsum(counts[:-1]) / np.size(errors_mm)


def sample_auc(errors_mm: FloatArray) -> FloatArray:
    """Return the area (N,) by trapezoids under the PCK curve of each sample's errors (N, K), 1 at best.

    Their mean is the area under the curve of all samples.
    """
    weights = np.full(len(THRESHOLDS_MM), 1.0 / (len(THRESHOLDS_MM) - 1))
    weights[[0, -1]] /= 2
    # A point that counts from a threshold on adds the area from there to the end.
    areas = np.append(np.cumsum(weights[::-1])[::-1], 0.0)
    return np.asarray(areas[threshold_places(errors_mm)].mean(axis=1))


def scale_translation_aligned(keypoints: FloatArray, truth: FloatArray) -> FloatArray:
    """Align keypoints (N, 21, 3) by HO3D's align_sc_tr: wrist on wrist, and wrist to middle knuckle as long as in
    truth.

    Its joint 4 is the middle knuckle in its own order. A prediction without that length is only multiplied, as there.
    """
    return _scaled_at_wrist(keypoints, truth, (WRIST, MIDDLE_KNUCKLE))


def bone_scale_aligned(keypoints: FloatArray, truth: FloatArray) -> FloatArray:
    """Align keypoints (N, 21, 3) wrist on wrist, the middle finger's first phalanx as long as in truth.

    The length by which hand3d normalises hands, and which its evaluation takes from the truth (``keypoint_scale``).
    """
    return _scaled_at_wrist(keypoints, truth, (MIDDLE_KNUCKLE, MIDDLE_JOINT))


def _scaled_at_wrist(keypoints: FloatArray, truth: FloatArray, bone: tuple[int, int]) -> FloatArray:
    """Move wrist on wrist after scaling a bone to its true length; without that length points are only multiplied."""
    found, wanted = (np.linalg.norm(points[:, bone[1]] - points[:, bone[0]], axis=1) for points in (keypoints, truth))
    scale = wanted / np.where(found > 0, found, 1.0)
    return (keypoints - keypoints[:, :1]) * scale[:, None, None] + truth[:, :1]


def official_procrustes(predicted: FloatArray, truth: FloatArray) -> FloatArray:
    """Align points (N, K, 3) in metres by FreiHAND's align_w_scale: a mirrored fit is allowed where it is better."""
    return metrics.procrustes_aligned(predicted, truth, may_mirror=True, norm_epsilon=NORM_EPSILON_M)


def aligned(points: CameraPoints, alignment: str) -> tuple[FloatArray, FloatArray | None]:
    """Align predicted keypoints and vertices by one of ALIGNMENTS, or BONE_SCALE; None: no vertices, or no definition.

    Keypoints and vertices are Procrustes-aligned each by themselves, but shifted together to the root.
    """
    keypoints, vertices, truth = points.keypoints_m, points.vertices_m, points.true_keypoints_m
    if alignment == "root":
        shift = truth[:, :1] - keypoints[:, :1]
        return keypoints + shift, None if vertices is None else vertices + shift
    if alignment == "scale_translation":
        return scale_translation_aligned(keypoints, truth), None
    if alignment == BONE_SCALE:
        return bone_scale_aligned(keypoints, truth), None
    if alignment == "procrustes":
        mesh = None
        if vertices is not None and points.true_vertices_m is not None:
            mesh = official_procrustes(vertices, points.true_vertices_m)
        return official_procrustes(keypoints, truth), mesh
    return keypoints, vertices


def score(points: CameraPoints, measures: Measures = USUAL) -> Scores:
    """Return every column and curve of these samples, before and after each alignment."""
    scores = Scores()
    for alignment in measures.alignments:
        keypoints, vertices = aligned(points, alignment)
        _add_errors(scores, f"{alignment}_mpjpe_mm", f"{alignment}_auc_keypoints", keypoints, points.true_keypoints_m)
        if measures.upper_auc_from_mm is not None:
            errors_mm = metrics.point_errors_mm(keypoints, points.true_keypoints_m)
            areas = metrics.pck_areas(errors_mm, start_mm=measures.upper_auc_from_mm)
            scores.columns[f"{alignment}_{UPPER_AUC}"] = areas.mean(axis=1)
        if vertices is not None and points.true_vertices_m is not None:
            _add_errors(scores, f"{alignment}_mpvpe_mm", f"{alignment}_auc_vertices", vertices, points.true_vertices_m)
            f5, f15 = metrics.f_scores(vertices, points.true_vertices_m).T
            scores.columns.update({f"{alignment}_f5": f5, f"{alignment}_f15": f15})
    return scores


def _add_errors(scores: Scores, mean: str, area: str, predicted: FloatArray, truth: FloatArray) -> None:
    errors_mm = metrics.point_errors_mm(predicted, truth)
    scores.columns[mean] = errors_mm.mean(axis=1)
    scores.columns[area] = sample_auc(errors_mm)
    scores.pck[area.replace("_auc", "")] = pck_curve(errors_mm)


def joined(parts: Sequence[Scores]) -> Scores:
    """Join the scores of batches, none of them empty."""
    sizes = np.array([len(next(iter(part.columns.values()))) for part in parts])
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    curves = {name: np.average([part.pck[name] for part in parts], axis=0, weights=sizes) for name in parts[0].pck}
    return Scores(columns, curves)


def acceleration_errors_mm(predicted_m: FloatArray, truth_m: FloatArray) -> FloatArray:
    """Return the acceleration errors (T - 2,) of tracks (T, K, 3), mean over points, in mm per frame^2.

    The acceleration error of HMMR and VIBE (compute_error_accel), which divides by no time: times the square of the
    frames per second it is in mm/s^2.
    """
    difference = predicted_m - truth_m
    seconds = difference[:-2] - 2 * difference[1:-1] + difference[2:]
    return np.asarray(np.linalg.norm(seconds, axis=-1).mean(axis=1) * MILLIMETRES_PER_METRE)


# Bootstrap: the variation of means over other draws of samples (Efron 1979).


def mean_intervals(
    values: FloatArray, groups: Sequence[str], *, percent: float = 95.0, resamples: int = RESAMPLES, seed: int = 0
) -> FloatArray:
    """Return the ends (2, C) of percentile intervals of the means of values (N, C).

    Whole groups are drawn, since samples of a sequence are correlated. The same seed gives the same interval.
    """
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    count = int(group.max()) + 1
    sums, sizes = np.zeros((count, values.shape[1])), np.bincount(group).astype(np.float64)
    np.add.at(sums, group, values)
    random, means = np.random.default_rng(seed), []
    for start in range(0, resamples, BATCH):
        drawn = random.multinomial(count, np.full(count, 1 / count), size=min(BATCH, resamples - start))
        means.append((drawn @ sums) / (drawn @ sizes)[:, None])
    tail = (100 - percent) / 2
    return np.percentile(np.concatenate(means), [tail, 100 - tail], axis=0)
