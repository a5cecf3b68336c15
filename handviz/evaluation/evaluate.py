"""Computes the model card of any predictor, a checkpoint or an ONNX file, on rendered crops."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from handviz.core import metrics
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import FloatArray
from handviz.core.units import CENTIMETRES_PER_METRE
from handviz.data.synthetic.dataset import Crops, Shard, check_hand_model, read_shard, shard_numbers
from handviz.evaluation.card import Answers, PartMeans, means_by_part
from handviz.evaluation.predictors import BATCH, crop_of, recropped
from handviz.hand_models.template import HandTemplate
from handviz.models.backbones.mediapipe_hand import load_mediapipe_landmark_net
from handviz.training.families import Predictor, family_of_checkpoint
from handviz.training.samples import image_batch, truth_from_labels

PER_CROP = ("visible", "visible_alone", "keypoint_visible", "hidden_fraction")
"""Fields of ``Answers`` that come from the crops alone."""


def _seen(points_m: FloatArray, wrist_m: FloatArray, rotation: FloatArray) -> FloatArray:
    return (points_m - wrist_m) @ rotation.T


def keypoints_visible(visible: NDArray[np.bool_], regressor: FloatArray) -> NDArray[np.bool_]:
    """Return (N, K): whether at least half of a keypoint's vertices are visible (N, V), by weights (K, V) >= 0."""
    return np.asarray(visible @ regressor.T >= 0.5 * regressor.sum(axis=1))


def _shard_answers(shard: Shard, predict: Predictor, template: HandTemplate) -> Answers:
    regressor = template.keypoint_regressor
    true_vertices = truth_from_labels(shard.labels, template).vertices_cm.numpy() / CENTIMETRES_PER_METRE
    hands = predict(recropped(shard.images, crop_of(predict)))
    columns: dict[str, list[Any]] = {name: [] for name in Answers.__dataclass_fields__ if name not in PER_CROP}
    for hand, truth, rotation in zip(hands, true_vertices, shard.labels["rotation"], strict=True):
        true_keypoints = regressor @ truth
        columns["keypoints_m"].append(_seen(hand.keypoints_m, hand.keypoints_m[0], hand.rotation))
        columns["vertices_m"].append(_seen(hand.vertices_m, hand.keypoints_m[0], hand.rotation))
        columns["true_keypoints_m"].append(_seen(true_keypoints, true_keypoints[0], rotation))
        columns["true_vertices_m"].append(_seen(truth, true_keypoints[0], rotation))
        columns["rotation_errors"].append(rotation @ hand.rotation.T)
        columns["offsets_m"].append(hand.vertices_m - truth)
        columns["std_m"].append(_or_nan(hand.vertex_std_m, hand.vertices_m))
        columns["keypoint_offsets_m"].append((hand.keypoints_m - true_keypoints)[1:])
        columns["keypoint_std_m"].append(_or_nan(hand.keypoint_std_m, hand.keypoints_m)[1:])
        columns["hand_probability"].append(np.nan if hand.hand_probability is None else hand.hand_probability)
    # Single precision: 8,000 hands of 778 vertices are 75 MB an array.
    stacked: dict[str, Any] = {name: np.stack(rows).astype(np.float32) for name, rows in columns.items()}
    seen = keypoints_visible(shard.visible, regressor[1:])
    return Answers(
        **stacked,
        visible=shard.visible,
        visible_alone=shard.visible_alone,
        keypoint_visible=seen,
        hidden_fraction=shard.labels["hidden_share"],
    )


def _or_nan(std_m: FloatArray | None, points_m: FloatArray) -> FloatArray:
    """Return the standard deviations, not a number for a model that predicts none."""
    return np.full(points_m.shape, np.nan) if std_m is None else std_m


def checkpoint_predictor(directory: Path, template: HandTemplate) -> Predictor:
    """Return the predictions of a checkpoint as its family makes them; HandvizError if the folder is none."""
    return family_of_checkpoint(directory).predictor_of(directory, template)


def read_crops(crops: Sequence[Crops], template: HandTemplate, *, hands: bool = True) -> Iterator[Shard]:
    """Yield every crop with a hand, or every one without, of these folders up to their limits, shard by shard."""
    for part in crops:
        check_hand_model(part.directory, template)
        left = np.inf if part.limit is None else part.limit
        for number in shard_numbers(part.directory):
            if left <= 0:
                break
            shard = read_shard(part.directory, number, template.vertex_count)
            shard = shard if len(shard.visible) <= left else shard.first(int(left))
            left -= len(shard.visible)
            chosen = shard.of_hands() if hands else shard.without_hand()
            if len(chosen.visible):
                yield chosen


def collect(crops: Sequence[Crops], predict: Predictor, template: HandTemplate) -> Answers:
    """Predict every crop with a hand of these folders, up to their limits; HandvizError if there is none."""
    shards = tqdm(read_crops(crops, template), unit="shard", leave=False)
    parts = [_shard_answers(shard, predict, template) for shard in shards]
    if not parts:
        folders = " and ".join(str(part.directory) for part in crops)
        raise HandvizError(
            f"no crop of {folders} shows a hand: choose more crops or another folder", ErrorCode.EMPTY_INPUT
        )
    names = Answers.__dataclass_fields__
    return Answers(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@torch.no_grad()
def mediapipe_by_part(crops: Sequence[Crops], template: HandTemplate) -> PartMeans:
    """Return PA-MPJPE in mm of MediaPipe's own world landmarks on the same crops, as a baseline."""
    network, errors, fractions = load_mediapipe_landmark_net().eval(), [], []
    for shard in read_crops(crops, template):
        truth = truth_from_labels(shard.labels, template).vertices_cm.numpy() / CENTIMETRES_PER_METRE
        seen = (template.keypoint_regressor @ truth) @ shard.labels["rotation"].transpose(0, 2, 1)
        batches = [shard.images[start : start + BATCH] for start in range(0, len(seen), BATCH)]
        world = np.concatenate([network(image_batch(batch)).world_m.numpy() for batch in batches])
        errors.append(metrics.pa_mpjpe_mm(world.astype(np.float64), seen.astype(np.float64)))
        fractions.append(shard.labels["hidden_share"])
    return means_by_part(np.concatenate(errors), np.concatenate(fractions))
