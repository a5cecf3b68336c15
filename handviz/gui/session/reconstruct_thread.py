"""Takes frames from the mailbox and sends what the pipeline makes of them to the window."""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from PyQt6.QtCore import QThread, pyqtSignal

from handviz.core.camera_model import CameraModel, HandSize
from handviz.core.records import Frame, FrameResult, HandednessSetting, SmoothingKind, VariantName
from handviz.gui.session.messages import Answer, Job
from handviz.gui.session.rates import RateMeter
from handviz.gui.session.settings import ViewSettings
from handviz.gui.session.tasks import attempt, lower_priority
from handviz.sources.mailbox import Mailbox

POLL_S = 0.5
logger = logging.getLogger(__name__)


class PipelineLike(Protocol):
    """What this thread needs of ``handviz.pipeline.pipeline.Pipeline``."""

    @property
    def provider(self) -> str:
        """The execution provider that really runs."""
        ...

    def process(self, frame: Frame) -> FrameResult:
        """Hands of a frame."""
        ...

    def set_variant(self, variant: VariantName, /) -> None:
        """From the next frame on."""
        ...

    def set_smoothing(self, strength: float, /) -> None:
        """0 to 1."""
        ...

    def set_smoothing_kind(self, kind: SmoothingKind, /) -> None:
        """Another filter, which begins anew."""
        ...

    def set_camera_model(self, camera_model: CameraModel, /) -> None:
        """What is known of the camera."""
        ...

    def set_hand_size(self, size: HandSize, /) -> None:
        """What is known of the hands."""
        ...

    def set_side(self, side: HandednessSetting, /) -> None:
        """Which hand is which."""
        ...

    def set_compare(self, wanted: bool, /) -> None:
        """Whether every variant is asked, from the next frame on."""
        ...

    def set_texture(self, wanted: bool, /) -> None:
        """Whether hands get a texture, from the next frame on."""
        ...

    def forget_texture(self) -> None:
        """The next frame's colours owe nothing to earlier frames."""
        ...

    def reset(self, *, video: bool | None = None, same_hands: bool = False) -> None:
        """The next frame does not follow the last one; ``video``: whether those after it follow each other."""
        ...

    def close(self) -> None:
        """Free everything."""
        ...


PipelineMaker = Callable[[ViewSettings], PipelineLike]


class ReconstructThread(QThread):
    """One loop; the pipeline is made, used and closed in this thread only."""

    answered = pyqtSignal(object)
    """Answer"""
    error = pyqtSignal(str)
    recovered = pyqtSignal()

    def __init__(self, mailbox: Mailbox[Job], make_pipeline: PipelineMaker, settings: ViewSettings) -> None:
        super().__init__()
        self._mailbox = mailbox
        self._make_pipeline = make_pipeline
        self._wanted = settings
        self._applied = settings
        self._pipeline: PipelineLike | None = None
        self._tried_for: tuple[int, VariantName] | None = None
        self._place: tuple[int, int] | None = None
        self._forgets_texture = False
        self._message = ""
        self._rate = RateMeter()

    def apply(self, settings: ViewSettings) -> None:
        """Use these settings from the next frame on; may be called from any thread."""
        self._wanted = settings

    def forget_texture(self) -> None:
        """Have the pipeline forget colours before the next frame; may be called from any thread."""
        self._forgets_texture = True

    def stop(self) -> None:
        """Close the mailbox, end the loop and wait for it."""
        self._mailbox.close()
        self.wait()

    def run(self) -> None:
        """The loop: as long as the mailbox is open."""
        lower_priority(self)
        while not self._mailbox.closed:
            job = self._mailbox.get(POLL_S)
            if job is None:
                continue
            # One frame that fails, for whatever reason, must not end the thread.
            result, message = attempt(partial(self._result, job), "This frame could not be reconstructed")
            if message:
                self._report(message)
            self._answer(job, result or self._without_hands(job))
            # An image is not kept while the next one is waited for.
            del job, result
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None

    def _result(self, job: Job) -> FrameResult:
        pipeline = self._ready_pipeline(job)
        if pipeline is None:
            return self._without_hands(job)
        self._apply_changes(pipeline)
        self._follow(pipeline, job)
        result = pipeline.process(job.frame)
        # A variant that could not be used leaves the last one in place: the sentence stays until another is chosen.
        if result.error:
            self._report(result.error)
        elif self._message and result.variant == self._applied.variant:
            self._message = ""
            self.recovered.emit()
        return result

    def _follow(self, pipeline: PipelineLike, job: Job) -> None:
        """Tell the pipeline where frames stop following each other; images of a folder never do."""
        are_images = bool(job.frame.name)
        place = (job.generation, 0 if are_images else job.jump)
        if place != self._place and (self._place is not None or are_images):
            is_jump = self._place is not None and self._place[0] == job.generation
            pipeline.reset(video=not are_images, same_hands=is_jump)
        self._place = place

    def _ready_pipeline(self, job: Job) -> PipelineLike | None:
        """Missing model files are looked for again with another source or variant, not for every frame."""
        wanted = self._wanted
        if self._pipeline is None and self._tried_for != (job.generation, wanted.variant):
            self._tried_for = job.generation, wanted.variant
            self._applied = wanted
            self._pipeline = self._make_pipeline(self._applied)
        return self._pipeline

    def _apply_changes(self, pipeline: PipelineLike) -> None:
        wanted, applied = self._wanted, self._applied
        if wanted.variant != applied.variant:
            pipeline.set_variant(wanted.variant)
        if wanted.smoothing != applied.smoothing:
            pipeline.set_smoothing(wanted.smoothing)
        if wanted.smoothing_kind != applied.smoothing_kind:
            pipeline.set_smoothing_kind(wanted.smoothing_kind)
        if wanted.camera_model != applied.camera_model:
            pipeline.set_camera_model(wanted.camera_model)
        if wanted.hand_size != applied.hand_size:
            pipeline.set_hand_size(wanted.hand_size)
        if wanted.side != applied.side:
            pipeline.set_side(wanted.side)
        if wanted.wants_texture != applied.wants_texture:
            pipeline.set_texture(wanted.wants_texture)
        if wanted.wants_others != applied.wants_others:
            pipeline.set_compare(wanted.wants_others)
        self._applied = wanted
        if self._forgets_texture:
            self._forgets_texture = False
            pipeline.forget_texture()

    def _without_hands(self, job: Job) -> FrameResult:
        return FrameResult(frame=job.frame, variant=self._wanted.variant)

    def _answer(self, job: Job, result: FrameResult) -> None:
        answer = Answer(
            generation=job.generation,
            result=result,
            capture_rate_hz=job.capture_rate_hz,
            inference_rate_hz=self._rate.tick(time.monotonic()),
            dropped=self._mailbox.dropped,
            provider=self._pipeline.provider if self._pipeline is not None else "",
        )
        self.answered.emit(answer)

    def _report(self, message: str) -> None:
        if message != self._message:
            self._message = message
            logger.error("%s", message)
            self.error.emit(message)
