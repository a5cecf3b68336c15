"""Compare the hand detector with MediaPipe's own pipeline: the same hands, boxes, landmarks and sides in many images.

Both search an image once, as it is. Images: frames of the bundled clip, rendered scenes, and photographs of a folder.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

import tools
from handviz.core.arguments import Seed
from handviz.core.files import write_files
from handviz.core.output import plain, print_result
from handviz.core.paths import CLIP_FILE
from handviz.core.records import Detection, FloatArray
from handviz.data.synthetic import look
from handviz.data.synthetic.motion import GRAIN
from handviz.data.synthetic.pose import sample_view
from handviz.data.synthetic.stage import HEIGHT, WIDTH, Stage, open_stage, sample_decor
from handviz.detection.detector import HandDetector
from handviz.detection.landmarker import HandLandmarker
from handviz.detection.palm import PALM_SCORE
from handviz.detection.still_search import STILL_PALM_SCORE
from handviz.detection.tracking import box_union_fraction, without_duplicates
from handviz.rendering.studio_parts import Surface
from handviz.sources.images import read_image

Find = Callable[[NDArray[np.uint8]], Sequence[Detection]]
MAX_HANDS = 4
SAME_HAND_UNION = 0.3
"""Least intersection over union of the boxes of one hand found by both."""
NEAREST_M, FURTHEST_M = 0.25, 1.5
SHAPES = ((640, 480), (640, 360), (480, 480), (360, 480), (320, 240))
"""Widths and heights of the parts of rendered images that are searched."""
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
MIN_MEDIAN_UNION, MIN_UNION, MIN_UNION_FRACTION = 0.97, 0.9, 0.95
MAX_MEDIAN_PERCENT, MAX_95_PERCENT = 0.5, 2.0
"""Limits of what may differ: boxes, and landmarks in % of the box's longer side."""
MAX_LOST_FRACTIONS = {PALM_SCORE: 0.0, STILL_PALM_SCORE: 0.01}
"""Of the hands, those that MediaPipe alone may find, by the least score of a palm: none at its own default. Hardly seen
palms have hands whose presence lies at the threshold of both; each is listed."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """How many images, and where results go."""

    clip: int = 80
    """Frames of the bundled clip."""
    rendered: int = 100
    """Rendered scenes of one or two hands."""
    seed: Seed = 0
    images: Path | None = None
    """A folder of photographs besides."""
    results: Path | None = None
    """Write the figures and the exceptions to this JSON file too."""


@dataclass(frozen=True, eq=False)
class NamedImage:
    """An RGB image to search."""

    name: str
    image: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Pair:
    """A hand that both found."""

    union: float
    """intersection over union of the boxes of the landmarks"""
    distances_percent: FloatArray
    """(21,) of the landmarks, % of the longer side of the reference's box"""
    same_side: bool


@dataclass(eq=False)
class Agreement:
    """What both found in a number of images."""

    pairs: list[Pair] = field(default_factory=list)
    only_reference: int = 0
    only_candidate: int = 0
    exceptions: list[str] = field(default_factory=list)
    """Image by image: hands of one alone, and pairs beyond the limits of single hands"""

    def add(self, name: str, reference: Sequence[Detection], candidate: Sequence[Detection]) -> None:
        """Match the hands of one image."""
        pairs = matched(reference, candidate)
        self.only_reference += len(reference) - len(pairs)
        self.only_candidate += len(candidate) - len(pairs)
        self.exceptions += [f"{name}: only MediaPipe, {_place(one)}" for one in _rest(reference, pairs, 0)]
        self.exceptions += [f"{name}: only the detector, {_place(one)}" for one in _rest(candidate, pairs, 1)]
        for first, second in pairs:
            pair = compared(reference[first], candidate[second])
            self.pairs.append(pair)
            mean_percent = float(pair.distances_percent.mean())
            if pair.union <= MIN_UNION or mean_percent >= MAX_95_PERCENT or not pair.same_side:
                side = "" if pair.same_side else ", the other side"
                self.exceptions.append(
                    f"{name}: IoU {pair.union:.3f}, landmarks {mean_percent:.2f} %{side}, {_place(reference[first])}"
                )

    def summary(self) -> dict[str, float]:
        """Return the figures; nan where no hand was found by both."""
        unions = np.array([pair.union for pair in self.pairs] or [np.nan])
        percent = np.concatenate([pair.distances_percent for pair in self.pairs] or [np.full(21, np.nan)])
        return {
            "both": len(self.pairs),
            "only_reference": self.only_reference,
            "only_candidate": self.only_candidate,
            "union_median": float(np.median(unions)),
            "union_fraction": float((unions > MIN_UNION).mean()),
            "landmarks_median_percent": float(np.median(percent)),
            "landmarks_95_percent": float(np.percentile(percent, 95)),
            "same_side_fraction": float(np.mean([float(pair.same_side) for pair in self.pairs] or [np.nan])),
        }

    def holds(self, max_lost_fraction: float = 0.0) -> bool:
        """Return whether the limits are kept; ``max_lost_fraction``: of the hands that MediaPipe alone may find."""
        figures = self.summary()
        return (
            self.only_reference <= max_lost_fraction * (self.only_reference + len(self.pairs))
            and figures["union_median"] > MIN_MEDIAN_UNION
            and figures["union_fraction"] >= MIN_UNION_FRACTION
            and figures["landmarks_median_percent"] < MAX_MEDIAN_PERCENT
            and figures["landmarks_95_percent"] < MAX_95_PERCENT
        )


def matched(reference: Sequence[Detection], candidate: Sequence[Detection]) -> list[tuple[int, int]]:
    """Return the indices of the hands that both found."""
    if not reference or not candidate:
        return []
    unions = np.array(
        [[box_union_fraction(one.keypoints_px, other.keypoints_px) for other in candidate] for one in reference]
    )
    pairs = zip(*linear_sum_assignment(unions, maximize=True), strict=True)
    return [(int(first), int(second)) for first, second in pairs if unions[first, second] > SAME_HAND_UNION]


def compared(reference: Detection, candidate: Detection) -> Pair:
    """Compare two detections of one hand."""
    extent_px = float(np.ptp(reference.keypoints_px, axis=0).max())
    distances_px = np.linalg.norm(reference.keypoints_px - candidate.keypoints_px, axis=1)
    return Pair(
        union=box_union_fraction(reference.keypoints_px, candidate.keypoints_px),
        distances_percent=100 * distances_px / max(extent_px, 1e-6),
        same_side=reference.handedness == candidate.handedness,
    )


def _rest(hands: Sequence[Detection], pairs: Sequence[tuple[int, int]], which: int) -> list[Detection]:
    used = {pair[which] for pair in pairs}
    return [hand for index, hand in enumerate(hands) if index not in used]


def _place(hand: Detection) -> str:
    x, y = hand.keypoints_px.mean(axis=0)
    return (
        f"{hand.handedness} {hand.score:.2f} of {np.ptp(hand.keypoints_px, axis=0).max():.0f} px at ({x:.0f}, {y:.0f})"
    )


def agreement(images: Sequence[NamedImage], reference: Find, candidate: Find) -> Agreement:
    """Search all images with both."""
    found = Agreement()
    for one in tqdm(images, unit="image"):
        found.add(one.name, without_duplicates(reference(one.image)), without_duplicates(candidate(one.image)))
    return found


def clip_frames(count: int) -> Iterator[NamedImage]:
    """Yield evenly spaced frames of the bundled clip."""
    video = cv2.VideoCapture(str(CLIP_FILE))
    try:
        wanted = set(np.linspace(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)) - 1, count).astype(int).tolist())
        number = 0
        while wanted and video.grab():
            if number in wanted:
                _, frame = video.retrieve()
                yield NamedImage(f"hands.mp4 {number}", np.ascontiguousarray(frame[..., ::-1], np.uint8))
                wanted.remove(number)
            number += 1
    finally:
        video.release()


def rendered_scenes(count: int, seed: int) -> Iterator[NamedImage]:
    """Yield scenes of one or two hands anywhere before a camera; the same seed gives the same ones."""
    with open_stage() as stage:
        for number in range(count):
            rng = np.random.default_rng([seed, number])
            surfaces = [_any_arm(stage, rng) for _ in range(1 + number % 2)]
            decor = sample_decor(rng, stage, surfaces)
            image = stage.image(surfaces, decor, number, grain=GRAIN)
            width, height = SHAPES[rng.integers(0, len(SHAPES))]
            x, y = rng.integers(0, WIDTH - width + 1), rng.integers(0, HEIGHT - height + 1)
            yield NamedImage(f"rendered {number}", np.ascontiguousarray(image[y : y + height, x : x + width]))


def _any_arm(stage: Stage, rng: np.random.Generator) -> Surface:
    """Draw an arm of either side in any pose, mostly as people show hands, and any size in the image."""
    hand = stage.poser.sample(rng, 1)[0]
    mirror = np.diag([-1.0 if rng.random() < 0.5 else 1.0, 1.0, 1.0])
    matrix = sample_view(rng) @ mirror
    depth_m = math.exp(rng.uniform(math.log(NEAREST_M), math.log(FURTHEST_M)))
    px = rng.uniform(0.2, 0.8, 2) * [WIDTH, HEIGHT]
    centre_m = np.append((px - stage.intrinsics.centre_px) / stage.intrinsics.focal_px, 1.0) * depth_m
    return stage.arm(look.skin_material(rng), hand, matrix, centre_m - matrix @ (hand.keypoints_m[9] * 0.6))


def photographs(folder: Path) -> Iterator[NamedImage]:
    """Yield the images of a folder."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            yield NamedImage(path.name, read_image(path))


def run(arguments: Arguments) -> int:
    """Search all images with both at two thresholds; exit status 1 if a limit is not kept."""
    images = [*clip_frames(arguments.clip), *rendered_scenes(arguments.rendered, arguments.seed)]
    images += photographs(arguments.images) if arguments.images is not None else []
    found = compare(images)
    for score, one in found.items():
        for line in report(score, one):
            print_result("%s", line)
    if arguments.results is not None:
        figures = {f"{score:g}": one.summary() | {"exceptions": one.exceptions} for score, one in found.items()}
        write_files({arguments.results: (json.dumps(plain(figures), indent=1) + "\n").encode()})
    return int(not all(one.holds(MAX_LOST_FRACTIONS[score]) for score, one in found.items()))


def compare(images: Sequence[NamedImage]) -> dict[float, Agreement]:
    """Return the agreement of MediaPipe and the detector by the least score of a palm."""
    detector, found = HandDetector(), {}
    for score in MAX_LOST_FRACTIONS:
        ours = partial(detector.detect_image, max_hands=MAX_HANDS, min_score=score)
        with HandLandmarker(video=False, max_hands=MAX_HANDS, palm_score=score) as reference:
            found[score] = agreement(images, reference.detect_image, ours)
    return found


def report(score: float, found: Agreement) -> list[str]:
    """Return the lines of a report."""
    figures, is_kept = found.summary(), found.holds(MAX_LOST_FRACTIONS[score])
    return [
        f"palms from {score:g} on: {len(found.pairs)} hands found by both, {found.only_reference} by MediaPipe alone, "
        f"{found.only_candidate} by the detector alone",
        f"  boxes: IoU median {figures['union_median']:.4f}, over {MIN_UNION} in {figures['union_fraction']:.1%}; "
        f"landmarks: median {figures['landmarks_median_percent']:.3f} % of the box, 95 % of them within "
        f"{figures['landmarks_95_percent']:.3f} %; same side {figures['same_side_fraction']:.1%}",
        f"  limits: {'kept' if is_kept else 'NOT KEPT'}",
        *(f"  {line}" for line in found.exceptions),
    ]


if __name__ == "__main__":
    sys.exit(tools.run("detector_agreement"))
