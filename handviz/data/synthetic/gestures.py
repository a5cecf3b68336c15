"""Common gestures and grips with continuous variation, and thumbs that meet their targets.

A gesture gives the flexion of index..little in clinical degrees (0: straight, in the palm's plane) when loose and when
tight, the spread of the fingers, and the target of the thumb's tip. The thumb is then chosen from a bank of possible
thumbs, so that a pinch closes and a fist is locked whatever the fingers do.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from handviz.core.records import FloatArray
from handviz.hand_models.anatomy import JointAxes, pose_from_angles
from handviz.hand_models.skinning import joint_transforms

Four = tuple[float, float, float, float]
REST_BEND_DEG = np.array([15.0, 12.0, 6.0])
"""Flexion of knuckle, middle and end joint in the open hand's rest pose, to which all angles are relative."""
REST_SPREAD_DEG = np.array([8.0, -8.0, -18.0, -25.0])
TOGETHER_DEG = np.array([-4.0, 1.0, 3.0, 5.0])
APART_DEG = np.array([15.0, -4.0, -21.0, -37.0])
"""Directions of index..little seen from the palm, positive towards the thumb."""
MIN_DEG = np.array([-35.0, -20.0, -14.0])
MAX_DEG = np.array([90.0, 110.0, 80.0])
FINGER_RADIUS_MM = 8.5
END_PER_MIDDLE = 0.5
BANK_SIZE = 8000
FRACTION_BETWEEN = 0.2


@dataclass(frozen=True)
class Aim:
    """Target of the thumb's tip: a point, the pads of fingers, or their backs at the middle bone."""

    kind: Literal["point", "pads", "backs"]
    point_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """of ``point``: canonical frame"""
    fingers: tuple[int, ...] = ()
    """of ``pads`` and ``backs``: 0 for the index to 3 for the little finger"""
    gap_mm: tuple[float, float] = (10.5, 12.5)
    """of ``pads``: between the tip of the thumb and the centre of the fingertips"""


RELAXED = Aim("point", (74.0, -108.0, -52.0))
BESIDE = Aim("point", (52.0, -122.0, -22.0))
OUT = Aim("point", (106.0, -84.0, -22.0))
UP = Aim("point", (96.0, -104.0, -18.0))
OPPOSED = Aim("point", (56.0, -104.0, -66.0))
ACROSS = Aim("point", (5.0, -85.0, -38.0))


def over(*fingers: int) -> Aim:
    """Aim the thumb at the backs of bent fingers."""
    return Aim("backs", fingers=fingers)


def against(*fingers: int, gap_mm: tuple[float, float] = (10.5, 12.5)) -> Aim:
    """Aim the thumb at fingertips, with an object of this size between them."""
    return Aim("pads", fingers=fingers, gap_mm=gap_mm)


@dataclass(frozen=True)
class Gesture:
    """Two ends of a range of poses; fingers index..little, degrees."""

    weight: float
    knuckle_loose: Four
    middle_loose: Four
    knuckle_tight: Four
    middle_tight: Four
    spread: tuple[float, float]
    """0 together, 1 spread"""
    thumbs: tuple[Aim, ...]


GESTURES: dict[str, Gesture] = {
    "relaxed": Gesture(3, (5, 8, 12, 14), (14, 18, 22, 22), (26, 36, 44, 48), (38, 46, 52, 48), (0.2, 0.6), (RELAXED,)),
    "flat": Gesture(1.6, (-8, -6, -6, -8), (0, 0, 0, 0), (12, 12, 12, 12), (10, 10, 10, 10), (0, 0.2), (BESIDE, UP)),
    "spread": Gesture(2, (-14, -10, -10, -14), (0, 0, 0, 0), (8, 6, 6, 8), (14, 12, 12, 16), (0.6, 1.1), (OUT, UP)),
    "fist": Gesture(
        1.8, (62, 66, 68, 68), (82, 86, 86, 84), (78, 82, 84, 82), (94, 98, 95, 88), (0.1, 0.35), (over(0, 1), over(1))
    ),
    "point": Gesture(
        1.5, (-6, 56, 60, 60), (4, 78, 80, 78), (22, 78, 82, 82), (28, 95, 95, 95), (0.1, 0.4), (over(1), OUT, BESIDE)
    ),
    "thumb up": Gesture(
        1.2, (52, 58, 62, 62), (80, 84, 86, 84), (76, 80, 82, 80), (94, 98, 95, 88), (0.1, 0.3), (UP, OUT)
    ),
    "two": Gesture(
        1.2,
        (-6, -6, 58, 60),
        (2, 2, 78, 76),
        (16, 16, 78, 80),
        (16, 16, 95, 95),
        (0.0, 1.0),
        (over(2), over(1, 2), OUT),
    ),
    "three": Gesture(0.5, (-6, -6, -6, 58), (2, 2, 2, 76), (14, 14, 14, 76), (16, 16, 18, 94), (0.3, 0.9), (over(3),)),
    "four": Gesture(0.5, (-8, -6, -6, -8), (0, 0, 0, 0), (12, 12, 12, 12), (14, 14, 14, 14), (0.2, 0.9), (ACROSS,)),
    "ok": Gesture(1.2, (44, 12, 4, 0), (46, 20, 12, 8), (62, 34, 24, 16), (64, 36, 28, 22), (0.3, 0.9), (against(0),)),
    "pinch": Gesture(
        1.2, (42, 46, 48, 48), (42, 46, 50, 48), (60, 66, 72, 74), (60, 76, 86, 86), (0.1, 0.5), (against(0),)
    ),
    "tips": Gesture(
        1.5,
        (34, 36, 38, 38),
        (28, 30, 32, 30),
        (58, 58, 60, 60),
        (48, 52, 54, 50),
        (0.0, 0.4),
        (against(0, 1), against(0, 1, 2), against(0, 1, gap_mm=(14, 50))),
    ),
    "grasp": Gesture(
        3,
        (20, 22, 24, 26),
        (30, 34, 36, 36),
        (56, 60, 64, 66),
        (66, 72, 76, 74),
        (0.1, 0.6),
        (against(0, gap_mm=(20, 60)), against(0, 1, gap_mm=(20, 50)), OPPOSED),
    ),
    "hook": Gesture(
        0.6, (-6, -6, -6, -6), (70, 74, 76, 74), (26, 28, 30, 30), (94, 98, 95, 88), (0, 0.3), (BESIDE, RELAXED)
    ),
    "love": Gesture(0.6, (-6, 58, 58, -8), (2, 80, 80, 2), (14, 76, 76, 12), (14, 95, 95, 16), (0.4, 0.9), (OUT,)),
    "horns": Gesture(
        0.5, (-6, 58, 58, -8), (2, 80, 80, 2), (14, 76, 76, 12), (14, 95, 95, 16), (0.3, 0.8), (over(1), over(1, 2))
    ),
    "phone": Gesture(0.5, (54, 58, 58, -8), (80, 82, 80, 2), (74, 76, 72, 14), (95, 95, 95, 18), (0.4, 0.9), (OUT,)),
    "gun": Gesture(0.8, (-6, 56, 60, 60), (2, 80, 84, 82), (14, 78, 80, 80), (14, 95, 95, 95), (0.1, 0.4), (OUT, UP)),
    "pen": Gesture(
        1.0, (34, 42, 50, 52), (42, 52, 62, 62), (52, 58, 64, 66), (58, 68, 80, 80), (0.0, 0.2), (against(0, 1),)
    ),
    "mouse": Gesture(
        1.6, (0, 4, 8, 8), (12, 14, 18, 20), (22, 24, 30, 30), (38, 40, 42, 40), (0.1, 0.7), (RELAXED, BESIDE)
    ),
    "table top": Gesture(
        0.6, (44, 46, 48, 48), (2, 2, 2, 2), (80, 80, 80, 80), (20, 20, 22, 24), (0, 0.3), (BESIDE, against(0, 1))
    ),
}


def finger_noise(rng: np.random.Generator, count: int, sd_deg: float) -> FloatArray:
    """Draw flexion (count, 4, 3) in degrees; neighbouring fingers and the joints of a finger are correlated."""
    hand = rng.normal(0, 0.45 * sd_deg, (count, 1, 1))
    free = rng.normal(0, 0.7 * sd_deg, (count, 4, 1))
    neighbours = np.array([[0.75, 0.25, 0, 0], [0.2, 0.6, 0.2, 0], [0, 0.2, 0.6, 0.2], [0, 0, 0.25, 0.75]])
    noise: FloatArray = hand + neighbours @ free + rng.normal(0, 0.5 * sd_deg, (count, 4, 3))
    return noise


def add_noise(rng: np.random.Generator, angles_deg: FloatArray, sd_deg: float) -> FloatArray:
    """Return angles (N, 15, 3) with more noise, within the limits."""
    noisy = angles_deg.reshape(-1, 5, 3, 3).copy()
    count = len(noisy)
    noisy[:, 1:, :, 0] = np.clip(noisy[:, 1:, :, 0] + finger_noise(rng, count, sd_deg), MIN_DEG, MAX_DEG)
    noisy[:, 1:, 0, 1] = np.clip(noisy[:, 1:, 0, 1] + rng.normal(0, 0.3 * sd_deg, (count, 4)), -39, 39)
    noisy[:, 0, 0] += rng.normal(0, 0.5 * sd_deg, (count, 3))
    thumb = noisy[:, 0, 1:, 0] + rng.normal(0, 0.8 * sd_deg, (count, 2))
    noisy[:, 0, 1:, 0] = np.clip(thumb, (-15, -25), (62, 85))
    return noisy.reshape(count, 15, 3)


def spread_angles(spread: FloatArray, bend_deg: FloatArray) -> FloatArray:
    """Return abduction (N, 4) in degrees for the fingers' spread (N,) and the knuckles' clinical flexion (N, 4)."""
    straight = np.clip(1 - bend_deg / 80, 0.1, 1)
    direction = TOGETHER_DEG + (APART_DEG - TOGETHER_DEG) * spread[:, None] * straight
    return REST_SPREAD_DEG - direction


class GestureSampler:
    """Sampler of gestures of one hand, as angles from its rest pose."""

    def __init__(self, joints: FloatArray, tips: FloatArray, parents: tuple[int, ...], axes: JointAxes) -> None:
        """Take rest joints (16, 3) and fingertips (5, 3) in metres."""
        self._joints, self._tips, self._parents, self._axes = joints, tips, parents, axes
        self._bank = _thumb_bank(np.random.default_rng(0))
        angles = np.zeros((BANK_SIZE, 15, 3))
        angles[:, :3] = self._bank
        tips_mm, pads, _ = self._finger_ends(angles)
        self._bank_tip_mm, self._bank_pad = tips_mm[:, 0], pads[:, 0]
        self._strain = ((self._bank / np.array([30.0, 30.0, 16.0])) ** 2).sum((1, 2))

    def sample(self, rng: np.random.Generator, count: int, names: list[str] | None = None) -> FloatArray:
        """Draw (count, 15, 3) degrees of flexion, abduction, twist of the named gestures, or of all and mixtures."""
        if names is not None:
            return self._of(rng, [names[row % len(names)] for row in range(count)])
        weights = np.array([gesture.weight for gesture in GESTURES.values()])
        first, second = rng.choice(list(GESTURES), (2, count), p=weights / weights.sum())
        fraction = (rng.random(count) < FRACTION_BETWEEN) * rng.uniform(0.15, 0.5, count)
        mixed = self._of(rng, list(first)) * (1 - fraction[:, None, None])
        return mixed + self._of(rng, list(second)) * fraction[:, None, None]

    def _of(self, rng: np.random.Generator, names: list[str]) -> FloatArray:
        """Return angles (N, 15, 3) of the named gestures."""
        gestures = [GESTURES[name] for name in names]
        count = len(gestures)
        loose = np.array([[gesture.knuckle_loose, gesture.middle_loose] for gesture in gestures])
        tight = np.array([[gesture.knuckle_tight, gesture.middle_tight] for gesture in gestures])
        bend = np.zeros((count, 4, 3))
        bend[..., :2] = (loose + (tight - loose) * rng.random((count, 1, 1))).transpose(0, 2, 1)
        bend += finger_noise(rng, count, 5.0)
        bend[..., 2] += END_PER_MIDDLE * bend[..., 1]
        spread = rng.uniform(*np.array([gesture.spread for gesture in gestures]).T)
        angles = np.zeros((count, 5, 3, 3))
        angles[:, 1:, :, 0] = np.clip(bend - REST_BEND_DEG, MIN_DEG, MAX_DEG)
        angles[:, 1:, 0, 1] = spread_angles(spread, bend[..., 0]) + rng.normal(0, 1.2, (count, 4))
        flat = angles.reshape(count, 15, 3)
        flat[:, :3] = self._thumbs(rng, flat, [g.thumbs[rng.integers(0, len(g.thumbs))] for g in gestures])
        return flat

    def _finger_ends(self, angles_deg: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return tips (N, 5, 3) in mm, unit normals (N, 5, 3) of their pads, middle bones' backs (N, 5, 3) in mm."""
        poses = pose_from_angles(angles_deg, self._axes)
        joints = np.broadcast_to(self._joints, (len(poses), 16, 3))
        transforms = joint_transforms(poses, joints, self._parents)
        last = transforms[:, [3, 6, 9, 12, 15]]
        tips = np.einsum("nfab,fb->nfa", last[..., :3], self._tips) + last[..., 3]
        rest_pads = np.cross(self._axes.flexion, self._axes.twist)[[2, 5, 8, 11, 14]]
        pads = np.einsum("nfab,fb->nfa", last[..., :3], rest_pads)
        between = (self._joints[[2, 5, 8, 11, 14]] + self._joints[[3, 6, 9, 12, 15]]) / 2
        second = transforms[:, [2, 5, 8, 11, 14]]
        centres = np.einsum("nfab,fb->nfa", second[..., :3], between) + second[..., 3]
        backs = -np.einsum("nfab,fb->nfa", second[..., :3], np.cross(self._axes.flexion, self._axes.twist)[1::3])
        return tips * 1000, pads, centres * 1000 + backs * 2 * FINGER_RADIUS_MM

    def _thumbs(self, rng: np.random.Generator, angles_deg: FloatArray, aims: list[Aim]) -> FloatArray:
        """Return angles (N, 3, 3) of the thumbs in the bank that meet their aims best and with the least strain."""
        tips, pads, backs = self._finger_ends(angles_deg)
        chosen = np.zeros((len(aims), 3, 3))
        for row, aim in enumerate(aims):
            fingers = [finger + 1 for finger in aim.fingers]
            facing = np.zeros(3)
            if aim.kind == "point":
                target = np.array(aim.point_mm) + rng.normal(0, 6, 3)
            elif aim.kind == "backs":
                target = backs[row, fingers].mean(0) + rng.normal(0, 2.5, 3)
            else:
                facing = pads[row, fingers].mean(0)
                target = tips[row, fingers].mean(0) + facing * rng.uniform(*aim.gap_mm)
            miss = ((self._bank_tip_mm - target) ** 2).sum(1)
            cost = miss + 9 * self._strain + 90 * (1 + self._bank_pad @ facing)
            chosen[row] = self._bank[cost.argmin()]
        return chosen


def _thumb_bank(rng: np.random.Generator) -> FloatArray:
    """Draw possible thumbs (BANK_SIZE, 3, 3) in degrees; the saddle joint rotates inwards as it opposes."""
    angles = np.zeros((BANK_SIZE, 3, 3))
    angles[:, 0, 0] = rng.uniform(-26, 42, BANK_SIZE)
    angles[:, 0, 1] = rng.uniform(-34, 36, BANK_SIZE)
    angles[:, 0, 2] = rng.uniform(-20, 20, BANK_SIZE)
    angles[:, 1, 0] = rng.uniform(-12, 48, BANK_SIZE)
    angles[:, 2, 0] = rng.uniform(-20, 65, BANK_SIZE)
    return angles
