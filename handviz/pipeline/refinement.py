"""Refines hands after the network: their true size, and a recheck of handedness. Pose and camera: ``posterior.py``."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from handviz.core.camera_model import HandSize
from handviz.core.records import CropSpec, Detection, FloatArray, HandCrop, Handedness, NetworkOutput, PlacedHand
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.detection.crop import crop_hand
from handviz.models.reconstructor import LoadedModel

WRIST_TO_TIP = (0, 9, 10, 11, 12)
KNUCKLES = (5, 17)
"""Of index and little finger."""
WIDTH_PER_KNUCKLES = 1.27
"""Palm width, skin to skin, per distance of its outer knuckles: 1.27 (std 0.01) of 300 open hands of random shape."""
MODEL_STD_FRACTIONS = {"length": 0.02, "breadth": 0.04}
"""Uncertainty of the model's lengths against a ruler's: creases and skin are not joints."""
LEAST_LENGTH_M, SHORTEST_BONE_M = 1e-3, 1e-9
RECHECK_BELOW = 0.5
MIN_IMPROVEMENT = 0.4
SURE_SIDE = 0.9
"""Score of a detection whose side is not judged again: the wide crop of a hand behind another shows that one too."""


# A measured length is one more observation. Nothing else says how large the hand is in metres: what images show depends
# on the ratio of size and distance. So it tells the size alone, and hand, distance and their uncertainty scale with it.


def length_m(keypoints_m: FloatArray) -> float:
    """Return the length from wrist to tip of the middle finger along the bones of keypoints (21, 3), also of bent
    fingers."""
    return _chain_m(keypoints_m, WRIST_TO_TIP)[0]


def width_m(keypoints_m: FloatArray) -> float:
    """Return the palm's width across the knuckles of keypoints (21, 3)."""
    return WIDTH_PER_KNUCKLES * _chain_m(keypoints_m, KNUCKLES)[0]


def with_measured_size(placed: PlacedHand, size: HandSize) -> PlacedHand:
    """Observe the hand's measured size: scale the hand to it, at the same projection; unmeasured hands stay.

    The standard deviation of the size is that of the ruler, of the model's joints against skin, and of the measured
    length itself by what is left unknown of the hand's shape.
    """
    if size.measure == "none":
        return placed
    chain, per_chain = (WRIST_TO_TIP, 1.0) if size.measure == "length" else (KNUCKLES, WIDTH_PER_KNUCKLES)
    found_m, derivative = _chain_m(placed.hand.keypoints_m, chain)
    found_m = max(found_m, LEAST_LENGTH_M)
    unknown_m2 = 0.0 if placed.shape is None else float(derivative @ placed.shape.covariance_m2 @ derivative)
    std_fraction = math.hypot(
        size.std_mm / size.millimetres, MODEL_STD_FRACTIONS[size.measure], math.sqrt(max(unknown_m2, 0.0)) / found_m
    )
    factor = size.millimetres / MILLIMETRES_PER_METRE / (per_chain * found_m)
    return replace(_resized(placed, factor), size_std_fraction=std_fraction)


def _chain_m(keypoints_m: FloatArray, chain: Sequence[int]) -> tuple[float, FloatArray]:
    """Return the length of a chain of keypoints, and its derivative (63,) by the keypoints (21, 3)."""
    bones_m = np.diff(keypoints_m[list(chain)].astype(np.float64), axis=0)
    lengths_m = np.linalg.norm(bones_m, axis=1)
    directions = bones_m / np.maximum(lengths_m, SHORTEST_BONE_M)[:, None]
    derivative = np.zeros((len(keypoints_m), 3))
    derivative[list(chain[1:])] += directions
    derivative[list(chain[:-1])] -= directions
    return float(lengths_m.sum()), derivative.ravel()


def _resized(placed: PlacedHand, factor: float) -> PlacedHand:
    """Return the hand, where it is and what is unknown of both, so many times as large: the image stays the same."""
    hand, shape = placed.hand, placed.shape
    return replace(
        placed,
        hand=replace(
            hand,
            vertices_m=hand.vertices_m * factor,
            vertex_std_m=_scaled(hand.vertex_std_m, factor),
            keypoints_m=hand.keypoints_m * factor,
            keypoint_std_m=_scaled(hand.keypoint_std_m, factor),
            keypoint_covariance_m2=_scaled(hand.keypoint_covariance_m2, factor**2),
            scale=hand.scale / factor,
        ),
        wrist_camera_m=_scaled(placed.wrist_camera_m, factor),
        wrist_covariance_m2=_scaled(placed.wrist_covariance_m2, factor**2),
        shape=None if shape is None else shape.resized(np.full(len(hand.keypoints_m), factor)),
    )


def _scaled(array: FloatArray | None, factor: float) -> FloatArray | None:
    return None if array is None else array * factor


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
