"""A hand's colours as a picture to wrap around it, with the skin's own detail where the camera saw it well."""

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import HandvizError
from handviz.core.records import FloatArray, HandMesh, HandTexture
from handviz.hand_models.open_hand import load_display_mesh
from handviz.io.skin_detail import sampled_px, skin_detail, smooth_step
from handviz.io.texels import load_texels
from handviz.rendering.surface import VertexNormals, unique_edges

VISIBLE = (0.5, 0.9)
"""From where to where the picture takes over, in how visible a point and all its neighbours are."""
FACING = (0.25, 0.6)
"""The same in the cosine between the surface's normal and the way to the camera."""


def bake_texture(hand: HandMesh, picture: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Picture (1024, 1024, 3), sRGB, laid out by ``load_uv_atlas``; ``picture`` (H, W, 3) RGB is what the hand is from.

    Raises HandvizError if the hand has no texture or one with values that are no numbers.
    """
    texels, texture = load_texels(), checked_texture(hand)
    weight = _detail_at_vertices(hand, texture)
    at_vertices = load_display_mesh().lift(np.concatenate([texture.rgb, sampled_px(hand)], axis=1))
    at_texels = texels.interpolation @ np.concatenate([at_vertices, weight[:, None]], axis=1, dtype=np.float32)
    colours = at_texels[:, :3] * 255
    candidates = np.flatnonzero(at_texels[:, 5] > 0)
    detail = None if picture is None else skin_detail(hand, picture, texels.side_m)
    if detail is not None and len(candidates):
        shown, trust = detail.at(at_texels[candidates, 3:5])
        colours[candidates] += (at_texels[candidates, 5] * trust)[:, None] * (shown - colours[candidates])
    return texels.image(np.clip(np.rint(colours), 0, 255).astype(np.uint8))


def checked_texture(hand: HandMesh) -> HandTexture:
    """The hand's texture; raises HandvizError if there is none, or one that is not made of numbers."""
    texture = hand.texture
    if texture is None:
        raise HandvizError("this hand has no texture: it was reconstructed without one")
    if not all(np.isfinite(values).all() for values in (texture.rgb, texture.visible, texture.seen)):
        raise HandvizError("the hand's texture holds values that are not numbers: it cannot be written")
    return texture


def _detail_at_vertices(hand: HandMesh, texture: HandTexture) -> FloatArray:
    """(Vd,) how much of the picture each dense vertex takes: nothing beside what is hidden or seen at a low angle."""
    display = load_display_mesh()
    visible = display.lift(np.asarray(texture.visible, dtype=np.float64))
    edges = unique_edges(display.faces)
    # What hides a vertex ends somewhere on the way to the next: that one, though visible, must not pull it in.
    seen_around = visible.copy()
    np.minimum.at(seen_around, edges.ravel(), visible[edges[:, ::-1]].ravel())
    normals = VertexNormals(display.faces, display.vertex_count)(display.lift(hand.vertices_m))
    ray = hand.wrist_camera_m + hand.keypoints_m.mean(axis=0)
    facing = -(normals @ ray) / np.linalg.norm(ray) * (-1 if hand.handedness == "left" else 1)
    return smooth_step(seen_around, VISIBLE) * smooth_step(facing, FACING)
