"""Measure start, response times and growth of the window while it plays a source, and times of the Python API.

``python -m tools.measure startup | latency | soak [--minutes N] [options of app.py]``, ``python -m tools.measure api``
"""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from PyQt6.QtCore import QObject, QTimer
from PyQt6.QtGui import QOpenGLContext

import tools
from handviz.core.arguments import Option
from handviz.core.output import print_result
from handviz.core.process import resident_megabytes
from handviz.gui import app
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from tools import lateness, measure_api, measure_start, soak
from tools.gl_census import count_objects
from tools.lateness import LatenessMeter

Measurement = Literal["startup", "latency", "soak", "api"]
DEFAULT_MINUTES: dict[Measurement, float] = {"startup": 0.0, "latency": 1.0, "soak": 30.0, "api": 0.0}
STARTS = 5
WARM_UP_MS, SAMPLE_MS, SWITCH_MS = 5_000, 10_000, 7_000
SCENES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("uncertainty, overlay", {"colour": "uncertainty", "view": "overlay"}),
    ("texture, overlay", {"colour": "texture", "view": "overlay"}),
    ("uncertainty, 3D view", {"colour": "uncertainty", "view": "orbit"}),
)
SWITCHES: tuple[dict[str, Any], ...] = (
    {"model": "prior"},
    {"colour": "texture"},
    {"view": "orbit"},
    {"smoothing_kind": "one_euro"},
    {"model": "amvur", "skeleton": True},
    {"colour": "plain", "relight": True},
    {"view": "overlay", "wireframe": True},
    {"model": "final", "smoothing_kind": "kalman"},
    {"colour": "uncertainty", "skeleton": False, "wireframe": False, "relight": False},
)
Report = Callable[[str], None]


class StartWatch(QObject):
    """A timer of the stages from the shown window to the first painted hands, where it closes the window."""

    def __init__(self, window: MainWindow, controller: Controller, report: Report) -> None:
        super().__init__(window)
        self._window, self._report = window, report
        controller.source_opened.connect(lambda _: measure_start.note("source opened"))
        controller.answered.connect(self._see_answer)
        window.result_painted.connect(self._see_painted)

    def _see_answer(self, answer: Answer) -> None:
        measure_start.note("first frame reconstructed" if answer.result.hands else "first frame without hands")

    def _see_painted(self, result: Any) -> None:
        if not result.hands:
            return
        measure_start.note("first hands painted")
        for line in measure_start.lines():
            self._report(line)
        # Not inside the paint: closing frees what is being drawn.
        QTimer.singleShot(0, self._window.close)


class LatencyRun(QObject):
    """A sequence of scenes whose waits are reported; then the window closes."""

    def __init__(self, window: MainWindow, controller: Controller, minutes: float, report: Report) -> None:
        super().__init__(window)
        self._window, self._controller, self._report = window, controller, report
        self._scene_ms = round(minutes * 60_000 / len(SCENES))
        self._scenes: Iterator[tuple[str, dict[str, Any]]] = iter(SCENES)
        self._name = ""
        self.meter = LatenessMeter(self)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._resume)
        self._step = self._next_scene
        _at_first_hands(window, self._next_scene)

    def _resume(self) -> None:
        self._step()

    def _next_scene(self) -> None:
        scene = next(self._scenes, None)
        if scene is None:
            self._window.close()
            return
        self._name, changes = scene
        self._controller.change(**changes)
        self._then(self._begin, min(WARM_UP_MS, self._scene_ms))

    def _begin(self) -> None:
        self.meter.start()
        self._then(self._end, self._scene_ms)

    def _end(self) -> None:
        self.meter.stop()
        self._report(lateness.report(self._name, self.meter.late_ms))
        self._next_scene()

    def _then(self, step: Callable[[], None], after_ms: int) -> None:
        self._step = step
        self._timer.start(after_ms)


class FailureLog(logging.Handler):
    """The warnings and errors of a run: each frame and each request that fails is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.failures: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self.failures.append(record.getMessage())


class SoakRun(QObject):
    """A long run that samples and switches settings, reports, and closes the window."""

    def __init__(
        self, window: MainWindow, controller: Controller, minutes: float, report: Report, *, sample_ms: int = SAMPLE_MS
    ) -> None:
        super().__init__(window)
        self._window, self._controller, self._report = window, controller, report
        self._until_s, self._minutes = 0.0, minutes
        self._began_s = 0.0
        self._switches = cycle(SWITCHES)
        self._results = 0
        self.samples: list[soak.Sample] = []
        self.has_failed = True
        """Whether something grew or a frame failed; also while the run has not come to its end."""
        self._log = FailureLog()
        logging.getLogger("handviz").addHandler(self._log)
        self._sampler, self._switcher = QTimer(self), QTimer(self)
        self._sampler.setInterval(sample_ms)
        self._sampler.timeout.connect(self._sample)
        self._switcher.setInterval(min(SWITCH_MS, sample_ms))
        self._switcher.timeout.connect(lambda: controller.change(**next(self._switches)))
        window.result_painted.connect(self._count)
        _at_first_hands(window, self._begin)

    def _begin(self) -> None:
        self._began_s = time.monotonic()
        self._sampler.start()
        self._switcher.start()

    def _count(self, _: object) -> None:
        self._results += 1

    def _sample(self) -> None:
        at_s = time.monotonic() - self._began_s
        sample = soak.take_sample(at_s, resident_megabytes(), _gl_objects(self._window))
        self.samples.append(sample)
        self._report(
            f"{at_s / 60:6.1f} min {sample.memory_mb:8.1f} MB {sample.threads:4d} threads "
            f"{sample.gl_objects:5d} GL objects {sample.python_blocks:8d} blocks {self._results:7d} results"
        )
        if at_s >= self._minutes * 60 and len(self.samples) >= soak.MIN_SAMPLES:
            self._end()

    def _end(self) -> None:
        logging.getLogger("handviz").removeHandler(self._log)
        self._sampler.stop()
        self._switcher.stop()
        found = soak.growths(self.samples)
        self.has_failed = soak.has_grown(found) or bool(self._log.failures)
        for line in soak.report(found, self._log.failures):
            self._report(line)
        self._window.close()


def begin(
    kind: Measurement, window: MainWindow, controller: Controller, minutes: float | None, report: Report = print_result
) -> QObject:
    """Make the window measure itself once it runs; keep a reference to what this returns."""
    length = DEFAULT_MINUTES[kind] if minutes is None else minutes
    if kind == "startup":
        return StartWatch(window, controller, report)
    return (LatencyRun if kind == "latency" else SoakRun)(window, controller, length, report)


def _at_first_hands(window: MainWindow, action: Callable[[], None]) -> None:
    """Call a function once, after the first paint that shows hands."""

    def see(result: Any) -> None:
        if result.hands:
            window.result_painted.disconnect(see)
            QTimer.singleShot(0, action)

    window.result_painted.connect(see)


def _gl_objects(window: MainWindow) -> int:
    viewport = window.viewport
    viewport.makeCurrent()
    context = QOpenGLContext.currentContext()
    count = count_objects(context) if context is not None else 0
    viewport.doneCurrent()
    return count


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to measure, and the options of the window."""

    kind: Annotated[Measurement, Option(is_positional=True, metavar=f"{{{','.join(get_args(Measurement))}}}")]
    """Seconds to the first hands, waits, growth, or the API."""
    minutes: Annotated[float | None, Option(metavar="N")] = None
    """Length of the run; without it 1 for latency, 30 for soak."""
    window: app.WindowArguments = field(default_factory=app.WindowArguments)


def run(arguments: Arguments) -> int:
    """Run the window, or several windows one after the other for the start, and report; 1 if a soak found a defect."""
    if arguments.kind == "api":
        measure_api.measure_api(print_result)
        return 0
    if arguments.kind == "startup" and measure_start.STARTED_VARIABLE not in os.environ:
        command = ["-m", "tools.measure", "startup", *window_options(arguments.window)]
        measure_start.measure_starts(command, STARTS, print_result)
        return 0
    runs: list[QObject] = []

    def watch(window: MainWindow, controller: Controller) -> QObject:
        runs.append(begin(arguments.kind, window, controller, arguments.minutes))
        return runs[0]

    with tempfile.TemporaryDirectory(prefix="handviz-settings-") as folder:
        instruments = app.Instruments(watch=watch, on_stage=measure_start.note, settings_folder=Path(folder))
        status = app.run(arguments.window, instruments)
    return status or int(any(isinstance(one, SoakRun) and one.has_failed for one in runs))


def window_options(options: app.WindowArguments) -> list[str]:
    """Return the options of the window as words of a command line."""
    given = {name: value for name, value in vars(options).items() if value is not None}
    return [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]


if __name__ == "__main__":
    sys.exit(tools.run("measure"))
