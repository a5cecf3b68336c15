"""Things around the hand: simple bodies, and flat backgrounds."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.records import CROP_SIZE, FloatArray
from handviz.render.studio import Mesh


def _mesh(positions: FloatArray, normals: FloatArray, faces: NDArray[np.integer]) -> Mesh:
    return Mesh(positions, normals, positions * 0.1, np.zeros_like(positions), faces.astype(np.int32))


def box() -> Mesh:
    """A cube of side 1 around the origin."""
    positions: list[FloatArray] = []
    normals: list[FloatArray] = []
    faces: list[list[int]] = []
    for axis in range(3):
        for side in (-0.5, 0.5):
            start = len(positions)
            for first, second in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)):
                corner = np.insert(np.array([first, second]), axis, side)
                positions.append(corner)
                normals.append(np.sign(side) * np.eye(3)[axis])
            faces += [[start, start + 1, start + 2], [start, start + 2, start + 3]]
    return _mesh(np.array(positions), np.array(normals), np.array(faces))


def _turned(profile: FloatArray, slopes: FloatArray, around: int = 18) -> Mesh:
    """Surface of revolution about y: profile (R, 2) of radius and height, slopes (R, 2) its normals."""
    angles = np.linspace(0, 2 * math.pi, around, endpoint=False)
    ring = np.stack([np.cos(angles), np.ones(around), np.sin(angles)], axis=1)
    factor = [0, 1, 0]
    positions = (ring[None] * profile[:, None, factor]).reshape(-1, 3)
    normals = (ring[None] * slopes[:, None, factor]).reshape(-1, 3)
    here = np.arange(len(profile) - 1)[:, None] * around + np.arange(around)
    beside = np.arange(len(profile) - 1)[:, None] * around + (np.arange(around) + 1) % around
    lower = np.stack([here, here + around, beside], axis=-1).reshape(-1, 3)
    upper = np.stack([beside, here + around, beside + around], axis=-1).reshape(-1, 3)
    return _mesh(positions, normals, np.concatenate([lower, upper]))


def ball() -> Mesh:
    """A sphere of diameter 1."""
    angles = np.linspace(-math.pi / 2, math.pi / 2, 12)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return _turned(directions * 0.5, directions)


def cylinder() -> Mesh:
    """A closed cylinder of diameter 1 and height 1."""
    profile = np.array([[1e-4, -0.5], [0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [0.5, 0.5], [1e-4, 0.5]])
    slopes = np.array([[0.0, -1], [0, -1], [1, 0], [1, 0], [0, 1], [0, 1]])
    return _turned(profile, slopes)


def _colours(rng: np.random.Generator, *shape: int) -> FloatArray:
    """Colours (*shape, 3) in 0..1; rooms are mostly grey, so saturation is drawn once per background."""
    colours = rng.uniform(0, 1, (*shape, 3))
    grey = colours.mean(axis=-1, keepdims=True)
    return (grey + (colours - grey) * rng.beta(0.9, 1.6)).astype(np.float32)


def _smooth_noise(rng: np.random.Generator) -> FloatArray:
    cells = rng.integers(2, 40, 2)
    coarse = _colours(rng, *cells)
    kind = (cv2.INTER_CUBIC, cv2.INTER_LINEAR, cv2.INTER_NEAREST)[rng.integers(0, 3)]
    grown = cv2.resize(coarse, (CROP_SIZE, CROP_SIZE), interpolation=kind)
    return grown * rng.uniform(0.2, 1) + rng.uniform(0, 0.5, 3).astype(np.float32)


def _stripes(rng: np.random.Generator) -> FloatArray:
    x, y = np.meshgrid(np.arange(CROP_SIZE), np.arange(CROP_SIZE))
    angle, period = rng.uniform(0, math.pi), rng.uniform(6, 90)
    phase = (x * math.cos(angle) + y * math.sin(angle)) / period
    wave = (phase % 1 < rng.uniform(0.2, 0.8)) if rng.random() < 0.6 else np.sin(phase * 2 * math.pi) * 0.5 + 0.5
    first, second = _colours(rng, 2)
    return first + wave.astype(np.float32)[..., None] * (second - first)


def background(rng: np.random.Generator) -> NDArray[np.float32]:
    """A flat background (224, 224, 3) in 0..1: plain, gradients, noise, stripes, with polygons over it."""
    kind = rng.integers(0, 5)
    flat: FloatArray
    if kind == 0:
        flat = np.ones((CROP_SIZE, CROP_SIZE, 3)) * _colours(rng)
    elif kind == 1:
        flat = _stripes(rng)
    else:
        flat = _smooth_noise(rng)
    picture = np.ascontiguousarray(flat, dtype=np.float32)
    for _ in range(rng.integers(0, 9)):
        corners = rng.uniform(-60, CROP_SIZE + 60, (rng.integers(3, 7), 2)).astype(np.int32)
        cv2.fillPoly(picture, [corners], tuple(float(c) for c in _colours(rng)))
    if rng.random() < 0.5:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.8, 6))), np.float32)
    return np.clip(picture, 0, 1)
