"""Smooths moving hands by the One Euro filter (Casiez, Roussel, Vogel, CHI 2012), aware of standard deviations.

Cutoff of a point: f = f0(strength) * clip(reference / standard deviation, 1/4, 4) + beta * speed, fraction of the new
value: alpha = 1 / (1 + 1 / (2 pi f dt)): still points are smoothed strongly, fast ones hardly lag, and uncertain ones
move more slowly.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np

from handviz.core.geometry import resized, resized_shape
from handviz.core.records import FloatArray, Handedness, HandMesh

MAX_CUTOFF_HZ, MIN_CUTOFF_HZ = 12.0, 0.3
CUTOFF_HZ_PER_METRE_PER_SECOND = 25.0
SPEED_CUTOFF_HZ = 1.0
REFERENCE_STD_MM = 5.0
CERTAINTY_RANGE = (0.25, 4.0)
MAX_GAP_S = 0.5
MAX_STEP_EXTENTS = 1.0
"""A hand that moves further from one frame to the next, in sizes of itself, is not the same motion."""
MIN_STEP_S = 1 / 240


def min_cutoff_hz(strength: float) -> float:
    """Return the cutoff of a still point: 12 Hz at strength 0, falling geometrically to 0.3 Hz at 1."""
    return MAX_CUTOFF_HZ * (MIN_CUTOFF_HZ / MAX_CUTOFF_HZ) ** strength


def low_pass_alpha(cutoff_hz: FloatArray | float, step_s: float) -> FloatArray:
    """Return alpha of a first-order low-pass with this cutoff after a step of ``step_s`` seconds."""
    return 1 / (1 + 1 / (2 * math.pi * np.asarray(cutoff_hz) * step_s))


class OneEuroFilter:
    """Filter of moving rows (N, D); the first ``speed_columns`` of each row give its speed, in metres."""

    def __init__(
        self, speed_columns: int = 3, *, hz_per_metre_per_second: float = CUTOFF_HZ_PER_METRE_PER_SECOND
    ) -> None:
        self._speed_weight = hz_per_metre_per_second
        self._speed_columns = speed_columns
        self._value: FloatArray | None = None
        self._raw: FloatArray | None = None
        self._velocity: FloatArray | None = None

    def __call__(
        self, value: FloatArray, *, step_s: float, cutoff_hz: FloatArray | float, metres_per_unit: float = 1.0
    ) -> tuple[FloatArray, FloatArray]:
        """Return the filtered rows (N, D) and each row's alpha (N, 1); the first call returns its value."""
        if self._value is None or self._raw is None or self._velocity is None:
            self._value, self._raw = value.copy(), value.copy()
            self._velocity = np.zeros((len(value), self._speed_columns))
            return value, np.ones((len(value), 1))
        columns = slice(self._speed_columns)
        velocity = (value[:, columns] - self._raw[:, columns]) * metres_per_unit / step_s
        self._raw = value.copy()
        self._velocity = self._velocity + low_pass_alpha(SPEED_CUTOFF_HZ, step_s) * (velocity - self._velocity)
        speed = np.sqrt(np.einsum("nd,nd->n", self._velocity, self._velocity))
        alpha = low_pass_alpha(cutoff_hz + self._speed_weight * speed, step_s)[:, None]
        self._value = self._value + alpha * (value - self._value)
        return self._value, alpha


class HandTrack:
    """One hand over time."""

    def __init__(self, hand: HandMesh, time_ms: float, speed_weight: float = CUTOFF_HZ_PER_METRE_PER_SECOND) -> None:
        self.latest = hand
        self.time_ms = time_ms
        self._points = OneEuroFilter(3, hz_per_metre_per_second=speed_weight)
        self._position = OneEuroFilter(2, hz_per_metre_per_second=speed_weight)
        self.update(hand, time_ms, strength=0.5)

    def update(self, hand: HandMesh, time_ms: float, strength: float) -> HandMesh:
        """Add the next measurement; return the smoothed hand."""
        step_s = max((time_ms - self.time_ms) / 1000, MIN_STEP_S)
        self.time_ms = time_ms
        base_hz = min_cutoff_hz(strength)
        std_mm = point_stds_mm(hand, unknown_mm=REFERENCE_STD_MM)
        certainty = np.clip(REFERENCE_STD_MM / np.maximum(std_mm, 1e-3), *CERTAINTY_RANGE)
        points, alpha = self._points(_points_of(hand), step_s=step_s, cutoff_hz=base_hz * certainty)
        position, _ = self._position(
            _position_of(hand),
            step_s=step_s,
            cutoff_hz=base_hz * float(np.median(certainty)),
            metres_per_unit=1 / hand.pixels_per_m,
        )
        rotation_fraction, slow_fraction = float(alpha.mean()), float(low_pass_alpha(base_hz, step_s))
        self.latest = _assemble(hand, self.latest, points, position, rotation_fraction, slow_fraction)
        return self.latest


class SmoothedTrack(Protocol):
    """A hand over time, as any smoother stores it."""

    latest: HandMesh
    """The smoothed hand of the last frame that showed it."""
    time_ms: float


AnyTrack = TypeVar("AnyTrack", bound=SmoothedTrack)


TrackKey = tuple[int, Handedness]


def track_key(hand: HandMesh) -> TrackKey:
    """Return number and side: a hand whose side is mistaken for a frame goes on where it was before."""
    return hand.track_id, hand.handedness


def continued_track(hand: HandMesh, time_ms: float, tracks: Mapping[TrackKey, AnyTrack]) -> AnyTrack | None:
    """Return the track of the hand's number and side if its motion goes on, None if it starts anew.

    It starts anew with another hand model, half a second later, back in time, or further away than its size.
    """
    track = tracks.get(track_key(hand))
    if track is None or hand.track_id == 0 or not 0 <= time_ms - track.time_ms <= MAX_GAP_S * 1000:
        return None
    latest = track.latest
    hand_models = [(one.hand_model, len(one.vertices_m)) for one in (hand, latest)]
    step_px = float(np.linalg.norm((hand.keypoints_px - latest.keypoints_px).mean(axis=0)))
    extent_px = max(float(np.ptp(hand.keypoints_px, axis=0).max()), 1e-6)
    return track if hand_models[0] == hand_models[1] and step_px < MAX_STEP_EXTENTS * extent_px else None


class HandSmoother:
    """Smoothing of all hands of a stream, by their ``track_id``."""

    def __init__(
        self, strength: float = 0.3, *, hz_per_metre_per_second: float = CUTOFF_HZ_PER_METRE_PER_SECOND
    ) -> None:
        self.strength = strength
        self._speed_weight = hz_per_metre_per_second
        self._tracks: dict[TrackKey, HandTrack] = {}

    def reset(self) -> None:
        """Remove all tracks: the source or the network changed."""
        self._tracks = {}

    def smooth(self, hands: Sequence[HandMesh], time_ms: float) -> tuple[HandMesh, ...]:
        """Return the hands of the frame taken at ``time_ms``, smoothed by ``strength`` 0 (off) to 1.

        Hands that are not tracked stay as they are.
        """
        if self.strength <= 0:
            self.reset()
            return tuple(hands)
        smoothed = []
        for hand in hands:
            track = continued_track(hand, time_ms, self._tracks)
            smoothed.append(hand if track is None else track.update(hand, time_ms, self.strength))
            if track is None:
                self._tracks[track_key(hand)] = HandTrack(hand, time_ms, self._speed_weight)
        return tuple(smoothed)


def point_stds_mm(hand: HandMesh, *, unknown_mm: float) -> FloatArray:
    """Return the standard deviations (V + 21,) of vertices and keypoints; ``unknown_mm`` if the model predicts none."""
    if hand.vertex_std_mm is None or hand.keypoint_std_mm is None:
        return np.full(len(hand.vertices_m) + len(hand.keypoints_m), unknown_mm)
    return np.concatenate([hand.vertex_std_mm, hand.keypoint_std_mm])


def _points_of(hand: HandMesh) -> FloatArray:
    """Return the points (V + 21, 3) in metres from the wrist."""
    return np.concatenate([hand.vertices_m, hand.keypoints_m])


def _position_of(hand: HandMesh) -> FloatArray:
    """Return (1, 5): the wrist in pixels, which gives its speed, and in the camera frame."""
    return np.concatenate([hand.keypoints_px[0], hand.wrist_camera_m])[None]


def _assemble(
    hand: HandMesh,
    latest: HandMesh,
    points: FloatArray,
    position: FloatArray,
    rotation_fraction: float,
    slow_fraction: float,
) -> HandMesh:
    count = len(hand.vertices_m)
    vertex_std_mm = _blended(latest.vertex_std_mm, hand.vertex_std_mm, slow_fraction)
    keypoint_std_mm = _blended(latest.keypoint_std_mm, hand.keypoint_std_mm, slow_fraction)
    return dataclasses.replace(
        hand,
        vertices_m=points[:count],
        keypoints_m=points[count:],
        vertex_std_mm=vertex_std_mm,
        keypoint_std_mm=keypoint_std_mm,
        keypoint_covariance_mm2=resized(hand.keypoint_covariance_mm2, hand.keypoint_std_mm, keypoint_std_mm),
        shape=resized_shape(hand.shape, hand.keypoint_std_mm, keypoint_std_mm),
        vertex_covariance_mm2=resized(hand.vertex_covariance_mm2, hand.vertex_std_mm, vertex_std_mm),
        camera_from_wrist=_blend_rotations(latest.camera_from_wrist, hand.camera_from_wrist, rotation_fraction),
        wrist_camera_m=position[0, 2:],
    )


def _blended(old: FloatArray | None, new: FloatArray | None, fraction: float) -> FloatArray | None:
    return new if old is None or new is None else old + fraction * (new - old)


def _blend_rotations(old: FloatArray, new: FloatArray, fraction: float) -> FloatArray:
    """Return the rotation (3, 3) nearest to the weighted mean of two."""
    left, _, right = np.linalg.svd(old + fraction * (new - old))
    flip = np.diag([1.0, 1.0, np.linalg.det(left @ right)])
    return left @ flip @ right
