"""Crops of hands from an unlabelled clip or folder, with the detector's 2D keypoints in them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handviz.core.errors import HandvizError
from handviz.core.geometry import apply_affine
from handviz.core.records import CROP_SIZE, Detection, DetectorChoice, FloatArray, Frame, HandednessSetting
from handviz.detection.crop import CROP_SIDE_PER_EXTENT, crop_from_image_affine, cut_out
from handviz.detection.detectors import make_detector
from handviz.detection.tracking import HandTracker, override_handedness
from handviz.sources.source import ClipSource, Source

ROTATION_STD_RAD, LOG_SIZE_SD, SHIFT_SD = 0.2, 0.1, 0.03
"""Jitter of additional cuts, like other detections: rotation, logarithm of size, shift in fractions of the side."""
MAX_HANDS = 2
"""Detections of a frame among which its hand is chosen."""
WIDE_PX, WIDE_SIDE_PER_EXTENT = 384, 2.8
"""Stored surroundings of a hand, to cut it again: finer than a crop, and half as wide again."""


@dataclass(frozen=True, eq=False)
class ClipCrops:
    """N hands in the order of their frames."""

    numbers: NDArray[np.int64]
    """(N,) of the frames"""
    crops: NDArray[np.uint8]
    """(N, 224, 224, 3) RGB, cut as the program cuts them"""
    wide: NDArray[np.uint8]
    """(N, 384, 384, 3) RGB"""
    wide_from_image: FloatArray
    """(N, 2, 3)"""
    detections: tuple[Detection, ...]
    frames: int
    """count of all frames read, including those without a hand"""
    is_clip: bool
    """frames follow each other"""

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self, chosen: NDArray[np.int64]) -> "ClipCrops":
        """Return some of the hands."""
        return replace(
            self,
            numbers=self.numbers[chosen],
            crops=self.crops[chosen],
            wide=self.wide[chosen],
            wide_from_image=self.wide_from_image[chosen],
            detections=tuple(self.detections[row] for row in chosen),
        )


class Cuts(NamedTuple):
    """Crops of hands with the detector's keypoints in them."""

    crops: NDArray[np.uint8]
    """(N, 224, 224, 3)"""
    affines: FloatArray
    """(N, 2, 3) crop_from_image"""
    keypoints: FloatArray
    """(N, 21, 2) crop half-sides"""


class _Hand(NamedTuple):
    """One hand of one frame, as ``ClipCrops`` keeps it."""

    number: int
    crop: NDArray[np.uint8]
    wide: NDArray[np.uint8]
    wide_from_image: FloatArray
    detection: Detection


def cuts_of(hands: ClipCrops, *, height_fraction: float = 1.0, rng: np.random.Generator | None = None) -> Cuts:
    """Cut every hand once, as the program does or jittered, from images made ``height_fraction`` times as high."""
    stretch = np.diag([1.0, height_fraction])
    affines = np.stack([_affine(detection, stretch, rng) for detection in hands.detections])
    if rng is None and height_fraction == 1.0:
        crops = hands.crops
    else:
        back = [np.vstack([wide, [0, 0, 1]]) for wide in hands.wide_from_image]
        from_wide = [affine @ np.linalg.inv(wide) for affine, wide in zip(affines, back, strict=True)]
        crops = np.stack([cut_out(wide, affine) for wide, affine in zip(hands.wide, from_wide, strict=True)])
    in_crop = [apply_affine(a, hand.keypoints_px) for a, hand in zip(affines, hands.detections, strict=True)]
    return Cuts(crops, affines, np.stack(in_crop) / (CROP_SIZE / 2) - 1)


def crops_of(
    source: Source, *, every: int, limit: int, side: HandednessSetting, detector: DetectorChoice = "handviz"
) -> ClipCrops:
    """Return one hand per frame of every ``every``-th frame, up to ``limit``; HandvizError if a clip cannot be read."""
    total = min(limit, -(-(source.frame_count or limit * every) // every))
    follows = isinstance(source, ClipSource)
    frames = _frames(source, every, limit)
    return crops_of_frames(frames, follows=follows, side=side, total=total, detector=detector)


def crops_of_frames(
    frames: Iterable[Frame],
    *,
    follows: bool,
    side: HandednessSetting,
    total: int,
    detector: DetectorChoice = "handviz",
) -> ClipCrops:
    """Return ``crops_of`` frames; ``follows``: whether they follow each other."""
    hands: list[_Hand] = []
    read = 0
    tracker = HandTracker(video=follows)
    with closing(make_detector(detector, max_hands=MAX_HANDS, video=follows, tracker=tracker)) as detecting:
        for frame in tqdm(frames, total=total, unit="image", desc="hands"):
            read += 1
            detections = override_handedness(tracker.update(detecting.detect(frame)[:MAX_HANDS]), side)
            if detections:
                best = max(detections, key=lambda hand: hand.score)
                # Cut around its keypoints, not where it was expected: the cut is what is trained on.
                hands.append(_cut(frame, replace(best, crop=None)))
    hands = _of_one_side(hands) if follows and side == "detected" else hands
    return _joined(hands, read, follows)


def _frames(source: Source, every: int, limit: int) -> Iterator[Frame]:
    """Yield readable frames; a damaged end stops, a damaged image of a folder is skipped."""
    yielded = number = 0
    while yielded < limit:
        try:
            frame = source.read()
        except HandvizError:
            if isinstance(source, ClipSource) and not yielded:
                raise
            number += 1
            continue
        if frame is None:
            return
        if number % every == 0:
            yielded += 1
            yield frame
        number += 1


def _of_one_side(hands: list[_Hand]) -> list[_Hand]:
    """Return the hands of a clip's more frequent side: a side that changes for a few frames is an error."""
    votes = Counter(hand.detection.handedness for hand in hands)
    return [hand for hand in hands if hand.detection.handedness == votes.most_common(1)[0][0]]


def _cut(frame: Frame, detection: Detection) -> _Hand:
    keypoints_px, side = detection.keypoints_px, detection.handedness
    affine = crop_from_image_affine(keypoints_px, side, side_per_extent=WIDE_SIDE_PER_EXTENT)
    wide, from_image = _wide(frame.image, affine)
    crop = cut_out(frame.image, crop_from_image_affine(keypoints_px, side))
    return _Hand(frame.number, crop, wide, from_image, detection)


def _wide(image: NDArray[np.uint8], affine: FloatArray) -> tuple[NDArray[np.uint8], FloatArray]:
    """Cut the square of an affine to 224 pixels at 384 pixels instead."""
    finer = affine * (WIDE_PX / CROP_SIZE)
    half = np.full(2, 0.5)
    for_cv = finer.copy()
    for_cv[:, 2] += finer[:, :2] @ half - half
    return np.asarray(cv2.warpAffine(image, for_cv, (WIDE_PX, WIDE_PX), flags=cv2.INTER_LINEAR), np.uint8), finer


def _joined(hands: list[_Hand], read: int, is_clip: bool) -> ClipCrops:
    return ClipCrops(
        numbers=np.array([hand.number for hand in hands], np.int64),
        crops=np.array([hand.crop for hand in hands], np.uint8),
        wide=np.array([hand.wide for hand in hands], np.uint8),
        wide_from_image=np.array([hand.wide_from_image for hand in hands]),
        detections=tuple(hand.detection for hand in hands),
        frames=read,
        is_clip=is_clip,
    )


def _affine(detection: Detection, stretch: FloatArray, rng: np.random.Generator | None) -> FloatArray:
    """Return crop_from_image (2, 3) of a hand in images that are stretched by (2, 2) before they are cut."""
    keypoints_px, side = detection.keypoints_px @ stretch, detection.handedness
    if rng is None:
        affine = crop_from_image_affine(keypoints_px, side)
    else:
        affine = crop_from_image_affine(
            keypoints_px,
            side,
            rotation_rad=float(rng.normal(0, ROTATION_STD_RAD)),
            side_per_extent=CROP_SIDE_PER_EXTENT * float(np.exp(rng.normal(0, LOG_SIZE_SD))),
            shift=rng.normal(0, SHIFT_SD, 2),
        )
    return np.concatenate([affine[:, :2] @ stretch, affine[:, 2:]], axis=1)
