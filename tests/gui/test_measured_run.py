"""The run of the benchmark through its scenarios, with a fake pipeline and a view that only reports paints."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from gui_fakes import FakePipeline
from PyQt6.QtCore import QObject, pyqtSignal
from pytestqt.qtbot import QtBot

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import PROJECT_ROOT
from handviz.core.records import Frame, FrameResult, ModelId
from handviz.evaluation.performance.measures import Scenario
from handviz.evaluation.performance.sources import Gate, RenderedHands, SteppedSource
from handviz.gui import measured_run
from handviz.gui.measured_run import MeasuredRun, Measuring
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.session.settings import SettingsStore
from tests.waiting import LIMIT_S

IMAGES = [np.full((48, 64, 3), 10 + number, np.uint8) for number in range(4)]


class PaintedView(QObject):
    """A view that reports every answer as painted, twice each if told so, and counts what was read beyond it."""

    painted = pyqtSignal(object, float)

    def __init__(self, controller: Controller, gate: Gate, *, times: int = 1) -> None:
        super().__init__()
        self._gate, self._times = gate, times
        self.read_ahead: list[int] = []
        controller.answered.connect(self._paint)

    def _paint(self, answer: Answer) -> None:
        self.read_ahead.append(self._gate.newest - answer.result.frame.number)
        for _ in range(self._times):
            self.painted.emit(answer.result, 2.0)


class RefusingPipeline(FakePipeline):
    """A pipeline without the model ``amvur``: the last one comes back, as in the real one."""

    def process(self, frame: Frame) -> FrameResult:
        if self.settings.model == "amvur":
            raise HandvizError("amvur is damaged", ErrorCode.MODEL_DAMAGED)
        return super().process(frame)


class Started:
    """A run that has begun, with what it consists of."""

    def __init__(self, scenarios: tuple[Scenario, ...], pipeline: Callable[..., FakePipeline], *, paints: int) -> None:
        self.gate = Gate()
        sources = {"rendered:1": RenderedHands(IMAGES, 1), "rendered:2": RenderedHands(IMAGES, 2)}
        opened: Callable[..., SteppedSource] = lambda text, *_: SteppedSource(sources[text], self.gate)  # noqa: E731
        self.controller = Controller(pipeline, SettingsStore(), opener=opened, lister=list)
        self.view = PaintedView(self.controller, self.gate, times=paints)
        measuring = Measuring(scenarios, opened, seconds=0.3, frames=5, idle_seconds=0.05)
        self.run = MeasuredRun(self.controller, self.view.painted, measuring, self.gate)


Start = Callable[..., Started]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return a function that begins a run with scenarios; times to settle are short."""
    monkeypatch.setattr(measured_run, "SETTLE_S", 0.02)
    monkeypatch.setattr(measured_run, "IDLE_SETTLE_S", 0.02)
    begun: list[Started] = []

    def begin(*scenarios: Scenario, pipeline: Callable[..., FakePipeline] = FakePipeline, paints: int = 1) -> Started:
        begun.append(Started(scenarios, pipeline, paints=paints))
        return begun[-1]

    yield begin
    for one in begun:
        one.run.stop()
        one.controller.close()


def finished(qtbot: QtBot, started: Started) -> MeasuredRun:
    """Start the controller and wait for the run's end."""
    with qtbot.waitSignal(started.run.ended):
        started.controller.start("rendered:1")
    return started.run


def test_every_scenario_is_measured_in_its_order(qtbot: QtBot, start: Start) -> None:
    scenarios = (
        Scenario("prior", "rendered:1", 1),
        Scenario("final", "rendered:1", 1, texture=True),
        Scenario("final", "rendered:2", 2),
    )
    run = finished(qtbot, start(*scenarios))
    assert run.is_complete
    assert [loop.scenario for loop in run.loops] == list(scenarios)
    for loop in run.loops:
        assert loop.live is not None
        assert loop.one_by_one is not None
        assert len(loop.one_by_one.frames) == 5
        assert loop.live.wall_s >= 0.3
        assert (loop.live.hands, loop.live.frames[0].draw_ms) == (1, 2.0)
        assert {frame.times.texture_ms > 0 for frame in loop.live.frames} == {loop.scenario.texture}
    assert run.networks == "CPUExecutionProvider"


def test_frame_by_frame_nothing_is_skipped_and_the_clip_is_paused_when_idle(qtbot: QtBot, start: Start) -> None:
    started = start(Scenario("final", "rendered:1", 1))
    run = finished(qtbot, started)
    section = run.loops[0].one_by_one
    assert section is not None
    assert section.skipped == 0
    # No frame is read before the last one is painted.
    assert started.view.read_ahead[-5:] == [0] * 5
    assert not started.controller.is_playing
    assert run.idle_fraction < 1


def test_paints_of_the_same_result_count_together(qtbot: QtBot, start: Start) -> None:
    live = finished(qtbot, start(Scenario("final", "rendered:1", 1), paints=2)).loops[0].live
    assert live is not None
    assert live.paints == pytest.approx(2 * len(live.frames), abs=2)
    assert {frame.draw_ms for frame in live.frames} == {4.0}


def test_a_model_that_fails_is_named_and_the_others_are_measured(qtbot: QtBot, start: Start) -> None:
    models: tuple[ModelId, ...] = ("prior", "amvur", "final")
    scenarios = [Scenario(model, "rendered:1", 1) for model in models]
    run = finished(qtbot, start(*scenarios, pipeline=RefusingPipeline))
    assert [loop.failure for loop in run.loops] == ["", "amvur is damaged", ""]
    assert [loop.live is None for loop in run.loops] == [False, True, False]


def test_a_view_that_shows_nothing_ends_the_run_with_an_error(
    qtbot: QtBot, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured_run, "MAX_WAIT_MS", 1)
    run = finished(qtbot, start(Scenario("final", "rendered:1", 1), paints=0))
    assert isinstance(run.error, HandvizError)
    assert run.error.code is ErrorCode.NO_RESULT
    assert not run.is_complete


def test_an_unexpected_error_is_kept_for_the_caller(qtbot: QtBot, start: Start) -> None:
    started = start(Scenario("final", "rendered:1", 1))

    def fail() -> None:
        raise ZeroDivisionError

    object.__setattr__(started.run._measuring, "progress", fail)
    assert isinstance(finished(qtbot, started).error, ZeroDivisionError)


def test_what_this_program_takes_is_not_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured_run, "busy_seconds", lambda: 100.0 + time.process_time())
    others = measured_run.OtherPrograms()
    assert sum(range(300_000)) > 0
    assert others.fraction() == pytest.approx(0.0, abs=0.05)
    monkeypatch.setattr(measured_run, "busy_seconds", lambda: 1e6 + time.process_time())
    assert others.fraction() == 1.0


RUN = """
import sys
from handviz.__main__ import main
status = main(sys.argv[1:])
loaded = {"mediapipe", "torch", "scipy"} & set(sys.modules)
print("loaded:", *sorted(loaded), file=sys.stderr)
allowed = set() if "--without-mediapipe" in sys.argv else {"mediapipe"}
sys.exit(status or int(not loaded <= allowed))
"""


def measured(*options: str, **environment: str) -> dict[str, object]:
    """Run the command in a process of its own, which must load MediaPipe's library only to compare; return its JSON."""
    short = ("--model", "final", "--texture", "off", "--seconds", "0.5", "--frames", "3", "--mediapipe-frames", "6")
    command = [sys.executable, "-c", RUN, "benchmark", *short, "--json", *options]
    kept = {name: value for name, value in os.environ.items() if name not in measured_run.app.DISPLAY_VARIABLES}
    outcome = subprocess.run(
        command,
        cwd=PROJECT_ROOT,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=2 * LIMIT_S,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    return dict(json.loads(outcome.stdout))


@pytest.mark.slow
def test_without_a_display_the_same_loop_is_measured_and_said_so(tmp_path: Path) -> None:
    values = measured(HANDVIZ_CONFIG_DIR=str(tmp_path))
    assert "no window (there is no display)" in str(values["view"])
    loops: list[dict[str, dict[str, float]]] = values["loops"]  # type: ignore[assignment]
    assert [loop["hands_in_view"] for loop in loops] == [1, 2]
    assert [loop["frame_by_frame"]["hands_found"] for loop in loops] == [1, 2]
    assert all(loop["playing"]["frames_per_second"] > 0 for loop in loops)
    assert all(loop["frame_by_frame"]["processor_ms_per_frame"] > 1 for loop in loops)
    assert [one["max_hands"] for one in values["mediapipe_alone"]] == [2, 1, 2, 1]  # type: ignore[attr-defined]
    # Nothing spins while the source is paused.
    assert values["idle_fraction_of_a_core"] < 0.1  # type: ignore[operator]
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.slow
def test_without_the_comparison_mediapipe_is_not_loaded(tmp_path: Path) -> None:
    values = measured("--hands", "1", "--without-mediapipe", HANDVIZ_CONFIG_DIR=str(tmp_path))
    assert values["mediapipe_alone"] == []


@pytest.mark.display
def test_with_a_display_the_window_is_measured(tmp_path: Path) -> None:
    shown = {name: value for name in ("DISPLAY", "XAUTHORITY") if (value := os.environ.get(name))}
    values = measured("--hands", "1", "--without-mediapipe", HANDVIZ_CONFIG_DIR=str(tmp_path), **shown)
    assert str(values["view"]).startswith("the window")
    (loop,) = values["loops"]  # type: ignore[misc]
    assert loop["playing"]["paints_per_frame"] == pytest.approx(1, abs=0.5)
    assert values["mediapipe_alone"] == []
    assert list(tmp_path.rglob("*")) == []
