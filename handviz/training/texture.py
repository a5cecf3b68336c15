"""Training of the texture net (paper, Algorithm 4): hand, camera and the backbone's first blocks are given.

Two truths at once: the picture itself, at pixels that the mesh covers and the mask calls hand (equation 12), and the
known colours of all vertices, also of those that no picture could tell about.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from handviz.core.errors import HandvizError
from handviz.core.records import CROP_SIZE
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.onnx_file import IMAGE_SHAPE, INPUT_NAME
from handviz.models.texture.network import STEM_CHANNELS, TextureConfig, TextureMaps, TextureNet, TextureOutput
from handviz.models.texture.rasterise import barycentrics
from handviz.training.cache import fast_session
from handviz.training.checkpoint import load_resume_state, recovered, save_checkpoint
from handviz.training.optimiser import descend, learning_rate_factor
from handviz.training.run_log import RunLog
from handviz.training.stopping import stop_at_signals
from handviz.training.texture_checkpoint import load_texture_checkpoint, matching_weights
from handviz.training.texture_samples import DARKEST_SHOWN, TextureBatch, TextureSamples, load_texture_samples

logger = logging.getLogger(__name__)
LAST = "last"
LARGEST_VALIDATION = 512


@dataclass(frozen=True)
class TextureLoss:
    """Weights of the terms; colours are errors in [0, 1]."""

    photometric: float = 4.0
    lit_seen: float = 0.1
    """Of seen vertices; their pixels say more, for they know shine and sharp shadows."""
    lit_hidden: float = 0.7
    even: float = 0.7
    seen: float = 0.05


@dataclass(frozen=True)
class TextureTrainConfig:
    """Everything that a run depends on."""

    data: tuple[Path, ...]
    run: Path
    model: TextureConfig = field(default_factory=TextureConfig)
    loss: TextureLoss = field(default_factory=TextureLoss)
    epochs: int = 3
    batch_size: int = 32
    rate: float = 1e-3
    weight_decay: float = 0.01
    warm_up_steps: int = 200
    gradient_norm: float = 1.0
    seed: int = 0
    checkpoint_every: int = 200
    validation: Path | None = None
    limit: int | None = None
    start_from: Path | None = None
    """Checkpoint of a texture net, perhaps of other sizes, whose matching weights to start from."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "checkpoint_every", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise HandvizError(f"training: {name} is {value}, it must be at least 1")


def at_pixels(colours: Tensor, batch: TextureBatch, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Colours (B, V, 3) drawn at the batch's pixels (B, P, 3), the picture there, and whether there is a pixel
    (B, P): equation 12, at some of the pixels."""
    rows = torch.arange(len(colours), device=colours.device)[:, None, None]
    corners = faces[batch.triangle.clamp(min=0)]
    place = torch.stack([batch.pixel % CROP_SIZE, batch.pixel // CROP_SIZE], dim=2)
    weights = barycentrics(batch.points[rows, corners][..., :2], (place + 0.5) / (CROP_SIZE / 2) - 1)
    drawn = (weights[..., None] * colours[rows, corners]).sum(2)
    picture = batch.image.flatten(2).transpose(1, 2)[rows[..., 0], batch.pixel]
    # Black is the end of the picture; it tells nothing of the hand.
    is_shown = picture.amax(-1) > DARKEST_SHOWN
    return drawn, picture, (batch.triangle >= 0) & is_shown


def colour_error(found: Tensor, true: Tensor) -> Tensor:
    """(...) of colours (..., 3): the absolute error, which keeps edges, and ten times the squared one, which is what
    signal to noise is made of."""
    difference = found - true
    return (difference.abs() + 10 * difference.square()).mean(-1)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of values where weights, of the same shape, are; 0 without any."""
    return (values * weights).sum() / weights.sum().clamp(min=1)


def texture_terms(output: TextureOutput, batch: TextureBatch, faces: Tensor, config: TextureLoss) -> dict[str, Tensor]:
    """Every weighted term by name."""
    drawn, picture, is_there = at_pixels(output.rgb, batch, faces)
    lit = colour_error(output.rgb, batch.lit)
    terms = {
        "photometric": config.photometric * weighted_mean(colour_error(drawn, picture), is_there.float()),
        "lit_seen": config.lit_seen * weighted_mean(lit, batch.seen),
        "lit_hidden": config.lit_hidden * weighted_mean(lit, 1 - batch.seen),
        "even": config.even * colour_error(output.even, batch.even).mean(),
    }
    if config.seen:
        terms["seen"] = config.seen * functional.binary_cross_entropy_with_logits(output.seen_logit, batch.seen)
    return terms


class _Stem(nn.Module):
    """The blocks that do not train."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = TextureMaps()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.maps.stem(image))


@cache
def stem_session() -> onnxruntime.InferenceSession:
    """Images -> the maps of MediaPipe's blocks, the same for every run."""
    return fast_session(_Stem(), [f"map{number}" for number in range(len(STEM_CHANNELS))], IMAGE_SHAPE)


class TextureTrainer:
    """One run."""

    def __init__(self, config: TextureTrainConfig, template: HandTemplate) -> None:
        self.config, self.template = config, template
        torch.manual_seed(config.seed)
        self.network = TextureNet(config.model, template)
        self.seen_before = 0
        if config.start_from is not None:
            self._start_from(config.start_from)
        self.samples = load_texture_samples(config.data, template, config.limit)
        if len(self.samples) < config.batch_size:
            raise HandvizError(
                f"{', '.join(map(str, config.data))} holds {len(self.samples)} samples, fewer than a batch"
            )
        self.validation: TextureSamples | None = None
        if config.validation is not None:
            self.validation = load_texture_samples((config.validation,), template, LARGEST_VALIDATION)
        self.faces = torch.tensor(template.faces).long()
        trainable = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(trainable, lr=config.rate, weight_decay=config.weight_decay)
        self.step = 0
        self.steps_per_epoch = len(self.samples) // config.batch_size
        self.total_steps = self.steps_per_epoch * config.epochs

    def _start_from(self, directory: Path) -> None:
        """Take over every weight that has the same name and shape."""
        notes, weights = matching_weights(directory, self.template, self.network)
        self.network.load_state_dict(weights, strict=False)
        self.seen_before = int(notes.get("samples_seen", 0))

    def resume(self) -> None:
        """Go on from the run's last checkpoint if there is one."""
        last = recovered(self.config.run / LAST)
        if not last.is_dir():
            return
        network, config, notes = load_texture_checkpoint(last, self.template)
        lasting = self._lasting()
        differing = [name for name, value in lasting.items() if notes.get(name) != value]
        if config != self.config.model or differing:
            raise HandvizError(
                f"{last} was trained in another way ({', '.join(differing) or config}): choose another run folder"
            )
        self.network.load_state_dict(network.state_dict())
        state = load_resume_state(last)
        try:
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = int(state["step"])
        except (KeyError, TypeError, ValueError) as error:
            raise HandvizError(f"{last} is damaged ({error}): choose another run folder") from error
        self.seen_before = max(0, notes.get("samples_seen", 0) - self.step * self.config.batch_size)
        logger.info("resuming at step %d", self.step)

    def _lasting(self) -> dict[str, Any]:
        """What a run keeps from its first step to its last."""
        config = self.config
        return {
            "seed": config.seed,
            "samples": len(self.samples),
            "batch_size": config.batch_size,
            "data": [str(folder.resolve()) for folder in config.data],
            "loss": asdict(config.loss),
        }

    def save(self) -> None:
        """Write the run's last checkpoint."""
        config = self.config
        notes = {
            "step": self.step,
            "samples_seen": self.seen_before + self.step * config.batch_size,
            **self._lasting(),
            "train": json.loads(json.dumps(asdict(config), default=str)),
        }
        state = {"optimiser": self.optimiser.state_dict(), "step": self.step}
        save_checkpoint(config.run / LAST, self.network, config.model, notes, self.template, state)

    def batches(self) -> Iterator[Tensor]:
        """Sample numbers of every step that is still to do; an epoch's order depends on seed and epoch alone."""
        size = self.config.batch_size
        for epoch in range(self.step // self.steps_per_epoch, self.config.epochs):
            generator = torch.Generator().manual_seed(self.config.seed * 1000 + epoch)
            order = torch.randperm(len(self.samples), generator=generator)[: self.steps_per_epoch * size]
            yield from order.view(self.steps_per_epoch, size)[max(0, self.step - epoch * self.steps_per_epoch) :]

    def train_step(self, ids: Tensor) -> dict[str, float]:
        """One update; returns the loss terms. Raises HandvizError at a loss that is not finite."""
        factor = learning_rate_factor(self.step, self.total_steps, self.config.warm_up_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.rate * factor
        batch = self.samples.batch(ids)
        output = self._output(batch)
        terms = texture_terms(output, batch, self.faces, self.config.loss)
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            raise HandvizError(f"the loss became {loss.item()} at step {self.step}; the last checkpoint is intact")
        descend(loss, self.network, self.optimiser, self.config.gradient_norm)
        self.step += 1
        return {name: float(value.detach()) for name, value in terms.items()}

    def _output(self, batch: TextureBatch) -> TextureOutput:
        maps = [torch.from_numpy(found) for found in stem_session().run(None, {INPUT_NAME: batch.image.numpy()})]
        return self.network.from_stem(batch.image, maps, batch.points, batch.is_open)

    @torch.no_grad()
    def validation_errors(self) -> dict[str, float]:
        """Unweighted terms and signal to noise on the validation samples."""
        if self.validation is None:
            return {}
        self.network.eval()
        found = [self._errors_of(ids) for ids in torch.arange(len(self.validation)).split(32)]
        self.network.train()
        means: dict[str, float] = {name: float(np.mean([part[name] for part in found])) for name in found[0]}
        return {
            name: -10 * float(np.log10(value)) if name.startswith("psnr") else value for name, value in means.items()
        }

    def _errors_of(self, ids: Tensor) -> dict[str, Any]:
        assert self.validation is not None
        batch = self.validation.batch(ids)
        output = self._output(batch)
        drawn, picture, is_there = at_pixels(output.rgb.clamp(0, 1), batch, self.faces)

        def squared(one: Tensor, other: Tensor, where: Tensor) -> float:
            return float(weighted_mean((one.clamp(0, 1) - other).square().mean(-1), where))

        right = (output.seen_logit > 0) == (batch.seen > 0)
        return {
            "psnr_pixels": squared(drawn, picture, is_there.float()),
            "psnr_lit_hidden": squared(output.rgb, batch.lit, 1 - batch.seen),
            "psnr_even_seen": squared(output.even, batch.even, batch.seen),
            "psnr_even_hidden": squared(output.even, batch.even, 1 - batch.seen),
            "seen_right": float(right.float().mean()),
        }


def train_texture(config: TextureTrainConfig, template: HandTemplate) -> Path:
    """Train to the end, or go on to it; returns the checkpoint's folder."""
    config.run.mkdir(parents=True, exist_ok=True)
    trainer = TextureTrainer(config, template)
    trainer.resume()
    run_steps(trainer)
    return config.run / LAST


def run_steps(trainer: TextureTrainer) -> None:
    """All steps that are left; HandvizError with where to go on if somebody stops them."""
    log = RunLog(trainer.config.run / "log.csv")
    log.keep_until(trainer.step)
    bar = tqdm(total=trainer.total_steps, initial=trainer.step, unit="step", smoothing=0.05)
    with stop_at_signals() as stop, bar:
        for ids in trainer.batches():
            terms = trainer.train_step(ids)
            bar.update(1)
            at_end = trainer.step == trainer.total_steps
            if at_end or stop.asked or trainer.step % trainer.config.checkpoint_every == 0:
                row = {"step": trainer.step, "loss": sum(terms.values()), **terms, **trainer.validation_errors()}
                log.add(row)
                trainer.save()
                bar.set_postfix_str(f"loss {row['loss']:.4f}")
            if stop.asked and not at_end:
                raise HandvizError(f"stopped at step {trainer.step}, saved: the same command goes on from there")
