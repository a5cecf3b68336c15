"""Smooths moving hands by Kalman filters whose measurement noise follows each frame's own standard deviations.

A hand is split into parts that move at different speeds: the direction of the palm's centre, its distance, the rotation
(on the manifold of rotations), and every point relative to the palm in a frame that rotates with the hand. Each has a
filter of position and velocity, so that steady motion has no lag. Motion across the ray, which one image determines
well, and along it, which it determines badly, have filters of their own. Two things are not textbook (figures:
docs/log/smoothing.md):

- The networks' errors are nearly the same from one frame to the next; only a small fraction of a point's standard
  deviation is new in every frame. That fraction is the measurement noise; the rest stays in the resulting one.
- Hands rest, start and stop. The process noise is that of a resting hand and grows with the speed. Wherever an
  innovation is larger than that explains, the predicted variance is raised until it explains it (strong tracking
  filter, Zhou and Frank 1996). So the result is never further from a trusted measurement than a few standard
  deviations of the noise.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

from handviz.core.geometry import NEAREST_M, axis_angle_from_rotation, resized, resized_shape, rotation_from_axis_angle
from handviz.core.records import KEYPOINT_COUNT, FloatArray, HandMesh, ModelId, SmoothingKind
from handviz.core.records import PALM_KEYPOINTS as PALM
from handviz.core.shape_posterior import ShapePosterior
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.pipeline.smoothing import (
    MIN_STEP_S,
    HandSmoother,
    TrackKey,
    continued_track,
    point_stds_mm,
    track_key,
)


@dataclass(frozen=True)
class NoiseModel:
    """Noise that is new in every frame (standard deviations), measured on rendered clips: docs/log/smoothing.md."""

    position_m: float = 0.0002
    """of the palm's centre across the ray"""
    log_depth: float = 0.0035
    rotation_rad: tuple[float, float, float] = (0.012, 0.010, 0.004)
    """about the camera's axes: twice out of the image plane, once within it"""
    across_fraction: float = 0.03
    """of a point's standard deviation, along each axis across the ray"""
    along_fraction: float = 0.08
    """of a point's standard deviation, along the ray"""
    reference_std_mm: float = 10.0
    """mean standard deviation of a hand for which the noise of position, depth and rotation is as above"""
    rest_index: float = 0.006
    """acceleration of a resting hand times the square of a 30th of a second, in units of the noise"""
    gate_stds: float = 2.5
    """by how many of its standard deviations an innovation's mean square may exceed expectation at rest"""
    change_s: float = 0.06
    """time in which the velocity of a moving hand may change completely"""
    velocity_fraction: float = 0.6
    """change of velocity that an unexplained step implies, as a fraction of the step divided by its time"""


DEFAULT_NOISE = NoiseModel()
NOMINAL_STEP_S = 1 / 30
MIN_NOISE_FACTOR, MAX_NOISE_FACTOR = 0.9, 8.0
MIN_STD_MM = 0.1
"""Lower limit of standard deviations."""
SMALLEST_VARIANCE_M2 = 1e-16
"""Of coordinates that are known exactly."""
MAX_ROTATION_RAD_PER_S = 25.0
MIN_ROTATION_GATE_RAD = 1.0
MAX_REJECTED_S = 0.07


def noise_factor(strength: float) -> float:
    """Return the factor on the measurement noise: 0.9 as strength nears 0, growing geometrically to 8 at 1."""
    return MIN_NOISE_FACTOR * (MAX_NOISE_FACTOR / MIN_NOISE_FACTOR) ** strength


Groups = tuple[int, ...]
ACROSS_AND_ALONG: Groups = (2, 1)
"""Groups of components: x and y, across the ray, and the distance along it."""


class ConstantVelocity:
    """Filter of nearly constant velocity, of N points with D components each (D, N).

    Components of one group share their variance and their evidence: the mean squares of innovation and velocity.
    """

    def __init__(
        self, value: FloatArray, variance: FloatArray, noise: NoiseModel = DEFAULT_NOISE, *, groups: Groups = (1,)
    ) -> None:
        """Start at ``value`` (D, N), at rest, with its measurement's ``variance`` (D, N), equal within a group.

        ``groups``: the number of components of each.
        """
        self.value: FloatArray = np.array(value, np.float64)
        self.velocity: FloatArray = np.zeros_like(self.value)
        self._noise = noise
        self.variance = np.array(variance, np.float64)
        """(D, N) of the value"""
        self._cross = np.zeros_like(self.variance)
        self._velocity_variance = self.variance / NOMINAL_STEP_S**2
        self._group_mean = _group_mean(groups)
        self._limit = 1 + noise.gate_stds * np.sqrt(2 / np.repeat(groups, groups))[:, None]

    def predict(self, step_s: float, variance: FloatArray) -> None:
        """Predict ``step_s`` ahead; the process noise at rest is in units of the measurement's ``variance`` (D, N)."""
        self.value = self.value + step_s * self.velocity
        noise = self._noise
        rest = (noise.rest_index / NOMINAL_STEP_S**2) ** 2 * variance
        speed = self._group_mean @ self.velocity**2
        acceleration = (rest + speed / noise.change_s**2) * NOMINAL_STEP_S
        grown = self.variance + step_s * (2 * self._cross + step_s * self._velocity_variance)
        self.variance = grown + acceleration * (step_s**3 / 3)
        self._cross = self._cross + step_s * self._velocity_variance + acceleration * (step_s**2 / 2)
        self._velocity_variance = self._velocity_variance + acceleration * step_s

    def update(self, innovation: FloatArray, variance: FloatArray, step_s: float) -> FloatArray:
        """Add measurements that differ by ``innovation`` (D, N) from the prediction; return the gains (D, N)."""
        total = self.variance + variance
        missing = np.maximum(self._group_mean @ innovation**2 / self._limit - total, 0)
        fraction = self._noise.velocity_fraction / step_s
        predicted, cross = self.variance + missing, self._cross + fraction * missing
        total += missing
        gain, velocity_gain = predicted / total, cross / total
        self.value = self.value + gain * innovation
        self.velocity = self.velocity + velocity_gain * innovation
        self._velocity_variance = self._velocity_variance + fraction**2 * missing - velocity_gain * cross
        self.variance, self._cross = (1 - gain) * predicted, (1 - gain) * cross
        return gain


@cache
def _group_mean(groups: Groups) -> FloatArray:
    """Return the matrix (D, D) that replaces each component by the mean of its group."""
    group = np.repeat(np.arange(len(groups)), groups)
    same = group[:, None] == group
    return np.asarray(same / same.sum(axis=1, keepdims=True))


class RotationFilter:
    """Filter of a rotation (3, 3) and its rate about each of the camera's axes."""

    def __init__(self, rotation: FloatArray, variance: FloatArray, noise: NoiseModel = DEFAULT_NOISE) -> None:
        """Start at ``rotation`` with the measurement's ``variance`` (3,) about each axis, in square radians."""
        self.rotation = rotation
        self._filter = ConstantVelocity(np.zeros((1, 3)), variance[None], noise)

    def predict(self, step_s: float, variance: FloatArray) -> None:
        """Predict ``step_s`` ahead."""
        self._filter.predict(step_s, variance[None])
        self._absorb_rotation()

    def innovation(self, rotation: FloatArray) -> FloatArray:
        """Return the axis-angle (3,) from the present rotation to another one."""
        return axis_angle_from_rotation(rotation @ self.rotation.T)

    def update(self, innovation: FloatArray, variance: FloatArray, step_s: float) -> None:
        """Add a measurement that differs by the axis-angle ``innovation`` (3,)."""
        self._filter.update(innovation[None], variance[None], step_s)
        self._absorb_rotation()

    def _absorb_rotation(self) -> None:
        """Move the filter's value into the rotation, relative to which it is measured."""
        self.rotation = rotation_from_axis_angle(self._filter.value[0]) @ self.rotation
        self._filter.value = np.zeros((1, 3))


@dataclass(frozen=True, eq=False)
class _Measured:
    """A measured hand split into the filtered parts, with their variances."""

    palm: FloatArray
    """(3, 1) of its centre: x / z, y / z and ln z"""
    rotation: FloatArray
    points_m: FloatArray
    """(3, V + 21) in the camera's axes, relative to the palm's centre"""
    palm_variance: FloatArray
    """(3, 1)"""
    rotation_variance: FloatArray
    """(3,)"""
    points_variance: FloatArray
    """(3, V + 21) square metres, along each axis"""
    std_mm: FloatArray
    """(V + 21,) of the model; constant if it predicts none"""
    shape: ShapePosterior | None
    """What is known of the keypoints together, in the camera's axes."""


def _measured(hand: HandMesh, strength: float, noise: NoiseModel) -> _Measured:
    std_mm = point_stds_mm(hand, unknown_mm=noise.reference_std_mm).astype(np.float64)
    # Standard deviations are relative to the wrist, points to the palm's centre: the wrist's own noise is the palm's.
    palm_mm = max(float(np.mean(std_mm[len(hand.vertices_m) :][PALM,])), MIN_STD_MM)
    factor = noise_factor(strength)
    relative_variance = (factor * max(float(std_mm.mean()), MIN_STD_MM) / noise.reference_std_mm) ** 2
    palm_m = _palm_m(hand)
    x, y, z = palm_m.tolist()
    position_m = noise.position_m / z
    fractions = factor / MILLIMETRES_PER_METRE * np.array([noise.across_fraction] * 2 + [noise.along_fraction])
    return _Measured(
        palm=np.array([[x / z], [y / z], [math.log(z)]]),
        rotation=np.asarray(hand.camera_from_wrist, np.float64),
        points_m=np.concatenate([hand.vertices_m.T, hand.keypoints_m.T], axis=1)
        - (palm_m - hand.wrist_camera_m)[:, None],
        palm_variance=relative_variance * np.array([[position_m], [position_m], [noise.log_depth]]) ** 2,
        rotation_variance=relative_variance * np.square(noise.rotation_rad),
        points_variance=fractions[:, None] ** 2 * (std_mm**2 + palm_mm**2),
        std_mm=std_mm,
        shape=hand.shape,
    )


class KalmanTrack:
    """One hand over time."""

    def __init__(self, hand: HandMesh, time_ms: float, strength: float, noise: NoiseModel = DEFAULT_NOISE) -> None:
        self.latest = hand
        self.time_ms = time_ms
        self._noise = noise
        self._start(_measured(hand, strength, noise))

    def _start(self, measured: _Measured) -> None:
        self._palm = self._filter(measured.palm, measured.palm_variance)
        self._start_pose(measured)

    def _start_pose(self, measured: _Measured) -> None:
        self._rotation = RotationFilter(measured.rotation, measured.rotation_variance, self._noise)
        self._points = self._filter(measured.points_m, measured.points_variance)
        self._square_std: FloatArray = measured.std_mm**2
        self._shape = measured.shape
        self._rejected_s = 0.0

    def _filter(self, value: FloatArray, variance: FloatArray) -> ConstantVelocity:
        return ConstantVelocity(value, variance, self._noise, groups=ACROSS_AND_ALONG)

    def update(self, hand: HandMesh, time_ms: float, strength: float) -> HandMesh:
        """Add the next measurement; return the smoothed hand."""
        step_s = max((time_ms - self.time_ms) / 1000, MIN_STEP_S)
        self.time_ms = time_ms
        measured = _measured(hand, strength, self._noise)
        self._palm.predict(step_s, measured.palm_variance)
        self._palm.update(measured.palm - self._palm.value, measured.palm_variance, step_s)
        self._update_pose(measured, step_s)
        self.latest = self._assemble(hand, strength)
        return self.latest

    def _update_pose(self, measured: _Measured, step_s: float) -> None:
        """Update rotation and shape together: if one frame's rotation is impossible, both are rejected."""
        before = self._rotation.rotation
        self._rotation.predict(step_s, measured.rotation_variance)
        innovation_rad = self._rotation.innovation(measured.rotation)
        gate_rad = max(MIN_ROTATION_GATE_RAD, MAX_ROTATION_RAD_PER_S * step_s)
        is_trusted = float(np.linalg.norm(innovation_rad)) <= gate_rad
        self._rejected_s = 0.0 if is_trusted else self._rejected_s + step_s
        if self._rejected_s > MAX_REJECTED_S:
            self._start_pose(measured)
            return
        if is_trusted:
            self._rotation.update(innovation_rad, measured.rotation_variance, step_s)
        self._rotate_points(self._rotation.rotation @ before.T)
        self._points.predict(step_s, measured.points_variance)
        if is_trusted:
            self._update_points(measured, step_s)

    def _update_points(self, measured: _Measured, step_s: float) -> None:
        gain = self._points.update(measured.points_m - self._points.value, measured.points_variance, step_s)
        # The uncertainty follows as the points do across the ray.
        self._square_std = self._square_std + gain[0] * (measured.std_mm**2 - self._square_std)
        self._shape = followed_shape(self._shape, measured.shape, gain[0, -KEYPOINT_COUNT:])

    def _rotate_points(self, rotation: FloatArray) -> None:
        """Rotate the points and their velocities with the hand; their variances stay in the camera's axes."""
        self._points.value = rotation @ self._points.value
        self._points.velocity = rotation @ self._points.velocity
        self._shape = None if self._shape is None else self._shape.turned(rotation)

    def _std_mm(self, strength: float) -> FloatArray:
        """Return (V + 21,): the part common to all frames, and what the filter leaves of the part new in each."""
        left_mm2 = self._left_m2(strength).sum(axis=0) * MILLIMETRES_PER_METRE**2
        return np.sqrt(self._lasting * self._square_std + left_mm2)

    def _smoothed_shape(self, strength: float) -> ShapePosterior | None:
        """Return what is known of the keypoints together, in the same two parts; None for a model without it."""
        if self._shape is None:
            return None
        left_m2 = np.diag(self._left_m2(strength)[:, -KEYPOINT_COUNT:].T.ravel())
        known = self._shape
        return dataclasses.replace(
            known,
            covariance_m2=self._lasting * known.covariance_m2 + left_m2,
            prior_m2=self._lasting * known.prior_m2 + left_m2,
        )

    @property
    def _lasting(self) -> float:
        """Fraction of variances that is common to all frames."""
        return 1 - 2 * self._noise.across_fraction**2 - self._noise.along_fraction**2

    def _left_m2(self, strength: float) -> FloatArray:
        """Return the variances (3, V + 21), along the camera's axes, of what is new in frames and not filtered out."""
        return self._points.variance / noise_factor(strength) ** 2

    def _assemble(self, hand: HandMesh, strength: float) -> HandMesh:
        points_m = self._points.value.T
        # The palm's centre is filtered by itself; results are relative to the wrist.
        points_m = np.subtract(points_m, points_m[len(hand.vertices_m)], order="C")
        vertices_m, keypoints_m = np.split(points_m, [len(hand.vertices_m)])
        x, y, log_depth = self._palm.value[:, 0].tolist()
        palm_m = np.array([x, y, 1.0]) * math.exp(log_depth)
        vertex_std_mm, keypoint_std_mm = self._stds_mm(hand, strength)
        shape, keypoint_covariance_mm2 = self._keypoint_covariances(hand, keypoint_std_mm, strength)
        return dataclasses.replace(
            hand,
            vertices_m=vertices_m,
            vertex_std_mm=vertex_std_mm,
            vertex_covariance_mm2=resized(hand.vertex_covariance_mm2, hand.vertex_std_mm, vertex_std_mm),
            keypoints_m=keypoints_m,
            keypoint_std_mm=keypoint_std_mm,
            keypoint_covariance_mm2=keypoint_covariance_mm2,
            shape=shape,
            camera_from_wrist=self._rotation.rotation,
            wrist_camera_m=palm_m - keypoints_m[PALM, :].mean(axis=0),
        )

    def _keypoint_covariances(
        self, hand: HandMesh, keypoint_std_mm: FloatArray | None, strength: float
    ) -> tuple[ShapePosterior | None, FloatArray | None]:
        """Return what is known of the keypoints (21) together, and of each alone, with these standard deviations."""
        shape = self._smoothed_shape(strength)
        if shape is None or hand.uncertainty == "constant":
            return (
                resized_shape(hand.shape, hand.keypoint_std_mm, keypoint_std_mm),
                resized(hand.keypoint_covariance_mm2, hand.keypoint_std_mm, keypoint_std_mm),
            )
        return shape, shape.keypoint_covariances_m2 * MILLIMETRES_PER_METRE**2

    def _stds_mm(self, hand: HandMesh, strength: float) -> tuple[FloatArray | None, FloatArray | None]:
        """Return the standard deviations (V,) and (21,) of the smoothed hand; None for a model without any."""
        if hand.vertex_std_mm is None:
            return None, None
        std_mm = self._std_mm(strength)
        if hand.uncertainty == "constant":
            # Points that move more are filtered less; the model knows of no difference.
            std_mm = np.full_like(std_mm, np.sqrt(np.square(std_mm).mean()))
        vertex_std_mm, keypoint_std_mm = np.split(std_mm, [len(hand.vertices_m)])
        return vertex_std_mm, keypoint_std_mm


def followed_shape(
    before: ShapePosterior | None, measured: ShapePosterior | None, gains: FloatArray
) -> ShapePosterior | None:
    """Return what is known of the keypoints after a measurement that each follows by its gain (21,), 0 to 1.

    Variances are the means by the gains, as those of the points are, and correlations the means by the mean gain. None
    if nothing was measured.
    """
    if before is None or measured is None:
        return measured
    gains = np.clip(gains, 0, 1)
    return dataclasses.replace(
        measured,
        covariance_m2=_followed_covariance(before.covariance_m2, measured.covariance_m2, gains),
        prior_m2=_followed_covariance(before.prior_m2, measured.prior_m2, gains),
    )


def _followed_covariance(before: FloatArray, measured: FloatArray, gains: FloatArray) -> FloatArray:
    each, mean = np.repeat(gains, 3), float(gains.mean())
    variances = [np.maximum(np.diag(one), SMALLEST_VARIANCE_M2) for one in (before, measured)]
    correlations = [one / np.sqrt(np.outer(v, v)) for one, v in zip((before, measured), variances, strict=True)]
    std_m = np.sqrt((1 - each) * variances[0] + each * variances[1])
    return np.asarray(np.outer(std_m, std_m) * ((1 - mean) * correlations[0] + mean * correlations[1]))


class KalmanSmoother:
    """Smoothing of all hands of a stream, by their ``track_id``."""

    def __init__(self, strength: float = 0.3, noise: NoiseModel = DEFAULT_NOISE) -> None:
        self.strength = strength
        self._noise = noise
        self._tracks: dict[TrackKey, KalmanTrack] = {}

    def reset(self) -> None:
        """Remove all tracks: the source or the network changed."""
        self._tracks = {}

    def smooth(self, hands: Sequence[HandMesh], time_ms: float) -> tuple[HandMesh, ...]:
        """Return the hands of the frame taken at ``time_ms``, smoothed by ``strength`` 0 (off) to 1.

        Hands that are not tracked stay as they are.
        """
        strength = self.strength
        if strength <= 0:
            self.reset()
            return tuple(hands)
        smoothed = []
        for hand in hands:
            track = continued_track(hand, time_ms, self._tracks)
            smoothed.append(hand if track is None else track.update(hand, time_ms, strength))
            if track is None:
                self._tracks[track_key(hand)] = KalmanTrack(hand, time_ms, strength, self._noise)
        return tuple(smoothed)


def _palm_m(hand: HandMesh) -> FloatArray:
    """Return the palm's centre (3,) in the camera frame, in front of the camera."""
    palm_m = np.array(hand.keypoints_m[PALM, :].mean(axis=0) + hand.wrist_camera_m)
    palm_m[2] = max(palm_m[2], NEAREST_M)
    return palm_m


class Smoother(Protocol):
    """Smoothing of all hands of one stream."""

    strength: float
    """0 (off) to 1"""

    def smooth(self, hands: Sequence[HandMesh], time_ms: float) -> tuple[HandMesh, ...]:
        """Return the smoothed hands of the frame taken at ``time_ms``, in the same order."""
        ...

    def reset(self) -> None:
        """Start again: the next frame does not follow the last one."""
        ...


def make_smoother(kind: SmoothingKind, strength: float) -> Smoother:
    """Return a new Kalman filter (kalman.py) or One Euro filter (smoothing.py)."""
    return KalmanSmoother(strength) if kind == "kalman" else HandSmoother(strength)


class ModelSmoothers:
    """One smoother per model, made when it is needed, so that their tracks do not mix."""

    def __init__(self, kind: SmoothingKind, strength: float) -> None:
        self._kind, self._strength = kind, strength
        self._smoothers: dict[ModelId, Smoother] = {}

    def of(self, model: ModelId) -> Smoother:
        """Return the smoother of one model, a new one if it had none."""
        if model not in self._smoothers:
            self._smoothers[model] = make_smoother(self._kind, self._strength)
        return self._smoothers[model]

    def set_strength(self, strength: float) -> None:
        """Set the strength, 0 (off) to 1."""
        self._strength = min(max(strength, 0.0), 1.0)
        for smoother in list(self._smoothers.values()):
            smoother.strength = self._strength

    def set_kind(self, kind: SmoothingKind) -> None:
        """Switch to another filter, which starts again."""
        self._kind, self._smoothers = kind, {}

    def reset(self) -> None:
        """Start again: the next frame does not follow the last one."""
        for smoother in list(self._smoothers.values()):
            smoother.reset()

    def smooth(
        self, found: Mapping[ModelId, tuple[HandMesh, ...]], time_ms: float
    ) -> dict[ModelId, tuple[HandMesh, ...]]:
        """Return every model's smoothed hands of the frame taken at ``time_ms``; reset the models that miss it."""
        for model, smoother in list(self._smoothers.items()):
            if model not in found:
                smoother.reset()
        return {model: self.of(model).smooth(hands, time_ms) for model, hands in found.items()}
