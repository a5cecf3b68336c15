"""``handviz benchmark``: the program's own loop in its window, and MediaPipe alone on the same frames."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Literal

from tqdm import tqdm

from handviz.core.arguments import (
    AsJson,
    Count,
    HandModelFile,
    ModelFolder,
    Option,
    between,
    some_words,
    whole,
    whole_number,
)
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import print_json, print_result
from handviz.core.paths import MODELS
from handviz.core.records import ModelId
from handviz.detection.detectors import DetectorOption
from handviz.evaluation.performance.costs import output_costs_ms
from handviz.evaluation.performance.measures import AloneMeasures, LoopRun, Scenario
from handviz.evaluation.performance.mediapipe_alone import endless, mediapipe_alone
from handviz.evaluation.performance.report import Results, json_values, lines
from handviz.evaluation.performance.sources import IMAGES, Image, RenderedHands, render
from handviz.models.registry import model_ids
from handviz.pipeline.display import model_display
from handviz.pipeline.image_request import ModelChoices, compared_models
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import MAX_HANDS_OF_CLIPS, MAX_HANDS_OF_IMAGES, PipelineConfig, PipelineSettings
from handviz.rendering.offscreen import OffscreenRenderer
from handviz.sources.source import Source, open_source

RENDERED = "rendered:"
TEXTURES = {"off": (False,), "on": (True,), "both": (False, True)}
ONE, TWO = 1, 2
OUTPUT_FRAMES = 60


def _hands(words: Sequence[str]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(int(whole_number(word, ONE, TWO)) for word in some_words(words)))


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Models, sources and duration; without options each model of the registry, in about three minutes."""

    model: Annotated[
        tuple[ModelId, ...], Option(metavar="MODEL ...", choices=model_ids, words="*", help="Measure these models.")
    ] = ()
    hands: Annotated[tuple[int, ...], Option(metavar="1 2", words="*", read=_hands)] = (ONE, TWO)
    """Hands in view of the rendered source."""
    texture: Literal["off", "on", "both"] = "both"
    """Measure without textures of the hands, with them, or one after the other."""
    source: str | None = None
    """A clip, folder or camera:0 instead of the rendered hands."""
    compare: bool = False
    """All models of every frame, four at most, in a pane each, instead of each model alone."""
    compare_with: ModelChoices = ()
    max_hands: Annotated[int, whole(ONE, MAX_HANDS_OF_IMAGES)] = MAX_HANDS_OF_CLIPS
    """Hands looked for in a frame, by the program and by MediaPipe."""
    detector: DetectorOption = "handviz"
    seconds: Annotated[float, between(0.1, 3600)] = 3.0
    """Of the playing loop, for each model, number of hands and texture."""
    frames: Count = 40
    """Frames that are measured one by one, for each of the same."""
    mediapipe_frames: Count = 150
    """Of MediaPipe alone, for each setting."""
    without_mediapipe: bool = False
    """Leave out the comparison; MediaPipe's library is not loaded for it then."""
    outputs: bool = False
    """Measure recording and streaming too."""
    model_dir: ModelFolder = MODELS
    hand_model: HandModelFile = None
    as_json: AsJson = False

    def scenarios(self) -> tuple[Scenario, ...]:
        """Return what is measured, in order."""
        found = []
        for (text, hands), (model, compared), texture in itertools.product(
            self._sources(), self._models(), TEXTURES[self.texture]
        ):
            found.append(Scenario(model, text, hands, texture, compared))
        return tuple(found)

    def _sources(self) -> list[tuple[str, int | None]]:
        if self.source is not None:
            return [(self.source, None)]
        return [(f"{RENDERED}{count}", count) for count in self.hands]

    def _models(self) -> list[tuple[ModelId, tuple[ModelId, ...]]]:
        models = self.model or model_ids()
        if not (self.compare or self.compare_with):
            return [(model, ()) for model in models]
        first = self.model[0] if self.model else "final"
        return [(first, compared_models(first, self.compare_with))]


class Sources:
    """The sources of a run, by their texts; hands are rendered once, and what cannot be opened is a HandvizError."""

    def __init__(self, scenarios: Sequence[Scenario]) -> None:
        counts = {scenario.source: scenario.hands for scenario in scenarios}
        self._images = {text: _rendered(count) for text, count in counts.items() if count is not None}
        self._counts = counts
        self.descriptions: Mapping[str, str] = dict(self._described())
        """Of each source, by its text."""

    def open(self, text: str) -> Source:
        """Open a source anew."""
        count = self._counts.get(text)
        return open_source(text) if count is None else RenderedHands(self._images[text], count)

    def _described(self) -> Iterator[tuple[str, str]]:
        for text in self._counts:
            source = self.open(text)
            yield text, source.description
            source.close()


def _rendered(hands: int) -> list[Image]:
    with tqdm(total=IMAGES, unit="image", desc=f"rendering {hands} in view", leave=False) as bar:
        return render(hands, progress=bar.update)


def run(arguments: Arguments) -> int:
    """Measure and print; return 0 if anything could be measured."""
    scenarios = arguments.scenarios()
    loop_run, sources = _run_loop(arguments, scenarios)
    if all(loop.live is None for loop in loop_run.loops):
        raise HandvizError("; ".join({loop.failure for loop in loop_run.loops}), ErrorCode.NO_RESULT)
    # Afterwards, so that MediaPipe's library is not there while the program is measured.
    alone = [] if arguments.without_mediapipe else _alone(arguments, sources)
    outputs = _outputs(arguments, scenarios[0], sources) if arguments.outputs else None
    results = Results(loop_run, arguments.max_hands, sources.descriptions, alone, outputs)
    if arguments.as_json:
        print_json(json_values(results))
    else:
        for line in lines(results):
            print_result("%s", line)
    return 0


def _run_loop(arguments: Arguments, scenarios: Sequence[Scenario]) -> tuple[LoopRun, Sources]:
    # Here, since commands must be listed, and their options explained, without Qt; and before hands are rendered.
    from handviz.gui.app import WindowArguments
    from handviz.gui.measured_run import Measuring, measure_loop

    sources = Sources(scenarios)
    options = WindowArguments(
        source=scenarios[0].source,
        model_dir=arguments.model_dir,
        hand_model=arguments.hand_model,
        detector=arguments.detector,
    )
    with tqdm(total=len(scenarios), unit="setting", desc="the program's loop", leave=False) as bar:
        measuring = Measuring(
            scenarios,
            sources.open,
            max_hands=arguments.max_hands,
            seconds=arguments.seconds,
            frames=arguments.frames,
            progress=bar.update,
        )
        return measure_loop(options, measuring), sources


def _alone(arguments: Arguments, sources: Sources) -> list[AloneMeasures]:
    """Measure MediaPipe at the program's number of hands, and at one."""
    settings, found = tuple(dict.fromkeys((arguments.max_hands, ONE))), list[AloneMeasures]()
    with tqdm(total=len(sources.descriptions), unit="source", desc="MediaPipe alone", leave=False) as bar:
        for text in sources.descriptions:
            found += mediapipe_alone(text, sources.open, settings, arguments.mediapipe_frames)
            bar.update()
    return found


def _outputs(arguments: Arguments, scenario: Scenario, sources: Sources) -> dict[str, list[float]]:
    settings = PipelineSettings(scenario.model, texture=scenario.texture, max_hands=arguments.max_hands)
    config = PipelineConfig(arguments.model_dir, arguments.hand_model, detector=arguments.detector)
    with ExitStack() as resources:
        source = sources.open(scenario.source)
        resources.callback(source.close)
        pipeline = resources.enter_context(Pipeline(settings, config))
        renderer = resources.enter_context(OffscreenRenderer(model_display(pipeline.template), samples=None))
        results = (pipeline.process(frame) for frame in itertools.islice(endless(source), OUTPUT_FRAMES))
        return output_costs_ms((result, renderer.draw(result)) for result in results)
