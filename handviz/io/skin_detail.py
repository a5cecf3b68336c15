"""What the picture shows at points of a hand's skin, and how far that can be trusted to be skin."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray, HandMesh
from handviz.hand_models.open_hand import load_display_mesh

BORDER_PX = (0.0, 2.0)
"""From where to where trust grows, from the picture's border inwards."""
OUTLINE_M = (0.0005, 0.0035)
"""The same from the hand's outline inwards: the mesh is off by about as much, and beside it lies what is no hand."""
SAMPLES_PER_ROW = 1024
"""OpenCV samples at points that form a picture, none of whose sides is longer than 32767."""


@dataclass(frozen=True, eq=False)
class SkinDetail:
    """The picture around one hand, no finer than it is needed."""

    part: NDArray[Any]
    """(h, w, 3) RGB."""
    to_outline_m: NDArray[Any]
    """(h, w) how far inside the hand's outline a pixel lies, 0 outside."""
    corner_px: FloatArray
    """(2,) of ``part`` in the picture."""
    scale: FloatArray
    """(2,) pixels of ``part`` per pixel of the picture."""
    size_px: FloatArray
    """(2,) width and height of the picture."""

    def at(self, points_px: FloatArray) -> tuple[NDArray[Any], FloatArray]:
        """Colours (N, 3) from 0 to 255 and trust (N,) from 0 to 1 at points (N, 2) of the picture, inside it or not."""
        rows = -(-len(points_px) // SAMPLES_PER_ROW)
        places = np.zeros((rows * SAMPLES_PER_ROW, 2), dtype=np.float32)
        places[: len(points_px)] = (points_px - self.corner_px) * self.scale - 0.5
        across, down = places.reshape(rows, SAMPLES_PER_ROW, 2).transpose(2, 0, 1)

        def sampled(image: NDArray[Any]) -> NDArray[Any]:
            found = cv2.remap(image, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            return found.reshape(len(places), -1)[: len(points_px)]

        to_border_px = np.minimum(points_px, self.size_px - points_px).min(axis=1)
        trust = smooth_step(sampled(self.to_outline_m)[:, 0], OUTLINE_M) * smooth_step(to_border_px, BORDER_PX)
        return sampled(self.part), trust


def skin_detail(hand: HandMesh, picture: NDArray[np.uint8], finest_m: float) -> SkinDetail | None:
    """The part of ``picture`` (H, W, 3) RGB with the hand, its pixels not smaller than ``finest_m``; None outside."""
    display = load_display_mesh()
    points_px = display.lift(sampled_px(hand))
    size_px = np.array(picture.shape[1::-1])
    low = np.maximum(np.floor(points_px.min(axis=0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(points_px.max(axis=0)).astype(int) + 2, size_px)
    if (low >= high).any():
        return None
    part: NDArray[Any] = picture[low[1] : high[1], low[0] : high[0]]
    coarser = hand.pixels_per_m * finest_m
    if coarser > 1:
        smaller = np.maximum(np.rint((high - low) / coarser), 1).astype(int)
        part = cv2.resize(part, smaller.tolist(), interpolation=cv2.INTER_AREA)
    scale = np.array(part.shape[1::-1]) / (high - low)
    to_outline = _to_outline((points_px - low) * scale - 0.5, display.faces, part.shape[:2])
    return SkinDetail(part, to_outline / (hand.pixels_per_m * scale.mean()), low.astype(float), scale, size_px)


def sampled_px(hand: HandMesh) -> FloatArray:
    """(V, 2) where the picture shows the hand's vertices: a smoothed mesh lags behind it."""
    texture = hand.texture
    return hand.vertices_px if texture is None or texture.sampled_px is None else texture.sampled_px


def smooth_step(values: FloatArray, ends: tuple[float, float]) -> FloatArray:
    """0 below the first end, 1 above the second, with no kink between."""
    share = np.clip((values - ends[0]) / (ends[1] - ends[0]), 0, 1)
    return share * share * (3 - 2 * share)


def _to_outline(points: FloatArray, faces: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[Any]:
    """(h, w) pixels from each pixel on the triangles to the nearest beside them; the border is no outline."""
    covered = np.zeros(shape, dtype=np.uint8)
    for triangle in np.rint(points).astype(np.int32)[faces]:
        cv2.fillConvexPoly(covered, triangle, 1)
    return cv2.distanceTransform(covered, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
