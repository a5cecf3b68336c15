"""Measure the cost of a dataset's evaluation without its network, and of F-scores by two ways of search."""

import sys
import time
from dataclasses import dataclass

import numpy as np
import torch

import tools
from handviz.core.arguments import Count
from handviz.core.metrics import f_scores
from handviz.core.output import print_result
from handviz.core.records import FloatArray
from handviz.evaluation.definitions import CameraPoints, Scores, joined, score
from handviz.evaluation.official import CHUNK
from handviz.hand_models.mano.parameters import posed
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.template import POSE_SIZE, SHAPE_SIZE

SAMPLES = 4000
COMPARED = 400
POSE_STD_RAD, POSE_ERROR_RAD, POSITION_ERROR_M = 0.3, 0.1, 0.02
CDIST_BATCH = 8


def sample_points(count: int, seed: int = 0) -> CameraPoints:
    """Return posed hands at half a metre, and predictions off by some degrees in every joint and by centimetres."""
    random, template = np.random.default_rng(seed), load_open_hand()
    pose, shape = random.normal(scale=POSE_STD_RAD, size=(count, POSE_SIZE)), random.normal(size=(count, SHAPE_SIZE))
    wrong = pose + random.normal(scale=POSE_ERROR_RAD, size=pose.shape)
    position_m = np.array([0.0, 0.0, 0.5])
    true, predicted = posed(template, pose, shape) + position_m, posed(template, wrong, shape) + position_m
    predicted = predicted + random.normal(scale=POSITION_ERROR_M, size=(count, 1, 3))
    regressor = template.keypoint_regressor
    return CameraPoints(regressor @ predicted, regressor @ true, predicted, true)


def measure(count: int = SAMPLES) -> None:
    """Log the time of all measures of ``count`` samples, and that of F-scores by k-d trees and by all distances.

    Core seconds too, which hardly depend on the machine's other load.
    """
    points = sample_points(count)
    vertices = points.vertices_m
    true_vertices = points.true_vertices_m
    assert vertices is not None
    assert true_vertices is not None
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    scores = _scored(points)
    wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    print_result("%d samples of %d vertices, every measure before and after alignment:", *vertices.shape[:2])
    print_result("  %.1f s, of all cores together %.1f s", wall_s, cpu_s)
    print_result(
        "  F@5 %.3f, %.3f after Procrustes", *(scores.columns[f"{name}_f5"].mean() for name in ("root", "procrustes"))
    )
    few, true = vertices[:COMPARED], true_vertices[:COMPARED]
    for name, search in (("k-d trees", f_scores), (f"torch.cdist, {CDIST_BATCH} hands at a time", f_scores_by_cdist)):
        start_cpu_s = time.process_time()
        search(few, true)
        each_ms = (time.process_time() - start_cpu_s) / len(few) * 1000
        print_result("  F-scores by %-32s %.2f ms of one core a sample", name, each_ms)


def _scored(points: CameraPoints) -> Scores:
    names = points.__dataclass_fields__
    starts = range(0, len(points.keypoints_m), CHUNK)
    return joined(
        [score(CameraPoints(**{name: getattr(points, name)[at : at + CHUNK] for name in names})) for at in starts]
    )


def f_scores_by_cdist(predicted_m: FloatArray, truth_m: FloatArray) -> FloatArray:
    """Return ``metrics.f_scores`` at 5 and 15 mm from all distances of all pairs."""
    limits = torch.tensor([0.005, 0.015], dtype=torch.float64)
    predicted = []
    for start in range(0, len(truth_m), CDIST_BATCH):
        rows = slice(start, start + CDIST_BATCH)
        distances = torch.cdist(torch.from_numpy(predicted_m[rows]), torch.from_numpy(truth_m[rows]))
        precision, recall = ((distances.amin(axis)[..., None] < limits).double().mean(1) for axis in (2, 1))
        predicted.append(torch.nan_to_num(2 * precision * recall / (precision + recall)))
    return torch.cat(predicted).numpy()


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The number of samples."""

    samples: Count = SAMPLES
    """Made-up samples to evaluate."""


def run(arguments: Arguments) -> int:
    """Measure and log; return 0."""
    measure(arguments.samples)
    return 0


if __name__ == "__main__":
    sys.exit(tools.run("evaluation_speed"))
