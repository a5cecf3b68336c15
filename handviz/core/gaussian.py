"""Gaussians with diagonal covariance: the formulas of the method, each written once (torch, any unit).

Paper: Jiang et al., CVPR 2023; docs/research/method.md lists the differences from it. All functions take and return
*log-variance*, the natural logarithm of sigma squared, never sigma.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

LOG_TWO_PI = math.log(2 * math.pi)


class Gaussian(NamedTuple):
    """Independent normal distributions, one per element."""

    mean: Tensor
    log_variance: Tensor


def gaussian_nll(value: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return -ln N(value; mean, variance), elementwise, nats (first term of the paper's eq. 3)."""
    return 0.5 * ((value - mean).square() * torch.exp(-log_variance) + log_variance + LOG_TWO_PI)


def gaussian_kl(mean: Tensor, log_variance: Tensor, prior_mean: Tensor, prior_log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, variance) || N(prior)), elementwise, nats (second term of eq. 3, sigmas as variances)."""
    log_ratio = log_variance - prior_log_variance
    distance = (mean - prior_mean).square() * torch.exp(-prior_log_variance)
    return 0.5 * (torch.expm1(log_ratio) - log_ratio + distance)


def keypoints_from_vertices(
    mean: Tensor, log_variance: Tensor, regressor: Tensor, correlation: float = 0.0
) -> Gaussian:
    """Return keypoints (B, K, 3) from vertices (B, V, 3) and regressor (K, V) >= 0.

    m = B m; v = (1 - rho) (B o B) v + rho (B sqrt v)^2: the variance of a weighted sum of errors of which every pair
    has the correlation rho. rho = 0 is independence (eq. 5, with B squared); rho > 0 is an extension for errors that
    neighbouring vertices share.
    """
    largest = log_variance.detach().amax(dim=-2, keepdim=True)
    relative = torch.exp(log_variance - largest)
    variance = regressor.square() @ relative
    if correlation:
        shared = (regressor @ torch.exp(0.5 * (log_variance - largest))).square()
        variance = (1.0 - correlation) * variance + correlation * shared
    return Gaussian(regressor @ mean, _log(variance) + largest)


def image_from_keypoints(
    mean: Tensor, log_variance: Tensor, rotation: Tensor, scale: Tensor, translation: Tensor
) -> Gaussian:
    """Return image points (B, K, 2) of keypoints (B, K, 3) by rotation (B, 3, 3), scale (B,), translation (B, 2).

    Weak perspective: m = s (R m)_xy + T; v = s^2 (R o R)_xy v (eq. 6; the paper maps sigma as a point, T included).
    The camera counts as known, a point's axes as independent. Scale is in image units per unit of ``mean``.
    """
    rows, factor = rotation[:, :2], scale[:, None, None]
    largest = log_variance.detach().amax(dim=-1, keepdim=True)
    variance = torch.exp(log_variance - largest) @ rows.square().transpose(1, 2)
    projected = factor * (mean @ rows.transpose(1, 2)) + translation[:, None]
    return Gaussian(projected, _log(variance) + largest + 2.0 * torch.log(factor))


def sample(mean: Tensor, log_variance: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw one sample, differentiable in mean and log-variance (reparameterisation; Algorithm 2, steps 5, 7, 9)."""
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    return mean + torch.exp(0.5 * log_variance) * noise


def sample_correlated(
    mean: Tensor, log_variance: Tensor, correlation: float, generator: torch.Generator | None = None
) -> Tensor:
    """Draw vertices (B, V, 3) whose errors have this correlation between any two vertices, differentiably.

    B V of the draw then has the Gaussian of ``keypoints_from_vertices``; at 0 it is ``sample``.
    """
    if not correlation:
        return sample(mean, log_variance, generator)
    own = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    shared = torch.randn(mean[:, :1].shape, generator=generator, dtype=mean.dtype, device=mean.device)
    noise = math.sqrt(1.0 - correlation) * own + math.sqrt(correlation) * shared
    return mean + torch.exp(0.5 * log_variance) * noise


def rotation_from_6d(six: Tensor) -> Tensor:
    """Return rotations (..., 3, 3) from (..., 6): two columns made orthonormal (Zhou et al. 2019, eq. 15)."""
    first = functional.normalize(six[..., :3], dim=-1)
    along = (first * six[..., 3:]).sum(dim=-1, keepdim=True)
    second = functional.normalize(six[..., 3:] - along * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second, dim=-1)], dim=-1)


def six_d_from_rotation(rotation: Tensor) -> Tensor:
    """Return the first two columns (..., 6) of rotations (..., 3, 3): the inverse of ``rotation_from_6d``."""
    return torch.cat([rotation[..., 0], rotation[..., 1]], dim=-1)


def _log(variance: Tensor) -> Tensor:
    return torch.log(variance.clamp_min(torch.finfo(variance.dtype).tiny))
