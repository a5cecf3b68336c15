"""Trains and tests ablations: heads alone, on evidence that one frozen trunk gave once for all of them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from handviz.core import metrics
from handviz.core.errors import HandvizError
from handviz.core.records import FloatArray
from handviz.core.units import METRES_PER_CENTIMETRE
from handviz.evaluation.card import SeenPoints, deviation_figures, mean_or_nan, point_figures
from handviz.evaluation.held_out import write_text
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.losses import loss_terms
from handviz.models.amvur.memory import channels_last
from handviz.models.amvur.model import HandModel, ModelConfig, VariantHeads, build_model
from handviz.training.cache import CachedSamples, load_cached, with_evidence
from handviz.training.checkpoint import load_checkpoint, save_checkpoint
from handviz.training.trainer import learning_rate_factor
from tools.ablation import DEVIATION_FIGURES, MODEL, RESULT, Experiment


@dataclass(frozen=True)
class Budget:
    """How every experiment trains."""

    steps: int = 600
    batch_size: int = 64
    rate: float = 1e-3
    warm_up_share: float = 0.1
    weight_decay: float = 0.01
    gradient_norm: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or not 0 < self.rate < 1:
            raise HandvizError("ablations need at least one step, one crop a batch and a rate between 0 and 1")


@dataclass(frozen=True)
class BenchCrops:
    """What experiments share: folders of rendered crops, and the checkpoint whose backbone sees them."""

    data: tuple[Path, ...]
    test: Path
    trunk: Path | None = None
    """None: MediaPipe's weights"""
    limit: int | None = None
    """Use only the first crops of ``data``"""
    test_limit: int | None = None

    def __post_init__(self) -> None:
        if any(limit is not None and limit < 1 for limit in (self.limit, self.test_limit)):
            raise HandvizError("--limit and --test-limit must be at least 1")


class Bench:
    """Crops as one frozen trunk sees them, for any number of experiments."""

    def __init__(self, crops: BenchCrops, template: HandTemplate) -> None:
        self.crops, self.template = crops, template
        self.backbone_name, self.seen_before, state = ModelConfig().backbone, 0, None
        if crops.trunk is not None:
            source, config, notes = load_checkpoint(crops.trunk, template)
            self.backbone_name, self.seen_before = config.backbone, int(notes.get("samples_seen", 0))
            state = source.backbone.state_dict()
        self.trunk = build_model(replace(MODEL, backbone=self.backbone_name), template)
        if state is not None:
            self.trunk.backbone.load_state_dict(state)
        channels_last(self.trunk)
        self.training = self._evidence(crops.data, crops.limit)
        self.test = self._evidence((crops.test,), crops.test_limit)
        self.regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)

    def _evidence(self, folders: Sequence[Path], limit: int | None) -> CachedSamples:
        samples = load_cached(folders, self.trunk, self.backbone_name, self.template, limit)
        seen = with_evidence(samples, self.trunk)
        # A slice of the maps would keep all of them in memory.
        return replace(seen, middle_maps=seen.middle_maps.clone())

    def model(self, experiment: Experiment, seed: int) -> HandModel:
        """An experiment's network: the trunk's backbone, fresh heads."""
        torch.manual_seed(seed)
        model = build_model(replace(experiment.model, backbone=self.backbone_name), self.template)
        model.backbone.load_state_dict(self.trunk.backbone.state_dict())
        return model


def batches(count: int, budget: Budget) -> Iterator[Tensor]:
    """Sample numbers (batch,) of every step; their order depends on the seed alone."""
    if count < budget.batch_size:
        raise HandvizError(f"{count} crops to train on are fewer than a batch of {budget.batch_size}")
    generator, left = torch.Generator().manual_seed(budget.seed), torch.empty(0, dtype=torch.long)
    for _ in range(budget.steps):
        if len(left) < budget.batch_size:
            left = torch.randperm(count, generator=generator)
        yield left[: budget.batch_size]
        left = left[budget.batch_size :]


def train_heads(
    heads: VariantHeads, samples: CachedSamples, regressor: Tensor, experiment: Experiment, budget: Budget
) -> list[float]:
    """Train on evidence; the loss of every step. Raises HandvizError at a loss that is not finite."""
    terms_of = loss_terms(experiment.model.variant)
    optimiser = torch.optim.AdamW(heads.parameters(), lr=budget.rate, weight_decay=budget.weight_decay)
    warm_up = max(1, round(budget.steps * budget.warm_up_share))
    losses: list[float] = []
    heads.train()
    for ids in tqdm(batches(len(samples), budget), total=budget.steps, desc=experiment.name, unit="step"):
        optimiser.param_groups[0]["lr"] = budget.rate * learning_rate_factor(len(losses), budget.steps, warm_up)
        evidence, truth = samples.batch(ids)
        loss = torch.stack(list(terms_of(heads(evidence), truth, regressor, experiment.loss).values())).sum()
        if not torch.isfinite(loss):
            raise HandvizError(f"{experiment.name}: the loss became {loss.item()} at step {len(losses)}")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(heads.parameters(), budget.gradient_norm)
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


@torch.no_grad()
def held_out_figures(
    heads: VariantHeads, samples: CachedSamples, regressor: Tensor, *, with_deviation: bool
) -> dict[str, float | None]:
    """Errors on held-out crops in mm, as on the model card; None for what a mean without deviation does not say."""
    heads.eval()
    columns: dict[str, list[FloatArray]] = {"mean": [], "true": [], "std": [], "turn": [], "true_turn": []}
    for ids in torch.arange(len(samples)).split(128):
        evidence, truth = samples.batch(ids)
        output = heads(evidence)
        std = (0.5 * output.log_variance).exp()
        row = (output.mean_cm, truth.vertices_cm, std, output.camera.rotation, truth.rotation)
        for column, values in zip(columns.values(), row, strict=True):
            column.append(values.numpy())
    mean, true, std, turn, true_turn = (np.concatenate(column) for column in columns.values())
    points = _seen_points(mean, true, turn, true_turn, regressor.numpy())
    figures: dict[str, float | None] = {
        **point_figures(points),
        "pa_mpjpe_mm": mean_or_nan(metrics.pa_mpjpe_mm(points.keypoints_m, points.true_keypoints_m)),
        "mpvpe_mm": mean_or_nan(metrics.mpjpe_mm(points.vertices_m, points.true_vertices_m)),
    }
    if not with_deviation:
        return figures | dict.fromkeys(DEVIATION_FIGURES)
    return figures | _deviations((mean - true) * METRES_PER_CENTIMETRE, std * METRES_PER_CENTIMETRE)


def _seen_points(
    mean_cm: FloatArray, true_cm: FloatArray, turn: FloatArray, true_turn: FloatArray, regressor: FloatArray
) -> SeenPoints:
    """Points in the crop's axes, from the wrist."""
    vertices, true_vertices = mean_cm * METRES_PER_CENTIMETRE, true_cm * METRES_PER_CENTIMETRE
    keypoints, true_keypoints = regressor @ vertices, regressor @ true_vertices
    seen = [(part - keypoints[:, :1]) @ turn.transpose(0, 2, 1) for part in (keypoints, vertices)]
    true = [(part - true_keypoints[:, :1]) @ true_turn.transpose(0, 2, 1) for part in (true_keypoints, true_vertices)]
    return SeenPoints(*seen, *true)


def _deviations(offsets_m: FloatArray, std_m: FloatArray) -> dict[str, float | None]:
    figures = deviation_figures(offsets_m, std_m)
    return {name: None if np.isnan(figures[name]) else figures[name] for name in DEVIATION_FIGURES}


def run_experiment(experiment: Experiment, bench: Bench, budget: Budget, directory: Path) -> Path:
    """Train and test one; writes ``directory/NAME``: checkpoint ``last``, ``result.json``, whose path it returns."""
    model = bench.model(experiment, budget.seed)
    losses = train_heads(model.heads, bench.training, bench.regressor, experiment, budget)
    with_deviation = experiment.model.variant == "prior" or experiment.loss.likelihood != "l2"
    figures = held_out_figures(model.heads, bench.test, bench.regressor, with_deviation=with_deviation)
    crops_seen, ending = budget.steps * budget.batch_size, losses[-50:]
    result = {
        "name": experiment.name,
        "figures": figures,
        "alike": _alike(bench, budget),
        "crops_seen": crops_seen,
        "loss": sum(ending) / len(ending),
        "model": asdict(experiment.model),
        "train": {"loss": asdict(experiment.loss)},
        "samples_seen": bench.seen_before + crops_seen,
    }
    config = replace(experiment.model, backbone=bench.backbone_name)
    save_checkpoint(directory / experiment.name / "last", model, config, result, bench.template, {})
    return write_text(directory / experiment.name / RESULT, json.dumps(result, indent=1) + "\n")


def _alike(bench: Bench, budget: Budget) -> dict[str, Any]:
    """What must be the same for all rows of a table."""
    return {
        **asdict(budget),
        "data": [str(folder) for folder in bench.crops.data],
        "samples": len(bench.training),
        "test": str(bench.crops.test),
        "test_samples": len(bench.test),
        "trunk": str(bench.crops.trunk or "MediaPipe's weights"),
        "trunk_crops_seen": bench.seen_before,
    }
