"""The prior of the camera in weak training: what a camera net says that was trained before, on rendered hands.

The paper takes another method's camera (its reference [13]); here any checkpoint has a camera net, and one of
``--model prior`` on rendered hands is the cheapest.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from handviz.core.errors import HandvizError
from handviz.core.gaussian import Gaussian, six_d_from_rotation
from handviz.core.records import PALM_KEYPOINTS, FloatArray
from handviz.hand_models.choice import hand_model_named
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.memory import channels_last
from handviz.models.amvur.model import HandModel
from handviz.models.amvur.network import CameraOutput
from handviz.training.cache import CachedSamples, load_cached
from handviz.training.checkpoint import load_checkpoint, read_metadata
from handviz.training.config import TrainConfig
from handviz.training.dataset_samples import rendered_folders
from handviz.training.samples import FromGiven, Given, Samples, to_device

CHUNK = 128


@dataclass(frozen=True, eq=False)
class CameraPrior:
    """The cameras of all samples, or the net that says them crop by crop."""

    net: HandModel
    std: float
    """Standard deviation of all nine numbers; 0: what the net says"""
    table: Gaussian | None = None
    """(N, 9), where samples are cached and so always the same"""
    turn: Tensor | None = None
    """(3, 3) from the rest frame of the hand that is trained to that of the net's own; None: it is the same hand"""

    def of(self, ids: Tensor, given: Given) -> Gaussian:
        """(B, 9) of some samples: from the table, or from their images."""
        if self.table is not None:
            device = next(self.net.parameters()).device
            return Gaussian(*(part[ids].to(device) for part in self.table))
        return self._said(given)

    @torch.no_grad()
    def _said(self, given: Given) -> Gaussian:
        return as_prior(FromGiven(self.net)(given).camera, self.std, self.turn)


def as_prior(camera: CameraOutput, std: float, turn: Tensor | None = None) -> Gaussian:
    """(B, 9) a camera net's answer as a prior; ``std`` of all its numbers, 0 for the net's own.

    After a ``turn`` the six numbers of the rotation have their mean variance in common: it mixes them.
    """
    mean, log_variance = camera.mean, camera.log_variance
    if turn is not None:
        mean = torch.cat([six_d_from_rotation(camera.rotation @ turn), mean[:, 6:]], dim=1)
        of_rotation = torch.logsumexp(log_variance[:, :6], dim=1, keepdim=True) - math.log(6)
        log_variance = torch.cat([of_rotation.expand(-1, 6), log_variance[:, 6:]], dim=1)
    return Gaussian(mean, log_variance if std == 0 else torch.full_like(log_variance, 2 * math.log(std)))


def rest_rotation(own: HandTemplate, other: HandTemplate) -> FloatArray:
    """(3, 3) rotation that lays the palm of one hand model at rest on that of another, both with the wrist at 0."""
    palms = [template.keypoint_regressor[list(PALM_KEYPOINTS)] @ template.vertices_m for template in (other, own)]
    rotation, _ = Rotation.align_vectors(*(palm[1:] - palm[0] for palm in palms))
    return np.asarray(rotation.as_matrix())


def load_camera_prior(
    config: TrainConfig, samples: Samples, template: HandTemplate, device: torch.device
) -> CameraPrior | None:
    """Return the prior of a training's samples, None if it has none; a net of another hand model, such as of the
    rendered open hand, is turned to this one.

    HandvizError for a checkpoint that is none, or whose hand model is not here.
    """
    checkpoint, std = config.camera_prior, config.loss.weak.camera_std
    if checkpoint is None:
        return None
    metadata = read_metadata(checkpoint)
    theirs = template
    if metadata["fingerprint"] != template.fingerprint:
        theirs = hand_model_named(metadata["fingerprint"], metadata.get("hand_model", ""))
    net, model, _ = load_checkpoint(checkpoint, theirs)
    channels_last(net).to(device).eval()
    turn = None
    if theirs.fingerprint != template.fingerprint:
        turn = torch.tensor(rest_rotation(template, theirs), dtype=torch.float32, device=device)
    if not isinstance(samples, CachedSamples):
        return CameraPrior(net, std, turn=turn)
    if model.landmark_stem:
        raise HandvizError(
            f"the camera prior {checkpoint} was trained end to end with a witness of its own and needs "
            "images: train with --end-to-end"
        )
    seen = load_cached(rendered_folders(config.data), net, model.backbone, template, config.limit)
    said = CameraPrior(net, std, turn=turn)
    return replace(said, table=_table(said, seen, device))


@torch.no_grad()
def _table(prior: CameraPrior, seen: CachedSamples, device: torch.device) -> Gaussian:
    parts = []
    for ids in torch.arange(len(seen)).split(CHUNK):
        given, _ = seen.batch(ids)
        parts.append(as_prior(prior.net.from_cached(to_device(given, device)).camera, prior.std, prior.turn))
    return Gaussian(*(torch.cat(column).cpu() for column in zip(*parts, strict=True)))
