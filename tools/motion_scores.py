"""Error, lag and jitter at rest of a smoother on hands whose true motion is known (numpy)."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handviz.core.files import write_files
from handviz.core.geometry import project_points
from handviz.core.records import FloatArray, HandMesh, Intrinsics
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.pipeline.kalman import Smoother

ARRAYS = (
    "vertices_m",
    "vertex_std_mm",
    "keypoints_m",
    "keypoint_std_mm",
    "camera_from_wrist",
    "wrist_camera_m",
)
NUMBERS = ("detection_score",)
WORDS = ("handedness", "model")
MOVING_PX_PER_S, MOVING_M_PER_S = 60.0, 0.1
RESTING_PX_PER_S = 9.0
REST_FRAMES = 2
"""A frame rests if all neighbours within this many frames do."""


@dataclass(frozen=True, eq=False)
class KnownMotion:
    """The measurements of one moving hand, and the ground truth."""

    times_s: FloatArray
    """(T,)"""
    truth_m: FloatArray
    """(T, 21, 3) keypoints in the camera's frame"""
    hands: Sequence[HandMesh | None]
    """None in frames in which it was not found."""
    intrinsics: Intrinsics
    reachable: Sequence[HandMesh] | None = None
    """The measurements without the errors that are new in every frame, where known."""

    def thinned(self, every: int, keep: NDArray[np.bool_] | None = None) -> "KnownMotion":
        """Return every n-th frame of the motion, of those only the ones marked by ``keep``."""
        rows = np.arange(0, len(self.times_s), every)
        rows = rows if keep is None else rows[keep[: len(rows)]]
        hands = [self.hands[int(row)] for row in rows]
        reachable = None if self.reachable is None else [self.reachable[int(row)] for row in rows]
        return KnownMotion(self.times_s[rows], self.truth_m[rows], hands, self.intrinsics, reachable)


@dataclass(frozen=True)
class MotionScores:
    """Means over the keypoints of all frames; "of the input" compares with the hands before smoothing."""

    error_mm: float
    """from the ground truth, wrist on wrist"""
    error_px: float
    """from the ground truth in the image"""
    left_px: float
    """from what a perfect smoother could reach, which retains lasting errors; nan where that is not known"""
    left_mm: float
    lag_ms: float
    """of the overlay: by least squares over moving frames, against the input"""
    lag_3d_ms: float
    """of the points counted from the wrist, likewise"""
    distance_px: float
    """99th percentile over moving frames of the distance of the overlay from the input"""
    jitter_px: float
    """mean second difference at rest, pixels a frame squared"""
    jitter_mm: float
    coverage: float
    """root mean square of error over standard deviation: 1 is calibrated, more is over-confident"""


def scores(motions: Sequence[KnownMotion], make: Callable[[], Smoother]) -> MotionScores:
    """Smooth every motion with a smoother of its own and compare."""
    parts = [_Part(motion, make()) for motion in motions]
    moving = np.concatenate([part.moving for part in parts])
    resting = np.concatenate([part.resting for part in parts])
    whole = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _Part.ARRAYS}
    late_px, late_m = whole["late_px"][moving], whole["late_m"][moving]
    speed_px, speed_m = whole["speed_px"][moving], whole["speed_m"][moving]
    moving_3d = np.linalg.norm(speed_m, axis=2).mean(axis=1) > MOVING_M_PER_S
    return MotionScores(
        error_mm=float(whole["error_mm"].mean()),
        error_px=float(whole["error_px"].mean()),
        left_px=float(whole["left_px"].mean()),
        left_mm=float(whole["left_mm"].mean()),
        lag_ms=lag_ms(late_px, speed_px),
        lag_3d_ms=lag_ms(late_m[moving_3d], speed_m[moving_3d]),
        distance_px=float(np.percentile(np.linalg.norm(late_px, axis=2).mean(axis=1), 99))
        if moving.any()
        else float("nan"),
        jitter_px=float(whole["acceleration_px"][resting].mean()) if resting.any() else float("nan"),
        jitter_mm=float(whole["acceleration_mm"][resting].mean()) if resting.any() else float("nan"),
        coverage=float(np.sqrt((whole["ratio"][:, 1:] ** 2).mean())),
    )


def lag_ms(late: FloatArray, speed: FloatArray) -> float:
    """Return the shift in time that explains differences ``late`` from points of this speed a second best.

    Both have the same shape and unit; nan where nothing moves.
    """
    if not len(speed):
        return float("nan")
    return float(-(late * speed).sum() / (speed**2).sum() * 1000)


class _Part:
    """One motion, smoothed; arrays (T - 2, ...) of the inner frames in which the hand was found."""

    ARRAYS = (
        "left_px",
        "left_mm",
        "late_px",
        "late_m",
        "speed_px",
        "speed_m",
        "error_px",
        "error_mm",
        "acceleration_px",
        "acceleration_mm",
        "ratio",
    )

    def __init__(self, motion: KnownMotion, smoother: Smoother) -> None:
        pairs = [
            (row, hand, smoother.smooth([hand] if hand is not None else [], time_s * 1000))
            for row, (hand, time_s) in enumerate(zip(motion.hands, motion.times_s, strict=True))
        ]
        rows = [row for row, hand, _ in pairs if hand is not None]
        came = [hand for _, hand, _ in pairs if hand is not None]
        went = [answer[0] for _, _, answer in pairs if answer]
        times_s, truth_m = motion.times_s[rows], motion.truth_m[rows]
        truth_px, rooted_m = project_points(truth_m, motion.intrinsics), truth_m - truth_m[:, :1]
        (came_px, came_m), (went_px, went_m) = _stacked(came), _stacked(went)
        self.speed_px, self.speed_m = _speed(truth_px, times_s), _speed(rooted_m, times_s)
        self.late_px, self.late_m = (went_px - came_px)[1:-1], (went_m - came_m)[1:-1]
        self.error_px = np.linalg.norm(went_px - truth_px, axis=2)[1:-1]
        self.error_mm = np.linalg.norm(went_m - rooted_m, axis=2)[1:-1] * MILLIMETRES_PER_METRE
        self.left_px, self.left_mm = np.full(1, np.nan), np.full(1, np.nan)
        if motion.reachable is not None:
            reachable = [motion.reachable[row] for row in rows]
            best_px, best_m = _stacked(reachable)
            self.left_px = np.linalg.norm(went_px - best_px, axis=2)
            self.left_mm = np.linalg.norm(went_m - best_m, axis=2) * MILLIMETRES_PER_METRE
        self.acceleration_px = np.linalg.norm(_acceleration(went_px), axis=2)
        self.acceleration_mm = np.linalg.norm(_acceleration(went_m), axis=2) * MILLIMETRES_PER_METRE
        std_mm = np.stack([hand.keypoint_std_mm for hand in went if hand.keypoint_std_mm is not None])[1:-1]
        self.ratio = self.error_mm / np.maximum(std_mm, 1e-3)
        fast = np.linalg.norm(self.speed_px, axis=2).mean(axis=1)
        self.moving = fast > MOVING_PX_PER_S
        self.resting = _all_around(fast < RESTING_PX_PER_S, REST_FRAMES)


def _stacked(hands: Sequence[HandMesh]) -> tuple[FloatArray, FloatArray]:
    """Return keypoints (T, 21, 2) in the image and (T, 21, 3) from the wrist."""
    return np.stack([hand.keypoints_px for hand in hands]), np.stack([hand.keypoints_m for hand in hands])


def _speed(points: FloatArray, times_s: FloatArray) -> FloatArray:
    """Return the speed per second by central differences (T - 2, K, C)."""
    return np.asarray((points[2:] - points[:-2]) / (times_s[2:] - times_s[:-2])[:, None, None])


def _acceleration(points: FloatArray) -> FloatArray:
    """Return second differences (T - 2, K, C)."""
    return np.asarray(points[2:] - 2 * points[1:-1] + points[:-2])


def _all_around(marks: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Return (T,) whether all values within ``reach`` of each index are set."""
    kept = marks.copy()
    for by in range(1, reach + 1):
        kept[by:] &= marks[:-by]
        kept[:-by] &= marks[by:]
    return kept


def save_motion(path: Path, motion: KnownMotion) -> None:
    """Write the motion as .npz without textures and uncertainty of the position; HandvizError if that fails."""
    found = np.array([row for row, hand in enumerate(motion.hands) if hand is not None])
    hands = [hand for hand in motion.hands if hand is not None]
    camera = motion.intrinsics
    values: dict[str, Any] = {name: np.stack([getattr(hand, name) for hand in hands]) for name in ARRAYS}
    values |= {name: np.array([getattr(hand, name) for hand in hands]) for name in (*NUMBERS, *WORDS)}
    values |= {"times_s": motion.times_s, "truth_m": motion.truth_m, "found": found}
    values["camera"] = np.array([camera.focal_px, camera.centre_x_px, camera.centre_y_px])
    content = io.BytesIO()
    np.savez(content, **values)
    write_files({path: content.getvalue()})


def load_motion(path: Path) -> KnownMotion:
    """Read what ``save_motion`` wrote."""
    with np.load(path, allow_pickle=False) as file:
        values = {name: file[name] for name in file.files}
    focal_px, centre_x_px, centre_y_px = (float(value) for value in values["camera"])
    intrinsics = Intrinsics(focal_px, centre_x_px, centre_y_px)
    hands: list[HandMesh | None] = [None] * len(values["times_s"])
    for row, index in enumerate(values["found"]):
        parts: dict[str, Any] = {name: values[name][row] for name in ARRAYS}
        parts |= {name: float(values[name][row]) for name in NUMBERS}
        parts |= {name: str(values[name][row]) for name in WORDS}
        hands[index] = HandMesh(intrinsics=intrinsics, track_id=1, **parts)
    return KnownMotion(values["times_s"], values["truth_m"], hands, intrinsics)
