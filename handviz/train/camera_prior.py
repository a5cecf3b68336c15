"""The prior of the camera in weak training: what a camera net says that was trained before, on rendered hands.

The paper takes another method's camera (its reference [13]); here any checkpoint has a camera net, and one of
``--variant prior`` on rendered hands is the cheapest.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from handviz.errors import HandvizError
from handviz.hand_model.template import HandTemplate
from handviz.nets.camera_net import CameraOutput
from handviz.nets.memory import channels_last
from handviz.nets.model import HandModel
from handviz.probability import Gaussian
from handviz.train.cache import CachedSamples, load_cached
from handviz.train.checkpoint import load_checkpoint
from handviz.train.joined_samples import rendered_folders
from handviz.train.samples import FromGiven, Given, Samples, to_device

CHUNK = 128


@dataclass(frozen=True, eq=False)
class CameraPrior:
    """The cameras of all samples, or the net that says them crop by crop."""

    net: HandModel
    std: float
    """Deviation of all nine numbers; 0: what the net says"""
    table: Gaussian | None = None
    """(N, 9), where samples are cached and so always the same"""

    def of(self, ids: Tensor, given: Given) -> Gaussian:
        """(B, 9) of some samples: from the table, or from their pictures."""
        if self.table is not None:
            device = next(self.net.parameters()).device
            return Gaussian(*(part[ids].to(device) for part in self.table))
        return self._said(given)

    @torch.no_grad()
    def _said(self, given: Given) -> Gaussian:
        return as_prior(FromGiven(self.net)(given).camera, self.std)


def as_prior(camera: CameraOutput, std: float) -> Gaussian:
    """(B, 9) a camera net's answer as a prior; ``std`` of all its numbers, 0 for the net's own."""
    own = camera.log_variance
    return Gaussian(camera.mean, own if std == 0 else torch.full_like(own, 2 * math.log(std)))


@dataclass(frozen=True)
class PriorSource:
    """Whose camera net is the prior, and the crops that training sees."""

    checkpoint: Path
    data: tuple[Path | str, ...]
    limit: int | None
    std: float


def load_camera_prior(
    source: PriorSource, samples: Samples, template: HandTemplate, device: torch.device
) -> CameraPrior:
    """HandvizError for a checkpoint that is none, or of another hand model."""
    net, config, _ = load_checkpoint(source.checkpoint, template)
    channels_last(net).to(device).eval()
    if not isinstance(samples, CachedSamples):
        return CameraPrior(net, source.std)
    if config.witness_stem:
        raise HandvizError(
            f"the camera prior {source.checkpoint} was trained end to end with a witness of its own and needs "
            "pictures: train with --end-to-end"
        )
    seen = load_cached(rendered_folders(source.data), net, config.backbone, template, source.limit)
    return CameraPrior(net, source.std, _table(net, seen, source.std, device))


@torch.no_grad()
def _table(net: HandModel, seen: CachedSamples, std: float, device: torch.device) -> Gaussian:
    parts = []
    for ids in torch.arange(len(seen)).split(CHUNK):
        given, _ = seen.batch(ids)
        parts.append(as_prior(net.from_cached(to_device(given, device)).camera, std))
    return Gaussian(*(torch.cat(column).cpu() for column in zip(*parts, strict=True)))
