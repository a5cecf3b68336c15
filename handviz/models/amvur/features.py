"""Features of a crop that the heads read: "global", the paper's one vector, or "joints", ours, with one token a joint.

"joints": one token a joint attends to the backbone's maps, starting from MediaPipe's landmarks, whose heads stay frozen
beside the fine-tuned blocks. So what the pre-trained network learnt from real hands is not lost, and positions need not
pass through an average over the map.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from handviz.core.records import CROP_SIZE, KEYPOINT_COUNT
from handviz.core.units import DECIMETRES_PER_METRE
from handviz.models.attention import JointLayer
from handviz.models.backbones.mediapipe_hand import MediaPipeHand, load_mediapipe_landmark_net
from handviz.models.landmark_numbers import LANDMARK_NUMBERS

JOINT_SUMMARY = 32
"""Size of a joint token's summary in the vector that prior-net and camera net read."""


class ImageFeatures(NamedTuple):
    """The heads' inputs for a batch of crops."""

    feature: Tensor
    """(B, D) the paper's F; longer in "joints"."""
    joints: Tensor | None = None
    """(B, 21, W) one token a joint"""
    joints_crop: Tensor | None = None
    """(B, 21, 3) joints in crop half-sides, depth relative to the wrist: supervised directly"""


class LandmarkHead(nn.Module):
    """MediaPipe's last blocks and heads, frozen: middle map (B, 112, 14, 14) -> landmarks (B, 128).

    The first blocks are the backbone's, unless those are trained: then it has its own (``own_stem``).
    """

    def __init__(self, *, own_stem: bool = False) -> None:
        super().__init__()
        network = load_mediapipe_landmark_net()
        self.own_stem, self.heads = own_stem, network.heads
        self.backbone = network.backbone if own_stem else _without_stem(network.backbone)
        self.requires_grad_(False)

    def forward(self, middle_map: Tensor) -> Tensor:
        found = self.heads(self.backbone.tail(middle_map))
        screen = found.screen_px / (CROP_SIZE / 2) - torch.tensor([1.0, 1.0, 0.0], device=middle_map.device)
        world = found.world_m * DECIMETRES_PER_METRE
        certain = torch.stack([found.presence, found.handedness], dim=1)
        return torch.cat([screen.flatten(1), world.flatten(1), certain], dim=1)

    def of_crops(self, image: Tensor, middle_map: Tensor) -> Tensor:
        """Return landmarks (B, 128) of crops (B, 3, 224, 224) with this middle map of the backbone."""
        return self(self.backbone.stem(image)[1] if self.own_stem else middle_map)


def _without_stem(backbone: MediaPipeHand) -> MediaPipeHand:
    """Remove the blocks that the landmark head shares with the trained backbone."""
    backbone.first, backbone.stem_blocks = None, None  # type: ignore[assignment]
    return backbone


class GlobalFeatures(nn.Module):
    """The paper's features: the backbone's global feature alone."""

    joint_width = 0

    def __init__(self, feature_size: int) -> None:
        super().__init__()
        self.feature_size = feature_size

    def forward(self, last_map: Tensor, middle_map: Tensor, landmarks: Tensor | None) -> ImageFeatures:
        return ImageFeatures(last_map.mean((2, 3)))


class JointFeatures(nn.Module):
    """Maps (B, C, 7, 7) and (B, M, 14, 14), landmarks (B, 128) or None -> ImageFeatures with a token per joint."""

    def __init__(
        self, feature_size: int, middle_channels: int, *, width: int, heads: int, layers: int, with_landmarks: bool
    ) -> None:
        super().__init__()
        self.joint_width = width
        self.of_last = nn.Linear(feature_size, width)
        self.of_middle = nn.Linear(middle_channels, width)
        self.place = nn.Parameter(torch.randn(1, 7 * 7 + 14 * 14, width) * 0.02)
        self.query = nn.Parameter(torch.randn(1, KEYPOINT_COUNT + 1, width) * 0.02)
        self.of_landmarks = nn.Linear(LANDMARK_NUMBERS, width) if with_landmarks else None
        self.of_landmark = nn.Linear(6 + middle_channels, width) if with_landmarks else None
        self.layers = nn.ModuleList(JointLayer(width, heads) for _ in range(layers))
        self.summary = nn.Linear(width, JOINT_SUMMARY)
        self.position = nn.Linear(width, 3)
        nn.init.normal_(self.position.weight, std=0.01)
        nn.init.zeros_(self.position.bias)
        added = width + KEYPOINT_COUNT * (JOINT_SUMMARY + 3) + (LANDMARK_NUMBERS if with_landmarks else 0)
        self.feature_size = feature_size + added

    def forward(self, last_map: Tensor, middle_map: Tensor, landmarks: Tensor | None) -> ImageFeatures:
        global_feature = last_map.mean((2, 3))
        last, middle = (part.flatten(2).transpose(1, 2) for part in (last_map, middle_map))
        positions = torch.cat([self.of_last(last), self.of_middle(middle)], dim=1) + self.place
        tokens = self.query.expand(last_map.shape[0], -1, -1)
        if landmarks is not None:
            tokens = tokens + self._landmark_tokens(landmarks, middle_map)
        for layer in self.layers:
            tokens = layer(tokens, positions)
        camera, joints = tokens[:, 0], tokens[:, 1:]
        joints_crop = self.position(joints)
        parts = [global_feature, camera, self.summary(joints).flatten(1)]
        if landmarks is not None:
            joints_crop = joints_crop + landmarks[:, : 3 * KEYPOINT_COUNT].unflatten(1, (KEYPOINT_COUNT, 3))
            parts.append(landmarks)
        return ImageFeatures(torch.cat([*parts, joints_crop.flatten(1)], dim=1), joints, joints_crop)

    def _landmark_tokens(self, landmarks: Tensor, middle_map: Tensor) -> Tensor:
        """Return the landmarks' part of the 22 tokens: of all landmarks, of the joint's own, and of the map at its
        position."""
        assert self.of_landmarks is not None
        assert self.of_landmark is not None
        screen, world = (
            part.unflatten(1, (KEYPOINT_COUNT, 3))
            for part in landmarks[:, : 6 * KEYPOINT_COUNT].split(3 * KEYPOINT_COUNT, dim=1)
        )
        at = functional.grid_sample(middle_map, screen[:, :, None, :2], align_corners=False, padding_mode="border")
        own = torch.cat([screen, world, at.squeeze(3).transpose(1, 2)], dim=2)
        joints = functional.pad(self.of_landmark(own), (0, 0, 1, 0))
        return joints + self.of_landmarks(landmarks)[:, None]
