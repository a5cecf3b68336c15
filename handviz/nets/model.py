"""The one builder: every number of the architecture stands in ModelConfig, and variants are put together here."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from handviz.errors import HandvizError
from handviz.hand_model.template import HandTemplate
from handviz.nets.amvur import Amvur
from handviz.nets.backbones import BACKBONES, Backbone, make_backbone
from handviz.nets.camera_net import CameraNet, CameraOutput
from handviz.nets.prior_net import PriorNet, PriorOutput
from handviz.records import VARIANTS, VariantName


@dataclass(frozen=True)
class ModelConfig:
    """What a checkpoint needs to be built again."""

    variant: VariantName = "final"
    backbone: str = "mediapipe_hand"
    tokens: str = "coarse"
    """"coarse": 195 attention tokens and a fitted lift; "full": one token a vertex, as in the paper."""
    conditioning: str = "prior"
    """What AMVUR of ``final`` starts from: "rest" is the paper's form, "prior" ours (tokens carry the prior's mesh)."""
    width: int = 256
    """Of attention and MLPs; the paper has 512."""
    heads: int = 4
    regressor_width: int = 512
    """Of the prior-net's and the camera net's MLPs."""

    def __post_init__(self) -> None:
        for name, allowed in (
            ("variant", VARIANTS),
            ("backbone", tuple(BACKBONES)),
            ("tokens", ("coarse", "full")),
            ("conditioning", ("prior", "rest")),
        ):
            if getattr(self, name) not in allowed:
                raise HandvizError(f"model {name} is {getattr(self, name)!r}; there are {', '.join(allowed)}")
        sizes_fit = 8 <= self.width <= 4096 and 8 <= self.regressor_width <= 4096
        if not sizes_fit or self.heads < 1 or self.width % self.heads:
            raise HandvizError(
                f"model width {self.width} must lie in 8..4096 and be a multiple of heads {self.heads}, "
                f"regressor_width {self.regressor_width} in 8..4096"
            )


class ModelOutput(NamedTuple):
    """What a variant says of a batch of crops; centimetres, canonical frame."""

    mean_cm: Tensor
    """(B, V, 3)"""
    log_variance: Tensor
    """(B, V, 3) of cm²"""
    camera: CameraOutput
    prior: PriorOutput | None
    """None in ``amvur``."""


class HandModel(nn.Module):
    """Backbone and heads of one variant."""

    def __init__(self, backbone: Backbone, heads: "VariantHeads") -> None:
        super().__init__()
        self.backbone, self.heads = backbone, heads

    def forward(self, image: Tensor) -> ModelOutput:
        """Image (B, 3, 224, 224), RGB in [0, 1]."""
        return self.heads(self.backbone(image).global_feature)

    def from_cached(self, cached: Tensor) -> ModelOutput:
        """The backbone's cached 14 x 14 map (B, M, 14, 14) or global feature (B, D) -> output, for training."""
        return self.heads(self.backbone.tail(cached) if cached.dim() == 4 else cached)


class VariantHeads(nn.Module):
    """Everything behind the global feature (B, D)."""

    def __init__(self, camera: CameraNet, prior: PriorNet | None, amvur: Amvur | None) -> None:
        super().__init__()
        self.camera, self.prior, self.amvur = camera, prior, amvur
        # The deviation of a prior-net on its own: one number for every coordinate, ln cm².
        self.prior_log_variance = nn.Parameter(torch.zeros(())) if amvur is None else None

    def forward(self, feature: Tensor) -> ModelOutput:
        camera = self.camera(feature)
        prior = None if self.prior is None else self.prior(feature)
        if self.amvur is None:
            assert prior is not None
            assert self.prior_log_variance is not None
            log_variance = self.prior_log_variance.expand_as(prior.vertices_cm)
            return ModelOutput(prior.vertices_cm, log_variance, camera, prior)
        # Detached: the prior learns from its own losses, not from being a convenient start.
        base = prior.vertices_cm.detach() if prior is not None and self.amvur.on_base else None
        mean, log_variance = self.amvur(feature, base)
        return ModelOutput(mean, log_variance, camera, prior)


def build_model(config: ModelConfig, template: HandTemplate) -> HandModel:
    """A variant, freshly initialised (mediapipe_hand: with MediaPipe's weights)."""
    backbone = make_backbone(config.backbone)
    size = backbone.feature_size
    prior = None if config.variant == "amvur" else PriorNet(size, config.regressor_width, template)
    amvur = None
    if config.variant != "prior":
        amvur = Amvur(
            size,
            template,
            width=config.width,
            heads=config.heads,
            coarse=config.tokens == "coarse",
            on_base=config.variant == "final" and config.conditioning == "prior",
        )
    return HandModel(backbone, VariantHeads(CameraNet(size, config.regressor_width), prior, amvur))
