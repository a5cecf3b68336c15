"""The configuration of a training of AMVUR."""

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, get_args

from handviz.core.arguments import Only
from handviz.core.errors import ErrorCode, HandvizError
from handviz.data.datasets.images import BadImages
from handviz.models.amvur.loss_config import LossConfig
from handviz.models.amvur.model import ModelConfig
from handviz.training.augmentation import LandmarkNoise, StyleNoise
from handviz.training.config import RunConfig

Supervision = Literal["full", "weak"]
SUPERVISIONS: tuple[Supervision, ...] = get_args(Supervision)

MODEL_OPTIONS = (
    *("variant", "backbone", "tokens", "conditioning", "features", "width"),
    *("embedding", "blocks", "feed_forward", "camera", "landmarks", "residuals", "presence", "rank"),
)
LOSS_OPTIONS = (
    *("image", "weak", "likelihood", "likelihood_from", "beta"),
    *("camera", "joints", "rotation", "edges", "presence", "covariance"),
)
"""Fields of the network's and the loss's configuration that are options."""


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """Settings of a run of AMVUR."""

    LASTING: ClassVar[tuple[str, ...]] = (*RunConfig.LASTING, "supervision")
    LASTING_PARTS: ClassVar[tuple[str, ...]] = (*RunConfig.LASTING_PARTS, "landmark_noise", "style_noise")
    FORMER_PARTS: ClassVar[Mapping[str, str]] = MappingProxyType({"landmark_noise": "witness_noise"})
    model: Annotated[ModelConfig, Only(*MODEL_OPTIONS)] = field(default_factory=ModelConfig)
    loss: Annotated[LossConfig, Only(*LOSS_OPTIONS)] = field(default_factory=LossConfig)
    _: KW_ONLY
    supervision: Supervision = "full"
    """"full": all of the truth; "weak": 2D joints alone (models/amvur/weak_losses.py)."""
    camera_prior: Path | None = None
    """Checkpoint whose camera net is the camera's prior in weak training, or "landmarks": the palm at rest laid on
    MediaPipe's landmarks, which no 3D truth enters; None: there is no such term."""
    landmark_noise: LandmarkNoise = field(default_factory=LandmarkNoise)
    """How much of MediaPipe's landmarks is made as accurate as on photographs (augmentation.py)."""
    style_noise: StyleNoise = field(default_factory=StyleNoise)
    """How many maps get another style (augmentation.py); not end to end, not on a frozen backbone."""
    head_rate: float = 1e-3
    """Learning rate of new layers (AdamW, warm-up, cosine to zero)."""
    tail_rate: float = 3e-4
    """Learning rate of the backbone's last blocks; 0 freezes everything before the heads."""
    covariance_only: bool = False
    """Train the covariance of the joints' errors alone: mean and variances of the mesh stay as they are, and so do
    the factors that 'handviz calibrate' fitted to the checkpoint that it starts from. Needs a tail_rate of 0."""
    end_to_end: bool = False
    """Train on the images, the backbone's first blocks too, instead of on what was cached of them."""
    stem_rate: float = 3e-5
    """Learning rate of the first blocks, end to end."""
    gradient_norm: float = 2.0
    bad_images: BadImages = "stop"
    """Whether a dataset's image that cannot be read stops the training or is skipped."""
    backbone_from: Path | None = None
    """Checkpoint whose backbone to start from."""
    backbone_weights: Path | None = None
    """torchvision's file of ImageNet weights to start the backbone from (models/backbones/imagenet_backbones.py)."""
    start_from: tuple[Path, ...] = ()
    """Checkpoints or ONNX files of any variants whose matching weights to start from; later ones win."""
    recipe: str = ""
    """Name of the recipe of these settings (evaluation/recipes.py); empty: none."""

    @classmethod
    def from_options(cls, **values: Any) -> "TrainConfig":
        """Return the config of options, with the parts that follow from others: end to end, and weak supervision."""
        model: ModelConfig = values["model"]
        if values["end_to_end"] and model.has_landmark_head:
            values["model"] = replace(model, landmark_stem=True)
        if values["supervision"] == "weak":
            values["landmark_noise"] = LandmarkNoise(fraction=0.0)
        return cls(**values)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("head_rate", "tail_rate", "stem_rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise HandvizError(
                    f"training: {name} is {getattr(self, name)}, it must be a number from 0 on", ErrorCode.BAD_VALUE
                )
        self._check_supervision()
        can_train = self.model.has_covariance and self.supervision == "full" and not self.tail_rate
        if self.covariance_only and not can_train:
            raise HandvizError(
                "training: covariance_only needs a tail_rate of 0, full supervision, and a model amvur or final whose "
                "rank is above 0",
                ErrorCode.OPTION_CONFLICT,
            )
        if self.end_to_end and not (self.tail_rate and self.stem_rate):
            raise HandvizError(
                "training: end to end trains the whole backbone: tail_rate and stem_rate must be above 0",
                ErrorCode.OPTION_CONFLICT,
            )
        if self.model.has_landmark_head and self.model.landmark_stem != self.end_to_end:
            raise HandvizError(
                "training: landmark_stem is for end to end, and end to end needs it", ErrorCode.OPTION_CONFLICT
            )

    def _check_supervision(self) -> None:
        if self.supervision not in SUPERVISIONS:
            kinds = ", ".join(SUPERVISIONS)
            raise HandvizError(
                f"training: supervision is {self.supervision!r}; there are {kinds}", ErrorCode.UNKNOWN_NAME
            )
        if self.supervision == "full":
            if self.camera_prior is not None:
                raise HandvizError(
                    "training: a camera prior is for weak supervision; full supervision knows the camera",
                    ErrorCode.OPTION_CONFLICT,
                )
        elif self.model.has_landmark_head and self.landmark_noise.fraction:
            raise HandvizError(
                "training: landmark_noise moves MediaPipe's landmarks towards the 3D truth, which weak supervision "
                "does not have: its fraction must be 0",
                ErrorCode.OPTION_CONFLICT,
            )
