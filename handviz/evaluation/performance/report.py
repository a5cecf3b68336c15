"""The benchmark's results as lines of text and as values of JSON."""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from handviz.core.process import usable_cores
from handviz.core.records import FloatArray
from handviz.evaluation.performance.measures import (
    STAGES,
    AloneMeasures,
    LoopMeasures,
    LoopRun,
    Ratios,
    Section,
    ratios,
)

LEAST_MS = 0.02
"""Of a stage that has a line."""
MAX_OTHERS = 0.1
"""Of all cores: with more than that taken by other programs a report says that its times are too long."""
BUSY = "; times on the wall, frames a second and ages are worse than on an idle machine"
WITHOUT_DRAWING, WITH_DRAWING = "all but drawing", "all stages"


@dataclass(frozen=True)
class Results:
    """Everything that one run of the benchmark measured."""

    run: LoopRun
    max_hands: int
    """Of the program."""
    sources: Mapping[str, str]
    """Description of each scenario's source, by its text."""
    alone: Sequence[AloneMeasures] = ()
    """Empty without the comparison with MediaPipe."""
    outputs_ms: Mapping[str, Sequence[float]] | None = None
    """Costs of recording and streaming, if they were asked for."""


def machine() -> str:
    """Return the system and the cores that this process may use."""
    return f"{platform.system()} {platform.machine()}, {usable_cores()} of {os.cpu_count()} cores"


def lines(results: Results) -> Iterator[str]:
    """Yield the report as text."""
    run = results.run
    yield f"{machine()}; networks run by {run.networks}"
    yield f"view: {run.view}"
    for description in results.sources.values():
        yield f"source: {description}"
    for alone in results.alone:
        yield from _alone_lines(alone, results.sources[alone.source])
    for loop in run.loops:
        yield ""
        yield from _loop_lines(loop, results)
    yield ""
    yield f"idle, source paused: {run.idle_fraction:.1%} of a core"
    yield f"other programs meanwhile: {run.others_fraction:.0%} of all cores{BUSY if is_busy(run) else ''}"
    yield f"peak memory: {run.peak_megabytes:.0f} MB"
    for name, values in (results.outputs_ms or {}).items():
        yield f"  {name:<24}{_times_text(values)}"


def is_busy(run: LoopRun) -> bool:
    """Return whether other programs took so much that the times say little."""
    return run.others_fraction > MAX_OTHERS


def _alone_lines(alone: AloneMeasures, source: str) -> Iterator[str]:
    wall, processor_ms = _times_text(alone.wall_ms), alone.processor_ms_per_frame
    yield f"MediaPipe alone, max hands {alone.max_hands}, {source.partition(':')[0]} ({alone.hands:.2f} found):"
    yield f"  {'wall time':<24}{wall}     processor time {processor_ms:.2f} ms"


def _loop_lines(loop: LoopMeasures, results: Results) -> Iterator[str]:
    title = f"{loop.scenario.title}, max hands {results.max_hands}"
    step, live = loop.one_by_one, loop.live
    if step is None or live is None:
        yield f"{title}: not measured ({loop.failure})"
        return
    yield f"{title} ({live.hands:.2f} found)"
    yield f"  {'ms: median, 95 %':<24}{'frame by frame':>17}     {'playing':>17}"
    for name in (*STAGES, "draw"):
        if np.median(live.stage_ms(name)) > LEAST_MS:
            yield f"  {name:<24}{_times_text(step.stage_ms(name))}     {_times_text(live.stage_ms(name))}"
    for name, drawing in ((WITHOUT_DRAWING, False), (WITH_DRAWING, True)):
        texts = (_times_text(section.stages_ms(with_drawing=drawing)) for section in (step, live))
        yield f"  {name:<24}{'     '.join(texts)}"
    yield f"  {'age when shown':<24}{_times_text(step.age_ms)}     {_times_text(live.age_ms)}"
    for name, values in _per_frame(step, live).items():
        yield f"  {name:<24}{values[0]:8.2f}{'':14}{values[1]:8.2f}"
    seconds, frames = live.wall_s, len(live.frames)
    yield f"  frames a second in the loop: {frames / seconds:.1f} ({frames} shown, {live.skipped} skipped)"
    for ratio in ratios(loop, results.alone):
        yield from _ratio_lines(ratio)


def _per_frame(step: Section, live: Section) -> dict[str, tuple[float, float]]:
    return {
        "wall time a frame": (step.wall_ms_per_frame, live.wall_ms_per_frame),
        "processor time a frame": (step.processor_ms_per_frame, live.processor_ms_per_frame),
        "of it the view's thread": (step.view_ms_per_frame, live.view_ms_per_frame),
        "paints a frame": (step.paints / len(step.frames), live.paints / len(live.frames)),
    }


def _ratio_lines(ratio: Ratios) -> Iterator[str]:
    setting = f"MediaPipe alone with max hands {ratio.max_hands}"
    yield (
        f"  relative to {setting}: all but drawing {ratio.without_drawing:.2f}, with drawing {ratio.with_drawing:.2f}, "
        f"processor time {ratio.processor:.2f}"
    )
    yield f"  {verdict(ratio)}"


def verdict(ratio: Ratios) -> str:
    """Return in words how the program compares with MediaPipe, which means nothing without the number of hands."""
    setting = f"MediaPipe alone with max hands {ratio.max_hands}"
    if ratio.with_drawing < 1:
        return f"faster than {setting}, drawing included"
    if ratio.without_drawing < 1:
        return f"faster than {setting}, drawing left out"
    return f"slower than {setting}"


def json_values(results: Results) -> dict[str, Any]:
    """Return the report as values of JSON: times in milliseconds, fractions and ratios as numbers."""
    run = results.run
    values: dict[str, Any] = {
        "machine": machine(),
        "networks": run.networks,
        "view": run.view,
        "sources": list(results.sources.values()),
        "max_hands": results.max_hands,
        "mediapipe_alone": [_alone_values(alone, results.sources) for alone in results.alone],
        "loops": [_loop_values(loop, results) for loop in run.loops],
        "idle_fraction_of_a_core": run.idle_fraction,
        "other_programs_fraction_of_all_cores": run.others_fraction,
        "peak_megabytes": run.peak_megabytes,
    }
    if results.outputs_ms is not None:
        values["outputs"] = {name: _times(costs) for name, costs in results.outputs_ms.items()}
    return values


def _alone_values(alone: AloneMeasures, sources: Mapping[str, str]) -> dict[str, Any]:
    return {
        "source": sources[alone.source],
        "max_hands": alone.max_hands,
        "hands_found": alone.hands,
        "wall": _times(alone.wall_ms),
        "processor_ms_per_frame": alone.processor_ms_per_frame,
    }


def _loop_values(loop: LoopMeasures, results: Results) -> dict[str, Any]:
    scenario = loop.scenario
    values: dict[str, Any] = {
        "model": scenario.model,
        "compared": scenario.compared,
        "source": results.sources[scenario.source],
        "hands_in_view": scenario.hands,
        "texture": scenario.texture,
        "failure": loop.failure,
    }
    if loop.one_by_one is not None and loop.live is not None:
        values["frame_by_frame"] = _section_values(loop.one_by_one)
        playing = {"frames_per_second": 1000 / loop.live.wall_ms_per_frame, "skipped": loop.live.skipped}
        values["playing"] = _section_values(loop.live) | playing
        found = ratios(loop, results.alone)
        values["relative_to_mediapipe_alone"] = [asdict(one) | {"in_words": verdict(one)} for one in found]
    return values


def _section_values(section: Section) -> dict[str, Any]:
    return {
        "frames": len(section.frames),
        "hands_found": section.hands,
        "stages": {name: _times(section.stage_ms(name)) for name in (*STAGES, "draw")},
        "all_but_drawing": _times(section.stages_ms(with_drawing=False)),
        "all_stages": _times(section.stages_ms(with_drawing=True)),
        "age_when_shown": _times(section.age_ms),
        "wall_ms_per_frame": section.wall_ms_per_frame,
        "processor_ms_per_frame": section.processor_ms_per_frame,
        "view_thread_ms_per_frame": section.view_ms_per_frame,
        "paints_per_frame": section.paints / len(section.frames),
    }


def _times(milliseconds: Sequence[float] | FloatArray) -> dict[str, float]:
    median, high = _median_and_high(milliseconds)
    return {"median_ms": median, "percentile_95_ms": high}


def _times_text(milliseconds: Sequence[float] | FloatArray) -> str:
    median, high = _median_and_high(milliseconds)
    return f"{median:8.2f} {high:8.2f}"


def _median_and_high(milliseconds: Sequence[float] | FloatArray) -> tuple[float, float]:
    return float(np.median(milliseconds)), float(np.percentile(milliseconds, 95))
