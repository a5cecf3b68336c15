"""Scenes that run in the window, and an image of each.

Each scene says what a person would do and when the window is ready to be photographed. The clip is held at a frame,
so that a scene shows the same hands each time.
"""

import logging
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from PyQt6.QtCore import QObject, QTimer, pyqtSignal
from PyQt6.QtWidgets import QWidget

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import print_result
from handviz.core.records import FrameResult
from handviz.gui.main_window import MainWindow
from handviz.gui.record.screenshot import save_image

TICK_MS, SETTLE_MS, PATIENCE_S = 50, 400, 180.0
logger = logging.getLogger(__name__)
Ready = Callable[[], bool]
Script = Generator[Ready, None, QWidget]
"""Does something, yields what to wait for, and so on; returns the widget to photograph."""


@dataclass(frozen=True)
class Scene:
    """One image."""

    name: str
    play: Callable[["Stage"], Script]


class Stage:
    """The actions of scenes on the window, and the conditions that they can wait for."""

    def __init__(self, window: MainWindow) -> None:
        self.window = window
        self.controller = window._controller
        self._painted: FrameResult | None = None
        self._count = self._paints = 0
        window.viewport.painted.connect(self._note_paint)
        window.result_painted.connect(self._note)

    def _note(self, result: FrameResult) -> None:
        self._painted = result
        self._count += 1

    def _note_paint(self) -> None:
        self._paints += 1

    def press(self, key: str) -> None:
        """Press a key: call its action."""
        for action in self.window.actions():
            if key in [sequence.toString() for sequence in action.shortcuts()]:
                action.trigger()
                return
        raise HandvizError(f"no action has the key {key}", ErrorCode.UNKNOWN_NAME)

    def new_results(self, count: int = 1) -> Ready:
        """Return a condition that holds once so many more results have been painted."""
        wanted = self._count + count
        return lambda: self._count >= wanted

    def new_paint(self) -> Ready:
        """Return a condition that holds once the view has been painted again, whatever it shows."""
        before = self._paints
        return lambda: self._paints > before

    def shows(self, number: int) -> Ready:
        """Return a condition that holds once this frame has been painted."""
        return lambda: self._painted is not None and self._painted.frame.number == number


class Photographer(QObject):
    """A runner of scenes that saves an image of each as NAME.jpg, and closes the window."""

    finished = pyqtSignal()

    def __init__(self, window: MainWindow, folder: Path, scenes: tuple[Scene, ...]) -> None:
        super().__init__(window)
        self._stage, self._folder = Stage(window), folder
        self._left = list(scenes)
        self._script: Script | None = None
        self._ready: Ready = lambda: True
        self._began_s = 0.0
        self.failures: list[str] = []
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._tick)
        self._timer.start(TICK_MS)

    def _tick(self) -> None:
        if self._script is None:
            self._begin_scene()
        elif self._ready():
            self._resume()
        elif time.monotonic() - self._began_s > PATIENCE_S:
            self._fail("did not become ready")

    def _begin_scene(self) -> None:
        if not self._left:
            self._timer.stop()
            self.finished.emit()
            self._stage.window.close()
            return
        self._script = self._left[0].play(self._stage)
        self._began_s, self._ready = time.monotonic(), lambda: True

    def _resume(self) -> None:
        assert self._script is not None
        try:
            self._ready = next(self._script)
        except StopIteration as end:
            self._photograph(end.value)
        except HandvizError as error:
            self._fail(str(error))

    def _photograph(self, widget: QWidget) -> None:
        self._timer.stop()
        QTimer.singleShot(SETTLE_MS, lambda: self._save(widget))

    def _save(self, widget: QWidget) -> None:
        self._stage.window.view_panel.numbers.refresh()
        path = self._folder / f"{self._left[0].name}.jpg"
        try:
            save_image(widget.grab().toImage(), path)
            print_result("saved %s", path)
        except HandvizError as error:
            self.failures.append(str(error))
        self._next()
        self._timer.start(TICK_MS)

    def _fail(self, why: str) -> None:
        self.failures.append(f"{self._left[0].name}: {why}")
        logger.error("%s", self.failures[-1])
        self._next()

    def _next(self) -> None:
        self._script = None
        self._left.pop(0)
