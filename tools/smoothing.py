"""Compare Kalman and One Euro on hands whose true motion is known: error, lag, jitter."""

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

import tools
from handviz.core.arguments import Count, Seed, between
from handviz.core.files import make_folder
from handviz.core.geometry import intrinsics_from_field_of_view
from handviz.core.output import print_result
from handviz.core.records import FloatArray, Frame, HandMesh
from handviz.data.synthetic.motion import HandMotion, MotionPoser
from handviz.evaluation.plots import save_figure
from handviz.models.registry import ModelChoice
from handviz.pipeline.kalman import KalmanSmoother, Smoother
from handviz.pipeline.smoothing import CUTOFF_HZ_PER_METRE_PER_SECOND, HandSmoother
from tools.motion_scores import KnownMotion, MotionScores, load_motion, save_motion, scores
from tools.rendered_clips import clip_scores
from tools.simulated_hands import ErrorSizes, Simulation, measured_error_sizes

STYLES = {"raw": ("#333333", "x"), "kalman": ("#0072b2", "o"), "one_euro": ("#d55e00", ".")}
NAMES = {"raw": "no smoothing", "kalman": "Kalman", "one_euro": "One Euro, any weight of speed"}
RATE_HZ = 30
SIMULATED_SEEDS = 1000
STRENGTHS = (0.1, 0.3, 0.5, 0.7, 0.9)
SPEED_WEIGHTS = (1, 4, 16, 64)
"""One Euro's weight of speed, of its usual one: a higher one reduces lag and smooths jitter less."""
LOST_FRACTION = 0.15
EQUAL_MS = 0.3
"""Lags that differ by no more count as equal: a hundredth of a frame."""
MEASURES = ("error_px", "error_mm", "left_px", "left_mm", "jitter_px", "jitter_mm", "distance_px")


# The figure: what smoothers leave of errors and jitter, against their lag.


class Setting(Protocol):
    """One setting of one smoother."""

    @property
    def kind(self) -> str:
        """raw, kalman or one_euro"""
        ...

    @property
    def scores(self) -> MotionScores:
        """Scores of this setting."""
        ...


def draw_sweeps(simulated: Sequence[Setting], rendered: Sequence[Setting], path: Path) -> Path:
    """Draw four panels; raise HandvizError if the file cannot be written."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    _panel(panels[0, 0], simulated, "left_px", "simulated: error that smoothing can change, px")
    _panel(panels[0, 1], simulated, "left_mm", "simulated: error that smoothing can change, mm")
    _panel(panels[1, 0], rendered, "error_px", "whole pipeline on rendered clips: error, px")
    _panel(panels[1, 1], rendered, "jitter_px", "whole pipeline on rendered clips: jitter at rest, px a frame squared")
    panels[0, 0].legend()
    return save_figure(figure, path)


def _panel(axes: Axes, settings: Sequence[Setting], measure: str, title: str) -> None:
    by_kind: Mapping[str, list[Setting]] = {kind: [one for one in settings if one.kind == kind] for kind in STYLES}
    for kind, found in by_kind.items():
        colour, marker = STYLES[kind]
        lags = [one.scores.lag_ms for one in found]
        values = [getattr(one.scores, measure) for one in found]
        line = "-" if kind == "kalman" else "none"
        axes.plot(lags, values, linestyle=line, marker=marker, color=colour, label=NAMES[kind])
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("lag, ms")
    axes.set_ylim(bottom=0)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The amounts to render and to simulate, and the figure's path."""

    clips: Count = 4
    """Rendered clips for the whole pipeline."""
    simulated: Count = 12
    """Simulated hands."""
    seconds: Annotated[float, between(2, 3600)] = 8.0
    """Length of each."""
    seed: Seed = 60
    """Seed of the motions; the filter was designed on others."""
    model: ModelChoice = "final"
    figure: Path | None = None
    """Image of error and jitter against lag (.png, .svg)."""
    cache: Path = Path(tempfile.gettempdir()) / "handviz_smoothing"
    """Folder of the reconstructions of rendered clips."""


def run(arguments: Arguments) -> int:
    """Render, reconstruct, simulate, smooth, compare; print tables."""
    rendered = rendered_motions(arguments)
    sizes = measured_error_sizes([_unbroken(one) for one in rendered])
    print_result("new in every frame, measured at rest on %d rendered clips: %s", len(rendered), sizes)
    simulated = simulated_motions(sizes, arguments)
    worlds = {"simulated": simulated, "rendered": rendered}
    swept = {name: sweep(motions) for name, motions in worlds.items()}
    for name, rows in swept.items():
        report(f"{name}, {RATE_HZ} frames a second", rows)
        report_equal_lag(rows)
    random = np.random.default_rng(arguments.seed)
    for name, motions in worlds.items():
        report(
            f"{name}, 15 frames a second", sweep([one.thinned(2) for one in motions], strengths=(0.3,), weights=(1,))
        )
        lossy = [one.thinned(1, random.random(len(one.times_s)) >= LOST_FRACTION) for one in motions]
        report(f"{name}, {LOST_FRACTION:.0%} of the frames dropped", sweep(lossy, strengths=(0.3,), weights=(1,)))
    report_camera(rendered)
    report_cost(rendered[0])
    if arguments.figure is not None:
        draw_sweeps(swept["simulated"], swept["rendered"], arguments.figure)
        print_result("saved %s", arguments.figure)
    return 0


def rendered_motions(arguments: Arguments) -> list[KnownMotion]:
    """Return the pipeline's results of rendered clips, without smoothing, from the cache where they are in it."""
    found = []
    for seed in range(arguments.seed, arguments.seed + arguments.clips):
        path = arguments.cache / f"{arguments.model}_{seed}_{arguments.seconds:g}s.npz"
        if not path.is_file():
            make_folder(path.parent)
            save_motion(path, _render(seed, arguments))
        found.append(load_motion(path))
    return found


def _render(seed: int, arguments: Arguments) -> KnownMotion:
    from handviz.data.synthetic import look
    from handviz.data.synthetic.motion import motion_frames
    from handviz.data.synthetic.room import Room
    from handviz.data.synthetic.stage import HEIGHT, WIDTH
    from handviz.pipeline.pipeline import Pipeline
    from handviz.pipeline.settings import PipelineConfig, PipelineSettings
    from handviz.rendering.studio import open_studio

    motion = HandMotion(seed, arguments.seconds, MotionPoser())
    times_s = _times(arguments.seconds)
    studio = open_studio(look.textures(), (WIDTH, HEIGHT))
    settings = PipelineSettings(arguments.model, smoothing=0.0, max_hands=1)
    hands = []
    with Pipeline(settings, PipelineConfig(preload_others=False)) as pipeline:
        clip = Room(studio)
        frames = tqdm(motion_frames(clip, motion, times_s), total=len(times_s), unit="frame", desc=f"clip {seed}")
        for number, image in enumerate(frames):
            result = pipeline.process_with(Frame(number, image, times_s[number] * 1000), clip.intrinsics)
            hands.append(next((hand for hand in result.hands if hand.handedness == motion.handedness), None))
    studio.release()
    truth_m = np.stack([motion.at(float(time_s)).keypoints_m for time_s in times_s])
    return KnownMotion(times_s, truth_m, hands, clip.intrinsics)


def _unbroken(motion: KnownMotion) -> tuple[list[HandMesh], FloatArray]:
    """Return hands and ground truth without the few frames in which the hand was not found."""
    rows = [row for row, hand in enumerate(motion.hands) if hand is not None]
    return [hand for hand in motion.hands if hand is not None], motion.truth_m[rows]


def simulated_motions(sizes: ErrorSizes, arguments: Arguments) -> list[KnownMotion]:
    """Draw measurements from the ground truth with errors of these sizes."""
    parts, times_s, found = MotionPoser(), _times(arguments.seconds), []
    intrinsics = intrinsics_from_field_of_view(640, 480, 60.0)
    first = SIMULATED_SEEDS + arguments.seed
    for seed in tqdm(range(first, first + arguments.simulated), unit="hand", desc="simulated"):
        motion = HandMotion(seed, arguments.seconds, parts)
        one = Simulation(sizes, intrinsics, seed).hands(motion, times_s)
        found.append(KnownMotion(times_s, one.truth_m, one.measured, intrinsics, one.lasting_only))
    return found


def _times(seconds: float) -> FloatArray:
    return np.arange(int(seconds * RATE_HZ)) / RATE_HZ


@dataclass(frozen=True)
class Row:
    """One setting of one smoother."""

    kind: str
    name: str
    scores: MotionScores


def sweep(
    motions: Sequence[KnownMotion],
    *,
    strengths: Sequence[float] = STRENGTHS,
    weights: Sequence[int] = SPEED_WEIGHTS,
) -> list[Row]:
    """Score no smoothing, then Kalman and One Euro at every strength, and One Euro with more weight on speed."""
    made: list[tuple[str, str, Callable[[], Smoother]]] = [("raw", "no smoothing", partial(KalmanSmoother, 0.0))]
    made += [("kalman", f"Kalman {strength:g}", partial(KalmanSmoother, strength)) for strength in strengths]
    for weight in weights:
        speed = weight * CUTOFF_HZ_PER_METRE_PER_SECOND
        for strength in strengths:
            name = f"One Euro {strength:g}" + (f", speed x{weight}" if weight > 1 else "")
            made.append(("one_euro", name, partial(HandSmoother, strength, hz_per_metre_per_second=speed)))
    return [Row(kind, name, scores(motions, make)) for kind, name, make in tqdm(made, unit="setting")]


def report(title: str, rows: Sequence[Row]) -> None:
    """Log one line a setting."""
    print_result("")
    print_result("%s", title)
    columns = (
        "error px",
        "error mm",
        "left px",
        "left mm",
        "lag ms",
        "lag 3D",
        "distance px",
        "jitter px",
        "jitter mm",
        "err/std",
    )
    print_result("%-26s" + "%12s" * len(columns), "", *columns)
    for row in rows:
        one = row.scores
        values = (
            one.error_px,
            one.error_mm,
            one.left_px,
            one.left_mm,
            one.lag_ms,
            one.lag_3d_ms,
            one.distance_px,
            one.jitter_px,
            one.jitter_mm,
        )
        print_result("%-26s" + "%12.2f" * len(columns), row.name, *values, one.coverage)


def report_equal_lag(rows: Sequence[Row]) -> None:
    """Log for every strength of Kalman the best of One Euro, over all its settings, with no more lag."""
    print_result("at equal lag: Kalman / the best of One Euro that lags no more")
    for row in rows:
        if row.kind == "kalman":
            rivals = [
                rival.scores
                for rival in rows
                if rival.kind != "kalman" and rival.scores.lag_ms <= row.scores.lag_ms + EQUAL_MS
            ]
            comparisons = [
                f"{measure} {getattr(row.scores, measure):.2f} / {min(getattr(rival, measure) for rival in rivals):.2f}"
                for measure in MEASURES
            ]
            print_result("%-12s lag %5.2f ms: %s", row.name, row.scores.lag_ms, ", ".join(comparisons))


def report_camera(motions: Sequence[KnownMotion]) -> None:
    """Log errors of rendered clips in the camera frame, and acceleration errors in the usual units."""
    print_result("rendered, %d frames a second, MPJPE and acceleration error against the ground truth", RATE_HZ)
    columns = ("camera mm", "wrist mm", "PA mm", "mm/f2", "m/s2", "mm/f2 cam", "m/s2 cam")
    print_result("%-26s" + "%10s" * len(columns), "", *columns)
    kinds: dict[str, Callable[[], Smoother]] = {
        "no smoothing": partial(KalmanSmoother, 0.0),
        "Kalman 0.3": partial(KalmanSmoother, 0.3),
        "One Euro 0.3": partial(HandSmoother, 0.3),
    }
    for name, make in kinds.items():
        one = clip_scores(motions, make)
        accelerations = [
            part for mm in (one.acceleration_mm, one.absolute_acceleration_mm) for part in (mm, mm * RATE_HZ**2 / 1000)
        ]
        values = (one.absolute_mm, one.root_mm, one.procrustes_mm, *accelerations)
        print_result("%-26s" + "%10.2f" * len(columns), name, *values)


def report_cost(motion: KnownMotion) -> None:
    """Log milliseconds a hand, the median of all frames."""
    for kind, smoother in (("Kalman", KalmanSmoother(0.3)), ("One Euro", HandSmoother(0.3))):
        took_ms = []
        for hand, time_s in zip(motion.hands, motion.times_s, strict=True):
            if hand is not None:
                start_s = time.perf_counter()
                smoother.smooth([hand], time_s * 1000)
                took_ms.append((time.perf_counter() - start_s) * 1000)
        print_result("%s: %.2f ms a hand", kind, np.median(took_ms))


if __name__ == "__main__":
    sys.exit(tools.run("smoothing"))
