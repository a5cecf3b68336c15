"""Ground truth of crops, as every family is trained on it."""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from handviz.core import metrics
from handviz.core.records import KEYPOINT_COUNT
from handviz.core.units import METRES_PER_CENTIMETRE


@dataclass(frozen=True, eq=False)
class Truth:
    """Ground truth of a batch of right hands in the wrist frame, and of their cameras.

    Of crops without a hand (``is_hand``) everything else is meaningless.
    """

    vertices_cm: Tensor
    """(B, V, 3) canonical"""
    keypoints_crop: Tensor
    """(B, 21, 2) in [-1, 1]"""
    rotation: Tensor
    """(B, 3, 3) from the wrist frame to the crop's axes"""
    scale_per_cm: Tensor
    """(B,) half-sides of the crop a centimetre"""
    translation: Tensor
    """(B, 2) the wrist in the crop, half-sides"""
    is_hand: Tensor = field(default=None)  # type: ignore[assignment]
    """(B,) bool: whether the crop shows a hand; without it all do"""
    joints_cm: Tensor = field(default=None)  # type: ignore[assignment]
    """(B, 21, 3) in the crop's axes, wrist at 0, of hands of which the joints alone are known; else nan"""

    def __post_init__(self) -> None:
        if self.joints_cm is None:
            unknown = torch.full(
                (len(self.scale_per_cm), KEYPOINT_COUNT, 3), torch.nan, device=self.scale_per_cm.device
            )
            object.__setattr__(self, "joints_cm", unknown)
        if self.is_hand is None:
            known = torch.ones(self.scale_per_cm.shape, dtype=torch.bool, device=self.scale_per_cm.device)
            object.__setattr__(self, "is_hand", known)


def in_crop(vertices_cm: Tensor, rotation: Tensor, scale_per_cm: Tensor, translation: Tensor) -> Tensor:
    """Project canonical points (B, K, 3) to the crop (B, K, 3): half-sides, depth from the wrist."""
    rotated = scale_per_cm[:, None, None] * (vertices_cm @ rotation.transpose(1, 2))
    return rotated + functional.pad(translation, (0, 1))[:, None]


def true_joints(truth: Truth, regressor: Tensor) -> Tensor:
    """Return the true joints (B, 21, 3) in the crop's axes, wrist at 0, cm: of the mesh, or those known without one."""
    of_mesh = (regressor @ truth.vertices_cm) @ truth.rotation.transpose(1, 2)
    return torch.where(torch.isfinite(of_mesh), of_mesh, truth.joints_cm)


def mean_of(values: Tensor, rows: Tensor) -> Tensor:
    """Return the mean of the values (B,) of chosen rows (B,); 0 if none is chosen, whatever the others are."""
    return torch.where(rows, values, 0).sum() / rows.sum().clamp(min=1)


def pa_mpjpe_mm(mine_cm: Tensor, true_cm: Tensor) -> Tensor:
    """Return the PA-MPJPE (B,) of joints (B, K, 3), mm."""
    if not len(mine_cm):
        return torch.empty(0)
    mine_m, true_m = (part.cpu().double().numpy() * METRES_PER_CENTIMETRE for part in (mine_cm, true_cm))
    return torch.from_numpy(metrics.pa_mpjpe_mm(mine_m, true_m)).float()
