"""Scenes of hands for a tracker, as scripts without images: who is where when, and the cuts between shots."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from handviz.core.records import FloatArray, Handedness
from handviz.data.synthetic.motion import Keyed
from handviz.data.synthetic.pose import sample_shape
from handviz.data.synthetic.room import GESTURES, gesture_angles

AWAY_M = 0.62
"""Distance to the side, at half a metre from the camera, at which neither hand nor forearm is in the image."""
DEPTH_M = 0.5


@dataclass(frozen=True, eq=False)
class Actor:
    """One hand over the time of its shot."""

    identity: int
    side: Handedness
    person: int
    """Who has its skin and its hand's shape."""
    shape: FloatArray
    """(1, 10)"""
    place: Keyed
    """(3,) of the palm's centre in the camera's frame, metres"""
    turn: Keyed
    """(3,) rotation about the camera's axes, as axis times angle in radians, of an upright palm before the camera"""
    angles: Keyed
    """(15, 3) of the joints in degrees"""


@dataclass(frozen=True, eq=False)
class Shot:
    """A part of a clip without a cut; times of its actors count from its beginning."""

    seconds: float
    actors: tuple[Actor, ...]
    room: int = 0
    """Shots of one room look alike."""


@dataclass(frozen=True, eq=False)
class Scenario:
    """A clip to be rendered."""

    name: str
    rate_hz: float
    shots: tuple[Shot, ...]
    max_hands: int = 2
    """How many hands a tracker is asked for."""


class Script:
    """Writer of one scenario's actors; what is left open is drawn by chance."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._count = 0
        self._shapes = [sample_shape(rng, 1) * 0.6 for _ in range(2)]

    def any_side(self) -> Handedness:
        """Draw a side."""
        return "left" if self._rng.random() < 0.5 else "right"

    def jitter(self, size_m: float) -> FloatArray:
        """Draw a shift (3,) of up to ``size_m`` along each axis."""
        return self._rng.uniform(-size_m, size_m, 3)

    def actor(
        self,
        side: Handedness,
        places: Sequence[tuple[float, tuple[float, float, float]]],
        *,
        turns: Sequence[tuple[float, tuple[float, float, float]]] = (),
        person: int = 0,
        gestures: Sequence[tuple[float, str]] = (),
        near_m: float = 0.02,
    ) -> Actor:
        """Return a hand that passes places (metres) and turns (degrees) at these times, all moved by up to ``near_m``.

        ``gestures`` are names of ``room.GESTURES``; without any the hand stays open or relaxed.
        """
        self._count += 1
        shift_m = self.jitter(near_m)
        lean_deg = self._rng.normal(0, 6, 3)
        gestures = gestures or [(0.0, str(self._rng.choice(["open", "relaxed"])))]
        turned = turns or [(0.0, (0.0, 0.0, 0.0))]
        return Actor(
            identity=self._count,
            side=side,
            person=person,
            shape=self._shapes[person],
            place=Keyed([time for time, _ in places], [np.array(place) + shift_m for _, place in places]),
            turn=Keyed([time for time, _ in turned], [np.radians(np.array(angles) + lean_deg) for _, angles in turned]),
            angles=Keyed([time for time, _ in gestures], [gesture_angles(name) for _, name in gestures]),
        )

    def changing(self, seconds: float) -> list[tuple[float, str]]:
        """Draw gestures that follow each other, a second each, with moves of 0.4 s between them."""
        keys: list[tuple[float, str]] = []
        for start in range(math.ceil(seconds)):
            name = str(self._rng.choice(sorted(GESTURES)))
            keys += [(float(start), name), (start + 0.6, name)]
        return keys


def _to_and_fro(length_s: float, seconds: float, half_m: float) -> list[tuple[float, tuple[float, float, float]]]:
    """Return places from side to side and back, ``length_s`` for a way, with as long a rest after every two ways."""
    keys, now, sign = [(0.0, (-half_m, 0.0, DEPTH_M))], 0.4, -1.0
    while now < seconds:
        for _ in range(2):
            keys += [(now, (sign * half_m, 0.0, DEPTH_M)), (now + length_s, (-sign * half_m, 0.03 * sign, DEPTH_M))]
            now, sign = now + length_s + 1e-6, -sign
        now += length_s
    return keys


def _still(script: Script) -> tuple[Shot, ...]:
    return (Shot(2.5, (script.actor(script.any_side(), [(0, (0.0, 0.0, DEPTH_M))], near_m=0.08),)),)


def _moving(length_s: float, half_m: float, seconds: float) -> Callable[[Script], tuple[Shot, ...]]:
    def shots(script: Script) -> tuple[Shot, ...]:
        places = _to_and_fro(length_s, seconds, half_m)
        return (Shot(seconds, (script.actor(script.any_side(), places, gestures=script.changing(seconds)),)),)

    return shots


_slow, _fast = _moving(1.0, 0.10, 3.0), _moving(0.3, 0.12, 2.5)


def _leaving(script: Script) -> tuple[Shot, ...]:
    side = script.any_side()
    outward = 1.0 if side == "left" else -1.0
    there, away = (outward * 0.08, 0.0, DEPTH_M), (outward * AWAY_M, 0.05, DEPTH_M)
    return (Shot(4.0, (script.actor(side, [(0, there), (0.6, there), (1.2, away), (2.4, away), (3.0, there)]),)),)


def _apart(script: Script) -> tuple[Shot, ...]:
    right = script.actor("right", [(0, (-0.15, 0.0, 0.55)), (1.0, (-0.12, 0.06, 0.5)), (2.5, (-0.16, -0.05, 0.55))])
    left = script.actor("left", [(0, (0.15, 0.0, 0.55)), (1.0, (0.17, -0.06, 0.5)), (2.5, (0.12, 0.05, 0.55))])
    return (Shot(3.0, (right, left)),)


def _crossing(front: Handedness, apart_m: float) -> Callable[[Script], tuple[Shot, ...]]:
    """Return the shots of two hands that change sides and back; ``apart_m`` is how much higher the one in front is."""

    def shots(script: Script) -> tuple[Shot, ...]:
        def places(sign: float, side: Handedness) -> list[tuple[float, tuple[float, float, float]]]:
            depth_m = 0.45 if side == front else 0.6
            height_m = (-0.5 if side == front else 0.5) * apart_m
            here, there = ((part * 0.25 * depth_m, height_m, depth_m) for part in (sign, -sign))
            return [(0, here), (0.5, here), (1.5, there), (2.0, there), (3.0, here)]

        return (
            Shot(
                3.5,
                (script.actor("right", places(-1.0, "right")), script.actor("left", places(1.0, "left"))),
            ),
        )

    return shots


def _clasped(script: Script) -> tuple[Shot, ...]:
    def hand(side: Handedness, sign: float) -> Actor:
        apart, close = (sign * 0.14, 0.0, 0.55), (sign * 0.022, 0.0, 0.55 + 0.012 * sign)
        facing = (0.0, -sign * 55.0, -sign * 25.0)
        return script.actor(
            side,
            [(0, apart), (0.5, apart), (1.2, close), (2.4, close), (3.1, apart)],
            turns=[(0.4, (0.0, 0.0, 0.0)), (1.2, facing), (2.4, facing), (3.1, (0.0, 0.0, 0.0))],
            gestures=[(0.0, "open"), (0.8, "open"), (1.3, "relaxed"), (2.4, "relaxed"), (3.0, "open")],
            near_m=0.005,
        )

    return (Shot(3.6, (hand("right", -1.0), hand("left", 1.0))),)


def _jump(script: Script) -> tuple[Shot, ...]:
    side = script.any_side()
    before = script.actor(side, [(0, (-0.16, 0.03, DEPTH_M))])
    after = script.actor(side, [(0, (0.14, -0.04, DEPTH_M))])
    return Shot(1.0, (before,)), Shot(1.5, (after,))


def _other_person(script: Script) -> tuple[Shot, ...]:
    side = script.any_side()
    before = script.actor(side, [(0, (-0.05, 0.0, DEPTH_M))])
    other: Handedness = "left" if side == "right" else "right"
    after = script.actor(other, [(0, (0.06, 0.02, 0.6))], person=1)
    return Shot(1.0, (before,)), Shot(1.5, (after,), room=1)


def _empty(script: Script) -> tuple[Shot, ...]:
    side = script.any_side()
    outward = 1.0 if side == "left" else -1.0
    keys = [(0, (outward * AWAY_M, 0.05, DEPTH_M)), (2.0, (outward * AWAY_M, 0.05, DEPTH_M))]
    return (Shot(4.0, (script.actor(side, [*keys, (2.6, (outward * 0.06, 0.0, DEPTH_M))]),)),)


def _rotating(script: Script) -> tuple[Shot, ...]:
    turns = [(0.4, (0, 0, 0)), (0.7, (0, 0, 60)), (1.0, (0, 0, -60)), (1.3, (0, 0, 0)), (1.6, (0, 0, 0))]
    turns += [(2.0, (0, 180, 0)), (2.3, (0, 180, 0)), (2.7, (0, 0, 0))]
    place = [(0, (0.0, 0.0, DEPTH_M))]
    return (Shot(3.2, (script.actor(script.any_side(), place, turns=turns, gestures=[(0, "open")]),)),)


def _growing(script: Script) -> tuple[Shot, ...]:
    keys = [(0.3, (0.06, 0.02, 1.0)), (1.3, (0.0, 0.0, 0.28)), (1.8, (0.0, 0.0, 0.28)), (2.8, (0.06, 0.02, 1.0))]
    return (Shot(3.2, (script.actor(script.any_side(), keys),)),)


KINDS: dict[str, tuple[float, int, Callable[[Script], tuple[Shot, ...]]]] = {
    "still": (30, 1, _still),
    "slow": (30, 1, _slow),
    "slow-60": (60, 1, _slow),
    "fast": (30, 1, _fast),
    "fast-60": (60, 1, _fast),
    "one-of-two": (30, 2, _slow),
    "leaving": (30, 2, _leaving),
    "apart": (30, 2, _apart),
    "crossing": (30, 2, _crossing("right", 0.0)),
    "crossing-left": (30, 2, _crossing("left", 0.0)),
    "crossing-heights": (30, 2, _crossing("right", 0.10)),
    "clasped": (30, 2, _clasped),
    "cut-jump": (30, 2, _jump),
    "cut-person": (30, 2, _other_person),
    "empty": (30, 2, _empty),
    "rotating": (30, 2, _rotating),
    "growing": (30, 2, _growing),
}
"""Frames a second, hands asked for, and the writer of the shots of every scenario."""


def scenario(name: str, seed: int) -> Scenario:
    """Return a scenario of ``KINDS``; the same seed gives the same one."""
    rate_hz, max_hands, write = KINDS[name]
    rng = np.random.default_rng([seed, sorted(KINDS).index(name)])
    return Scenario(name, rate_hz, write(Script(rng)), max_hands)
