"""The weakly supervised losses of the paper (eqs. 7, 8, Algorithm 2; parts alone: Algorithms 5 and 6), in centimetres.

Of ``Truth`` only ``keypoints_crop`` is read; a keypoint that is nan there is unknown and does not count. What the paper
leaves open, and what is ours: docs/research/weak_supervision.md.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from handviz.core.gaussian import (
    Gaussian,
    gaussian_kl,
    gaussian_nll,
    keypoints_from_vertices,
    rotation_from_6d,
    sample,
)
from handviz.core.units import CENTIMETRES_PER_DECIMETRE
from handviz.hand_models.anatomy import joint_axes, pose_from_angles, sample_angles
from handviz.hand_models.template import POSE_SIZE, HandTemplate
from handviz.models.amvur.loss_config import LossConfig
from handviz.models.amvur.losses import CENTIMETRES_PER_HALF_SIDE, IMAGE_SQUARES, image_points, reduced, seen_gaussian
from handviz.models.amvur.model import ModelOutput
from handviz.models.amvur.network import CameraOutput
from handviz.models.truth import Truth

OPEN_HAND = "open_hand"
"""The template whose poses are relative to a flat hand."""
TIPS = (4, 8, 12, 16, 20)
"""Keypoints of the fingertips."""
POSES = 512


@dataclass(frozen=True, eq=False)
class PosePrior:
    """The Gaussian of likely poses over the hand model's principal components."""

    mean: Tensor
    """(45,)"""
    whitening: Tensor
    """(45, 45): (pose - mean) @ whitening has variance one in every column"""

    def components(self, pose: Tensor) -> Tensor:
        """Return poses (B, 45) as components (B, 45), in standard deviations."""
        return (pose - self.mean) @ self.whitening

    def to(self, device: torch.device) -> "PosePrior":
        """Return a copy on a device."""
        return PosePrior(self.mean.to(device), self.whitening.to(device))


def pose_prior(template: HandTemplate) -> PosePrior:
    """Return a hand model's pose prior.

    MANO's poses are relative to the mean of its scans, so its mean is zero. The open hand's are relative to the flat
    hand: its mean is that of the anatomical poses from which its components were computed.
    """
    mean = np.zeros(POSE_SIZE)
    if template.name == OPEN_HAND:
        mean = _anatomical_mean(template)
    whitening = np.linalg.inv(template.pose_components.astype(np.float64))
    return PosePrior(torch.from_numpy(mean).float(), torch.from_numpy(whitening).float())


def _anatomical_mean(template: HandTemplate) -> np.ndarray:
    keypoints = template.keypoint_regressor @ template.vertices_m
    axes = joint_axes(template.joint_regressor @ template.vertices_m, keypoints[list(TIPS)])
    return np.asarray(pose_from_angles(sample_angles(np.random.default_rng(0), POSES), axes).mean(axis=0))


@dataclass(frozen=True, eq=False)
class WeakPriors:
    """Priors of a batch beside its 2D joints; a part that is None gives no term."""

    camera: Gaussian | None = None
    """(B, 9) of the camera's numbers (``camera_vector``)"""
    pose: PosePrior | None = None


NOTHING_KNOWN = WeakPriors()


def weak_terms(
    output: ModelOutput,
    truth: Truth,
    regressor: Tensor,
    config: LossConfig,
    generator: torch.Generator,
    priors: WeakPriors = NOTHING_KNOWN,
) -> dict[str, Tensor]:
    """Return every weighted term of a batch of which only ``truth.keypoints_crop`` is known; ``regressor`` (21, V).

    ``generator`` draws the samples; it is on the device of ``output``.
    """
    alone = output.prior is not None and output.prior.vertices_cm is output.mean_cm
    if alone or config.likelihood == "l2":
        terms = _squared(output, truth, regressor, config)
    else:
        terms = {"image": config.image * expected_image_nll(output, truth, regressor, config, generator)}
    if alone:
        terms["deviation"] = _one_std(output, truth, regressor, config)
    elif output.prior is not None:
        terms |= _from_prior_net(output, truth, regressor, config)
    if priors.camera is not None and config.weak.camera:
        camera = output.camera
        divergence = gaussian_kl(camera.mean, camera.log_variance, *priors.camera)
        terms["camera"] = config.weak.camera * reduced(divergence, config)
    return terms | _regularisers(output, config, priors) | _feature_term(output, truth, config)


def drawn_camera(camera: CameraOutput, generator: torch.Generator) -> CameraOutput:
    """Draw a camera from the net's Gaussian, differentiably (Algorithm 2, step 5); the log-variance stays."""
    drawn = sample(camera.mean, camera.log_variance, generator)
    scale = torch.exp(drawn[:, 6]) / CENTIMETRES_PER_DECIMETRE
    return CameraOutput(drawn, camera.log_variance, rotation_from_6d(drawn[:, :6]), scale, drawn[:, 7:])


def expected_image_nll(
    output: ModelOutput, truth: Truth, regressor: Tensor, config: LossConfig, generator: torch.Generator
) -> Tensor:
    """Return E[-ln P(2D joints)] over samples of vertices, 3D joints and camera: eq. 8, first term, with eq. 6 inside.

    J = B V of vertices drawn with the correlation rho has exactly the Gaussian of ``keypoints_from_vertices``; the 2D
    joints depend on V through J alone, so J is drawn from it at once.
    """
    joints = keypoints_from_vertices(output.mean_cm, output.log_variance, regressor, config.vertex_correlation)
    total = torch.zeros((), dtype=joints.mean.dtype, device=joints.mean.device)
    for _ in range(config.weak.draws):
        camera = drawn_camera(output.camera, generator)
        drawn = Gaussian(sample(*joints, generator), joints.log_variance)
        image = _observed(seen_gaussian(drawn, camera, config), config)
        known, target = _known(truth, image.mean)
        total = total + _of_known(gaussian_nll(target, *image), known, config)
    return total / config.weak.draws


def _observed(image: Gaussian, config: LossConfig) -> Gaussian:
    """Return the likelihood of a 2D label whose keypoint was drawn at ``image.mean``."""
    label_variance = torch.as_tensor(config.weak.label_std**2, dtype=image.mean.dtype, device=image.mean.device)
    if config.weak.variance == "labels":
        return Gaussian(image.mean, label_variance.log().expand_as(image.mean))
    if not config.weak.label_std:
        return image
    return Gaussian(image.mean, torch.logaddexp(image.log_variance, label_variance.log()))


def _known(truth: Truth, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return which 2D joints are known (B, 21, 1), and all of them with 0 for the unknown."""
    known = torch.isfinite(truth.keypoints_crop).all(dim=2, keepdim=True)
    zero = torch.zeros((), dtype=like.dtype, device=like.device)
    return known, torch.where(known, truth.keypoints_crop, zero)


def _mean_of_known(values: Tensor, known: Tensor) -> Tensor:
    """Return the mean over the known keypoints of (B, 21, 2)."""
    return (values * known).sum() / (values.shape[2] * known.sum()).clamp(min=1)


def _of_known(values: Tensor, known: Tensor, config: LossConfig) -> Tensor:
    """Return a term of the known keypoints of (B, 21, 2): their mean, or the mean over crops of each crop's sum."""
    return _mean_of_known(values, known) if config.reduction == "mean" else reduced(values * known, config)


def _squared(output: ModelOutput, truth: Truth, regressor: Tensor, config: LossConfig) -> dict[str, Tensor]:
    """Return the L2 term on 2D joints alone (Algorithms 5 and 6, step 6, weak)."""
    points = image_points(output.mean_cm, output.camera, regressor)
    known, target = _known(truth, points)
    return {"image": IMAGE_SQUARES * config.image * _of_known((points - target).square(), known, config)}


def _one_std(output: ModelOutput, truth: Truth, regressor: Tensor, config: LossConfig) -> Tensor:
    """Return the NLL of a prior-net's one standard deviation and its camera's, from 2D errors (3D is unknown)."""
    rho = config.vertex_correlation
    joints = keypoints_from_vertices(output.mean_cm.detach(), output.log_variance, regressor, rho)
    means = {name: getattr(output.camera, name).detach() for name in ("mean", "rotation", "scale", "translation")}
    camera = output.camera._replace(**means)
    image = _observed(seen_gaussian(joints, camera, config), config)
    known, target = _known(truth, image.mean)
    return _of_known(gaussian_nll(target, *image), known, config)


def _from_prior_net(output: ModelOutput, truth: Truth, regressor: Tensor, config: LossConfig) -> dict[str, Tensor]:
    """Return the terms of ``final`` that couple AMVUR and prior-net (eq. 25), and the prior-net with the labels."""
    assert output.prior is not None
    weights, rho = config.weak, config.vertex_correlation
    mean, prior_mean = output.mean_cm, output.prior.vertices_cm
    prior_log_variance = torch.full_like(mean, config.prior_log_variance)
    own = prior_log_variance if config.likelihood == "l2" else output.log_variance
    terms = {}
    if weights.vertices:
        divergence = gaussian_kl(mean, own, prior_mean, prior_log_variance)
        terms["vertices"] = weights.vertices * reduced(divergence, config)
    if weights.keypoints:
        mine = keypoints_from_vertices(mean, own, regressor, rho)
        priors = keypoints_from_vertices(prior_mean, prior_log_variance, regressor, rho)
        terms["keypoints"] = weights.keypoints * reduced(gaussian_kl(*mine, *priors), config)
    if weights.prior:
        points = image_points(prior_mean, output.camera, regressor)
        known, target = _known(truth, points)
        squares = _of_known((points - target).square(), known, config)
        terms["prior"] = weights.prior * IMAGE_SQUARES * config.image * squares
    return terms


def _regularisers(output: ModelOutput, config: LossConfig, priors: WeakPriors) -> dict[str, Tensor]:
    """Return the terms that keep pose and shape plausible: ours, the paper has the divergences alone."""
    terms: dict[str, Tensor] = {}
    if output.prior is None:
        return terms
    if config.weak.pose and priors.pose is not None:
        terms["pose"] = config.weak.pose * priors.pose.components(output.prior.pose).square().mean()
    if config.weak.shape:
        terms["shape"] = config.weak.shape * output.prior.shape.square().mean()
    return terms


def _feature_term(output: ModelOutput, truth: Truth, config: LossConfig) -> dict[str, Tensor]:
    """Return the absolute error of the joints that the "joints" features predict in the crop, without depth: ours."""
    if not config.joints or output.joints_crop is None:
        return {}
    points = output.joints_crop[..., :2]
    known, target = _known(truth, points)
    error = _mean_of_known((points - target).abs(), known)
    return {"joints": config.joints * CENTIMETRES_PER_HALF_SIDE * error}
