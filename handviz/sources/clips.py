"""Clips: frames of a video file or of an animated image, by number and with their times."""

import logging
from pathlib import Path
from threading import RLock

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Frame
from handviz.sources.images import now_ms
from handviz.sources.readers import OpenCvReader, Reader

NEAR_FRAMES = 8
"""So few frames are skipped faster than by a jump."""
logger = logging.getLogger(__name__)


class ClipSource:
    """Frames of a clip, in order; every method may be called from any thread."""

    is_live = False

    def __init__(self, path: Path, reader: Reader | None = None) -> None:
        self.name, self._lock, self._next = path.name, RLock(), 0
        self._is_interrupted = self._is_closed = self._is_spent = False
        self._reader = reader or opened(path)
        self._frames = self._reader.frames(0, lambda: self._is_interrupted)
        try:
            self._waiting = next(self._frames, None)
            if self._waiting is None:
                raise HandvizError(f"{path}: the clip has no frames that can be read", ErrorCode.EMPTY_INPUT)
            height, width = self._waiting.image().shape[:2]
        except HandvizError:
            self.close()
            raise
        self.nominal_fps = self._reader.fps
        rate = f"{self.nominal_fps:.3g} fps" if self._reader.has_constant_rate else "variable rate"
        self.description = f"{path.name}: {width}x{height}, {rate}"

    @property
    def frame_count(self) -> int | None:
        """The number of frames, which reading to the end may correct."""
        return self._reader.count and max(self._reader.count, self._next)

    def read(self) -> Frame | None:
        """Return the next frame, None at the end; HandvizError if it is damaged (the next call continues)."""
        with self._lock:
            shown = None if self._is_closed else self._waiting or next(self._frames, None)
            self._waiting, self._is_spent = None, shown is None
            if shown is None:
                return None
            self._next = shown.number + 1
            return Frame(number=shown.number, image=shown.image(), captured_ms=now_ms(), time_ms=shown.time_ms)

    def seek(self, number: int) -> None:
        """Go to a frame; numbers outside are clamped."""
        with self._lock:
            self._is_interrupted = self._is_closed
            number = max(number, 0)
            while not self._is_interrupted and not self._reach(number) and number > 0:
                number = min(number, self.frame_count or 1) - 1  # the clip is shorter than its header states

    def interrupt(self) -> None:
        """End a long ``seek``, from any thread: the next frame is one on the way, with its correct number."""
        self._is_interrupted = True

    def close(self) -> None:
        """Close the file; ``read`` then returns None."""
        self._is_interrupted = self._is_closed = True
        with self._lock:
            self._waiting = None
            self._frames.close()  # before the file: FFmpeg would read from what is gone
            self._reader.close()

    def _reach(self, number: int) -> bool:
        if self._is_spent or not 0 <= number - self._next <= NEAR_FRAMES:
            self._frames.close()
            self._frames, self._waiting = self._reader.frames(number, lambda: self._is_interrupted), None
            self._is_spent = False
        while self._waiting is None or (self._waiting.number < number and not self._is_interrupted):
            self._waiting = next(self._frames, None)
            self._is_spent = self._waiting is None
            if self._waiting is None:
                return False
            self._next = self._waiting.number
        return True


def opened(path: Path) -> Reader:
    """Open a video file by PyAV, or by OpenCV where that is not installed; HandvizError with the reason if it fails."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        # OpenCV 5.0 aborts the process at such a name.
        message = f"{str(path)!a}: the name is not valid Unicode, rename the file"
        raise HandvizError(message, ErrorCode.FILE_UNREADABLE) from error
    try:
        from handviz.sources.pyav_reader import PyavReader
    except ImportError:
        logger.warning("PyAV is missing (pip install av): OpenCV reads %s, and jumps take longer", path.name)
        return OpenCvReader(path)
    return PyavReader(path)
