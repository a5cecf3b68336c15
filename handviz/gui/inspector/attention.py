"""Attention of a picked point, computed beside the running stream."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from handviz.core.records import HandCrop, ModelId
from handviz.rendering.highlight import AttentionShown

PAUSE_S = 0.2
"""Minimum pause between two runs of the network: the stream has precedence."""
PAUSE_PER_RUN = 4.0
"""Minimum pause as a multiple of the run's time: attention takes at most a fifth of the time."""


@dataclass(frozen=True, eq=False)
class AttentionRequest:
    """Request for the attention of a vertex or joint."""

    crop: HandCrop
    model: ModelId
    vertex: int | None
    joint: int | None


@dataclass(frozen=True, eq=False)
class AttentionAnswer:
    """Attention, and the time that it took."""

    attention: AttentionShown
    cost_ms: float
    """Time of the run of the network; 0 where the last run gave the answer."""


class AttentionSourceLike(Protocol):
    """Interface of ``handviz.models.amvur.attention_maps.AttentionSource`` that the reader needs."""

    def knows(self, crop: HandCrop, model: ModelId, /) -> bool:
        """Return whether the answer takes no run of the network."""
        ...

    def prepare(self, model: ModelId, /) -> None:
        """Load the network of this model."""
        ...

    def ask(self, crop: HandCrop, model: ModelId, /, *, vertex: int | None, joint: int | None) -> AttentionShown:
        """Return the attention of a vertex, or else to a joint."""
        ...


SourceMaker = Callable[[Path], AttentionSourceLike]


def make_source(model_dir: Path) -> AttentionSourceLike:
    """Return the real source; its libraries are loaded here, in the thread."""
    from handviz.models.amvur.attention_maps import AttentionSource

    return AttentionSource(model_dir)


class AttentionReader:
    """Reader of attention; it makes its source at the first request, in the calling thread."""

    def __init__(self, model_dir: Path, maker: SourceMaker = make_source) -> None:
        self._model_dir, self._maker = model_dir, maker
        self._source: AttentionSourceLike | None = None

    def read(self, request: AttentionRequest) -> AttentionAnswer:
        """Return the attention; raises HandvizError where the network has none."""
        if self._source is None:
            self._source = self._maker(self._model_dir)
        self._source.prepare(request.model)
        is_known = self._source.knows(request.crop, request.model)
        started_s = time.perf_counter()
        attention = self._source.ask(request.crop, request.model, vertex=request.vertex, joint=request.joint)
        return AttentionAnswer(attention, 0.0 if is_known else (time.perf_counter() - started_s) * 1000)


def rest_after(answer: AttentionAnswer) -> float:
    """Return how many seconds to pause after an answer."""
    return max(PAUSE_S, PAUSE_PER_RUN * answer.cost_ms / 1000) if answer.cost_ms else 0.0
