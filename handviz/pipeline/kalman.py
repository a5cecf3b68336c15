"""Takes the jitter out of moving hands: Kalman filters that trust a frame by its own standard deviation.

A hand is taken apart into what moves quickly and what does not: the middle of the palm in the image, its distance,
the turn (on the manifold of rotations), and every point counted from the palm in a frame that turns with the hand. Each
is a filter of place and velocity, so that steady motion has no lag. What one image knows well, across the ray, and
what it knows badly, along it, are filters of their own. Two things are not textbook (figures: docs/log/smoothing.md):

- The networks' errors are nearly the same from one frame to the next; only a small fraction of a point's standard
deviation is new
  in every frame. That share is the measurement's noise, and the rest stays in the standard deviation that comes out.
- Hands rest, start and stop. The process noise is that of a resting hand, and grows with the speed: what moves may
  change its velocity soon. Wherever an innovation is larger than that explains, the predicted variance is raised until
  it explains it (strong tracking filter, Zhou and Frank 1996). So the answer is never further from a trusted
  measurement than a few standard deviations of the noise.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from handviz.core.geometry import NEAREST_M, axis_angle_from_rotation, projected, rotation_from_axis_angle
from handviz.core.records import PALM_KEYPOINTS as PALM
from handviz.core.records import VARIANTS, FloatArray, HandMesh, SmoothingKind, VariantName
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.detection.tracking import matched_tracks
from handviz.pipeline.smoothing import MAX_GAP_S, SHORTEST_STEP_S, HandSmoother, resized


@dataclass(frozen=True)
class NoiseModel:
    """What is new in every frame (standard deviations), measured on rendered clips: docs/log/smoothing.md."""

    position_m: float = 0.0002
    """of the palm's middle across the ray"""
    log_depth: float = 0.0035
    rotation_rad: tuple[float, float, float] = (0.012, 0.010, 0.004)
    """about the camera's axes: out of the image's plane twice, and within it"""
    across_fraction: float = 0.03
    """of a point's standard deviation, along each axis across the ray"""
    along_fraction: float = 0.08
    """of a point's standard deviation, along the ray"""
    reference_std_mm: float = 10.0
    """mean standard deviation of a hand for which place, depth and turn are as above"""
    rest_index: float = 0.006
    """acceleration of a resting hand times the square of a 30th of a second, in units of the noise"""
    uncertainty: float = 2.5
    """by how many of its own standard deviations an innovation's mean square may exceed expectation before rest is
    doubted"""
    change_s: float = 0.06
    """time in which the velocity of a moving hand may change as a whole"""
    velocity_fraction: float = 0.6
    """what an unexplained step, divided by its time, is taken to have changed the velocity"""


DEFAULT_NOISE = NoiseModel()


NOMINAL_STEP_S = 1 / 30


STRONGEST = 8.0


LEAST = 0.9


MIN_STD_MM = 0.1
"""Nobody is surer than this."""


MAX_ROTATION_RAD_PER_S = 25.0


MIN_ROTATION_GATE_RAD = 1.0


MAX_UNCERTAIN_S = 0.07


def noise_factor(strength: float) -> float:
    """By how much the measurement's noise is multiplied: 0.9 as strength nears 0, growing geometrically to 8 at 1."""
    return LEAST * (STRONGEST / LEAST) ** strength


class ConstantVelocity:
    """Rows (N, D) that move with nearly constant velocity; all columns of a row share one variance."""

    def __init__(self, value: FloatArray, variance: FloatArray, noise: NoiseModel = DEFAULT_NOISE) -> None:
        """Begin at ``value`` (N, D), each row with its measurement's ``variance`` (N,), and at rest."""
        self.value: FloatArray = np.array(value, np.float64)
        self.velocity: FloatArray = np.zeros_like(self.value)
        self._noise = noise
        self.variance = np.array(variance, np.float64)
        """(N,) of the value along each column"""
        self._cross = np.zeros_like(self.variance)
        self._velocity_variance = self.variance / NOMINAL_STEP_S**2

    def predict(self, step_s: float, variance: FloatArray) -> None:
        """Go on for ``step_s``; the process noise is that of rest, in units of the measurement's ``variance`` (N,)."""
        self.value = self.value + step_s * self.velocity
        noise = self._noise
        rest = (noise.rest_index / NOMINAL_STEP_S**2) ** 2 * variance
        acceleration = (rest + (self.velocity**2).mean(axis=1) / noise.change_s**2) * NOMINAL_STEP_S
        grown = self.variance + step_s * (2 * self._cross + step_s * self._velocity_variance)
        self.variance = grown + acceleration * step_s**3 / 3
        self._cross = self._cross + step_s * self._velocity_variance + acceleration * step_s**2 / 2
        self._velocity_variance = self._velocity_variance + acceleration * step_s

    def update(self, innovation: FloatArray, variance: FloatArray, step_s: float) -> FloatArray:
        """Take measurements that differ by ``innovation`` (N, D) from the prediction; returns the gains (N,)."""
        noise = self._noise
        total = self.variance + variance
        limit = 1 + noise.uncertainty * math.sqrt(2 / innovation.shape[1])
        missing = np.maximum((innovation**2).mean(axis=1) / limit - total, 0)
        fraction = noise.velocity_fraction / step_s
        predicted, cross = self.variance + missing, self._cross + fraction * missing
        total = total + missing
        gain, velocity_gain = predicted / total, cross / total
        self.value = self.value + gain[:, None] * innovation
        self.velocity = self.velocity + velocity_gain[:, None] * innovation
        self._velocity_variance = self._velocity_variance + fraction**2 * missing - velocity_gain * cross
        self.variance, self._cross = (1 - gain) * predicted, (1 - gain) * cross
        return gain


class Turn:
    """A rotation (3, 3) and its rate, filtered about each of the camera's axes."""

    def __init__(self, rotation: FloatArray, variance: FloatArray, noise: NoiseModel = DEFAULT_NOISE) -> None:
        """``variance`` (3,) of the measurement about each axis, in square radians."""
        self.rotation = rotation
        self._filter = ConstantVelocity(np.zeros((3, 1)), variance, noise)

    def predict(self, step_s: float, variance: FloatArray) -> None:
        """Turn on for ``step_s``."""
        self._filter.predict(step_s, variance)
        self._take_rotation()

    def innovation(self, rotation: FloatArray) -> FloatArray:
        """Axis-angle (3,) from the present rotation to another one."""
        return axis_angle_from_rotation(rotation @ self.rotation.T)

    def update(self, innovation: FloatArray, variance: FloatArray, step_s: float) -> None:
        """Take a measurement that differs by the axis-angle ``innovation`` (3,)."""
        self._filter.update(innovation[:, None], variance, step_s)
        self._take_rotation()

    def _take_rotation(self) -> None:
        """The filter's value is always counted from the rotation that is held."""
        self.rotation = rotation_from_axis_angle(self._filter.value[:, 0]) @ self.rotation
        self._filter.value = np.zeros((3, 1))


@dataclass(frozen=True, eq=False)
class _Measured:
    """A hand taken apart, and how far each part is trusted."""

    direction: FloatArray
    """(1, 2) of the palm's middle: x / z and y / z"""
    log_depth: float
    rotation: FloatArray
    points_m: FloatArray
    """(V + 21, 3) in the camera's axes, from the middle of the palm"""
    position_variance: FloatArray
    """(1,) of the direction"""
    depth_variance: FloatArray
    rotation_variance: FloatArray
    """(3,)"""
    across_variance: FloatArray
    """(V + 21,) square metres, along each axis across the ray"""
    along_variance: FloatArray
    std_mm: FloatArray
    """(V + 21,) as the networks give it"""


def _take_apart(hand: HandMesh, strength: float, noise: NoiseModel) -> _Measured:
    std_mm = np.concatenate([hand.vertex_std_mm, hand.keypoint_std_mm]).astype(np.float64)
    # Standard deviations count from the wrist, points from the palm's middle: of the wrist itself that is the palm's.
    palm_mm = max(float(np.mean(hand.keypoint_std_mm[PALM,])), MIN_STD_MM)
    noise_mm = np.hypot(std_mm, palm_mm)
    factor = noise_factor(strength)
    uncertainty = (factor * max(float(std_mm.mean()), MIN_STD_MM) / noise.reference_std_mm) ** 2
    palm_m = _palm_m(hand)
    return _Measured(
        direction=palm_m[None, :2] / palm_m[2],
        log_depth=math.log(palm_m[2]),
        rotation=np.asarray(hand.camera_from_wrist, np.float64),
        points_m=np.concatenate([hand.vertices_m, hand.keypoints_m]) - (palm_m - hand.wrist_camera_m),
        position_variance=np.array([uncertainty * (noise.position_m / palm_m[2]) ** 2]),
        depth_variance=np.array([uncertainty * noise.log_depth**2]),
        rotation_variance=uncertainty * np.square(noise.rotation_rad),
        across_variance=(factor * noise.across_fraction / MILLIMETRES_PER_METRE * noise_mm) ** 2,
        along_variance=(factor * noise.along_fraction / MILLIMETRES_PER_METRE * noise_mm) ** 2,
        std_mm=std_mm,
    )


class KalmanTrack:
    """One hand over time."""

    def __init__(self, hand: HandMesh, time_ms: float, strength: float, noise: NoiseModel = DEFAULT_NOISE) -> None:
        self.latest = hand
        self.time_ms = time_ms
        self._noise = noise
        self._begin(_take_apart(hand, strength, noise))

    def _begin(self, seen: _Measured) -> None:
        self._place = ConstantVelocity(seen.direction, seen.position_variance, self._noise)
        self._depth = ConstantVelocity(np.array([[seen.log_depth]]), seen.depth_variance, self._noise)
        self._begin_pose(seen)

    def _begin_pose(self, seen: _Measured) -> None:
        self._turn = Turn(seen.rotation, seen.rotation_variance, self._noise)
        self._across = ConstantVelocity(seen.points_m[:, :2], seen.across_variance, self._noise)
        self._along = ConstantVelocity(seen.points_m[:, 2:], seen.along_variance, self._noise)
        self._square_std: FloatArray = seen.std_mm**2
        self._doubted_s = 0.0

    def update(self, hand: HandMesh, time_ms: float, strength: float) -> HandMesh:
        """Take the next measurement; returns the smoothed hand."""
        step_s = max((time_ms - self.time_ms) / 1000, SHORTEST_STEP_S)
        self.time_ms = time_ms
        seen = _take_apart(hand, strength, self._noise)
        self._place.predict(step_s, seen.position_variance)
        self._place.update(seen.direction - self._place.value, seen.position_variance, step_s)
        self._depth.predict(step_s, seen.depth_variance)
        self._depth.update(seen.log_depth - self._depth.value, seen.depth_variance, step_s)
        self._update_pose(seen, step_s)
        self.latest = self._assemble(hand, strength)
        return self.latest

    def _update_pose(self, seen: _Measured, step_s: float) -> None:
        """Turn and shape belong together: where one frame turns the hand impossibly, neither is taken."""
        before = self._turn.rotation
        self._turn.predict(step_s, seen.rotation_variance)
        turned = self._turn.innovation(seen.rotation)
        gate_rad = max(MIN_ROTATION_GATE_RAD, MAX_ROTATION_RAD_PER_S * step_s)
        is_trusted = float(np.linalg.norm(turned)) <= gate_rad
        self._doubted_s = 0.0 if is_trusted else self._doubted_s + step_s
        if self._doubted_s > MAX_UNCERTAIN_S:
            self._begin_pose(seen)
            return
        if is_trusted:
            self._turn.update(turned, seen.rotation_variance, step_s)
        self._rotate_points(self._turn.rotation @ before.T)
        self._across.predict(step_s, seen.across_variance)
        self._along.predict(step_s, seen.along_variance)
        if is_trusted:
            self._update_points(seen, step_s)

    def _update_points(self, seen: _Measured, step_s: float) -> None:
        across, along = self._across, self._along
        gain = across.update(seen.points_m[:, :2] - across.value, seen.across_variance, step_s)
        along.update(seen.points_m[:, 2:] - along.value, seen.along_variance, step_s)
        self._square_std = self._square_std + gain * (seen.std_mm**2 - self._square_std)

    def _rotate_points(self, turn: FloatArray) -> None:
        """Carry the points and their velocities along with the hand; their variances stay with the camera's axes."""
        across, along = self._across, self._along
        value = np.concatenate([across.value, along.value], axis=1) @ turn.T
        velocity = np.concatenate([across.velocity, along.velocity], axis=1) @ turn.T
        across.value, along.value = value[:, :2], value[:, 2:]
        across.velocity, along.velocity = velocity[:, :2], velocity[:, 2:]

    def _std_mm(self, strength: float) -> FloatArray:
        """(V + 21,): what is the same in every frame stays; of what is new there is what the filter has left of it."""
        noise = self._noise
        lasting = (1 - 2 * noise.across_fraction**2 - noise.along_fraction**2) * self._square_std
        left = (2 * self._across.variance + self._along.variance) * (
            MILLIMETRES_PER_METRE / noise_factor(strength)
        ) ** 2
        return np.sqrt(lasting + left)

    def _assemble(self, hand: HandMesh, strength: float) -> HandMesh:
        points_m = np.concatenate([self._across.value, self._along.value], axis=1)
        # The palm's middle is filtered by itself; everything is counted from the wrist.
        points_m = points_m - points_m[len(hand.vertices_m)]
        vertices_m, keypoints_m = np.split(points_m, [len(hand.vertices_m)])
        depth_m = math.exp(float(self._depth.value[0, 0]))
        palm_m = np.append(self._place.value[0], 1.0) * depth_m
        vertex_std_mm, keypoint_std_mm = np.split(self._std_mm(strength), [len(hand.vertices_m)])
        smoothed = dataclasses.replace(
            hand,
            vertices_m=vertices_m,
            vertex_std_mm=vertex_std_mm,
            vertex_covariance_mm2=resized(hand.vertex_covariance_mm2, hand.vertex_std_mm, vertex_std_mm),
            keypoints_m=keypoints_m,
            keypoint_std_mm=keypoint_std_mm,
            keypoint_covariance_mm2=resized(hand.keypoint_covariance_mm2, hand.keypoint_std_mm, keypoint_std_mm),
            camera_from_wrist=self._turn.rotation,
            wrist_camera_m=palm_m - keypoints_m[PALM, :].mean(axis=0),
        )
        return projected(smoothed)


class KalmanSmoother:
    """Smooths all hands of a stream; hands are followed by handedness and distance."""

    def __init__(self, strength: float = 0.3, noise: NoiseModel = DEFAULT_NOISE) -> None:
        self.strength = strength
        self._noise = noise
        self._tracks: list[KalmanTrack] = []

    def reset(self) -> None:
        """Forget all hands: the source or the network changed."""
        self._tracks = []

    def smooth(self, hands: Sequence[HandMesh], time_ms: float) -> tuple[HandMesh, ...]:
        """The hands of the frame taken at ``time_ms``, smoothed by ``strength`` 0 (off) to 1."""
        strength = self.strength
        if strength <= 0:
            self.reset()
            return tuple(hands)
        known = [track for track in self._tracks if 0 <= time_ms - track.time_ms <= MAX_GAP_S * 1000]
        tracks, smoothed = [], []
        for hand, track in zip(hands, matched_tracks(hands, known), strict=True):
            if track is None:
                tracks.append(KalmanTrack(hand, time_ms, strength, self._noise))
                smoothed.append(hand)
            else:
                known.remove(track)
                tracks.append(track)
                smoothed.append(track.update(hand, time_ms, strength))
        self._tracks = tracks + known
        return tuple(smoothed)


def _palm_m(hand: HandMesh) -> FloatArray:
    """(3,) the middle of the palm in the camera's frame, before the camera."""
    palm_m = np.array(hand.keypoints_m[PALM, :].mean(axis=0) + hand.wrist_camera_m)
    palm_m[2] = max(palm_m[2], NEAREST_M)
    return palm_m


# The two ways to smooth a stream of hands, behind one door.


class Smoother(Protocol):
    """Smooths all hands of one stream."""

    strength: float
    """0 (off) to 1"""

    def smooth(self, hands: Sequence[HandMesh], time_ms: float) -> tuple[HandMesh, ...]:
        """The hands of the frame taken at ``time_ms``, in the same order."""
        ...

    def reset(self) -> None:
        """The next frame does not follow the last one."""
        ...


def make_smoother(kind: SmoothingKind, strength: float) -> Smoother:
    """A Kalman filter (kalman.py) or a One Euro filter (smoothing.py) that has seen nothing yet."""
    return KalmanSmoother(strength) if kind == "kalman" else HandSmoother(strength)


class VariantSmoothers:
    """A smoother for each variant, so that tracks of two do not mix."""

    def __init__(self, kind: SmoothingKind, strength: float) -> None:
        self._smoothers: dict[VariantName, Smoother] = {v: make_smoother(kind, strength) for v in VARIANTS}

    def of(self, variant: VariantName) -> Smoother:
        """The smoother of one variant."""
        return self._smoothers[variant]

    def set_strength(self, strength: float) -> None:
        """0 (off) to 1."""
        for smoother in self._smoothers.values():
            smoother.strength = min(max(strength, 0.0), 1.0)

    def set_kind(self, kind: SmoothingKind) -> None:
        """Smooth with another filter, which begins anew."""
        self._smoothers = {v: make_smoother(kind, smoother.strength) for v, smoother in self._smoothers.items()}

    def reset(self) -> None:
        """The next frame does not follow the last one."""
        for smoother in self._smoothers.values():
            smoother.reset()

    def smooth(
        self, found: Mapping[VariantName, tuple[HandMesh, ...]], time_ms: float
    ) -> dict[VariantName, tuple[HandMesh, ...]]:
        """Every variant's hands of the frame taken at ``time_ms``; a variant that misses a frame begins anew."""
        smoothers = self._smoothers
        for variant, smoother in smoothers.items():
            if variant not in found:
                smoother.reset()
        return {variant: smoothers[variant].smooth(hands, time_ms) for variant, hands in found.items()}
