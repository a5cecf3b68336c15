"""How far the joints of AMVUR's base mesh lie from where the features and MediaPipe's landmarks see them: ours.

A mesh that was regressed in one step seldom lies on its image. Where its joints are and where they should be says how
to move it, which attention over tokens [F; p] would have to learn from examples.
"""

import torch
from torch import Tensor
from torch.nn import functional

from handviz.core.records import KEYPOINT_COUNT
from handviz.core.units import CENTIMETRES_PER_DECIMETRE
from handviz.models.amvur.features import LANDMARK_NUMBERS, WORLD_NUMBERS
from handviz.models.amvur.network import CameraOutput

JOINT_NUMBERS = 3 * KEYPOINT_COUNT
NUMBERS, NUMBERS_WITH_LANDMARKS = 6, 12
"""Of a joint: from the features alone, and with MediaPipe's landmarks."""
MIN_SCALE_PER_DM, MAX_SCALE_PER_DM = 0.05, 20.0
"""Crop half-sides per decimetre: a hand that fills the crop has about 1, so only a camera gone wrong has others."""


def joint_residuals(feature: Tensor, camera: CameraOutput, base_cm: Tensor, *, with_landmarks: bool) -> Tensor:
    """Return where joints are seen, relative to those of a base mesh (B or 1, 21, 3) in cm: (B, 21, 6 or 12).

    In the canonical frame, in decimetres: 3 numbers of the joints (21 x 3) at the end of the feature (B, D); with
    MediaPipe's landmarks, which lie before them, 3 of those in the crop, which have no depth, and 3 of those in space.
    Then the direction of view. The camera is an input like the others: no gradient reaches it.
    """
    rotation = camera.rotation.detach()
    scale = (camera.scale.detach() * CENTIMETRES_PER_DECIMETRE).clamp(MIN_SCALE_PER_DM, MAX_SCALE_PER_DM)
    origin = functional.pad(camera.translation.detach(), (0, 1))[:, None]
    base = base_cm / CENTIMETRES_PER_DECIMETRE
    # As rows, so that a product with the rotation turns from the crop's frame to the canonical one.
    base_in_crop = base @ rotation.transpose(1, 2)
    predicted = _joints(feature[:, -JOINT_NUMBERS:])
    differences = [(predicted - origin) / scale[:, None, None] - base_in_crop]
    if with_landmarks:
        landmarks = feature[:, -JOINT_NUMBERS - LANDMARK_NUMBERS : -JOINT_NUMBERS]
        screen, world = _joints(landmarks[:, :JOINT_NUMBERS]), _joints(landmarks[:, WORLD_NUMBERS])
        across = ((screen - origin) / scale[:, None, None] - base_in_crop)[..., :2]
        in_space = (world - world[:, :1]) - (base_in_crop - base_in_crop[:, :1])
        differences += [functional.pad(across, (0, 1)), in_space]
    view = rotation[:, 2:].expand(-1, KEYPOINT_COUNT, -1)
    return torch.cat([*(difference @ rotation for difference in differences), view], dim=2)


def _joints(numbers: Tensor) -> Tensor:
    return numbers.unflatten(1, (KEYPOINT_COUNT, 3)).float()
