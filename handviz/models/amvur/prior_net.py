"""The prior-net: a global feature becomes pose and shape, and the hand layer makes the mesh (paper, section 3.1)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from handviz.core.units import CENTIMETRES_PER_METRE
from handviz.hand_models.layer import HandLayer
from handviz.hand_models.template import POSE_SIZE, SHAPE_SIZE, HandTemplate


class PriorOutput(NamedTuple):
    """The hand model's answer."""

    pose: Tensor
    """(B, 45) axis-angle, radians."""
    shape: Tensor
    """(B, 10) standard deviations."""
    vertices_cm: Tensor
    """(B, V, 3) canonical, wrist joint at the origin."""


class PriorNet(nn.Module):
    """Feature (B, D) -> PriorOutput. Pose is regressed in the template's principal components."""

    pose_components: Tensor

    def __init__(self, feature_size: int, width: int, template: HandTemplate) -> None:
        super().__init__()
        self.layer = HandLayer(template)
        self.register_buffer(
            "pose_components", torch.tensor(template.pose_components, dtype=torch.float32), persistent=False
        )
        self.regress = nn.Sequential(
            nn.Linear(feature_size, width), nn.GELU(), nn.Linear(width, width), nn.GELU(),
            nn.Linear(width, POSE_SIZE + SHAPE_SIZE),
        )  # fmt: skip
        last = self.regress[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)

    def forward(self, feature: Tensor) -> PriorOutput:
        coefficients, shape = self.regress(feature).split([POSE_SIZE, SHAPE_SIZE], dim=1)
        pose = coefficients.float() @ self.pose_components
        vertices = self.layer(pose, shape.float()).vertices_m * CENTIMETRES_PER_METRE
        return PriorOutput(pose, shape, vertices)
