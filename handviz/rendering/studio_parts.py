"""Inputs and outputs of the renderer of training images."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray

SUPERSAMPLING = 2
TARGET, OCCLUDER, BEHIND = 1.0, 0.6, 0.3
"""Values of ``Surface.label``: the labelled hand, objects before it, objects behind it."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles with the shader's vertex attributes."""

    positions: FloatArray
    """(V, 3)"""
    normals: FloatArray
    """(V, 3) unit"""
    rest: FloatArray
    """(V, 3) metres: coordinates of textures"""
    marks: FloatArray
    """(V, 3) palm, nail, sleeve in 0..1"""
    faces: NDArray[np.int32]


@dataclass(frozen=True)
class Material:
    """Linear RGB colours and roughness of a surface."""

    back: tuple[float, ...]
    palm: tuple[float, ...]
    nail: tuple[float, ...]
    cloth: tuple[float, ...]
    cloth_second: tuple[float, ...]
    cloth_stripes_per_m: float = 0.0
    mottle: float = 1.0
    gloss: float = 0.1
    sleeve_thickness_m: float = 0.004
    noise_shift: tuple[float, ...] = (0.0, 0.0, 0.0)
    crease_depth: float = 0.0
    """palm lines and finger folds, 0..1"""
    print_layer: int = -1
    """index of the print on the sleeve, or on the body if ``print_is_body``; -1 for none"""
    print_is_body: bool = False
    print_repeats: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Surface:
    """One object in the scene."""

    mesh: Mesh
    material: Material
    label: float
    camera_from_object: FloatArray = field(default_factory=lambda: np.eye(4))


@dataclass(frozen=True, eq=False)
class Lights:
    """Two directional lights and an ambient gradient from above to below, linear RGB."""

    directions: FloatArray
    """(2, 3) unit, towards the light, camera axes"""
    colours: FloatArray
    """(2, 3)"""
    ambient_above: FloatArray
    ambient_below: FloatArray
    shadow_strength: float = 0.0
    """fraction of the first light that shadows remove"""
    shadow_softness_m: float = 0.002
    shadow_centre_m: tuple[float, ...] = (0.0, 0.0, 0.5)
    above: tuple[float, ...] = (0.0, -1.0, 0.0)
    """unit, camera axes: where ``ambient_above`` comes from"""


@dataclass(frozen=True, eq=False)
class Textures:
    """Textures of surfaces; the same in every image."""

    noise: NDArray[np.uint8]
    """(N, N), repeats without a seam"""
    creases: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((1, 1, 3), np.uint8))
    """(C, C, 3) palm lines, folds on the back, redness over the hand at rest"""
    prints: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((1, 1, 1, 3), np.uint8))
    """(K, P, P, 3) sRGB"""


@dataclass(frozen=True, eq=False)
class StudioImage:
    """Rendered image, twice (H, W) of the crop in each direction, top row first."""

    rgb: NDArray[np.uint8]
    """(2H, 2W, 3), square root of a quarter of the linear light"""
    label: NDArray[np.uint8]
    """(2H, 2W) label * 255, 0 where nothing was drawn"""
    depth_m: NDArray[np.float32]
    """(2H, 2W) distance along z"""
