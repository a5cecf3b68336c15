"""Simulated network outputs of a moving hand: ground truth with realistic errors, without rendering an image.

Errors have two parts. The lasting part depends on pose and position alone, as most of what networks get wrong
does, and is of the size that the standard deviations say; the new part is drawn in every frame, is much smaller, has
long tails, and grows with the standard deviations and with speed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from handviz.core.geometry import axis_angle_from_rotation, rotation_from_axis_angle
from handviz.core.records import PALM_KEYPOINTS as PALM
from handviz.core.records import FloatArray, HandMesh, Intrinsics
from handviz.data.synthetic.motion import HandMotion, TrueHand

TAIL_FREEDOM = 4.0
WAVES_PER_POSE = 0.7
"""Rates of change of lasting errors with pose (radians of 45 angles, of rotation) and position (decimetres)."""
NEAR_M = 0.02
"""Distance within which points have correlated errors."""
HIDDEN_EVERY_S, HIDDEN_FOR_S = 3.0, (0.2, 0.6)
RESTING_M = 0.0003
"""No keypoint of a hand at rest moves further in a frame."""
FULL_SPEED_M_PER_S, MOVING_FACTOR = 0.2, 2.2
"""New errors of a hand that moves so fast, or faster, are so many times larger than at rest."""
HIDDEN_FACTOR = 2.5
"""What passes before a hand makes standard deviations and errors so many times larger."""


@dataclass(frozen=True)
class ErrorSizes:
    """Standard deviations of the new part; of a hand whose mean standard deviation is ``reference_std_mm``."""

    direction: float
    """of the palm's centre: x / z"""
    log_depth: float
    rotation_rad: tuple[float, float, float]
    """about the camera's axes"""
    across_fraction: float
    """of a point's standard deviation, along each axis across the ray"""
    along_fraction: float
    reference_std_mm: float = 10.0
    lasting_rotation_rad: tuple[float, float, float] = (0.12, 0.12, 0.03)
    lasting_log_depth: float = 0.04
    lasting_direction: float = 0.006


def measured_error_sizes(clips: Sequence[tuple[Sequence[HandMesh], FloatArray]]) -> ErrorSizes:
    """Measure the new part of hands at rest, from hands of successive frames and true keypoints (T, 21, 3).

    Second differences take lasting errors away; half of what lies between the 16th and the 84th percentile leaves out
    the few leaps.
    """
    parts = [_rest_accelerations(hands, truth_m) for hands, truth_m in clips]
    half = {}
    for name in parts[0]:
        low, high = np.percentile(np.concatenate([part[name] for part in parts]), (16, 84), axis=0)
        half[name] = (high - low) / 2
    rotation_rad = half["rotation"]
    std_m = np.concatenate([_keypoint_stds_mm(hands) for hands, _ in clips]) / 1000
    return ErrorSizes(
        direction=float(half["direction"].mean()),
        log_depth=float(half["log_depth"].mean()),
        rotation_rad=(float(rotation_rad[0]), float(rotation_rad[1]), float(rotation_rad[2])),
        across_fraction=float(np.sqrt((half["points"][:, :2] ** 2).mean())),
        along_fraction=float(np.sqrt((half["points"][:, 2] ** 2).mean())),
        reference_std_mm=float(std_m.mean() * 1000),
    )


def _keypoint_stds_mm(hands: Sequence[HandMesh]) -> FloatArray:
    stds_mm = [hand.keypoint_std_mm for hand in hands if hand.keypoint_std_mm is not None]
    return np.stack(stds_mm)


def _rest_accelerations(hands: Sequence[HandMesh], truth_m: FloatArray) -> dict[str, FloatArray]:
    """Return second differences, scaled to the standard deviation of one frame, where the ground truth rests."""
    keypoints_m = np.stack([hand.keypoints_m for hand in hands])
    palm_m = keypoints_m[:, PALM].mean(axis=1) + np.stack([hand.wrist_camera_m for hand in hands])
    std_m = _keypoint_stds_mm(hands) / 1000
    noise_m = np.hypot(std_m, std_m[:, PALM].mean(axis=1, keepdims=True))
    rotations = np.stack([hand.camera_from_wrist for hand in hands])
    steps = np.stack([axis_angle_from_rotation(one) for one in rotations[1:] @ rotations[:-1].transpose(0, 2, 1)])
    moved_m = np.linalg.norm(np.diff(truth_m, axis=0), axis=2).max(axis=1)
    rests = np.maximum(moved_m[1:], moved_m[:-1]) < RESTING_M
    bends = {
        "direction": _acceleration(palm_m[:, :2] / palm_m[:, 2:]),
        "log_depth": _acceleration(np.log(palm_m[:, 2:])),
        "points": _acceleration(keypoints_m - keypoints_m[:, PALM].mean(axis=1, keepdims=True))
        / noise_m[1:-1, :, None],
        "rotation": np.diff(steps, axis=0),
    }
    return {name: values[rests] / np.sqrt(6) for name, values in bends.items()}


def _acceleration(values: FloatArray) -> FloatArray:
    return np.asarray(values[2:] - 2 * values[1:-1] + values[:-2])


@dataclass(frozen=True)
class _Factors:
    """Factors of a frame's errors over the usual ones: of all, and of the new part."""

    hidden: float
    speed: float


@dataclass(frozen=True, eq=False)
class SimulatedHands:
    """One hand over time."""

    measured: list[HandMesh]
    lasting_only: list[HandMesh]
    """without what is new in every frame: the best that smoothing can reach"""
    truth_m: FloatArray
    """(T, 21, 3) keypoints in the camera's frame"""


class Simulation:
    """Simulated measurements of one hand."""

    def __init__(self, sizes: ErrorSizes, intrinsics: Intrinsics, seed: int) -> None:
        self._sizes, self._intrinsics = sizes, intrinsics
        self._random = np.random.default_rng(seed)

    def hands(self, motion: HandMotion, times_s: FloatArray) -> SimulatedHands:
        """Return the measurements at each time, and the ground truth."""
        truth = [motion.at(float(time_s)) for time_s in times_s]
        truth_m = np.stack([true.keypoints_m for true in truth])
        speed = np.linalg.norm(np.gradient(truth_m, times_s, axis=0), axis=2).mean(axis=1)
        speeds = 1 + (MOVING_FACTOR - 1) * np.minimum(speed / FULL_SPEED_M_PER_S, 1)
        blur, wave = self._blur(truth[0]), self._waves()
        measured, lasting_only = [], []
        for true, hidden, speed_factor in zip(truth, self._uncertainties(times_s), speeds, strict=True):
            factors, lasting = _Factors(hidden, speed_factor), wave(true)
            measured.append(self._hand(motion, true, lasting, factors, blur))
            lasting_only.append(self._hand(motion, true, lasting, _Factors(hidden, 0.0), blur))
        return SimulatedHands(measured, lasting_only, truth_m)

    def _waves(self) -> Callable[[TrueHand], FloatArray]:
        """Return lasting errors (24, 3) of unit variance: of 21 keypoints, rotation, palm direction, once depth."""
        weights = self._random.normal(0, WAVES_PER_POSE, (72, 45 + 9 + 3))
        phases = self._random.uniform(0, 2 * np.pi, 72)

        def lasting(true: TrueHand) -> FloatArray:
            state = np.concatenate([true.arm.pose, true.camera_from_wrist.ravel(), true.position_m * 10])
            return np.asarray(np.sqrt(2) * np.sin(weights @ state + phases)).reshape(24, 3)

        return lasting

    def _uncertainties(self, times_s: FloatArray) -> FloatArray:
        """Return (T,) factors of standard deviations over the usual ones."""
        factor, now_s = np.ones(len(times_s)), float(self._random.exponential(HIDDEN_EVERY_S))
        while now_s < times_s[-1]:
            half_s = self._random.uniform(*HIDDEN_FOR_S)
            away = np.minimum(np.abs(times_s - now_s - half_s) / half_s, 1)
            factor += (HIDDEN_FACTOR - 1) * (1 + np.cos(np.pi * away)) / 2
            now_s += 2 * half_s + float(self._random.exponential(HIDDEN_EVERY_S))
        return factor

    @staticmethod
    def _blur(true: TrueHand) -> FloatArray:
        """Return (V + 21, 21) weights that spread keypoints' errors over their neighbours and preserve their size."""
        points_m = np.concatenate([true.vertices_m, true.keypoints_m])
        square = ((points_m[:, None] - true.keypoints_m) ** 2).sum(axis=2)
        weights = np.exp(-square / (2 * NEAR_M**2)) + 1e-6
        return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True))

    def _new(self, *shape: int) -> FloatArray:
        """Draw numbers of unit variance with long tails."""
        return np.asarray(self._random.standard_t(TAIL_FREEDOM, shape) / np.sqrt(TAIL_FREEDOM / (TAIL_FREEDOM - 2)))

    def _hand(
        self, motion: HandMotion, true: TrueHand, lasting: FloatArray, factors: _Factors, blur: FloatArray
    ) -> HandMesh:
        factor, speed_factor = factors.hidden, factors.speed
        sizes, count = self._sizes, len(true.vertices_m)
        rooted_m = np.concatenate([true.vertices_m, true.keypoints_m]) - true.keypoints_m[0]
        std_m = factor * (0.004 + 0.06 * np.linalg.norm(rooted_m, axis=1))
        uncertainty = speed_factor * float(std_m.mean()) * 1000 / sizes.reference_std_mm
        fractions = np.array([sizes.across_fraction, sizes.across_fraction, sizes.along_fraction])
        own_m = std_m[:, None] * (
            blur @ lasting[:21] / np.sqrt(3) * 0.7 + speed_factor * fractions * (blur @ self._new(21, 3))
        )
        rotation_rad = lasting[21] * sizes.lasting_rotation_rad * 0.6 + uncertainty * self._new(3) * sizes.rotation_rad
        rotation = rotation_from_axis_angle(rotation_rad)
        points_m = (rooted_m + own_m) @ rotation.T
        points_m = points_m - points_m[count]
        position = uncertainty * self._new(3) * [sizes.direction, sizes.direction, sizes.log_depth]
        position = position + lasting[22] * [sizes.lasting_direction, sizes.lasting_direction, sizes.lasting_log_depth]
        palm_m = true.keypoints_m[PALM,].mean(axis=0)
        seen_palm_m = (palm_m + np.append(position[:2], 0) * palm_m[2]) * np.exp(position[2])
        return HandMesh(
            handedness=motion.handedness,
            detection_score=0.95,
            model="final",
            vertices_m=points_m[:count],
            vertex_std_mm=std_m[:count] * 1000,
            keypoints_m=points_m[count:],
            keypoint_std_mm=std_m[count:] * 1000,
            camera_from_wrist=rotation @ true.camera_from_wrist,
            wrist_camera_m=seen_palm_m - points_m[count:][PALM,].mean(axis=0),
            intrinsics=self._intrinsics,
            track_id=1,
        )
