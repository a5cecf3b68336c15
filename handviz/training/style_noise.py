"""Maps as another camera, light or skin would have made them.

Rendered hands have a look of their own, and heads that rely on it lose their way on photographs. The mean and the
deviation of a map's channels hold much of a picture's look (Li et al., Uncertainty Modeling for Out-of-Distribution
Generalization, ICLR 2022), so in training both are moved at random, as far as they differ among the crops. MediaPipe's
landmarks stay what they are: where a look is strange, they are what can be relied on.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from handviz.core.errors import HandvizError

SMALLEST_DEVIATION = 1e-4


@dataclass(frozen=True)
class StyleNoise:
    """How many of the maps get another look, and how different it is."""

    share: float = 0.5
    """of a batch"""
    strength: float = 1.0
    """standard deviation of the move, in those by which mean and deviation differ among crops"""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or not 0 <= self.strength <= 10:
            raise HandvizError("training: of style_noise the share must lie in [0, 1], the strength in [0, 10]")


def statistics(maps: Tensor) -> Tensor:
    """Mean and deviation over all places of maps (N, C, H, W): (2, N, C)."""
    mean = maps.mean((2, 3))
    deviation = (maps - mean[..., None, None]).pow(2).mean((2, 3)).sqrt()
    return torch.stack([mean, deviation])


def spread_of_statistics(maps: Tensor) -> Tensor:
    """By how much mean and deviation of every channel differ among maps (N, C, H, W): (2, C)."""
    return statistics(maps).std(dim=1, correction=0)


def drawn_styles(count: int, spread: Tensor, noise: StyleNoise, generator: torch.Generator) -> Tensor:
    """How far mean and deviation of each channel of ``count`` maps move: (2, count, C); 0 for maps that stay."""
    moved = torch.rand(count, generator=generator) < noise.share
    drawn = torch.randn(2, count, spread.shape[1], generator=generator)
    return drawn * spread[:, None] * noise.strength * moved[None, :, None]


def in_other_styles(maps: Tensor, moves: Tensor) -> Tensor:
    """Maps (N, C, H, W) whose channels' mean and deviation are moved by (2, N, C)."""
    mean, deviation = (part[..., None, None] for part in statistics(maps))
    by_mean, by_deviation = (part[..., None, None] for part in moves)
    wanted = (deviation + by_deviation).clamp(min=0)
    return (maps - mean) * (wanted / deviation.clamp(min=SMALLEST_DEVIATION)) + mean + by_mean
