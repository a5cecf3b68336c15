"""Training of an adaptation: a trained network continues to learn from unlabelled images of the user's own camera.

Two targets: the detector's 2D keypoints, at MediaPipe's joint positions, with a standard deviation of their own and
Huber's weights, train the camera. The original network trains the mesh: its Gaussian for every vertex, on images with
square pixels, averaged over cuts of a hand and over neighbouring frames, is the prior of equation 8's divergence.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from handviz.core.gaussian import Gaussian, gaussian_kl, gaussian_nll, keypoints_from_vertices
from handviz.detection.crop import MARKED_TOWARDS
from handviz.models.amvur.losses import CENTIMETRES_PER_HALF_SIDE, image_gaussian
from handviz.models.amvur.model import Cached, HandModel, ModelOutput
from handviz.models.memory import channels_last
from handviz.models.truth import in_crop
from handviz.training.cache import tail_parameters
from handviz.training.config import LoopConfig
from handviz.training.trainer import Task, parameter_group

ANSWER_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class AdaptConfig(LoopConfig):
    """Settings of an adaptation."""

    epochs: int = 10
    """over all cuts of all training hands, unless the watched frames stop improving earlier"""
    batch_size: int = 32
    warm_up_steps: int = 10
    checkpoint_every: int | None = None
    head_rate: float = 2e-4
    tail_rate: float = 1e-4
    patience: int = 3
    """epochs without improvement on the watched frames"""
    image: float = 1.0
    """weight of the detector's keypoints"""
    labels_move_mesh: bool = False
    """whether they change the mesh too, not the camera alone: where the detector errs more than the network, as on
    rendered hands, both agree better but the hand is farther from the truth (docs/log/experiments.md)"""
    teacher: float = 1.0
    """weight of the divergence from the original network"""
    label_std: float = 0.035
    """of the detector's keypoints, crop half-sides (its own: the posterior has another)"""
    neighbours: float = 1.0
    """standard deviation, in frames, of the window over which the teacher's predictions are averaged in clips"""


class Views(NamedTuple):
    """Cached maps of crops with the detector's keypoints in them."""

    cached: Cached
    keypoints: Tensor
    """(N, 21, 2) crop half-sides"""
    camera_model: Tensor
    """(N, 2, 2) the camera's change of directions in the crop beside the weak perspective: 1 for square pixels"""

    def rows(self, ids: Tensor) -> "Views":
        """Return some of the views, maps as float32."""
        maps, landmarks = self.cached
        maps = maps[ids].float().contiguous(memory_format=torch.channels_last)
        return Views(
            Cached(maps, None if landmarks is None else landmarks[ids]), self.keypoints[ids], self.camera_model[ids]
        )


class Teacher(NamedTuple):
    """Averaged predictions of the original network for every hand."""

    mean_cm: Tensor
    """(N, V, 3)"""
    log_variance: Tensor
    """(N, V, 3)"""

    def of(self, hands: Tensor) -> "Teacher":
        """Return the predictions for some hands, by their numbers."""
        return Teacher(self.mean_cm[hands], self.log_variance[hands])


class Agreement(NamedTuple):
    """Agreement of predictions with the detector's keypoints."""

    distance: float
    """mean distance of keypoints, as MediaPipe places them, in per cent of the hand's extent in the crop"""
    standardised: float
    """mean of squared errors over projected variances: 1 where standard deviations match the errors"""


def marks(points: Tensor) -> Tensor:
    """Apply ``as_the_detector_marks_them`` of detection/crop.py to tensors (..., 21, C)."""
    moved = [points[..., keypoint, :] for keypoint in range(points.shape[-2])]
    for keypoint, (other, fraction) in MARKED_TOWARDS.items():
        moved[keypoint] = moved[keypoint] + fraction * (points[..., other, :] - points[..., keypoint, :])
    return torch.stack(moved, dim=-2)


@torch.no_grad()
def predict(model: HandModel, views: Views) -> list[ModelOutput]:
    """Return the model's outputs, batch by batch."""
    model.eval()
    count = len(views.keypoints)
    return [model.from_cached(views.rows(ids).cached) for ids in torch.arange(count).split(ANSWER_BATCH)]


@torch.no_grad()
def teacher_of(model: HandModel, views: Views, cuts: int, numbers: Tensor | None, config: AdaptConfig) -> Teacher:
    """Return predictions for ``cuts`` x N crops, averaged over the cuts of a hand and, with frame ``numbers`` (N,),
    over neighbouring frames. They are canonical, so that the hand's rotation does not matter."""
    outputs = predict(model, views)
    mean = torch.cat([output.mean_cm for output in outputs])
    variance = torch.cat([output.log_variance for output in outputs]).exp()
    mean, variance = (part.unflatten(0, (cuts, -1)).mean(0) for part in (mean, variance))
    if numbers is not None and config.neighbours:
        distance = (numbers[:, None] - numbers[None]).float() / config.neighbours
        weights = torch.softmax(-0.5 * distance.square(), dim=1)
        mean, variance = (torch.einsum("nm,mvc->nvc", weights, part) for part in (mean, variance))
    return Teacher(mean.detach(), variance.log().detach())


def adaptation_terms(
    output: ModelOutput, views: Views, teacher: Teacher, regressor: Tensor, rho: float, config: AdaptConfig
) -> dict[str, Tensor]:
    """Return every weighted term by name; ``regressor`` (21, V), ``rho`` the vertices' correlation."""
    labels = views.keypoints
    still = output._replace(mean_cm=output.mean_cm.detach(), log_variance=output.log_variance.detach())
    image = projected(output if config.labels_move_mesh else still, views.camera_model, regressor, rho)
    spread = torch.logaddexp(image.log_variance, torch.tensor(config.label_std).square().log())
    squared = ((labels - image.mean).square() / spread.exp()).sum(2, keepdim=True)
    weight = (2.0 / squared.detach().sqrt().clamp(min=1e-6)).clamp(max=1.0)
    divergence = gaussian_kl(output.mean_cm, output.log_variance, teacher.mean_cm, teacher.log_variance)
    terms = {
        "image": config.image * (weight * gaussian_nll(labels, image.mean, spread)).mean(),
        "teacher": config.teacher * divergence.mean(),
    }
    if output.prior is not None and output.prior.vertices_cm is not output.mean_cm:
        terms["prior"] = 0.5 * (output.prior.vertices_cm - teacher.mean_cm).square().mean()
    if output.joints_crop is not None:
        camera = output.camera
        mine = in_crop(regressor @ output.mean_cm, camera.rotation, camera.scale, camera.translation)
        terms["joints"] = 0.2 * CENTIMETRES_PER_HALF_SIDE * (output.joints_crop - mine.detach()).abs().mean()
    return terms


def projected(output: ModelOutput, camera_model: Tensor, regressor: Tensor, rho: float) -> Gaussian:
    """Return MediaPipe's joint positions (B, 21, 2) of an output in the crop; the camera's mean is taken as certain."""
    joints = keypoints_from_vertices(output.mean_cm, output.log_variance, regressor, rho)
    certain = output.camera._replace(log_variance=torch.full_like(output.camera.log_variance, -12.0))
    image = image_gaussian(joints, certain)
    # Directions from the wrist, whose position is the translation.
    wrist = output.camera.translation[:, None]
    mean = (image.mean - wrist) @ camera_model.transpose(1, 2) + wrist
    variance = image.log_variance.exp() @ camera_model.square().transpose(1, 2)
    return Gaussian(marks(mean), variance.log())


@torch.no_grad()
def agreement(model: HandModel, views: Views, regressor: Tensor, rho: float, config: AdaptConfig) -> Agreement:
    """Return the agreement of a model with the detector on crops."""
    image = _images(model, views, regressor, rho)
    variance = image.log_variance.exp() + config.label_std**2
    standardised = ((image.mean - views.keypoints).square() / variance).mean()
    return Agreement(_distances(image, views).mean().item(), standardised.item())


@torch.no_grad()
def distances(model: HandModel, views: Views, regressor: Tensor, rho: float) -> Tensor:
    """Return the mean distance (N,) of keypoints from the detector's, in per cent of the hand's extent in the crop."""
    return _distances(_images(model, views, regressor, rho), views)


def _images(model: HandModel, views: Views, regressor: Tensor, rho: float) -> Gaussian:
    camera_models = views.camera_model.split(ANSWER_BATCH)
    outputs = zip(predict(model, views), camera_models, strict=True)
    images = [projected(output, camera_model, regressor, rho) for output, camera_model in outputs]
    return Gaussian(*(torch.cat(part).detach() for part in zip(*images, strict=True)))


def _distances(image: Gaussian, views: Views) -> Tensor:
    extent = (views.keypoints.amax(1) - views.keypoints.amin(1)).amax(1)
    return 100 * (image.mean - views.keypoints).norm(dim=2).mean(1) / extent


def trainable(model: HandModel, config: AdaptConfig) -> list[dict[str, Any]]:
    """Return optimiser groups: heads and features, and the backbone's last blocks; all else is frozen."""
    tail = list(tail_parameters(model.backbone))
    heads = [*model.heads.parameters(), *model.features.parameters()]
    model.requires_grad_(False)
    for parameter in (*tail, *heads):
        parameter.requires_grad_(True)
    return [parameter_group(heads, config.head_rate), parameter_group(tail, config.tail_rate)]


class TrainingData(NamedTuple):
    """Data and targets of an adaptation."""

    views: Views
    teacher: Teacher
    regressor: Tensor
    """(21, V)"""
    rho: float
    """the vertices' correlation"""


class Adaptation(Task):
    """An adaptation of one network, until the watched frames stop improving."""

    config: AdaptConfig
    network: HandModel
    drop_last = False

    def __init__(
        self, model: HandModel, data: TrainingData, config: AdaptConfig, watched: Callable[[], Agreement]
    ) -> None:
        self.watched, self.best = watched, watched()
        self.network, self.data, self.config = channels_last(model), data, config
        self.samples = data.views.keypoints
        self.groups = trainable(model, config)
        self.best_weights = copy.deepcopy(model.state_dict())
        self.epoch, self.best_epoch = 0, 0

    def loss_terms(self, ids: Tensor, step: int) -> dict[str, Tensor]:
        """Return the weighted terms of a batch."""
        views, teacher, regressor, rho = self.data
        batch, target = views.rows(ids), teacher.of(ids % len(teacher.mean_cm))
        output = self.network.from_cached(batch.cached)
        return adaptation_terms(output, batch, target, regressor, rho, self.config)

    def validate(self) -> dict[str, float]:
        """Return the distance on the watched frames; the best weights are saved."""
        now = self.watched()
        self.epoch += 1
        if now.distance < self.best.distance:
            self.best, self.best_epoch = now, self.epoch
            self.best_weights = copy.deepcopy(self.network.state_dict())
        self.finished = self.epoch - self.best_epoch >= self.config.patience
        return {"distance_percent": now.distance}
