"""Asks the network where a picked point's attention goes, beside the running stream."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from handviz.core.records import HandCrop, VariantName
from handviz.rendering.highlight import AttentionShown

PAUSE_S = 0.2
"""Between two runs of the network, at least: the stream needs the processor more."""
PAUSE_PER_RUN = 4.0
"""At least so much of the run's own time: where the machine is slow or busy it takes a fifth of the time, no more."""


@dataclass(frozen=True, eq=False)
class AttentionRequest:
    """A question."""

    crop: HandCrop
    variant: VariantName
    vertex: int | None
    joint: int | None


@dataclass(frozen=True, eq=False)
class AttentionAnswer:
    """Attention, and what it took."""

    attention: AttentionShown
    cost_ms: float
    """Of a run of the network; 0 where the last run knew the answer."""


class AttentionSourceLike(Protocol):
    """What the reader needs of ``handviz.models.amvur.attention_maps.AttentionSource``."""

    def knows(self, crop: HandCrop, variant: VariantName, /) -> bool:
        """Whether the answer takes no run of the network."""
        ...

    def prepare(self, variant: VariantName, /) -> None:
        """Load what answers for this variant."""
        ...

    def ask(self, crop: HandCrop, variant: VariantName, /, *, vertex: int | None, joint: int | None) -> AttentionShown:
        """Of a vertex, or else to a joint."""
        ...


SourceMaker = Callable[[Path], AttentionSourceLike]


def make_source(model_dir: Path) -> AttentionSourceLike:
    """The real one; what it needs is loaded here, in the thread."""
    from handviz.models.amvur.attention_maps import AttentionSource

    return AttentionSource(model_dir)


class AttentionReader:
    """Answers jobs; the source is made with the first one, in whatever thread asks."""

    def __init__(self, model_dir: Path, maker: SourceMaker = make_source) -> None:
        self._model_dir, self._maker = model_dir, maker
        self._source: AttentionSourceLike | None = None

    def read(self, job: AttentionRequest) -> AttentionAnswer:
        """Return the attention; raises HandvizError where the network has none."""
        if self._source is None:
            self._source = self._maker(self._model_dir)
        self._source.prepare(job.variant)
        is_known = self._source.knows(job.crop, job.variant)
        started_s = time.perf_counter()
        attention = self._source.ask(job.crop, job.variant, vertex=job.vertex, joint=job.joint)
        return AttentionAnswer(attention, 0.0 if is_known else (time.perf_counter() - started_s) * 1000)


def rest_after(answer: AttentionAnswer) -> float:
    """Return for how many seconds the network rests after an answer."""
    return max(PAUSE_S, PAUSE_PER_RUN * answer.cost_ms / 1000) if answer.cost_ms else 0.0
