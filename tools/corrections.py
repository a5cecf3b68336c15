"""Measure what the corrections after the network cost: median milliseconds a hand of every step, over the bundled clip.

The networks run once, and their answers are replayed: only the steps in NumPy are timed. Set OMP_NUM_THREADS=1 to
measure one thread.
"""

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from tqdm import tqdm

import tools
from handviz.core.arguments import Count
from handviz.core.camera_model import ASSUMED_CAMERA, UNMEASURED, intrinsics_of_frame
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import print_result
from handviz.core.paths import CLIP_FILE
from handviz.core.records import SMOOTHING_KINDS, Frame, HandCrop, HandMesh, NetworkFile, NetworkOutput, PlacedHand
from handviz.detection.crop import CropView, crop_hand, hand_mesh_from_crop
from handviz.detection.tracking import HandTracker
from handviz.hand_models.template import HandTemplate
from handviz.models.base import LoadContext
from handviz.models.reconstructor import LoadedModel, check_answer
from handviz.models.registry import ModelChoice, model_spec
from handviz.pipeline.kalman import make_smoother
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.posterior import (
    error_model,
    network_shape,
    with_image_landmarks,
    with_posterior,
    with_world_landmarks,
)
from handviz.pipeline.reconstruction import FrameConditions, HandMaker
from handviz.pipeline.refinement import with_measured_size
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.sources.clips import ClipSource

Result = TypeVar("Result")
WARM_UP_FRAMES = 10
OTHER_STEPS = ("one_euro", "crop", "track")
"""Timed too, but not in the sum: the other smoother, and what comes before the network."""


@dataclass(frozen=True, eq=False)
class Answered:
    """A frame's crops and what the network said of them."""

    frame: Frame
    crops: list[HandCrop]
    outputs: list[NetworkOutput]


def recorded(model: LoadedModel, limit: int) -> Iterator[Answered]:
    """Yield the first frames with hands, at most ``limit``, of the bundled clip."""
    source = ClipSource(CLIP_FILE)
    settings = PipelineSettings(model=model.spec.id)
    with Pipeline(settings, PipelineConfig(preload_others=False)) as pipeline:
        while limit and (frame := source.read()):
            crops = list(pipeline.process(frame).crops)
            if crops:
                limit -= 1
                yield Answered(frame, crops, model.reconstruct(crops))
    source.close()


class Replay:
    """A reconstructor that answers with what was recorded."""

    def __init__(self, model: LoadedModel) -> None:
        self.template: HandTemplate = model.template
        self.provider: str = model.provider
        self.file: NetworkFile = model.file
        self.outputs: list[NetworkOutput] = []

    def reconstruct(self, crops: Sequence[HandCrop], /) -> list[NetworkOutput]:
        """Return the recorded hands of these crops."""
        assert len(crops) == len(self.outputs)
        return self.outputs


class Stopwatch:
    """The times of steps by name and by the number of hands in the frame, in milliseconds a hand."""

    def __init__(self) -> None:
        self.times_ms: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def timed(self, name: str, hands: int, call: Callable[[], Result]) -> Result:
        """Call; add the time to those of the step ``name``."""
        start_s = time.thread_time()
        result = call()
        self.times_ms[hands][name].append((time.thread_time() - start_s) * 1000 / hands)
        return result

    def medians_ms(self) -> dict[int, dict[str, float]]:
        """Return the median of every step by the number of hands."""
        return {
            hands: {name: statistics.median(times) for name, times in steps.items()}
            for hands, steps in sorted(self.times_ms.items())
        }


class Corrections:
    """The steps after one network, each alone and all as the pipeline runs them."""

    def __init__(self, model: LoadedModel) -> None:
        self._model, self._replay, config = model, Replay(model), PipelineConfig()
        context = LoadContext(config.model_dir)
        self._replayed = LoadedModel(replace(model.spec, load=lambda _: self._replay), context)
        self._maker = HandMaker(config)
        self._lift = self._maker.prepare(model.template)
        self._smoothers = {kind: make_smoother(kind, PipelineSettings().smoothing) for kind in SMOOTHING_KINDS}
        self._smoother = make_smoother("kalman", PipelineSettings().smoothing)
        self._tracker = HandTracker(video=True)

    def all_steps(self, answered: Answered, watch: Stopwatch) -> None:
        """Time everything from the network's answer to the smoothed hands, as the pipeline does it."""
        frame, count = answered.frame, len(answered.crops)
        camera = intrinsics_of_frame(ASSUMED_CAMERA, frame)
        conditions = FrameConditions(frame.image, camera, "detected", UNMEASURED, follows=True)
        self._replay.outputs = answered.outputs

        def corrected() -> tuple[HandMesh, ...]:
            made = self._maker.of_crops(answered.crops, self._replayed, conditions)
            return self._smoother.smooth(made.hands, frame.time_ms or 0.0)

        watch.timed("all", count, corrected)

    def each_step(self, answered: Answered, watch: Stopwatch) -> None:
        """Time every step alone."""
        model, count = self._model, len(answered.crops)
        watch.timed("check", count, lambda: check_answer(model.spec, model.template, answered.outputs, count))
        hands = self._placed(answered, watch)
        for kind, smoother in self._smoothers.items():
            smooth = partial(smoother.smooth, hands, answered.frame.time_ms or 0.0)
            watch.timed(kind, count, smooth)
        found = [crop.detection for crop in answered.crops]
        watch.timed("track", count, lambda: self._tracker.update(found))
        watch.timed("crop", count, lambda: [crop_hand(answered.frame.image, one, model.spec.crop) for one in found])

    def _placed(self, answered: Answered, watch: Stopwatch) -> list[HandMesh]:
        """Time the steps from the network's outputs to hands in the camera frame; return these."""
        count, crops, lift, spec = len(answered.crops), answered.crops, self._lift, self._model.spec
        camera = intrinsics_of_frame(ASSUMED_CAMERA, answered.frame)
        errors = error_model()
        alone = watch.timed("prior", count, lambda: [network_shape(one, errors) for one in answered.outputs])
        posed = watch.timed(
            "landmarks in 3D", count, lambda: [with_world_landmarks(one, errors, lift) for one in alone]
        )
        views = [CropView.of(crop, camera) for crop in crops]
        seen = watch.timed(
            "landmarks in 2D",
            count,
            lambda: [
                with_image_landmarks(shape, PlacedHand(shape.hand), crop, view, lift, errors=errors)
                for shape, crop, view in zip(posed, crops, views, strict=True)
            ],
        )
        moved = watch.timed(
            "posterior", count, lambda: [with_posterior(hand, shape, lift, errors) for shape, hand in seen]
        )
        moved = watch.timed("size", count, lambda: [with_measured_size(one, UNMEASURED) for one in moved])

        def mesh(hand: PlacedHand, crop: HandCrop) -> HandMesh:
            return hand_mesh_from_crop(hand, crop, intrinsics=camera, model=spec.id)

        return watch.timed("mesh", count, lambda: [mesh(*parts) for parts in zip(moved, crops, strict=True)])


def measured(model: LoadedModel, limit: int) -> Mapping[int, Mapping[str, float]]:
    """Return the median milliseconds of every step by the number of hands, over ``limit`` frames of the clip."""
    answers = list(tqdm(recorded(model, limit), total=limit, unit="frame"))
    if not answers:
        raise HandvizError(f"no hands were found in {CLIP_FILE}: restore it with git", ErrorCode.NO_HANDS)
    watch, corrections = Stopwatch(), Corrections(model)
    for answered in answers[:WARM_UP_FRAMES]:
        corrections.all_steps(answered, Stopwatch())
        corrections.each_step(answered, Stopwatch())
    for run in (corrections.all_steps, corrections.each_step):
        for answered in answers:
            run(answered, watch)
    return watch.medians_ms()


def report(medians_ms: Mapping[int, Mapping[str, float]]) -> list[str]:
    """Return a table: a line a step, a column for each number of hands in the frame."""
    lines = ["ms a hand, median" + "".join(f"{f'{hands} hand' + 's' * (hands > 1):>10}" for hands in medians_ms)]
    names = list(next(iter(medians_ms.values())))
    names.sort(key=lambda name: (name in OTHER_STEPS, name == "all"))
    for name in names:
        label = f"{name} (apart)" if name in OTHER_STEPS else name
        lines.append(f"{label:17}" + "".join(f"{steps[name]:10.3f}" for steps in medians_ms.values()))
    return lines


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Frames and model."""

    frames: Count = 270
    """Frames with hands to measure; the clip has 270."""
    model: ModelChoice = "final"
    """The model whose answers are corrected."""


def run(arguments: Arguments) -> int:
    """Record, replay, print the table; return 0."""
    model = LoadedModel(model_spec(arguments.model), LoadContext(PipelineConfig().model_dir))
    for line in report(measured(model, arguments.frames)):
        print_result("%s", line)
    return 0


if __name__ == "__main__":
    sys.exit(tools.run("corrections"))
