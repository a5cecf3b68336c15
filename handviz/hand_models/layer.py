"""The hand model as a torch layer: pose and shape in, vertices and joints out (linear blend skinning, as MANO)."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from handviz.hand_models.template import JOINT_COUNT, HandTemplate

SMALL_ANGLE_SQUARED = 1e-8


class SkinnedHand(NamedTuple):
    """Posed right hands, wrist joint at the origin."""

    vertices_m: Tensor
    """(B, V, 3)."""
    joints_m: Tensor
    """(B, 16, 3) wrist, then three per finger in the template's order."""


class HandLayer(nn.Module):
    """Differentiable skinning of a template, on the module's device and in its precision."""

    rest_vertices: Tensor
    rest_joints: Tensor
    vertex_basis: Tensor
    joint_basis: Tensor
    skinning_weights: Tensor
    pose_mean: Tensor
    corrective_basis: Tensor | None
    joint_order: Tensor

    def __init__(self, template: HandTemplate) -> None:
        super().__init__()
        basis = template.shape_basis.astype(np.float64)
        regressor = template.joint_regressor.astype(np.float64)
        joint_basis = np.einsum("jv,vcs->jcs", regressor, basis)
        self._add_buffer("rest_vertices", template.vertices_m)
        self._add_buffer("rest_joints", regressor @ template.vertices_m)
        self._add_buffer("vertex_basis", basis.reshape(-1, basis.shape[-1]).T)
        self._add_buffer("joint_basis", joint_basis.reshape(-1, basis.shape[-1]).T)
        self._add_buffer("skinning_weights", template.skinning_weights)
        self._add_buffer("pose_mean", template.pose_mean)
        correctives = template.pose_basis.reshape(-1, template.pose_basis.shape[-1]).T
        self._add_buffer("corrective_basis", correctives if correctives.any() else None)
        self.levels = _levels(template.parents)
        order = np.argsort([joint for level in self.levels for joint in level])
        self.register_buffer("joint_order", torch.from_numpy(order), persistent=False)
        self.parents = template.parents

    def _add_buffer(self, name: str, array: np.ndarray | None) -> None:
        values = None if array is None else torch.from_numpy(np.array(array, dtype=np.float32))
        self.register_buffer(name, values, persistent=False)

    def forward(self, pose: Tensor, shape: Tensor, global_rotation: Tensor | None = None) -> SkinnedHand:
        """Skin: pose (B, 45), axis-angle relative to the template's mean, shape (B, 10), global rotation (B, 3, 3)."""
        local = rotation_from_axis_angle((pose + self.pose_mean).unflatten(1, (JOINT_COUNT - 1, 3)))
        rest = self.rest_vertices + (shape @ self.vertex_basis).unflatten(1, (-1, 3))
        joints = self.rest_joints + (shape @ self.joint_basis).unflatten(1, (JOINT_COUNT, 3))
        if self.corrective_basis is not None:
            pose_features = (local - torch.eye(3, dtype=local.dtype, device=local.device)).flatten(1)
            rest = rest + (pose_features @ self.corrective_basis).unflatten(1, (-1, 3))
        wrist = joints[:, :1]
        rotations, positions = self._chain(local, joints - wrist)
        vertices = self._skin(rest - wrist, rotations, positions - _rotated(rotations, joints - wrist))
        if global_rotation is not None:
            transposed = global_rotation.transpose(1, 2)
            vertices, positions = vertices @ transposed, positions @ transposed
        return SkinnedHand(vertices, positions)

    def _chain(self, local: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Return rotations (B, 16, 3, 3) and positions (B, 16, 3) of all joints, level by level of the tree."""
        rotation = torch.eye(3, dtype=local.dtype, device=local.device).expand(local.shape[0], 1, 3, 3)
        position = joints[:, :1]
        rotations, positions = [rotation], [position]
        for previous, level in zip(self.levels, self.levels[1:], strict=False):
            parents = [self.parents[joint] for joint in level]
            rows = [previous.index(parent) for parent in parents]
            position = position[:, rows] + _rotated(rotation[:, rows], joints[:, level] - joints[:, parents])
            rotation = rotation[:, rows] @ local[:, [joint - 1 for joint in level]]
            rotations.append(rotation)
            positions.append(position)
        return torch.cat(rotations, 1)[:, self.joint_order], torch.cat(positions, 1)[:, self.joint_order]

    def _skin(self, rest: Tensor, rotations: Tensor, shifts: Tensor) -> Tensor:
        """Blend the joints' transforms over rest vertices (B, V, 3)."""
        blended = (self.skinning_weights @ rotations.flatten(2)).unflatten(2, (3, 3))
        return _rotated(blended, rest) + self.skinning_weights @ shifts


def rotation_from_axis_angle(axis_angle: Tensor) -> Tensor:
    """Return rotations (..., 3, 3) of axis-angles (..., 3) in radians, smooth at zero (Rodrigues' formula)."""
    squared = axis_angle.square().sum(dim=-1)[..., None, None]
    small = squared < SMALL_ANGLE_SQUARED
    angle = torch.sqrt(torch.where(small, torch.ones_like(squared), squared))
    sine_ratio = torch.where(small, 1 - squared / 6, torch.sin(angle) / angle)
    versine_ratio = torch.where(small, 0.5 - squared / 24, 2 * (torch.sin(angle / 2) / angle).square())
    x, y, z = axis_angle.unbind(dim=-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + sine_ratio * cross + versine_ratio * (cross @ cross)


def _rotated(rotations: Tensor, points: Tensor) -> Tensor:
    """Rotate each point (..., 3) by its own matrix (..., 3, 3)."""
    return (rotations @ points[..., None]).squeeze(-1)


def _levels(parents: tuple[int, ...]) -> list[list[int]]:
    """Group the joints by their distance from the wrist."""
    depths: list[int] = []
    for parent in parents:
        depths.append(0 if parent < 0 else depths[parent] + 1)
    return [[j for j, depth in enumerate(depths) if depth == level] for level in range(max(depths) + 1)]
