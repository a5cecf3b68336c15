"""Read the chosen source and put its newest frame into the mailbox."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue

from PyQt6.QtCore import QThread, pyqtSignal

from handviz.core.errors import HandvizError
from handviz.core.records import Frame
from handviz.gui.session.camera_probe import CameraFinder
from handviz.gui.session.messages import FrameRequest, SourceConfig, SourceInfo, SourceLength
from handviz.gui.session.rates import PlaybackClock, RateMeter
from handviz.sources.camera import CameraInfo
from handviz.sources.images import rotated_frame
from handviz.sources.mailbox import Mailbox
from handviz.sources.source import CAMERA_PREFIX, ChangingSource, InterruptibleSource, Source, list_cameras, open_source

RETRY_S = 1.0
REFRESH_S = 2.0
TAKEN_POLL_S = 0.05
"""How long a frame waits for the one before it, until requests are looked for again."""
MAX_REPORTED = 3
"""Unreadable images in a row that are reported one by one; the rest are reported together."""
logger = logging.getLogger(__name__)


class CaptureThread(QThread):
    """Thread that handles requests, and otherwise reads the next frame when it is due.

    Public methods may be called from any thread and, except ``stop``, return at once. A camera that fails is
    opened again every second, by its name, also under another number.
    """

    opened = pyqtSignal(object)
    """SourceInfo"""
    refused = pyqtSignal(int, str)
    """Generation of a source that cannot be opened, and the message; the present source goes on"""
    error = pyqtSignal(int, str)
    """Generation and message"""
    recovered = pyqtSignal(int)
    playing_changed = pyqtSignal(int, bool)
    length_changed = pyqtSignal(object)
    """SourceLength"""

    def __init__(
        self,
        mailbox: Mailbox[FrameRequest],
        opener: Callable[..., Source] = open_source,
        *,
        lister: Callable[[], list[CameraInfo]] = list_cameras,
        retry_s: float = RETRY_S,
        refresh_s: float = REFRESH_S,
    ) -> None:
        super().__init__()
        self._mailbox = mailbox
        self._opener, self._finder = opener, CameraFinder(lister)
        self._retry_s, self._refresh_s = retry_s, refresh_s
        self._requests: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._stopping = False
        self._source: Source | None = None
        self._text, self._rotation_deg, self._generation, self._jump = "", 0, 0, 0
        self._playing, self._loop, self._paused = False, True, False
        self._every_frame = False
        self._message = ""
        self._clock = PlaybackClock()
        self._retry_at_s: float | None = None
        self._changing: ChangingSource | None = None
        self._refresh_at_s = 0.0
        self._sent_count: int | None = None
        self._refresh_error = ""
        self._seek_to: int | None = None
        self._span: tuple[int, int | None] = 0, None
        self._position = -1
        self._last_frame: Frame | None = None
        self._rate = RateMeter()

    def open(self, text: str, generation: int, config: SourceConfig | None = None) -> None:
        """Change to another source; ``generation`` marks everything that comes from it.

        Files that cannot be opened leave the present source alone: ``refused``.
        """
        self._interrupt()
        self._requests.put(partial(self._open, text, generation, config or SourceConfig()))

    def set_cameras(self, cameras: Sequence[CameraInfo], named: CameraInfo | None = None) -> None:
        """Take the list of cameras; ``named`` is the one in use, if that was not known before."""
        self._requests.put(partial(self._finder.update, cameras, named))

    def rotate(self, rotation_deg: int) -> None:
        """Rotate images clockwise from the next one on; a paused frame is sent again."""
        self._requests.put(partial(self._rotate, rotation_deg))

    def set_speed(self, speed: float) -> None:
        """Set how fast clips and folders play; 1 is the original speed."""
        self._requests.put(lambda: self._clock.set_speed(speed, time.monotonic()))

    def set_playing(self, playing: bool) -> None:
        """Play or pause a clip or folder."""
        self._requests.put(partial(self._set_playing, playing))

    def set_paused(self, paused: bool) -> None:
        """Pause or resume all reading; a clip resumes where it stopped."""
        self._requests.put(partial(setattr, self, "_paused", paused))

    def set_loop(self, loop: bool) -> None:
        """Set whether a clip or folder starts again at its end."""
        self._requests.put(partial(setattr, self, "_loop", loop))

    def set_every_frame(self, every_frame: bool) -> None:
        """Let a clip wait until each frame is reconstructed, or play at its rate and skip frames for that."""
        self._requests.put(partial(setattr, self, "_every_frame", every_frame))

    def set_span(self, first: int, last: int | None) -> None:
        """Play and loop from one frame to another, both included; None: to the end. Another source has all again."""
        self._requests.put(partial(setattr, self, "_span", (first, last)))

    def seek(self, number: int) -> None:
        """Show this frame; of several waiting requests only the last is done."""
        self._interrupt()
        self._requests.put(partial(setattr, self, "_seek_to", number))

    def step(self, by: int) -> None:
        """Pause, and show the frame ``by`` further, or the last one before the end."""
        self._requests.put(partial(self._step, by))

    def repeat(self) -> None:
        """Send the paused frame again, to be processed with changed settings."""
        self._requests.put(self._repeat)

    def stop(self) -> None:
        """End the loop and wait for it; the source is closed."""
        self._stopping = True
        self._interrupt()
        self._requests.put(lambda: None)
        self.wait()

    def _interrupt(self) -> None:
        """Interrupt a long seek, so that the next request is handled at once."""
        source = self._source
        if isinstance(source, InterruptibleSource):
            source.interrupt()

    def run(self) -> None:
        """Handle requests and read frames until ``stop``."""
        while not self._stopping:
            try:
                self._run_once()
            # The outermost loop: whatever a codec or driver raises, the thread continues with the next source.
            except Exception:
                logger.exception("The source failed unexpectedly")
                self._report("The source failed unexpectedly (details in the log); open it again or another one.")
                self._close()
        self._close()

    def _run_once(self) -> None:
        request = self._next_request()
        if request is not None:
            request()
        elif self._seek_to is not None:
            number, self._seek_to = self._seek_to, None
            if not self._show(number, direction=1):
                self._show(number - 1, direction=-1, recovers=False)
        elif self._retry_at_s is not None:
            self._open_again()
        elif self._changing is not None and self._refresh_at_s <= time.monotonic():
            self._refresh(self._changing)
        elif self._source is not None and self._playing:
            self._advance(self._source)
        self._report_length()

    def _next_request(self) -> Callable[[], None] | None:
        """Wait for a request until the next frame is due."""
        try:
            return self._requests.get(timeout=self._timeout_s())
        except Empty:
            return None

    def _timeout_s(self) -> float | None:
        if self._seek_to is not None:
            return 0.0
        now_s = time.monotonic()
        if self._retry_at_s is not None:
            return max(self._retry_at_s - now_s, 0.0)
        if self._source is None or self._paused:
            return None
        if self._source.is_live:
            return 0.0
        due_s = [self._clock.due_s] if self._playing else []
        due_s += [self._refresh_at_s] if self._changing is not None else []
        return max(min(due_s) - now_s, 0.0) if due_s else None

    def _open(self, text: str, generation: int, config: SourceConfig) -> None:
        opened: Source | None = None
        if self._source is not None and not text.startswith(CAMERA_PREFIX):
            try:
                opened = self._opener(text)
            except HandvizError as error:
                logger.warning("%s", error)
                self.refused.emit(generation, str(error))
                return
        self._close()
        self._text, self._generation, self._rotation_deg = text, generation, config.rotation_deg
        self._finder.reset(text, config.camera)
        self._jump, self._position, self._last_frame, self._seek_to = 0, -1, None, None
        self._message, self._span = "", (0, None)
        self._rate.reset()
        if opened is None:
            self._open_again()
        else:
            self._use(opened)

    def _open_again(self) -> None:
        self._retry_at_s = None
        try:
            self._text = self._finder.text()
            request = self._finder.request
            source = self._opener(self._text) if request is None else self._opener(self._text, request)
        except HandvizError as error:
            self._report(str(error))
            if self._text.startswith(CAMERA_PREFIX):
                self._retry_at_s = time.monotonic() + self._retry_s
            return
        self._use(source)

    def _use(self, source: Source) -> None:
        self._source = source
        self._changing = source if isinstance(source, ChangingSource) else None
        self._refresh_at_s = time.monotonic() + self._refresh_s
        self._sent_count = source.frame_count
        info = SourceInfo(
            generation=self._generation,
            text=self._text,
            name=source.name,
            description=source.description,
            frame_count=source.frame_count,
            is_live=source.is_live,
            rotation_deg=self._rotation_deg,
            camera=self._finder.camera,
        )
        self.opened.emit(info)
        # Folders of images start paused; cameras and clips play.
        self._set_playing(source.is_live or source.nominal_fps > 2.0)
        if not self._playing:
            self._show(0, direction=1)

    def _set_playing(self, playing: bool) -> None:
        if self._source is None:
            return
        self._playing = playing or self._source.is_live
        first, last = self._span
        count = self._source.frame_count
        at_end = (count is not None and self._position + 1 >= count) or (last is not None and self._position >= last)
        if self._playing and not self._source.is_live and self._position > 0 and (at_end or self._position < first - 1):
            self._source.seek(first)
            self._jump, self._position = self._jump + 1, first - 1
        self._clock.begin(time.monotonic())
        self.playing_changed.emit(self._generation, self._playing)

    def _advance(self, source: Source) -> None:
        if self._every_frame and not source.is_live and not self._mailbox.wait_until_taken(TAKEN_POLL_S):
            return
        began_s, last = time.monotonic(), self._span[1]
        if last is not None and self._position >= last and not source.is_live:
            self._end(source)
            return
        try:
            frame = source.read()
        except HandvizError as error:
            self._report(str(error))
            self._clock.advance(None, source.nominal_fps, began_s)
            self._position += 1
            if source.is_live:
                self._close()
                self._retry_at_s = time.monotonic() + self._retry_s
            return
        self._clock.advance(frame, source.nominal_fps, began_s)
        if frame is None:
            self._end(source)
            return
        self._deliver(frame)

    def _end(self, source: Source) -> None:
        first = self._span[0]
        if self._loop and self._position > first and not source.is_live:
            source.seek(first)
            self._jump, self._position = self._jump + 1, first - 1
        else:
            self._pause()

    def _pause(self) -> None:
        self._playing = False
        self.playing_changed.emit(self._generation, False)

    def _step(self, by: int) -> None:
        source = self._source
        if source is None or source.is_live:
            return
        if self._playing:
            self._pause()
        # A seek that still waits comes first.
        start, self._seek_to = self._position if self._seek_to is None else self._seek_to, None
        number = start + by
        if abs(by) > 1:
            number = max(number if source.frame_count is None else min(number, source.frame_count - 1), 0)
        if number != self._position:
            self._show(number, direction=1 if by > 0 else -1)

    def _show(self, number: int, *, direction: int, recovers: bool = True) -> bool:
        """Show one frame out of order; unreadable frames are reported and skipped in ``direction``.

        Return False if there is none in that direction.
        """
        source, skipped, message, is_shown = self._source, 0, "", False
        if source is None or source.is_live:
            return True
        while number >= 0 and (source.frame_count is None or number < source.frame_count) and not self._stopping:
            if number != self._position + 1:
                source.seek(number)
            self._position = number
            try:
                frame = source.read()
            except HandvizError as error:
                skipped, message = skipped + 1, str(error)
                if skipped <= MAX_REPORTED:
                    self._report(message)
                number += direction
                continue
            if frame is not None:
                self._jump += 1
                # The report of skipped frames stays until the next step.
                self._deliver(frame, recovers=recovers and not skipped)
                is_shown = True
            break
        if skipped > MAX_REPORTED:
            self._report(f"{skipped} images in a row cannot be read; the last error: {message}")
        return is_shown

    def _refresh(self, source: ChangingSource) -> None:
        self._refresh_at_s = time.monotonic() + self._refresh_s
        try:
            position = source.refresh()
        except HandvizError as error:
            self._refresh_error = str(error)
            if self._refresh_error != self._message:
                self._report(self._refresh_error)
            return
        if self._refresh_error and self._refresh_error == self._message:
            self._recover()
        self._refresh_error = ""
        if position is not None:
            self._position = position
            self._report_length(always=True)

    def _report_length(self, *, always: bool = False) -> None:
        source = self._source
        if source is not None and (always or source.frame_count != self._sent_count):
            self._sent_count = source.frame_count
            length = SourceLength(self._generation, source.frame_count, self._position, source.description)
            self.length_changed.emit(length)

    def _rotate(self, rotation_deg: int) -> None:
        self._rotation_deg = rotation_deg
        self._jump += 1
        self._repeat()

    def _repeat(self) -> None:
        if self._last_frame is not None and not self._playing:
            again = replace(self._last_frame, captured_ms=time.perf_counter() * 1000)
            self._mailbox.put(self._frame_request(again, 0.0))

    def _deliver(self, frame: Frame, *, recovers: bool = True) -> None:
        if self._message and recovers:
            self._recover()
        self._last_frame, self._position = frame, frame.number
        rate_hz = self._rate.tick(time.monotonic()) if self._playing else 0.0
        self._mailbox.put(self._frame_request(frame, rate_hz))
        if frame.note:
            self._report(frame.note)

    def _frame_request(self, frame: Frame, capture_rate_hz: float) -> FrameRequest:
        return FrameRequest(self._generation, self._jump, rotated_frame(frame, self._rotation_deg), capture_rate_hz)

    def _report(self, message: str) -> None:
        # A missing camera is tried every second, but logged once.
        if message != self._message:
            logger.warning("%s", message)
        self._message = message
        self.error.emit(self._generation, message)

    def _recover(self) -> None:
        self._message = ""
        self.recovered.emit(self._generation)

    def _close(self) -> None:
        self._retry_at_s = None
        if self._source is not None:
            self._source.close()
            self._source = self._changing = None
