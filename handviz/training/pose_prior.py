"""Which poses of the hand model are likely: a Gaussian over its principal components."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from handviz.hand_models.anatomy import joint_axes, pose_from_angles, sample_angles
from handviz.hand_models.template import POSE_SIZE, HandTemplate

OPEN_HAND = "open_hand"
"""The template whose poses are relative to a flat hand."""
TIPS = (4, 8, 12, 16, 20)
"""Keypoints at the fingers' ends."""
POSES = 512


@dataclass(frozen=True, eq=False)
class PosePrior:
    """Poses as standard deviations from the mean pose."""

    mean: Tensor
    """(45,)"""
    whitening: Tensor
    """(45, 45): (pose - mean) @ whitening has variance one in every column"""

    def components(self, pose: Tensor) -> Tensor:
        """Poses (B, 45) -> (B, 45), in standard deviations."""
        return (pose - self.mean) @ self.whitening

    def to(self, device: torch.device) -> "PosePrior":
        """The same on a device."""
        return PosePrior(self.mean.to(device), self.whitening.to(device))


def pose_prior(template: HandTemplate) -> PosePrior:
    """Of a hand model.

    MANO's poses are relative to the mean of its scans, so its mean is zero. The open hand's are relative to the flat
    hand: its mean is that of the anatomical poses that its components are those of.
    """
    mean = np.zeros(POSE_SIZE)
    if template.name == OPEN_HAND:
        mean = _anatomical_mean(template)
    whitening = np.linalg.inv(template.pose_components.astype(np.float64))
    return PosePrior(torch.from_numpy(mean).float(), torch.from_numpy(whitening).float())


def _anatomical_mean(template: HandTemplate) -> np.ndarray:
    keypoints = template.keypoint_regressor @ template.vertices_m
    axes = joint_axes(template.joint_regressor @ template.vertices_m, keypoints[list(TIPS)])
    return np.asarray(pose_from_angles(sample_angles(np.random.default_rng(0), POSES), axes).mean(axis=0))
