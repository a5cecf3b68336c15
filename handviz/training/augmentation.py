"""Noise on the inputs of heads in training: other styles of frozen maps, and other landmark errors."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from handviz.core import metrics
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import KEYPOINT_COUNT
from handviz.core.units import DECIMETRES_PER_METRE, METRES_PER_CENTIMETRE
from handviz.detection.crop import as_the_detector_marks_them
from handviz.models.landmark_numbers import LANDMARK_NUMBERS
from handviz.models.truth import Truth, in_crop
from handviz.training.samples import take

MIN_STD = 1e-4
NUMBERS = 3 * KEYPOINT_COUNT


# Style noise: maps as of another camera, light or skin. Heads that rely on the style of rendered hands fail on
# photographs. Mean and standard deviation of a map's channels hold much of an image's style (Li et al., Uncertainty
# Modeling for Out-of-Distribution Generalization, ICLR 2022), so in training both are moved at random, as far as they
# vary among the crops. MediaPipe's landmarks stay unchanged: they are reliable where a style is unusual.


@dataclass(frozen=True)
class StyleNoise:
    """Fraction of the maps that get another style, and strength of the change."""

    fraction: float = 0.5
    """of a batch"""
    strength: float = 1.0
    """standard deviation of the change, in units of the variation of mean and standard deviation among crops"""

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1 or not 0 <= self.strength <= 10:
            raise HandvizError(
                "training: of style_noise the fraction must lie in [0, 1], the strength in [0, 10]",
                ErrorCode.BAD_VALUE,
            )


def statistics(maps: Tensor) -> Tensor:
    """Return mean and standard deviation over all positions of maps (N, C, H, W): (2, N, C)."""
    mean = maps.mean((2, 3))
    std = (maps - mean[..., None, None]).pow(2).mean((2, 3)).sqrt()
    return torch.stack([mean, std])


def spread_of_statistics(maps: Tensor) -> Tensor:
    """Return how much mean and standard deviation of every channel vary among maps (N, C, H, W): (2, C)."""
    return statistics(maps).std(dim=1, correction=0)


def drawn_styles(count: int, spread: Tensor, noise: StyleNoise, generator: torch.Generator) -> Tensor:
    """Draw changes (2, count, C) of each channel's mean and standard deviation; 0 for maps that stay."""
    moved = torch.rand(count, generator=generator) < noise.fraction
    drawn = torch.randn(2, count, spread.shape[1], generator=generator)
    return drawn * spread[:, None] * noise.strength * moved[None, :, None]


def in_other_styles(maps: Tensor, displacements: Tensor) -> Tensor:
    """Change the mean and standard deviation of the channels of maps (N, C, H, W) by (2, N, C)."""
    mean, std = (part[..., None, None] for part in statistics(maps))
    by_mean, by_std = (part[..., None, None] for part in displacements)
    wanted = (std + by_std).clamp(min=0)
    return (maps - mean) * (wanted / std.clamp(min=MIN_STD)) + mean + by_mean


# Landmark noise: MediaPipe's landmarks as accurate in training as on photographs. Its landmark head learned from
# photographs and errs more on rendered hands, so heads trained on those errors would trust it too little. Part of the
# landmarks of a batch is therefore moved towards the truth until the error equals one drawn at random, about as large
# as on photographs; the error's direction and its correlation over fingers stay. (12.1 mm PA-MPJPE against a ground
# truth with other joint positions than MediaPipe's; here errors refer to MediaPipe's own, so less is drawn.
# docs/research/method.md)


@dataclass(frozen=True)
class LandmarkNoise:
    """MediaPipe's landmark error on photographs (mm PA-MPJPE, log-normal) and the fraction of a batch that gets it."""

    fraction: float = 0.9
    """times the third power of the landmark head's presence score: where that is low, errors stay as they are"""
    median_mm: float = 8.0
    spread: float = 0.45
    """standard deviation of the logarithm"""
    of_absence: float = 1.0
    """The median grows by this fraction where the presence score is 0."""


@dataclass(frozen=True, eq=False)
class TrueLandmarks:
    """Landmarks that MediaPipe's head without error would give."""

    landmarks: Tensor
    """(N, 128) for every sample; presence and handedness are the head's own"""
    error_mm: Tensor
    """(N,) PA-MPJPE of the landmark head"""


def _marked(keypoints: Tensor) -> Tensor:
    return torch.from_numpy(as_the_detector_marks_them(keypoints.numpy()))


def true_landmarks(landmarks: Tensor, truth: Truth, regressor: Tensor) -> TrueLandmarks:
    """Return the landmarks (N, 128) that a landmark head without error would give; ``regressor`` (21, V).

    Of crops without a hand there are none, so the head's own stay.
    """
    is_hand = truth.is_hand
    whole, error = landmarks.clone(), torch.zeros(len(landmarks))
    if bool(is_hand.any()):
        whole[is_hand], error[is_hand] = _without_error(landmarks[is_hand], take(truth, is_hand), regressor)
    return TrueLandmarks(whole, error)


def _without_error(landmarks: Tensor, truth: Truth, regressor: Tensor) -> tuple[Tensor, Tensor]:
    """Return the true landmarks (N, 128) of crops that all show a hand, and the head's errors (N,) in mm."""
    keypoints = regressor @ truth.vertices_cm
    seen = _marked(in_crop(keypoints, truth.rotation, truth.scale_per_cm, truth.translation))
    screen = torch.cat([_marked(truth.keypoints_crop), seen[..., 2:] - seen[:, :1, 2:]], dim=2)
    world = _marked(keypoints @ truth.rotation.transpose(1, 2)) * METRES_PER_CENTIMETRE
    predicted = landmarks[:, NUMBERS : 2 * NUMBERS].unflatten(1, (KEYPOINT_COUNT, 3)) / DECIMETRES_PER_METRE
    error = metrics.pa_mpjpe_mm(predicted.double().numpy(), world.double().numpy())
    # The landmark head's own size and centre are no errors.
    centred, own = (part - part.mean(1, keepdim=True) for part in (world, predicted))
    size = own.norm(dim=(1, 2)) / centred.norm(dim=(1, 2)).clamp(min=1e-6)
    world = centred * size[:, None, None] + predicted.mean(1, keepdim=True)
    parts = [screen.flatten(1), world.flatten(1) * DECIMETRES_PER_METRE, landmarks[:, 2 * NUMBERS :]]
    whole = torch.cat(parts, dim=1)
    assert whole.shape[1] == LANDMARK_NUMBERS
    return whole, torch.from_numpy(error).float()


def with_errors_of_photographs(
    landmarks: Tensor, true: Tensor, error_mm: Tensor, noise: LandmarkNoise, generator: torch.Generator
) -> Tensor:
    """Move part of the landmarks (B, 128) towards the true ones; never away from them."""
    count = len(landmarks)
    drawn = noise.median_mm * torch.exp(noise.spread * torch.randn(count, generator=generator))
    drawn = drawn * (1 + noise.of_absence * (1 - landmarks[:, 2 * NUMBERS]))
    remaining = (drawn / error_mm.clamp(min=1e-3)).clamp(max=1.0)
    moved = torch.rand(count, generator=generator) < noise.fraction * landmarks[:, 2 * NUMBERS] ** 3
    remaining = torch.where(moved, remaining, torch.ones(()))
    return landmarks + (1 - remaining[:, None]) * (true - landmarks)


def landmarks_of_photographs(
    landmarks: Tensor, truth: Truth, regressor: Tensor, noise: LandmarkNoise, generator: torch.Generator
) -> Tensor:
    """Return landmarks (B, 128) about as accurate as on photographs; those of hands without a mesh stay."""
    if not noise.fraction:
        return landmarks
    has_mesh = truth.is_hand & torch.isfinite(truth.vertices_cm).all(dim=(1, 2))
    true = true_landmarks(landmarks, replace(truth, is_hand=has_mesh), regressor)
    return with_errors_of_photographs(landmarks, true.landmarks, true.error_mm, noise, generator)
