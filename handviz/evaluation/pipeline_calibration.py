"""Whether the standard deviations that the program shows hold: rendered hands through the whole pipeline.

Stills are searched and reconstructed one by one; streams are clips that pass detection, tracking, fusion and smoothing.
A point's error is its distance from the truth after the whole hand's best rotation, scale and translation, because the
posterior's covariance says nothing of these. Its standard deviation is the shown one, the root of the summed variances
of x, y and z. Keypoints are the 20 beside the wrist.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handviz.core import metrics
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import SMOOTHING_KINDS, FloatArray, Frame, FrameResult, HandMesh, ModelId
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.evaluation.calibration import NOMINAL, REMOVED, spearman_each
from handviz.evaluation.card import COVERAGE_PERCENTS, HEAVILY_HIDDEN, cell, hidden_over_visible, mean_or_nan
from handviz.evaluation.evaluate import keypoints_visible
from handviz.evaluation.rendered_scenes import FRAMES_PER_SECOND, RenderedScene, clips, found_index, scenes
from handviz.hand_models.open_hand import load_open_hand
from handviz.pipeline.kalman import Smoother, make_smoother
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings

DEFAULT_SCENES, DEFAULT_SEED = 240, 611
HIDDEN_FRACTION, HIDDEN_BOUNDS = 0.4, (0.25, 0.7)
"""Of the scenes, those whose hands objects hide by as much; the detector finds hardly any that are hidden further."""
HIDDEN_LEVELS = (0.25, HEAVILY_HIDDEN)
"""From which fractions on hidden and visible vertices of a hand are compared."""
SCENES_PER_CLIP, MIN_CLIPS, CLIP_FRAMES = 25, 2, 60
MIN_HANDS = 3
"""Of one kind: fewer have no rank correlation worth the name."""
STILLS, UNSMOOTHED = "stills", "streams, not smoothed"


def stream_kind(smoothing: str) -> str:
    """Return the name of streams with this kind of smoothing."""
    return f"streams, {smoothing}"


DEFAULT_STREAM = stream_kind(PipelineSettings().smoothing_kind)
"""Streams as the program shows them unless another smoothing is chosen."""


class Measured(NamedTuple):
    """A hand that was found: its points' errors after alignment, and the standard deviations shown with them."""

    keypoint_error_mm: FloatArray
    """(20,)"""
    keypoint_std_mm: FloatArray
    """(20,)"""
    vertex_error_mm: FloatArray
    """(V,)"""
    vertex_std_mm: FloatArray
    """(V,)"""
    keypoint_visible: NDArray[np.bool_]
    """(20,)"""
    visible: NDArray[np.bool_]
    """(V,)"""
    visible_alone: NDArray[np.bool_]
    """(V,) without the objects in front of the hand"""
    hidden_fraction: float
    depth_m: float
    """of the true wrist"""
    is_left: bool


@dataclass(frozen=True, eq=False)
class PipelineRow:
    """One row: some points of the hands of one kind. Every number is nan where there are none."""

    points: str
    """``vertices`` or ``keypoints``"""
    seen: str
    """``all``; ``visible`` or ``hidden`` points; ``near``, ``far``, ``left`` or ``right`` hands"""
    hands: int
    count: int
    """points"""
    error_mm: float
    std_mm: float
    coverage: FloatArray
    """(4,) fraction of points inside the balls that hold COVERAGE_PERCENTS"""
    spearman: float
    """of standard deviation and error over all points of all hands at once"""
    spearman_each: float
    """mean over points of the correlation over hands"""
    spearman_hands: float
    """of the hands' mean standard deviations and mean errors"""
    ausc_mm: float
    """mean error of the remaining points, over all fractions (Ilg et al. 2018)"""
    ause: float
    """difference of that from the best order's, by the mean error: 0 is perfect"""
    pearson: float
    """linear correlation of standard deviation and error over all points of all hands at once"""
    reliability: FloatArray
    """(19,) observed fractions at NOMINAL"""
    sparsification_mm: FloatArray
    """(100,) mean error without the REMOVED fractions of largest standard deviation"""
    oracle_mm: FloatArray
    """(100,) likewise, without those of largest error"""


@dataclass(frozen=True)
class HiddenRatio:
    """Hidden against visible vertices of the hands of which objects hide ``level`` or more."""

    level: float
    hands: int
    hidden_over_visible: float
    """mean standard deviation of the hidden vertices over that of the visible ones"""
    things_over_visible: float
    """the same of those hidden vertices alone that only objects hide"""


@dataclass(frozen=True, eq=False)
class KindFigures:
    """A model's figures on stills, or on streams with one kind of smoothing."""

    kind: str
    searched: int
    """images or frames, each with one hand"""
    found: int
    rows: tuple[PipelineRow, ...]
    hidden: tuple[HiddenRatio, ...]
    """at each of HIDDEN_LEVELS"""


@dataclass(frozen=True)
class Plan:
    """What is rendered, and the models that it is shown to."""

    models: tuple[ModelId, ...]
    count: int = DEFAULT_SCENES
    seed: int = DEFAULT_SEED
    config: PipelineConfig = field(default_factory=PipelineConfig)

    @property
    def settings(self) -> PipelineSettings:
        """Settings with which one pipeline runs all models on the same detections, as in comparisons.

        The program's own model, or the first one, is the one that says which detections are hands.
        """
        usual = PipelineSettings().model
        leading = usual if usual in self.models else self.models[0]
        others = tuple(model for model in self.models if model != leading)
        return PipelineSettings(leading, others, smoothing=0.0)

    @property
    def clip_seeds(self) -> range:
        """Seeds of the clips, of even number, so that as many hands are left as right."""
        number = max(MIN_CLIPS, round(self.count / SCENES_PER_CLIP))
        first = 1000 * self.seed
        return range(first, first + number + number % 2)

    def stills(self) -> Iterator[RenderedScene]:
        """Render the scenes, every other one mirrored."""
        least, most = HIDDEN_BOUNDS
        hidden = round(self.count * HIDDEN_FRACTION)
        parts = (
            scenes([self.seed, 0], self.count - hidden, least),
            scenes([self.seed, 1], hidden, most, least_hidden=least) if hidden else (),
        )
        for number, scene in enumerate(chain(*parts)):
            yield scene.mirrored() if number % 2 else scene


class _Measurements:
    """The hands found, by model and kind."""

    def __init__(self) -> None:
        self.searched: dict[str, int] = {}
        self.found: dict[tuple[ModelId, str], list[Measured]] = {}

    def add(self, model: ModelId, kind: str, hand: HandMesh, scene: RenderedScene) -> None:
        self.found.setdefault((model, kind), []).append(measured(hand, scene))


def measured(hand: HandMesh, scene: RenderedScene) -> Measured:
    """Compare a hand with the truth; HandvizError if it has another mesh, or no standard deviations."""
    if hand.vertices_m.shape != scene.true_m.shape or hand.hand_model not in ("", load_open_hand().fingerprint):
        raise HandvizError(
            f"{hand.model} has another mesh than the rendered hands: leave it out", ErrorCode.MODEL_MISMATCH
        )
    if hand.keypoint_std_mm is None or hand.vertex_std_mm is None:
        raise HandvizError(f"{hand.model} predicts no uncertainty: leave it out", ErrorCode.NOT_PROVIDED)
    regressor = load_open_hand().keypoint_regressor
    true_m = scene.vertices_m
    return Measured(
        keypoint_error_mm=_aligned_errors_mm(hand.keypoints_m, regressor @ true_m)[1:],
        keypoint_std_mm=hand.keypoint_std_mm[1:],
        vertex_error_mm=_aligned_errors_mm(hand.vertices_m, true_m),
        vertex_std_mm=hand.vertex_std_mm,
        keypoint_visible=keypoints_visible(scene.visible[None], regressor[1:])[0],
        visible=scene.visible,
        visible_alone=scene.visible_alone,
        hidden_fraction=scene.hidden_fraction,
        depth_m=float(scene.wrist_m[2]),
        is_left=scene.handedness == "left",
    )


def _aligned_errors_mm(points_m: FloatArray, true_m: FloatArray) -> FloatArray:
    aligned_m = metrics.procrustes_aligned(points_m[None].astype(np.float64), true_m[None].astype(np.float64))[0]
    return np.asarray(np.linalg.norm(aligned_m - true_m, axis=1) * MILLIMETRES_PER_METRE)


def measure(plan: Plan) -> dict[ModelId, tuple[KindFigures, ...]]:
    """Render, reconstruct and compare; HandvizError if hardly any hand is found."""
    measurements = _Measurements()
    with Pipeline(plan.settings, plan.config) as pipeline:
        _measure_streams(pipeline, plan, measurements)
        pipeline.reset(video=False)
        _measure_stills(pipeline, plan, measurements)
    found = measurements.found
    for kind, searched in measurements.searched.items():
        count = min(len(found.get((model, kind), ())) for model in plan.models)
        if count < MIN_HANDS:
            raise HandvizError(
                f"{kind}: {count} of {searched} hands were found: choose a larger --count", ErrorCode.NO_HANDS
            )
    return {
        model: tuple(figures(kind, searched, found[model, kind]) for kind, searched in measurements.searched.items())
        for model in plan.models
    }


def _measure_stills(pipeline: Pipeline, plan: Plan, measurements: _Measurements) -> None:
    measurements.searched[STILLS] = plan.count
    for number, scene in enumerate(tqdm(plan.stills(), total=plan.count, unit="image", leave=False)):
        result = pipeline.process_with(Frame(number, scene.image, 0.0), scene.camera)
        for model, hand in _scene_hands(result, scene).items():
            measurements.add(model, STILLS, hand, scene)


def _measure_streams(pipeline: Pipeline, plan: Plan, measurements: _Measurements) -> None:
    seeds = plan.clip_seeds
    kinds = (UNSMOOTHED, *map(stream_kind, SMOOTHING_KINDS))
    measurements.searched |= dict.fromkeys(kinds, len(seeds) * CLIP_FRAMES)
    with tqdm(total=len(seeds) * CLIP_FRAMES, unit="frame", leave=False) as progress:
        for clip in clips(seeds, CLIP_FRAMES):
            pipeline.reset(video=True)
            smoothers = _smoothers(plan.models)
            for number, scene in enumerate(clip):
                time_ms = number * 1000 / FRAMES_PER_SECOND
                result = pipeline.process_with(Frame(number, scene.image, time_ms, time_ms=time_ms), scene.camera)
                index = found_index(result.hands, scene)
                for model, hands in _hands_of_models(result).items():
                    for kind, smoother in smoothers[model].items():
                        # Smoothing comes last in the pipeline, so that all kinds can share what comes before.
                        shown = hands if smoother is None else smoother.smooth(hands, time_ms)
                        if index is not None:
                            measurements.add(model, kind, shown[index], scene)
                progress.update()


def _smoothers(models: Iterable[ModelId]) -> dict[ModelId, dict[str, Smoother | None]]:
    strength = PipelineSettings().smoothing
    return {
        model: {UNSMOOTHED: None, **{stream_kind(kind): make_smoother(kind, strength) for kind in SMOOTHING_KINDS}}
        for model in models
    }


def _hands_of_models(result: FrameResult) -> Mapping[ModelId, tuple[HandMesh, ...]]:
    """Return every model's hands, in the same order; HandvizError if a model failed."""
    failures = [f"{model}: {error}" for model, error in result.other_errors.items()]
    if result.failure or failures:
        raise HandvizError("; ".join([*filter(None, [result.failure]), *failures]), ErrorCode.NO_RESULT)
    return {result.model: result.hands, **result.others}


def _scene_hands(result: FrameResult, scene: RenderedScene) -> dict[ModelId, HandMesh]:
    index = found_index(result.hands, scene)
    hands = _hands_of_models(result)
    return {} if index is None else {model: those[index] for model, those in hands.items()}


def figures(kind: str, searched: int, found: Sequence[Measured]) -> KindFigures:
    """Return the figures of at least one hand."""
    columns = {name: np.array([getattr(one, name) for one in found]) for name in Measured._fields}
    is_left, depth_m = columns["is_left"], columns["depth_m"]
    is_far = depth_m > np.median(depth_m)
    rows = []
    for points, errors_mm, stds_mm, visible in (
        ("keypoints", columns["keypoint_error_mm"], columns["keypoint_std_mm"], columns["keypoint_visible"]),
        ("vertices", columns["vertex_error_mm"], columns["vertex_std_mm"], columns["visible"]),
    ):
        everything = np.ones_like(visible)
        parts = {
            "all": everything, "visible": visible, "hidden": ~visible,
            "near": everything & ~is_far[:, None], "far": everything & is_far[:, None],
            "right": everything & ~is_left[:, None], "left": everything & is_left[:, None],
        }  # fmt: skip
        rows += [row(points, seen, errors_mm, stds_mm, chosen) for seen, chosen in parts.items()]
    return KindFigures(kind, searched, len(found), tuple(rows), tuple(_ratio(columns, at) for at in HIDDEN_LEVELS))


def _ratio(columns: Mapping[str, NDArray[Any]], level: float) -> HiddenRatio:
    chosen = columns["hidden_fraction"] >= level
    stds_mm, visible, alone = (columns[name][chosen] for name in ("vertex_std_mm", "visible", "visible_alone"))
    return HiddenRatio(
        level,
        hands=int(chosen.sum()),
        hidden_over_visible=hidden_over_visible(stds_mm, ~visible, visible),
        things_over_visible=hidden_over_visible(stds_mm, alone & ~visible, visible),
    )


def row(points: str, seen: str, errors_mm: FloatArray, stds_mm: FloatArray, chosen: NDArray[np.bool_]) -> PipelineRow:
    """Return the row of errors and standard deviations (N, P), of which ``chosen`` (N, P) count."""
    hands = chosen.any(axis=1)
    weights = chosen[hands] / chosen[hands].sum(axis=1, keepdims=True)
    of_hands = [(values[hands] * weights).sum(axis=1) for values in (errors_mm, stds_mm)]
    each = spearman_each(errors_mm, stds_mm, chosen)
    errors_mm, stds_mm = errors_mm[chosen], stds_mm[chosen]
    is_empty = not errors_mm.size
    remaining, best = (
        np.full(1, np.nan) if is_empty else metrics.means_of_kept(errors_mm, order) for order in (stds_mm, errors_mm)
    )
    probabilities = (*(percent / 100 for percent in COVERAGE_PERCENTS), *NOMINAL)
    observed = (
        np.full(len(probabilities), np.nan)
        if is_empty
        else metrics.distance_coverage(errors_mm, stds_mm, probabilities)
    )
    return PipelineRow(
        points=points,
        seen=seen,
        hands=int(hands.sum()),
        count=errors_mm.size,
        error_mm=mean_or_nan(errors_mm),
        std_mm=mean_or_nan(stds_mm),
        coverage=observed[: len(COVERAGE_PERCENTS)],
        spearman=metrics.spearman(errors_mm, stds_mm),
        spearman_each=each,
        spearman_hands=metrics.spearman(*of_hands),
        ausc_mm=mean_or_nan(remaining),
        ause=metrics.excess_area(remaining, best),
        pearson=metrics.pearson(errors_mm, stds_mm),
        reliability=observed[len(COVERAGE_PERCENTS) :],
        sparsification_mm=metrics.at_removed_fractions(remaining, REMOVED),
        oracle_mm=metrics.at_removed_fractions(best, REMOVED),
    )


Column = tuple[str, str | int, str]
"""Title, field or index of the coverage, and format."""
ROW_COLUMNS: tuple[Column, ...] = (
    ("error, mm", "error_mm", "{:.2f}"),
    ("standard deviation, mm", "std_mm", "{:.2f}"),
    *((f"{percent} %", index, "{:.1%}") for index, percent in enumerate(COVERAGE_PERCENTS)),
    ("Spearman", "spearman", "{:.2f}"),
    ("each point", "spearman_each", "{:.2f}"),
    ("of hands", "spearman_hands", "{:.2f}"),
)
ORDER_COLUMNS: tuple[Column, ...] = (
    ("AUSC, mm", "ausc_mm", "{:.2f}"),
    ("AUSE / mean error", "ause", "{:.3f}"),
    ("Pearson", "pearson", "{:.2f}"),
)


def report_text(models: Mapping[ModelId, Sequence[KindFigures]]) -> str:
    """Return Markdown tables: all points, parts of them on stills and default streams, and hidden over visible."""
    lines = [
        "Errors after the hand's best rotation, scale and translation; 50 to 95 %: fraction of points within.",
        "",
    ]
    named = [(model, kind) for model, kinds in models.items() for kind in kinds]
    for points in ("keypoints", "vertices"):
        lines += _head(points, "found", ROW_COLUMNS + ORDER_COLUMNS)
        for model, kind in named:
            found = next(one for one in kind.rows if (one.points, one.seen) == (points, "all"))
            lines.append(
                _line(f"{model}, {kind.kind}", f"{kind.found} of {kind.searched}", found, ROW_COLUMNS + ORDER_COLUMNS)
            )
        lines.append("")
    for points in ("keypoints", "vertices"):
        lines += _head(f"{points}, parts", "hands", ROW_COLUMNS)
        for model, kind in named:
            if kind.kind in (STILLS, DEFAULT_STREAM):
                lines += [
                    _line(f"{model}, {kind.kind}, {one.seen}", str(one.hands), one, ROW_COLUMNS)
                    for one in kind.rows
                    if one.points == points and one.seen != "all"
                ]
        lines.append("")
    titles = ("standard deviation of vertices", "hands", "hidden / visible", "hidden by things / visible")
    lines += ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for model, kind in named:
        for one in kind.hidden if kind.kind == STILLS else ():
            ratios = (cell("{:.2f}", ratio) for ratio in (one.hidden_over_visible, one.things_over_visible))
            title = f"{model}, hidden by {one.level:.0%} or more"
            lines.append("| " + " | ".join([title, str(one.hands), *ratios]) + " |")
    return "\n".join(lines) + "\n"


def _head(title: str, count: str, columns: Sequence[Column]) -> list[str]:
    titles = [title, count, *(name for name, _, _ in columns)]
    return ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]


def _line(title: str, count: str, one: PipelineRow, columns: Sequence[Column]) -> str:
    numbers = [
        cell(form, float(one.coverage[name] if isinstance(name, int) else getattr(one, name)))
        for _, name, form in columns
    ]
    return "| " + " | ".join([title, count, *numbers]) + " |"
