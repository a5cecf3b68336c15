"""Errors in the camera frame, and jitter, of hands whose true motion is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from handviz.core.records import FloatArray
from handviz.evaluation.definitions import CameraPoints, acceleration_errors_mm, score
from handviz.pipeline.kalman import Smoother
from tools.motion_scores import KnownMotion


@dataclass(frozen=True)
class ClipScores:
    """Means over all frames in which the hand was found."""

    frames: int
    absolute_mm: float
    """MPJPE in the camera's frame: includes the wrist's position"""
    root_mm: float
    """MPJPE wrist on wrist"""
    procrustes_mm: float
    acceleration_mm: float
    """acceleration error from the wrist, mm per frame^2: jitter, and motion that is smoothed away"""
    absolute_acceleration_mm: float
    """likewise in the camera's frame"""


def clip_scores(motions: Sequence[KnownMotion], make: Callable[[], Smoother]) -> ClipScores:
    """Score every motion with a smoother of its own; accelerations where three frames follow each other."""
    keypoints, truth, roots, absolute = [], [], list[FloatArray](), list[FloatArray]()
    for motion in motions:
        found, true, rows = _track(motion, make())
        keypoints.append(found)
        truth.append(true)
        centre = np.flatnonzero((rows[2:] - rows[:-2]) == 2)
        absolute.append(acceleration_errors_mm(found, true)[centre])
        roots.append(acceleration_errors_mm(found - found[:, :1], true - true[:, :1])[centre])
    columns = score(CameraPoints(np.concatenate(keypoints), np.concatenate(truth))).columns
    return ClipScores(
        frames=len(columns["root_mpjpe_mm"]),
        absolute_mm=float(columns["absolute_mpjpe_mm"].mean()),
        root_mm=float(columns["root_mpjpe_mm"].mean()),
        procrustes_mm=float(columns["procrustes_mpjpe_mm"].mean()),
        acceleration_mm=float(np.concatenate(roots).mean()),
        absolute_acceleration_mm=float(np.concatenate(absolute).mean()),
    )


def _track(motion: KnownMotion, smoother: Smoother) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return keypoints and ground truth (T, 21, 3) in the camera frame, and the frames (T,) with the hand found."""
    rows, found = [], []
    for row, (hand, time_s) in enumerate(zip(motion.hands, motion.times_s, strict=True)):
        answer = smoother.smooth([] if hand is None else [hand], time_s * 1000)
        if answer:
            rows.append(row)
            found.append(answer[0].keypoints_m + answer[0].wrist_camera_m)
    return np.stack(found).astype(np.float64), motion.truth_m[rows], np.array(rows)
