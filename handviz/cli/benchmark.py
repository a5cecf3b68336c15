"""``handviz benchmark``: every stage of the live program, end to end, and MediaPipe alone, all in one run."""

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from tqdm import tqdm

from handviz.core.arguments import AsJson, Count, HandModelFile, ModelFolder, between
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import print_json, print_result
from handviz.core.paths import CLIP_FILE, MODELS
from handviz.core.process import peak_megabytes
from handviz.core.records import Frame, FrameResult, ModelId
from handviz.detection.detectors import DetectorOption
from handviz.detection.landmarker import HandLandmarker
from handviz.evaluation.performance.costs import output_costs_ms
from handviz.evaluation.performance.live_run import LiveMeasures, LiveRun
from handviz.models.registry import ModelChoice
from handviz.pipeline.display import model_display
from handviz.pipeline.image_request import ModelChoices, compared_models, comparing
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.rendering.offscreen import OffscreenRenderer
from handviz.rendering.options import ColourMode, DrawOptions
from handviz.sources.source import Source, open_source

WIDTH, HEIGHT = 640, 480
WARM_UP_FRAMES, OUTPUT_FRAMES = 20, 60
STAGES = ("detect", "crop", "reconstruct", "smooth", "texture")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Source, duration and model."""

    source: str = str(CLIP_FILE)
    """Clip, folder or camera:0."""
    model: ModelChoice = "final"
    colour: ColourMode = "uncertainty"
    """What is drawn."""
    compare: bool = False
    """All models of every frame, four at most, in a pane each."""
    compare_with: ModelChoices = ()
    frames: Count = 2000
    """Frames shown end to end."""
    stage_frames: Count = 200
    """Frames for each stage alone."""
    capture_fps: Annotated[float, between(0.001, 1e6)] = 30.0
    """Pace of the source."""
    max_hands: Count = 2
    """Hands looked for in a frame."""
    detector: DetectorOption = "handviz"
    model_dir: ModelFolder = MODELS
    hand_model: HandModelFile = None
    as_json: AsJson = False

    @property
    def compared(self) -> tuple[ModelId, ...]:
        """The models of every frame; none if one alone is measured."""
        return compared_models(self.model, self.compare_with) if self.compare or self.compare_with else ()


def run(arguments: Arguments) -> int:
    """Measure and print; return 0 if everything ran."""
    with ExitStack() as resources:
        source = open_source(arguments.source)
        resources.callback(source.close)
        settings = PipelineSettings(
            arguments.model,
            others=arguments.compared,
            texture=arguments.colour == "texture",
            max_hands=arguments.max_hands,
        )
        config = PipelineConfig(arguments.model_dir, arguments.hand_model, detector=arguments.detector)
        alone_ms = _mediapipe_alone(source, arguments)
        pipeline = resources.enter_context(Pipeline(settings, config))
        renderer = resources.enter_context(
            OffscreenRenderer(model_display(pipeline.template), WIDTH, HEIGHT, samples=None)
        )
        names = arguments.compared or (arguments.model,)
        shown = f"{'models' if arguments.compared else 'model'} {', '.join(names)}"
        figures = Figures(is_printed=not arguments.as_json)
        figures.add("source", source.description, "%s, %s, %s", source.description, _machine(), shown)
        figures.add("networks", pipeline.provider, "networks run by %s", pipeline.provider)
        _report_stages(source, arguments, pipeline, renderer, alone_ms, figures.part("one_thread"))
        options = _draw_options(arguments)
        live = LiveRun(source, pipeline, lambda result: renderer.draw(result, options), arguments.capture_fps)
        with tqdm(total=arguments.frames, unit="frame", desc="end to end") as bar:
            measures = live.run(arguments.frames, bar.update)
        _report_live(measures, figures.part("end_to_end"))
        if arguments.as_json:
            print_json({"machine": _machine(), "shown": shown, **figures.values})
    return 0


class Figures:
    """Measured values by name: printed as they come, or kept to be printed as JSON."""

    def __init__(self, *, is_printed: bool) -> None:
        self._is_printed = is_printed
        self.values: dict[str, Any] = {}

    def part(self, name: str) -> "Figures":
        """Return new figures below a name of these."""
        inner = Figures(is_printed=self._is_printed)
        self.values[name] = inner.values
        return inner

    def add(self, name: str, value: object, message: str, *values: object) -> None:
        """Keep a value, or print its line."""
        self.values[name] = value
        if self._is_printed:
            print_result(message, *values)

    def add_number(self, name: str, value: float, form: str) -> None:
        """Keep a number, or print its line."""
        self.add(name, value, f"  %-20s {form}", name, value)

    def add_times(self, name: str, milliseconds: Sequence[float] | np.ndarray) -> None:
        """Keep median and 95th percentile in ms, or print their line."""
        median, high = float(np.median(milliseconds)), float(np.percentile(milliseconds, 95))
        self.add(name, {"median_ms": median, "percentile_95_ms": high}, "  %-20s %7.2f %7.2f", name, median, high)


def _draw_options(arguments: Arguments) -> DrawOptions:
    return comparing(arguments.compared, DrawOptions(colour=arguments.colour))


def _mediapipe_alone(source: Source, arguments: Arguments) -> list[float]:
    """Return the detector's milliseconds for each frame, with nothing else running."""
    with HandLandmarker(max_hands=arguments.max_hands) as landmarker:
        frames = _endless(source)
        for _ in range(WARM_UP_FRAMES):
            landmarker.detect(next(frames))
        return [_milliseconds(landmarker.detect, next(frames)) for _ in range(arguments.stage_frames)]


def _report_stages(
    source: Source,
    arguments: Arguments,
    pipeline: Pipeline,
    renderer: OffscreenRenderer,
    alone_ms: Sequence[float],
    figures: Figures,
) -> None:
    """Report the cost of each stage by itself, frame by frame in one thread."""
    frames, results, draw_ms = _endless(source), [], []
    options = _draw_options(arguments)
    for index in range(WARM_UP_FRAMES + arguments.stage_frames):
        result = pipeline.process(next(frames))
        if message := result.failure or result.error:
            raise HandvizError(message, ErrorCode.NO_HANDS)
        milliseconds = _milliseconds(renderer.draw, result, options)
        if index >= WARM_UP_FRAMES:
            results.append(result)
            draw_ms.append(milliseconds)
    hands = np.mean([len(result.hands) for result in results])
    title = "one thread, %d frames, %.2f hands in each: ms, median and 95th percentile"
    figures.add("frames", len(results), title, len(results), hands)
    for model, error in results[-1].other_errors.items():
        figures.add(f"without {model}", error, "  without %s: %s", model, error)
    totals_ms = np.array(draw_ms)
    for stage in STAGES:
        stage_ms = _stage_ms(results, stage)
        totals_ms = totals_ms + stage_ms
        figures.add_times(stage, stage_ms)
    figures.add_times("draw", draw_ms)
    figures.add_times("all stages", totals_ms)
    figures.add_times("MediaPipe alone", alone_ms)
    for name, cost_ms in output_costs_ms(
        (result, renderer.draw(result, options)) for result in results[:OUTPUT_FRAMES]
    ).items():
        figures.add_times(name, cost_ms)
    figures.add_number("ratio to MediaPipe", float(np.median(totals_ms) / np.median(alone_ms)), "%7.2f")


def _report_live(measures: LiveMeasures, figures: Figures) -> None:
    if len(measures.shown_ms) < 2:
        raise HandvizError("fewer than two frames were shown: nothing to measure", ErrorCode.EMPTY_INPUT)
    frames, title = len(measures.age_ms), "end to end, two worker threads and drawing at %dx%d, %d frames"
    figures.add("frames", frames, title, WIDTH, HEIGHT, frames)
    for stage in STAGES:
        figures.add_times(stage, _stage_ms(measures.results, stage))
    figures.add_times("draw", measures.draw_ms)
    figures.add_times("age when shown", measures.age_ms)
    seconds = (measures.shown_ms[-1] - measures.shown_ms[0]) / 1000
    figures.add_number("frames per second", (len(measures.shown_ms) - 1) / seconds, "%7.1f")
    figures.add_number("frames dropped", measures.dropped, "%7d")
    figures.add_number("peak memory", peak_megabytes(), "%7.0f MB")
    figures.add_number("memory drift", memory_drift(measures.resident_megabytes), "%+7.1f MB")


def memory_drift(resident_megabytes: Sequence[float]) -> float:
    """Return the growth in MB from the second tenth of a run (the first warms up) to its last tenth."""
    tenth = max(1, len(resident_megabytes) // 10)
    return float(
        np.median(resident_megabytes[-tenth:]) - np.median(resident_megabytes[tenth : 2 * tenth] or resident_megabytes)
    )


def _stage_ms(results: Sequence[FrameResult], stage: str) -> np.ndarray:
    return np.array([getattr(result.times, f"{stage}_ms") for result in results])


def _milliseconds(call: Callable[..., object], *values: object) -> float:
    start = time.perf_counter()
    call(*values)
    return (time.perf_counter() - start) * 1000


def _endless(source: Source) -> Iterator[Frame]:
    """Yield the source's frames from its beginning, again and again."""
    source.seek(0)
    while True:
        frame = source.read()
        if frame is None:
            source.seek(0)
        else:
            yield frame


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
