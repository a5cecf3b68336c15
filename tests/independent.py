"""Slow implementations of the datasets' metrics from their definitions, to compare the fast ones with."""

import itertools

import numpy as np
from scipy.linalg import orthogonal_procrustes


def distances(predicted, truth):
    """Return distances (K,) of two lists of points, one by one."""
    return np.array(
        [sum((a - b) ** 2 for a, b in zip(p, t, strict=True)) ** 0.5 for p, t in zip(predicted, truth, strict=True)]
    )


def aligned_with_scale(truth, predicted):
    """Align as FreiHAND, by scipy: centre, divide by the norms, rotate (or mirror), scale back."""
    truth_middle, predicted_middle = truth.mean(axis=0), predicted.mean(axis=0)
    truth_norm = np.linalg.norm(truth - truth_middle) + 1e-8
    predicted_norm = np.linalg.norm(predicted - predicted_middle) + 1e-8
    to, moved = (truth - truth_middle) / truth_norm, (predicted - predicted_middle) / predicted_norm
    turn, scale = orthogonal_procrustes(moved, to)
    return moved @ turn * scale * truth_norm + truth_middle


def aligned_wrist_and_palm(truth, predicted):
    """Align as HO3D: wrist on wrist, and the same length from there to the middle knuckle (keypoint 9)."""
    scale = np.linalg.norm(truth[9] - truth[0]) / np.linalg.norm(predicted[9] - predicted[0])
    return np.array([(point - predicted[0]) * scale + truth[0] for point in predicted])


def area_under_pck(errors_mm):
    """Return the AUC of errors (N, K): per point a curve over samples, its area by trapezoids, the mean over points."""
    thresholds = np.array([50 * step / 99 for step in range(100)])
    areas = []
    for point in np.asarray(errors_mm).T:
        curve = (point[:, None] <= thresholds).mean(axis=0).tolist()
        areas.append(sum((one + next_one) / 2 * 50 / 99 for one, next_one in itertools.pairwise(curve)) / 50)
    return float(np.mean(areas))


def f_scores(predicted, truth, thresholds_m):
    """Return F-scores of two clouds at each threshold, from every distance of every pair."""
    table = np.sqrt(((predicted[:, None] - truth[None]) ** 2).sum(axis=2))
    scores = []
    for threshold in thresholds_m:
        precision, recall = (table.min(axis=1) < threshold).mean(), (table.min(axis=0) < threshold).mean()
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return scores


def measures(keypoints, true_keypoints, vertices, true_vertices):
    """Return means over N samples in metres, by the alignment and the metric."""
    found = {}
    for alignment in ("absolute", "root", "scale_translation", "procrustes"):
        moved, meshes = [], []
        for points, truth, mesh, true_mesh in zip(keypoints, true_keypoints, vertices, true_vertices, strict=True):
            if alignment == "absolute":
                moved.append(points)
                meshes.append(mesh)
            elif alignment == "root":
                moved.append(points - points[0] + truth[0])
                meshes.append(mesh - points[0] + truth[0])
            elif alignment == "scale_translation":
                moved.append(aligned_wrist_and_palm(truth, points))
            else:
                moved.append(aligned_with_scale(truth, points))
                meshes.append(aligned_with_scale(true_mesh, mesh))
        found |= _means(alignment, ("mpjpe_mm", "auc_keypoints"), moved, true_keypoints)
        if meshes:
            found |= _means(alignment, ("mpvpe_mm", "auc_vertices"), meshes, true_vertices)
            pairs = zip(meshes, true_vertices, strict=True)
            scores = np.mean([f_scores(mesh, truth, (0.005, 0.015)) for mesh, truth in pairs], axis=0)
            found |= {f"{alignment}_f5": scores[0], f"{alignment}_f15": scores[1]}
    return found


def _means(alignment, names, predicted, truth):
    errors_mm = np.array([1000 * distances(one, other) for one, other in zip(predicted, truth, strict=True)])
    return {f"{alignment}_{names[0]}": errors_mm.mean(), f"{alignment}_{names[1]}": area_under_pck(errors_mm)}


def area_of_thresholds(errors_mm, start_mm, limit_mm, steps):
    """Return the normalised area under PCK between two thresholds: every point counted, trapezoids by numpy."""
    thresholds = np.linspace(start_mm, limit_mm, steps)
    curve = [sum(error <= threshold for error in np.ravel(errors_mm)) / np.size(errors_mm) for threshold in thresholds]
    return np.trapezoid(curve, thresholds) / (limit_mm - start_mm)
