"""Refines hands after the network: their true size, and a recheck of handedness. Pose and camera: ``posterior.py``."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from handviz.core.camera_model import HandSize
from handviz.core.records import CropSpec, Detection, FloatArray, HandCrop, Handedness, NetworkOutput, PlacedHand
from handviz.detection.crop import (
    crop_hand,
)
from handviz.models.reconstructor import LoadedModel

WRIST_TO_TIP = (0, 9, 10, 11, 12)
INDEX_KNUCKLE, LITTLE_KNUCKLE = 5, 17
WIDTH_PER_KNUCKLES = 1.27
"""Palm width, skin to skin, per distance of its outer knuckles: 1.27 (std 0.01) of 300 open hands of random shape."""
MODEL_STD_FRACTIONS = {"length": 0.02, "breadth": 0.04}
"""Uncertainty of the model's lengths against a ruler's: creases and skin are not joints."""
RECHECK_BELOW = 0.5
MIN_IMPROVEMENT = 0.4
SURE_SIDE = 0.9
"""Score of a detection whose side is not judged again: the wide crop of a hand behind another shows that one too."""


# A measured hand makes the metres of an image true: mesh and distance are scaled to the measured size.


def length_m(keypoints_m: FloatArray) -> float:
    """Return the length from wrist to tip of the middle finger along the bones of keypoints (21, 3), also of bent
    fingers."""
    chain = keypoints_m[list(WRIST_TO_TIP)]
    return float(np.linalg.norm(np.diff(chain, axis=0), axis=1).sum())


def width_m(keypoints_m: FloatArray) -> float:
    """Return the palm's width across the knuckles of keypoints (21, 3)."""
    return WIDTH_PER_KNUCKLES * float(np.linalg.norm(keypoints_m[LITTLE_KNUCKLE] - keypoints_m[INDEX_KNUCKLE]))


def scale_to_measured_size(canonical: NetworkOutput, size: HandSize) -> PlacedHand:
    """Scale the hand to its measured size, at the same projection in its crop; unmeasured hands stay."""
    if size.measure == "none":
        return PlacedHand(canonical)
    found_m = (length_m if size.measure == "length" else width_m)(canonical.keypoints_m)
    factor = size.millimetres / 1000 / max(found_m, 1e-3)
    scaled = replace(
        canonical,
        vertices_m=canonical.vertices_m * factor,
        vertex_std_m=_scaled(canonical.vertex_std_m, factor),
        keypoints_m=canonical.keypoints_m * factor,
        keypoint_std_m=_scaled(canonical.keypoint_std_m, factor),
        scale=canonical.scale / factor,
    )
    std_fraction = math.hypot(size.std_mm / size.millimetres, MODEL_STD_FRACTIONS[size.measure])
    return PlacedHand(scaled, size_std_fraction=std_fraction)


def _scaled(std_m: FloatArray | None, factor: float) -> FloatArray | None:
    return None if std_m is None else std_m * factor


# Recheck of handedness. The detector sometimes gets it wrong, and a mirrored hand is then reconstructed. MediaPipe's
# landmark head in the networks judges it again on the upright crop. In images only: in streams it is settled over
# frames (``detection/tracking.py``).


def reconstruct_with_recheck(
    image: NDArray[np.uint8], crops: Sequence[HandCrop], network: LoadedModel
) -> tuple[list[HandCrop], list[NetworkOutput]]:
    """Reconstruct crops of an RGB image (H, W, 3); as the other hand where that fits far better.

    Hands whose side the user stated, or the detector is sure of, stay as they are.
    """
    chosen, hands = list(crops), network.reconstruct(crops)
    rechecked = [
        index
        for index, (hand, crop) in enumerate(zip(hands, crops, strict=True))
        if hand.right_hand < RECHECK_BELOW and not _is_sure(crop.detection)
    ]
    others = [_crop_as_other_hand(image, crops[index], network.spec.crop) for index in rechecked]
    for index, crop, hand in zip(rechecked, others, network.reconstruct(others), strict=True):
        if hand.right_hand - hands[index].right_hand > MIN_IMPROVEMENT:
            chosen[index], hands[index] = crop, hand
    return chosen, hands


def _is_sure(detection: Detection) -> bool:
    return detection.side_is_stated or detection.score >= SURE_SIDE


def _crop_as_other_hand(image: NDArray[np.uint8], crop: HandCrop, spec: CropSpec) -> HandCrop:
    other: Handedness = "left" if crop.detection.handedness == "right" else "right"
    return crop_hand(image, replace(crop.detection, handedness=other), spec)
