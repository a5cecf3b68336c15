"""A hand's texture image, with detail of the camera's image where that shows the skin well."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import csr_matrix

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import FloatArray, HandMesh, HandTexture
from handviz.hand_models.open_hand import load_display_mesh
from handviz.hand_models.uv_atlas import UvAtlas, load_uv_atlas
from handviz.rendering.hand_shape import VertexNormals, unique_edges

BORDER_PX = (0.0, 2.0)
"""Distances from the image's border between which its weight rises from 0 to 1."""
OUTLINE_M = (0.0005, 0.0035)
"""The same from the hand's outline inwards: about the mesh's error, and beyond it is background."""
SAMPLES_PER_ROW = 1024
"""cv2.remap takes points as an image, none of whose sides is longer than 32767."""
TEXTURE_SIZE = 1024
VISIBLE = (0.5, 0.9)
"""Visibilities of a point and its neighbours between which the image's weight rises from 0 to 1."""
FACING = (0.25, 0.6)
"""The same for the cosine between the surface's normal and the direction to the camera."""


@dataclass(frozen=True, eq=False)
class SkinDetail:
    """Part of an image around one hand, at the resolution of the texture or below."""

    part: NDArray[Any]
    """(h, w, 3) RGB."""
    to_outline_m: NDArray[Any]
    """(h, w) distance of each pixel from the hand's outline, 0 outside."""
    corner_px: FloatArray
    """(2,) of ``part`` in the image."""
    scale: FloatArray
    """(2,) pixels of ``part`` per pixel of the image."""
    size_px: FloatArray
    """(2,) width and height of the image."""

    def at(self, points_px: FloatArray) -> tuple[NDArray[Any], FloatArray]:
        """Return colours (N, 3) in [0, 255] and weights (N,) in [0, 1] at points (N, 2), inside the image or not."""
        rows = -(-len(points_px) // SAMPLES_PER_ROW)
        positions = np.zeros((rows * SAMPLES_PER_ROW, 2), dtype=np.float32)
        positions[: len(points_px)] = (points_px - self.corner_px) * self.scale - 0.5
        across, down = positions.reshape(rows, SAMPLES_PER_ROW, 2).transpose(2, 0, 1)

        def sampled(image: NDArray[Any]) -> NDArray[Any]:
            found = cv2.remap(image, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            return found.reshape(len(positions), -1)[: len(points_px)]

        to_border_px = np.minimum(points_px, self.size_px - points_px).min(axis=1)
        weights = smooth_step(sampled(self.to_outline_m)[:, 0], OUTLINE_M) * smooth_step(to_border_px, BORDER_PX)
        return sampled(self.part), weights


def skin_detail(hand: HandMesh, image: NDArray[np.uint8], finest_m: float) -> SkinDetail | None:
    """Crop ``image`` (H, W, 3) RGB to the hand, with pixels of at least ``finest_m``; None if it lies outside."""
    display = load_display_mesh()
    points_px = display.lift(sampled_px(hand))
    size_px = np.array(image.shape[1::-1])
    low = np.maximum(np.floor(points_px.min(axis=0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(points_px.max(axis=0)).astype(int) + 2, size_px)
    if (low >= high).any():
        return None
    part: NDArray[Any] = image[low[1] : high[1], low[0] : high[0]]
    coarser = hand.pixels_per_m * finest_m
    if coarser > 1:
        smaller = np.maximum(np.rint((high - low) / coarser), 1).astype(int)
        part = cv2.resize(part, smaller.tolist(), interpolation=cv2.INTER_AREA)
    scale = np.array(part.shape[1::-1]) / (high - low)
    to_outline = _to_outline((points_px - low) * scale - 0.5, display.faces, part.shape[:2])
    return SkinDetail(part, to_outline / (hand.pixels_per_m * scale.mean()), low.astype(float), scale, size_px)


def sampled_px(hand: HandMesh) -> FloatArray:
    """Return pixels (V, 2) of the unsmoothed vertices: a smoothed mesh lags behind the image."""
    texture = hand.texture
    return hand.vertices_px if texture is None or texture.sampled_px is None else texture.sampled_px


def smooth_step(values: FloatArray, ends: tuple[float, float]) -> FloatArray:
    """Interpolate smoothly from 0 below the first end to 1 above the second (cubic Hermite)."""
    fraction = np.clip((values - ends[0]) / (ends[1] - ends[0]), 0, 1)
    return fraction * fraction * (3 - 2 * fraction)


def _to_outline(points: FloatArray, faces: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return distances (h, w) in pixels to the outline of the triangles; the image's border is no outline."""
    covered = np.zeros(shape, dtype=np.uint8)
    for triangle in np.rint(points).astype(np.int32)[faces]:
        cv2.fillConvexPoly(covered, triangle, 1)
    return cv2.distanceTransform(covered, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


@dataclass(frozen=True, eq=False)
class Texels:
    """The N texels whose centre lies on the mesh, the same for every hand, and each other texel's nearest of them."""

    positions: NDArray[np.intp]
    """(N,) flat indices: row times size plus column."""
    interpolation: csr_matrix
    """(N, Vd): values at the dense mesh's vertices -> values at the texels."""
    nearest: NDArray[np.int32]
    """(size, size) index of the nearest of the N, which avoids seams."""
    side_m: float
    """Side of a texel on the mean hand."""

    def image(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Spread colours (N, 3) at the texels over the image (size, size, 3) without a gap."""
        return np.take(values, self.nearest, axis=0)


@cache
def load_texels(size: int = TEXTURE_SIZE) -> Texels:
    """Compute the texels of the open hand's UV layout."""
    atlas = load_uv_atlas()
    positions, triangle, weights = rasterised(atlas, size)
    # A texel whose centre lies on an edge belongs to both triangles, whose values agree there.
    positions, first = np.unique(positions, return_index=True)
    corners = atlas.vertex_ids[atlas.faces[triangle[first]]]
    rows = np.repeat(np.arange(len(positions)), 3)
    entries = weights[first].astype(np.float32).ravel()
    shape = (len(positions), int(atlas.vertex_ids.max()) + 1)
    own = np.full((size, size), -1, dtype=np.int32)
    own.flat[positions] = np.arange(len(positions))
    at = distance_transform_edt(own < 0, return_distances=False, return_indices=True)
    interpolation = csr_matrix((entries, (rows, corners.ravel())), shape)
    return Texels(positions, interpolation, own[at[0], at[1]], atlas.side_m / size)


def rasterised(atlas: UvAtlas, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]:
    """Return flat index (N,), triangle (N,) and barycentric weights (N, 3) of texel centres in or on triangles."""
    corners = atlas.uv[atlas.faces] * size
    low = np.ceil(corners.min(axis=1) - 0.5).astype(np.intp)
    columns, rows = (np.floor(corners.max(axis=1) - 0.5).astype(np.intp) - low + 1).T
    triangle = np.repeat(np.arange(len(corners)), columns * rows)
    number = np.arange(len(triangle)) - np.repeat(np.cumsum(columns * rows) - columns * rows, columns * rows)
    across = low[triangle, 0] + number % columns[triangle]
    down = low[triangle, 1] + number // columns[triangle]
    weights = _barycentric(corners[triangle], np.stack([across, down], axis=1) + 0.5)
    inside = (weights >= -1e-9).all(axis=1)
    return (down * size + across)[inside], triangle[inside], weights[inside]


def _barycentric(corners: FloatArray, points: FloatArray) -> FloatArray:
    """Return barycentric weights (N, 3) of points (N, 2) in triangles (N, 3, 2)."""
    first, second, own = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], points - corners[:, 0]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    of_first = (own[:, 0] * second[:, 1] - own[:, 1] * second[:, 0]) / area
    of_second = (first[:, 0] * own[:, 1] - first[:, 1] * own[:, 0]) / area
    return np.stack([1 - of_first - of_second, of_first, of_second], axis=1)


def bake_texture(hand: HandMesh, image: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Return the texture (1024, 1024, 3), sRGB, in the layout of ``load_uv_atlas``.

    ``image`` (H, W, 3) RGB is the hand's. Raises HandvizError if the hand has no texture, or one that is not finite.
    """
    texels, texture = load_texels(), checked_texture(hand)
    weight = _detail_at_vertices(hand, texture)
    at_vertices = load_display_mesh().lift(np.concatenate([texture.rgb, sampled_px(hand)], axis=1))
    at_texels = texels.interpolation @ np.concatenate([at_vertices, weight[:, None]], axis=1, dtype=np.float32)
    colours = at_texels[:, :3] * 255
    candidates = np.flatnonzero(at_texels[:, 5] > 0)
    detail = None if image is None else skin_detail(hand, image, texels.side_m)
    if detail is not None and len(candidates):
        shown, weights = detail.at(at_texels[candidates, 3:5])
        colours[candidates] += (at_texels[candidates, 5] * weights)[:, None] * (shown - colours[candidates])
    return texels.image(np.clip(np.rint(colours), 0, 255).astype(np.uint8))


def checked_texture(hand: HandMesh) -> HandTexture:
    """Return the hand's texture; raises HandvizError if there is none, or if it is not finite."""
    texture = hand.texture
    if texture is None:
        raise HandvizError("this hand has no texture: choose another colour", ErrorCode.NOT_PROVIDED)
    if not all(np.isfinite(values).all() for values in (texture.rgb, texture.visible, texture.seen)):
        raise HandvizError(
            "the hand's texture contains values that are not numbers: reconstruct it again", ErrorCode.NOT_FINITE
        )
    return texture


def _detail_at_vertices(hand: HandMesh, texture: HandTexture) -> FloatArray:
    """Return the image's weight (Vd,) at each dense vertex: 0 next to hidden ones and at grazing angles."""
    display = load_display_mesh()
    visible = display.lift(np.asarray(texture.visible, dtype=np.float64))
    edges = unique_edges(display.faces)
    # An occluder ends between a hidden and a visible vertex, so visible neighbours of hidden ones count as hidden.
    seen_around = visible.copy()
    np.minimum.at(seen_around, edges.ravel(), visible[edges[:, ::-1]].ravel())
    normals = VertexNormals(display.faces, display.vertex_count)(display.lift(hand.vertices_m))
    ray = hand.wrist_camera_m + hand.keypoints_m.mean(axis=0)
    facing = -(normals @ ray) / np.linalg.norm(ray) * (-1 if hand.handedness == "left" else 1)
    return smooth_step(seen_around, VISIBLE) * smooth_step(facing, FACING)
