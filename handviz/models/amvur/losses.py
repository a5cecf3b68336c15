"""The losses of the paper (eqs. 3 to 6, Algorithms 1, 5 and 6), in centimetres.

A term is the mean over its coordinates or, as printed, their sum (``LossConfig.reduction``), and the mean over crops.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from handviz.core.gaussian import (
    Gaussian,
    gaussian_kl,
    gaussian_nll,
    image_from_keypoints,
    keypoints_from_vertices,
    sample_correlated,
)
from handviz.models.amvur.joint_covariance import correlated_nll, shape_errors_cm
from handviz.models.amvur.loss_config import LossConfig
from handviz.models.amvur.loss_parts import (
    Fit,
    edge_error,
    fixed_camera,
    fixed_mean,
    presence_error,
    reduced_by,
    rotation_error,
)
from handviz.models.amvur.model import ModelOutput, Variant
from handviz.models.amvur.network import CameraOutput, camera_vector
from handviz.models.truth import Truth, in_crop

CENTIMETRES_PER_HALF_SIDE = 10.0
IMAGE_SQUARES = 20.0
"""For squared 2D errors: crop half-sides are about a decimetre, 100 would bring them to square centimetres."""

LossTerms = Callable[[ModelOutput, Truth, Tensor, LossConfig, float, torch.Generator | None], dict[str, Tensor]]
"""(output, truth, regressor (21, V), config, fraction of the steps taken, generator of draws) -> every weighted term by
name."""


def reduced(values: Tensor, config: LossConfig) -> Tensor:
    """Return a term of the numbers (B, ...) of a batch: their mean, or the mean over crops of each crop's sum."""
    return reduced_by(config.reduction, values)


def image_gaussian(keypoints: Gaussian, camera: CameraOutput) -> Gaussian:
    """Return keypoints in the crop: the paper's projection plus the camera's variance of T and, to first order, of ln
    s."""
    projected = image_from_keypoints(*keypoints, camera.rotation, camera.scale, camera.translation)
    reach = (projected.mean - camera.translation[:, None]).square().detach()
    of_camera = camera.log_variance[:, None, 7:].exp() + reach * camera.log_variance[:, None, 6:7].exp()
    return Gaussian(projected.mean, torch.logaddexp(projected.log_variance, torch.log(of_camera)))


def seen_gaussian(keypoints: Gaussian, camera: CameraOutput, config: LossConfig) -> Gaussian:
    """Return keypoints in the crop under a camera whose own variance counts or, as in the paper, is left out."""
    if config.camera_variance:
        return image_gaussian(keypoints, camera)
    return image_from_keypoints(*keypoints, camera.rotation, camera.scale, camera.translation)


def crop_terms(output: ModelOutput, truth: Truth, regressor: Tensor, config: LossConfig) -> dict[str, Tensor]:
    """Return absolute errors in the crop; a half-side counts as ten centimetres, which it is about."""
    camera = output.camera
    mine = in_crop(output.mean_cm, camera.rotation, camera.scale, camera.translation)
    true = in_crop(truth.vertices_cm, truth.rotation, truth.scale_per_cm, truth.translation)
    terms = {}
    if config.crop:
        terms["crop"] = config.crop * CENTIMETRES_PER_HALF_SIDE * (mine - true).abs().mean()
    if config.rotation:
        terms["rotation"] = config.rotation * rotation_error(camera, truth, regressor)
    if config.joints and output.joints_crop is not None:
        depth = (regressor @ true)[..., 2:]
        joints = torch.cat([truth.keypoints_crop, depth], dim=2)
        terms["joints"] = config.joints * CENTIMETRES_PER_HALF_SIDE * (output.joints_crop - joints).abs().mean()
    return terms


def camera_error(camera: CameraOutput, true_camera: Tensor, config: LossConfig) -> Tensor:
    """Return the squared error of the camera's nine numbers (eq. 4) plus the NLL of its variances, without gradient to
    the mean."""
    squares = reduced((camera.mean - true_camera).square(), config)
    likelihood = reduced(gaussian_nll(true_camera, camera.mean.detach(), camera.log_variance), config)
    return squares + config.camera_likelihood * likelihood


def supervised_terms(
    output: ModelOutput,
    truth: Truth,
    regressor: Tensor,
    config: LossConfig,
    progress: float = 1.0,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Return every weighted term by name; ``regressor`` (21, V).

    ``progress``: fraction of the steps taken; ``generator``, on the device of ``output``, draws samples.
    """
    if config.likelihood == "l2":
        return l2_terms(output, truth, regressor, config)
    true_camera = camera_vector(truth.rotation, truth.scale_per_cm, truth.translation)
    fit = config.fit_at(progress)
    terms = (
        sampled_terms(output, truth, regressor, config, fit, generator)
        if config.samples
        else likelihood_terms(output, truth, regressor, config, fit)
    )
    terms["camera"] = config.camera * camera_error(output.camera, true_camera, config)
    if output.prior is not None and output.prior.vertices_cm is not output.mean_cm:
        terms |= _joint_terms(output, truth, regressor, config)
    return terms | crop_terms(output, truth, regressor, config)


def likelihood_terms(
    output: ModelOutput, truth: Truth, regressor: Tensor, config: LossConfig, fit: Fit
) -> dict[str, Tensor]:
    """Return the likelihoods of vertices, 3D joints and 2D joints (eqs. 3, 5, 6, first terms)."""
    vertices, camera = Gaussian(output.mean_cm, output.log_variance), output.camera
    keypoints = keypoints_from_vertices(*vertices, regressor, config.vertex_correlation)
    image = seen_gaussian(keypoints, camera, config)
    fixed_image = seen_gaussian(fixed_mean(keypoints), fixed_camera(camera), config)
    of_image = fit.term(
        truth.keypoints_crop, image, fixed_image, of_squares=IMAGE_SQUARES, unit_cm=CENTIMETRES_PER_HALF_SIDE
    )
    true_keypoints = regressor @ truth.vertices_cm
    return {
        "vertices": config.vertices * fit.term(truth.vertices_cm, vertices, fixed_mean(vertices)),
        "keypoints": config.keypoints * fit.term(true_keypoints, keypoints, fixed_mean(keypoints)),
        "image": config.image * of_image,
    }


def sampled_terms(
    output: ModelOutput,
    truth: Truth,
    regressor: Tensor,
    config: LossConfig,
    fit: Fit,
    generator: torch.Generator | None,
) -> dict[str, Tensor]:
    """Return the terms of vertices and joints on draws of the vertices and J = B V of each draw, averaged over draws.

    A draw in the mean's place adds half a nat a coordinate to the likelihood, and noise to its gradient.
    """
    draws = []
    for _ in range(config.samples):
        drawn = sample_correlated(output.mean_cm, output.log_variance, config.vertex_correlation, generator)
        of_draw = output._replace(mean_cm=drawn)
        draws.append(
            likelihood_terms(of_draw, truth, regressor, config, fit)
            if config.sample_loss == "likelihood"
            else distance_terms(of_draw, truth, regressor, config)
        )
    return {name: torch.stack([terms[name] for terms in draws]).mean() for name in draws[0]}


def distance_terms(output: ModelOutput, truth: Truth, regressor: Tensor, config: LossConfig) -> dict[str, Tensor]:
    """Return absolute errors of the vertices, and squared errors of their 3D and 2D joints."""
    errors = output.mean_cm - truth.vertices_cm
    return {
        "vertices": config.vertices * reduced(errors.abs(), config),
        "keypoints": config.keypoints * reduced((regressor @ errors).square(), config),
        "image": image_squares(output, truth, regressor, config),
    }


def image_squares(output: ModelOutput, truth: Truth, regressor: Tensor, config: LossConfig) -> Tensor:
    """Return the weighted squared errors of the 2D joints under the camera's mean."""
    points = image_points(output.mean_cm, output.camera, regressor)
    return IMAGE_SQUARES * config.image * reduced((points - truth.keypoints_crop).square(), config)


def image_points(vertices_cm: Tensor, camera: CameraOutput, regressor: Tensor) -> Tensor:
    """Return the keypoints (B, 21, 2) of meshes in the crop, under the camera's mean."""
    return in_crop(regressor @ vertices_cm, camera.rotation, camera.scale, camera.translation)[..., :2]


def _joint_terms(output: ModelOutput, truth: Truth, regressor: Tensor, config: LossConfig) -> dict[str, Tensor]:
    """Return the terms of ``final`` that couple AMVUR and the prior-net."""
    assert output.prior is not None
    return {
        "kl": config.kl * _divergence(output, regressor, config),
        "prior": _prior_term(output, truth, regressor, config),
    }


def _prior_term(output: ModelOutput, truth: Truth, regressor: Tensor, config: LossConfig) -> Tensor:
    """Return the squared errors of the prior-net's own mesh and 3D joints: ours."""
    assert output.prior is not None
    errors = output.prior.vertices_cm - truth.vertices_cm
    squares, keypoint_squares = errors.square(), (regressor @ errors).square()
    return config.prior * (reduced(squares, config) + reduced(keypoint_squares, config))


def _divergence(output: ModelOutput, regressor: Tensor, config: LossConfig) -> Tensor:
    """Return the divergences of AMVUR from the prior-net (eqs. 3, 5, 6, second terms) in their weights.

    Both 2D Gaussians are under the same camera, whose own variance is no part of their difference.
    """
    assert output.prior is not None
    prior_mean = output.prior.vertices_cm
    prior_log_variance = torch.full_like(prior_mean, config.prior_log_variance)
    of_vertices = gaussian_kl(output.mean_cm, output.log_variance, prior_mean, prior_log_variance)
    rho = config.vertex_correlation
    mine = keypoints_from_vertices(output.mean_cm, output.log_variance, regressor, rho)
    priors = keypoints_from_vertices(prior_mean, prior_log_variance, regressor, rho)
    total = config.kl_vertices * reduced(of_vertices, config)
    total = total + config.kl_keypoints * reduced(gaussian_kl(*mine, *priors), config)
    if config.kl_image:
        camera = (output.camera.rotation, output.camera.scale, output.camera.translation)
        seen, expected = (image_from_keypoints(*part, *camera) for part in (mine, priors))
        total = total + config.kl_image * reduced(gaussian_kl(*seen, *expected), config)
    return total


def squared_terms(
    output: ModelOutput,
    truth: Truth,
    regressor: Tensor,
    config: LossConfig,
    progress: float = 1.0,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Return the terms of Algorithm 5 (prior-net alone): squared errors, and the fit of the one standard deviation.

    Nothing is drawn and nothing changes with the steps: ``progress`` and ``generator`` are there for the signature of
    ``LossTerms``.
    """
    of_image = image_squares(output, truth, regressor, config)
    true_camera = camera_vector(truth.rotation, truth.scale_per_cm, truth.translation)
    errors = output.mean_cm - truth.vertices_cm
    deviation = gaussian_nll(errors.detach(), torch.zeros_like(errors), output.log_variance)
    terms = {
        "vertices": config.vertices * reduced(errors.square(), config),
        "keypoints": config.keypoints * reduced((regressor @ errors).square(), config),
        "image": of_image,
        "camera": config.camera * camera_error(output.camera, true_camera, config),
        "deviation": reduced(deviation, config),
    }
    return terms | crop_terms(output, truth, regressor, config)


def l2_terms(output: ModelOutput, truth: Truth, regressor: Tensor, config: LossConfig) -> dict[str, Tensor]:
    """Return the terms of AMVUR without a variance: squared errors of its mean, and squared distance from the prior's
    mesh.

    That distance is the divergence of two Gaussians of fixed variance.
    """
    terms = squared_terms(output, truth, regressor, config)
    del terms["deviation"]
    if output.prior is not None:
        terms["kl"] = config.kl * _distance(output, regressor, config)
        terms["prior"] = _prior_term(output, truth, regressor, config)
    return terms


def edge_terms(output: ModelOutput, truth: Truth, edges: Tensor, config: LossConfig) -> dict[str, Tensor]:
    """Return the term of the lengths of the mesh's edges (E, 2); none at weight 0."""
    if not config.edges:
        return {}
    return {"edges": config.edges * edge_error(output.mean_cm, truth.vertices_cm, edges)}


def covariance_terms(output: ModelOutput, truth: Truth, regressor: Tensor, config: LossConfig) -> dict[str, Tensor]:
    """Return the likelihood of the joints' errors, all of a hand at once; none for a model without their covariance."""
    if output.joint_covariance is None or not config.covariance:
        return {}
    errors = shape_errors_cm(regressor @ output.mean_cm, regressor @ truth.vertices_cm)
    return {"covariance": config.covariance * correlated_nll(errors, output.joint_covariance).mean()}


def presence_terms(output: ModelOutput, truth: Truth, config: LossConfig) -> dict[str, Tensor]:
    """Return the term of the presence head, of all crops; none for a model without it."""
    if output.hand_logit is None or not config.presence:
        return {}
    return {"presence": config.presence * presence_error(output.hand_logit, truth)}


def _distance(output: ModelOutput, regressor: Tensor, config: LossConfig) -> Tensor:
    """Return the squared distances of AMVUR's mean from the prior-net's mesh in the weights of the divergences."""
    assert output.prior is not None
    apart = output.mean_cm - output.prior.vertices_cm
    total = config.kl_vertices * reduced(apart.square(), config)
    total = total + config.kl_keypoints * reduced((regressor @ apart).square(), config)
    if config.kl_image:
        meshes = (output.mean_cm, output.prior.vertices_cm)
        mine, priors = (image_points(mesh, output.camera, regressor) for mesh in meshes)
        total = total + config.kl_image * IMAGE_SQUARES * reduced((mine - priors).square(), config)
    return total


def loss_terms(variant: Variant) -> LossTerms:
    """Return the function that computes a variant's weighted terms by name."""
    return squared_terms if variant == "prior" else supervised_terms
