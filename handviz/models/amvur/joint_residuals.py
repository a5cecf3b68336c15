"""How far the joints of AMVUR's base mesh lie from where the features and MediaPipe's landmarks see them: ours.

A mesh that was regressed in one step seldom lies on its image. Where its joints are and where they should be says how
to bend it. What a rotation, a size or a place of the whole hand explains is taken away before: errors of the camera,
which are several times larger, would hide it.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from handviz.core.records import KEYPOINT_COUNT
from handviz.core.units import CENTIMETRES_PER_DECIMETRE
from handviz.detection.crop import as_the_detector_marks_them
from handviz.models.amvur.network import CameraOutput
from handviz.models.landmark_numbers import LANDMARK_NUMBERS, WORLD_NUMBERS

JOINT_NUMBERS = 3 * KEYPOINT_COUNT
NUMBERS, NUMBERS_WITH_LANDMARKS = 6, 12
"""Of a joint: from the features alone, and with MediaPipe's landmarks."""
MIN_SCALE_PER_DM, MAX_SCALE_PER_DM = 0.05, 20.0
"""Crop half-sides per decimetre: a hand that fills the crop has about 1, so only a camera gone wrong has others."""
RIDGE_DM2 = 1e-2
"""Added to the normal equations of the motion, which a hand seen end on would leave singular: (1 cm)^2."""


class JointResiduals(nn.Module):
    """Feature (B, D), CameraOutput and joints of a base mesh (B or 1, 21, 3) in cm -> (B, 21, 6 or 12).

    In the canonical frame, in decimetres: 3 numbers from the joints (21 x 3) at the end of the feature; with the
    landmarks of MediaPipe, which lie before them, 3 from those in the crop, which have no depth, and 3 from those in
    space. Then the direction of view. The camera is an input like the others: no gradient reaches it.
    """

    marks: Tensor

    def __init__(self, *, with_landmarks: bool) -> None:
        super().__init__()
        self.with_landmarks = with_landmarks
        self.numbers = NUMBERS_WITH_LANDMARKS if with_landmarks else NUMBERS
        marks = torch.from_numpy(as_the_detector_marks_them(np.eye(KEYPOINT_COUNT))).float()
        self.register_buffer("marks", marks, persistent=False)

    def forward(self, feature: Tensor, camera: CameraOutput, base_cm: Tensor) -> Tensor:
        rotation = camera.rotation.detach()
        scale = (camera.scale.detach() * CENTIMETRES_PER_DECIMETRE).clamp(MIN_SCALE_PER_DM, MAX_SCALE_PER_DM)
        scale = scale[:, None, None]
        # As rows, so that a product with the rotation turns from the crop's frame to the canonical one.
        base = (base_cm / CENTIMETRES_PER_DECIMETRE) @ rotation.transpose(1, 2)
        residuals = [without_motion(base, _joints(feature[:, -JOINT_NUMBERS:]) / scale - base)]
        if self.with_landmarks:
            landmarks = feature[:, -JOINT_NUMBERS - LANDMARK_NUMBERS : -JOINT_NUMBERS]
            screen, world = _joints(landmarks[:, :JOINT_NUMBERS]) / scale, _joints(landmarks[:, WORLD_NUMBERS])
            marked = self.marks @ base
            across = without_motion(marked, (screen - marked)[..., :2])
            residuals += [functional.pad(across, (0, 1)), without_motion(marked, world - marked)]
        view = rotation[:, 2:].expand(-1, KEYPOINT_COUNT, -1)
        return torch.cat([*(residual @ rotation for residual in residuals), view], dim=2)


def without_motion(points: Tensor, residuals: Tensor) -> Tensor:
    """Return residuals (B, J, 3, or 2 across the line of sight) less what a motion of the points (B, J, 3) explains.

    The motion is a small rotation, a scaling and a translation, fitted by least squares.
    """
    x, y, z = (points - points.mean(1, keepdim=True)).unbind(2)
    none = torch.zeros_like(x)
    # Displacements by rotations about the three axes and by a scaling, (B, J, 3) each.
    columns = [(none, -z, y), (z, none, -x), (-y, x, none), (x, y, z)]
    size = residuals.shape[2]
    design = torch.stack([torch.stack(column[:size], dim=2) for column in columns], dim=3).flatten(1, 2)
    wanted = (residuals - residuals.mean(1, keepdim=True)).flatten(1, 2)[..., None]
    transposed = design.transpose(1, 2)
    motion = _solved(transposed @ design, transposed @ wanted)
    return (wanted - design @ motion).squeeze(2).unflatten(1, (-1, size))


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """Return the solution (B, N, 1) of positive semidefinite equations, by Cholesky's method in plain operations, which
    ONNX has."""
    count = matrix.shape[1]
    rows: list[list[Tensor]] = []
    for i in range(count):
        row: list[Tensor] = []
        for j in range(i + 1):
            left = matrix[:, i, j] - sum(row[k] * (rows[j] if j < i else row)[k] for k in range(j))
            row.append(torch.sqrt(left + RIDGE_DM2) if i == j else left / rows[j][j])
        rows.append(row)
    forward: list[Tensor] = []
    for i in range(count):
        forward.append((right[:, i, 0] - sum(rows[i][k] * forward[k] for k in range(i))) / rows[i][i])
    backward: dict[int, Tensor] = {}
    for i in reversed(range(count)):
        left = forward[i] - sum(rows[k][i] * backward[k] for k in range(i + 1, count))
        backward[i] = left / rows[i][i]
    return torch.stack([backward[i] for i in range(count)], dim=1)[..., None]


def _joints(numbers: Tensor) -> Tensor:
    return numbers.unflatten(1, (KEYPOINT_COUNT, 3)).float()
