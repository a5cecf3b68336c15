"""Moving hands with known ground truth: rests and quick moves of fingers, rotation and position.

A move follows the path of least jerk (Flash and Hogan 1985), as people's do; the bundled clip's scene shows it.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import rotation_from_axis_angle
from handviz.core.records import FloatArray, Handedness
from handviz.data.synthetic.arm import ArmPoser, PosedArm
from handviz.data.synthetic.gestures import GestureSampler
from handviz.data.synthetic.room import Room
from handviz.hand_models.anatomy import joint_axes, pose_from_angles
from handviz.hand_models.template import SHAPE_SIZE

REST_S, MOVE_S = (0.3, 1.0), (0.35, 1.0)
MOVES_IN_PHASE = 0.7
"""How often each of fingers, rotation and position takes part."""
FRACTION_OF_PHASE = (0.5, 0.7)
GRAIN = 0.012
"""Standard deviation of the camera's noise, of 1: a webcam in a room."""
POSITION_LOW_M, POSITION_HIGH_M = np.array([-0.13, -0.06, 0.44]), np.array([0.13, 0.06, 0.66])
ROTATION_STD_RAD = np.array([0.35, 0.45, 0.45])
"""Of the hand's rotations about the camera's x, y and z."""
SHAPE_SD = 0.6


@dataclass(frozen=True, eq=False)
class TrueHand:
    """A hand at one time."""

    arm: PosedArm
    from_canonical: FloatArray
    """(3, 3) rotation to the camera's axes; contains the mirroring of left hands."""
    position_m: FloatArray
    """(3,) of the canonical frame's origin in the camera's frame"""
    vertices_m: FloatArray
    """(V, 3) of the hand model in the camera's frame"""
    keypoints_m: FloatArray
    """(21, 3) likewise"""
    camera_from_wrist: FloatArray
    """(3, 3) rotation as in HandMesh"""


class Keyed:
    """A value that moves from key to key along paths of least jerk, and rests before the first and after the last."""

    def __init__(self, times_s: Sequence[float], values: Sequence[FloatArray]) -> None:
        self._times, self._values = list(times_s), list(values)

    def at(self, time_s: float) -> FloatArray:
        """Return the value at a time."""
        row = max(bisect_right(self._times, time_s) - 1, 0)
        if row + 1 == len(self._times):
            return self._values[row]
        fraction = max(time_s - self._times[row], 0.0) / (self._times[row + 1] - self._times[row])
        smooth = fraction**3 * (10 - 15 * fraction + 6 * fraction**2)
        return self._values[row] + smooth * (self._values[row + 1] - self._values[row])


class Track(Keyed):
    """A value that alternates between rest and motion; ``draw`` samples its targets."""

    def __init__(self, rng: np.random.Generator, phases: Sequence[tuple[float, float]], draw: Callable[[], FloatArray]):
        """Create the track; ``phases`` are the start and length in seconds of the intervals for moves."""
        super().__init__([0.0], [draw()])
        for start_s, length_s in phases:
            if rng.random() < MOVES_IN_PHASE:
                begin_s = start_s + rng.uniform(0, 0.3) * length_s
                self._times += [begin_s, begin_s + rng.uniform(*FRACTION_OF_PHASE) * length_s]
                self._values += [self._values[-1], draw()]


def _phases(rng: np.random.Generator, seconds: float) -> list[tuple[float, float]]:
    """Return start and length of the moves: the whole hand rests between them."""
    phases, now_s = [], 0.0
    while now_s < seconds:
        now_s += rng.uniform(*REST_S)
        phases.append((now_s, rng.uniform(*MOVE_S)))
        now_s += phases[-1][1]
    return phases


class MotionPoser:
    """The hand model, and what its gestures and angles need."""

    def __init__(self) -> None:
        self.poser = ArmPoser()
        template = self.poser.template
        joints = template.joint_regressor @ template.vertices_m
        tips = (template.keypoint_regressor @ template.vertices_m)[[4, 8, 12, 16, 20]]
        self.axes = joint_axes(joints, tips)
        self.gestures = GestureSampler(joints, tips, template.parents, self.axes)

    def hand(self, pose: FloatArray, shape: FloatArray, from_canonical: FloatArray, centre_m: FloatArray) -> TrueHand:
        """Return the hand of a pose (1, 45) and a shape (1, 10) with its palm's centre at ``centre_m`` (3,).

        ``from_canonical`` (3, 3) turns to the camera's axes, and mirrors left hands.
        """
        arm = self.poser.posed(pose, shape, np.eye(3)[None])[0]
        position_m = centre_m - from_canonical @ (arm.keypoints_m[9] * 0.6)
        mirror = np.diag([np.sign(np.linalg.det(from_canonical)), 1.0, 1.0])
        return TrueHand(
            arm=arm,
            from_canonical=from_canonical,
            position_m=position_m,
            vertices_m=arm.vertices_m[self.poser.arm.hand_ids] @ from_canonical.T + position_m,
            keypoints_m=arm.keypoints_m @ from_canonical.T + position_m,
            camera_from_wrist=from_canonical @ mirror,
        )


class HandMotion:
    """One hand for ``seconds``; the same seed gives the same motion."""

    def __init__(self, seed: int, seconds: float, parts: MotionPoser) -> None:
        rng = np.random.default_rng(seed)
        self.handedness: Handedness = "left" if seed % 2 else "right"
        self._parts = parts
        self._shape = rng.normal(0, SHAPE_SD, (1, SHAPE_SIZE))
        mirror = np.diag([-1.0 if self.handedness == "left" else 1.0, 1.0, 1.0])
        # Half of them show their back.
        self._base = mirror @ (np.diag([-1.0, 1.0, -1.0]) if rng.random() < 0.5 else np.eye(3))
        phases = _phases(rng, seconds)
        self._angles = Track(rng, phases, lambda: parts.gestures.sample(rng, 1)[0])
        self._turn = Track(rng, phases, lambda: rng.normal(0, ROTATION_STD_RAD))
        self._place = Track(rng, phases, lambda: rng.uniform(POSITION_LOW_M, POSITION_HIGH_M))

    def at(self, time_s: float) -> TrueHand:
        """Return the hand at a time."""
        pose = pose_from_angles(self._angles.at(time_s)[None], self._parts.axes)
        return self._parts.hand(
            pose, self._shape, rotation_from_axis_angle(self._turn.at(time_s)) @ self._base, self._place.at(time_s)
        )


def motion_frames(clip: Room, motion: HandMotion, times_s: FloatArray) -> Iterator[NDArray[np.uint8]]:
    """Yield RGB images (480, 640, 3) of a moving hand in the bundled clip's room."""
    for number, time_s in enumerate(times_s):
        true = motion.at(float(time_s))
        surface = clip.surface(motion.handedness, true.arm, true.from_canonical, true.position_m)
        yield clip.frame_image([surface], number, grain=GRAIN)
