"""Configurations of every training loop and of every run in a folder; a family adds what is its own."""

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from handviz.core.arguments import Option, Seed, some_words
from handviz.core.errors import ErrorCode, HandvizError
from handviz.data.datasets.registry import settled
from handviz.training.distributed import Device


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

    LASTING: ClassVar[tuple[str, ...]] = ("seed", "limit")
    """Settings, beside ``data``, that must stay the same where a run is continued."""
    LASTING_PARTS: ClassVar[tuple[str, ...]] = ("loss",)
    """Settings that are dataclasses, of which every field must stay the same."""
    FORMER_PARTS: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Names of such parts in notes of version 0.1."""

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
    device: Device = "auto"
    """"auto": a GPU where there is one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least_one("limit")

    @property
    def source(self) -> str:
        """Name of the samples in messages: their folders and specs."""
        return ", ".join(map(str, self.data))


def as_metadata(config: RunConfig) -> dict[str, Any]:
    """Return the config as saved in a checkpoint's notes."""
    return dict(json.loads(json.dumps(asdict(config), default=str)))


def _lasting(kind: type[RunConfig], notes: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that a run must not change; notes of older versions lack some of them."""
    lasting = {f"--{name}": notes[name] for name in kind.LASTING if name in notes}
    if isinstance(notes.get("data"), list):
        lasting["--data"] = [settled(str(source)) for source in notes["data"]]
    for part in kind.LASTING_PARTS:
        values = notes.get(part, notes.get(kind.FORMER_PARTS.get(part, part)))
        lasting |= {f"{part} {name}": value for name, value in values.items()} if isinstance(values, dict) else {}
    return lasting


def changes(config: RunConfig, saved: object) -> list[str]:
    """Return the differences between a config and the saved ``as_metadata`` of a run's start, as texts.

    Missing entries are no difference. Epochs, rates, the device and validation may change during a run.
    """
    kind = type(config)
    then, now = _lasting(kind, saved) if isinstance(saved, dict) else {}, _lasting(kind, as_metadata(config))
    return [f"{name} {then[name]}, not {now[name]}" for name in now if name in then and then[name] != now[name]]
