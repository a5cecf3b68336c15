"""Held-out crops in, the model card's numbers out; any predictor will do, a checkpoint or an ONNX file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from handviz.train.checkpoint import load_checkpoint

CENTIMETRES_PER_METRE = 100.0
BATCH = 16
"""Crops that a predictor takes at a time."""
Predictor = Callable[[NDArray[np.uint8]], list[CanonicalHand]]
"""Crops (N, 224, 224, 3) RGB -> one hand each."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Predictions and truth of N crops in metres; ``seen`` axes are the crop's, so rotation counts in MPJPE."""

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
    """(N, 21, 3)"""
    keypoint_std_m: FloatArray
    visible: NDArray[np.bool_]
    """(N, V)"""


@dataclass(frozen=True)
class Card:
    """The numbers of one variant."""

    mpjpe_mm: float
    pa_mpjpe_mm: float
    pa_mpvpe_mm: float
    f5: float
    f15: float
    nll: float
    """nats per vertex coordinate, in cm"""
    coverage_68: float
    coverage_95: float
    keypoint_coverage_68: float
    keypoint_coverage_95: float
    spearman: float
    """rank correlation of deviation and error over all vertices"""
    std_mm: float
    hidden_over_visible: float
    """mean deviation of hidden vertices over that of visible ones"""


def _seen(points_m: FloatArray, wrist_m: FloatArray, rotation: FloatArray) -> FloatArray:
    return (points_m - wrist_m) @ rotation.T


def _shard_answers(shard: Shard, predict: Predictor, template: HandTemplate) -> Answers:
    regressor = template.keypoint_regressor
    true_vertices = truth_from_labels(shard.labels, template).vertices_cm.numpy() / CENTIMETRES_PER_METRE
    hands = predict(shard.pictures)
    columns: dict[str, list[Any]] = {name: [] for name in Answers.__dataclass_fields__}
    for hand, truth, rotation in zip(hands, true_vertices, shard.labels["rotation"], strict=True):
        true_keypoints = regressor @ truth
        columns["keypoints_m"].append(_seen(hand.keypoints_m, hand.keypoints_m[0], hand.rotation))
        columns["vertices_m"].append(_seen(hand.vertices_m, hand.keypoints_m[0], hand.rotation))
        columns["true_keypoints_m"].append(_seen(true_keypoints, true_keypoints[0], rotation))
        columns["true_vertices_m"].append(_seen(truth, true_keypoints[0], rotation))
        columns["offsets_m"].append(hand.vertices_m - truth)
        columns["std_m"].append(hand.vertex_std_m)
        columns["keypoint_offsets_m"].append(hand.keypoints_m - true_keypoints)
        columns["keypoint_std_m"].append(hand.keypoint_std_m)
    columns["visible"] = list(shard.visible)
    stacked: dict[str, Any] = {name: np.stack(rows) for name, rows in columns.items()}
    return Answers(**stacked)


def checkpoint_predictor(directory: Path, template: HandTemplate) -> Predictor:
    """Predict with PyTorch, through the module that is exported; HandvizError if it is not a checkpoint."""
    model, _, notes = load_checkpoint(directory, template)
    correlation = float(notes["train"]["loss"]["vertex_correlation"])
    exported = ExportModel(model, template, correlation).eval()

    @torch.no_grad()
    def predict(pictures: NDArray[np.uint8]) -> list[CanonicalHand]:
        hands = []
        for start in range(0, len(pictures), BATCH):
            output = exported(picture_batch(pictures[start : start + BATCH]))
            for row in zip(*(part.numpy() for part in output), strict=True):
                fields = dict(zip(ExportOutput._fields, row, strict=True))
                hands.append(CanonicalHand(**{**fields, "scale": float(fields["scale"])}))
        return hands

    return predict


def collect(directory: Path, predict: Predictor, template: HandTemplate, limit: int | None = None) -> Answers:
    """Predict every crop of a folder (or the first ``limit``, rounded up to whole shards)."""
    parts: list[Answers] = []
    numbers = shard_numbers(directory)
    for number in tqdm(numbers, unit="shard", leave=False):
        if limit is not None and sum(len(part.std_m) for part in parts) >= limit:
            break
        shard = read_shard(directory, number, template.vertex_count)
        parts.append(_shard_answers(shard, predict, template))
    names = Answers.__dataclass_fields__
    return Answers(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def card(answers: Answers) -> Card:
    """Every figure of the card; raises HandvizError if a prediction is not finite."""
    if not (np.isfinite(answers.vertices_m).all() and np.isfinite(answers.std_m).all()):
        raise HandvizError("the model's answers are not finite")
    aligned = metrics.procrustes_aligned(answers.vertices_m, answers.true_vertices_m)
    f_scores = metrics.f_scores(aligned, answers.true_vertices_m).mean(axis=0)
    offsets_cm, std_cm = answers.offsets_m * CENTIMETRES_PER_METRE, answers.std_m * CENTIMETRES_PER_METRE
    deviation = np.linalg.norm(answers.std_m, axis=2)
    hidden = ~answers.visible
    return Card(
        mpjpe_mm=float(metrics.mpjpe_mm(answers.keypoints_m, answers.true_keypoints_m).mean()),
        pa_mpjpe_mm=float(metrics.pa_mpjpe_mm(answers.keypoints_m, answers.true_keypoints_m).mean()),
        pa_mpvpe_mm=float(metrics.mpjpe_mm(aligned, answers.true_vertices_m).mean()),
        f5=float(f_scores[0]),
        f15=float(f_scores[1]),
        nll=float(metrics.gaussian_nll(offsets_cm, std_cm).mean()),
        coverage_68=metrics.interval_coverage(answers.offsets_m, answers.std_m, 0.68),
        coverage_95=metrics.interval_coverage(answers.offsets_m, answers.std_m, 0.95),
        keypoint_coverage_68=metrics.interval_coverage(answers.keypoint_offsets_m, answers.keypoint_std_m, 0.68),
        keypoint_coverage_95=metrics.interval_coverage(answers.keypoint_offsets_m, answers.keypoint_std_m, 0.95),
        spearman=metrics.spearman(np.linalg.norm(answers.offsets_m, axis=2).ravel(), deviation.ravel()),
        std_mm=float(deviation.mean()) * 1000,
        hidden_over_visible=float(deviation[hidden].mean() / deviation[answers.visible].mean()),
    )


@torch.no_grad()
def mediapipe_pa_mpjpe_mm(directory: Path, template: HandTemplate, limit: int) -> float:
    """PA-MPJPE in mm of MediaPipe's own world landmarks on the same crops: what the backbone could do before."""
    network, errors, count = load_mediapipe_landmark_net().eval(), [], 0
    for number in shard_numbers(directory):
        if count >= limit:
            break
        shard = read_shard(directory, number, template.vertex_count)
        truth = truth_from_labels(shard.labels, template).vertices_cm.numpy() / CENTIMETRES_PER_METRE
        seen = (template.keypoint_regressor @ truth) @ shard.labels["rotation"].transpose(0, 2, 1)
        batches = [shard.pictures[start : start + BATCH] for start in range(0, len(seen), BATCH)]
        world = np.concatenate([network(picture_batch(batch)).world_m.numpy() for batch in batches])
        errors.append(metrics.pa_mpjpe_mm(world.astype(np.float64), seen.astype(np.float64)))
        count += len(seen)
    return float(np.concatenate(errors).mean())


CARD_ROWS = (
    ("MPJPE, mm", "mpjpe_mm", "{:.2f}"),
    ("PA-MPJPE, mm", "pa_mpjpe_mm", "{:.2f}"),
    ("PA-MPVPE, mm", "pa_mpvpe_mm", "{:.2f}"),
    ("F@5 mm", "f5", "{:.3f}"),
    ("F@15 mm", "f15", "{:.3f}"),
    ("nll, nats per coordinate (cm)", "nll", "{:.3f}"),
    ("68 % interval covers, vertices", "coverage_68", "{:.1%}"),
    ("95 % interval covers, vertices", "coverage_95", "{:.1%}"),
    ("68 % interval covers, keypoints", "keypoint_coverage_68", "{:.1%}"),
    ("95 % interval covers, keypoints", "keypoint_coverage_95", "{:.1%}"),
    ("Spearman of deviation and error", "spearman", "{:.2f}"),
    ("mean deviation, mm", "std_mm", "{:.2f}"),
    ("deviation hidden / visible", "hidden_over_visible", "{:.2f}"),
)


def card_table(cards: dict[str, Card]) -> str:
    """Markdown: one row a figure, one column a variant."""
    lines = ["| | " + " | ".join(cards) + " |", "|---" * (len(cards) + 1) + "|"]
    for title, name, form in CARD_ROWS:
        values = " | ".join(form.format(getattr(one, name)) for one in cards.values())
        lines.append(f"| {title} | {values} |")
    return "\n".join(lines)
