"""Where hands are, as sentences: centimetres with their deviation."""

import math
from collections.abc import Sequence

import numpy as np

from handviz.core.lens import ORIGIN_TEXTS, angles_deg
from handviz.core.records import HandMesh, Intrinsics

CENTIMETRES_PER_METRE = 100.0


def place_text(hand: HandMesh) -> str:
    """Two lines: the wrist in the camera's frame, and the deviation of each number."""
    place = ", ".join(f"{value * CENTIMETRES_PER_METRE:.1f}" for value in hand.wrist_camera_m)
    std_m = hand.wrist_std_m
    if std_m is None:
        return f"wrist at {place} cm"
    spread = ", ".join(f"{value * CENTIMETRES_PER_METRE:.1f}" for value in std_m)
    return f"wrist at {place} cm\n± {spread} cm"


def apart_text(hands: Sequence[HandMesh]) -> str:
    """How far two wrists are apart; empty unless there are two hands."""
    if len(hands) != 2:
        return ""
    first, second = hands
    apart_m = second.wrist_camera_m - first.wrist_camera_m
    distance_m = float(np.linalg.norm(apart_m))
    std_m = apart_std_m(first, second)
    spread = "" if std_m is None else f" ± {std_m * CENTIMETRES_PER_METRE:.1f}"
    return f"wrists {distance_m * CENTIMETRES_PER_METRE:.1f}{spread} cm apart"


def apart_std_m(first: HandMesh, second: HandMesh) -> float | None:
    """Standard deviation of the distance of two wrists; None where it is not known.

    The focal length is the same for both. Of the size two hands of one person share what makes it unusual, not what the
    network sees differently in each: half of the variance is taken as shared where nobody measured.
    """
    doubts = first.place_doubt, second.place_doubt
    if doubts[0] is None or doubts[1] is None:
        return None
    apart_m = second.wrist_camera_m - first.wrist_camera_m
    distance_m = max(float(np.linalg.norm(apart_m)), 1e-6)
    way = apart_m / distance_m
    variance = float(way @ (doubts[0].fit_covariance_m2 + doubts[1].fit_covariance_m2) @ way)
    size_variance = doubts[0].size_std_share * doubts[1].size_std_share
    own_share = 0.0 if doubts[0].size_is_measured and doubts[1].size_is_measured else 0.5
    variance += (1 - own_share) * size_variance * distance_m**2
    variance += own_share * size_variance * sum(float(way @ hand.wrist_camera_m) ** 2 for hand in (first, second))
    variance += (way[2] * apart_m[2] * first.intrinsics.focal_std_share) ** 2
    return math.sqrt(variance)


def lens_summary(intrinsics: Intrinsics, size: tuple[int, int]) -> str:
    """K of these pictures and the angles that it spans."""
    horizontal, vertical, diagonal = angles_deg(intrinsics, *size)
    (fx, fy), (cx, cy) = intrinsics.focals_px, intrinsics.centre_px
    numbers = f"fx {fx:.1f}, fy {fy:.1f}, cx {cx:.1f}, cy {cy:.1f} px"
    angles = f"{horizontal:.0f}° across, {vertical:.0f}° down, {diagonal:.0f}° over the diagonal"
    known = f"{ORIGIN_TEXTS[intrinsics.origin]}, focal length ± {100 * intrinsics.focal_std_share:.1f} %"
    return f"{size[0]} x {size[1]}: {numbers}; {angles}; {known}"
