"""The 21 keypoints of a hand: their order, their bones, and what bending leaves of the bones' lengths."""

import numpy as np
from numpy.typing import NDArray

KEYPOINT_COUNT = 21
"""Wrist, thumb 1-4, index 1-4, middle 1-4, ring 1-4, little 1-4."""
FINGERS = ("thumb", "index", "middle", "ring", "little")
KEYPOINT_NAMES = ("wrist", *(f"{finger}_{joint}" for finger in FINGERS for joint in range(1, 5)))
"""Of the 21 keypoints in order; ``_4`` is the tip."""
PALM_KEYPOINTS = (0, 5, 9, 13, 17)
"""Wrist and knuckles: they move together, and their centre is the best known position of a hand."""
KEYPOINT_PARENTS = (-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)
SHORTEST = 0.3
"""Of a bone after a displacement, as a fraction of its length."""


def bent(keypoints_m: NDArray[np.floating], displacements_m: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return displacements (N, 21, 3) of keypoints (21, 3) as rotations of the bones, and changes of their lengths.

    A displacement across a bone rotates it; along a straight line it would also stretch it. Small ones stay as they
    are.
    """
    result = np.array(displacements_m, np.float64)
    for child, parent in enumerate(KEYPOINT_PARENTS):
        if parent < 0:
            continue
        bone = (keypoints_m[child] - keypoints_m[parent]).astype(np.float64)
        length = float(np.linalg.norm(bone))
        if not length:
            continue
        change = displacements_m[:, child] - displacements_m[:, parent]
        lengths = np.maximum(length + change @ (bone / length), SHORTEST * length)
        moved = bone + change
        moved *= (lengths / np.maximum(np.linalg.norm(moved, axis=1), 1e-9))[:, None]
        result[:, child] = result[:, parent] + moved - bone
    return result
