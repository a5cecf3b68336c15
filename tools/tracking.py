"""Measure how hands are followed: found, lost, numbered, their sides, error, jitter and lag, on rendered clips."""

import contextlib
import json
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

from tqdm import tqdm

import tools
from handviz.core.arguments import Count, Option, Seed
from handviz.core.files import make_folder, write_files
from handviz.core.output import plain, print_result
from handviz.core.records import DetectorChoice, ModelId
from handviz.detection.detectors import DetectorOption
from handviz.models.registry import ModelChoice
from handviz.pipeline.kalman import make_smoother
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from tools.tracking_clips import CLIP_VERSION, TrackedClip, load_clip, save_clip, theatre, write_video
from tools.tracking_scenarios import KINDS, Scenario, scenario
from tools.tracking_scores import FoundHand, Tally, tally

COLUMNS = {
    "expected": ("hands", 0),
    "recall_percent": ("found %", 1),
    "false_hands": ("false", 0),
    "switches": ("switch", 0),
    "renumbered": ("renum", 0),
    "wrong_side": ("side", 0),
    "until_found_mean": ("new", 1),
    "until_found_max": ("max", 0),
    "until_gone_max": ("gone", 0),
    "error_median_percent": ("2D %", 2),
    "error_95_percent": ("95th", 2),
    "jitter_percent": ("jit. %", 3),
    "pa_mm": ("PA mm", 2),
    "jitter_mm": ("jit. mm", 2),
    "smoothed_jitter_mm": ("smooth", 2),
    "lag_ms": ("lag ms", 1),
    "smoothed_lag_ms": ("smooth", 1),
}
"""Title and decimals of the figures of ``Tally.summary`` in the printed table."""


def _names(words: Sequence[str]) -> tuple[str, ...]:
    unknown = [word for word in words if word not in KINDS]
    if unknown:
        raise ValueError(f"{unknown[0]} is not one of {', '.join(KINDS)}")
    return tuple(words)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to follow, and where results go."""

    scenarios: Annotated[tuple[str, ...], Option(metavar="NAME ...", read=_names, words="*")] = ()
    """Only these scenarios, all without: still, slow, crossing, ... (a wrong name prints the list)."""
    clips: Count = 2
    """Clips of each scenario, with other hands, skin, rooms and light."""
    seed: Seed = 0
    model: ModelChoice = "final"
    detector: DetectorOption = "handviz"
    results: Path | None = None
    """Write the figures to this JSON file too."""
    videos: Path | None = None
    """Instead write the clips as MP4 files into this folder, for watching them in the window."""
    cache: Path = Path(tempfile.gettempdir()) / "handviz_tracking"
    """Folder of rendered clips."""


def run(arguments: Arguments) -> int:
    """Render what is not in the cache, follow the hands, and print a line a scenario."""
    names = arguments.scenarios or tuple(KINDS)
    seeds = range(arguments.seed, arguments.seed + arguments.clips)
    planned = [(scenario(name, seed), seed) for name in names for seed in seeds]
    if arguments.videos is not None:
        folder = make_folder(arguments.videos)
        for one, seed in planned:
            path = write_video(folder / f"{one.name}_{seed}.mp4", clip_of(one, seed, arguments.cache))
            print_result("wrote %s", path)
        return 0
    totals = dict.fromkeys(names, Tally())
    with Followers(arguments.model, arguments.detector) as followers:
        for one, seed in tqdm(planned, unit="clip"):
            clip = clip_of(one, seed, arguments.cache)
            totals[one.name] += tally(clip, followers.follow(clip, one.max_hands))
    figures = {name: total.summary() for name, total in totals.items()}
    figures["all"] = sum(totals.values(), Tally()).summary()
    for line in table(figures):
        print_result("%s", line)
    if arguments.results is not None:
        write_files({arguments.results: (json.dumps(plain(figures), indent=1, allow_nan=False) + "\n").encode()})
    return 0


def clip_of(one: Scenario, seed: int, cache: Path) -> TrackedClip:
    """Return a scenario's clip from the cache, rendered if it is not in it."""
    path = cache / f"{one.name}_{seed}_v{CLIP_VERSION}.npz"
    if not path.is_file():
        make_folder(cache)
        save_clip(path, theatre().clip(one, seed))
    return load_clip(path)


class Followers:
    """Pipelines for each number of hands asked for, made when they are needed."""

    def __init__(self, model: ModelId, detector: DetectorChoice = "handviz") -> None:
        self._settings = PipelineSettings(model, smoothing=0.0)
        self._config = PipelineConfig(detector=detector, preload_others=False)
        self._stack = contextlib.ExitStack()
        self._pipelines: dict[int, Pipeline] = {}

    def follow(self, clip: TrackedClip, max_hands: int) -> list[list[FoundHand]]:
        """Return the hands found in each frame of a clip, whose camera is known; smoothed as by default besides."""
        pipeline = self._pipeline(max_hands)
        smoother = make_smoother(PipelineSettings().smoothing_kind, PipelineSettings().smoothing)
        frames = []
        for frame in clip.frames():
            result = pipeline.process_with(frame, clip.intrinsics)
            smoothed = smoother.smooth(result.hands, frame.captured_ms)
            found = zip(result.detections, result.hands, smoothed, strict=True)
            frames.append([FoundHand(*hand) for hand in found])
        return frames

    def _pipeline(self, max_hands: int) -> Pipeline:
        """Return a pipeline that has forgotten earlier clips."""
        if max_hands not in self._pipelines:
            settings = replace(self._settings, max_hands=max_hands)
            self._pipelines[max_hands] = self._stack.enter_context(Pipeline(settings, self._config))
        self._pipelines[max_hands].reset()
        return self._pipelines[max_hands]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def table(figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the lines of a table with a row a scenario."""
    lines = [f"{'':17}" + "".join(f"{title:>8}" for title, _ in COLUMNS.values())]
    for name, values in figures.items():
        cells = (values[key] for key in COLUMNS)
        shown = (
            "-" if math.isnan(value) else f"{value:.{digits}f}"
            for value, (_, digits) in zip(cells, COLUMNS.values(), strict=True)
        )
        lines.append(f"{name:17}" + "".join(f"{cell:>8}" for cell in shown))
    return lines


if __name__ == "__main__":
    sys.exit(tools.run("tracking"))
