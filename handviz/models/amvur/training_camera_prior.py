"""The prior of the camera in weak training: predictions of a camera net that was trained on rendered hands.

The paper takes another method's camera (its reference [13]); here any checkpoint has a camera net, and one of
``--model prior`` on rendered hands is the cheapest.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.gaussian import Gaussian, six_d_from_rotation
from handviz.core.records import PALM_KEYPOINTS, FloatArray
from handviz.hand_models.choice import hand_model_named
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.memory import channels_last
from handviz.models.amvur.model import HandModel
from handviz.models.amvur.network import CameraOutput
from handviz.models.amvur.training_cache import CachedSamples, FromInputs, Inputs, load_cached
from handviz.models.amvur.training_checkpoint import load_checkpoint
from handviz.models.amvur.training_config import TrainConfig
from handviz.training.checkpoint import read_metadata
from handviz.training.dataset_samples import rendered_folders
from handviz.training.samples import Samples, to_device

CHUNK = 128


@dataclass(frozen=True, eq=False)
class CameraPrior:
    """Camera priors of all samples, or the net that predicts them crop by crop."""

    net: HandModel
    std: float
    """Standard deviation of all nine numbers; 0: the net's own"""
    table: Gaussian | None = None
    """(N, 9), where samples are cached and therefore constant"""
    rotation: Tensor | None = None
    """(3, 3) from the rest frame of the trained hand model to that of the net's; None: it is the same model"""

    def of(self, ids: Tensor, inputs: Inputs) -> Gaussian:
        """Return the prior (B, 9) of some samples: from the table, or from their images."""
        if self.table is not None:
            device = next(self.net.parameters()).device
            return Gaussian(*(part[ids].to(device) for part in self.table))
        return self._predict(inputs)

    @torch.no_grad()
    def _predict(self, inputs: Inputs) -> Gaussian:
        return as_prior(FromInputs(self.net)(inputs).camera, self.std, self.rotation)


def as_prior(camera: CameraOutput, std: float, rotation: Tensor | None = None) -> Gaussian:
    """Return a camera net's output as a prior (B, 9); ``std`` of all its numbers, 0 for the net's own.

    With ``rotation``, which mixes the six numbers of the camera's rotation, all six get their mean variance.
    """
    mean, log_variance = camera.mean, camera.log_variance
    if rotation is not None:
        mean = torch.cat([six_d_from_rotation(camera.rotation @ rotation), mean[:, 6:]], dim=1)
        of_rotation = torch.logsumexp(log_variance[:, :6], dim=1, keepdim=True) - math.log(6)
        log_variance = torch.cat([of_rotation.expand(-1, 6), log_variance[:, 6:]], dim=1)
    return Gaussian(mean, log_variance if std == 0 else torch.full_like(log_variance, 2 * math.log(std)))


def rest_rotation(own: HandTemplate, other: HandTemplate) -> FloatArray:
    """Return the rotation (3, 3) that lays the palm of one hand model at rest on another's, both wrists at 0."""
    palms = [template.keypoint_regressor[list(PALM_KEYPOINTS)] @ template.vertices_m for template in (other, own)]
    rotation, _ = Rotation.align_vectors(*(palm[1:] - palm[0] for palm in palms))
    return np.asarray(rotation.as_matrix())


def load_camera_prior(
    config: TrainConfig, samples: Samples, template: HandTemplate, device: torch.device
) -> CameraPrior | None:
    """Return the prior of a training's samples, None if it has none; the predictions of a net of another hand model,
    such as the rendered open hand, are rotated to this one.

    HandvizError for a checkpoint that is none, or whose hand model is missing.
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
    rotation = None
    if theirs.fingerprint != template.fingerprint:
        rotation = torch.tensor(rest_rotation(template, theirs), dtype=torch.float32, device=device)
    if not isinstance(samples, CachedSamples):
        return CameraPrior(net, std, rotation=rotation)
    if model.landmark_stem:
        raise HandvizError(
            f"the camera prior {checkpoint} was trained end to end with its own landmark head and needs "
            "images: train with --end-to-end",
            ErrorCode.OPTION_CONFLICT,
        )
    cached = load_cached(rendered_folders(config.data), net, model.backbone, template, config.limit)
    prior = CameraPrior(net, std, rotation=rotation)
    return replace(prior, table=_table(prior, cached, device))


@torch.no_grad()
def _table(prior: CameraPrior, cached: CachedSamples, device: torch.device) -> Gaussian:
    parts = []
    for ids in torch.arange(len(cached)).split(CHUNK):
        inputs, _ = cached.batch(ids)
        parts.append(as_prior(prior.net.from_cached(to_device(inputs, device)).camera, prior.std, prior.rotation))
    return Gaussian(*(torch.cat(column).cpu() for column in zip(*parts, strict=True)))
