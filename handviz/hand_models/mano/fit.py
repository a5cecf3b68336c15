"""Vertices or keypoints -> the pose, shape and place of a hand model that come nearest: damped Gauss-Newton in numpy.

778 vertices say all 61 numbers: of vertices that the hand model made they come back as they were. Networks and their
corrections also move vertices as no such hand can. What the model cannot follow tells how far the rest is to be
believed: the larger it is, the nearer a prior keeps pose and shape to the mean. 21 keypoints need the prior always.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from handviz.core.records import FloatArray, Handedness
from handviz.hand_models.mano.conventions import CanonicalMano
from handviz.hand_models.mano.parameters import MIRROR, posed
from handviz.hand_models.template import JOINT_COUNT, POSE_SIZE, SHAPE_SIZE, HandTemplate

ROUNDS = 40
STEP = 1e-6
"""Of pose (radians) and shape, for numerical derivatives."""
DAMPING, MIN_DAMPING, MAX_DAMPING = 1e-4, 1e-9, 1e6
ENOUGH = 1e-7
"""A step that moves no number more ends the search."""
POSE_STD_RAD, SHAPE_STD = 0.4, 1.0
"""The prior."""
KEYPOINT_STD_M = 0.002
TOGETHER = 30
"""Vertices that err as one: so many of their errors count once."""


class ManoFit(NamedTuple):
    """A hand of the model and how far it lies from what it was fitted to."""

    hand: CanonicalMano
    mean_error_mm: float
    largest_error_mm: float


@dataclass
class _State:
    """Where the search stands: a right hand, in mirrored axes for left ones."""

    turn: FloatArray
    position_m: FloatArray
    numbers: FloatArray
    """(55,) pose and shape"""


def fit_vertices(vertices_m: FloatArray, handedness: Handedness, template: HandTemplate) -> ManoFit:
    """Vertices (V, 3) of the template's topology in the camera's axes -> the hand; any place will do as origin."""
    seen = np.asarray(vertices_m, np.float64) * (MIRROR if handedness == "left" else 1.0)
    free = _Search(seen, None, template, 0.0)
    state = free.run(_first_of_vertices(seen, template))
    variance_m2 = TOGETHER * free.cost(state) / seen.size
    return _found(_Search(seen, None, template, variance_m2), state, handedness)


def fit_keypoints(keypoints_m: FloatArray, handedness: Handedness, template: HandTemplate) -> ManoFit:
    """Keypoints (21, 3) in the camera's axes -> the most likely hand; shape is little more than its size."""
    seen = np.asarray(keypoints_m, np.float64) * (MIRROR if handedness == "left" else 1.0)
    regressor = template.keypoint_regressor.astype(np.float64)
    palm = [0, 1, 5, 9, 13, 17]
    rest = regressor @ posed(template, np.zeros((1, POSE_SIZE)), np.zeros((1, SHAPE_SIZE)))[0]
    turn = _turn(rest[palm], seen[palm], np.ones(len(palm)))
    start = _State(turn, seen[0] - turn @ rest[0], np.zeros(POSE_SIZE + SHAPE_SIZE))
    return _found(_Search(seen, regressor, template, KEYPOINT_STD_M**2), start, handedness)


class _Search:
    """Points (P, 3) that weights (P, V) of the vertices are to meet, or the vertices themselves."""

    def __init__(
        self, seen: FloatArray, regressor: FloatArray | None, template: HandTemplate, variance_m2: float
    ) -> None:
        """``variance_m2``: of a coordinate of the points; 0 trusts them wholly, and no prior has a say."""
        self.seen, self.template, self._regressor = seen, template, regressor
        self._prior = variance_m2 / np.repeat([POSE_STD_RAD, SHAPE_STD], [POSE_SIZE, SHAPE_SIZE]) ** 2

    def run(self, state: _State) -> _State:
        """Steps that make the squared distance less, until none does."""
        damping, cost = DAMPING, self.cost(state)
        for _ in range(ROUNDS):
            normal, slope = self._equations(state)
            while True:
                step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-12), slope)
                moved = _moved(state, step)
                new_cost = self.cost(moved)
                if new_cost <= cost or damping > MAX_DAMPING:
                    break
                damping *= 10
            if new_cost > cost:
                break
            state, cost, damping = moved, new_cost, max(damping / 10, MIN_DAMPING)
            if np.abs(step).max() < ENOUGH:
                break
        return state

    def shown(self, state: _State) -> FloatArray:
        """(P, 3) where the hand has the points."""
        return np.asarray(self._points(state.numbers[None])[0] @ state.turn.T + state.position_m)

    def _points(self, numbers: FloatArray) -> FloatArray:
        """(N, P, 3) not yet turned, of numbers (N, 55)."""
        vertices = posed(self.template, numbers[:, :POSE_SIZE], numbers[:, POSE_SIZE:])
        return vertices if self._regressor is None else self._regressor @ vertices

    def cost(self, state: _State) -> float:
        """Square metres, the prior's share among them."""
        return float(np.square(self.shown(state) - self.seen).sum() + self._prior @ np.square(state.numbers))

    def _equations(self, state: _State) -> tuple[FloatArray, FloatArray]:
        """Gauss and Newton's normal equations for a step (61,): turn, shift, pose and shape."""
        nearby = self._points(np.concatenate([state.numbers[None], state.numbers + STEP * np.eye(len(state.numbers))]))
        turned = nearby @ state.turn.T
        here = turned[0]
        by_numbers = ((turned[1:] - here) / STEP).reshape(len(state.numbers), -1)
        by_turn = np.stack([np.cross(axis, here) for axis in np.eye(3)]).reshape(3, -1)
        by_shift = np.broadcast_to(np.eye(3)[:, None], (3, len(here), 3)).reshape(3, -1)
        slopes = np.concatenate([by_turn, by_shift, by_numbers])
        normal, slope = slopes @ slopes.T, slopes @ (self.seen - here - state.position_m).ravel()
        normal[6:, 6:] += np.diag(self._prior)
        slope[6:] -= self._prior * state.numbers
        return normal, slope


def _found(search: _Search, start: _State, handedness: Handedness) -> ManoFit:
    state = search.run(start)
    errors_mm = np.linalg.norm(search.shown(state) - search.seen, axis=1) * 1000
    mirror, mean = np.diag(MIRROR) if handedness == "left" else np.eye(3), search.template.pose_mean
    # The shorter way round, for a search may have gone past half a turn.
    pose = Rotation.from_rotvec((state.numbers[:POSE_SIZE] + mean).reshape(-1, 3)).as_rotvec().ravel()
    hand = CanonicalMano(
        handedness=handedness,
        pose=pose - mean,
        shape=state.numbers[POSE_SIZE:],
        camera_from_wrist=mirror @ state.turn @ mirror,
        wrist_m=mirror @ state.position_m,
    )
    return ManoFit(hand, float(errors_mm.mean()), float(errors_mm.max()))


def _moved(state: _State, step: FloatArray) -> _State:
    turn = Rotation.from_rotvec(step[:3]).as_matrix() @ state.turn
    return _State(turn, state.position_m + step[3:6], state.numbers + step[6:])


def _first_of_vertices(seen: FloatArray, template: HandTemplate) -> _State:
    """Every joint turned as the vertices that it moves most have turned since rest."""
    rest, weights = template.vertices_m.astype(np.float64), np.square(template.skinning_weights.astype(np.float64))
    turns = [_turn(rest, seen, weights[:, joint]) for joint in range(JOINT_COUNT)]
    local = [turns[parent].T @ turn for turn, parent in zip(turns, template.parents, strict=True) if parent >= 0]
    pose = Rotation.from_matrix(np.stack(local)).as_rotvec().ravel() - template.pose_mean
    numbers = np.concatenate([pose, np.zeros(SHAPE_SIZE)])
    place = seen.mean(axis=0) - posed(template, pose[None], np.zeros((1, SHAPE_SIZE)))[0].mean(axis=0) @ turns[0].T
    return _State(turns[0], place, numbers)


def _turn(points: FloatArray, onto: FloatArray, weights: FloatArray) -> FloatArray:
    """(3, 3) rotation that brings weighted points (P, 3) nearest to others, both about their means."""
    fraction = weights / weights.sum()
    turn, _ = Rotation.align_vectors(onto - fraction @ onto, points - fraction @ points, weights=fraction)
    return np.asarray(turn.as_matrix())
