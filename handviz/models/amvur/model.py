"""Builds the models: ModelConfig holds every number of the architecture, ``build_model`` assembles a variant."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from handviz.core.arguments import Option
from handviz.core.errors import ErrorCode, HandvizError
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.features import GlobalFeatures, ImageFeatures, JointFeatures, LandmarkHead
from handviz.models.amvur.joint_camera import JointCameraNet
from handviz.models.amvur.joint_covariance import COORDINATES, LowRank
from handviz.models.amvur.joint_residuals import NUMBERS, NUMBERS_WITH_LANDMARKS, JointResiduals
from handviz.models.amvur.network import (
    Amvur,
    AmvurOutput,
    CameraNet,
    CameraOutput,
    DenseVertices,
    PriorNet,
    PriorOutput,
    SeenJoints,
    TokenSettings,
    VertexAttention,
)
from handviz.models.backbones.registry import BACKBONES, Backbone, make_backbone

TOKENS = ("coarse", "full")
Variant = Literal["prior", "amvur", "final"]
"""The prior-net alone, AMVUR without it, or both trained jointly."""
VARIANTS: tuple[Variant, ...] = get_args(Variant)
VariantChoice = Annotated[Variant, Option("model", help="The model to use.")]
CONDITIONINGS = ("prior", "rest")
FEATURES = ("joints", "global")
FORMER_FIELDS = {
    "evidence": "features",
    "evidence_width": "feature_width",
    "evidence_layers": "feature_layers",
    "witness_stem": "landmark_stem",
}
"""Fields of ``ModelConfig`` in checkpoints of version 0.1."""
FORMER_MODULES = {"evidence.": "features.", "witness.": "landmark_head."}
"""Parts of ``HandModel`` in checkpoints and ONNX files of version 0.1."""
BEFORE_FEATURES = {"features": "global"}
"""Values for checkpoints of the first weights, which do not name their features."""
PRESENCE_WIDTH = 64
"""Of the presence head's hidden layer."""
CAMERAS = ("joints", "feature")
PLAIN_FORM: Mapping[str, Any] = MappingProxyType(
    {
        "embedding": False,
        "blocks": 1,
        "feed_forward": False,
        "camera": "feature",
        "residuals": False,
        "presence": False,
        "rank": 0,
    }
)
"""The paper's decoder and camera net: also of files and recipes that do not name these fields of ``ModelConfig``."""


def config_from_saved(saved: Mapping[str, Any]) -> "ModelConfig":
    """Return the config that a checkpoint of this version or an older one holds; TypeError for unknown fields."""
    named = {FORMER_FIELDS.get(name, name): value for name, value in saved.items()}
    return ModelConfig(**{**BEFORE_FEATURES, **PLAIN_FORM, **named})


def current_weight_name(saved: str) -> str:
    """Return the name in ``HandModel.state_dict`` of a weight that a file of this version or an older one holds."""
    former = next((part for part in FORMER_MODULES if saved.startswith(part)), "")
    return FORMER_MODULES[former] + saved.removeprefix(former) if former else saved


@dataclass(frozen=True)
class ModelConfig:
    """The configuration that a checkpoint is rebuilt from."""

    variant: VariantChoice = "final"
    backbone: Annotated[str, Option(choices=tuple(BACKBONES))] = "mediapipe_hand"
    """Network that turns a crop into features."""
    tokens: Annotated[str, Option(choices=TOKENS)] = "coarse"
    """"coarse": 195 attention tokens and a fitted lift; "full": one token a vertex, as in the paper."""
    conditioning: Annotated[str, Option(choices=CONDITIONINGS)] = "prior"
    """Start of AMVUR in ``final``: "rest" is the paper's form, "prior" ours (tokens carry the prior's mesh)."""
    features: Annotated[str, Option(choices=FEATURES)] = "joints"
    """Inputs of the heads: "global", the paper's F; "joints", ours, a token a joint and MediaPipe's own landmarks."""
    attention: str = "full"
    """"full": AMVUR; "self": without cross-attention to the joints; "dense": fully connected layers in its place."""
    positions: str = "mesh"
    """Positional encoding of AMVUR's tokens: "mesh", the paper's by rest coordinates; "index"."""
    landmark_stem: bool = False
    """Whether MediaPipe's landmarks have first blocks of their own: needed where the backbone's are trained."""
    feature_width: int = 192
    feature_layers: int = 2
    width: int = 256
    """Width of attention and MLPs; the paper has 512."""
    heads: int = 4
    regressor_width: int = 512
    """Of the prior-net's and the camera net's MLPs."""
    embedding: bool = True
    """Whether AMVUR's tokens have learnt numbers of their own beside their positions; the paper's have none."""
    blocks: int = 1
    """Attention blocks of AMVUR: vertices attend to joints, then to each other; the paper has one."""
    feed_forward: bool = True
    """Whether a block of AMVUR ends with a feed-forward layer; the paper's has none."""
    camera: Annotated[str, Option(choices=CAMERAS)] = "joints"
    """Start of the camera net: "joints", ours, the palm of the joints predicted in the crop (needs features "joints");
    "feature", the paper's, regresses all from the feature."""
    landmarks: bool = True
    """Whether features "joints" of MediaPipe's backbone also have its landmarks: without them a network shows what is
    AMVUR's own."""
    residuals: bool = True
    """Whether AMVUR's tokens also carry how far its base mesh's joints lie from where they are seen, and the mesh is
    pulled there: ours (needs features "joints" and attention "full")."""
    presence: bool = True
    """Whether the heads also predict the probability that the crop shows a hand."""
    rank: int = 12
    """Columns of the low-rank covariance of the joints' errors (joint_covariance.py), ours; 0: none is predicted."""

    @property
    def has_landmark_head(self) -> bool:
        """Whether MediaPipe's landmarks are inputs of the heads."""
        return self.landmarks and self.features == "joints" and self.backbone == "mediapipe_hand"

    def __post_init__(self) -> None:
        self._check_names()
        if self.on_base and (self.attention == "dense" or self.positions == "index"):
            raise HandvizError(
                'model attention "dense" and positions "index" need conditioning "rest"', ErrorCode.OPTION_CONFLICT
            )
        self._check_sizes()

    def _check_names(self) -> None:
        for name, allowed in (
            ("variant", VARIANTS),
            ("backbone", tuple(BACKBONES)),
            ("tokens", TOKENS),
            ("conditioning", CONDITIONINGS),
            ("features", FEATURES),
            ("attention", ("full", "self", "dense")),
            ("positions", ("mesh", "index")),
            ("camera", CAMERAS),
        ):
            if getattr(self, name) not in allowed:
                raise HandvizError(
                    f"model {name} is {getattr(self, name)!r}; there are {', '.join(allowed)}", ErrorCode.UNKNOWN_NAME
                )

    def _check_sizes(self) -> None:
        widths = (self.width, self.feature_width)
        sizes_fit = all(8 <= width <= 4096 for width in (*widths, self.regressor_width))
        if not 0 <= self.rank <= COORDINATES:
            raise HandvizError(f"model rank is {self.rank}, it must lie in 0..{COORDINATES}", ErrorCode.BAD_VALUE)
        layers_fit = 1 <= self.feature_layers <= 12 and 1 <= self.blocks <= 12
        if not sizes_fit or not layers_fit or self.heads < 1 or any(width % self.heads for width in widths):
            raise HandvizError(
                f"model width {self.width} and feature_width {self.feature_width} must lie in 8..4096 and be "
                f"multiples of heads {self.heads}, regressor_width {self.regressor_width} in 8..4096, "
                f"feature_layers {self.feature_layers} and blocks {self.blocks} in 1..12",
                ErrorCode.BAD_VALUE,
            )

    @property
    def on_base(self) -> bool:
        """Whether AMVUR starts from the prior-net's mesh."""
        return self.variant == "final" and self.conditioning == "prior"

    @property
    def residual_numbers(self) -> int:
        """How many numbers a token of a joint carries of its distance from where it is seen."""
        if not self.residuals or self.features != "joints" or self.attention != "full":
            return 0
        return NUMBERS_WITH_LANDMARKS if self.has_landmark_head else NUMBERS

    @property
    def has_covariance(self) -> bool:
        """Whether the covariance of the joints' errors is predicted."""
        return self.rank > 0 and self.variant != "prior" and self.attention != "dense"

    @property
    def camera_from_joints(self) -> bool:
        """Whether the camera net starts from joints, which only "joints" features predict."""
        return self.camera == "joints" and self.features == "joints"


VertexNet = VertexAttention | DenseVertices
"""AMVUR or its replacement in Table 5."""


class ModelOutput(NamedTuple):
    """A variant's output for a batch of crops; centimetres, canonical frame."""

    mean_cm: Tensor
    """(B, V, 3)"""
    log_variance: Tensor
    """(B, V, 3) of cm²"""
    camera: CameraOutput
    prior: PriorOutput | None
    """None in ``amvur``."""
    joints_crop: Tensor | None = None
    """(B, 21, 3) joints that the features predict, crop half-sides; None for "global" features."""
    hand_logit: Tensor | None = None
    """(B,) of the probability that the crop shows a hand; None for models that do not predict it."""
    joint_covariance: LowRank | None = None
    """Of the joints' errors, canonical; None for models that do not predict it."""


class Cached(NamedTuple):
    """The part of a crop's computation that does not change while the last blocks and the heads train."""

    middle_map: Tensor
    """(B, M, 14, 14)"""
    landmarks: Tensor | None
    """(B, 128) MediaPipe's landmarks, None without a landmark head"""


class HandModel(nn.Module):
    """Backbone, features and heads of one variant."""

    def __init__(
        self,
        backbone: Backbone,
        features: GlobalFeatures | JointFeatures,
        landmark_head: LandmarkHead | None,
        heads: "VariantHeads",
    ) -> None:
        super().__init__()
        self.backbone, self.features, self.landmark_head, self.heads = backbone, features, landmark_head, heads

    def forward(self, image: Tensor) -> ModelOutput:
        """Run on an image (B, 3, 224, 224), RGB in [0, 1]."""
        return self.from_cached(self.cached(image))

    def cached(self, image: Tensor) -> Cached:
        """Return what can be cached for training of an image (B, 3, 224, 224)."""
        middle_map = self.backbone.stem(image)[1]
        return Cached(
            middle_map, None if self.landmark_head is None else self.landmark_head.of_crops(image, middle_map)
        )

    def seen(self, cached: Cached) -> ImageFeatures:
        """Return the heads' inputs."""
        return self.features(self.backbone.last_map(cached.middle_map), *cached)

    def from_cached(self, cached: Cached | ImageFeatures) -> ModelOutput:
        """Return the output for cached maps, or for features where everything before the heads is frozen."""
        return self.heads(cached if isinstance(cached, ImageFeatures) else self.seen(cached))


class VariantHeads(nn.Module):
    """Everything after the features."""

    def __init__(
        self,
        camera: CameraNet | JointCameraNet,
        prior: PriorNet | None,
        amvur: VertexNet | None,
        presence: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.residuals: JointResiduals | None = None
        if isinstance(amvur, Amvur) and amvur.residual_numbers:
            self.residuals = JointResiduals(with_landmarks=amvur.residual_numbers == NUMBERS_WITH_LANDMARKS)
        self.camera, self.prior, self.amvur, self.presence = camera, prior, amvur, presence
        # The standard deviation of a prior-net on its own: one number for every coordinate, ln cm².
        self.prior_log_variance = nn.Parameter(torch.zeros(())) if amvur is None else None

    def forward(self, features: ImageFeatures) -> ModelOutput:
        feature = features.feature
        camera = self.camera(feature)
        prior = None if self.prior is None else self.prior(feature)
        mesh = self._mesh(features, prior, camera)
        logit = None if self.presence is None else self.presence(feature).float().squeeze(1)
        return ModelOutput(
            mesh.mean_cm, mesh.log_variance, camera, prior, features.joints_crop, logit, mesh.joint_covariance
        )

    def _mesh(self, features: ImageFeatures, prior: PriorOutput | None, camera: CameraOutput) -> AmvurOutput:
        """Return the vertices' Gaussian."""
        if self.amvur is None:
            assert prior is not None
            assert self.prior_log_variance is not None
            return AmvurOutput(prior.vertices_cm, self.prior_log_variance.expand_as(prior.vertices_cm))
        # Detached, so that only the prior's own losses train it.
        base = prior.vertices_cm.detach() if prior is not None and self.amvur.on_base else None
        return self.amvur(features.feature, base, self._seen(features, camera, base))

    def _seen(self, features: ImageFeatures, camera: CameraOutput, base_cm: Tensor | None) -> SeenJoints:
        """Return what AMVUR is told of the joints."""
        if not isinstance(self.amvur, Amvur) or self.residuals is None:
            return SeenJoints(features.joints)
        joints_cm = self.amvur.base_joints_cm(base_cm)
        return SeenJoints(features.joints, self.residuals(features.feature, camera, joints_cm))


def _make_features(
    config: ModelConfig, backbone: Backbone
) -> tuple[GlobalFeatures | JointFeatures, LandmarkHead | None]:
    """Return the feature module; only MediaPipe's backbone has the middle map that its landmarks are computed from."""
    if config.features == "global":
        return GlobalFeatures(backbone.feature_size), None
    landmark_head = LandmarkHead(own_stem=config.landmark_stem) if config.has_landmark_head else None
    features = JointFeatures(
        backbone.feature_size,
        backbone.middle_channels,
        width=config.feature_width,
        heads=config.heads,
        layers=config.feature_layers,
        with_landmarks=landmark_head is not None,
    )
    return features, landmark_head


def _make_vertex_net(
    config: ModelConfig, features: GlobalFeatures | JointFeatures, template: HandTemplate
) -> VertexNet:
    size = features.feature_size
    if config.attention == "dense":
        return DenseVertices(size, template, width=config.width)
    settings = TokenSettings(
        config.width,
        config.heads,
        config.tokens == "coarse",
        config.on_base,
        config.positions == "index",
        config.embedding,
        config.blocks,
        config.feed_forward,
        config.residual_numbers,
        config.rank,
    )
    if config.attention == "self":
        return VertexAttention(size, template, settings, features.joint_width)
    return Amvur(size, template, settings, features.joint_width)


def build_model(config: ModelConfig, template: HandTemplate) -> HandModel:
    """Build a variant, freshly initialised (mediapipe_hand: with MediaPipe's weights)."""
    backbone = make_backbone(config.backbone)
    features, landmark_head = _make_features(config, backbone)
    size = features.feature_size
    prior = None if config.variant == "amvur" else PriorNet(size, config.regressor_width, template)
    amvur = None if config.variant == "prior" else _make_vertex_net(config, features, template)
    camera = (
        JointCameraNet(size, config.regressor_width, template)
        if config.camera_from_joints
        else CameraNet(size, config.regressor_width)
    )
    presence = None
    if config.presence:
        presence = nn.Sequential(nn.Linear(size, PRESENCE_WIDTH), nn.GELU(), nn.Linear(PRESENCE_WIDTH, 1))
    return HandModel(backbone, features, landmark_head, VariantHeads(camera, prior, amvur, presence))
