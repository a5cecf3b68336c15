"""The colours of every vertex of a rendered hand, those that the picture does not show too."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray
from handviz.data.synthetic.develop import Curve, Tone
from handviz.rendering.studio import HandStudio
from handviz.rendering.studio_parts import Lights, Surface

EVEN_LIGHT = Lights(np.eye(3)[:2], np.zeros((2, 3)), np.ones(3), np.ones(3))


class VertexLight(NamedTuple):
    """Linear light of a hand's vertices, (V, 3) each."""

    lit: NDArray[np.float32]
    """under the picture's lights and shadows, without shine"""
    albedo: NDArray[np.float32]
    """under even white light"""
    even: NDArray[np.float32]
    """under even light that is as bright, and of the same tint, as what reaches the sides that face the camera"""


class VertexColours(NamedTuple):
    """sRGB (V, 3) uint8 each."""

    lit: NDArray[np.uint8]
    """as the picture's camera would show the vertex in the picture's light"""
    even: NDArray[np.uint8]
    """as the picture's camera would show it in even light: the known albedo, at the picture's exposure"""


def bake(studio: HandStudio, surface: Surface, lights: Lights, hand_ids: NDArray[np.int32]) -> VertexLight:
    """What the vertices ``hand_ids`` (V,) of a surface give off; call it right after the picture was drawn."""
    lit = studio.bake(surface, lights)[hand_ids]
    albedo = studio.bake(surface, EVEN_LIGHT)[hand_ids]
    facing = _facing_camera(surface)[hand_ids]
    reaching = lit[facing].sum(axis=0) / np.maximum(albedo[facing].sum(axis=0), 1e-6)
    return VertexLight(lit, albedo, np.asarray(albedo * reaching, np.float32))


def colours(light: VertexLight, curve: Curve, tone: Tone) -> VertexColours:
    """What a camera of this curve and tone makes of it."""
    lit, even = (_bytes(tone(curve(part))) for part in (light.lit, light.even))
    return VertexColours(lit, even)


def _facing_camera(surface: Surface) -> NDArray[np.bool_]:
    """(V,) whether a vertex's outward normal looks at the camera; all of them where none does."""
    turn, place = surface.camera_from_object[:3, :3], surface.camera_from_object[:3, 3]
    towards = -(surface.mesh.positions @ turn.T + place)
    facing = np.einsum("vc,vc->v", surface.mesh.normals @ turn.T, towards) > 0
    return facing if facing.any() else ~facing


def _bytes(colour: FloatArray) -> NDArray[np.uint8]:
    return (np.clip(colour, 0, 1) * 255).round().astype(np.uint8)
