"""What a training run depends on."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from handviz.core.errors import HandvizError
from handviz.data.datasets.images import BadPictures
from handviz.data.datasets.registry import settled
from handviz.models.amvur.losses import LossConfig
from handviz.models.amvur.model import ModelConfig
from handviz.training.augmentation import StyleNoise, WitnessNoise

SUPERVISIONS = ("full", "weak")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a run depends on."""

    data: tuple[Path | str, ...]
    """Folders of rendered hands and specs of datasets (data/real/registry.py), taken together."""
    run: Path
    """Folder of the run: checkpoint ``last``, ``log.csv``."""
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    supervision: str = "full"
    """"full": all of the truth; "weak": 2D joints alone (train/weak.py)."""
    camera_prior: Path | None = None
    """Checkpoint whose camera net is the camera's prior in weak training; None: there is no such term."""
    witness_noise: WitnessNoise = field(default_factory=WitnessNoise)
    """How much of MediaPipe's landmarks is made as good as on photographs (train/witness_noise.py)."""
    style_noise: StyleNoise = field(default_factory=StyleNoise)
    """How many maps get another look (train/style_noise.py); not end to end, not on a frozen backbone."""
    epochs: int = 3
    batch_size: int = 64
    """Of one process; several (torchrun) take a batch each."""
    head_rate: float = 1e-3
    """Learning rate of new layers (AdamW, warm-up, cosine to zero)."""
    tail_rate: float = 3e-4
    """Learning rate of the backbone's last blocks; 0 freezes everything before the heads."""
    end_to_end: bool = False
    """Train on the pictures, the backbone's first blocks too, instead of on what was cached of them."""
    stem_rate: float = 3e-5
    """Learning rate of the first blocks, end to end."""
    device: str = "auto"
    weight_decay: float = 0.01
    """Of AdamW; at 0 it is Adam, the paper's optimiser, to the bit."""
    warm_up_steps: int = 200
    gradient_norm: float = 2.0
    seed: int = 0
    checkpoint_every: int = 200
    """Steps."""
    validation: Path | str | None = None
    bad_pictures: BadPictures = "stop"
    """What to do about a dataset's picture that cannot be read."""
    backbone_from: Path | None = None
    """Checkpoint whose backbone to start from."""
    backbone_weights: Path | None = None
    """torchvision's file of ImageNet weights to start the backbone from (nets/torchvision_weights.py)."""
    start_from: tuple[Path, ...] = ()
    """Checkpoints of any variants whose matching weights to start from; later ones win."""
    limit: int | None = None
    """Use only the first samples."""
    recipe: str = ""
    """Name of the recipe that all of this comes from (evaluation/recipes.py); empty: from none."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "checkpoint_every", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise HandvizError(f"training: {name} is {value}, it must be at least 1")
        for name in ("head_rate", "tail_rate", "stem_rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise HandvizError(f"training: {name} is {getattr(self, name)}, it must be a number from 0 on")
        self._check_supervision()
        if self.end_to_end and not (self.tail_rate and self.stem_rate):
            raise HandvizError(
                "training: end to end trains the whole backbone: tail_rate and stem_rate must be above 0"
            )
        if self.model.has_witness and self.model.witness_stem != self.end_to_end:
            raise HandvizError("training: witness_stem is for end to end, and end to end needs it")

    def _check_supervision(self) -> None:
        if self.supervision not in SUPERVISIONS:
            kinds = ", ".join(SUPERVISIONS)
            raise HandvizError(f"training: supervision is {self.supervision!r}; there are {kinds}")
        if self.supervision == "full":
            if self.camera_prior is not None:
                raise HandvizError(
                    "training: a camera prior is for weak supervision; full supervision knows the camera"
                )
        elif self.model.has_witness and self.witness_noise.share:
            raise HandvizError(
                "training: witness_noise moves MediaPipe's landmarks towards the 3D truth, which weak supervision "
                "does not have: its share must be 0"
            )


def as_notes(config: TrainConfig) -> dict[str, Any]:
    """The config as a checkpoint's notes keep it."""
    return dict(json.loads(json.dumps(asdict(config), default=str)))


def _lasting(notes: dict[str, Any]) -> dict[str, Any]:
    """What a run keeps from its first step to its last; notes of older programs say less of it."""
    kept = ("seed", "limit", "supervision")
    lasting = {f"--{name}": notes[name] for name in kept if name in notes}
    if isinstance(notes.get("data"), list):
        lasting["--data"] = [settled(str(source)) for source in notes["data"]]
    for part in ("loss", "witness_noise", "style_noise"):
        weights = notes.get(part)
        lasting |= {f"{part} {name}": value for name, value in weights.items()} if isinstance(weights, dict) else {}
    return lasting


def changes(config: TrainConfig, noted: object) -> list[str]:
    """What differs between a config and the ``as_notes`` that a run was started with, in words.

    What the notes do not say is no difference. Epochs, rates, the device and what is watched may change on the way.
    """
    then, now = _lasting(noted) if isinstance(noted, dict) else {}, _lasting(as_notes(config))
    return [f"{name} {then[name]}, not {now[name]}" for name in now if name in then and then[name] != now[name]]
