"""Training of the texture net (paper, Algorithm 4): hand and camera are fixed; of our form the first blocks too.

The truth of our form is twofold: the image, at pixels that the mesh covers and the mask marks as hand (equation 12),
and the known colours of all vertices, including those that no image shows. The paper's form learns from the image
alone.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional

from handviz.core.arguments import Only
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.json_files import check_value
from handviz.core.paths import TEXTURE_NAME
from handviz.core.records import CROP_SIZE
from handviz.hand_models.template import HandTemplate
from handviz.models.backbones.imagenet_backbones import load_torchvision_weights
from handviz.models.onnx_file import IMAGE_SHAPE, INPUT_NAME
from handviz.models.texture.export import export_texture
from handviz.models.texture.network import STEM_CHANNELS, TextureConfig, TextureMaps, TextureNet, TextureOutput
from handviz.models.texture.paper_form import PaperTextureNet, build_texture_net
from handviz.models.texture.rasterise import barycentrics
from handviz.models.texture.training_samples import DARKEST_SHOWN, TextureBatch, TextureSamples, load_texture_samples
from handviz.training.cache import fast_session
from handviz.training.checkpoint import Architecture, load_network, read_metadata
from handviz.training.config import RunConfig
from handviz.training.distributed import Device, Processes
from handviz.training.families import ExportedFile, TrainingFamily, family_of_checkpoint, train_family
from handviz.training.trainer import RunTask, parameter_group

MAX_VALIDATION_SAMPLES = 512
Distance = Literal["mixed", "l2"]
REMEDY = "use another checkpoint"


@dataclass(frozen=True)
class TextureLoss:
    """Weights of the loss terms; colours are in [0, 1]."""

    photometric: float = 4.0
    lit_seen: float = 0.1
    """Of visible vertices; their pixels hold more, such as gloss and sharp shadows."""
    lit_hidden: float = 0.7
    even: float = 0.7
    seen: float = 0.05
    distance: Distance = "mixed"
    """Of two colours: "mixed" is ours, "l2" equation 12's Euclidean norm."""


PAPER_LOSS = TextureLoss(photometric=1.0, lit_seen=0.0, lit_hidden=0.0, even=0.0, seen=0.0, distance="l2")
"""Equation 12 alone."""


@dataclass(frozen=True)
class TextureTrainConfig(RunConfig):
    """Settings of a run."""

    LASTING: ClassVar[tuple[str, ...]] = (*RunConfig.LASTING, "meshes")
    data: tuple[Path, ...]
    model: Annotated[TextureConfig, Only("form", "backbone")] = field(default_factory=TextureConfig)
    loss: TextureLoss = field(default_factory=TextureLoss)
    _: KW_ONLY
    batch_size: int = 32
    rate: float = 1e-3
    """Learning rate of all trainable parameters."""
    validation: Path | None = None
    device: Device = "cpu"
    start_from: Path | None = None
    """Checkpoint of a texture net, perhaps of other sizes, whose matching weights to start from."""
    meshes: Path | None = None
    """Checkpoint's folder or ONNX file of a trained model, on whose meshes to train (Algorithm 4); without it on true
    ones with a network's errors."""
    backbone_from: Path | None = None
    """Checkpoint of a trained model whose backbone the paper's form starts from (Algorithm 4)."""
    backbone_weights: Path | None = None
    """torchvision's file of ImageNet weights to start the paper's form's backbone from."""

    @classmethod
    def from_options(cls, **values: Any) -> "TextureTrainConfig":
        """Return the config of options: with the paper's form goes its loss."""
        if values["model"].form == "paper":
            values["loss"] = PAPER_LOSS
        return cls(**values)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in ("backbone_from", "backbone_weights") if getattr(self, name) is not None]
        if given and self.model.form != "paper":
            raise HandvizError(
                f"training: {given[0]} is for the paper's form; ours has MediaPipe's first blocks, which do not train",
                ErrorCode.OPTION_CONFLICT,
            )


def at_pixels(colours: Tensor, batch: TextureBatch, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return colours (B, V, 3) drawn at the batch's pixels (B, P, 3), the image there, and whether there is a pixel (B,
    P): equation 12, at some of the pixels."""
    rows = torch.arange(len(colours), device=colours.device)[:, None, None]
    corners = faces[batch.triangle.clamp(min=0)]
    position = torch.stack([batch.pixel % CROP_SIZE, batch.pixel // CROP_SIZE], dim=2)
    weights = barycentrics(batch.points[rows, corners][..., :2], (position + 0.5) / (CROP_SIZE / 2) - 1)
    drawn = (weights[..., None] * colours[rows, corners]).sum(2)
    image = batch.image.flatten(2).transpose(1, 2)[rows[..., 0], batch.pixel]
    # Black is outside the image.
    is_shown = image.amax(-1) > DARKEST_SHOWN
    return drawn, image, (batch.triangle >= 0) & is_shown


def colour_error(found: Tensor, true: Tensor, distance: Distance = "mixed") -> Tensor:
    """Return the error (...) of colours (..., 3).

    "mixed": absolute, which preserves edges, plus 10 x squared, as in PSNR; "l2": the norm in equation 12.
    """
    difference = found - true
    if distance == "l2":
        return torch.linalg.vector_norm(difference, dim=-1)
    return (difference.abs() + 10 * difference.square()).mean(-1)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of values; 0 if all weights, of the same shape, are 0."""
    return (values * weights).sum() / weights.sum().clamp(min=1)


def texture_terms(output: TextureOutput, batch: TextureBatch, faces: Tensor, config: TextureLoss) -> dict[str, Tensor]:
    """Return every weighted loss term by name, but those of weight 0."""

    def error(found: Tensor, true: Tensor) -> Tensor:
        return colour_error(found, true, config.distance)

    drawn, image, is_there = at_pixels(output.rgb, batch, faces)
    lit = error(output.rgb, batch.lit)
    terms = {
        "photometric": weighted_mean(error(drawn, image), is_there.float()),
        "lit_seen": weighted_mean(lit, batch.seen),
        "lit_hidden": weighted_mean(lit, 1 - batch.seen),
        "even": error(output.even, batch.even).mean(),
        "seen": functional.binary_cross_entropy_with_logits(output.seen_logit, batch.seen),
    }
    weights = {name: getattr(config, name) for name in terms}
    return {name: weights[name] * term for name, term in terms.items() if weights[name]}


class _Stem(nn.Module):
    """The frozen blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = TextureMaps()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.maps.stem(image))


@cache
def stem_session() -> onnxruntime.InferenceSession:
    """Return the session from images to the maps of MediaPipe's blocks, the same for every run."""
    return fast_session(_Stem(), [f"map{number}" for number in range(len(STEM_CHANNELS))], IMAGE_SHAPE)


def _config_from_saved(saved: Mapping[str, Any]) -> TextureConfig:
    """Return the config that a checkpoint holds; TypeError for unknown fields."""
    values = check_value(dict(saved), dict[str, int | str | None], "the config of the checkpoint", REMEDY)
    # Those from before there were forms name none, and are of ours.
    return TextureConfig(**cast(dict[str, Any], values))


ARCHITECTURE = Architecture("texture", build_texture_net, _config_from_saved)


class TextureTask(RunTask):
    """One training of the texture net."""

    config: TextureTrainConfig
    network: TextureNet | PaperTextureNet
    samples: TextureSamples
    architecture = ARCHITECTURE

    def __init__(self, config: TextureTrainConfig, template: HandTemplate) -> None:
        self.config, self.template, self.model_config = config, template, config.model
        torch.manual_seed(config.seed)
        self.network = build_texture_net(config.model, template)
        self._start_backbone()
        if config.start_from is not None:
            self.start_from(config.start_from)
        self.samples = load_texture_samples(config.data, template, config.limit, config.meshes)
        self.validation: TextureSamples | None = None
        if config.validation is not None:
            sources = (config.validation,)
            self.validation = load_texture_samples(sources, template, MAX_VALIDATION_SAMPLES, config.meshes)
        self.faces = torch.tensor(template.faces).long()
        trainable = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.groups = [parameter_group(trainable, config.rate)]

    def _start_backbone(self) -> None:
        """Take over the weights that the config names; nothing for our form, which has none of its own."""
        if not isinstance(self.network, PaperTextureNet):
            return
        own, weights, source = self.network.backbone, self.config.backbone_weights, self.config.backbone_from
        if weights is not None:
            load_torchvision_weights(own, weights)
        if source is not None:
            network, _, _ = family_of_checkpoint(source).load(source, self.template)
            found = getattr(network, "backbone", None)
            if not isinstance(found, type(own)):
                raise HandvizError(
                    f"{source} has no backbone {self.config.model.backbone}: choose another checkpoint or --backbone",
                    ErrorCode.MODEL_MISMATCH,
                )
            own.load_state_dict(found.state_dict())

    def loss_terms(self, ids: Tensor, step: int) -> dict[str, Tensor]:
        """Return the weighted terms of a batch."""
        batch = self.samples.batch(ids)
        return texture_terms(self._output(batch), batch, self.faces, self.config.loss)

    def _output(self, batch: TextureBatch) -> TextureOutput:
        if isinstance(self.network, PaperTextureNet):
            return self.network(batch.image, batch.points, batch.is_open)
        maps = [torch.from_numpy(found) for found in stem_session().run(None, {INPUT_NAME: batch.image.numpy()})]
        return self.network.from_stem(batch.image, maps, batch.points, batch.is_open)

    def validate(self) -> dict[str, float]:
        """Return PSNR on the validation samples, and the fraction of correct visibilities."""
        if self.validation is None:
            return {}
        found = [self._errors_of(ids) for ids in torch.arange(len(self.validation)).split(32)]
        means: dict[str, float] = {name: float(np.mean([part[name] for part in found])) for name in found[0]}
        return {
            name: -10 * float(np.log10(value)) if name.startswith("psnr") else value for name, value in means.items()
        }

    def _errors_of(self, ids: Tensor) -> dict[str, Any]:
        assert self.validation is not None
        batch = self.validation.batch(ids)
        output = self._output(batch)
        drawn, image, is_there = at_pixels(output.rgb.clamp(0, 1), batch, self.faces)

        def squared(one: Tensor, other: Tensor, where: Tensor) -> float:
            return float(weighted_mean((one.clamp(0, 1) - other).square().mean(-1), where))

        right = (output.seen_logit > 0) == (batch.seen > 0)
        return {
            "psnr_pixels": squared(drawn, image, is_there.float()),
            "psnr_lit_hidden": squared(output.rgb, batch.lit, 1 - batch.seen),
            "psnr_even_seen": squared(output.even, batch.even, batch.seen),
            "psnr_even_hidden": squared(output.even, batch.even, 1 - batch.seen),
            "seen_right": float(right.float().mean()),
        }


def train_texture(config: TextureTrainConfig, template: HandTemplate) -> Path:
    """Train to the end, resuming an earlier run; returns the checkpoint's folder."""
    return train_family(TRAINING, config, template)


def load_texture_checkpoint(
    directory: Path, template: HandTemplate
) -> tuple[TextureNet | PaperTextureNet, TextureConfig, dict[str, Any]]:
    """Return network, config and notes; HandvizError for a foreign, damaged or mismatching checkpoint."""
    return load_network(directory, template, ARCHITECTURE)


def export(checkpoint: Path, template: HandTemplate, model_dir: Path) -> ExportedFile:
    """Write a checkpoint as the ONNX file of the texture net; HandvizError if that differs from PyTorch."""
    network, config, notes = load_texture_checkpoint(checkpoint, template)
    entries = {
        "handviz.commit": read_metadata(checkpoint).get("commit", "unknown"),
        "handviz.samples_seen": str(notes.get("samples_seen", 0)),
        "handviz.tokens": f"{config.layers} layers x {config.width}",
        "handviz.form": config.form,
    }
    path = model_dir / TEXTURE_NAME
    return ExportedFile(path, export_texture(network, template, path, entries), "of a colour")


def _task(config: TextureTrainConfig, template: HandTemplate, _: Processes) -> TextureTask:
    """Return the task in one process: the texture net is too small for several."""
    return TextureTask(config, template)


TRAINING = TrainingFamily(ARCHITECTURE, TextureTrainConfig, _task, export)
"""In no registry: ``handviz texture`` trains it, and it reconstructs no hands."""
