"""Fits the open hand to MediaPipe's 21 world landmarks: damped Gauss-Newton in numpy, over all hands at once.

Unknown are the rotation, the size, the angles of the joints and the shape. The prior is anatomical: mean, covariance
and limits of the angles are those of ``anatomy.sample_angles``, the shape is normal. Landmarks and model are compared
at MediaPipe's points (``detection.crop.as_the_detector_marks_them``), both about their means.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import rotation_from_axis_angle
from handviz.core.records import KEYPOINT_COUNT, PALM_KEYPOINTS, FloatArray
from handviz.detection.crop import as_the_detector_marks_them
from handviz.hand_models.anatomy import joint_axes, pose_from_angles, sample_angles
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.skinning import joint_transforms, skin
from handviz.hand_models.template import JOINT_COUNT, SHAPE_SIZE, HandTemplate

STEPS = 6
LANDMARK_STD_M = np.array([0.006, 0.006, 0.012])
"""Of the landmarks along the crop's axes, by rendered hands that are well in view (docs/research/method.md)."""
LOG_SIZE_STD, LOG_SIZE_LIMIT = 0.3, 0.5
"""Of the landmarks' size against the hand's, after they were scaled to the mean hand: their own says little of it."""
SHAPE_LIMIT = 3.0
"""Standard deviations."""
SAMPLES = 4000
"""Random poses that the prior is taken from."""
DAMPING, LESS, MORE = 1e-2, 0.2, 10.0
"""Of the first step; its factors after a step that lowered the cost, and after one that did not and was not taken."""
LARGEST_M = 1e6
"""Landmarks farther from their origin are no hand's."""
KINDS = 3
"""Of angles: flexion, abduction and twist."""


class FittedHands(NamedTuple):
    """Right hands of the open hand's shape space, wrist joint at the origin."""

    vertices_m: FloatArray
    """(B, V, 3) in the rest frame."""
    keypoints_m: FloatArray
    """(B, 21, 3) likewise."""
    rotation: FloatArray
    """(B, 3, 3) from the rest frame to the landmarks' axes."""
    angles_deg: FloatArray
    """(B, 15, 3) flexion, abduction and twist of the joints."""
    shape: FloatArray
    """(B, 10) standard deviations."""
    residual_m: FloatArray
    """(B,) mean distance from the landmarks, at the fitted hand's size."""


def fit_to_landmarks(landmarks_m: FloatArray) -> FittedHands:
    """Fit a right hand to each set of world landmarks (B, 21, 3), of any origin and scale; HandvizError if not finite.

    Landmarks of no hand, such as 21 equal points, get some hand within the limits of anatomy.
    """
    landmarks = np.asarray(landmarks_m, np.float64)
    if landmarks.ndim != 3 or landmarks.shape[1:] != (KEYPOINT_COUNT, 3):
        raise HandvizError(
            f"landmarks have shape {landmarks.shape}, expected (hands, 21, 3): give 21 points a hand",
            ErrorCode.WRONG_SHAPE,
        )
    if not (np.abs(landmarks) < LARGEST_M).all():
        raise HandvizError(
            "MediaPipe's landmarks are not finite: restore the model file, or choose another image",
            ErrorCode.NOT_FINITE,
        )
    problem = _problem()
    target = landmarks - landmarks.mean(axis=1, keepdims=True)
    size = _spread(target)
    target *= (problem.mean_size_m / np.where(size > 0, size, 1.0))[:, None, None]
    state = problem.solved(target)
    return problem.hands(state, target)


class _State(NamedTuple):
    """A state of the search, and what it looks like."""

    rotation: FloatArray
    """(B, 3, 3)"""
    parameters: FloatArray
    """(B, P) ln size, free angles in radians, shape"""
    joints: FloatArray
    """(B, 16, 3, 3) rotations of the joints"""
    axes: FloatArray
    """(B, 15, 3, 3) that their angles turn about, one a row"""
    parts: FloatArray
    """(B, 16, 21, 3) what each joint's frame adds to the marks"""
    marks: FloatArray
    """(B, 21, 3) centred, in the landmarks' axes and size"""
    cost: FloatArray
    """(B,)"""


class _Problem:
    """The open hand as marks, and the prior.

    With the wrist at the origin, a hand's marks are a sum over the joints: ``sum_j G_j (attached_j + basis_j shape)``
    with the joints' rotations G, since all of skinning, bones and regressor is linear in them.
    """

    def __init__(self, template: HandTemplate) -> None:
        self.template = template
        joints, keypoints = (
            regressor.astype(np.float64) @ template.vertices_m
            for regressor in (template.joint_regressor, template.keypoint_regressor)
        )
        self._axes = joint_axes(joints, keypoints[4::4])
        self._stacked_axes = np.stack([self._axes.flexion, self._axes.abduction, self._axes.twist], axis=1)
        self._below = _descendants(template.parents)
        self._attached = _attached(template, self._below, template.vertices_m)
        shapes = [_attached(template, self._below, template.shape_basis[..., k]) for k in range(SHAPE_SIZE)]
        self._basis = np.stack(shapes, axis=-1)
        self._flat_basis = self._basis.transpose(0, 2, 1, 3).reshape(JOINT_COUNT * 3, -1)
        angles = np.radians(sample_angles(np.random.default_rng(0), SAMPLES)).reshape(SAMPLES, -1)
        self._free = np.flatnonzero(angles.std(axis=0) > 0)
        angles = angles[:, self._free]
        self._mean = np.concatenate([[0.0], angles.mean(axis=0), np.zeros(SHAPE_SIZE)])
        shape_limit = np.full(SHAPE_SIZE, SHAPE_LIMIT)
        self._low = np.concatenate([[-LOG_SIZE_LIMIT], angles.min(axis=0), -shape_limit])
        self._high = np.concatenate([[LOG_SIZE_LIMIT], angles.max(axis=0), shape_limit])
        self._precision = np.zeros((len(self._mean),) * 2)
        self._precision[0, 0] = LOG_SIZE_STD**-2
        self._precision[1:-SHAPE_SIZE, 1:-SHAPE_SIZE] = np.linalg.inv(np.cov(angles.T))
        self._precision[-SHAPE_SIZE:, -SHAPE_SIZE:] = np.eye(SHAPE_SIZE)
        self._mean_marks = self._state(np.eye(3)[None], self._mean[None], np.zeros((1, KEYPOINT_COUNT, 3))).marks[0]
        self.mean_size_m = float(_spread(self._mean_marks))
        """Root mean square distance of the mean hand's marks from their mean."""

    def solved(self, target: FloatArray) -> _State:
        """Return the most likely hands for centred landmarks (B, 21, 3)."""
        palm = list(PALM_KEYPOINTS)
        rotation = _rotation_onto(self._mean_marks[palm], target[:, palm])
        state = self._state(rotation, np.tile(self._mean, (len(target), 1)), target)
        damping = np.full(len(target), DAMPING)
        for _ in range(STEPS):
            moved = self._state(*self._step(state, target, damping), target)
            better = moved.cost < state.cost
            state = _State(*(_chosen(better, new, old) for new, old in zip(moved, state, strict=True)))
            damping = damping * np.where(better, LESS, MORE)
        return state

    def hands(self, state: _State, target: FloatArray) -> FittedHands:
        """Return the hands of a state: of their shapes' size, whatever the landmarks' is."""
        template, shape = self.template, state.parameters[:, -SHAPE_SIZE:]
        angles_deg = np.degrees(self._angles(state.parameters))
        rest = template.vertices_m + np.einsum("vcs,ns->nvc", template.shape_basis, shape)
        joints = template.joint_regressor @ rest
        rest, joints = rest - joints[:, :1], joints - joints[:, :1]
        transforms = joint_transforms(pose_from_angles(angles_deg, self._axes), joints, template.parents)
        vertices = skin(rest, template.skinning_weights.astype(np.float64), transforms)
        distances = np.linalg.norm(state.marks - target, axis=2).mean(axis=1)
        return FittedHands(
            vertices_m=vertices,
            keypoints_m=template.keypoint_regressor @ vertices,
            rotation=state.rotation,
            angles_deg=angles_deg,
            shape=shape,
            residual_m=distances / np.exp(state.parameters[:, 0]),
        )

    def _angles(self, parameters: FloatArray) -> FloatArray:
        """Return the joints' angles (B, 15, 3) in radians."""
        angles = np.zeros((len(parameters), (JOINT_COUNT - 1) * KINDS))
        angles[:, self._free] = parameters[:, 1:-SHAPE_SIZE]
        return angles.reshape(len(parameters), JOINT_COUNT - 1, KINDS)

    def _joints(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the joints' rotations (B, 16, 3, 3), and the axes (B, 15, 3, 3) that their angles turn about."""
        turns = rotation_from_axis_angle(self._angles(parameters)[..., None] * self._stacked_axes)
        flexion, abduction, twist = turns[:, :, 0], turns[:, :, 1], turns[:, :, 2]
        bent = abduction @ flexion
        local = bent @ twist
        rotations = np.tile(np.eye(3), (len(parameters), JOINT_COUNT, 1, 1))
        for joint, parent in enumerate(self.template.parents[1:], start=1):
            rotations[:, joint] = rotations[:, parent] @ local[:, joint - 1]
        parents = rotations[:, self.template.parents[1:]]
        axes = self._stacked_axes
        about = np.empty((len(parameters), JOINT_COUNT - 1, KINDS, 3))
        about[:, :, 0] = (abduction @ axes[:, 0, :, None])[..., 0]
        about[:, :, 1] = axes[:, 1]
        about[:, :, 2] = (bent @ axes[:, 2, :, None])[..., 0]
        return rotations, about @ parents.transpose(0, 1, 3, 2)

    def _state(self, rotation: FloatArray, parameters: FloatArray, target: FloatArray) -> _State:
        """Return the state of rotations (B, 3, 3) and parameters (B, P)."""
        joints, axes = self._joints(parameters)
        attached = self._attached + (self._basis @ parameters[:, None, None, -SHAPE_SIZE:, None])[..., 0]
        parts = attached @ joints.transpose(0, 1, 3, 2)
        marks = parts.sum(axis=1) @ _seen(rotation, parameters)
        offset = parameters - self._mean
        prior = ((offset @ self._precision) * offset).sum(axis=1)
        cost = np.square((marks - target) / LANDMARK_STD_M).sum(axis=(1, 2)) + prior
        return _State(rotation, parameters, joints, axes, parts, marks, cost)

    def _step(self, state: _State, target: FloatArray, damping: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return rotations and parameters after a damped Gauss-Newton step within the limits."""
        slopes = self._slopes(state)
        slopes = (slopes / LANDMARK_STD_M).reshape(*slopes.shape[:2], KEYPOINT_COUNT * 3)
        residual = ((target - state.marks) / LANDMARK_STD_M).reshape(len(target), KEYPOINT_COUNT * 3, 1)
        normal, down = slopes @ slopes.transpose(0, 2, 1), (slopes @ residual)[..., 0]
        normal[:, 3:, 3:] += self._precision
        down[:, 3:] -= (state.parameters - self._mean) @ self._precision
        diagonal = np.einsum("npp->np", normal)
        diagonal *= 1 + damping[:, None]
        diagonal += 1e-6
        stuck = self._at_limit(state.parameters, down[:, 3:])
        normal[stuck[:, :, None] | stuck[:, None, :]] = 0.0
        diagonal[stuck], down[stuck] = 1.0, 0.0
        step = np.linalg.solve(normal, down[..., None])[..., 0]
        parameters = np.clip(state.parameters + step[:, 3:], self._low, self._high)
        return rotation_from_axis_angle(step[:, :3]) @ state.rotation, parameters

    def _at_limit(self, parameters: FloatArray, down: FloatArray) -> NDArray[np.bool_]:
        """Return which of a step's parameters (B, 3 + P) stay, since they would leave their limits."""
        stuck = ((parameters <= self._low) & (down < 0)) | ((parameters >= self._high) & (down > 0))
        return np.pad(stuck, ((0, 0), (3, 0)))

    def _slopes(self, state: _State) -> FloatArray:
        """Return the derivatives (B, 3 + P, 21, 3) of the marks by rotation, ln size, angles and shape."""
        count, joints = len(state.marks), JOINT_COUNT - 1
        moving = self._below[1:] @ state.parts.reshape(count, JOINT_COUNT, KEYPOINT_COUNT * 3)
        moving = moving.reshape(count, joints, KEYPOINT_COUNT, 3)
        axes = state.axes.reshape(count, joints * KINDS, 3)[:, self._free]
        by_angle = _turned(axes, moving[:, self._free // KINDS])
        by_shape = state.joints.transpose(0, 2, 1, 3).reshape(count, 3, JOINT_COUNT * 3) @ self._flat_basis
        by_shape = by_shape.reshape(count, 3, KEYPOINT_COUNT, SHAPE_SIZE).transpose(0, 3, 2, 1)
        in_hand = np.concatenate([by_angle, by_shape], axis=1) @ _seen(state.rotation, state.parameters)[:, None]
        marks = state.marks[:, None]
        by_rotation = _turned(np.broadcast_to(np.eye(3), (count, 3, 3)), marks)
        return np.concatenate([by_rotation, marks, in_hand], axis=1)


@lru_cache(maxsize=1)
def _problem() -> _Problem:
    return _Problem(load_open_hand())


def _seen(rotation: FloatArray, parameters: FloatArray) -> FloatArray:
    """Return (B, 3, 3), from the right: the rest frame's points in the landmarks' axes and size."""
    return np.asarray(np.exp(parameters[:, :1, None]) * rotation.transpose(0, 2, 1))


def _turned(axes: FloatArray, points: FloatArray) -> FloatArray:
    """Return the motion (B, A, K, 3) of points (B, A or 1, K, 3) that turn about axes (B, A, 3): cross products."""
    crossing = np.zeros((*axes.shape, 3))
    x, y, z = axes[..., 0], axes[..., 1], axes[..., 2]
    crossing[..., 0, 1], crossing[..., 1, 0] = z, -z
    crossing[..., 2, 0], crossing[..., 0, 2] = y, -y
    crossing[..., 1, 2], crossing[..., 2, 1] = x, -x
    return np.asarray(points @ crossing)


def _chosen(better: NDArray[np.bool_], new: FloatArray, old: FloatArray) -> FloatArray:
    """Return the rows of ``new`` where they are better, else those of ``old``."""
    return new if better.all() else np.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _spread(points: FloatArray) -> FloatArray:
    """Return the root mean square distance (...) of centred points (..., K, 3) from their mean."""
    return np.asarray(np.sqrt(np.square(points).sum(axis=-1).mean(axis=-1)))


def _descendants(parents: tuple[int, ...]) -> FloatArray:
    """Return (16, 16): 1 where the column's joint moves with the row's."""
    below = np.eye(len(parents))
    for joint, parent in enumerate(parents):
        while parent >= 0:
            below[parent, joint] = 1
            parent = parents[parent]
    return below


def _attached(template: HandTemplate, below: FloatArray, vertices: FloatArray) -> FloatArray:
    """Return what every joint's frame carries of the marks, (16, 21, 3) about their means: its part of the vertices
    (V, 3) from the joint, and the bones to its child joints."""
    weights = template.skinning_weights.astype(np.float64)
    marks_of = as_the_detector_marks_them(template.keypoint_regressor.astype(np.float64))
    joints = template.joint_regressor.astype(np.float64) @ vertices
    shares = (marks_of @ weights).T  # (16, 21)
    carried = np.einsum("kv,vj,vc->jkc", marks_of, weights, vertices) - shares[..., None] * joints[:, None]
    moved = below @ shares
    for joint, parent in enumerate(template.parents):
        if parent >= 0:
            carried[parent] += moved[joint][:, None] * (joints[joint] - joints[parent])
    return np.asarray(carried - carried.mean(axis=1, keepdims=True))


def _rotation_onto(points: FloatArray, onto: FloatArray) -> FloatArray:
    """Return the rotations (B, 3, 3) that best turn points (K, 3) onto others (B, K, 3), both about their means."""
    products = np.einsum("nka,kb->nab", onto - onto.mean(axis=1, keepdims=True), points - points.mean(axis=0))
    left, _, right = np.linalg.svd(products)
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    return np.asarray(left @ right)
