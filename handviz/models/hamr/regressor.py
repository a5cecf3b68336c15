"""The iterative regressor: image features -> camera, rotation, pose and shape of the hand model, better in every step.

Paper: Zhang et al., ICCV 2019, section 3.2: the parameters at step t beside the features give those at t + 1. Numbers
that it leaves open are those of the authors' published inference code (docs/research/hamr.md), or ours, said so.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from handviz.core.gaussian import rotation_from_6d
from handviz.core.records import KEYPOINT_COUNT
from handviz.core.units import CENTIMETRES_PER_DECIMETRE, CENTIMETRES_PER_METRE
from handviz.hand_models.layer import HandLayer, rotation_from_axis_angle
from handviz.hand_models.template import SHAPE_SIZE, HandTemplate
from handviz.models.attention import JointLayer
from handviz.models.truth import in_crop

ROTATION_SIZES = {"six_d": 6, "axis_angle": 3}
"""Numbers of the global rotation: axis-angle, the paper's, jumps at 180 degrees; six do not (Zhou et al. 2019)."""
CAMERA_START = (-0.4, 0.0, 0.4)
"""ln of the scale in half-sides a decimetre, and the wrist's place, of the mean hand; the authors start at 1."""
ORIGINAL_WIDTHS = (320, 320, 320, 640, 1280, 2048)
"""Channels of the original's six convolutions of stride 2."""
MAX_RESIDUAL = 2.0
"""Half-sides or decimetres, beyond which a hand so far is just wrong."""


class HandParameters(NamedTuple):
    """The hand model's parameters and the camera after one step, and the hand that they make."""

    rotation: Tensor
    """(B, 3, 3) crop_from_wrist"""
    log_scale: Tensor
    """(B,) ln of crop half-sides a decimetre"""
    translation: Tensor
    """(B, 2) the wrist in the crop, half-sides"""
    pose: Tensor
    """(B, P) coefficients of the pose's principal components"""
    shape: Tensor
    """(B, 10) standard deviations"""
    vertices_cm: Tensor
    """(B, V, 3) canonical, wrist joint at the origin"""

    @property
    def scale_per_cm(self) -> Tensor:
        """(B,) crop half-sides a centimetre."""
        return torch.exp(self.log_scale) / CENTIMETRES_PER_DECIMETRE


class Encoder(nn.Module):
    """Maps (B, C, 14, 14), heatmaps among them, and numbers of every joint (B, 21, J) -> a vector (B, ``size``).

    Convolutions of stride 2 and a mean, as in the paper. Ours: one token a joint begins with what is known at its
    keypoint, attends to the other joints and to the positions of the first convolution's map, and its summary joins
    the vector: an average over the map forgets where things are.
    """

    WIDTH = 160
    """Channels of the first convolution."""
    LAYERS, HEADS, SUMMARY = 2, 4, 32
    """Layers and heads of the tokens, and the numbers in which each is told to the regressor."""

    def __init__(self, channels: int, joint_numbers: int, *, feature_size: int, token_width: int) -> None:
        super().__init__()
        self.first = _halving(channels, self.WIDTH)
        self.second = _halving(self.WIDTH, feature_size)
        self.of_place = nn.Linear(self.WIDTH, token_width)
        self.place = nn.Parameter(torch.randn(1, 7 * 7, token_width) * 0.02)
        self.of_joint = nn.Linear(joint_numbers, token_width) if joint_numbers else None
        self.query = nn.Parameter(torch.randn(1, KEYPOINT_COUNT, token_width) * 0.02)
        self.layers = nn.ModuleList(JointLayer(token_width, self.HEADS) for _ in range(self.LAYERS))
        self.summary = nn.Linear(token_width, self.SUMMARY)
        self.size = feature_size + KEYPOINT_COUNT * self.SUMMARY

    def forward(self, maps: Tensor, joints: Tensor) -> Tensor:
        at_7 = self.first(maps)
        places = self.of_place(at_7.flatten(2).transpose(1, 2)) + self.place
        tokens = self.query.expand(maps.shape[0], -1, -1)
        if self.of_joint is not None:
            tokens = tokens + self.of_joint(joints)
        for layer in self.layers:
            tokens = layer(tokens, places)
        return torch.cat([self.second(at_7).mean((2, 3)), self.summary(tokens).flatten(1)], dim=1)


class OriginalEncoder(nn.Module):
    """The original's: features with all maps (B, 320, 64, 64) -> (B, 2048) by six convolutions of stride 2."""

    size = ORIGINAL_WIDTHS[-1]

    def __init__(self, channels: int) -> None:
        super().__init__()
        inputs = (channels, *ORIGINAL_WIDTHS)
        self.layers = nn.Sequential(*(_halving(a, b) for a, b in zip(inputs, ORIGINAL_WIDTHS, strict=False)))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features).flatten(1)


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Anchors(NamedTuple):
    """Where the joints were seen: every step of the regressor reads how far its hand lies from there."""

    heatmaps: Tensor | None
    """(B, 21, 2) keypoints of the heatmaps, crop half-sides"""
    landmarks: Tensor | None
    """(B, 128) as ``models.landmark_numbers``"""


class IterativeRegressor(nn.Module):
    """Vector (B, D) -> ``HandParameters`` before the first step and after each; all steps share their weights.

    With ``feedback`` (ours) a step also reads how far the joints of the hand so far lie from ``Anchors``: else it would
    know of its own errors only what it can work out of the parameters.
    """

    pose_components: Tensor
    start: Tensor
    keypoint_regressor: Tensor

    def __init__(
        self, inputs: int, template: HandTemplate, *, width: int, iterations: int, pose_numbers: int, rotation: str,
        dropout: float, feedback: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.iterations, self.rotation, self.feedback = iterations, rotation, feedback
        self.layer = HandLayer(template)
        components = torch.tensor(template.pose_components[:pose_numbers], dtype=torch.float32)
        self.register_buffer("pose_components", components, persistent=False)
        keypoint_regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)
        self.register_buffer("keypoint_regressor", keypoint_regressor, persistent=False)
        self.sizes = (ROTATION_SIZES[rotation], 1, 2, pose_numbers, SHAPE_SIZE)
        self.register_buffer("start", self._start(), persistent=False)
        count = sum(self.sizes)
        self.layers = nn.Sequential(
            nn.Linear(inputs + count + feedback, width), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout),
        )  # fmt: skip
        self.change = nn.Linear(width, count)
        nn.init.normal_(self.change.weight, std=0.01)
        nn.init.zeros_(self.change.bias)

    def _start(self) -> Tensor:
        rotation = torch.tensor([1.0, 0, 0, 0, 1, 0]) if self.rotation == "six_d" else torch.zeros(3)
        return torch.cat([rotation, torch.tensor(CAMERA_START), torch.zeros(sum(self.sizes[3:]))])

    def forward(self, vector: Tensor, anchors: Anchors | None = None) -> tuple[HandParameters, ...]:
        theta = self.start.expand(vector.shape[0], -1)
        steps = [self.decoded(theta.float())]
        for _ in range(self.iterations):
            inputs = [vector, theta]
            if self.feedback:
                assert anchors is not None
                inputs.append(residuals(steps[-1], self.keypoint_regressor, anchors))
            theta = theta + self.change(self.layers(torch.cat(inputs, dim=1)))
            steps.append(self.decoded(theta.float()))
        return tuple(steps)

    def decoded(self, theta: Tensor) -> HandParameters:
        """Return the parameters of numbers (B, N), and their hand."""
        rotation, log_scale, translation, pose, shape = theta.split(self.sizes, dim=1)
        turn = rotation_from_6d(rotation) if self.rotation == "six_d" else rotation_from_axis_angle(rotation)
        vertices_cm = self.layer(pose @ self.pose_components, shape).vertices_m * CENTIMETRES_PER_METRE
        return HandParameters(turn, log_scale.squeeze(1), translation, pose, shape, vertices_cm)


def residuals(hand: HandParameters, keypoint_regressor: Tensor, anchors: Anchors) -> Tensor:
    """Return how far the joints of a hand lie from where they were seen, (B, ``residual_numbers``).

    In the crop from the heatmaps' keypoints and from MediaPipe's (half-sides), and in its axes from MediaPipe's in
    space, wrists at 0 (decimetres). MediaPipe marks some joints elsewhere; that is learnt.
    """
    keypoints_cm = keypoint_regressor @ hand.vertices_cm
    seen = in_crop(keypoints_cm, hand.rotation, hand.scale_per_cm, hand.translation)[..., :2]
    parts = [] if anchors.heatmaps is None else [seen - anchors.heatmaps]
    if anchors.landmarks is not None:
        screen, world = joints_of(anchors.landmarks).split(3, dim=2)
        turned = keypoints_cm @ hand.rotation.transpose(1, 2) / CENTIMETRES_PER_DECIMETRE
        parts += [seen - screen[..., :2], from_wrist(turned) - from_wrist(world)]
    return torch.cat([part.flatten(1) for part in parts], dim=1).clamp(-MAX_RESIDUAL, MAX_RESIDUAL)


def residual_numbers(*, heatmaps: bool, landmarks: bool) -> int:
    """Return the numbers of ``residuals``."""
    return KEYPOINT_COUNT * (2 * heatmaps + 5 * landmarks)


def joints_of(landmarks: Tensor) -> Tensor:
    """Return what landmarks (B, 128) say of every joint: (B, 21, 6), screen and world."""
    by_kind = landmarks[:, : 6 * KEYPOINT_COUNT].unflatten(1, (2, KEYPOINT_COUNT, 3))
    return by_kind.transpose(1, 2).flatten(2)


def from_wrist(joints: Tensor) -> Tensor:
    """Return joints (B, 21, 3) with the wrist at 0."""
    return joints - joints[:, :1]


def explained_variance(template: HandTemplate, poses: Tensor, count: int) -> float:
    """Return the fraction of the variance of poses (N, 45) that the first ``count`` principal components explain."""
    components = torch.tensor(template.pose_components, dtype=torch.float64)
    centred = poses.double() - poses.double().mean(0)
    coefficients = torch.linalg.lstsq(components.T, centred.T).solution
    left = centred - (components[:count].T @ coefficients[:count]).T
    return float(1 - left.square().sum() / centred.square().sum())
