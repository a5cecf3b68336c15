"""The camera net that corrects a camera computed from the joints that the features predict in the crop: ours.

The palm is nearly rigid, so three of its joints with their depth determine the hand's rotation; a network that must
find the rotation in the feature alone has to learn this geometry from examples (``network.CameraNet``, the paper's).
"""

import torch
from torch import Tensor, nn

from handviz.core.gaussian import rotation_from_6d, six_d_from_rotation
from handviz.core.records import KEYPOINT_COUNT
from handviz.core.units import CENTIMETRES_PER_DECIMETRE, DECIMETRES_PER_METRE
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.network import CAMERA_SIZE, CameraOutput

WRIST, INDEX, MIDDLE, LITTLE = 0, 5, 9, 17
"""Keypoints of the wrist and of three knuckles."""
JOINT_NUMBERS = 3 * KEYPOINT_COUNT
EVIDENCE = 6 + JOINT_NUMBERS
"""Numbers that the net reads beside the feature: the rotation in 6D, and the joints in the palm's frame."""
MIN_SIZE = 0.05
"""Of the palm in crop half-sides, so that logarithm and quotient stay finite."""


def palm_rotation(points: Tensor) -> Tensor:
    """Return the frame (..., 3, 3) of a palm's keypoints (..., 21, 3) as columns, by Gram-Schmidt.

    The first axis runs from the wrist to the middle finger's knuckle, the second towards the index finger's side.
    """
    along = points[..., MIDDLE, :] - points[..., WRIST, :]
    across = points[..., INDEX, :] - points[..., LITTLE, :]
    return rotation_from_6d(torch.cat([along, across], dim=-1))


def palm_size(points: Tensor) -> Tensor:
    """Return the length plus the width (...,) of a palm's keypoints (..., 21, 3)."""
    along = points[..., MIDDLE, :] - points[..., WRIST, :]
    across = points[..., INDEX, :] - points[..., LITTLE, :]
    return along.norm(dim=-1) + across.norm(dim=-1)


class JointCameraNet(nn.Module):
    """Feature (B, D) that ends with the joints (21 x 3) in the crop -> CameraOutput.

    The rotation is R0 D: R0 lays the rest pose's palm on the joints', D is learnt, a rotation in the palm's frame.
    The logarithm of the scale and the translation are those of the palm's size and of the wrist plus learnt numbers.
    """

    rest_frame: Tensor
    rest_size_dm: Tensor

    def __init__(self, feature_size: int, width: int, template: HandTemplate) -> None:
        super().__init__()
        rest = torch.tensor(template.keypoint_regressor @ template.vertices_m * DECIMETRES_PER_METRE)
        self.register_buffer("rest_frame", palm_rotation(rest).float(), persistent=False)
        self.register_buffer("rest_size_dm", palm_size(rest).float(), persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(feature_size + EVIDENCE, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.correction, self.log_variance = nn.Linear(width, CAMERA_SIZE), nn.Linear(width, CAMERA_SIZE)
        nn.init.normal_(self.correction.weight, std=0.01)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, -2.0)
        with torch.no_grad():
            self.correction.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 0]))

    def forward(self, feature: Tensor) -> CameraOutput:
        joints = feature[:, -JOINT_NUMBERS:].unflatten(1, (KEYPOINT_COUNT, 3)).float()
        rotation, size = self.of_palm(joints)
        wrist = joints[:, WRIST]
        in_palm = (joints - wrist[:, None]) @ rotation / size[:, None, None]
        evidence = torch.cat([feature, six_d_from_rotation(rotation), in_palm.flatten(1)], dim=1)
        hidden = self.layers(evidence)
        correction, log_variance = self.correction(hidden).float(), self.log_variance(hidden.detach()).float()
        corrected = rotation @ rotation_from_6d(correction[:, :6])
        log_scale = torch.log(size / self.rest_size_dm) + correction[:, 6]
        translation = wrist[:, :2] + correction[:, 7:]
        return CameraOutput(
            mean=torch.cat([six_d_from_rotation(corrected), log_scale[:, None], translation], dim=1),
            log_variance=log_variance.clamp(-12.0, 4.0),
            rotation=corrected,
            scale=torch.exp(log_scale) / CENTIMETRES_PER_DECIMETRE,
            translation=translation,
        )

    def of_palm(self, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rotation (B, 3, 3) from the rest pose's palm to that of joints (B, 21, 3), and its size (B,)."""
        return palm_rotation(joints) @ self.rest_frame.T, palm_size(joints).clamp(min=MIN_SIZE)
