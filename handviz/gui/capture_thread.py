"""Reads the chosen source and leaves its newest frame in the mailbox."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue

from PyQt6.QtCore import QThread, pyqtSignal

from handviz.capture.mailbox import Mailbox
from handviz.capture.sources import Source, open_source
from handviz.errors import HandvizError
from handviz.gui.messages import Job, SourceInfo
from handviz.gui.rates import RateMeter
from handviz.records import Frame

RETRY_S = 1.0
logger = logging.getLogger(__name__)


class CaptureThread(QThread):
    """One loop: do what was asked for, else read the next frame when it is due.

    Public methods may be called from any thread and, but for ``stop``, return at once. A camera that fails is
    opened again every second.
    """

    opened = pyqtSignal(object)
    """SourceInfo"""
    trouble = pyqtSignal(int, str)
    """Generation and sentence."""
    recovered = pyqtSignal(int)
    playing_changed = pyqtSignal(int, bool)

    def __init__(
        self,
        mailbox: Mailbox[Job],
        opener: Callable[[str], Source] = open_source,
        *,
        retry_s: float = RETRY_S,
    ) -> None:
        super().__init__()
        self._mailbox = mailbox
        self._opener = opener
        self._retry_s = retry_s
        self._requests: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._stopping = False
        self._source: Source | None = None
        self._text, self._generation, self._jump = "", 0, 0
        self._playing, self._loop, self._held = False, True, False
        self._sentence = ""
        self._due_s = 0.0
        self._retry_at_s: float | None = None
        self._seek_to: int | None = None
        self._position = -1
        self._last_frame: Frame | None = None
        self._rate = RateMeter()

    def open(self, text: str, generation: int) -> None:
        """Change to another source; ``generation`` marks everything that comes from it."""
        self._requests.put(partial(self._open, text, generation))

    def set_playing(self, playing: bool) -> None:
        """Go on or hold (clips and folders)."""
        self._requests.put(partial(self._set_playing, playing))

    def set_held(self, held: bool) -> None:
        """Read nothing for now, whatever else is asked for; a clip goes on playing where it stopped."""
        self._requests.put(partial(setattr, self, "_held", held))

    def set_loop(self, loop: bool) -> None:
        """Whether a clip or folder begins again at its end."""
        self._requests.put(partial(setattr, self, "_loop", loop))

    def seek(self, number: int) -> None:
        """Show this frame; of several requests that wait only the last is done."""
        self._requests.put(partial(setattr, self, "_seek_to", number))

    def step(self, by: int) -> None:
        """Hold, and show the frame ``by`` further."""
        self._requests.put(partial(self._step, by))

    def repeat(self) -> None:
        """Send the held frame again, so that it is processed with changed settings."""
        self._requests.put(self._repeat)

    def stop(self) -> None:
        """End the loop and wait for it; the source is closed."""
        self._stopping = True
        self._requests.put(lambda: None)
        self.wait()

    def run(self) -> None:
        """The loop."""
        while not self._stopping:
            try:
                self._turn()
            # The outermost loop: whatever a codec or driver raises, the thread lives on for the next source.
            except Exception:
                logger.exception("capture failed")
                self._report("The source failed unexpectedly; the log says where. Choose it again or another one.")
                self._close()
        self._close()

    def _turn(self) -> None:
        request = self._next_request()
        if request is not None:
            request()
        elif self._seek_to is not None:
            number, self._seek_to = self._seek_to, None
            self._show(number, direction=1)
        elif self._retry_at_s is not None:
            self._open_again()
        elif self._source is not None:
            self._advance(self._source)

    def _next_request(self) -> Callable[[], None] | None:
        """Wait for a request until the next frame is due."""
        try:
            return self._requests.get(timeout=self._patience_s())
        except Empty:
            return None

    def _patience_s(self) -> float | None:
        if self._seek_to is not None:
            return 0.0
        now_s = time.monotonic()
        if self._retry_at_s is not None:
            return max(self._retry_at_s - now_s, 0.0)
        if self._source is None or not self._playing or self._held:
            return None
        return 0.0 if self._source.is_live else max(self._due_s - now_s, 0.0)

    def _open(self, text: str, generation: int) -> None:
        self._close()
        self._text, self._generation = text, generation
        self._jump, self._position, self._last_frame, self._seek_to = 0, -1, None, None
        self._sentence = ""
        self._rate.reset()
        self._open_again()

    def _open_again(self) -> None:
        self._retry_at_s = None
        try:
            source = self._opener(self._text)
        except HandvizError as error:
            self._report(str(error))
            if self._text.startswith("camera:"):
                self._retry_at_s = time.monotonic() + self._retry_s
            return
        self._source = source
        info = SourceInfo(
            generation=self._generation,
            text=self._text,
            name=source.name,
            description=source.description,
            frame_count=source.frame_count,
            is_live=source.is_live,
        )
        self.opened.emit(info)
        # Pictures wait for the person; cameras and clips run.
        self._set_playing(source.is_live or source.nominal_fps > 2.0)
        if not self._playing:
            self._show(0, direction=1)

    def _set_playing(self, playing: bool) -> None:
        if self._source is None:
            return
        self._playing = playing or self._source.is_live
        at_end = self._source.frame_count is not None and self._position + 1 >= self._source.frame_count
        if self._playing and not self._source.is_live and at_end and self._position > 0:
            self._source.seek(0)
            self._jump += 1
        self._due_s = time.monotonic()
        self.playing_changed.emit(self._generation, self._playing)

    def _advance(self, source: Source) -> None:
        self._due_s = max(self._due_s + 1 / source.nominal_fps, time.monotonic())
        try:
            frame = source.read()
        except HandvizError as error:
            self._report(str(error))
            self._position += 1
            if source.is_live:
                self._close()
                self._retry_at_s = time.monotonic() + self._retry_s
            return
        if frame is None:
            self._end(source)
            return
        self._deliver(frame)

    def _end(self, source: Source) -> None:
        if self._loop and self._position > 0 and not source.is_live:
            source.seek(0)
            self._jump, self._position = self._jump + 1, -1
        else:
            self._set_held()

    def _set_held(self) -> None:
        self._playing = False
        self.playing_changed.emit(self._generation, False)

    def _step(self, by: int) -> None:
        if self._source is None or self._source.is_live:
            return
        if self._playing:
            self._set_held()
        self._show(self._position + by, direction=1 if by > 0 else -1)

    def _show(self, number: int, *, direction: int) -> None:
        """Read one frame out of turn; frames that cannot be read are named and passed in ``direction``."""
        source = self._source
        if source is None or source.is_live:
            return
        count, was_readable = source.frame_count, True
        while number >= 0 and (count is None or number < count) and not self._stopping:
            if number != self._position + 1:
                source.seek(number)
            self._position = number
            try:
                frame = source.read()
            except HandvizError as error:
                self._report(str(error))
                was_readable = False
                number += direction
                continue
            if frame is not None:
                self._jump += 1
                # What was passed on the way here stays named until the person goes on.
                self._deliver(frame, recovers=was_readable)
            return

    def _repeat(self) -> None:
        if self._last_frame is not None and not self._playing:
            again = replace(self._last_frame, captured_ms=time.perf_counter() * 1000)
            self._mailbox.put(self._job(again, 0.0))

    def _deliver(self, frame: Frame, *, recovers: bool = True) -> None:
        if self._sentence and recovers:
            self._sentence = ""
            self.recovered.emit(self._generation)
        self._last_frame, self._position = frame, frame.number
        rate_hz = self._rate.tick(time.monotonic()) if self._playing else 0.0
        self._mailbox.put(self._job(frame, rate_hz))

    def _job(self, frame: Frame, capture_rate_hz: float) -> Job:
        return Job(self._generation, self._jump, frame, capture_rate_hz)

    def _report(self, sentence: str) -> None:
        # A camera that stays away is tried every second, but once is enough in the log.
        if sentence != self._sentence:
            logger.warning("%s", sentence)
        self._sentence = sentence
        self.trouble.emit(self._generation, sentence)

    def _close(self) -> None:
        self._retry_at_s = None
        if self._source is not None:
            self._source.close()
            self._source = None
