"""Runs the program through scenarios and measures its own loop: in the window, or where there is no display without."""

import gc
import logging
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from PyQt6.QtCore import QCoreApplication, QEventLoop, QObject, QTimer, pyqtBoundSignal, pyqtSignal

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.process import busy_seconds, peak_megabytes, usable_cores
from handviz.core.records import FrameResult
from handviz.core.termination import TERMINATIONS
from handviz.evaluation.performance.measures import LoopMeasures, LoopRun, Scenario, Section, ShownFrame
from handviz.evaluation.performance.sources import Gate, SteppedSource
from handviz.gui import app
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.hand_models.choice import hand_model_for
from handviz.pipeline.display import model_display
from handviz.pipeline.settings import MAX_HANDS_OF_CLIPS
from handviz.rendering.offscreen import OffscreenRenderer
from handviz.sources.source import Source

OFFSCREEN_SIZE = (732, 654)
"""Of the view in a window of the size that it has at first."""
MIN_FRAMES = 2
MAX_STEPPING = 2.0
"""How much longer than the playing loop the frames one by one may take, on a slow machine."""
SETTLE_S, IDLE_SETTLE_S = 0.5, 1.5
"""Between a change and what is measured after it."""
MAX_FRAMES_TO_CHANGE = 400
"""Within which a requested model must have its first result."""
MAX_WAIT_MS = 60_000
"""For one frame, also for the first one of a model that is loaded."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measuring:
    """What is measured, and for how long."""

    scenarios: Sequence[Scenario]
    open_source: Callable[[str], Source]
    """Opens the scenarios' sources."""
    max_hands: int = MAX_HANDS_OF_CLIPS
    seconds: float = 3.0
    """Of the playing loop, for each scenario."""
    frames: int = 40
    """One by one, for each scenario."""
    idle_seconds: float = 3.0
    progress: Callable[[], object] = lambda: None
    """Called after each scenario."""


@dataclass
class _Painted:
    """A result on the screen, which may be painted several times."""

    result: FrameResult
    draw_ms: float
    age_ms: float


Steps = Generator[float | None, _Painted | None, None]
"""Yields None to wait for the next frame on the screen, or seconds to wait for."""


class MeasuredRun(QObject):
    """A run of the program through its scenarios; ``ended`` follows the last one, or an error."""

    ended = pyqtSignal()

    def __init__(self, controller: Controller, painted: pyqtBoundSignal, measuring: Measuring, gate: Gate) -> None:
        super().__init__()
        self._controller, self._measuring, self._gate = controller, measuring, gate
        self.loops: list[LoopMeasures] = []
        self.idle_fraction = 0.0
        self.networks = ""
        self.error: BaseException | None = None
        self.is_complete = False
        self._last: _Painted | None = None
        self._last_result: FrameResult | None = None
        self._skipped = self._paints = 0
        self._is_sleeping = self._is_stepping = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._on_time)
        self._steps: Steps = self._all_steps()
        painted.connect(self._on_painted)
        controller.answered.connect(self._on_answered)
        self._advance(None)

    def stop(self) -> None:
        """End the run; ``is_complete`` says whether all was measured."""
        self._timer.stop()
        self._steps.close()
        self._gate.open()

    def fail(self, error: BaseException) -> None:
        """End the run with an error."""
        self._end(error)

    def _on_answered(self, answer: Answer) -> None:
        self._skipped = answer.dropped
        self.networks = answer.provider or self.networks

    def _on_painted(self, result: FrameResult | None, draw_ms: float) -> None:
        if result is None:
            return
        self._paints += 1
        if result is self._last_result:
            if self._last is not None:
                self._last.draw_ms += draw_ms
            return
        age_ms = time.perf_counter() * 1000 - result.frame.captured_ms
        self._last_result, self._last = result, _Painted(result, draw_ms, age_ms)
        # After the paint, which is not over yet: the window is composed of its parts and shown.
        QTimer.singleShot(0, self._after_paint)

    def _after_paint(self) -> None:
        last = self._last
        if last is not None:
            self._last = None
            # Several may have been on their way when the steps began.
            if self._is_stepping and last.result.frame.number == self._gate.newest:
                self._gate.let_one()
            if not self._is_sleeping:
                self._advance(last)

    def _on_time(self) -> None:
        if self._is_sleeping:
            self._advance(None)
        else:
            message = f"no frame was shown for {MAX_WAIT_MS // 1000} seconds: nothing can be measured"
            self._end(HandvizError(message, ErrorCode.NO_RESULT))

    def _advance(self, painted: _Painted | None) -> None:
        try:
            seconds = self._steps.send(painted)
        except StopIteration:
            self.is_complete = self.error is None
            self._end(None)
        except HandvizError as error:
            self._end(error)
        # A slot is an outermost call: Qt ends the process with what it raises.
        except Exception as error:
            logger.exception("Measuring failed unexpectedly")
            self._end(error)
        else:
            self._is_sleeping = seconds is not None
            self._timer.start(MAX_WAIT_MS if seconds is None else round(seconds * 1000))

    def _end(self, error: BaseException | None) -> None:
        self.error = error
        self._timer.stop()
        self._gate.open()
        self.ended.emit()

    def _all_steps(self) -> Steps:
        failures: dict[Scenario, str] = {}
        # The window is there, and shows the first source.
        yield None
        # Every network is loaded before the first one is measured.
        for scenario in self._measuring.scenarios:
            failures[scenario] = yield from self._change_to(scenario)
        for scenario in self._measuring.scenarios:
            failure = failures[scenario] or (yield from self._change_to(scenario))
            if failure:
                self.loops.append(LoopMeasures(scenario, failure=failure))
            else:
                yield SETTLE_S
                live = yield from self._playing()
                one_by_one = yield from self._one_by_one()
                self.loops.append(LoopMeasures(scenario, one_by_one, live))
            self._measuring.progress()
        yield from self._idle()

    def _change_to(self, scenario: Scenario) -> Generator[float | None, _Painted | None, str]:
        """Change source and settings, and wait until they are on the screen; return why that fails."""
        controller = self._controller
        controller.change(
            model=scenario.model,
            colour="texture" if scenario.texture else "uncertainty",
            compare=bool(scenario.compared),
            compared=scenario.compared or controller.settings.draw.compared,
            max_hands=self._measuring.max_hands,
        )
        if controller.source is None or controller.source.text != scenario.source:
            controller.open(scenario.source)
        for _ in range(MAX_FRAMES_TO_CHANGE):
            painted = yield None
            result = painted.result if painted is not None else None
            if result is not None and (message := result.failure or result.error):
                return message
            if result is not None and self._is_of(result, scenario):
                return "; ".join(result.other_errors.values())
        return f"no result of {scenario.model} within {MAX_FRAMES_TO_CHANGE} frames"

    def _is_of(self, result: FrameResult, scenario: Scenario) -> bool:
        """Return whether this is what the scenario asks for; before there are hands, the model alone is known."""
        info = self._controller.source
        is_source = info is not None and info.text == scenario.source
        compared = {result.model, *result.others, *result.other_errors}
        has_texture = any(hand.texture is not None for hand in result.hands) == scenario.texture or not result.hands
        return is_source and result.model == scenario.model and {*scenario.compared} <= compared and has_texture

    def _playing(self) -> Generator[float | None, _Painted | None, Section]:
        seconds = self._measuring.seconds
        return (yield from self._section(lambda frames, passed_s: frames >= MIN_FRAMES and passed_s >= seconds))

    def _one_by_one(self) -> Generator[float | None, _Painted | None, Section]:
        self._gate.hold()
        # Until those that are on their way are shown, as a rule.
        yield SETTLE_S
        self._is_stepping = True
        self._gate.let_one()
        wanted, seconds = self._measuring.frames, MAX_STEPPING * self._measuring.seconds
        section = yield from self._section(
            lambda frames, passed_s: frames >= (wanted if passed_s < seconds else MIN_FRAMES)
        )
        self._is_stepping = False
        self._gate.open()
        return section

    def _section(self, is_over: Callable[[int, float], bool]) -> Generator[float | None, _Painted | None, Section]:
        """Measure until ``is_over`` of the frames and seconds so far."""
        yield None
        gc.collect()
        yield None
        shown: list[ShownFrame] = []
        paints, skipped = self._paints, self._skipped
        start_s, processor_s, thread_s = time.perf_counter(), time.process_time(), time.thread_time()
        while not is_over(len(shown), time.perf_counter() - start_s):
            painted = yield None
            if painted is not None:
                times, hands = painted.result.times, len(painted.result.hands)
                shown.append(ShownFrame(times, painted.draw_ms, painted.age_ms, hands))
        return Section(
            tuple(shown),
            wall_s=time.perf_counter() - start_s,
            processor_s=time.process_time() - processor_s,
            view_thread_s=time.thread_time() - thread_s,
            paints=self._paints - paints,
            skipped=self._skipped - skipped,
        )

    def _idle(self) -> Steps:
        controller = self._controller
        if controller.source is not None and controller.source.is_live:
            controller.pause(True)
        elif controller.is_playing:
            controller.toggle_playing()
        yield IDLE_SETTLE_S
        start_s, processor_s = time.perf_counter(), time.process_time()
        yield self._measuring.idle_seconds
        self.idle_fraction = (time.process_time() - processor_s) / (time.perf_counter() - start_s)


class OtherPrograms:
    """What other programs than this one take of the processor, from here on."""

    def __init__(self) -> None:
        self._start_s, self._others_s = time.perf_counter(), busy_seconds() - time.process_time()

    def fraction(self) -> float:
        """Return the part of all cores so far, 0 to 1."""
        others_s = busy_seconds() - time.process_time() - self._others_s
        available_s = (time.perf_counter() - self._start_s) * usable_cores()
        return min(max(others_s / available_s, 0.0), 1.0)


class OffscreenView(QObject):
    """What stands for the window's viewport where there is no display: it draws the newest result."""

    painted = pyqtSignal(object, float)

    def __init__(self, controller: Controller, renderer: OffscreenRenderer) -> None:
        super().__init__()
        self._controller, self._renderer = controller, renderer
        self._result: FrameResult | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._draw)
        controller.answered.connect(self._show)

    def _show(self, answer: Answer) -> None:
        self._result = answer.result
        self._timer.start(0)

    def _draw(self) -> None:
        if self._result is None:
            return
        start_s = time.perf_counter()
        self._renderer.draw(self._result, self._controller.settings.draw)
        self.painted.emit(self._result, (time.perf_counter() - start_s) * 1000)


def measure_loop(options: app.WindowArguments, measuring: Measuring) -> LoopRun:
    """Run the scenarios, in the window if there is a display; HandvizError if that fails or is interrupted.

    Settings are those of a first start and of the scenarios; the user's own are neither read nor changed.
    """
    gate, others = Gate(), OtherPrograms()
    with tempfile.TemporaryDirectory() as folder:
        instruments = app.Instruments(
            settings_folder=Path(folder),
            opener=lambda text, *_: SteppedSource(measuring.open_source(text), gate),
        )
        run, view = (_in_window if app.has_display() else _offscreen)(options, instruments, measuring, gate)
    if run.error is not None:
        raise run.error
    if not run.is_complete:
        raise HandvizError("the window was closed before all was measured", ErrorCode.CANCELLED)
    return LoopRun(tuple(run.loops), run.idle_fraction, view, run.networks, peak_megabytes(), others.fraction())


def _in_window(
    options: app.WindowArguments, instruments: app.Instruments, measuring: Measuring, gate: Gate
) -> tuple[MeasuredRun, str]:
    runs: list[MeasuredRun] = []
    views: list[str] = []

    def watch(window: MainWindow, controller: Controller) -> MeasuredRun:
        def end() -> None:
            viewport = window.viewport
            size = f"{viewport.width()}x{viewport.height()}"
            views.append(f"the window, hands drawn at {size} with {viewport.device_name}")
            window.close()

        run = MeasuredRun(controller, window.viewport.painted, measuring, gate)
        window.viewport.failed.connect(lambda message: run.fail(HandvizError(message, ErrorCode.NO_OPENGL)))
        # Not inside the signal of a paint.
        run.ended.connect(lambda: QTimer.singleShot(0, end))
        runs.append(run)
        return run

    with _handlers_restored():
        app.run(options, replace(instruments, watch=watch))
    runs[0].stop()
    return runs[0], views[0] if views else ""


def _offscreen(
    options: app.WindowArguments, instruments: app.Instruments, measuring: Measuring, gate: Gate
) -> tuple[MeasuredRun, str]:
    application = QCoreApplication.instance() or QCoreApplication(["handviz"])
    display = model_display(hand_model_for(options.hand_model, options.model_dir))
    controller, loop = app.make_controller(options, instruments), QEventLoop(application)
    with OffscreenRenderer(display, *OFFSCREEN_SIZE, samples=None) as renderer:
        painter = OffscreenView(controller, renderer)
        run = MeasuredRun(controller, painter.painted, measuring, gate)
        run.ended.connect(loop.quit)
        with _handlers_restored():
            sys.excepthook = lambda _, error, __: run.fail(error)
            for number in (signal.SIGINT, *TERMINATIONS):
                signal.signal(number, lambda *_: loop.quit())
            controller.start(options.source)
            loop.exec()
            run.stop()
            controller.close()
        size = "{}x{}".format(*OFFSCREEN_SIZE)
        view = f"no window (there is no display): the same loop, hands drawn at {size} with {renderer.device_name}"
    return run, view


@contextmanager
def _handlers_restored() -> Iterator[None]:
    """Give the process back the handlers of signals and errors that the window replaces."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *TERMINATIONS)}
    hook, interval_s = sys.excepthook, sys.getswitchinterval()
    try:
        yield
    finally:
        sys.excepthook = hook
        sys.setswitchinterval(interval_s)
        for number, handler in handlers.items():
            signal.signal(number, handler)
