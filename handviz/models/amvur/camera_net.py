"""The camera net: how the canonical hand lies in the crop, as a Gaussian over [R in 6D, ln s, Tx, Ty].

The paper regresses axis-angle, which jumps at 180 degrees, exactly between palm and back; six numbers do not (Zhou et
al. 2019). Of the scale the logarithm is regressed, so that it stays positive.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from handviz.core.probability import rotation_from_6d, six_d_from_rotation
from handviz.core.units import CENTIMETRES_PER_DECIMETRE

CAMERA_SIZE = 9


class CameraOutput(NamedTuple):
    """Weak perspective: crop = scale * (rotation @ point)_xy + translation, crop in [-1, 1]."""

    mean: Tensor
    """(B, 9) [R in 6D, ln of the scale per decimetre, Tx, Ty]."""
    log_variance: Tensor
    """(B, 9)."""
    rotation: Tensor
    """(B, 3, 3) crop_from_wrist."""
    scale: Tensor
    """(B,) crop half-sides per centimetre."""
    translation: Tensor
    """(B, 2)."""


def camera_vector(rotation: Tensor, scale_per_cm: Tensor, translation: Tensor) -> Tensor:
    """Ground truth as the vector (B, 9) that the net regresses."""
    log_scale = torch.log(scale_per_cm * CENTIMETRES_PER_DECIMETRE)
    return torch.cat([six_d_from_rotation(rotation), log_scale[:, None], translation], dim=1)


class CameraNet(nn.Module):
    """Feature (B, D) -> CameraOutput."""

    def __init__(self, feature_size: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(feature_size, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.mean = nn.Linear(width, CAMERA_SIZE)
        self.log_variance = nn.Linear(width, CAMERA_SIZE)
        nn.init.normal_(self.mean.weight, std=0.01)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, -2.0)
        with torch.no_grad():
            self.mean.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0, -0.4, 0, 0.4]))

    def forward(self, feature: Tensor) -> CameraOutput:
        hidden = self.hidden(feature)
        mean, log_variance = self.mean(hidden).float(), self.log_variance(hidden.detach()).float()
        return CameraOutput(
            mean=mean,
            log_variance=log_variance.clamp(-12.0, 4.0),
            rotation=rotation_from_6d(mean[:, :6]),
            scale=torch.exp(mean[:, 6]) / CENTIMETRES_PER_DECIMETRE,
            translation=mean[:, 7:],
        )
