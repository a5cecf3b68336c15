"""Unlabelled pictures of a clip or folder -> crops of hands, the detector's 2D keypoints in them, and nothing else."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handviz.capture.sources import ClipSource, Source
from handviz.detect.crop import CROP_SIDE_PER_EXTENT, crop_from_image_affine, cut_out
from handviz.detect.landmarker import HandLandmarker
from handviz.detect.side import sided
from handviz.errors import HandvizError
from handviz.geometry import apply_affine
from handviz.records import CROP_SIZE, KEYPOINT_COUNT, Detection, FloatArray, Frame, SideChoice

JITTERED = 2
"""Further crops of every hand, turned, shifted and larger or smaller, as another detection might have cut it."""
TURN_SD_RAD, LOG_SIZE_SD, SHIFT_SD = 0.2, 0.1, 0.03


@dataclass(frozen=True, eq=False)
class ClipCrops:
    """Crops of N hands in order of their frames, each ``1 + JITTERED`` times; the first is cut as the program cuts."""

    numbers: NDArray[np.int64]
    """(N,) of the frames"""
    crops: NDArray[np.uint8]
    """(N, C, 224, 224, 3) RGB"""
    affines: FloatArray
    """(N, C, 2, 3) crop_from_image"""
    keypoints: FloatArray
    """(N, C, 21, 2) where the detector marks them, crop half-sides"""
    detections: tuple[Detection, ...]
    frames: int
    """read in all, those without a hand included"""
    is_clip: bool
    """frames follow each other"""

    def __len__(self) -> int:
        return len(self.numbers)


class _Hand(NamedTuple):
    """One hand of one frame, as ``ClipCrops`` keeps it."""

    number: int
    crops: NDArray[np.uint8]
    affines: FloatArray
    keypoints: FloatArray
    detection: Detection


def crops_of(source: Source, *, every: int, limit: int, side: SideChoice, seed: int) -> ClipCrops:
    """One hand a frame, of every ``every``-th frame, up to ``limit`` frames; HandvizError if a frame has damage that
    ends the clip before any hand was seen."""
    is_clip = isinstance(source, ClipSource)
    hands: list[_Hand] = []
    read, rng = 0, np.random.default_rng(seed)
    total = min(limit, -(-(source.frame_count or limit * every) // every))
    with HandLandmarker(max_hands=2, video=is_clip) as landmarker:
        for frame in tqdm(_frames(source, every, limit), total=total, unit="picture", desc="hands"):
            read += 1
            detections = sided(landmarker.detect(frame), side)
            if detections:
                hands.append(_cut(frame, max(detections, key=lambda hand: hand.score), rng))
    hands = _of_one_side(hands) if is_clip and side == "detected" else hands
    return _joined(hands, read, is_clip)


def _frames(source: Source, every: int, limit: int) -> Iterator[Frame]:
    """What can be read; a damaged end ends it, a damaged picture of a folder is passed over."""
    given = number = 0
    while given < limit:
        try:
            frame = source.read()
        except HandvizError:
            if isinstance(source, ClipSource) and not given:
                raise
            number += 1
            continue
        if frame is None:
            return
        if number % every == 0:
            given += 1
            yield frame
        number += 1


def _of_one_side(hands: list[_Hand]) -> list[_Hand]:
    """The hands of the side that a clip shows more often: a side that changes for a few frames is an error."""
    votes = Counter(hand.detection.handedness for hand in hands)
    return [hand for hand in hands if hand.detection.handedness == votes.most_common(1)[0][0]]


def _cut(frame: Frame, detection: Detection, rng: np.random.Generator) -> _Hand:
    affines = np.stack([_affine(detection, rng if column else None) for column in range(1 + JITTERED)])
    crops = np.stack([cut_out(frame.image, affine) for affine in affines])
    keypoints = [apply_affine(affine, detection.keypoints_px) / (CROP_SIZE / 2) - 1 for affine in affines]
    return _Hand(frame.number, crops, affines, np.stack(keypoints), detection)


def _joined(hands: list[_Hand], read: int, is_clip: bool) -> ClipCrops:
    count = 1 + JITTERED
    return ClipCrops(
        numbers=np.array([hand.number for hand in hands], np.int64),
        crops=np.array([hand.crops for hand in hands], np.uint8).reshape(-1, count, CROP_SIZE, CROP_SIZE, 3),
        affines=np.array([hand.affines for hand in hands]).reshape(-1, count, 2, 3),
        keypoints=np.array([hand.keypoints for hand in hands]).reshape(-1, count, KEYPOINT_COUNT, 2),
        detections=tuple(hand.detection for hand in hands),
        frames=read,
        is_clip=is_clip,
    )


def _affine(detection: Detection, rng: np.random.Generator | None) -> FloatArray:
    usual = crop_from_image_affine(detection.keypoints_px, detection.handedness)
    if rng is None:
        return usual
    return crop_from_image_affine(
        detection.keypoints_px,
        detection.handedness,
        turn_rad=float(rng.normal(0, TURN_SD_RAD)),
        side_per_extent=CROP_SIDE_PER_EXTENT * float(np.exp(rng.normal(0, LOG_SIZE_SD))),
        shift=rng.normal(0, SHIFT_SD, 2),
    )
