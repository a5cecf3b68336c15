"""Recorded vertices -> one bind shape, a rigid transform per bone and moment, and a few shapes that are mixed into it.

The bind shape and the transforms take turns in least squares, with the hand model's weights fixed (the scheme of Le and
Deng, "Smooth Skinning Decomposition with Rigid Bones", 2012, without its search for weights). The networks move every
vertex freely, which bones alone do not reach: what is left, brought back to the bind pose, goes into its principal
components. ``SkinFit`` says how far the result lies from the record.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray
from handviz.hand_models.template import HandTemplate

ROUNDS = 3
SHAPES = 16
BIND_MOMENTS = 200
"""The bind shape is learned from at most so many moments, evenly taken."""
CHUNK, LEAST_WEIGHT = 256, 1e-6
STIFFNESS = 1e-3
"""How much a bone that few vertices hold prefers the transform that it has."""


@dataclass(frozen=True, eq=False)
class SkinFit:
    """N moments of J bones over V vertices with K shapes."""

    bind_m: FloatArray
    """(V, 3) camera axes, wrist at the origin: the shape that bones move."""
    joints_m: FloatArray
    """(J, 3) of the bind shape."""
    shapes_m: FloatArray
    """(K, V, 3) what is added to the bind shape before bones move it."""
    transforms: FloatArray
    """(N, J, 3, 4) rigid, bind shape -> recorded."""
    mix: FloatArray
    """(N, K) how much of each shape."""
    mean_error_mm: float = 0.0
    """Distance of the skinned vertices from the recorded ones, over all moments."""
    largest_error_mm: float = 0.0


def fit_skin(vertices_m: NDArray[np.floating], template: HandTemplate, *, is_left: bool) -> SkinFit:
    """Vertices (N, V, 3) of a track on the template's topology, any N; more than a few hundred are done in pieces."""
    weights = np.asarray(template.skinning_weights, np.float64)
    bind = np.asarray(template.vertices_m, np.float64) * np.array([-1.0 if is_left else 1.0, 1.0, 1.0])
    some = _evenly(vertices_m)
    transforms = _first_transforms(bind, weights, some)
    for _ in range(ROUNDS):
        transforms = _next_transforms(bind, weights, some, transforms)
        bind = _next_bind(bind, weights, some, transforms)
    left_m = _in_bind_pose(bind, weights, some, transforms)
    more, shapes = left_m.mean(axis=0), _principal(left_m)
    joints = np.asarray(template.joint_regressor, np.float64) @ bind
    fit = SkinFit(bind + more, joints, shapes, np.zeros((0, len(joints), 3, 4)), np.zeros((0, len(shapes))))
    return _over_all(fit, bind, weights, vertices_m)


def _over_all(fit: SkinFit, bones_bind: FloatArray, weights: FloatArray, vertices_m: NDArray[np.floating]) -> SkinFit:
    """The fit's bones and shapes at every moment, with what they miss; bones are placed by ``bones_bind`` (V, 3)."""
    pieces, mixes, errors = [fit.transforms], [fit.mix], []
    scale = np.square(fit.shapes_m).sum(axis=(1, 2))
    for wanted in _chunks(vertices_m):
        transforms = _first_transforms(bones_bind, weights, wanted)
        for _ in range(ROUNDS):
            transforms = _next_transforms(bones_bind, weights, wanted, transforms)
        left_m = _in_bind_pose(fit.bind_m, weights, wanted, transforms)
        mix = np.einsum("nva,kva->nk", left_m, fit.shapes_m) / scale
        shown = skinned(fit.bind_m + np.einsum("nk,kva->nva", mix, fit.shapes_m), weights, transforms)
        pieces.append(transforms)
        mixes.append(mix)
        errors.append(np.linalg.norm(shown - wanted, axis=2) * 1000)
    return replace(
        fit,
        transforms=np.concatenate(pieces),
        mix=np.concatenate(mixes),
        mean_error_mm=float(np.concatenate(errors).mean()),
        largest_error_mm=float(max(error.max() for error in errors)),
    )


def skinned(bind: FloatArray, weights: FloatArray, transforms: FloatArray) -> FloatArray:
    """(N, V, 3) of bind shapes (V, 3) or (N, V, 3), weights (V, J) and transforms (N, J, 3, 4)."""
    blended = _blended(weights, transforms)
    return (blended[..., :3] @ bind[..., None])[..., 0] + blended[..., 3]


def _blended(weights: FloatArray, transforms: FloatArray) -> FloatArray:
    """(N, V, 3, 4)"""
    count, bones = transforms.shape[:2]
    return (weights @ transforms.reshape(count, bones, 12)).reshape(count, len(weights), 3, 4)


def _in_bind_pose(bind: FloatArray, weights: FloatArray, wanted: FloatArray, transforms: FloatArray) -> FloatArray:
    """(N, V, 3) what must be added to the bind shape so that bones bring it to ``wanted``."""
    blended = _blended(weights, transforms)
    return np.linalg.solve(blended[..., :3], (wanted - blended[..., 3])[..., None])[..., 0] - bind


def _principal(offsets_m: FloatArray) -> FloatArray:
    """(K, V, 3) the main directions of offsets (N, V, 3), each as long as its standard deviation."""
    flat = (offsets_m - offsets_m.mean(axis=0)).reshape(len(offsets_m), -1)
    _, sizes, directions = np.linalg.svd(flat, full_matrices=False)
    kept = min(SHAPES, int((sizes > 1e-6).sum()))
    return (directions[:kept] * (sizes[:kept, None] / np.sqrt(len(flat)))).reshape(kept, *offsets_m.shape[1:])


def _first_transforms(bind: FloatArray, weights: FloatArray, wanted: FloatArray) -> FloatArray:
    """Each bone moves what it holds as if it held it alone."""
    held = [np.flatnonzero(column > LEAST_WEIGHT) for column in weights.T]
    bones = enumerate(held)
    return np.stack([_rigid(bind[ids], wanted[:, ids], weights[ids, bone]) for bone, ids in bones], axis=1)


def _next_transforms(bind: FloatArray, weights: FloatArray, wanted: FloatArray, transforms: FloatArray) -> FloatArray:
    """One bone after the other takes on what the others leave."""
    transforms = transforms.copy()
    shown = skinned(bind, weights, transforms)
    for bone in range(weights.shape[1]):
        held = np.flatnonzero(weights[:, bone] > LEAST_WEIGHT)
        weight = weights[held, bone]
        own = transforms[:, bone]
        moved = _moved(bind[held], own)
        rest = wanted[:, held] - shown[:, held] + weight[:, None] * moved
        transforms[:, bone] = _rigid(bind[held], rest / weight[:, None], weight**2)
        shown[:, held] += weight[:, None] * (_moved(bind[held], transforms[:, bone]) - moved)
    return transforms


def _next_bind(bind: FloatArray, weights: FloatArray, wanted: FloatArray, transforms: FloatArray) -> FloatArray:
    """The shape that these transforms bring nearest to all moments."""
    blended = _blended(weights, transforms)
    linear, shift = blended[..., :3], blended[..., 3]
    system = np.einsum("nvab,nvac->vbc", linear, linear) + STIFFNESS * len(wanted) * np.eye(3)
    target = np.einsum("nvab,nva->vb", linear, wanted - shift) + STIFFNESS * len(wanted) * bind
    return np.linalg.solve(system, target[..., None])[..., 0]


def _rigid(points: FloatArray, wanted: FloatArray, weight: FloatArray) -> FloatArray:
    """(N, 3, 4) rigid, points (V, 3) -> wanted (N, V, 3), by weights (V,) (Kabsch 1976)."""
    share = weight / weight.sum()
    middle, middles = share @ points, share @ wanted
    spread = (wanted - middles[:, None]).transpose(0, 2, 1) @ (share[:, None] * (points - middle))
    left, _, right = np.linalg.svd(spread)
    left[..., -1] *= np.sign(np.linalg.det(left @ right))[:, None]
    rotation = left @ right
    return np.concatenate([rotation, (middles - rotation @ middle)[..., None]], axis=2)


def _moved(points: FloatArray, transforms: FloatArray) -> FloatArray:
    """(N, V, 3) of points (V, 3) by transforms (N, 3, 4)."""
    return points @ transforms[..., :3].transpose(0, 2, 1) + transforms[:, None, :, 3]


def _evenly(vertices_m: NDArray[np.floating]) -> FloatArray:
    count = len(vertices_m)
    chosen = np.unique(np.linspace(0, count - 1, min(count, BIND_MOMENTS)).round().astype(int))
    return np.asarray(vertices_m[chosen], np.float64)


def _chunks(vertices_m: NDArray[np.floating]) -> Iterator[FloatArray]:
    for start in range(0, len(vertices_m), CHUNK):
        yield np.asarray(vertices_m[start : start + CHUNK], np.float64)
