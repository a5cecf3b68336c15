"""Run the pipeline over thousands of frames in which hands come, jump and leave, and decide whether memory grows."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import tools
from handviz.core.arguments import Count, Seed, whole
from handviz.core.output import print_result
from handviz.core.process import resident_megabytes
from handviz.core.records import Frame
from handviz.detection.detectors import DetectorOption
from handviz.models.registry import ModelChoice
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from tools.detector_agreement import clip_frames
from tools.soak import MIN_SAMPLES, Sample, growths, has_grown, report, take_sample

CLIP_IMAGES = 30
SCENE_FRAMES = 20
"""Frames until something else happens."""
STEP_MS, BREAK_MS = 1000 / 30, 120_000.0
SIZES = ((640, 480), (320, 240), (800, 600), (480, 640))
SAMPLES = 40


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """How long, and with what."""

    frames: Annotated[int, whole(MIN_SAMPLES * SCENE_FRAMES)] = 10_000
    """Length of the stream."""
    seed: Seed = 0
    model: ModelChoice = "final"
    detector: DetectorOption = "handviz"
    max_hands: Count = 2
    """How many hands the pipeline is asked for."""


def run(arguments: Arguments) -> int:
    """Print a report; exit status 1 if something grew."""
    settings = PipelineSettings(arguments.model, max_hands=arguments.max_hands)
    config = PipelineConfig(detector=arguments.detector, preload_others=False)
    samples, numbers = list[Sample](), set[int]()
    every = max(arguments.frames // SAMPLES, SCENE_FRAMES)
    with Pipeline(settings, config) as pipeline:
        frames = stream(arguments.frames, arguments.seed)
        for frame in tqdm(frames, total=arguments.frames, unit="frame"):
            numbers |= {hand.track_id for hand in pipeline.process(frame).hands}
            if frame.number % every == 0:
                samples.append(take_sample(frame.number * STEP_MS / 1000, resident_megabytes(), 0))
    found = growths(samples)
    for line in report(found):
        print_result("%s", line)
    print_result("%d frames, %d numbers of hands", arguments.frames, len(numbers))
    return int(has_grown(found))


def stream(count: int, seed: int) -> Iterator[Frame]:
    """Yield frames of scenes of the bundled clip that follow each other without warning: see ``_scene``."""
    clip = [one.image for one in clip_frames(CLIP_IMAGES)]
    rng, now_ms, images = np.random.default_rng(seed), 0.0, list[NDArray[np.uint8]]()
    for number in range(count):
        if not images:
            images = _scene(rng, clip)
            now_ms += BREAK_MS * (rng.random() < 0.1)
        now_ms += STEP_MS
        yield Frame(number, images.pop(), now_ms)


def _scene(rng: np.random.Generator, clip: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Return the images of a part of the clip: empty, still or moving, anywhere in the image, of any size."""
    if rng.random() < 0.2:
        return [np.full_like(clip[0], 120) for _ in range(SCENE_FRAMES)]
    start, step = int(rng.integers(len(clip))), int(rng.integers(2))
    shift = int(rng.integers(-200, 200)) if rng.random() < 0.5 else 0
    size = SIZES[rng.integers(len(SIZES))] if rng.random() < 0.3 else SIZES[0]
    shown = (np.roll(clip[(start + step * index) % len(clip)], shift, axis=1) for index in range(SCENE_FRAMES))
    return [np.asarray(cv2.resize(image, size), np.uint8) for image in shown]


if __name__ == "__main__":
    sys.exit(tools.run("stream_soak"))
