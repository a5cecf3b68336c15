"""The training loop: cached maps in, a variant's heads and the backbone's last blocks out.

One config, saved beside the checkpoint. A resumed run is the straight run to the bit: the order of samples depends on
seed and epoch alone.
"""

import csv
import json
import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from handviz import metrics
from handviz.errors import HandvizError
from handviz.hand_model.template import HandTemplate
from handviz.nets.memory import channels_last
from handviz.nets.model import HandModel, ModelConfig, ModelOutput, build_model
from handviz.train.cache import CachedSamples, load_cached, with_evidence
from handviz.train.checkpoint import load_checkpoint, load_resume_state, recovered, save_checkpoint
from handviz.train.losses import LossConfig, Truth, in_crop, squared_terms, supervised_terms

logger = logging.getLogger(__name__)
LAST = "last"


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a run depends on."""

    data: tuple[Path, ...]
    """Folders of rendered hands, taken together."""
    run: Path
    """Folder of the run: checkpoint ``last``, ``log.csv``."""
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    epochs: int = 3
    batch_size: int = 64
    head_rate: float = 1e-3
    """Learning rate of new layers (AdamW, warm-up, cosine to zero)."""
    tail_rate: float = 3e-4
    """Learning rate of the backbone's last blocks; 0 freezes everything before the heads."""
    weight_decay: float = 0.01
    warm_up_steps: int = 200
    gradient_norm: float = 2.0
    seed: int = 0
    checkpoint_every: int = 200
    """Steps."""
    validation: Path | None = None
    backbone_from: Path | None = None
    """Checkpoint whose backbone to start from."""
    start_from: tuple[Path, ...] = ()
    """Checkpoints of any variants whose matching weights to start from; later ones win."""
    limit: int | None = None
    """Use only the first samples."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "checkpoint_every", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise HandvizError(f"training: {name} is {value}, it must be at least 1")
        for name in ("head_rate", "tail_rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise HandvizError(f"training: {name} is {getattr(self, name)}, it must be a number from 0 on")


def optimiser_groups(model: HandModel, config: TrainConfig) -> list[dict[str, Any]]:
    """Every trainable parameter in exactly one group; the stem never trains on cached maps, the witness never."""
    frozen = config.tail_rate == 0
    tail = [] if frozen else list(tail_parameters(model))
    heads = list(model.heads.parameters()) + ([] if frozen else list(model.evidence.parameters()))
    chosen = {id(parameter) for parameter in tail + heads}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in chosen)
    groups = [(heads, config.head_rate)] + ([(tail, config.tail_rate)] if tail else [])
    grouped = [id(parameter) for parameters, _ in groups for parameter in parameters]
    assert len(grouped) == len(set(grouped)) == sum(p.requires_grad for p in model.parameters())
    return [{"params": parameters, "lr": rate, "rate": rate} for parameters, rate in groups]


def tail_parameters(model: HandModel) -> Iterator[torch.nn.Parameter]:
    """Parameters that act behind the cached map: those that get a gradient from it."""
    parameters = list(model.backbone.parameters())
    probe = torch.zeros(2, model.backbone.middle_channels, 14, 14)
    was_training = model.training
    model.eval()
    total = model.backbone.tail(probe).sum()
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    model.train(was_training)
    return (p for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None)


def learning_rate_factor(step: int, total: int, warm_up: int) -> float:
    """Linear warm-up, then half a cosine to zero."""
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, total - warm_up))))


def loss_terms(output: ModelOutput, truth: Truth, regressor: Tensor, config: TrainConfig) -> dict[str, Tensor]:
    """The terms of the config's variant."""
    terms = squared_terms if config.model.variant == "prior" else supervised_terms
    return terms(output, truth, regressor, config.loss)


class Trainer:
    """One run."""

    def __init__(self, config: TrainConfig, template: HandTemplate) -> None:
        self.config, self.template = config, template
        torch.manual_seed(config.seed)
        self.model = build_model(config.model, template)
        self._start_backbone()
        self._start_weights()
        self.samples = load_cached(config.data, self.model, config.model.backbone, template, config.limit)
        if len(self.samples) < config.batch_size:
            names = ", ".join(map(str, config.data))
            raise HandvizError(f"{names} holds {len(self.samples)} samples, fewer than a batch")
        channels_last(self.model)
        if config.tail_rate == 0:
            self.samples = with_evidence(self.samples, self.model)
        self.regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)
        self.optimiser = torch.optim.AdamW(optimiser_groups(self.model, config), weight_decay=config.weight_decay)
        self.step = 0
        self.steps_per_epoch = len(self.samples) // config.batch_size
        self.total_steps = self.steps_per_epoch * config.epochs

    def _start_backbone(self) -> None:
        if self.config.backbone_from is None:
            return
        source, config, _ = load_checkpoint(self.config.backbone_from, self.template)
        if config.backbone != self.config.model.backbone:
            raise HandvizError(f"{self.config.backbone_from} has the backbone {config.backbone}")
        self.model.backbone.load_state_dict(source.backbone.state_dict())

    def _start_weights(self) -> None:
        """Take over every weight that has the same name and shape, whichever variant it comes from."""
        own = self.model.state_dict()
        self.seen_before = 0
        for directory in self.config.start_from:
            source, _, notes = load_checkpoint(directory, self.template)
            self.seen_before = max(self.seen_before, int(notes.get("samples_seen", 0)))
            known = {k: v for k, v in source.state_dict().items() if k in own and v.shape == own[k].shape}
            if not known:
                raise HandvizError(f"{directory} has no weight in common with {self.config.model}")
            self.model.load_state_dict(known, strict=False)

    @property
    def crops_seen(self) -> int:
        """Crops that the weights have learnt from, those of the runs that they started from included."""
        return self.seen_before + self.step * self.config.batch_size

    def resume(self) -> None:
        """Go on from the run's last checkpoint if there is one."""
        last = recovered(self.config.run / LAST)
        if not last.is_dir():
            return
        model, config, _ = load_checkpoint(last, self.template)
        if config != self.config.model:
            raise HandvizError(f"{last} holds another model ({config}): choose another run folder")
        self.model.load_state_dict(model.state_dict())
        state = load_resume_state(last)
        try:
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = int(state["step"])
        except (KeyError, TypeError, ValueError) as error:
            raise HandvizError(f"{last} was trained in another way ({error}): choose another run folder") from error
        logger.info("resuming at step %d", self.step)

    def save(self) -> None:
        """Write the run's last checkpoint."""
        state = {"optimiser": self.optimiser.state_dict(), "step": self.step}
        notes = {
            "step": self.step,
            "samples_seen": self.crops_seen,
            "samples": len(self.samples),
            "train": json.loads(json.dumps(asdict(self.config), default=str)),
        }
        save_checkpoint(self.config.run / LAST, self.model, self.config.model, notes, self.template, state)

    def batches(self) -> Iterator[Tensor]:
        """Sample numbers of every step that is still to do; an epoch's order depends on seed and epoch alone."""
        done = self.step
        for epoch in range(done // self.steps_per_epoch, self.config.epochs):
            generator = torch.Generator().manual_seed(self.config.seed * 1000 + epoch)
            order = torch.randperm(len(self.samples), generator=generator)
            batches = order[: self.steps_per_epoch * self.config.batch_size].view(self.steps_per_epoch, -1)
            yield from batches[max(0, done - epoch * self.steps_per_epoch) :]

    def train_step(self, ids: Tensor) -> dict[str, float]:
        """One update; returns the loss terms. Raises HandvizError at a loss that is not finite."""
        factor = learning_rate_factor(self.step, self.total_steps, self.config.warm_up_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = group["rate"] * factor
        cached, truth = self.samples.batch(ids)
        output = self.model.from_cached(cached)
        terms = loss_terms(output, truth, self.regressor, self.config)
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            raise HandvizError(
                f"the loss became {loss.item()} at step {self.step}; the last checkpoint is intact: "
                "lower the learning rate or look at the data"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_norm)
        self.optimiser.step()
        self.step += 1
        return {name: float(value.detach()) for name, value in terms.items()}


@torch.no_grad()
def validation_errors(model: HandModel, samples: CachedSamples, regressor: Tensor) -> dict[str, float]:
    """PA-MPJPE and mean vertex error (mm, canonical), root of the mean variance (mm), mean 2D error (% of the crop)."""
    model.eval()
    columns: dict[str, list[Tensor]] = {"pa": [], "error": [], "variance": [], "image": []}
    for ids in torch.arange(len(samples)).split(128):
        cached, truth = samples.batch(ids)
        output = model.from_cached(cached)
        mine, true = (regressor @ vertices for vertices in (output.mean_cm, truth.vertices_cm))
        columns["pa"].append(torch.from_numpy(metrics.pa_mpjpe_mm(mine.numpy(), true.numpy()) * 0.01))
        columns["error"].append((output.mean_cm - truth.vertices_cm).norm(dim=2).mean(1))
        columns["variance"].append(output.log_variance.exp().sum(2).mean(1))
        camera = output.camera
        wanted = in_crop(truth.vertices_cm, truth.rotation, truth.scale_per_cm, truth.translation)
        found = in_crop(output.mean_cm, camera.rotation, camera.scale, camera.translation)
        columns["image"].append((wanted - found)[..., :2].norm(dim=2).mean(1))
    model.train()
    mean = {name: float(torch.cat(parts).mean()) for name, parts in columns.items()}
    return {
        "pa_mpjpe_mm": mean["pa"],
        "vertex_error_mm": mean["error"] * 10,
        "std_mm": mean["variance"] ** 0.5 * 10,
        "image_error_percent": mean["image"] * 50,
    }


def _log_row(path: Path, row: dict[str, float]) -> None:
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row.keys())
        if fresh:
            writer.writeheader()
        writer.writerow({name: f"{value:.6g}" for name, value in row.items()})


def train(config: TrainConfig, template: HandTemplate) -> Path:
    """Train to the end (or go on to it); returns the checkpoint's folder."""
    config.run.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config, template)
    validation = None
    if config.validation is not None:
        validation = load_cached((config.validation,), trainer.model, config.model.backbone, template, 2048)
    trainer.resume()
    trainer.model.train()
    bar = tqdm(total=trainer.total_steps, initial=trainer.step, unit="step", smoothing=0.05)
    for ids in trainer.batches():
        terms = trainer.train_step(ids)
        bar.update(1)
        at_end = trainer.step == trainer.total_steps
        if trainer.step % config.checkpoint_every == 0 or at_end:
            row = {"step": trainer.step, "crops_seen": trainer.crops_seen, "loss": sum(terms.values()), **terms}
            if validation is not None:
                row |= validation_errors(trainer.model, validation, trainer.regressor)
                bar.set_postfix_str(f"PA-MPJPE {row['pa_mpjpe_mm']:.2f} mm, std {row['std_mm']:.2f} mm")
            _log_row(config.run / "log.csv", row)
            trainer.save()
    bar.close()
    return config.run / LAST
