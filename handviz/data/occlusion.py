"""Which hands count as occluded: the rule by which papers part DexYCB and HanCo, and its counterpart on renders.

A hand is occluded if of the pixels that its mesh covers in the image less than VISIBLE_FRACTION show it (H2ONet, Xu et
al., CVPR 2023, "hand-level visibility"; SiMA-Hand, Table 3). Renders know it by vertices: ``hidden_share``.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import project_points
from handviz.core.records import FloatArray
from handviz.data.datasets.annotated import MultiViewDataset
from handviz.data.datasets.posing import placed_vertices_m
from handviz.hand_models.template import HandTemplate

VISIBLE_FRACTION = 0.40
HIDDEN_SHARE = 1 - VISIBLE_FRACTION
PIXEL_CENTRE = 0.5
FRACTION_BITS = 4
READERS = 8
"""Threads that read masks."""
MAX_PX = 1e5
"""Pixels beyond any image: OpenCV's whole numbers end there."""


def silhouette(vertices_px: FloatArray, faces: NDArray[np.integer], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels (H, W) that a mesh covers; vertices (V, 2) with pixel centres at halves, ``size`` (W, H)."""
    image = np.zeros(size[::-1], np.uint8)
    corners = np.clip(vertices_px - PIXEL_CENTRE, -MAX_PX, MAX_PX)[faces]
    for triangle in np.rint(corners * 2**FRACTION_BITS).astype(np.int32):
        cv2.fillConvexPoly(image, triangle, 1, shift=FRACTION_BITS)
    return image > 0


def visible_fraction(mask: NDArray[np.bool_], vertices_px: FloatArray, faces: NDArray[np.integer]) -> float:
    """Return the fraction of a hand mesh's pixels in the image that show the hand, nan if it has none there.

    ``mask`` (H, W) is where the image shows the hand; what it has beside the mesh, such as a forearm, does not count.
    """
    mesh = silhouette(vertices_px, faces, (mask.shape[1], mask.shape[0]))
    return float((mask & mesh).sum() / mesh.sum()) if mesh.any() else float("nan")


def is_occluded(fraction: FloatArray | float) -> NDArray[np.bool_]:
    """Return which visible fractions (...) are those of occluded hands; unknown ones (nan) are not."""
    return np.asarray(np.asarray(fraction) < VISIBLE_FRACTION)


def is_occluded_render(hidden_share: FloatArray | float) -> NDArray[np.bool_]:
    """Return which labels ``hidden_share`` (...) are those of occluded hands."""
    # As precise as the labels: of float32.
    return np.asarray(np.asarray(hidden_share, np.float32) >= np.float32(HIDDEN_SHARE))


def dataset_visible_fraction(dataset: MultiViewDataset, index: int, template: HandTemplate) -> float:
    """Return the visible fraction of a sample of HanCo or DexYCB; ``template`` is the user's MANO.

    Raises HandvizError for a mask that is missing or damaged.
    """
    hand = dataset.hand(index)
    vertices_px = project_points(placed_vertices_m(hand, template), hand.intrinsics)
    return visible_fraction(dataset.hand_mask(index), vertices_px, template.faces)


def dataset_visible_fractions(
    dataset: MultiViewDataset, template: HandTemplate, rows: Sequence[int] | None = None
) -> FloatArray:
    """Return the visible fractions (N,) of some samples, or of all: those below VISIBLE_FRACTION are occluded.

    Raises HandvizError for a mask that is missing or damaged.
    """
    wanted = range(len(dataset)) if rows is None else rows
    with ThreadPoolExecutor(READERS) as pool:
        return np.array(list(pool.map(lambda row: dataset_visible_fraction(dataset, int(row), template), wanted)))
