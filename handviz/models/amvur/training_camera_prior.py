"""The prior of the camera in weak training: predictions of a camera net, or MediaPipe's landmarks without a net.

The paper takes another method's camera (its reference [13]), which had learnt from 2D joints alone. Any checkpoint here
has a camera net, but one that was trained on rendered hands has seen their 3D truth. ``--camera-prior landmarks`` has
not: the palm at rest is laid on MediaPipe's landmarks of the crop in closed form.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.gaussian import Gaussian, six_d_from_rotation
from handviz.core.records import KEYPOINT_COUNT, PALM_KEYPOINTS, FloatArray
from handviz.core.units import CENTIMETRES_PER_METRE
from handviz.hand_models.choice import hand_model_named
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.features import LandmarkHead
from handviz.models.amvur.model import HandModel, ModelConfig, build_model
from handviz.models.amvur.network import CameraOutput, camera_vector
from handviz.models.amvur.training_cache import CachedSamples, FromInputs, Inputs, load_cached
from handviz.models.amvur.training_checkpoint import load_checkpoint
from handviz.models.amvur.training_config import TrainConfig
from handviz.models.landmark_numbers import PRESENCE_NUMBER
from handviz.models.memory import channels_last
from handviz.training.checkpoint import read_metadata
from handviz.training.dataset_samples import rendered_folders
from handviz.training.samples import Samples, to_device

CHUNK = 128
LANDMARKS = Path("landmarks")
"""In the place of a checkpoint: the camera of MediaPipe's landmarks. A checkpoint of that name is given by its whole
path."""
LANDMARK_ROTATION_STD, LANDMARK_SCALE_STD, LANDMARK_TRANSLATION_STD = 0.2, 0.2, 0.1
"""Standard deviations, stated and not fitted, where MediaPipe is certain of a hand: of the rotation's six numbers
(twice what errors of 12 mm, as on photographs, of five points 45 mm from the palm's centre make if they are
independent), of ln s (hands of adults and children against the mean hand), and of T in crop half-sides. They are
divided by MediaPipe's presence score."""
MIN_PRESENCE = 0.1
"""Of the score that standard deviations are divided by."""
MIN_PALM = 1e-6
"""Below which a palm is a point in the crop: only keeps the numbers finite."""
MIN_SCALE_PER_CM = 0.01
"""Of a hand of two tenths of the crop, so that landmarks of no hand give a camera too."""


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


@dataclass(frozen=True, eq=False)
class LandmarkCameraPrior:
    """Camera priors from MediaPipe's landmarks of the crop: of all samples, or computed crop by crop."""

    palm_cm: Tensor
    """(5, 3) the palm's keypoints of the hand model at rest"""
    std: float
    """Standard deviation of all nine numbers; 0: the stated ones"""
    head: LandmarkHead | None = None
    """MediaPipe's network with its own first blocks, for images"""
    table: Gaussian | None = None
    """(N, 9), where samples are cached"""

    @torch.no_grad()
    def of(self, ids: Tensor, inputs: Inputs) -> Gaussian:
        """Return the prior (B, 9) of some samples: from the table, or from their images."""
        if self.table is not None:
            return Gaussian(*(part[ids].to(self.palm_cm.device) for part in self.table))
        assert self.head is not None
        assert isinstance(inputs, Tensor)
        return camera_of_landmarks(self.head(self.head.backbone.stem(inputs)[1]), self.palm_cm, self.std)


def rest_palm_cm(template: HandTemplate) -> Tensor:
    """Return the palm's keypoints (5, 3) of a hand model at rest."""
    palm = template.keypoint_regressor[list(PALM_KEYPOINTS)] @ template.vertices_m
    return torch.tensor(palm, dtype=torch.float32) * CENTIMETRES_PER_METRE


def camera_of_landmarks(landmarks: Tensor, palm_cm: Tensor, std: float = 0.0) -> Gaussian:
    """Return the camera prior (B, 9) of MediaPipe's landmarks (B, 128), in closed form: ``palm_cm`` (5, 3) at rest is
    rotated onto the palm's landmarks, then scaled and shifted onto them in the crop, both by least squares. ``std`` of
    all numbers; 0: the stated ones."""
    columns = landmarks[:, : 6 * KEYPOINT_COUNT].unflatten(1, (2, KEYPOINT_COUNT, 3))[:, :, list(PALM_KEYPOINTS)]
    seen, world = columns[:, 0, :, :2], columns[:, 1] - columns[:, 1].mean(dim=1, keepdim=True)
    centre, rest_centre = seen.mean(dim=1), palm_cm.mean(dim=0)
    seen = seen - centre[:, None]
    # The image comes from the screen landmarks, the depth, which they have no unit for, from the world landmarks.
    length = world[..., :2].norm(dim=(1, 2)) / seen.norm(dim=(1, 2)).clamp(min=MIN_PALM)
    points = torch.cat([seen * length[:, None, None], world[..., 2:]], dim=2)
    rotation = _rotation_onto(palm_cm - rest_centre, points)
    rotated = ((palm_cm - rest_centre) @ rotation.transpose(1, 2))[..., :2]
    overlap, square = (rotated * seen).sum(dim=(1, 2)), rotated.square().sum(dim=(1, 2))
    scale = (overlap / square.clamp(min=MIN_PALM)).clamp(min=MIN_SCALE_PER_CM)
    translation = centre - scale[:, None] * (rotation @ rest_centre)[:, :2]
    mean = camera_vector(rotation, scale, translation)
    return Gaussian(mean, _log_variance_of_landmarks(landmarks[:, PRESENCE_NUMBER], std))


def _log_variance_of_landmarks(presence: Tensor, std: float) -> Tensor:
    if std:
        return torch.full((len(presence), 9), 2 * math.log(std), dtype=presence.dtype, device=presence.device)
    stds = presence.new_tensor([LANDMARK_ROTATION_STD] * 6 + [LANDMARK_SCALE_STD] + [LANDMARK_TRANSLATION_STD] * 2)
    return 2 * torch.log(stds / presence[:, None].clamp(min=MIN_PRESENCE))


def _rotation_onto(rest: Tensor, world: Tensor) -> Tensor:
    """Return the rotations (B, 3, 3) that lay centred points (K, 3) nearest to centred points (B, K, 3) of any size
    (Kabsch 1976)."""
    left, _, right = torch.linalg.svd(world.transpose(1, 2) @ rest)
    handedness = torch.linalg.det(left @ right)
    left = torch.cat([left[..., :2], left[..., 2:] * handedness[:, None, None]], dim=2)
    return left @ right


def load_camera_prior(
    config: TrainConfig, samples: Samples, template: HandTemplate, device: torch.device
) -> CameraPrior | LandmarkCameraPrior | None:
    """Return the prior of a training's samples, None if it has none.

    HandvizError for a checkpoint that is none, or whose hand model is missing.
    """
    if config.camera_prior is None:
        return None
    if config.camera_prior == LANDMARKS:
        return _prior_of_landmarks(config, samples, template, device)
    return _prior_of_net(config, config.camera_prior, samples, template, device)


def _prior_of_landmarks(
    config: TrainConfig, samples: Samples, template: HandTemplate, device: torch.device
) -> LandmarkCameraPrior:
    prior = LandmarkCameraPrior(rest_palm_cm(template).to(device), config.loss.weak.camera_std)
    if not isinstance(samples, CachedSamples):
        return replace(prior, head=channels_last(LandmarkHead(own_stem=True)).to(device).eval())
    landmarks = samples.landmarks
    if landmarks is None:
        # Of a model whose heads do not read them, or of another backbone.
        reader = build_model(ModelConfig(variant="prior"), template)
        folders, backbone = rendered_folders(config.data), ModelConfig().backbone
        landmarks = load_cached(folders, reader, backbone, template, config.limit).landmarks
        assert landmarks is not None
    palm_cm = prior.palm_cm.cpu()
    return replace(prior, table=camera_of_landmarks(landmarks, palm_cm, prior.std))


def _prior_of_net(
    config: TrainConfig, checkpoint: Path, samples: Samples, template: HandTemplate, device: torch.device
) -> CameraPrior:
    """Return the prior by a checkpoint's camera net; predictions of a net of another hand model, such as the rendered
    open hand, are rotated to this one."""
    std = config.loss.weak.camera_std
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
