"""Asks the network where a picked point's attention goes, beside the running stream."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PyQt6.QtCore import QThread, pyqtSignal

from handviz.core.errors import HandvizError
from handviz.core.records import HandCrop, VariantName
from handviz.rendering.highlight import AttentionShown
from handviz.sources.mailbox import Mailbox

POLL_S = 0.5
PAUSE_S = 0.2
"""Between two runs of the network, at least: the stream needs the processor more."""
PAUSE_PER_RUN = 4.0
"""At least so much of the run's own time: where the machine is slow or busy it takes a fifth of the time, no more."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class AttentionJob:
    """A question; ``number`` comes back with the answer."""

    number: int
    crop: HandCrop
    variant: VariantName
    vertex: int | None
    joint: int | None


@dataclass(frozen=True, eq=False)
class AttentionAnswer:
    """Attention, or a sentence that says why there is none."""

    number: int
    attention: AttentionShown | None
    cost_ms: float
    """Of a run of the network; 0 where the last run knew the answer."""
    sentence: str = ""


class AttentionSourceLike(Protocol):
    """What this thread needs of ``handviz.models.amvur.attention_maps.AttentionSource``."""

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


class AttentionThread(QThread):
    """One loop over the newest question; started with the first one."""

    answered = pyqtSignal(object)
    """AttentionAnswer"""

    def __init__(self, model_dir: Path, maker: SourceMaker = make_source) -> None:
        super().__init__()
        self._model_dir, self._maker = model_dir, maker
        self._mailbox: Mailbox[AttentionJob] = Mailbox()
        self._stopped = threading.Event()
        self._source: AttentionSourceLike | None = None

    def ask(self, job: AttentionJob) -> None:
        """Answer this next, in place of what has not begun yet."""
        self._mailbox.put(job)
        # Results are still on their way when the window has closed: they must not begin a thread that nobody ends.
        if not self.isRunning() and not self._stopped.is_set():
            self.start()

    def stop(self) -> None:
        """End the loop and wait for it."""
        self._mailbox.close()
        self._stopped.set()
        self.wait()

    def run(self) -> None:
        """The loop: as long as the mailbox is open."""
        while not self._mailbox.closed:
            job = self._mailbox.get(POLL_S)
            if job is None:
                continue
            answer = self._answer(job)
            self.answered.emit(answer)
            if answer.cost_ms:
                self._stopped.wait(max(PAUSE_S, PAUSE_PER_RUN * answer.cost_ms / 1000))

    def _answer(self, job: AttentionJob) -> AttentionAnswer:
        try:
            if self._source is None:
                self._source = self._maker(self._model_dir)
            self._source.prepare(job.variant)
            is_known = self._source.knows(job.crop, job.variant)
            started_s = time.perf_counter()
            attention = self._source.ask(job.crop, job.variant, vertex=job.vertex, joint=job.joint)
            cost_ms = 0.0 if is_known else (time.perf_counter() - started_s) * 1000
            return AttentionAnswer(job.number, attention, cost_ms)
        except HandvizError as error:
            return AttentionAnswer(job.number, None, 0.0, str(error))
        # The thread's outermost place: a question that fails must not end it.
        except Exception as error:
            logger.exception("attention cannot be read")
            sentence = f"The attention could not be read ({error}); the log says where."
            return AttentionAnswer(job.number, None, 0.0, sentence)
