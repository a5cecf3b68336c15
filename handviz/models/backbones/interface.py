"""The interface of image backbones: an image becomes one vector and a shallow map."""

from typing import NamedTuple

from torch import Tensor, nn


class BackboneFeatures(NamedTuple):
    """The backbone's output for an image."""

    global_feature: Tensor
    """(B, D)."""
    shallow_map: Tensor
    """(B, C, 112, 112)."""


class Backbone(nn.Module):
    """Image (B, 3, 224, 224) RGB in [0, 1] -> features, in two halves so that the first can be cached.

    ``stem`` ends at a map of 14 x 14; ``tail`` is what fine-tuning trains.
    """

    feature_size: int
    """D of the global feature."""
    shallow_channels: int
    """C of the shallow map."""
    middle_channels: int
    """Channels of the 14 x 14 map between stem and tail."""

    def stem(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shallow map (B, C, 112, 112) and middle map (B, M, 14, 14) of an image (B, 3, 224, 224)."""
        raise NotImplementedError

    def last_map(self, middle_map: Tensor) -> Tensor:
        """Return the last map (B, D, 7, 7) of a middle map (B, M, 14, 14)."""
        raise NotImplementedError

    def tail(self, middle_map: Tensor) -> Tensor:
        """Return the global feature (B, D), the mean of the last map, of a middle map (B, M, 14, 14)."""
        return self.last_map(middle_map).mean((2, 3))

    def forward(self, image: Tensor) -> BackboneFeatures:
        """Return the features of an image (B, 3, 224, 224) RGB in [0, 1]."""
        shallow_map, middle_map = self.stem(image)
        return BackboneFeatures(self.tail(middle_map), shallow_map)
