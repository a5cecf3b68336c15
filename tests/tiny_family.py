"""A family that is no other's: a network of one layer on numbers, with a config, a loss and an export of its own."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from handviz.core.arguments import Only
from handviz.hand_models.template import HandTemplate
from handviz.models.base import ModelFamily
from handviz.models.onnx_file import add_metadata, write_onnx
from handviz.training.checkpoint import Architecture, load_network
from handviz.training.config import RunConfig
from handviz.training.distributed import Processes
from handviz.training.families import ExportedFile, TrainingFamily
from handviz.training.trainer import RunTask, parameter_group

NUMBERS, SAMPLES = 4, 40


@dataclass(frozen=True)
class TinyConfig:
    """The network's config."""

    width: int = 6
    """Of the layer."""


@dataclass(frozen=True)
class TinyTrainConfig(RunConfig):
    """Settings of a run."""

    model: Annotated[TinyConfig, Only("width")] = field(default_factory=TinyConfig)
    _: KW_ONLY
    rate: float = 0.05
    """Learning rate of everything."""
    power: float = 2.0
    """Of the loss."""


class TinyNetwork(nn.Module):
    """Numbers (B, 4) -> their sum (B, 1)."""

    def __init__(self, config: TinyConfig, _: HandTemplate) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(NUMBERS, config.width), nn.Tanh(), nn.Linear(config.width, 1))

    def forward(self, numbers: Tensor) -> Tensor:
        found: Tensor = self.layers(numbers)
        return found


def config_from_saved(saved: Mapping[str, Any]) -> TinyConfig:
    """Return the config of a checkpoint."""
    return TinyConfig(**saved)


ARCHITECTURE = Architecture("tiny", TinyNetwork, config_from_saved)


class TinyTask(RunTask):
    """One training."""

    config: TinyTrainConfig
    architecture = ARCHITECTURE
    drop_last = True

    def __init__(self, config: TinyTrainConfig, template: HandTemplate, processes: Processes) -> None:
        self.config, self.template, self.processes, self.model_config = config, template, processes, config.model
        torch.manual_seed(config.seed)
        self.network = TinyNetwork(config.model, template)
        self.groups = [parameter_group(self.network.parameters(), config.rate)]
        self.samples = torch.randn(SAMPLES, NUMBERS, generator=torch.Generator().manual_seed(1))

    def loss_terms(self, ids: Tensor, step: int) -> dict[str, Tensor]:
        """Return the only term."""
        error = self.network(self.samples[ids]) - self.samples[ids].sum(1, keepdim=True)
        return {"sum": error.abs().pow(self.config.power).mean()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the mean error of all samples."""
        error = self.network(self.samples) - self.samples.sum(1, keepdim=True)
        return {"error": float(error.abs().mean())}


def export(checkpoint: Path, template: HandTemplate, model_dir: Path) -> ExportedFile:
    """Write a checkpoint as tiny.onnx."""
    network, _, _ = load_network(checkpoint, template, ARCHITECTURE)
    model_dir.mkdir(parents=True, exist_ok=True)
    path = model_dir / "tiny.onnx"
    write_onnx(network, path, ["sum"], {"numbers": (NUMBERS,)})
    add_metadata(path, template, {"handviz.family": "tiny"})
    numbers = torch.ones(3, NUMBERS)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"numbers": numbers.numpy()})
    return ExportedFile(path, float(np.abs(found - network(numbers).detach().numpy()).max()), "of a sum")


TRAINING = TrainingFamily(ARCHITECTURE, TinyTrainConfig, TinyTask, export)
NOT_A_FAMILY = "only text"
FAMILY = ModelFamily("tiny", "Tiny", models=(), training="tests.tiny_family:TRAINING")
