"""Colours of seen vertices are fused over the frames of a stream: turning the hand paints the whole of it.

What is fused is the albedo, for light does not turn with the hand; it is shown in the present frame's light.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray, HandMesh, HandTexture
from handviz.detection.tracking import matched_tracks
from handviz.rendering.surface import VertexNormals

REFERENCE_STD_MM = 10.0
"""Deviation of a vertex at which a frame's word on it counts e^-1/2: its colour may be a neighbour's."""
LONGEST_MEMORY = 30.0
"""Frames' worth of weight that a vertex keeps: later frames go on changing its colour."""
DOUBT = 0.25
"""Frames' worth of weight that the inferred colour has."""
LIGHT_RANGE = (0.2, 3.0)
"""Of the picture's light, against even light."""
DARKEST = 0.02
MOST_REMEMBERED = 8


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
        return replace(
            texture,
            rgb=np.clip(texture.rgb + known[:, None] * (albedo * light - texture.rgb), 0, 1),
            albedo=albedo,
            seen=np.maximum(texture.visible, known),
        )


class TextureMemory:
    """Follows the hands of a stream; a hand that was away finds its colours again, by its side."""

    def __init__(self, faces: NDArray[np.int32], vertex_count: int) -> None:
        self._normals = VertexNormals(faces, vertex_count)
        self._painted: list[Painted] = []
        self._present: list[Painted] = []
        """Of the last frame's hands."""

    def forget(self) -> None:
        """Begin anew."""
        self._painted, self._present = [], []

    def fuse(self, hands: Sequence[HandMesh]) -> tuple[HandMesh, ...]:
        """The hands of the next frame, with the colours that they had in earlier ones; those without texture stay."""
        textured = [index for index, hand in enumerate(hands) if hand.texture is not None]
        owners = self._owners([hands[index] for index in textured])
        fused = list(hands)
        for index, painted in zip(textured, owners, strict=True):
            fused[index] = self._fused(hands[index], painted)
        self._present = owners
        return tuple(fused)

    def _owners(self, hands: Sequence[HandMesh]) -> list[Painted]:
        """Each hand's memory. Those that are where they were come first, so that a newcomer takes none of theirs; then
        hands that were away are known again by their side."""
        owners = matched_tracks(hands, self._painted)
        away = [painted for painted in self._painted if painted not in [*owners, *self._present]]
        found = []
        for hand, owner in zip(hands, owners, strict=True):
            same_side = [painted for painted in away if painted.latest.handedness == hand.handedness]
            if owner is None and same_side:
                owner = same_side[-1]
                away.remove(owner)
            found.append(owner or self._new(hand))
        return found

    def _new(self, hand: HandMesh) -> Painted:
        assert hand.texture is not None
        count = len(hand.texture.albedo)
        self._painted = [*self._painted, Painted(hand, hand.texture.albedo, np.zeros(count))][-MOST_REMEMBERED:]
        return self._painted[-1]

    def _fused(self, hand: HandMesh, painted: Painted) -> HandMesh:
        assert hand.texture is not None
        painted.add(hand, hand.texture, sighting_weight(hand.texture.visible, self._facing(hand), hand.vertex_std_mm))
        return replace(hand, texture=painted.shown(hand.texture))

    def _facing(self, hand: HandMesh) -> FloatArray:
        """(V,) cosine between outward normals and the line to the camera."""
        normals = self._normals(hand.vertices_m)
        if hand.handedness == "left":
            normals = -normals
        towards = -(hand.vertices_m + hand.wrist_camera_m)
        return np.einsum("vc,vc->v", normals, towards) / np.linalg.norm(towards, axis=1)
