"""Configurations: of every training loop, of every run in a folder, and of a training of AMVUR."""

import json
import math
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from handviz.core.arguments import Only, Option, Seed, some_words
from handviz.core.errors import ErrorCode, HandvizError
from handviz.data.datasets.images import BadImages
from handviz.data.datasets.registry import settled
from handviz.models.amvur.losses import LossConfig
from handviz.models.amvur.model import ModelConfig
from handviz.training.augmentation import LandmarkNoise, StyleNoise
from handviz.training.distributed import Device

FORMER_PARTS = {"landmark_noise": "witness_noise"}
"""Parts of ``TrainConfig`` under their names in notes of version 0.1."""
Supervision = Literal["full", "weak"]
SUPERVISIONS: tuple[Supervision, ...] = get_args(Supervision)


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Settings of every training loop."""

    epochs: int = 3
    """Passes over the samples; the learning rate falls to zero over all of them."""
    batch_size: int = 64
    """Crops in a batch of one process; several (torchrun) take a batch each."""
    weight_decay: float = 0.01
    """Weight decay of AdamW; at 0 it is Adam, the paper's optimiser, to the bit."""
    warm_up_steps: int = 200
    """Over which the learning rate rises: AdamW's first estimates of the gradient's size are rough."""
    gradient_norm: float = 1.0
    """At which the gradient of all parameters together is clipped, so that one outlier cannot undo many batches."""
    seed: Seed = 0
    """Seed of the first weights, and with the epoch of the samples' order."""
    checkpoint_every: int | None = 200
    """Steps from one validation, row of the log and checkpoint to the next; None: an epoch."""

    def __post_init__(self) -> None:
        self._check_at_least_one("epochs", "batch_size", "checkpoint_every")

    @property
    def source(self) -> str:
        """Name of the samples in messages."""
        return "the data"

    def _check_at_least_one(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise HandvizError(f"training: {name} is {value}, it must be at least 1", ErrorCode.BAD_VALUE)


@dataclass(frozen=True)
class RunConfig(LoopConfig):
    """Settings of every run in a folder of its own."""

    data: Annotated[tuple[Path | str, ...], Option(metavar="SOURCE ...", read=some_words, words="*")]
    """Folders written by 'handviz synthesize' and, where a training reads them, datasets as NAME/SPLIT:FOLDER
    (docs/research/datasets.md), taken together."""
    run: Path
    """Folder of the run (checkpoint ``last``, ``log.csv``); a started run is continued."""
    _: KW_ONLY
    limit: int | None = None
    """Use only the first samples."""
    validation: Annotated[Path | str | None, Option(metavar="SOURCE", read=lambda words: words[0])] = None
    """Samples to evaluate at every checkpoint; they choose nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least_one("limit")

    @property
    def source(self) -> str:
        """Name of the samples in messages: their folders and specs."""
        return ", ".join(map(str, self.data))


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """Settings of a run of AMVUR."""

    model: Annotated[ModelConfig, Only("variant", "backbone", "tokens", "conditioning", "features", "width")] = field(
        default_factory=ModelConfig
    )
    loss: Annotated[LossConfig, Only("image", "weak")] = field(default_factory=LossConfig)
    _: KW_ONLY
    supervision: Supervision = "full"
    """"full": all of the truth; "weak": 2D joints alone (models/amvur/weak_losses.py)."""
    camera_prior: Path | None = None
    """Checkpoint whose camera net is the camera's prior in weak training; None: there is no such term."""
    landmark_noise: LandmarkNoise = field(default_factory=LandmarkNoise)
    """How much of MediaPipe's landmarks is made as accurate as on photographs (augmentation.py)."""
    style_noise: StyleNoise = field(default_factory=StyleNoise)
    """How many maps get another style (augmentation.py); not end to end, not on a frozen backbone."""
    head_rate: float = 1e-3
    """Learning rate of new layers (AdamW, warm-up, cosine to zero)."""
    tail_rate: float = 3e-4
    """Learning rate of the backbone's last blocks; 0 freezes everything before the heads."""
    end_to_end: bool = False
    """Train on the images, the backbone's first blocks too, instead of on what was cached of them."""
    stem_rate: float = 3e-5
    """Learning rate of the first blocks, end to end."""
    device: Device = "auto"
    """"auto": a GPU where there is one."""
    gradient_norm: float = 2.0
    bad_images: BadImages = "stop"
    """Whether a dataset's image that cannot be read stops the training or is skipped."""
    backbone_from: Path | None = None
    """Checkpoint whose backbone to start from."""
    backbone_weights: Path | None = None
    """torchvision's file of ImageNet weights to start the backbone from (models/backbones/imagenet_backbones.py)."""
    start_from: tuple[Path, ...] = ()
    """Checkpoints of any variants whose matching weights to start from; later ones win."""
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


def as_metadata(config: RunConfig) -> dict[str, Any]:
    """Return the config as saved in a checkpoint's notes."""
    return dict(json.loads(json.dumps(asdict(config), default=str)))


def _lasting(notes: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that a run must not change; notes of older versions lack some of them."""
    lasting = {f"--{name}": notes[name] for name in ("seed", "limit", "supervision") if name in notes}
    if isinstance(notes.get("data"), list):
        lasting["--data"] = [settled(str(source)) for source in notes["data"]]
    for part in ("loss", "landmark_noise", "style_noise"):
        weights = notes.get(part, notes.get(FORMER_PARTS.get(part, part)))
        lasting |= {f"{part} {name}": value for name, value in weights.items()} if isinstance(weights, dict) else {}
    return lasting


def changes(config: RunConfig, saved: object) -> list[str]:
    """Return the differences between a config and the saved ``as_metadata`` of a run's start, as texts.

    Missing entries are no difference. Epochs, rates, the device and validation may change during a run.
    """
    then, now = _lasting(saved) if isinstance(saved, dict) else {}, _lasting(as_metadata(config))
    return [f"{name} {then[name]}, not {now[name]}" for name in now if name in then and then[name] != now[name]]
