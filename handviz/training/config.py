"""What trainings depend on: what all of their loops share, what all runs share, and the training of AMVUR."""

import json
import math
from dataclasses import KW_ONLY, asdict, dataclass, field
from pathlib import Path
from typing import Any

from handviz.core.errors import HandvizError
from handviz.data.datasets.images import BadImages
from handviz.data.datasets.registry import settled
from handviz.models.amvur.losses import LossConfig
from handviz.models.amvur.model import ModelConfig
from handviz.training.augmentation import LandmarkNoise, StyleNoise

FORMER_PARTS = {"landmark_noise": "witness_noise"}
"""Parts of ``TrainConfig`` under their names in notes of version 0.1."""
SUPERVISIONS = ("full", "weak")


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """What every training loop depends on."""

    epochs: int = 3
    """Passes over the samples; the learning rate falls to zero over all of them."""
    batch_size: int = 64
    """Of one process; several (torchrun) take a batch each."""
    weight_decay: float = 0.01
    """Of AdamW; at 0 it is Adam, the paper's optimiser, to the bit."""
    warm_up_steps: int = 200
    """Over which the learning rate rises: AdamW's first estimates of the gradient's size are rough."""
    gradient_norm: float = 1.0
    """At which the gradient of all parameters together is clipped, so that one odd batch cannot undo many."""
    seed: int = 0
    """Of the first weights, and with the epoch of the samples' order."""
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
                raise HandvizError(f"training: {name} is {value}, it must be at least 1")


@dataclass(frozen=True)
class RunConfig(LoopConfig):
    """What every run in a folder of its own depends on."""

    data: tuple[Path | str, ...]
    """Folders of rendered hands and, where a training reads them, specs of datasets, taken together."""
    run: Path
    """Folder of the run: checkpoint ``last``, ``log.csv``."""
    _: KW_ONLY
    limit: int | None = None
    """Use only the first samples."""
    validation: Path | str | None = None
    """Samples to watch at every checkpoint; they choose nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least_one("limit")

    @property
    def source(self) -> str:
        """Name of the samples in messages: their folders and specs."""
        return ", ".join(map(str, self.data))


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """Everything that a run of AMVUR depends on."""

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    _: KW_ONLY
    supervision: str = "full"
    """"full": all of the truth; "weak": 2D joints alone (train/weak.py)."""
    camera_prior: Path | None = None
    """Checkpoint whose camera net is the camera's prior in weak training; None: there is no such term."""
    landmark_noise: LandmarkNoise = field(default_factory=LandmarkNoise)
    """How much of MediaPipe's landmarks is made as good as on photographs (train/witness_noise.py)."""
    style_noise: StyleNoise = field(default_factory=StyleNoise)
    """How many maps get another look (train/style_noise.py); not end to end, not on a frozen backbone."""
    head_rate: float = 1e-3
    """Learning rate of new layers (AdamW, warm-up, cosine to zero)."""
    tail_rate: float = 3e-4
    """Learning rate of the backbone's last blocks; 0 freezes everything before the heads."""
    end_to_end: bool = False
    """Train on the images, the backbone's first blocks too, instead of on what was cached of them."""
    stem_rate: float = 3e-5
    """Learning rate of the first blocks, end to end."""
    device: str = "auto"
    gradient_norm: float = 2.0
    bad_images: BadImages = "stop"
    """What to do about a dataset's image that cannot be read."""
    backbone_from: Path | None = None
    """Checkpoint whose backbone to start from."""
    backbone_weights: Path | None = None
    """torchvision's file of ImageNet weights to start the backbone from (nets/torchvision_weights.py)."""
    start_from: tuple[Path, ...] = ()
    """Checkpoints of any variants whose matching weights to start from; later ones win."""
    recipe: str = ""
    """Name of the recipe that all of this comes from (evaluation/recipes.py); empty: from none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("head_rate", "tail_rate", "stem_rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise HandvizError(f"training: {name} is {getattr(self, name)}, it must be a number from 0 on")
        self._check_supervision()
        if self.end_to_end and not (self.tail_rate and self.stem_rate):
            raise HandvizError(
                "training: end to end trains the whole backbone: tail_rate and stem_rate must be above 0"
            )
        if self.model.has_landmark_head and self.model.landmark_stem != self.end_to_end:
            raise HandvizError("training: landmark_stem is for end to end, and end to end needs it")

    def _check_supervision(self) -> None:
        if self.supervision not in SUPERVISIONS:
            kinds = ", ".join(SUPERVISIONS)
            raise HandvizError(f"training: supervision is {self.supervision!r}; there are {kinds}")
        if self.supervision == "full":
            if self.camera_prior is not None:
                raise HandvizError(
                    "training: a camera prior is for weak supervision; full supervision knows the camera"
                )
        elif self.model.has_landmark_head and self.landmark_noise.fraction:
            raise HandvizError(
                "training: landmark_noise moves MediaPipe's landmarks towards the 3D truth, which weak supervision "
                "does not have: its fraction must be 0"
            )


def as_metadata(config: RunConfig) -> dict[str, Any]:
    """The config as a checkpoint's notes keep it."""
    return dict(json.loads(json.dumps(asdict(config), default=str)))


def _lasting(notes: dict[str, Any]) -> dict[str, Any]:
    """What a run keeps from its first step to its last; notes of older programs say less of it."""
    kept = ("seed", "limit", "supervision")
    lasting = {f"--{name}": notes[name] for name in kept if name in notes}
    if isinstance(notes.get("data"), list):
        lasting["--data"] = [settled(str(source)) for source in notes["data"]]
    for part in ("loss", "landmark_noise", "style_noise"):
        weights = notes.get(part, notes.get(FORMER_PARTS.get(part, part)))
        lasting |= {f"{part} {name}": value for name, value in weights.items()} if isinstance(weights, dict) else {}
    return lasting


def changes(config: RunConfig, noted: object) -> list[str]:
    """What differs between a config and the ``as_metadata`` that a run was started with, in words.

    What the notes do not say is no difference. Epochs, rates, the device and what is watched may change on the way.
    """
    then, now = _lasting(noted) if isinstance(noted, dict) else {}, _lasting(as_metadata(config))
    return [f"{name} {then[name]}, not {now[name]}" for name in now if name in then and then[name] != now[name]]
