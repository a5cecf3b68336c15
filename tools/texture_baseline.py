"""Train or evaluate the baseline of the paper's Table 6: an MLP from the backbone's global feature to colours.

``evaluate`` prints the rows of ``handviz texture evaluate`` and the baseline's beside them.
"""

import sys
from dataclasses import KW_ONLY, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import onnxruntime
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

import tools
from handviz.cli import texture
from handviz.core.arguments import Only, Positional
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import atomic_path, make_folder
from handviz.core.output import print_result
from handviz.core.records import FloatArray
from handviz.evaluation.texture_scores import Colours, Method
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.template import HandTemplate
from handviz.models.backbones.registry import make_backbone
from handviz.models.onnx_file import IMAGE_SHAPE, INPUT_NAME
from handviz.models.texture.network import RGB, TextureOutput
from handviz.models.texture.training import TextureLoss, texture_terms
from handviz.models.texture.training_samples import TextureSamples, load_texture_samples
from handviz.training.cache import fast_session
from handviz.training.config import RunConfig
from handviz.training.trainer import Task, Trainer, parameter_group

WIDTH, RATE = 512, 1e-3
FILE = "global_texture.safetensors"
BACKBONE = "mediapipe_hand"


class GlobalTexture(nn.Module):
    """The baseline that the paper calls [13]: an MLP from the backbone's global feature F (B, 1152) to all colours."""

    def __init__(self, feature_size: int, width: int, vertex_count: int) -> None:
        super().__init__()
        self.vertex_count = vertex_count
        self.layers = nn.Sequential(
            nn.Linear(feature_size, width), nn.GELU(), nn.Linear(width, width), nn.GELU(),
            nn.Linear(width, 2 * RGB * vertex_count),
        )  # fmt: skip

    def forward(self, feature: Tensor) -> TextureOutput:
        """Return colours from the feature (B, 1152); the baseline does not predict visibility."""
        colours = self.layers(feature).unflatten(1, (2, self.vertex_count, RGB)) * 0.3 + 0.5
        return TextureOutput(colours[:, 0], colours[:, 1], torch.zeros_like(colours[:, 0, :, 0]))


@dataclass(frozen=True)
class BaselineConfig(RunConfig):
    """The configuration of a run."""

    data: tuple[Path, ...]
    _: KW_ONLY
    epochs: int = 10
    batch_size: int = 32


class _Feature(nn.Module):
    """The network from images to F."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = make_backbone(BACKBONE)
        self.size = self.backbone.feature_size

    def forward(self, image: Tensor) -> Tensor:
        return self.backbone(image).global_feature


@cache
def _feature_session() -> tuple[onnxruntime.InferenceSession, int]:
    network = _Feature()
    return fast_session(network, ["feature"], IMAGE_SHAPE), network.size


def _features(samples: TextureSamples, batch_size: int) -> Tensor:
    """Return (N, D) of all samples."""
    session, _ = _feature_session()
    found = []
    for ids in tqdm(torch.arange(len(samples)).split(batch_size), desc="global features", unit="batch"):
        found.append(session.run(None, {INPUT_NAME: samples.images_of(ids).numpy()})[0])
    return torch.from_numpy(np.concatenate(found))


class BaselineTask(Task):
    """The MLP on the samples and the losses of the texture net."""

    samples: TextureSamples

    def __init__(self, config: BaselineConfig, template: HandTemplate) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.samples = load_texture_samples(config.data, template, config.limit)
        self.features = _features(self.samples, config.batch_size)
        self.network = GlobalTexture(self.features.shape[1], WIDTH, template.vertex_count)
        self.groups = [parameter_group(self.network.parameters(), RATE)]
        self.faces, self.loss = torch.tensor(template.faces).long(), TextureLoss(seen=0.0)

    def order(self, epoch: int) -> Tensor:
        """Return sample numbers that are drawn with replacement, as many as fill batches."""
        count, size = len(self.samples), self.config.batch_size
        return torch.randint(count, (count // size * size,))

    def loss_terms(self, ids: Tensor, step: int) -> dict[str, Tensor]:
        """Return the weighted terms of a batch."""
        return texture_terms(self.network(self.features[ids]), self.samples.batch(ids), self.faces, self.loss)


def train_baseline(config: BaselineConfig, template: HandTemplate) -> Path:
    """Train to the end; return the file."""
    task = BaselineTask(config, template)
    Trainer(task).fit()
    make_folder(config.run)
    path = config.run / FILE
    with atomic_path(path) as part:
        save_file(task.network.state_dict(), part, {"fingerprint": template.fingerprint})
    return path


def baseline_method(run: Path, template: HandTemplate) -> Method:
    """Return a trained baseline; HandvizError if there is none in the folder."""
    session, size = _feature_session()
    network = GlobalTexture(size, WIDTH, template.vertex_count)
    try:
        network.load_state_dict(load_file(run / FILE))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise HandvizError(f"{run / FILE} is missing or not the baseline ({error})", ErrorCode.FILE_DAMAGED) from error

    @torch.no_grad()
    def colours(images: FloatArray, points: FloatArray) -> Colours:
        output = network(torch.from_numpy(session.run(None, {INPUT_NAME: images})[0]))
        return Colours(output.rgb.clamp(0, 1).numpy(), output.even.clamp(0, 1).numpy())

    return colours


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train on rendered hands whose colours are known."""

    config: Annotated[BaselineConfig, Only("data", "run", "epochs", "limit")]


@dataclass(frozen=True, kw_only=True)
class Evaluate(texture.Evaluate):
    """SSIM, PSNR and hidden colours on held-out crops."""

    run: Positional[Path]
    """Folder that 'train' wrote."""


Arguments = Train | Evaluate


def run(arguments: Arguments) -> int:
    """Run the chosen action."""
    template = load_open_hand()
    if isinstance(arguments, Evaluate):
        return texture.evaluate(arguments, {"global-feature MLP": baseline_method(arguments.run, template)})
    print_result("weights: %s", train_baseline(arguments.config, template))
    return 0


if __name__ == "__main__":
    sys.exit(tools.run("texture_baseline"))
