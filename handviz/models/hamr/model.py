"""Builds HAMR: ModelConfig holds every number of the architecture, ``build_model`` assembles it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from handviz.core.arguments import Option
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import KEYPOINT_COUNT
from handviz.hand_models.template import POSE_SIZE, HandTemplate
from handviz.models.hamr.heatmaps import (
    MAP_CHANNELS,
    CascadeHeatmaps,
    Maps,
    SoftKeypoints,
    soft_keypoints,
)
from handviz.models.hamr.hourglass import StackedHourglass
from handviz.models.hamr.regressor import (
    ROTATION_SIZES,
    Anchors,
    Encoder,
    HandParameters,
    IterativeRegressor,
    OriginalEncoder,
    joints_of,
    residual_numbers,
)
from handviz.models.landmark_numbers import LANDMARK_NUMBERS

FORMS = ("cascade", "hourglass")
SOFT_NUMBERS = 3 * KEYPOINT_COUNT
"""Position and peak of every keypoint."""
LOCAL_NUMBERS = CascadeHeatmaps.feature_channels + MAP_CHANNELS[-1]
"""What the maps of 28 and 14 pixels hold at one place."""
PRESENCE_WIDTH = 64


@dataclass(frozen=True)
class ModelConfig:
    """The configuration that a checkpoint is rebuilt from."""

    form: Annotated[str, Option(choices=FORMS)] = "cascade"
    """"cascade": small heatmap stages on MediaPipe's frozen maps; "hourglass": the original's, on the image."""
    stages: int = 2
    """Encoder-decoders in a row."""
    iterations: int = 3
    """Steps of the regressor, with shared weights."""
    pose_numbers: int = 45
    """Principal components of the pose: 12 as in the authors' code, or up to 45."""
    rotation: Annotated[str, Option(choices=tuple(ROTATION_SIZES))] = "six_d"
    """The global rotation: "six_d", ours, without jumps; "axis_angle", the paper's."""
    heatmap_input: bool = True
    """Whether the regressor reads heatmaps beside the features."""
    landmarks: bool = True
    """Whether the regressor also reads MediaPipe's landmarks: ours, learnt from real hands (form "cascade" alone)."""
    feedback: bool = True
    """Whether every iteration reads how far the joints so far lie from where they were seen: ours."""
    feature_size: int = 192
    """Of the mean of the encoder's last map, form "cascade"."""
    token_width: int = 144
    """Of the encoder's tokens, form "cascade"."""
    width: int = 512
    """Of the regressor's layers; the authors' code has 1024."""
    dropout: float = 0.0
    """Behind the regressor's layers; the authors' code has 0.5."""

    def __post_init__(self) -> None:
        limits = {"stages": (1, 8), "iterations": (1, 10), "pose_numbers": (1, POSE_SIZE), "width": (8, 4096)}
        for name, (low, high) in (limits | {"feature_size": (8, 4096), "token_width": (4, 1024)}).items():
            if not low <= getattr(self, name) <= high:
                raise HandvizError(
                    f"model: {name} is {getattr(self, name)}, it must lie between {low} and {high}", ErrorCode.BAD_VALUE
                )
        if self.token_width % Encoder.HEADS:
            raise HandvizError(
                f"model: token_width is {self.token_width}, it must be a multiple of {Encoder.HEADS}",
                ErrorCode.BAD_VALUE,
            )
        if not 0 <= self.dropout < 1:
            raise HandvizError(f"model: dropout is {self.dropout}, it must lie in [0, 1)", ErrorCode.BAD_VALUE)
        for name, known in {"form": FORMS, "rotation": tuple(ROTATION_SIZES)}.items():
            if getattr(self, name) not in known:
                raise HandvizError(
                    f"model: {name} is {getattr(self, name)!r}; there are {', '.join(known)}", ErrorCode.UNKNOWN_NAME
                )
        if self.form == "hourglass" and self.landmarks:
            raise HandvizError(
                "model: the hourglass has no landmarks of MediaPipe to read: give --no-landmarks",
                ErrorCode.OPTION_CONFLICT,
            )


def config_from_saved(saved: Mapping[str, Any]) -> ModelConfig:
    """Return the config that a checkpoint holds; TypeError for unknown fields."""
    return ModelConfig(**saved)


class Inputs(NamedTuple):
    """What MediaPipe's landmark network says of a batch of crops, or for the hourglass the images alone."""

    maps: Maps | None
    landmarks: Tensor | None
    """(B, 128) as ``models.landmark_numbers``"""
    image: Tensor | None = None
    """(B, 3, 224, 224) in [0, 1]"""


class Seen(NamedTuple):
    """What a batch of crops shows before the regressor: it stays the same while heatmaps are not trained."""

    maps: Tensor
    """(B, C, 14, 14) heatmaps, averaged to that size, and MediaPipe's middle map; of the hourglass all its maps"""
    at_joints: Tensor
    """(B, 21, LOCAL) what the maps hold at the heatmaps' keypoints; none of the hourglass"""
    position: Tensor
    """(B, 21, 2) the heatmaps' keypoints, crop half-sides"""
    peak: Tensor
    """(B, 21)"""
    landmarks: Tensor
    """(B, 128), or (B, 0) without"""


class ModelOutput(NamedTuple):
    """What HAMR says of a batch of crops."""

    steps: tuple[HandParameters, ...]
    """Before the first iteration and after each."""
    heatmaps: tuple[Tensor, ...]
    """(B, 21, S, S) of each stage; none where a network was given ``Seen``"""
    keypoints: SoftKeypoints | None
    """Read off the last heatmaps"""
    position: Tensor
    """(B, 21, 2) of the heatmaps' keypoints, crop half-sides"""
    hand_logit: Tensor
    """(B,) of the probability that the crop shows a hand"""

    @property
    def hand(self) -> HandParameters:
        """The parameters after the last iteration."""
        return self.steps[-1]


class Hamr(nn.Module):
    """Inputs, or what they show -> ModelOutput."""

    def __init__(self, config: ModelConfig, template: HandTemplate) -> None:
        super().__init__()
        self.config = config
        self.heatmap_net: CascadeHeatmaps | StackedHourglass
        self.encoder: Encoder | OriginalEncoder
        reads_maps, landmarks = config.heatmap_input, config.landmarks
        if config.form == "hourglass":
            self.heatmap_net = StackedHourglass(config.stages)
            self.encoder = OriginalEncoder(self.heatmap_net.feature_channels)
            size = self.encoder.size
        else:
            self.heatmap_net = CascadeHeatmaps(config.stages)
            self.encoder = Encoder(
                MAP_CHANNELS[-1] + KEYPOINT_COUNT * reads_maps,
                (LOCAL_NUMBERS + 3) * reads_maps + 6 * landmarks,
                feature_size=config.feature_size,
                token_width=config.token_width,
            )
            size = self.encoder.size + SOFT_NUMBERS * reads_maps + LANDMARK_NUMBERS * landmarks
        self.regressor = IterativeRegressor(
            size, template, width=config.width, iterations=config.iterations, pose_numbers=config.pose_numbers,
            rotation=config.rotation, dropout=config.dropout,
            feedback=residual_numbers(heatmaps=reads_maps, landmarks=landmarks) if config.feedback else 0,
        )  # fmt: skip
        self.presence = nn.Sequential(nn.Linear(size, PRESENCE_WIDTH), nn.ReLU(), nn.Linear(PRESENCE_WIDTH, 1))

    def forward(self, inputs: Inputs | Seen) -> ModelOutput:
        heatmaps: tuple[Tensor, ...] = ()
        keypoints = None
        if isinstance(inputs, Inputs):
            seen, heatmaps, keypoints = self.seen(inputs)
        else:
            seen = inputs
        vector = self._vector(seen)
        anchors = Anchors(
            seen.position if self.config.heatmap_input else None, seen.landmarks if self.config.landmarks else None
        )
        # The presence reads what the hand reads, and does not change it.
        logit = self.presence(vector.detach()).squeeze(1)
        return ModelOutput(self.regressor(vector, anchors), heatmaps, keypoints, seen.position, logit)

    def seen(self, inputs: Inputs) -> tuple[Seen, tuple[Tensor, ...], SoftKeypoints]:
        """Return what the regressor reads, and the heatmaps with what is read off them."""
        if isinstance(self.heatmap_net, StackedHourglass):
            assert inputs.image is not None
            found = self.heatmap_net(inputs.image)
            keypoints = soft_keypoints(found.stages[-1].float())
            none = found.features.new_zeros(found.features.shape[0], 0)
            at_joints = none[:, None].expand(-1, KEYPOINT_COUNT, -1)
            seen = Seen(found.features, at_joints, keypoints.position, keypoints.peak, none)
            return seen, found.stages, keypoints
        maps = inputs.maps
        assert maps is not None
        found = self.heatmap_net(maps)
        heatmaps = found.stages[-1].float()
        keypoints = soft_keypoints(heatmaps)
        at_joints = torch.cat([sampled(part, keypoints.position) for part in (found.features, maps.middle_map)], dim=2)
        smaller = functional.avg_pool2d(heatmaps, heatmaps.shape[-1] // maps.middle_map.shape[-1])
        landmarks = inputs.landmarks if inputs.landmarks is not None else heatmaps.new_zeros(heatmaps.shape[0], 0)
        joined = torch.cat([smaller, maps.middle_map], dim=1)
        return Seen(joined, at_joints, keypoints.position, keypoints.peak, landmarks), found.stages, keypoints

    def _vector(self, seen: Seen) -> Tensor:
        """Return what the regressor reads in every step, (B, D)."""
        config = self.config
        if isinstance(self.encoder, OriginalEncoder):
            return self.encoder(seen.maps if config.heatmap_input else seen.maps * self._without_maps(seen.maps))
        maps = seen.maps if config.heatmap_input else seen.maps[:, KEYPOINT_COUNT:]
        of_joints = [seen.at_joints, seen.position, seen.peak[..., None]] if config.heatmap_input else []
        of_all = [seen.position.flatten(1), seen.peak] if config.heatmap_input else []
        if config.landmarks:
            of_joints.append(joints_of(seen.landmarks))
            of_all.append(seen.landmarks)
        joints = torch.cat(of_joints, dim=2) if of_joints else seen.at_joints[..., :0]
        return torch.cat([self.encoder(maps, joints), *of_all], dim=1)

    @staticmethod
    def _without_maps(features: Tensor) -> Tensor:
        """Return 1 for the channels of features and 0 for those of maps, (1, C, 1, 1)."""
        chosen = torch.ones(features.shape[1], device=features.device)
        chosen[StackedHourglass.feature_channels - StackedHourglass.maps :] = 0
        return chosen[None, :, None, None]


def sampled(maps: Tensor, positions: Tensor) -> Tensor:
    """Return what maps (B, C, S, S) hold at positions (B, K, 2) in crop half-sides, between pixels: (B, K, C)."""
    at = functional.grid_sample(maps, positions[:, :, None], align_corners=False, padding_mode="border")
    return at.squeeze(3).transpose(1, 2)


def build_model(config: ModelConfig, template: HandTemplate) -> Hamr:
    """Build HAMR, freshly initialised, for a hand model."""
    return Hamr(config, template)
