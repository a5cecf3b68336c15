"""Recording: its task, its controls, and its indicator in the view."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Condition
from typing import TYPE_CHECKING

from PyQt6.QtCore import QEvent, QObject, QStandardPaths, Qt
from PyQt6.QtWidgets import QFileDialog, QLabel

from handviz.gui.record.output_panel import OutputPanel
from handviz.gui.record.screenshot import timed_name
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.session.tasks import Task, attempt
from handviz.gui.view.viewport import Viewport
from handviz.gui.widgets.shortcuts import Feature, Shortcut
from handviz.io.recording.timed_results import TimedResult, ViewImage, timed_result_of

if TYPE_CHECKING:
    from handviz.io.recording.recording import Recording

MAX_IMAGES, MAX_RESULTS = 8, 300
"""Maximum lengths of the queues to be written; what exceeds them is lost, and counted."""
WAIT_S, PROGRESS_S = 0.1, 0.5
FAILURE = "The recording failed unexpectedly"
RECORDING_FOLDER = "recording_folder"
LAST_RECORDING = "last_recording"
VIDEO_RATE_HZ = 30.0
SIGN_MARGIN_PX = 50
"""Leaves room below for the line about the camera."""
RED = "#ff5b4d"


@dataclass(frozen=True)
class Progress:
    """State of a recording while it runs, and at its end."""

    folder: Path
    duration_s: float
    size_bytes: int
    results: int
    results_lost: int
    images_lost: int
    error: str = ""
    """Why it ended, if the user did not end it."""


class RecordingTask(Task):
    """Thread that writes one recording, so that neither disk nor encoder blocks the window.

    ``take_…`` may be called from any thread and return at once. It reports a Progress now and then, and returns the
    last one, whatever fails.
    """

    def __init__(self, make: "Callable[[], Recording]", folder: Path) -> None:
        """``make`` opens the recording, in this thread."""
        super().__init__(FAILURE)
        self._make, self.folder = make, folder
        self._start_s = time.perf_counter()
        self._waiting = Condition()
        self._results: deque[tuple[float, TimedResult]] = deque()
        self._images: deque[tuple[float, ViewImage]] = deque()
        self._results_lost = self._images_lost = 0
        self._stopping = False

    @property
    def wants_image(self) -> bool:
        """Whether the queue has room for one more image."""
        return len(self._images) < MAX_IMAGES

    @property
    def is_ending(self) -> bool:
        """Whether the recording is being ended and takes nothing more."""
        return self._stopping

    def take_result(self, timed_result: TimedResult) -> None:
        """Queue a result."""
        with self._waiting:
            if self._stopping:
                return
            if len(self._results) < MAX_RESULTS:
                self._results.append((self._now_s(), timed_result))
                self._waiting.notify()
            else:
                self._results_lost += 1

    def take_image(self, image: ViewImage) -> None:
        """Queue an image of the video, shown from now on."""
        with self._waiting:
            if self._stopping:
                return
            self._images.append((self._now_s(), image))
            self._waiting.notify()

    def lose_image(self) -> None:
        """Count an image for which there was no room."""
        self._images_lost += 1

    def stop(self) -> None:
        """Write the queues, close the files and wait for that."""
        self.finish()
        super().stop()

    def finish(self) -> None:
        """Stop without waiting; ``done`` reports the end."""
        with self._waiting:
            self._stopping = True
            self._waiting.notify()

    def record(self) -> Progress:
        """Open, write until stopped or until an error, close; for ``begin``."""
        recording, error = attempt(self._make, FAILURE)
        if recording is not None:
            # Files are closed whatever the encoder or the disk does.
            _, error = attempt(partial(self._write, recording), FAILURE)
        self._stopping = True
        return self._closed(recording, error)

    def _write(self, recording: "Recording") -> None:
        reported_s = 0.0
        while not self._stopping or self._results or self._images:
            with self._waiting:
                if not (self._results or self._images or self._stopping):
                    self._waiting.wait(WAIT_S)
                results, images = list(self._results), list(self._images)
                self._results.clear()
            for at_s, timed_result in results:
                recording.add_result(timed_result, at_s)
            for at_s, image in images:
                recording.add_image(image, at_s)
                # One by one, so that those being encoded count as queued.
                self._images.popleft()
            if not images:
                recording.extend_until(self._now_s() - WAIT_S)
            if self._now_s() - reported_s > PROGRESS_S:
                reported_s = self._now_s()
                recording.check_room()
                self.report(self.progressed, self._progress(recording))

    def _closed(self, recording: "Recording | None", error: str) -> Progress:
        if recording is None:
            return Progress(self.folder, 0.0, 0, 0, 0, 0, error)
        recording.counts.results_lost += self._results_lost
        recording.counts.images_lost += self._images_lost
        _, why = attempt(recording.close, "The recording could not be ended")
        return self._progress(recording, error or why)

    def _progress(self, recording: "Recording", error: str = "") -> Progress:
        return Progress(
            folder=recording.folder,
            duration_s=recording.duration_s,
            size_bytes=recording.size_bytes,
            results=recording.counts.results,
            results_lost=self._results_lost,
            images_lost=self._images_lost,
            error=error,
        )

    def _now_s(self) -> float:
        return time.perf_counter() - self._start_s


class RecordingSign(QLabel):
    """A red dot with time and size, low in the centre of the view, clear of legend, banner and camera line."""

    def __init__(self, viewport: Viewport) -> None:
        super().__init__(viewport)
        self.setObjectName("recording")
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setStyleSheet(
            "QLabel { background: rgba(16, 19, 23, 215); color: #ffffff; border-radius: 5px; padding: 5px 10px; }"
        )
        self.hide()
        viewport.installEventFilter(self)

    def show_text(self, text: str) -> None:
        """Show the dot with this text; an empty text hides it."""
        self.setText(f'<span style="color: {RED}">●</span>&nbsp; {text}')
        self.setVisible(bool(text))
        self._update_position()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Keep the position when the view is resized."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self._update_position()
        return super().eventFilter(watched, event)

    def _update_position(self) -> None:
        parent = self.parentWidget()
        if parent is not None:
            self.adjustSize()
            left, top = (parent.width() - self.width()) // 2, parent.height() - self.height() - SIGN_MARGIN_PX
            self.move(max(left, 0), max(top, 0))


NOTHING_TO_RECORD = "There is nothing to record: open a camera, clip or folder first."


class Recorder(Feature):
    """Controls of recordings, one at a time, each in a folder of its own."""

    def __init__(self, controller: Controller, viewport: Viewport, panel: OutputPanel) -> None:
        super().__init__()
        self._controller, self._viewport, self._panel = controller, viewport, panel
        self._task: RecordingTask | None = None
        self._next_image_s = 0.0
        self.sign = RecordingSign(viewport)
        panel.record.clicked.connect(self.toggle)
        panel.record_folder.clicked.connect(self.choose_folder)
        controller.answered.connect(self._take_answer)
        viewport.image_taker = self

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the menu entries for recording and its folder."""
        return (
            Shortcut(("Ctrl+Shift+R",), "Start / stop recording", self.toggle, menu="File"),
            Shortcut((), "Folder for recordings…", self.choose_folder, menu="File"),
        )

    @property
    def is_recording(self) -> bool:
        """Whether a recording runs or is being ended."""
        return self._task is not None

    def toggle(self) -> None:
        """Start a recording, or stop the running one."""
        if self._task is None:
            self._start()
        else:
            self._task.finish()
            self._panel.show_recording(False, "Finishing files…")

    def choose_folder(self) -> None:
        """Ask for the folder of future recordings."""
        chosen = QFileDialog.getExistingDirectory(self._viewport, "Folder for recordings", str(self._parent_folder()))
        if chosen:
            self._controller.store.save_text(RECORDING_FOLDER, chosen)
            self._controller.notify(f"Folder for recordings: {chosen}")

    def stop(self) -> None:
        """Stop the recording and wait until its files are complete."""
        task, self._task = self._task, None
        if task is not None:
            task.stop()
            self._controller.store.save_text(LAST_RECORDING, str(task.folder))

    def wants_image(self) -> bool:
        """Return whether the video's next frame is due and the queue has room for it."""
        task, now_s = self._task, time.perf_counter()
        if task is None or task.is_ending or now_s < self._next_image_s:
            return False
        # Counted from the last due time, so that late paints do not add up.
        self._next_image_s = max(self._next_image_s + 1 / VIDEO_RATE_HZ, now_s + 0.5 / VIDEO_RATE_HZ)
        if not task.wants_image:
            task.lose_image()
            return False
        return True

    def take_image(self, pixels: bytes, size: tuple[int, int]) -> None:
        """Queue the view as it was just painted."""
        if self._task is not None:
            self._task.take_image(ViewImage(pixels, size))

    def _start(self) -> None:
        if not self._controller.has_source:
            self._panel.show_recording(False, "", "")
            self._controller.notify(NOTHING_TO_RECORD)
            return
        folder = free_folder(self._parent_folder(), timed_name("handviz", datetime.now()))
        task = RecordingTask(partial(_open_recording, folder), folder)
        task.progressed.connect(self._show_progress)
        task.done.connect(self._show_end)
        task.failed.connect(lambda message: self._show_end(Progress(folder, 0.0, 0, 0, 0, 0, message)))
        self._task, self._next_image_s = task, 0.0
        task.begin(task.record)
        self._panel.show_recording(True, "", str(folder))
        self.sign.show_text("0:00")
        self._controller.notify(f"Recording to {folder}")
        self._viewport.update()

    def _parent_folder(self) -> Path:
        saved = self._controller.store.text(RECORDING_FOLDER)
        default = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.MoviesLocation)
        return Path(saved or default or Path.home())

    def _take_answer(self, answer: Answer) -> None:
        source = self._controller.source
        if self._task is not None and source is not None:
            self._task.take_result(timed_result_of(answer.result, source.short_text))

    def _show_progress(self, progress: Progress) -> None:
        if self._task is not None and not self._task.is_ending:
            self.sign.show_text(f"{clock_text(progress.duration_s)} &nbsp; {size_text(progress.size_bytes)}")
            self._panel.show_recording(True, _summary(progress), str(progress.folder))

    def _show_end(self, progress: Progress) -> None:
        assert self._task is not None
        self._task.stop()
        self._task = None
        self.sign.show_text("")
        if progress.results or progress.size_bytes:
            self._controller.store.save_text(LAST_RECORDING, str(progress.folder))
        if progress.error:
            stays = progress.size_bytes and progress.folder.is_dir()
            saved = f" Saved so far: {_summary(progress)} in {progress.folder}." if stays else ""
            message = f"The recording has stopped. {progress.error}{saved}"
            self.sign.show_text(f"Recording stopped {datetime.now():%H:%M}")
            self._controller.warn(message)
        else:
            message = f"Recorded {_summary(progress)}: {progress.folder}"
            self._controller.report_saved(message, progress.folder)
        self._panel.show_recording(False, progress.error or _summary(progress), str(progress.folder))


def free_folder(parent: Path, stem: str) -> Path:
    """Return a folder of this name that does not exist yet."""
    folder, number = parent / stem, 1
    while folder.exists():
        number += 1
        folder = parent / f"{stem}_{number}"
    return folder


def _open_recording(folder: Path) -> "Recording":
    # Imported in the thread, because it loads OpenCV.
    from handviz.io.recording.recording import Recording

    return Recording(folder)


def _summary(progress: Progress) -> str:
    """Return duration, number of frames, size, and what was lost."""
    parts = [clock_text(progress.duration_s), f"{progress.results} frames", size_text(progress.size_bytes)]
    if progress.results_lost:
        parts.append(f"{progress.results_lost} frames lost because the disk was too slow")
    if progress.images_lost:
        parts.append(f"{progress.images_lost} video frames skipped")
    return ", ".join(parts)


def clock_text(duration_s: float) -> str:
    """Format a duration as m:ss, or h:mm:ss from one hour on."""
    minutes, seconds = divmod(int(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def size_text(size_bytes: int) -> str:
    """Format a size in MB or GB."""
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"
