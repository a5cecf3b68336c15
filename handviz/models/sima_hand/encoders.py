"""Encoders of both branches: image-level features f_i, joint-level features f_j, orientation features f_o.

Paper: Wang et al., SiMA-Hand (AAAI 2024), section "Dual-branch structure". The small form goes on from MediaPipe's
frozen middle map, which is its f_i; the paper's form has an hourglass of dense blocks on an image of 128 x 128.
"""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

PAPER_IMAGE_SIZE = 128
DENSE_MIDDLE = 1024
"""Channels of the paper's f_j and f_o."""
DENSE_SIDE = 32
SQUEEZE = 16
"""By how much squeeze-excitation narrows the channels."""


class ShapeFeatures(NamedTuple):
    """What the shape encoder makes of f_i."""

    joint: Tensor
    """(B, C, S, S) f_j"""
    fine: Tensor
    """(B, F, H, H) a finer map, from which the 2D joints are read"""


def conv_norm(inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return a convolution without bias and its normalisation."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class Bottleneck(nn.Module):
    """Expansion by 1 x 1, a 5 x 5 filter of each channel, projection by 1 x 1; beside the input where shapes agree."""

    def __init__(self, inputs: int, expanded: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *conv_norm(inputs, expanded), nn.ReLU(),
            *conv_norm(expanded, expanded, 5, stride=stride, groups=expanded), nn.ReLU(),
            *conv_norm(expanded, outputs),
        )  # fmt: skip
        self.residual = inputs == outputs and stride == 1

    def forward(self, features: Tensor) -> Tensor:
        found = self.layers(features)
        return features + found if self.residual else found


class ShapeEncoder(nn.Module):
    """f_i (B, 112, 14, 14) -> f_j (B, 192, 7, 7), small form."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.at_14 = Bottleneck(inputs, 3 * inputs // 2, inputs)
        self.at_7 = nn.Sequential(
            Bottleneck(inputs, 3 * inputs, outputs, stride=2), Bottleneck(outputs, outputs, outputs), nn.ReLU()
        )

    def forward(self, image_features: Tensor) -> ShapeFeatures:
        fine = self.at_14(image_features)
        return ShapeFeatures(self.at_7(fine), fine)


class OrientationEncoder(nn.Module):
    """f_i (B, 112, 14, 14) -> f_o (B, 256, 7, 7), small form."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Bottleneck(inputs, 3 * inputs // 2, inputs, stride=2), Bottleneck(inputs, inputs, outputs)
        )

    def forward(self, image_features: Tensor) -> Tensor:
        return self.layers(image_features)


class SqueezeExcitation(nn.Module):
    """Weighs each channel by what all of the map says (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(channels // SQUEEZE, 4)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, narrow, 1), nn.ReLU(), nn.Conv2d(narrow, channels, 1), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        return features * self.layers(features.mean((2, 3), keepdim=True))


class DenseBlock(nn.Module):
    """Four 3 x 3 convolutions that each read all before, then squeeze-excitation and a 1 x 1 mixture."""

    LAYERS = 4

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        growth = max(inputs // self.LAYERS, 8)
        self.layers = nn.ModuleList(
            nn.Sequential(*conv_norm(inputs + number * growth, growth, 3), nn.ReLU()) for number in range(self.LAYERS)
        )
        total = inputs + self.LAYERS * growth
        self.mix = nn.Sequential(SqueezeExcitation(total), *conv_norm(total, outputs), nn.ReLU())

    def forward(self, features: Tensor) -> Tensor:
        for layer in self.layers:
            features = torch.cat([features, layer(features)], dim=1)
        return self.mix(features)


class DenseStack(nn.Module):
    """Three dense blocks, each halved: (B, C, 32, 32) -> the middle (B, 1024, 4, 4), and back up to 16 by sums."""

    def __init__(self, channels: int, fine: int) -> None:
        super().__init__()
        widths = (channels, 2 * channels, 4 * channels, DENSE_MIDDLE)
        self.blocks = nn.ModuleList(DenseBlock(a, b) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(nn.Conv2d(width, fine, 1) for width in widths[1:])

    def forward(self, features: Tensor) -> ShapeFeatures:
        found = []
        for block in self.blocks:
            features = functional.max_pool2d(block(features), 2)
            found.append(features)
        fine = self.up[-1](found[-1])
        for layer, level in zip(reversed(list(self.up)[:-1]), reversed(found[:-1]), strict=True):
            fine = layer(level) + functional.interpolate(fine, scale_factor=2.0, mode="nearest")
        return ShapeFeatures(features, fine)


class ImageHourglass(nn.Module):
    """Image (B, 3, 128, 128) -> f_i (B, 128, 32, 32), the paper's form."""

    FINE = 64

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            *conv_norm(3, 64, 3, stride=2), nn.ReLU(),
            *conv_norm(64, 64, 3, groups=64), nn.ReLU(), *conv_norm(64, channels), nn.ReLU(),
            nn.PixelUnshuffle(2), *conv_norm(4 * channels, channels), nn.ReLU(),
        )  # fmt: skip
        self.stack = DenseStack(channels, self.FINE)
        self.join = nn.Sequential(*conv_norm(channels + self.FINE, channels), nn.ReLU())

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[-1] != PAPER_IMAGE_SIZE:
            size = [PAPER_IMAGE_SIZE, PAPER_IMAGE_SIZE]
            image = functional.interpolate(image, size=size, mode="bilinear", align_corners=False)
        features = self.first(image)
        fine = functional.interpolate(self.stack(features).fine, scale_factor=2.0, mode="nearest")
        return self.join(torch.cat([features, fine], dim=1))
