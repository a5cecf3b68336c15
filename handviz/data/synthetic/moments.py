"""Moments: one scene in the wrist's frame, seen by several cameras at once, in some of which things hide the hand.

In every moment things hide HEAVILY of what would be seen of the hand in one to MAX_HEAVY views, and less than LIGHTLY
in the others: what one view lacks another shows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import FloatArray
from handviz.data.synthetic import look
from handviz.data.synthetic.arm import PosedArm
from handviz.data.synthetic.backgrounds import BackgroundBank
from handviz.data.synthetic.sample import Sample, Scene, Shot, centre_m, photographed, scene_maker, shown_part
from handviz.data.synthetic.scene import (
    PASSING,
    SceneMaker,
    camera_from_wrist,
    hidden_fraction,
    seen_from,
    visible_vertices,
)
from handviz.data.synthetic.viewpoint import Camera, sample_rig, sample_rig_camera
from handviz.rendering.studio_parts import Lights, Surface

LIGHTLY, HEAVILY, MAX_HEAVY = 0.3, (0.4, 0.9), 3
CAMERA_TRIES, THING_TRIES, ROOM_TRIES, HAND_TRIES = 8, 8, 6, 20
LEAST_SEEN = 0.12
"""Of the vertices, without things: a camera behind the forearm sees fewer."""


@dataclass(frozen=True, eq=False)
class _View:
    """A camera of a rig, and what it sees of the hand between the things so far."""

    camera: Camera
    inside: NDArray[np.float32] | None
    points_camera_m: FloatArray
    """(V, 3)"""
    depth_m: NDArray[np.float32]
    """(224, 224) of all surfaces"""
    alone: NDArray[np.bool_]
    """(V,) visible without things"""

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(V,)."""
        return self.alone & visible_vertices(self.depth_m, self.points_camera_m, self.camera, self.inside)

    @property
    def hidden(self) -> float:
        """Fraction of what would be seen without things that they hide."""
        return hidden_fraction(self.visible, self.alone)

    def behind(self, maker: SceneMaker, things: Sequence[Surface]) -> "_View":
        """Return the view with more things, which are in the wrist frame."""
        return replace(self, depth_m=np.minimum(self.depth_m, _depth_m(maker, things, self.camera)))


def _depth_m(maker: SceneMaker, surfaces: Sequence[Surface], camera: Camera) -> NDArray[np.float32]:
    to_camera = camera_from_wrist(camera)
    return maker.depth_m([seen_from(to_camera, surface) for surface in surfaces], camera)


def _view(
    rng: np.random.Generator, maker: SceneMaker, hand: PosedArm, surfaces: Sequence[Surface], camera: Camera
) -> _View:
    """Return what a camera sees of a room, whose first surface is the hand."""
    inside = shown_part(rng, camera)
    points = hand.vertices_m[maker.poser.arm.hand_ids] @ camera.camera_from_wrist.T + camera.wrist_camera_m
    depth_m = _depth_m(maker, surfaces[:1], camera)
    view = _View(camera, inside, points, depth_m, visible_vertices(depth_m, points, camera, inside))
    return view.behind(maker, surfaces[1:]) if surfaces[1:] else view


def is_heavy(hidden: float) -> bool:
    """Return whether things hide so much of a view's hand as they shall in a few views of a moment."""
    return HEAVILY[0] <= hidden < HEAVILY[1]


def keep_to_rule(hidden: Sequence[float], heavy: int) -> bool:
    """Return whether things hide much of the hand in ``heavy`` views, and little of it in all others."""
    return sum(map(is_heavy, hidden)) == heavy and all(is_heavy(one) or one < LIGHTLY for one in hidden)


class _Moment:
    """A scene under construction: surfaces in the wrist frame, and the views of it."""

    def __init__(self, rng: np.random.Generator, maker: SceneMaker, hand: PosedArm, count: int) -> None:
        self._rng, self._maker, self._hand = rng, maker, hand
        self._max_heavy = min(MAX_HEAVY, count - 1)
        cameras = sample_rig(rng, hand.keypoints_m, count)
        self.surfaces = maker.room(rng, hand, cameras)
        self.views = [_view(rng, maker, hand, self.surfaces, camera) for camera in cameras]

    @property
    def heavy(self) -> int:
        """Number of views of which things hide much."""
        return sum(is_heavy(view.hidden) for view in self.views)

    def settle(self) -> bool:
        """Draw other cameras for views that the room itself hides too much or by halves; whether all are fine now."""
        for number in range(len(self.views)):
            tries = CAMERA_TRIES
            while not self._is_fine(number):
                if not tries:
                    return False
                tries -= 1
                others = [view.camera for place, view in enumerate(self.views) if place != number]
                camera = sample_rig_camera(self._rng, self._hand.keypoints_m, others, is_usual=number == 0)
                self.views[number] = _view(self._rng, self._maker, self._hand, self.surfaces, camera)
        return True

    def _is_fine(self, number: int) -> bool:
        view = self.views[number]
        if view.alone.mean() < LEAST_SEEN:
            return False
        heavy_before = sum(is_heavy(other.hidden) for other in self.views[:number])
        return view.hidden < LIGHTLY or (is_heavy(view.hidden) and heavy_before < self._max_heavy)

    def hide(self) -> bool:
        """Add things that pass before one to MAX_HEAVY of the views; whether at least one is heavily hidden."""
        wanted = int(self._rng.integers(1, self._max_heavy + 1))
        for number in self._rng.permutation(len(self.views)):
            if self.heavy < wanted and not is_heavy(self.views[number].hidden):
                self._pass_before(number, large=True)
        if self._rng.random() < PASSING:
            self._pass_before(int(self._rng.integers(len(self.views))), large=False)
        return self.heavy > 0

    def _pass_before(self, number: int, *, large: bool) -> None:
        """Add a thing before one view if one of some fits the rule; a small one leaves the heavy views as they are."""
        heavy, camera = self.heavy + large, self.views[number].camera
        for _ in range(THING_TRIES):
            thing = self._maker.passing(self._rng, self._hand, camera, large=large)
            hidden = self.views[number].behind(self._maker, [thing]).hidden
            if is_heavy(hidden) != (large or is_heavy(self.views[number].hidden)):
                continue
            views = [view.behind(self._maker, [thing]) for view in self.views]
            if keep_to_rule([view.hidden for view in views], heavy):
                self.surfaces.append(thing)
                self.views = views
                return

    def shots(self) -> list[Shot]:
        """Return what each camera takes, under the same lights."""
        first = self.views[0].camera
        lights = look.sample_lights(self._rng, centre_m(self._hand, first))
        return [self._shot(view, lights_for(lights, first, view.camera, self._hand)) for view in self.views]

    def _shot(self, view: _View, lights: Lights) -> Shot:
        surfaces = [seen_from(camera_from_wrist(view.camera), surface) for surface in self.surfaces]
        scene = Scene(surfaces, view.points_camera_m, view.visible, view.alone, view.hidden)
        return Shot(view.camera, view.inside, scene, lights)


def lights_for(lights: Lights, of: Camera, other: Camera, hand: PosedArm) -> Lights:
    """Return the lights in the axes of another camera of the same room."""
    rotation = other.camera_from_wrist @ of.camera_from_wrist.T
    return replace(
        lights,
        directions=lights.directions @ rotation.T,
        above=tuple(rotation @ np.array(lights.above)),
        shadow_centre_m=tuple(centre_m(hand, other)),
    )


def _shots(rng: np.random.Generator, maker: SceneMaker, hand: PosedArm, views: int) -> list[Shot] | None:
    """Return the shots of a moment, or None if no room around this hand keeps to the rule."""
    for _ in range(ROOM_TRIES):
        moment = _Moment(rng, maker, hand, views)
        if moment.settle() and moment.hide():
            return moment.shots()
    return None


def render_moments(rng: np.random.Generator, count: int, views: int) -> Iterator[list[Sample]]:
    """Yield random moments of hands of the full rig, each as its ``views`` (two or more) samples.

    Raises HandvizError if hardly any scene keeps to the rule.
    """
    maker = scene_maker("rig")
    bank = BackgroundBank(int(rng.integers(0, 2**63)))
    for first in maker.poser.sample(rng, count):
        own = np.random.default_rng(rng.integers(0, 2**63))
        hand, shots = first, _shots(own, maker, first, views)
        for _ in range(HAND_TRIES):
            if shots is not None:
                break
            hand = maker.poser.sample(own, 1)[0]
            shots = _shots(own, maker, hand, views)
        if shots is None:
            raise HandvizError(
                f"things never hide the hand in some of {views} views and not in the others: choose another seed",
                ErrorCode.BAD_VALUE,
            )
        yield [photographed(own, maker, hand, shot, bank) for shot in shots]
