"""Held-out crops in, the model card's numbers out; any predictor will do, a checkpoint or an ONNX file."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from handviz import metrics
from handviz.data.synthetic.dataset import Shard, read_shard, shard_numbers
from handviz.errors import HandvizError
from handviz.hand_model.template import HandTemplate
from handviz.nets.export import ExportModel, ExportOutput
from handviz.nets.mediapipe_hand import load_mediapipe_landmark_net
from handviz.records import CanonicalHand, FloatArray
from handviz.train.cache import picture_batch, truth_from_labels
from handviz.train.checkpoint import deviation_notes, load_checkpoint

CENTIMETRES_PER_METRE = 100.0
BATCH = 16
"""Crops that a predictor takes at a time."""
Predictor = Callable[[NDArray[np.uint8]], list[CanonicalHand]]
"""Crops (N, 224, 224, 3) RGB -> one hand each."""
COVERAGE_PERCENTS = (50, 68, 90, 95)
PER_CROP = ("visible", "visible_alone", "keypoint_visible", "hidden_share")
"""Fields of ``Answers`` that come from the crops alone."""
HEAVILY_HIDDEN = 0.5
"""Share of a hand's otherwise visible vertices that things hide, from which on it counts as heavily hidden."""


@dataclass(frozen=True)
class Crops:
    """A folder of rendered crops."""

    directory: Path
    limit: int | None = None
    """Use only the first ones."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Predictions and truth of N crops in metres; points stand in the crop's axes, so rotation counts in MPJPE."""

    keypoints_m: FloatArray
    """(N, 21, 3) in the crop's axes, wrist at 0"""
    vertices_m: FloatArray
    """(N, V, 3) likewise"""
    true_keypoints_m: FloatArray
    true_vertices_m: FloatArray
    offsets_m: FloatArray
    """(N, V, 3) canonical prediction less truth"""
    std_m: FloatArray
    """(N, V, 3) canonical"""
    keypoint_offsets_m: FloatArray
    """(N, 20, 3) without the wrist, which is the origin of prediction and truth and so can tell nothing"""
    keypoint_std_m: FloatArray
    """(N, 20, 3) likewise"""
    visible: NDArray[np.bool_]
    """(N, V)"""
    visible_alone: NDArray[np.bool_]
    """(N, V) if nothing stood before the hand"""
    keypoint_visible: NDArray[np.bool_]
    """(N, 20) likewise, by ``keypoints_visible``"""
    hidden_share: FloatArray
    """(N,) share of otherwise visible vertices that things hide"""


@dataclass(frozen=True)
class Card:
    """The numbers of one variant; nan where no crop or vertex is of the kind."""

    mpjpe_mm: float
    pa_mpjpe_mm: float
    pa_mpjpe_visible_mm: float
    """of hands of which things hide less than half"""
    pa_mpjpe_hidden_mm: float
    """of the others, the heavily hidden ones"""
    pa_mpvpe_mm: float
    f5: float
    f15: float
    nll: float
    """nats per vertex coordinate, in cm"""
    coverage_50: float
    coverage_68: float
    coverage_90: float
    coverage_95: float
    keypoint_coverage_50: float
    keypoint_coverage_68: float
    keypoint_coverage_90: float
    keypoint_coverage_95: float
    ause: float
    """of vertices, by their mean error"""
    spearman: float
    """rank correlation of deviation and error over all vertices"""
    std_mm: float
    hidden_over_visible: float
    """mean deviation of hidden vertices over that of visible ones; the hand itself hides them too, not only things"""
    hidden_over_visible_heavy: float
    """the same within heavily hidden hands"""
    things_over_visible: float
    """as ``hidden_over_visible``, but of those hidden vertices alone that would be seen if nothing stood before them"""
    things_over_visible_heavy: float


def _seen(points_m: FloatArray, wrist_m: FloatArray, rotation: FloatArray) -> FloatArray:
    return (points_m - wrist_m) @ rotation.T


def keypoints_visible(visible: NDArray[np.bool_], regressor: FloatArray) -> NDArray[np.bool_]:
    """(N, K): whether at least half of a keypoint's vertices are visible (N, V), by weights (K, V) >= 0."""
    return np.asarray(visible @ regressor.T >= 0.5 * regressor.sum(axis=1))


def _shard_answers(shard: Shard, predict: Predictor, template: HandTemplate) -> Answers:
    regressor = template.keypoint_regressor
    true_vertices = truth_from_labels(shard.labels, template).vertices_cm.numpy() / CENTIMETRES_PER_METRE
    hands = predict(shard.pictures)
    columns: dict[str, list[Any]] = {name: [] for name in Answers.__dataclass_fields__ if name not in PER_CROP}
    for hand, truth, rotation in zip(hands, true_vertices, shard.labels["rotation"], strict=True):
        true_keypoints = regressor @ truth
        columns["keypoints_m"].append(_seen(hand.keypoints_m, hand.keypoints_m[0], hand.rotation))
        columns["vertices_m"].append(_seen(hand.vertices_m, hand.keypoints_m[0], hand.rotation))
        columns["true_keypoints_m"].append(_seen(true_keypoints, true_keypoints[0], rotation))
        columns["true_vertices_m"].append(_seen(truth, true_keypoints[0], rotation))
        columns["offsets_m"].append(hand.vertices_m - truth)
        columns["std_m"].append(hand.vertex_std_m)
        columns["keypoint_offsets_m"].append((hand.keypoints_m - true_keypoints)[1:])
        columns["keypoint_std_m"].append(hand.keypoint_std_m[1:])
    # Single precision: 8,000 hands of 778 vertices are 75 MB an array.
    stacked: dict[str, Any] = {name: np.stack(rows).astype(np.float32) for name, rows in columns.items()}
    seen = keypoints_visible(shard.visible, regressor[1:])
    return Answers(
        **stacked,
        visible=shard.visible,
        visible_alone=shard.visible_alone,
        keypoint_visible=seen,
        hidden_share=shard.labels["hidden_share"],
    )


def checkpoint_predictor(directory: Path, template: HandTemplate) -> Predictor:
    """Predict with PyTorch, through the module that is exported; HandvizError if it is not a checkpoint."""
    model, _, notes = load_checkpoint(directory, template)
    exported = ExportModel(model, template, deviation_notes(notes)).eval()

    @torch.no_grad()
    def predict(pictures: NDArray[np.uint8]) -> list[CanonicalHand]:
        hands = []
        for start in range(0, len(pictures), BATCH):
            output = exported(picture_batch(pictures[start : start + BATCH]))
            for row in zip(*(part.numpy() for part in output), strict=True):
                fields = dict(zip(ExportOutput._fields, row, strict=True))
                hands.append(CanonicalHand(**fields | {name: float(fields[name]) for name in ("scale", "right_hand")}))
        return hands

    return predict


def _first(shard: Shard, count: int) -> Shard:
    labels = {name: values[:count] for name, values in shard.labels.items()}
    return Shard(shard.pictures[:count], labels, shard.visible[:count], shard.visible_alone[:count])


def read_crops(crops: Sequence[Crops], template: HandTemplate) -> Iterator[Shard]:
    """Every crop of these folders up to their limits, shard by shard."""
    for part in crops:
        left = np.inf if part.limit is None else part.limit
        for number in shard_numbers(part.directory):
            if left <= 0:
                break
            shard = read_shard(part.directory, number, template.vertex_count)
            shard = shard if len(shard.visible) <= left else _first(shard, int(left))
            left -= len(shard.visible)
            yield shard


def collect(crops: Sequence[Crops], predict: Predictor, template: HandTemplate) -> Answers:
    """Predict every crop of these folders, up to their limits."""
    shards = tqdm(read_crops(crops, template), unit="shard", leave=False)
    parts = [_shard_answers(shard, predict, template) for shard in shards]
    names = Answers.__dataclass_fields__
    return Answers(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def mean_or_nan(values: FloatArray) -> float:
    """Their mean in double precision; nan, without a warning, where there are none."""
    return float(np.mean(values, dtype=np.float64)) if np.size(values) else float("nan")


class PartMeans(NamedTuple):
    """A mean over all hands and over those of which things hide less, or not less, than half."""

    everything: float
    visible: float
    heavily_hidden: float


def means_by_part(values: FloatArray, hidden_share: FloatArray) -> PartMeans:
    """Means of values (N,) by ``hidden_share`` (N,); nan for a part without hands."""
    parts = values, values[hidden_share < HEAVILY_HIDDEN], values[hidden_share >= HEAVILY_HIDDEN]
    return PartMeans(*(mean_or_nan(part) for part in parts))


def hidden_over_visible(deviation: FloatArray, hidden: NDArray[np.bool_], visible: NDArray[np.bool_]) -> float:
    """Mean deviation of hidden over that of visible vertices, all (N, V); nan without any of either."""
    return mean_or_nan(deviation[hidden]) / mean_or_nan(deviation[visible])


def _coverages(answers: Answers) -> dict[str, float]:
    """The card's fields of interval coverage."""
    found: dict[str, float] = {}
    for name, offsets, std in (
        ("coverage", answers.offsets_m, answers.std_m),
        ("keypoint_coverage", answers.keypoint_offsets_m, answers.keypoint_std_m),
    ):
        shares = metrics.reliability_curve(offsets, std, [percent / 100 for percent in COVERAGE_PERCENTS])
        found |= {f"{name}_{percent}": float(x) for percent, x in zip(COVERAGE_PERCENTS, shares, strict=True)}
    return found


def _hidden_ratios(answers: Answers, deviation: FloatArray) -> dict[str, float]:
    """The card's ``hidden_over_visible``: hidden by anything or by things alone, of all or of heavily hidden hands."""
    heavy = answers.hidden_share >= HEAVILY_HIDDEN
    found: dict[str, float] = {}
    for name, hidden in (("hidden", ~answers.visible), ("things", answers.visible_alone & ~answers.visible)):
        found[f"{name}_over_visible"] = hidden_over_visible(deviation, hidden, answers.visible)
        found[f"{name}_over_visible_heavy"] = hidden_over_visible(
            deviation[heavy], hidden[heavy], answers.visible[heavy]
        )
    return found


def card(answers: Answers) -> Card:
    """Every figure of the card; raises HandvizError if a prediction is not finite."""
    if not (np.isfinite(answers.vertices_m).all() and np.isfinite(answers.std_m).all()):
        raise HandvizError("the model's answers are not finite")
    aligned = metrics.procrustes_aligned(answers.vertices_m, answers.true_vertices_m)
    f_scores = metrics.f_scores(aligned, answers.true_vertices_m).mean(axis=0)
    keypoint_errors = metrics.pa_mpjpe_mm(answers.keypoints_m, answers.true_keypoints_m)
    by_part = means_by_part(keypoint_errors, answers.hidden_share)
    offsets_cm, std_cm = answers.offsets_m * CENTIMETRES_PER_METRE, answers.std_m * CENTIMETRES_PER_METRE
    deviation, error = np.linalg.norm(answers.std_m, axis=2), np.linalg.norm(answers.offsets_m, axis=2)
    return Card(
        mpjpe_mm=mean_or_nan(metrics.mpjpe_mm(answers.keypoints_m, answers.true_keypoints_m)),
        pa_mpjpe_mm=by_part.everything,
        pa_mpjpe_visible_mm=by_part.visible,
        pa_mpjpe_hidden_mm=by_part.heavily_hidden,
        pa_mpvpe_mm=mean_or_nan(metrics.mpjpe_mm(aligned, answers.true_vertices_m)),
        f5=float(f_scores[0]),
        f15=float(f_scores[1]),
        nll=mean_or_nan(metrics.gaussian_nll(offsets_cm, std_cm)),
        **_coverages(answers),
        ause=metrics.sparsification_error(error, deviation),
        spearman=metrics.spearman(error, deviation),
        std_mm=mean_or_nan(deviation) * metrics.MILLIMETRES_PER_METRE,
        **_hidden_ratios(answers, deviation),
    )


@torch.no_grad()
def mediapipe_by_part(crops: Sequence[Crops], template: HandTemplate) -> PartMeans:
    """PA-MPJPE in mm of MediaPipe's own world landmarks on the same crops: what the backbone could do before."""
    network, errors, shares = load_mediapipe_landmark_net().eval(), [], []
    for shard in read_crops(crops, template):
        truth = truth_from_labels(shard.labels, template).vertices_cm.numpy() / CENTIMETRES_PER_METRE
        seen = (template.keypoint_regressor @ truth) @ shard.labels["rotation"].transpose(0, 2, 1)
        batches = [shard.pictures[start : start + BATCH] for start in range(0, len(seen), BATCH)]
        world = np.concatenate([network(picture_batch(batch)).world_m.numpy() for batch in batches])
        errors.append(metrics.pa_mpjpe_mm(world.astype(np.float64), seen.astype(np.float64)))
        shares.append(shard.labels["hidden_share"])
    return means_by_part(np.concatenate(errors), np.concatenate(shares))


CARD_ROWS = (
    ("MPJPE, mm", "mpjpe_mm", "{:.2f}"),
    ("PA-MPJPE, mm", "pa_mpjpe_mm", "{:.2f}"),
    ("PA-MPJPE, visible hands, mm", "pa_mpjpe_visible_mm", "{:.2f}"),
    ("PA-MPJPE, heavily hidden, mm", "pa_mpjpe_hidden_mm", "{:.2f}"),
    ("PA-MPVPE, mm", "pa_mpvpe_mm", "{:.2f}"),
    ("F@5 mm", "f5", "{:.3f}"),
    ("F@15 mm", "f15", "{:.3f}"),
    ("nll, nats per coordinate (cm)", "nll", "{:.3f}"),
    *(
        (f"{percent} % interval covers, {points}", f"{prefix}coverage_{percent}", "{:.1%}")
        for points, prefix in (("vertices", ""), ("keypoints", "keypoint_"))
        for percent in COVERAGE_PERCENTS
    ),
    ("AUSE / mean error, vertices", "ause", "{:.3f}"),
    ("Spearman of deviation and error", "spearman", "{:.2f}"),
    ("mean deviation, mm", "std_mm", "{:.2f}"),
    ("deviation hidden / visible vertices", "hidden_over_visible", "{:.2f}"),
    ("the same, heavily hidden hands", "hidden_over_visible_heavy", "{:.2f}"),
    ("deviation hidden by things / visible", "things_over_visible", "{:.2f}"),
    ("that, heavily hidden hands", "things_over_visible_heavy", "{:.2f}"),
)


def cell(form: str, value: float) -> str:
    """A number of a table; a dash where there is none."""
    return "–" if math.isnan(value) else form.format(value)


def card_table(cards: dict[str, Card]) -> str:
    """Markdown: one row a figure, one column a variant."""
    lines = ["| | " + " | ".join(cards) + " |", "|---" * (len(cards) + 1) + "|"]
    for title, name, form in CARD_ROWS:
        values = " | ".join(cell(form, getattr(one, name)) for one in cards.values())
        lines.append(f"| {title} | {values} |")
    return "\n".join(lines)
