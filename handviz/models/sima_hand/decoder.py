"""The shape branch behind f_j: joints in 2D, their features lifted to 49 vertices, and the spiral decoder of the mesh.

Paper: Wang et al., SiMA-Hand (AAAI 2024), which takes the lifting from MobRecon (Chen et al. 2022) and the convolutions
from Lim et al. (2018). Levels and spirals are those of ``hand_models.mesh_levels``.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from handviz.core.records import KEYPOINT_COUNT
from handviz.core.units import CENTIMETRES_PER_DECIMETRE, CENTIMETRES_PER_METRE
from handviz.hand_models.mesh_levels import MeshLevels
from handviz.hand_models.template import HandTemplate

JOINT_HIDDEN = 64
LIFT_START = 0.01
"""Of the weights from joints to vertices; the first are those of each vertex's nearest joints."""


class JointsInImage(nn.Module):
    """Fine map (B, F, H, H), and joints (B, 21, 2) to start from -> J2D (B, 21, 2), crop half-sides.

    One map a joint, each read by the same small layers, as in MobRecon. They also read where a joint starts, or they
    could not know how far it is off.
    """

    def __init__(self, channels: int, side: int, *, has_start: bool) -> None:
        super().__init__()
        size = side * side + 2 * has_start
        self.maps = nn.Conv2d(channels, KEYPOINT_COUNT, 1)
        last = nn.Linear(JOINT_HIDDEN, 2)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(size, JOINT_HIDDEN), nn.ReLU(), last)

    def forward(self, fine: Tensor, start: Tensor | None) -> Tensor:
        maps = self.maps(fine).flatten(2)
        if start is None:
            return self.layers(maps)
        return start + self.layers(torch.cat([maps, start], dim=2))


def sampled(features: Tensor, points: Tensor) -> Tensor:
    """Return features (B, C, S, S) at points (B, K, 2), crop half-sides, bilinearly: (B, K, C); outside those of the
    border."""
    found = functional.grid_sample(
        features, points[:, :, None].clamp(-1, 1), mode="bilinear", padding_mode="border", align_corners=False
    )
    return found.squeeze(3).transpose(1, 2)


class Lifting(nn.Module):
    """f_j (B, C, S, S) at the 2D joints -> f_v (B, T, D) of the coarsest level's vertices, by a learnt T x 21 matrix.

    ``numbers``: of each joint, what else is known of it, (B, 21, K).
    """

    def __init__(self, channels: int, width: int, vertices: int, numbers: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, width, 1)
        self.of_numbers = nn.Linear(numbers, width) if numbers else None
        self.matrix = nn.Parameter(torch.full((vertices, KEYPOINT_COUNT), LIFT_START))

    def forward(self, features: Tensor, joints: Tensor, numbers: Tensor | None) -> Tensor:
        of_joints = sampled(self.project(features), joints)
        if self.of_numbers is not None:
            assert numbers is not None
            of_joints = of_joints + self.of_numbers(numbers)
        return self.matrix @ of_joints


def _ids(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.int32)).flatten()


class SpiralConv(nn.Module):
    """Features of vertices (B, V, C) -> (B, V, O): a linear layer of the nine vertices of each one's spiral."""

    spirals: Tensor

    def __init__(self, inputs: int, outputs: int, spirals: np.ndarray) -> None:
        super().__init__()
        self.length = spirals.shape[1]
        self.register_buffer("spirals", _ids(spirals), persistent=False)
        self.linear = nn.Linear(self.length * inputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        near = features.index_select(1, self.spirals)
        return self.linear(near.unflatten(1, (-1, self.length)).flatten(2))


class Upsample(nn.Module):
    """Features of a level's vertices (B, V, C) -> those of the next finer one, by fixed mixtures of four."""

    ids: Tensor
    weights: Tensor

    def __init__(self, ids: np.ndarray, weights: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("ids", _ids(ids), persistent=False)
        self.register_buffer("weights", torch.from_numpy(weights)[..., None], persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        near = features.index_select(1, self.ids).unflatten(1, self.weights.shape[:2])
        return (near * self.weights).sum(dim=2)


class SpiralDecoder(nn.Module):
    """f_v (B, 49, D) -> features of the last level (B, V, C) and canonical vertices (B, V, 3), cm.

    Ours: the last layer gives what is to be added to the template at rest, in decimetres, and starts near 0.
    """

    rest_cm: Tensor

    def __init__(self, template: HandTemplate, levels: MeshLevels, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.narrow = nn.Linear(inputs, widths[0])
        self.up = nn.ModuleList(map(Upsample, levels.lift_ids, levels.lift_weights))
        sizes = (widths[0], *widths)
        self.convs = nn.ModuleList(map(SpiralConv, sizes, widths, levels.spirals[1:]))
        self.last = SpiralConv(widths[-1], 3, levels.spirals[-1])
        nn.init.normal_(self.last.linear.weight, std=0.01)
        nn.init.zeros_(self.last.linear.bias)
        rest = torch.tensor(template.vertices_m, dtype=torch.float32) * CENTIMETRES_PER_METRE
        self.register_buffer("rest_cm", rest, persistent=False)

    def forward(self, vertex_features: Tensor) -> tuple[Tensor, Tensor]:
        features = self.narrow(vertex_features)
        for up, conv in zip(self.up, self.convs, strict=True):
            features = functional.relu(conv(up(features)))
        return features, self.rest_cm + CENTIMETRES_PER_DECIMETRE * self.last(features)
