"""The iterative regressor: image features -> camera, rotation, pose and shape of the hand model, better in every step.

Paper: Zhang et al., ICCV 2019, section 3.2: the parameters at step t beside the features give those at t + 1. Numbers
that it leaves open are those of the authors' published inference code (docs/research/hamr.md), or ours, said so.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from handviz.core.gaussian import rotation_from_6d
from handviz.core.units import CENTIMETRES_PER_DECIMETRE, CENTIMETRES_PER_METRE
from handviz.hand_models.layer import HandLayer, rotation_from_axis_angle
from handviz.hand_models.template import SHAPE_SIZE, HandTemplate

ROTATION_SIZES = {"six_d": 6, "axis_angle": 3}
"""Numbers of the global rotation: axis-angle, the paper's, jumps at 180 degrees; six do not (Zhou et al. 2019)."""
CAMERA_START = (-0.4, 0.0, 0.4)
"""ln of the scale in half-sides a decimetre, and the wrist's place, of the mean hand; the authors start at 1."""
ORIGINAL_WIDTHS = (320, 320, 320, 640, 1280, 2048)
"""Channels of the original's six convolutions of stride 2."""


class HandParameters(NamedTuple):
    """The hand model's parameters and the camera after one step, and the hand that they make."""

    rotation: Tensor
    """(B, 3, 3) crop_from_wrist"""
    log_scale: Tensor
    """(B,) ln of crop half-sides a decimetre"""
    translation: Tensor
    """(B, 2) the wrist in the crop, half-sides"""
    pose: Tensor
    """(B, P) coefficients of the pose's principal components"""
    shape: Tensor
    """(B, 10) standard deviations"""
    vertices_cm: Tensor
    """(B, V, 3) canonical, wrist joint at the origin"""

    @property
    def scale_per_cm(self) -> Tensor:
        """(B,) crop half-sides a centimetre."""
        return torch.exp(self.log_scale) / CENTIMETRES_PER_DECIMETRE


class Encoder(nn.Module):
    """Features (B, C, F, F), heatmaps (B, 21, S, S) and MediaPipe's middle map -> a vector (B, D).

    Heatmaps are averaged to the features' size and stand beside them, as in the paper; convolutions of stride 2 follow,
    and a mean. Ours: the middle map joins at its own size, and the vector also has the heatmaps' keypoints.
    """

    WIDTHS = (128, 192)

    def __init__(self, channels: int, maps: int, middle_channels: int, size: int) -> None:
        super().__init__()
        first, second = self.WIDTHS
        self.first = _halving(channels + maps, first)
        self.second = _halving(first + middle_channels, second)
        self.third = _halving(second, size)

    def forward(self, features: Tensor, heatmaps: Tensor | None, middle_map: Tensor) -> Tensor:
        if heatmaps is not None:
            smaller = functional.avg_pool2d(heatmaps, heatmaps.shape[-1] // features.shape[-1])
            features = torch.cat([features, smaller], dim=1)
        at_14 = torch.cat([self.first(features), middle_map], dim=1)
        return self.third(self.second(at_14)).mean((2, 3))


class OriginalEncoder(nn.Module):
    """The original's: features with all maps (B, 320, 64, 64) -> (B, 2048) by six convolutions of stride 2."""

    size = ORIGINAL_WIDTHS[-1]

    def __init__(self, channels: int) -> None:
        super().__init__()
        inputs = (channels, *ORIGINAL_WIDTHS)
        self.layers = nn.Sequential(*(_halving(a, b) for a, b in zip(inputs, ORIGINAL_WIDTHS, strict=False)))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features).flatten(1)


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class IterativeRegressor(nn.Module):
    """Vector (B, D) -> ``HandParameters`` before the first step and after each; all steps share their weights."""

    pose_components: Tensor
    start: Tensor

    def __init__(
        self, inputs: int, template: HandTemplate, *, width: int, iterations: int, pose_numbers: int, rotation: str,
        dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.iterations, self.rotation = iterations, rotation
        self.layer = HandLayer(template)
        components = torch.tensor(template.pose_components[:pose_numbers], dtype=torch.float32)
        self.register_buffer("pose_components", components, persistent=False)
        self.sizes = (ROTATION_SIZES[rotation], 1, 2, pose_numbers, SHAPE_SIZE)
        self.register_buffer("start", self._start(), persistent=False)
        count = sum(self.sizes)
        self.layers = nn.Sequential(
            nn.Linear(inputs + count, width), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout),
        )  # fmt: skip
        self.change = nn.Linear(width, count)
        nn.init.normal_(self.change.weight, std=0.01)
        nn.init.zeros_(self.change.bias)

    def _start(self) -> Tensor:
        rotation = torch.tensor([1.0, 0, 0, 0, 1, 0]) if self.rotation == "six_d" else torch.zeros(3)
        return torch.cat([rotation, torch.tensor(CAMERA_START), torch.zeros(sum(self.sizes[3:]))])

    def forward(self, vector: Tensor) -> tuple[HandParameters, ...]:
        theta = self.start.expand(vector.shape[0], -1)
        steps = [theta]
        for _ in range(self.iterations):
            theta = theta + self.change(self.layers(torch.cat([vector, theta], dim=1)))
            steps.append(theta)
        return tuple(self.decoded(step.float()) for step in steps)

    def decoded(self, theta: Tensor) -> HandParameters:
        """Return the parameters of numbers (B, N), and their hand."""
        rotation, log_scale, translation, pose, shape = theta.split(self.sizes, dim=1)
        turn = rotation_from_6d(rotation) if self.rotation == "six_d" else rotation_from_axis_angle(rotation)
        vertices_cm = self.layer(pose @ self.pose_components, shape).vertices_m * CENTIMETRES_PER_METRE
        return HandParameters(turn, log_scale.squeeze(1), translation, pose, shape, vertices_cm)


def explained_variance(template: HandTemplate, poses: Tensor, count: int) -> float:
    """Return the fraction of the variance of poses (N, 45) that the first ``count`` principal components explain."""
    components = torch.tensor(template.pose_components, dtype=torch.float64)
    centred = poses.double() - poses.double().mean(0)
    coefficients = torch.linalg.lstsq(components.T, centred.T).solution
    left = centred - (components[:count].T @ coefficients[:count]).T
    return float(1 - left.square().sum() / centred.square().sum())
