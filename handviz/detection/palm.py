"""MediaPipe's palm detector in ONNX Runtime: images -> palms, and the squares around their hands.

The network sees an image of 192 x 192 pixels and answers at 2016 anchors, each with a box and seven keypoints of a
palm. How anchors lie, boxes overlap and squares are turned is that of MediaPipe's graph (Zhang et al., MediaPipe Hands,
2020, and its graph files), so that the landmark network gets the crops that it was trained on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import apply_affine
from handviz.core.paths import PALM_FILE
from handviz.core.records import CROP_SIZE, Device, FloatArray
from handviz.detection.task_networks import TaskNetwork

PALM_SIZE = 192
MIN_SIDE_PX = 8
"""Smaller images are not searched."""
PALM_SCORE = 0.5
"""Least score of a palm where an image is searched once; of photographs less is asked for, and many views vote."""
GRIDS = ((24, 2), (12, 6))
"""Cells along a side, and anchors in each cell, in the order of the network's answers."""
ANCHOR_COUNT, NUMBERS = 2016, 18
KEYPOINTS = 7
WRIST, MIDDLE_KNUCKLE = 0, 2
"""Of a palm's seven keypoints."""
MAX_OVERLAP = 0.3
"""Intersection over union of two boxes from which they are one palm."""
SIDE_PER_BOX, SHIFT_PER_BOX = 2.6, 0.5
"""The hand's square: its side and its step towards the fingers, in sides of the palm's box."""
SAME_PALM = 0.25
"""Mean distance of the keypoints of one palm in two squares, in sides of its box."""
MAX_LOGIT = 100.0
MEDIAPIPE_TURN_RAD = 90 - 14 * 2 * math.pi - math.pi / 2
"""MediaPipe turns the squares of palms by so much more than upright: its graph states the target angle of 90 degrees
where radians are read. Its hands of later frames, whose squares come from landmarks, are upright."""


@dataclass(frozen=True, eq=False)
class Palm:
    """One palm in an image."""

    score: float
    """0 to 1."""
    box: FloatArray
    """(4,) left, top, right, bottom in pixels."""
    keypoints_px: FloatArray
    """(7, 2): wrist, knuckles of index, middle, ring and little finger, two of the thumb."""


@dataclass(frozen=True, eq=False)
class HandSquare:
    """A turned square of an image in which a hand is looked for."""

    centre_px: FloatArray
    """(2,)"""
    side_px: float
    angle_rad: float
    """From the image's vertical to the hand's, clockwise."""

    def image_from_square(self, size_px: int = CROP_SIZE) -> FloatArray:
        """Return the affine (2, 3) from pixels of the square, resampled to ``size_px``, to those of the image."""
        cosine, sine = math.cos(self.angle_rad), math.sin(self.angle_rad)
        linear = np.array([[cosine, -sine], [sine, cosine]]) * (self.side_px / size_px)
        return np.column_stack([linear, self.centre_px - linear @ np.full(2, size_px / 2)])

    def cut_out(
        self, image: NDArray[np.uint8], size_px: int = CROP_SIZE, *, border: int = cv2.BORDER_REPLICATE
    ) -> NDArray[np.uint8]:
        """Resample the square (``size_px``, ``size_px``, 3) from an image (H, W, 3); ``border``: outside of it."""
        # As MediaPipe does, which lets whole numbers be the corners here and the centres of pixels there.
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        affine = self.image_from_square(size_px)
        size = (size_px, size_px)
        return np.asarray(cv2.warpAffine(image, affine, size, flags=flags, borderMode=border), np.uint8)


class PalmDetector:
    """The palm detector, for any number of images at once; for any thread."""

    def __init__(self, path: Path = PALM_FILE, *, device: Device = "auto") -> None:
        """Load it; HandvizError if the file, or the task file that has its weights, is missing or another."""
        outputs = {"boxes": (ANCHOR_COUNT, NUMBERS), "scores": (ANCHOR_COUNT,)}
        self._network = TaskNetwork(path, outputs, size_px=PALM_SIZE, device=device)
        self.provider: str = self._network.provider
        """The execution provider in use."""
        self.file = self._network.file
        """The file that it was loaded from."""

    def find(self, images: Sequence[NDArray[np.uint8]], min_score: float) -> list[list[Palm]]:
        """Return the palms of each image (H, W, 3) RGB, best first."""
        if not images:
            return []
        squares = [whole_square(image) for image in images]
        cut = [
            square.cut_out(image, PALM_SIZE, border=cv2.BORDER_CONSTANT)
            for square, image in zip(squares, images, strict=True)
        ]
        return self.find_in_squares(cut, squares, min_score)

    def find_in_squares(
        self, cut: Sequence[NDArray[np.uint8]], squares: Sequence[HandSquare], min_score: float
    ) -> list[list[Palm]]:
        """Return the palms that squares of an image, cut out as (192, 192, 3) RGB, show, in the image's pixels."""
        batch = np.stack(cut).transpose(0, 3, 1, 2)
        found = self._network.run(np.ascontiguousarray(batch))
        return [
            palms_of(boxes, scores, square, min_score)
            for boxes, scores, square in zip(found["boxes"], found["scores"], squares, strict=True)
        ]


def whole_square(image: NDArray[np.uint8]) -> HandSquare:
    """Return the smallest upright square that contains an image (H, W, 3), about its centre."""
    height, width = image.shape[:2]
    return HandSquare(np.array([width / 2, height / 2]), float(max(height, width)), 0.0)


def anchor_centres() -> FloatArray:
    """Return the centres (2016, 2) of the anchors in [0, 1], x right, y down."""
    centres = []
    for cells, count in GRIDS:
        y, x = np.divmod(np.arange(cells * cells), cells)
        centres.append(np.repeat((np.stack([x, y], axis=1) + 0.5) / cells, count, axis=0))
    return np.concatenate(centres)


ANCHORS = anchor_centres()


def palms_of(boxes: FloatArray, scores: FloatArray, square: HandSquare, min_score: float) -> list[Palm]:
    """Return the palms of the network's answers (2016, 18) and logits (2016,) in a square of an image, best first."""
    least = math.log(min_score / (1 - min_score))
    chosen = np.flatnonzero(scores >= least)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    numbers = boxes[chosen].astype(np.float64).reshape(-1, NUMBERS // 2, 2) / PALM_SIZE
    centres = numbers[:, 0] + ANCHORS[chosen]
    halves = numbers[:, 1] / 2
    points = np.concatenate(
        [np.stack([centres - halves, centres + halves], axis=1), numbers[:, 2:] + ANCHORS[chosen][:, None]], axis=1
    )
    certain = 1 / (1 + np.exp(-np.clip(scores[chosen].astype(np.float64), -MAX_LOGIT, MAX_LOGIT)))
    return [_palm(score, merged, square) for score, merged in _merged(points, certain)]


def _merged(points: FloatArray, scores: FloatArray) -> list[tuple[float, FloatArray]]:
    """Return the best score and the points (9, 2), averaged by score, of each group of overlapping boxes."""
    found = []
    left = np.arange(len(scores))
    while len(left):
        overlaps = _union_fractions(points[left[0], :2], points[left, :2]) > MAX_OVERLAP
        overlaps[0] = True
        same = left[overlaps]
        weights = scores[same] / scores[same].sum()
        found.append((float(scores[left[0]]), np.tensordot(weights, points[same], axes=1)))
        left = left[~overlaps]
    return found


def _union_fractions(box: FloatArray, boxes: FloatArray) -> FloatArray:
    """Return intersection over union (N,) of a box (2, 2), corners, with boxes (N, 2, 2)."""
    low, high = np.maximum(box[0], boxes[:, 0]), np.minimum(box[1], boxes[:, 1])
    overlap = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(np.maximum(boxes[:, 1] - boxes[:, 0], 0), axis=1)
    area = float(np.prod(np.maximum(box[1] - box[0], 0)))
    return np.asarray(overlap / np.maximum(areas + area - overlap, 1e-12))


def _palm(score: float, points: FloatArray, square: HandSquare) -> Palm:
    """Return a palm whose points (9, 2) are fractions of a square; its box stays upright where the square is turned."""
    affine = square.image_from_square(1)
    middle_px, half_px = apply_affine(affine, points[:2].mean(axis=0)), (points[1] - points[0]) / 2 * square.side_px
    return Palm(score, np.concatenate([middle_px - half_px, middle_px + half_px]), apply_affine(affine, points[2:]))


def same_palm(first: Palm, second: Palm) -> bool:
    """Return whether two palms, found in different squares of an image, are one."""
    side_px = float(max(np.max(palm.box[2:] - palm.box[:2]) for palm in (first, second)))
    return bool(np.linalg.norm(first.keypoints_px - second.keypoints_px, axis=1).mean() < SAME_PALM * side_px)


def square_of_palm(palm: Palm, *, turn_rad: float = MEDIAPIPE_TURN_RAD) -> HandSquare:
    """Return the square of the hand that a palm belongs to; ``turn_rad`` 0: with the hand upright in it."""
    direction = palm.keypoints_px[MIDDLE_KNUCKLE] - palm.keypoints_px[WRIST]
    angle = math.atan2(direction[0], -direction[1]) + turn_rad
    low, high = palm.box[:2], palm.box[2:]
    width, height = high - low
    towards_fingers = np.array([math.sin(angle), -math.cos(angle)])
    centre = (low + high) / 2 + towards_fingers * (SHIFT_PER_BOX * height)
    return HandSquare(centre, float(max(width, height)) * SIDE_PER_BOX, angle)


SQUARE_KEYPOINTS = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
"""Of a hand: those of the palm and the first bones of the fingers, whatever the fingers do."""
SIDE_PER_HAND, SHIFT_PER_HAND = 2.0, 0.1
"""As ``SIDE_PER_BOX`` and ``SHIFT_PER_BOX``, of the box of those keypoints in the hand's axes."""


def square_of_hand(keypoints_px: FloatArray) -> HandSquare:
    """Return the square in which MediaPipe looks for a hand (21, 2) again in the next frame."""
    knuckles = (keypoints_px[5] + keypoints_px[13] + 2 * keypoints_px[9]) / 4
    direction = knuckles - keypoints_px[0]
    angle = math.atan2(direction[0], -direction[1])
    cosine, sine = math.cos(angle), math.sin(angle)
    axes = np.array([[cosine, -sine], [sine, cosine]])
    points = keypoints_px[list(SQUARE_KEYPOINTS)] @ axes
    low, high = points.min(axis=0), points.max(axis=0)
    width, height = high - low
    centre = axes @ ((low + high) / 2 - np.array([0.0, SHIFT_PER_HAND * height]))
    return HandSquare(centre, float(max(width, height)) * SIDE_PER_HAND, angle)
