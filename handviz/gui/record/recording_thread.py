"""Writes a recording beside the window, so that no disk and no encoder ever holds the window up."""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Condition
from typing import TYPE_CHECKING

from PyQt6.QtCore import QThread, pyqtSignal

from handviz.core.errors import HandvizError
from handviz.io.recording.moments import Moment, ViewPicture

if TYPE_CHECKING:
    from handviz.io.recording.recording import Recording

MOST_PICTURES, MOST_RESULTS = 8, 300
"""That wait to be written; what comes on top is lost, and counted."""
TURN_S, PROGRESS_S = 0.1, 0.5
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """What a recording says of itself while it runs, and once more when it has ended."""

    folder: Path
    duration_s: float
    size_bytes: int
    results: int
    results_lost: int
    pictures_lost: int
    trouble: str = ""
    """Why it ended, if nobody asked it to."""


class RecordingThread(QThread):
    """One recording from its first to its last file; ``take_…`` may be called from any thread and return at once."""

    progressed = pyqtSignal(object)
    """Progress"""
    ended = pyqtSignal(object)
    """Progress, the last one"""

    def __init__(self, make: "Callable[[], Recording]", folder: Path) -> None:
        """``make`` opens the recording, in this thread."""
        super().__init__()
        self._make, self.folder = make, folder
        self._start_s = time.perf_counter()
        self._waiting = Condition()
        self._results: deque[tuple[float, Moment]] = deque()
        self._pictures: deque[tuple[float, ViewPicture]] = deque()
        self._results_lost = self._pictures_lost = 0
        self._stopping = False

    @property
    def wants_picture(self) -> bool:
        """Whether there is room for one more picture."""
        return len(self._pictures) < MOST_PICTURES

    @property
    def is_ending(self) -> bool:
        """Whether what comes now no longer belongs to the recording."""
        return self._stopping

    def take_result(self, moment: Moment) -> None:
        """Have it written."""
        with self._waiting:
            if self._stopping:
                return
            if len(self._results) < MOST_RESULTS:
                self._results.append((self._now_s(), moment))
                self._waiting.notify()
            else:
                self._results_lost += 1

    def take_picture(self, picture: ViewPicture) -> None:
        """Have it shown from now on."""
        with self._waiting:
            if self._stopping:
                return
            self._pictures.append((self._now_s(), picture))
            self._waiting.notify()

    def lose_picture(self) -> None:
        """Count a picture for which there was no room."""
        self._pictures_lost += 1

    def stop(self) -> None:
        """Write what waits, end the files and wait for that."""
        self.finish()
        self.wait()

    def finish(self) -> None:
        """As ``stop``, but do not wait; ``ended`` tells."""
        with self._waiting:
            self._stopping = True
            self._waiting.notify()

    def run(self) -> None:
        """Open, write until told to stop or until it no longer works, close."""
        recording, trouble = None, ""
        try:
            recording = self._make()
            self._write(recording)
        except HandvizError as error:
            trouble = str(error)
        # The thread's outermost place: whatever an encoder or a disk does, the person hears of it.
        except Exception as error:
            logger.exception("recording failed")
            trouble = f"The recording failed unexpectedly ({error}); the log says where."
        self._stopping = True
        self.ended.emit(self._closed(recording, trouble))

    def _write(self, recording: "Recording") -> None:
        told_s = 0.0
        while not self._stopping or self._results or self._pictures:
            with self._waiting:
                if not (self._results or self._pictures or self._stopping):
                    self._waiting.wait(TURN_S)
                results, pictures = list(self._results), list(self._pictures)
                self._results.clear()
            for at_s, moment in results:
                recording.add_result(moment, at_s)
            for at_s, picture in pictures:
                recording.add_picture(picture, at_s)
                # One by one, so that those being encoded count as waiting.
                self._pictures.popleft()
            if not pictures:
                recording.go_on_until(self._now_s() - TURN_S)
            if self._now_s() - told_s > PROGRESS_S:
                told_s = self._now_s()
                recording.check_room()
                self.progressed.emit(self._progress(recording))

    def _closed(self, recording: "Recording | None", trouble: str) -> Progress:
        if recording is None:
            return Progress(self.folder, 0.0, 0, 0, 0, 0, trouble)
        try:
            recording.counts.results_lost += self._results_lost
            recording.counts.pictures_lost += self._pictures_lost
            recording.close()
        except HandvizError as error:
            trouble = trouble or str(error)
        # As in ``run``: without its last word the window would take the recording for one that goes on.
        except Exception as error:
            logger.exception("recording cannot be ended")
            trouble = trouble or f"The recording could not be ended ({error}); the log says where."
        return self._progress(recording, trouble)

    def _progress(self, recording: "Recording", trouble: str = "") -> Progress:
        return Progress(
            folder=recording.folder,
            duration_s=recording.duration_s,
            size_bytes=recording.size_bytes,
            results=recording.counts.results,
            results_lost=self._results_lost,
            pictures_lost=self._pictures_lost,
            trouble=trouble,
        )

    def _now_s(self) -> float:
        return time.perf_counter() - self._start_s
