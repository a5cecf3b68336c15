"""MediaPipe's landmarks as good in training as they are on photographs.

The witness (nets/evidence.py) has learnt from photographs and errs more on rendered hands than on them: a head that
sees only its errors on rendered hands would trust it too little. So part of the landmarks of a batch is moved towards
the truth, each just so far that its error becomes one drawn at random, about as large as on photographs; the error's
direction, which fingers err and how together, stays its own. (12.1 mm PA-MPJPE against a ground truth whose joints lie
elsewhere than MediaPipe marks them; here errors count in its own places, so less is drawn. docs/research/method.md)
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from handviz.core import metrics
from handviz.core.errors import HandvizError
from handviz.core.records import KEYPOINT_COUNT
from handviz.core.units import DECIMETRES_PER_METRE, METRES_PER_CENTIMETRE
from handviz.detection.crop import as_the_detector_marks_them
from handviz.models.amvur.features import LANDMARK_NUMBERS
from handviz.models.amvur.losses import Truth, in_crop

MIN_STD = 1e-4
NUMBERS = 3 * KEYPOINT_COUNT


# Maps as another camera, light or skin would have made them. Rendered hands have a look of their own, and heads
# that rely on it lose their way on photographs. The mean and the standard deviation of a map's channels hold much of a
# image's look (Li et al., Uncertainty Modeling for Out-of-Distribution Generalization, ICLR 2022), so in training
# both are moved at random, as far as they differ among the crops. MediaPipe's landmarks stay what they are: where a
# look is strange, they are what can be relied on.


@dataclass(frozen=True)
class StyleNoise:
    """How many of the maps get another look, and how different it is."""

    fraction: float = 0.5
    """of a batch"""
    strength: float = 1.0
    """standard deviation of the move, in those by which mean and standard deviation differ among crops"""

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1 or not 0 <= self.strength <= 10:
            raise HandvizError("training: of style_noise the fraction must lie in [0, 1], the strength in [0, 10]")


def statistics(maps: Tensor) -> Tensor:
    """Mean and standard deviation over all places of maps (N, C, H, W): (2, N, C)."""
    mean = maps.mean((2, 3))
    std = (maps - mean[..., None, None]).pow(2).mean((2, 3)).sqrt()
    return torch.stack([mean, std])


def spread_of_statistics(maps: Tensor) -> Tensor:
    """By how much mean and standard deviation of every channel differ among maps (N, C, H, W): (2, C)."""
    return statistics(maps).std(dim=1, correction=0)


def drawn_styles(count: int, spread: Tensor, noise: StyleNoise, generator: torch.Generator) -> Tensor:
    """How far mean and standard deviation of each channel of ``count`` maps move: (2, count, C); 0 for maps that
    stay."""
    moved = torch.rand(count, generator=generator) < noise.fraction
    drawn = torch.randn(2, count, spread.shape[1], generator=generator)
    return drawn * spread[:, None] * noise.strength * moved[None, :, None]


def in_other_styles(maps: Tensor, displacements: Tensor) -> Tensor:
    """Maps (N, C, H, W) whose channels' mean and standard deviation are moved by (2, N, C)."""
    mean, std = (part[..., None, None] for part in statistics(maps))
    by_mean, by_uncertainty = (part[..., None, None] for part in displacements)
    wanted = (std + by_uncertainty).clamp(min=0)
    return (maps - mean) * (wanted / std.clamp(min=MIN_STD)) + mean + by_mean


# MediaPipe's landmarks as good in training as they are on photographs. The witness (nets/evidence.py) has learnt
# from photographs and errs more on rendered hands than on them: a head that sees only its errors on rendered hands
# would trust it too little. So part of the landmarks of a batch is moved towards the truth, each just so far that
# its error becomes one drawn at random, about as large as on photographs; the error's direction, which fingers err
# and how together, stays its own. (12.1 mm PA-MPJPE against a ground truth whose joints lie elsewhere than
# MediaPipe marks them; here errors count in its own places, so less is drawn. docs/research/method.md)


@dataclass(frozen=True)
class LandmarkNoise:
    """Error of the witness on photographs (mm PA-MPJPE, log-normal) and how many of a batch are given it."""

    fraction: float = 0.9
    """times the third power of the witness's own presence score: where it doubts, it may err as it does"""
    median_mm: float = 8.0
    spread: float = 0.45
    """standard deviation of the logarithm"""
    of_absence: float = 1.0
    """The median grows by this share where the witness is sure that there is no hand."""


@dataclass(frozen=True, eq=False)
class TrueLandmarks:
    """What a witness without error would say."""

    landmarks: Tensor
    """(N, 128) its answer for every sample; presence and handedness are its own"""
    error_mm: Tensor
    """(N,) PA-MPJPE of the witness"""


def _marked(keypoints: Tensor) -> Tensor:
    return torch.from_numpy(as_the_detector_marks_them(keypoints.numpy()))


def true_landmarks(landmarks: Tensor, truth: Truth, regressor: Tensor) -> TrueLandmarks:
    """The landmarks (N, 128) that a witness without error would have given; ``regressor`` (21, V)."""
    keypoints = regressor @ truth.vertices_cm
    seen = _marked(in_crop(keypoints, truth.rotation, truth.scale_per_cm, truth.translation))
    screen = torch.cat([_marked(truth.keypoints_crop), seen[..., 2:] - seen[:, :1, 2:]], dim=2)
    world = _marked(keypoints @ truth.rotation.transpose(1, 2)) * METRES_PER_CENTIMETRE
    said = landmarks[:, NUMBERS : 2 * NUMBERS].unflatten(1, (KEYPOINT_COUNT, 3)) / DECIMETRES_PER_METRE
    error = metrics.pa_mpjpe_mm(said.double().numpy(), world.double().numpy())
    # The witness has a size and a middle of its own: neither is an error.
    centred, own = (part - part.mean(1, keepdim=True) for part in (world, said))
    size = own.norm(dim=(1, 2)) / centred.norm(dim=(1, 2)).clamp(min=1e-6)
    world = centred * size[:, None, None] + said.mean(1, keepdim=True)
    parts = [screen.flatten(1), world.flatten(1) * DECIMETRES_PER_METRE, landmarks[:, 2 * NUMBERS :]]
    whole = torch.cat(parts, dim=1)
    assert whole.shape[1] == LANDMARK_NUMBERS
    return TrueLandmarks(whole, torch.from_numpy(error).float())


def with_errors_of_photographs(
    landmarks: Tensor, true: Tensor, error_mm: Tensor, noise: LandmarkNoise, generator: torch.Generator
) -> Tensor:
    """Landmarks (B, 128) with part of their rows moved towards the true ones; never away from them."""
    count = len(landmarks)
    drawn = noise.median_mm * torch.exp(noise.spread * torch.randn(count, generator=generator))
    drawn = drawn * (1 + noise.of_absence * (1 - landmarks[:, 2 * NUMBERS]))
    kept = (drawn / error_mm.clamp(min=1e-3)).clamp(max=1.0)
    moved = torch.rand(count, generator=generator) < noise.fraction * landmarks[:, 2 * NUMBERS] ** 3
    kept = torch.where(moved, kept, torch.ones(()))
    return landmarks + (1 - kept[:, None]) * (true - landmarks)
