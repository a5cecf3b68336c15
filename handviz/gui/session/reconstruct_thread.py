"""Run the pipeline on frames from the mailbox and send the results to the window."""

import logging
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Protocol

from PyQt6.QtCore import QThread, pyqtSignal

from handviz.core.records import Frame, FrameResult, ModelId
from handviz.gui.session.messages import Answer, FrameRequest
from handviz.gui.session.rates import RateMeter
from handviz.gui.session.tasks import attempt, lower_priority
from handviz.pipeline.settings import PipelineSettings
from handviz.sources.mailbox import Mailbox

POLL_S = 0.5
logger = logging.getLogger(__name__)


class PipelineLike(Protocol):
    """Interface of ``handviz.pipeline.pipeline.Pipeline`` as this thread uses it."""

    @property
    def provider(self) -> str:
        """The execution provider in use."""
        ...

    def process(self, frame: Frame) -> FrameResult:
        """Reconstruct the hands of a frame."""
        ...

    def apply(self, settings: PipelineSettings, /) -> None:
        """Use these settings from the next frame on."""
        ...

    def forget_texture(self) -> None:
        """Discard the colours of earlier frames."""
        ...

    def flip_hand(self, track_id: int, /) -> None:
        """Give one hand the other side from the next frame on."""
        ...

    def hide_hand(self, track_id: int, /) -> None:
        """Leave one hand out from the next frame on."""
        ...

    def show_all_hands(self) -> None:
        """Show hidden hands again from the next frame on."""
        ...

    def reset(self, *, video: bool | None = None, same_hands: bool = False) -> None:
        """Expect a discontinuity; ``video`` states whether the frames after it are consecutive."""
        ...

    def close(self) -> None:
        """Free all resources."""
        ...


PipelineMaker = Callable[[PipelineSettings], PipelineLike]


class ReconstructThread(QThread):
    """Thread in which the pipeline is made, used and closed."""

    answered = pyqtSignal(object)
    """Answer"""
    error = pyqtSignal(str)
    recovered = pyqtSignal()

    def __init__(
        self, mailbox: Mailbox[FrameRequest], make_pipeline: PipelineMaker, settings: PipelineSettings
    ) -> None:
        super().__init__()
        self._mailbox = mailbox
        self._make_pipeline = make_pipeline
        self._wanted = settings
        self._applied = settings
        self._pipeline: PipelineLike | None = None
        self._tried_for: tuple[int, ModelId] | None = None
        self._position: tuple[int, int] | None = None
        self._forgets_texture = False
        self._requests: SimpleQueue[Callable[[PipelineLike], None]] = SimpleQueue()
        self._message = ""
        self._rate = RateMeter()

    def apply(self, settings: PipelineSettings) -> None:
        """Use these settings from the next frame on (any thread)."""
        self._wanted = settings

    def forget_texture(self) -> None:
        """Discard the colours of earlier frames before the next one (any thread)."""
        self._forgets_texture = True

    def flip_hand(self, track_id: int) -> None:
        """Give one hand the other side before the next frame (any thread)."""
        self._requests.put(lambda pipeline: pipeline.flip_hand(track_id))

    def hide_hand(self, track_id: int) -> None:
        """Leave one hand out before the next frame (any thread)."""
        self._requests.put(lambda pipeline: pipeline.hide_hand(track_id))

    def show_all_hands(self) -> None:
        """Show hidden hands again before the next frame (any thread)."""
        self._requests.put(lambda pipeline: pipeline.show_all_hands())

    def stop(self) -> None:
        """Close the mailbox, end the loop and wait for it."""
        self._mailbox.close()
        self.wait()

    def run(self) -> None:
        """Reconstruct frames until the mailbox is closed."""
        lower_priority(self)
        while not self._mailbox.closed:
            request = self._mailbox.get(POLL_S)
            if request is None:
                continue
            # A frame that fails must not end the thread.
            result, message = attempt(partial(self._result, request), "This frame could not be reconstructed")
            if message:
                self._report(message)
            self._answer(request, result or self._without_hands(request, message))
            # Free the image while waiting for the next one.
            del request, result
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None

    def _result(self, request: FrameRequest) -> FrameResult:
        pipeline = self._ready_pipeline(request)
        if pipeline is None:
            return self._without_hands(request, self._message)
        self._apply_changes(pipeline)
        self._follow(pipeline, request)
        result = pipeline.process(request.frame)
        # If a model cannot be used, the previous one stays, and so does the message until another is chosen.
        if message := result.failure or result.error:
            self._report(message)
        elif self._message and result.model == self._applied.model:
            self._message = ""
            self.recovered.emit()
        return result

    def _follow(self, pipeline: PipelineLike, request: FrameRequest) -> None:
        """Report discontinuities to the pipeline; images of a folder are never consecutive."""
        are_images = bool(request.frame.name)
        position = (request.generation, 0 if are_images else request.jump)
        if position != self._position and (self._position is not None or are_images):
            is_jump = self._position is not None and self._position[0] == request.generation
            pipeline.reset(video=not are_images, same_hands=is_jump)
        self._position = position

    def _ready_pipeline(self, request: FrameRequest) -> PipelineLike | None:
        """Return the pipeline; if it cannot be made, try again with another source or model only."""
        wanted = self._wanted
        if self._pipeline is None and self._tried_for != (request.generation, wanted.model):
            self._tried_for = request.generation, wanted.model
            self._applied = wanted
            self._pipeline = self._make_pipeline(self._applied)
        return self._pipeline

    def _apply_changes(self, pipeline: PipelineLike) -> None:
        wanted = self._wanted
        if wanted != self._applied:
            self._applied = wanted
            pipeline.apply(wanted)
        if self._forgets_texture:
            self._forgets_texture = False
            pipeline.forget_texture()
        while not self._requests.empty():
            self._requests.get()(pipeline)

    def _without_hands(self, request: FrameRequest, failure: str) -> FrameResult:
        return FrameResult(frame=request.frame, failure=failure, model=self._wanted.model)

    def _answer(self, request: FrameRequest, result: FrameResult) -> None:
        answer = Answer(
            generation=request.generation,
            result=result,
            capture_rate_hz=request.capture_rate_hz,
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
