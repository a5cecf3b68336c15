"""The original's heatmap network: stacked hourglasses (Newell et al., ECCV 2016) on an image of 256 x 256.

Its numbers are those of the authors' published inference code (docs/research/hamr.md). It has no batch normalisation in
the hourglasses. Two processor cores cannot train it; its form is tested.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from handviz.core.records import KEYPOINT_COUNT
from handviz.models.hamr.heatmaps import HeatmapOutput

IMAGE_SIZE, HOURGLASS_SIZE = 256, 64
"""Sides of the image and of the maps."""
CHANNELS, MORE_CHANNELS, DEPTH = 256, 128, 4
"""Of an hourglass's ends, how many more each level has, and the number of levels."""
HOURGLASS_MAPS = 64
"""Maps that a stack gives; the first 21 are the keypoints'."""


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside the input, which a 1 x 1 one widens where the channels change."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(self.skip(features) + self.second(functional.relu(self.first(features))))


class Hourglass(nn.Module):
    """Encoder-decoder of some levels: each halves the map and has more channels; skips join equal sizes."""

    def __init__(self, depth: int, channels: int) -> None:
        super().__init__()
        wider = channels + MORE_CHANNELS
        self.skip, self.down = Residual(channels, channels), Residual(channels, wider)
        self.inner: nn.Module = Hourglass(depth - 1, wider) if depth > 1 else Residual(wider, wider)
        self.up = Residual(wider, channels)

    def forward(self, features: Tensor) -> Tensor:
        lower = self.up(self.inner(self.down(functional.max_pool2d(features, 2))))
        return self.skip(features) + functional.interpolate(lower, scale_factor=2.0, mode="nearest")


class StackedHourglass(nn.Module):
    """Image (B, 3, 224, 224) in [0, 1], resized to 256 x 256 -> maps (B, 21, 64, 64) of every stack, and features.

    The features (B, 320, 64, 64) are those before the hourglasses beside all 64 maps of the last stack.
    """

    size = HOURGLASS_SIZE
    maps = HOURGLASS_MAPS
    feature_channels = CHANNELS + HOURGLASS_MAPS

    def __init__(self, stages: int = 2) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.before_pool, self.after_pool = (
            Residual(64, 128),
            nn.Sequential(Residual(128, 128), Residual(128, CHANNELS)),
        )
        self.hourglasses = nn.ModuleList(Hourglass(DEPTH, CHANNELS) for _ in range(stages))
        self.after = nn.ModuleList(_two_convolutions(CHANNELS) for _ in range(stages))
        self.heatmaps = nn.ModuleList(nn.Conv2d(CHANNELS, HOURGLASS_MAPS, 1) for _ in range(stages))
        self.merged_features = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 1) for _ in range(stages - 1))
        self.merged_maps = nn.ModuleList(nn.Conv2d(HOURGLASS_MAPS, CHANNELS, 1) for _ in range(stages - 1))

    def forward(self, image: Tensor) -> HeatmapOutput:
        image = functional.interpolate(image, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", align_corners=False)
        before = self.after_pool(functional.max_pool2d(self.before_pool(functional.relu(self.first(image))), 2))
        current, stages = before, []
        for number, (hourglass, after, heatmaps) in enumerate(
            zip(self.hourglasses, self.after, self.heatmaps, strict=True)
        ):
            features = after(hourglass(current))
            found = heatmaps(features)
            stages.append(found)
            if number < len(self.merged_maps):
                current = current + self.merged_features[number](features) + self.merged_maps[number](found)
        return HeatmapOutput(tuple(part[:, :KEYPOINT_COUNT] for part in stages), torch.cat([before, stages[-1]], dim=1))


def _two_convolutions(channels: int) -> nn.Sequential:
    layers = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))
