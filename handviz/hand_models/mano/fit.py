"""Fit pose, shape and position of a hand model to vertices or keypoints: damped Gauss-Newton in numpy.

778 vertices determine all 61 parameters, exactly if the hand model made them. Networks and refinement also displace
vertices as no such hand can: the larger the residual, the closer a prior keeps pose and shape to the mean. 21 keypoints
always need the prior.
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
"""A step that changes no parameter more ends the search."""
POSE_STD_RAD, SHAPE_STD = 0.4, 1.0
"""Standard deviations of the prior."""
KEYPOINT_STD_M = 0.002
CORRELATED_VERTICES = 30
"""Errors of so many neighbouring vertices count as one."""


class ManoFit(NamedTuple):
    """A hand of the model and its distance from the fitted points."""

    hand: CanonicalMano
    mean_error_mm: float
    largest_error_mm: float


@dataclass
class _State:
    """The state of the search: a right hand, in mirrored axes for left ones."""

    rotation: FloatArray
    position_m: FloatArray
    parameters: FloatArray
    """(55,) pose and shape"""


def fit_vertices(vertices_m: FloatArray, handedness: Handedness, template: HandTemplate) -> ManoFit:
    """Fit a hand to vertices (V, 3) of the template's topology in camera axes, with any origin."""
    target = np.asarray(vertices_m, np.float64) * (MIRROR if handedness == "left" else 1.0)
    free = _Search(target, None, template, 0.0)
    state = free.run(_initial_state(target, template))
    variance_m2 = CORRELATED_VERTICES * free.cost(state) / target.size
    return _found(_Search(target, None, template, variance_m2), state, handedness)


def fit_keypoints(keypoints_m: FloatArray, handedness: Handedness, template: HandTemplate) -> ManoFit:
    """Fit the most likely hand to keypoints (21, 3) in camera axes; shape is little more than its size."""
    target = np.asarray(keypoints_m, np.float64) * (MIRROR if handedness == "left" else 1.0)
    regressor = template.keypoint_regressor.astype(np.float64)
    palm = [0, 1, 5, 9, 13, 17]
    rest = regressor @ posed(template, np.zeros((1, POSE_SIZE)), np.zeros((1, SHAPE_SIZE)))[0]
    rotation = _best_rotation(rest[palm], target[palm], np.ones(len(palm)))
    start = _State(rotation, target[0] - rotation @ rest[0], np.zeros(POSE_SIZE + SHAPE_SIZE))
    return _found(_Search(target, regressor, template, KEYPOINT_STD_M**2), start, handedness)


class _Search:
    """A search for a hand whose vertices, or points (P, 3) by weights (P, V) of them, match the given ones."""

    def __init__(
        self, target: FloatArray, regressor: FloatArray | None, template: HandTemplate, variance_m2: float
    ) -> None:
        """Take points with ``variance_m2`` per coordinate; 0 means no prior."""
        self.target, self.template, self._regressor = target, template, regressor
        self._prior = variance_m2 / np.repeat([POSE_STD_RAD, SHAPE_STD], [POSE_SIZE, SHAPE_SIZE]) ** 2

    def run(self, state: _State) -> _State:
        """Take steps that reduce the cost until none does."""
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

    def points(self, state: _State) -> FloatArray:
        """Return the points (P, 3) of the hand."""
        return np.asarray(self._points(state.parameters[None])[0] @ state.rotation.T + state.position_m)

    def _points(self, parameters: FloatArray) -> FloatArray:
        """Return unrotated points (N, P, 3) of parameters (N, 55)."""
        vertices = posed(self.template, parameters[:, :POSE_SIZE], parameters[:, POSE_SIZE:])
        return vertices if self._regressor is None else self._regressor @ vertices

    def cost(self, state: _State) -> float:
        """Return the squared distances plus the prior's term, in square metres."""
        return float(np.square(self.points(state) - self.target).sum() + self._prior @ np.square(state.parameters))

    def _equations(self, state: _State) -> tuple[FloatArray, FloatArray]:
        """Return the Gauss-Newton normal equations of a step (61,): rotation, translation, pose and shape."""
        varied = state.parameters + STEP * np.eye(len(state.parameters))
        nearby = self._points(np.concatenate([state.parameters[None], varied]))
        rotated = nearby @ state.rotation.T
        here = rotated[0]
        by_parameters = ((rotated[1:] - here) / STEP).reshape(len(state.parameters), -1)
        by_rotation = np.stack([np.cross(axis, here) for axis in np.eye(3)]).reshape(3, -1)
        by_translation = np.broadcast_to(np.eye(3)[:, None], (3, len(here), 3)).reshape(3, -1)
        slopes = np.concatenate([by_rotation, by_translation, by_parameters])
        normal, slope = slopes @ slopes.T, slopes @ (self.target - here - state.position_m).ravel()
        normal[6:, 6:] += np.diag(self._prior)
        slope[6:] -= self._prior * state.parameters
        return normal, slope


def _found(search: _Search, start: _State, handedness: Handedness) -> ManoFit:
    state = search.run(start)
    errors_mm = np.linalg.norm(search.points(state) - search.target, axis=1) * 1000
    mirror, mean = np.diag(MIRROR) if handedness == "left" else np.eye(3), search.template.pose_mean
    # The shorter way round: the search may have passed 180 degrees.
    pose = Rotation.from_rotvec((state.parameters[:POSE_SIZE] + mean).reshape(-1, 3)).as_rotvec().ravel()
    hand = CanonicalMano(
        handedness=handedness,
        pose=pose - mean,
        shape=state.parameters[POSE_SIZE:],
        camera_from_wrist=mirror @ state.rotation @ mirror,
        wrist_m=mirror @ state.position_m,
    )
    return ManoFit(hand, float(errors_mm.mean()), float(errors_mm.max()))


def _moved(state: _State, step: FloatArray) -> _State:
    rotation = Rotation.from_rotvec(step[:3]).as_matrix() @ state.rotation
    return _State(rotation, state.position_m + step[3:6], state.parameters + step[6:])


def _initial_state(target: FloatArray, template: HandTemplate) -> _State:
    """Rotate every joint as the vertices that depend on it most have rotated since rest."""
    rest, weights = template.vertices_m.astype(np.float64), np.square(template.skinning_weights.astype(np.float64))
    rotations = [_best_rotation(rest, target, weights[:, joint]) for joint in range(JOINT_COUNT)]
    local = [rotations[parent].T @ own for own, parent in zip(rotations, template.parents, strict=True) if parent >= 0]
    pose = Rotation.from_matrix(np.stack(local)).as_rotvec().ravel() - template.pose_mean
    parameters = np.concatenate([pose, np.zeros(SHAPE_SIZE)])
    centre_m = posed(template, pose[None], np.zeros((1, SHAPE_SIZE)))[0].mean(axis=0)
    return _State(rotations[0], target.mean(axis=0) - centre_m @ rotations[0].T, parameters)


def _best_rotation(points: FloatArray, onto: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the rotation (3, 3) that best aligns weighted points (P, 3) with others, both about their means."""
    fraction = weights / weights.sum()
    rotation, _ = Rotation.align_vectors(onto - fraction @ onto, points - fraction @ points, weights=fraction)
    return np.asarray(rotation.as_matrix())
