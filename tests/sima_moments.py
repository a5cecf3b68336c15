"""Moments made up of ordinary rendered crops, for tests of SiMA-Hand: each crop, darkened differently in every view."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from torch import Tensor

from handviz.hand_models.template import HandTemplate
from handviz.models.truth import Truth
from handviz.training.samples import ImageSamples, load_images


@dataclass
class FakeMoments:
    """As ``models.sima_hand.samples.Moments`` says."""

    samples: ImageSamples
    views: int = 3
    asked: list[int] = field(default_factory=list)
    """Numbers of all moments that were read"""

    def __len__(self) -> int:
        return len(self.samples)

    def hidden_share(self, ids: Tensor) -> Tensor:
        """Return fractions (B, N): nothing is hidden in the first view, most in the last."""
        return torch.linspace(0.0, 0.9, self.views).expand(len(ids), -1)

    def batch(self, ids: Tensor) -> tuple[Tensor, Truth]:
        """Return images (B, N, 3, 224, 224) and the truth of B N rows."""
        self.asked += ids.tolist()
        images, truth = self.samples.batch(ids)
        light = torch.linspace(1.0, 0.4, self.views)[None, :, None, None, None]
        rows = torch.arange(len(ids)).repeat_interleave(self.views)
        return images[:, None] * light, Truth(*(getattr(truth, item.name)[rows] for item in fields(Truth)))


def load_fake_moments(
    folders: Sequence[Path], template: HandTemplate, limit: int | None = None, *, drawing: object = None
) -> FakeMoments:
    """Return moments of three views of rendered folders."""
    return FakeMoments(load_images(folders, template, limit))
