"""Builds HAMR: ModelConfig holds every number of the architecture, ``build_model`` assembles it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn

from handviz.core.arguments import Option
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import KEYPOINT_COUNT
from handviz.hand_models.template import POSE_SIZE, HandTemplate
from handviz.models.hamr.heatmaps import (
    MAP_CHANNELS,
    CascadeHeatmaps,
    HeatmapOutput,
    Maps,
    SoftKeypoints,
    soft_keypoints,
)
from handviz.models.hamr.hourglass import StackedHourglass
from handviz.models.hamr.regressor import ROTATION_SIZES, Encoder, HandParameters, IterativeRegressor, OriginalEncoder
from handviz.models.landmark_numbers import LANDMARK_NUMBERS

FORMS = ("cascade", "hourglass")
SOFT_NUMBERS = 3 * KEYPOINT_COUNT
"""Position and peak of every keypoint."""
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
    feature_size: int = 384
    """Of the encoder's vector, form "cascade"."""
    width: int = 512
    """Of the regressor's layers; the authors' code has 1024."""
    dropout: float = 0.0
    """Behind the regressor's layers; the authors' code has 0.5."""

    def __post_init__(self) -> None:
        limits = {"stages": (1, 8), "iterations": (1, 10), "pose_numbers": (1, POSE_SIZE), "width": (8, 4096)}
        for name, (low, high) in (limits | {"feature_size": (8, 4096)}).items():
            if not low <= getattr(self, name) <= high:
                raise HandvizError(
                    f"model: {name} is {getattr(self, name)}, it must lie between {low} and {high}", ErrorCode.BAD_VALUE
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


class ModelOutput(NamedTuple):
    """What HAMR says of a batch of crops."""

    steps: tuple[HandParameters, ...]
    """Before the first iteration and after each."""
    heatmaps: tuple[Tensor, ...]
    """(B, 21, S, S) of each stage"""
    keypoints: SoftKeypoints
    """Read off the last heatmaps"""
    hand_logit: Tensor
    """(B,) of the probability that the crop shows a hand"""

    @property
    def hand(self) -> HandParameters:
        """The parameters after the last iteration."""
        return self.steps[-1]


class Hamr(nn.Module):
    """Inputs -> ModelOutput."""

    def __init__(self, config: ModelConfig, template: HandTemplate) -> None:
        super().__init__()
        self.config = config
        self.heatmap_net: CascadeHeatmaps | StackedHourglass
        self.encoder: Encoder | OriginalEncoder
        if config.form == "hourglass":
            self.heatmap_net = StackedHourglass(config.stages)
            self.encoder = OriginalEncoder(self.heatmap_net.feature_channels)
            size = self.encoder.size
        else:
            self.heatmap_net = CascadeHeatmaps(config.stages)
            size = config.feature_size
            maps = KEYPOINT_COUNT if config.heatmap_input else 0
            self.encoder = Encoder(self.heatmap_net.feature_channels, maps, MAP_CHANNELS[-1], size)
            size += SOFT_NUMBERS if config.heatmap_input else 0
        size += LANDMARK_NUMBERS if config.landmarks else 0
        self.regressor = IterativeRegressor(
            size, template, width=config.width, iterations=config.iterations, pose_numbers=config.pose_numbers,
            rotation=config.rotation, dropout=config.dropout,
        )  # fmt: skip
        self.presence = nn.Sequential(nn.Linear(size, PRESENCE_WIDTH), nn.ReLU(), nn.Linear(PRESENCE_WIDTH, 1))

    def forward(self, inputs: Inputs) -> ModelOutput:
        found, vector = self._seen(inputs)
        heatmaps = found.stages[-1].float()
        keypoints = soft_keypoints(heatmaps)
        parts = [vector]
        if self.config.heatmap_input and isinstance(self.encoder, Encoder):
            parts += [keypoints.position.flatten(1), keypoints.peak]
        if self.config.landmarks:
            assert inputs.landmarks is not None
            parts.append(inputs.landmarks)
        vector = torch.cat(parts, dim=1)
        # The presence reads what the hand reads, and does not change it.
        logit = self.presence(vector.detach()).squeeze(1)
        return ModelOutput(self.regressor(vector), found.stages, keypoints, logit)

    def _seen(self, inputs: Inputs) -> tuple[HeatmapOutput, Tensor]:
        """Return the heatmaps and the encoder's vector (B, D)."""
        if isinstance(self.heatmap_net, StackedHourglass):
            assert inputs.image is not None
            assert isinstance(self.encoder, OriginalEncoder)
            found = self.heatmap_net(inputs.image)
            features = found.features
            if not self.config.heatmap_input:
                features = features * self._without_maps(features)
            return found, self.encoder(features)
        assert inputs.maps is not None
        assert isinstance(self.encoder, Encoder)
        found = self.heatmap_net(inputs.maps)
        heatmaps = found.stages[-1] if self.config.heatmap_input else None
        return found, self.encoder(found.features, heatmaps, inputs.maps.middle_map)

    @staticmethod
    def _without_maps(features: Tensor) -> Tensor:
        """Return 1 for the channels of features and 0 for those of maps, (1, C, 1, 1)."""
        chosen = torch.ones(features.shape[1], device=features.device)
        chosen[StackedHourglass.feature_channels - StackedHourglass.maps :] = 0
        return chosen[None, :, None, None]


def build_model(config: ModelConfig, template: HandTemplate) -> Hamr:
    """Build HAMR, freshly initialised, for a hand model."""
    return Hamr(config, template)
