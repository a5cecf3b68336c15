"""Measurements of the program's own loop and of MediaPipe alone, and what follows from them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from handviz.core.records import FloatArray, ModelId, StageTimes

STAGES = tuple(item.name.removesuffix("_ms") for item in fields(StageTimes))
"""The pipeline's stages, in their order; drawing comes after them."""


@dataclass(frozen=True)
class Scenario:
    """What the program does while it is measured."""

    model: ModelId
    source: str
    """Text by which it is opened."""
    hands: int | None
    """In view; None: of the user's own source."""
    texture: bool = False
    compared: tuple[ModelId, ...] = ()
    """Models that run on every frame, in a pane each; none: ``model`` alone."""

    @property
    def title(self) -> str:
        """What is measured, in words."""
        models = f"{', '.join(self.compared)} side by side" if self.compared else self.model
        in_view = {None: "", 1: ", one hand in view", 2: ", two hands in view"}[self.hands]
        return f"{models}{in_view}, texture {'on' if self.texture else 'off'}"


@dataclass(frozen=True)
class ShownFrame:
    """A frame that was drawn."""

    times: StageTimes
    draw_ms: float
    age_ms: float
    """From reading the frame to the end of its drawing."""
    hands: int


@dataclass(frozen=True)
class Section:
    """Frames that were shown one after the other, and what they cost together."""

    frames: tuple[ShownFrame, ...]
    wall_s: float
    processor_s: float
    """Of all threads of the process."""
    view_thread_s: float
    """Processor time of the thread that draws and runs the widgets."""
    paints: int
    skipped: int
    """Frames that a newer one replaced before they were reconstructed."""

    def stage_ms(self, stage: str) -> FloatArray:
        """Return the times of a stage, or of "draw", of every frame in ms."""
        if stage == "draw":
            return np.array([frame.draw_ms for frame in self.frames])
        return np.array([getattr(frame.times, f"{stage}_ms") for frame in self.frames])

    def stages_ms(self, *, with_drawing: bool) -> FloatArray:
        """Return the sum of all stages of every frame in ms."""
        stages = (*STAGES, "draw") if with_drawing else STAGES
        return np.sum([self.stage_ms(stage) for stage in stages], axis=0)

    @property
    def age_ms(self) -> FloatArray:
        """Age of every frame when it was shown."""
        return np.array([frame.age_ms for frame in self.frames])

    @property
    def wall_ms_per_frame(self) -> float:
        """Wall time from frame to frame."""
        return self.wall_s * 1000 / len(self.frames)

    @property
    def processor_ms_per_frame(self) -> float:
        """Processor time of all threads for a frame."""
        return self.processor_s * 1000 / len(self.frames)

    @property
    def view_ms_per_frame(self) -> float:
        """Processor time for a frame of the thread that draws and runs the widgets."""
        return self.view_thread_s * 1000 / len(self.frames)

    @property
    def hands(self) -> float:
        """Hands found in a frame, on average."""
        return float(np.mean([frame.hands for frame in self.frames]))


@dataclass(frozen=True)
class LoopMeasures:
    """A scenario in the program's own loop."""

    scenario: Scenario
    one_by_one: Section | None = None
    """Each frame is read when the last one is on the screen: stages do not compete for the processor."""
    live: Section | None = None
    """As the user sees it: the source plays, capture, reconstruction and drawing overlap, the newest frame wins."""
    failure: str = ""
    """Why nothing was measured; mostly empty."""


@dataclass(frozen=True)
class LoopRun:
    """All scenarios of one run of the program."""

    loops: tuple[LoopMeasures, ...]
    idle_fraction: float
    """Processor time of all threads while the source is paused, of one core."""
    view: str
    """What was drawn on."""
    networks: str
    """What the networks run on."""
    peak_megabytes: float
    others_fraction: float = 0.0
    """Of all cores, what other programs took meanwhile; they lengthen all times on the wall."""


@dataclass(frozen=True)
class AloneMeasures:
    """MediaPipe's own hand landmarker on the same frames, with nothing else running."""

    source: str
    """That of the scenarios it is compared with."""
    max_hands: int
    wall_ms: FloatArray
    """Of every frame."""
    processor_ms_per_frame: float
    hands: float


@dataclass(frozen=True)
class Ratios:
    """Times of the program relative to MediaPipe alone at one setting of its hands."""

    max_hands: int
    without_drawing: float
    """Sum of all stages but drawing, one by one: medians."""
    with_drawing: float
    """Sum of all stages, one by one: medians."""
    processor: float
    """Processor time of all threads for a frame of the playing loop."""
    frame: float
    """Wall time from frame to frame of the playing loop."""


def ratios(loop: LoopMeasures, alone: Sequence[AloneMeasures]) -> tuple[Ratios, ...]:
    """Return a loop's ratios to MediaPipe alone on the same source, one for each of MediaPipe's settings."""
    if loop.one_by_one is None or loop.live is None:
        return ()
    found = []
    for one in alone:
        if one.source == loop.scenario.source:
            alone_ms = float(np.median(one.wall_ms))
            stages_ms = (loop.one_by_one.stages_ms(with_drawing=drawing) for drawing in (False, True))
            without, with_drawing = (float(np.median(values)) / alone_ms for values in stages_ms)
            processor = loop.live.processor_ms_per_frame / one.processor_ms_per_frame
            found.append(
                Ratios(one.max_hands, without, with_drawing, processor, loop.live.wall_ms_per_frame / alone_ms)
            )
    return tuple(found)
