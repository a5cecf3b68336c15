"""A measured hand makes the metres of a picture true: the mesh, and with it its distance, takes the measured size."""

import math
from dataclasses import replace

import numpy as np

from handviz.core.lens import HandSize
from handviz.core.records import CanonicalHand, FloatArray

WRIST_TO_TIP = (0, 9, 10, 11, 12)
INDEX_KNUCKLE, LITTLE_KNUCKLE = 5, 17
BREADTH_PER_KNUCKLES = 1.27
"""Palm, skin to skin, per distance of its two outer knuckles: of 300 open hands of random shape 1.27 to 0.01."""
MODEL_STD_SHARES = {"length": 0.02, "breadth": 0.04}
"""How well a ruler's ends agree with the model's: creases and skin are not joints."""


def length_m(keypoints_m: FloatArray) -> float:
    """Wrist to tip of the middle finger along the bones of keypoints (21, 3), however the finger is bent."""
    chain = keypoints_m[list(WRIST_TO_TIP)]
    return float(np.linalg.norm(np.diff(chain, axis=0), axis=1).sum())


def breadth_m(keypoints_m: FloatArray) -> float:
    """Of the palm across the knuckles of keypoints (21, 3)."""
    return BREADTH_PER_KNUCKLES * float(np.linalg.norm(keypoints_m[LITTLE_KNUCKLE] - keypoints_m[INDEX_KNUCKLE]))


def with_measured_size(canonical: CanonicalHand, size: HandSize) -> CanonicalHand:
    """The hand at the size that somebody measured; it looks the same in its crop. Unmeasured hands stay."""
    if size.measure == "none":
        return canonical
    found_m = (length_m if size.measure == "length" else breadth_m)(canonical.keypoints_m)
    factor = size.millimetres / 1000 / max(found_m, 1e-3)
    return replace(
        canonical,
        vertices_m=canonical.vertices_m * factor,
        vertex_std_m=canonical.vertex_std_m * factor,
        keypoints_m=canonical.keypoints_m * factor,
        keypoint_std_m=canonical.keypoint_std_m * factor,
        scale=canonical.scale / factor,
        size_std_share=math.hypot(size.std_mm / size.millimetres, MODEL_STD_SHARES[size.measure]),
    )
