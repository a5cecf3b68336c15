"""Measure how crops cut from the detector's keypoints differ from crops cut from true ones.

Training cuts its crops with the jitter that this prints (handviz.data.synthetic.viewpoint.sample_jitter).
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import tools
from handviz.core.arguments import Count, Seed
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import apply_affine, invert_affine
from handviz.core.output import print_result
from handviz.core.records import CROP_SIZE, FloatArray
from handviz.data.synthetic.generator import render_samples
from handviz.detection.crop import CROP_SIDE_PER_EXTENT, crop_from_image_affine
from handviz.detection.detector import HandDetector
from handviz.detection.still_search import STILL_PALM_SCORE

FRAME_SIZE = 640
ROTATION_STD_RAD = 0.7
SAME_HAND = 0.35
"""Maximum distance of a detection from the true keypoints, in extents of the hand."""
NAMES = ("rotation [deg]", "shift right [sides]", "shift down [sides]", "ln of side")
PERCENTILES = (5, 16, 50, 84, 95)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Count and seed."""

    count: Count = 300
    """Rendered hands to search."""
    seed: Seed = 0


def run(arguments: Arguments) -> int:
    """Render, detect, compare; print percentiles of the differences between the two crops."""
    rows, detector = [], HandDetector()
    for frame, true_px in tqdm(_frames(arguments.seed, arguments.count), total=arguments.count, unit="hand"):
        for found in detector.detect_image(frame, max_hands=1, min_score=STILL_PALM_SCORE):
            if found.handedness == "right" and _same_hand(true_px, found.keypoints_px):
                rows.append(crop_difference(true_px, found.keypoints_px))
    if len(rows) < 2:
        raise HandvizError(
            f"the detector found {len(rows)} of {arguments.count} hands: choose a larger --count", ErrorCode.NO_HANDS
        )
    for line in table(np.array(rows), arguments.count):
        print_result("%s", line)
    return 0


def _frames(seed: int, count: int) -> Iterator[tuple[NDArray[np.uint8], FloatArray]]:
    """Yield images (640, 640, 3) of one hand, rotated and scaled, before a blur of itself, and its keypoints."""
    rng = np.random.default_rng(seed)
    for sample in render_samples(rng, count):
        image = sample.image
        scale, angle = rng.uniform(0.7, 1.7), rng.normal(0, ROTATION_STD_RAD)
        rotation = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        shift = FRAME_SIZE / 2 - rotation @ np.full(2, CROP_SIZE / 2)
        affine = np.concatenate([rotation, shift[:, None]], axis=1)
        behind = cv2.resize(cv2.GaussianBlur(image, (0, 0), 30), (FRAME_SIZE, FRAME_SIZE))
        frame = cv2.warpAffine(image, affine, (FRAME_SIZE, FRAME_SIZE), dst=behind, borderMode=cv2.BORDER_TRANSPARENT)
        yield (
            frame.astype(np.uint8, copy=False),
            apply_affine(affine, (sample.labels["keypoints_crop"] + 1) * CROP_SIZE / 2),
        )


def _same_hand(true_px: FloatArray, found_px: FloatArray) -> bool:
    extent = float(np.ptp(true_px, axis=0).max())
    return float(np.linalg.norm(true_px - found_px, axis=1).mean()) < SAME_HAND * extent


def crop_difference(true_px: FloatArray, found_px: FloatArray) -> FloatArray:
    """Return (4,): rotation in degrees, shift (2,) in crop sides, ln of the side's ratio; keypoints (21, 2) of a hand.

    ``crop_from_image_affine`` with this jitter makes of the true keypoints the crop of the found ones.
    """
    found, true = crop_from_image_affine(found_px, "right"), crop_from_image_affine(true_px, "right")
    angle = math.atan2(found[0, 1], found[0, 0]) - math.atan2(true[0, 1], true[0, 0])
    angle = math.remainder(angle, 2 * math.pi)
    rotated = crop_from_image_affine(true_px, "right", rotation_rad=angle)
    ratio = math.hypot(*rotated[0, :2]) / math.hypot(*found[0, :2])
    centre = apply_affine(rotated, apply_affine(invert_affine(found), np.full(2, CROP_SIZE / 2)))
    shift = (centre / CROP_SIZE - 0.5) / ratio
    return np.array([math.degrees(angle), *shift, math.log(ratio)])


def table(differences: FloatArray, searched: int) -> list[str]:
    """Return lines with percentiles of differences (N, 4), robust standard deviation, and the number of hands."""
    lines = [f"{len(differences)} right hands found in {searched}; side {CROP_SIDE_PER_EXTENT} per extent"]
    lines.append(f"{'':20}" + "".join(f"{f'{percent} %':>9}" for percent in PERCENTILES) + f"{'sd':>9}")
    for name, column in zip(NAMES, differences.T, strict=True):
        values = np.percentile(column, PERCENTILES)
        values = np.append(values, (values[3] - values[1]) / 2)
        lines.append(f"{name:20}" + "".join(f"{value:9.3f}" for value in values))
    return lines


if __name__ == "__main__":
    sys.exit(tools.run("crop_jitter"))
