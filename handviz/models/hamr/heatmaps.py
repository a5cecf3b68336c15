"""Heatmaps of the 21 keypoints: what is regressed, the small network that regresses them, and what is read off them.

Paper: Zhang et al., End-to-end Hand Mesh Recovery from a Monocular RGB Image (ICCV 2019), section 3.1: a cascade of
encoder-decoders gives one Gaussian-like map a keypoint. Its stacked hourglass is in ``hourglass.py``; the network here
starts from MediaPipe's frozen maps, so that two processor cores can train it.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from handviz.core.records import HEATMAP_CUT, KEYPOINT_COUNT

HEATMAP_SIZE = 56
"""Side of the small network's maps."""
SIGMA = 2.2 / HEATMAP_SIZE
"""Of the Gaussians, as a fraction of the map's side: 2.5 of 64 pixels in the authors' configuration, 2.2 of 56 here."""
LEAST_PEAK = 1e-4


class Maps(NamedTuple):
    """Frozen maps of MediaPipe's landmark network for a batch of crops."""

    map_56: Tensor
    """(B, 24, 56, 56)"""
    map_28: Tensor
    """(B, 40, 28, 28)"""
    middle_map: Tensor
    """(B, 112, 14, 14)"""


MAP_CHANNELS, MAP_SIDES = (24, 40, 112), (56, 28, 14)
MAP_SHAPES: dict[str, tuple[int, ...]] = {
    name: (channels, side, side) for name, channels, side in zip(Maps._fields, MAP_CHANNELS, MAP_SIDES, strict=True)
}
"""By name, without the batch."""


class HeatmapOutput(NamedTuple):
    """What a heatmap network says."""

    stages: tuple[Tensor, ...]
    """(B, 21, S, S) of every stage of the cascade, the last one the best."""
    features: Tensor
    """(B, C, F, F) intermediate features beside them, which the regressor reads too."""


def gaussian_heatmaps(keypoints_crop: Tensor, size: int = HEATMAP_SIZE, sigma: float = SIGMA) -> Tensor:
    """Return the maps (B, 21, S, S) of keypoints (B, 21, 2) in crop half-sides: Gaussians of peak 1.

    ``sigma`` is a fraction of the side; pixel centres lie at ((column, row) + 0.5) / (S / 2) - 1. Keypoints outside
    leave what of their Gaussian lies inside.
    """
    centres = pixel_centres(size, keypoints_crop)
    squares = (centres[None, None] - keypoints_crop[..., None]).square() / (2 * (2 * sigma) ** 2)
    along_x, along_y = torch.exp(-squares[:, :, 0]), torch.exp(-squares[:, :, 1])
    return along_y[..., :, None] * along_x[..., None, :]


def pixel_centres(size: int, like: Tensor) -> Tensor:
    """Return the coordinates (S,) of pixel centres in half-sides, of the kind of a tensor."""
    return (torch.arange(size, dtype=like.dtype, device=like.device) + 0.5) * (2 / size) - 1


class SoftKeypoints(NamedTuple):
    """What heatmaps say of where keypoints lie."""

    position: Tensor
    """(B, 21, 2) expectation, crop half-sides."""
    covariance: Tensor
    """(B, 21, 2, 2) spread about it, square half-sides."""
    peak: Tensor
    """(B, 21) largest value: 1 for a keypoint that the network is sure of, 0 for none."""


def soft_keypoints(heatmaps: Tensor) -> SoftKeypoints:
    """Return expectation, covariance and peak of maps (B, 21, S, S), each as a distribution over its pixels.

    Weights are what rises above a quarter of the peak, so that a flat background does not pull to the centre.
    """
    peak = heatmaps.amax(dim=(2, 3))
    weights = functional.relu(heatmaps - HEATMAP_CUT * peak.clamp(min=LEAST_PEAK)[..., None, None])
    weights = weights / weights.sum(dim=(2, 3), keepdim=True).clamp(min=LEAST_PEAK)
    centres = pixel_centres(heatmaps.shape[-1], heatmaps)
    along_x, along_y = weights.sum(dim=2), weights.sum(dim=3)
    x, y = along_x @ centres, along_y @ centres
    square = centres.square()
    between = (weights @ centres * centres).sum(dim=2) - x * y
    variances = along_x @ square - x.square(), along_y @ square - y.square()
    rows = torch.stack([variances[0], between, between, variances[1]], dim=-1)
    return SoftKeypoints(torch.stack([x, y], dim=-1), rows.unflatten(-1, (2, 2)), peak)


class ConvBlock(nn.Module):
    """A 5 x 5 filter of each channel and a 1 x 1 mixture, normalised; ``stride`` 2 halves the map."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 5, stride, 2, groups=inputs, bias=False)
        self.mix = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.residual = inputs == outputs and stride == 1

    def forward(self, features: Tensor) -> Tensor:
        found = functional.relu(self.norm(self.mix(self.depthwise(features))))
        return features + found if self.residual else found


class CascadeHeatmaps(nn.Module):
    """MediaPipe's frozen maps -> heatmaps (B, 21, 56, 56) of two encoder-decoder stages, and features at 28 pixels.

    The first stage decodes the three maps; the second one encodes and decodes what the first one found.
    """

    WIDTHS = (32, 48, 96)
    size = HEATMAP_SIZE
    feature_channels = WIDTHS[1] + MAP_CHANNELS[1]

    def __init__(self, stages: int = 2) -> None:
        super().__init__()
        fine, medium, coarse = self.WIDTHS
        self.of_56, self.of_28, self.of_14 = (
            nn.Conv2d(inputs, outputs, 1) for inputs, outputs in zip(MAP_CHANNELS, self.WIDTHS, strict=True)
        )
        self.at_14, self.at_28, self.at_56 = (ConvBlock(width, width) for width in (coarse, medium, fine))
        self.to_28, self.to_56 = nn.Conv2d(coarse, medium, 1), nn.Conv2d(medium, fine, 1)
        self.heatmaps = nn.Conv2d(fine, KEYPOINT_COUNT, 1)
        self.further = nn.ModuleList(_Stage(self.WIDTHS) for _ in range(stages - 1))
        _start_flat(self.heatmaps)

    def forward(self, maps: Maps) -> HeatmapOutput:
        coarse = self.at_14(functional.relu(self.of_14(maps.middle_map)))
        medium = self.at_28(functional.relu(self.of_28(maps.map_28) + _doubled(self.to_28(coarse))))
        fine = self.at_56(functional.relu(self.of_56(maps.map_56) + _doubled(self.to_56(medium))))
        stages = [self.heatmaps(fine)]
        for stage in self.further:
            fine, medium, coarse, found = stage(fine, medium, coarse, stages[-1])
            stages.append(found)
        return HeatmapOutput(tuple(stages), torch.cat([medium, maps.map_28], dim=1))


class _Stage(nn.Module):
    """A further stage: features and heatmaps of the one before are encoded to 14 pixels and decoded again."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        fine, medium, coarse = widths
        self.of_heatmaps = nn.Conv2d(KEYPOINT_COUNT, fine, 1)
        self.down_28, self.down_14 = ConvBlock(fine, medium, stride=2), ConvBlock(medium, coarse, stride=2)
        self.at_14, self.at_28, self.at_56 = (ConvBlock(width, width) for width in (coarse, medium, fine))
        self.to_28, self.to_56 = nn.Conv2d(coarse, medium, 1), nn.Conv2d(medium, fine, 1)
        self.heatmaps = nn.Conv2d(fine, KEYPOINT_COUNT, 1)
        _start_flat(self.heatmaps)

    def forward(
        self, fine: Tensor, medium: Tensor, coarse: Tensor, heatmaps: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        fine = fine + self.of_heatmaps(heatmaps)
        medium = medium + self.down_28(fine)
        coarse = self.at_14(coarse + self.down_14(medium))
        medium = self.at_28(functional.relu(medium + _doubled(self.to_28(coarse))))
        fine = self.at_56(functional.relu(fine + _doubled(self.to_56(medium))))
        # What is left of the stage before.
        return fine, medium, coarse, heatmaps + self.heatmaps(fine)


def _doubled(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)


def _start_flat(layer: nn.Conv2d) -> None:
    """Let a network start with maps near 0."""
    nn.init.normal_(layer.weight, std=0.01)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
