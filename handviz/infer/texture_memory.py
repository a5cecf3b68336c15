"""Colours of seen vertices are fused over the frames of a stream: turning the hand paints the whole of it.

What is fused is the albedo, for light does not turn with the hand; it is shown in the present frame's light.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handviz.infer.tracking import nearest_track
from handviz.records import FloatArray, HandMesh, HandTexture
from handviz.render.surface import VertexNormals

REFERENCE_STD_MM = 10.0
"""Deviation of a vertex at which a frame's word on it counts e^-1/2: its colour may be a neighbour's."""
LONGEST_MEMORY = 30.0
"""Frames' worth of weight that a vertex keeps: later frames go on changing its colour."""
DOUBT = 0.25
"""Frames' worth of weight that the inferred colour has."""
LIGHT_RANGE = (0.2, 3.0)
"""Of the picture's light, against even light."""
DARKEST = 0.02


def sighting_weight(visible: FloatArray, facing: FloatArray, std_mm: FloatArray) -> FloatArray:
    """How much a frame's colour of vertices counts, 0 to 1, each (V,): that they are seen, how squarely (``facing`` is
    the cosine between normal and line of sight), and how well their place is known."""
    certain = np.exp(-0.5 * (std_mm / REFERENCE_STD_MM) ** 2)
    return visible**2 * np.clip(facing, 0, 1) ** 2 * certain


@dataclass(eq=False)
class Painted:
    """What is known of one hand's skin."""

    latest: HandMesh
    albedo: FloatArray
    """(V, 3)"""
    weight: FloatArray
    """(V,) frames' worth"""

    def add(self, hand: HandMesh, texture: HandTexture, weight: FloatArray) -> None:
        """Take a frame's colours, by their weight (V,)."""
        self.latest = hand
        total = self.weight + weight
        share = weight / np.maximum(total, 1e-9)
        self.albedo = self.albedo + share[:, None] * (texture.albedo - self.albedo)
        self.weight = np.minimum(total, LONGEST_MEMORY)

    def shown(self, texture: HandTexture) -> HandTexture:
        """The frame's texture with what is remembered in it."""
        known = self.weight / (self.weight + DOUBT)
        albedo = texture.albedo + known[:, None] * (self.albedo - texture.albedo)
        light = np.clip(texture.rgb / np.maximum(texture.albedo, DARKEST), *LIGHT_RANGE)
        return HandTexture(
            rgb=np.clip(albedo * light, 0, 1),
            albedo=albedo,
            visible=texture.visible,
            seen=np.maximum(texture.visible, known),
        )


class TextureMemory:
    """Follows the hands of a stream; a hand that was away finds its colours again, by its side."""

    def __init__(self, faces: NDArray[np.int32], vertex_count: int) -> None:
        self._normals = VertexNormals(faces, vertex_count)
        self._painted: list[Painted] = []

    def forget(self) -> None:
        """Begin anew."""
        self._painted = []

    def fuse(self, hands: Sequence[HandMesh]) -> tuple[HandMesh, ...]:
        """The hands of the next frame, with the colours that they had in earlier ones; those without texture stay."""
        free = list(self._painted)
        return tuple(hand if hand.texture is None else self._fused(hand, hand.texture, free) for hand in hands)

    def _fused(self, hand: HandMesh, texture: HandTexture, free: list[Painted]) -> HandMesh:
        """``free`` are the memories that no hand of this frame has taken yet."""
        painted = nearest_track(hand, free) or self._of_the_same_side(hand, free)
        if painted is None:
            painted = Painted(hand, texture.albedo, np.zeros(len(texture.albedo)))
            self._painted.append(painted)
        else:
            free.remove(painted)
        painted.add(hand, texture, sighting_weight(texture.visible, self._facing(hand), hand.vertex_std_mm))
        return replace(hand, texture=painted.shown(texture))

    def _of_the_same_side(self, hand: HandMesh, free: Sequence[Painted]) -> Painted | None:
        same = [painted for painted in free if painted.latest.handedness == hand.handedness]
        return same[-1] if same else None

    def _facing(self, hand: HandMesh) -> FloatArray:
        """(V,) cosine between outward normals and the line to the camera."""
        normals = self._normals(hand.vertices_m)
        if hand.handedness == "left":
            normals = -normals
        towards = -(hand.vertices_m + hand.wrist_camera_m)
        return np.einsum("vc,vc->v", normals, towards) / np.linalg.norm(towards, axis=1)
