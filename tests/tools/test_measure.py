"""Measurement of the window: stages of the start, waits and growth, with known answers."""
# ruff: noqa: F811 - fixtures are imported, then named as parameters

import math
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PyQt6.QtGui import QOpenGLContext
from pytestqt.qtbot import QtBot

import tools
from handviz.core.errors import ErrorCode, HandvizError
from handviz.gui import app
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.pipeline.settings import PipelineConfig
from tests.errors import raises
from tests.gui.test_gui_window import controller, window  # noqa: F401 - fixtures
from tests.gui_fakes import FakePipeline
from tools import lateness, measure, measure_api, measure_start, soak
from tools.gl_census import count_objects
from tools.soak import Sample


def test_waits_count_every_timed_result() -> None:
    # Ten ticks in time, and one that was 100 ms late: 110 ms idle, 100 ms of waiting for what is left of them.
    median, most, longest = lateness.waits_ms([0.0] * 10 + [100.0])
    timed_results = np.concatenate([np.zeros(111), np.arange(1, 101)])
    assert median == np.median(timed_results)
    assert most == pytest.approx(np.percentile(timed_results, 95), abs=1)
    assert longest == 100
    assert lateness.waits_ms([]) == (0, 0, 0)
    assert "holds" in lateness.report("x", [0.0, 3.0])
    assert "does not hold" in lateness.report("x", [200.0] * 5)


def test_meter_notices_a_busy_thread(qtbot: QtBot) -> None:
    meter = lateness.LatenessMeter()
    meter.start()
    qtbot.waitUntil(lambda: len(meter.late_ms) >= 3)
    before, start_s = len(meter.late_ms), lateness.time.perf_counter()
    while lateness.time.perf_counter() - start_s < 0.08:
        pass
    qtbot.waitUntil(lambda: len(meter.late_ms) > before)
    meter.stop()
    assert max(meter.late_ms[before:]) > 60


def samples(**growing: float) -> list[Sample]:
    """Return an hour's samples; the named quantities grow by so much in it, after a first jump by caches."""
    hours = np.linspace(0, 1, 40)
    still = {"memory_mb": 500.0, "threads": 30.0, "gl_objects": 60.0, "python_blocks": 3e5}
    return [
        Sample(
            hour * 3600,
            **{name: value * (0.8 if hour == 0 else 1) + growing.get(name, 0) * hour for name, value in still.items()},
        )
        for hour in hours
    ]


@pytest.mark.parametrize("name", [None, "memory_mb", "threads", "gl_objects", "python_blocks"])
def test_what_grows_is_named_and_what_warms_up_is_not(name: str | None) -> None:
    amount = {"memory_mb": 60.0, "threads": 4.0, "gl_objects": 5.0, "python_blocks": 3e5}
    found = soak.growths(samples(**({name: amount[name]} if name else {})))
    assert [one.name for one in found if not one.holds] == ([name] if name else [])
    if name:
        slope = next(one.per_hour for one in found if one.name == name)
        assert slope == pytest.approx(amount[name], rel=0.01)
    assert soak.report(found)[-1] == f"verdict: {'something grew' if name else 'nothing grew'}"
    assert soak.has_grown(found) == bool(name)


def test_a_failed_frame_is_part_of_the_verdict() -> None:
    found = soak.growths(samples())
    assert soak.report(found, ["frame 7 failed", "frame 9 failed"])[-1] == (
        "verdict: nothing grew, 2 frames or requests FAILED, the first: frame 7 failed"
    )


def test_what_the_system_does_not_tell_is_not_called_steady() -> None:
    found = soak.growths([replace(one, memory_mb=math.nan) for one in samples()])
    assert soak.report(found)[-1] == "verdict: nothing grew of that"
    assert soak.report(found)[1].endswith("is not available on this system")


def test_a_sample_sees_this_process() -> None:
    sample = soak.take_sample(1.0, 100.0, 5)
    assert sample.threads >= 1
    assert sample.python_blocks > 1000


def test_stages_are_noted_once_and_told_since_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_start, "noted", [])
    monkeypatch.setenv(measure_start.STARTED_VARIABLE, "100.0")
    for stage in ("shown", "painted", "shown"):
        measure_start.note(stage)
    measure_start.noted[0] = ("shown", 101.5)
    assert measure_start.lines()[0] == "stage 1.500 shown"
    assert len(measure_start.lines()) == 2


def test_starts_are_medians_of_processes(tmp_path: Path) -> None:
    program, told = tmp_path / "program.py", []
    program.write_text("import sys; sys.stdout.write('INFO x: stage 0.250 shown\\nINFO x: stage 1.000 first hands\\n')")
    assert measure_start.measure_starts([str(program)], 2, told.append) == 1.0
    assert [line.split()[-2:] for line in told[1:]] == [["0.25", "0.25"], ["1.00", "0.75"]]
    program.write_text("raise SystemExit('no display')")
    with pytest.raises(HandvizError, match="no display"):
        measure_start.measure_starts([str(program)], 1, told.append)


def test_a_measured_start_tells_its_stages_and_closes(
    qtbot: QtBot,
    controller: Controller,
    window: MainWindow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measure_start, "noted", [])
    told: list[str] = []
    watch = measure.begin("startup", window, controller, None, told.append)
    monkeypatch.setattr("handviz.pipeline.pipeline.Pipeline", lambda settings, _: settings)
    app.pipeline_maker(PipelineConfig(), on_stage=measure_start.note)(controller.settings.pipeline)
    with qtbot.waitSignal(controller.answered) as answered:
        controller.start("picture")
    controller.warn("a frame failed")
    window.result_painted.emit(answered.args[0].result)
    qtbot.waitUntil(lambda: controller._reconstruct.isFinished())
    assert watch is not None
    stages = [line.split(" ", 2)[2] for line in told]
    assert stages[:2] == ["worker begins to load", "networks loaded"]
    assert {"source opened", "first frame reconstructed", "first hands painted"} <= set(stages)


def test_waits_are_told_for_every_scene(
    qtbot: QtBot,
    controller: Controller,
    window: MainWindow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    seen: list[str] = []
    controller.settings_changed.connect(lambda settings: seen.append(settings.draw.colour))
    run = measure.LatencyRun(window, controller, 0.01, told.append)
    with qtbot.waitSignal(controller.answered) as answered:
        controller.start("picture")
    controller.warn("a frame failed")
    window.result_painted.emit(answered.args[0].result)
    qtbot.waitUntil(lambda: controller._reconstruct.isFinished())
    assert run.meter.late_ms
    assert [line.split("  ")[0].strip() for line in told] == [name for name, _ in measure.SCENES]
    assert "texture" in seen


@pytest.mark.slow
def test_a_soak_samples_switches_and_ends_with_a_verdict(
    qtbot: QtBot,
    controller: Controller,
    window: MainWindow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told, models = [], set()
    monkeypatch.setattr(measure, "_gl_objects", lambda _: 7)
    controller.settings_changed.connect(
        lambda settings: models.add((settings.pipeline.model, settings.draw.colour, settings.draw.view))
    )
    run = measure.SoakRun(window, controller, 0.0, told.append, sample_ms=20)
    with qtbot.waitSignal(controller.answered) as answered:
        controller.start("picture")
    controller.warn("a frame failed")
    window.result_painted.emit(answered.args[0].result)
    qtbot.waitUntil(lambda: controller._reconstruct.isFinished())
    assert len(run.samples) == soak.MIN_SAMPLES
    assert told[-1].startswith("verdict")
    assert told[-1].endswith("1 frames or requests FAILED, the first: a frame failed")
    assert run.has_failed
    assert len(models) > 3


@pytest.mark.display
def test_the_driver_is_asked_for_its_objects(qtbot: QtBot, window: MainWindow) -> None:
    with qtbot.waitExposed(window):
        window.show()
    before = measure._gl_objects(window)
    assert before > 5
    viewport = window.viewport
    viewport.makeCurrent()
    buffer = viewport._ctx.buffer(reserve=16)  # type: ignore[union-attr]
    context = QOpenGLContext.currentContext()
    assert context is not None
    assert count_objects(context) == before + 1
    buffer.release()
    assert count_objects(context) == before
    viewport.doneCurrent()


def test_measured_starts_are_processes_of_this_tool(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(measure_start, "measure_starts", lambda command, *_: asked.append(command))
    monkeypatch.delenv(measure_start.STARTED_VARIABLE, raising=False)
    assert tools.run("measure", ["startup", "--source=-1 clip.mp4", "--view", "orbit"]) == 0
    assert asked[0][:3] == ["-m", "tools.measure", "startup"]
    again = app.parse(asked[0][3:])
    assert again == app.parse(["--source=-1 clip.mp4", "--view", "orbit"])

    def fail(*_: object) -> None:
        raise HandvizError("the program did not start", ErrorCode.CANCELLED)

    monkeypatch.setattr(measure_start, "measure_starts", fail)
    assert tools.run("measure", ["startup"]) == 1
    assert "did not start" in capsys.readouterr().err


def test_the_window_is_run_with_instruments_and_settings_of_its_own(
    monkeypatch: pytest.MonkeyPatch, controller: Controller, window: MainWindow
) -> None:
    ran: list[app.Instruments] = []

    def run(options: app.WindowArguments, instruments: app.Instruments) -> int:
        ran.append(instruments)
        assert options.source == "clip.mp4"
        assert instruments.settings_folder is not None
        assert list(instruments.settings_folder.iterdir()) == []
        return 0

    monkeypatch.setattr(app, "run", run)
    assert tools.run("measure", ["soak", "--minutes", "2", "--source", "clip.mp4"]) == 0
    assert not ran[0].settings_folder.exists()  # type: ignore[union-attr]
    assert isinstance(ran[0].watch(window, controller), measure.SoakRun)  # type: ignore[misc]


@pytest.mark.parametrize("has_failed", [True, False])
def test_a_soak_with_a_defect_has_exit_status_1(
    has_failed: bool, monkeypatch: pytest.MonkeyPatch, controller: Controller, window: MainWindow
) -> None:
    def run(_: app.WindowArguments, instruments: app.Instruments) -> int:
        watcher = instruments.watch(window, controller)  # type: ignore[misc]
        assert isinstance(watcher, measure.SoakRun)
        assert watcher.has_failed, "a run that has not ended is none that passed"
        watcher.has_failed = has_failed
        return 0

    monkeypatch.setattr(app, "run", run)
    assert tools.run("measure", ["soak"]) == int(has_failed)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere Qt's own priorities do it")
def test_the_computing_thread_gives_way(qtbot: QtBot, controller: Controller) -> None:
    niceness: list[int] = []
    before = os.getpriority(os.PRIO_PROCESS, 0)
    worker = controller._reconstruct
    worker._make_pipeline = lambda settings: (
        niceness.append(os.getpriority(os.PRIO_PROCESS, 0)) or FakePipeline(settings)
    )  # type: ignore[func-returns-value]
    with qtbot.waitSignal(controller.answered):
        controller.start("picture")
    controller.close()
    assert niceness == [max(before, 5)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


@pytest.mark.slow
def test_the_api_is_timed_in_new_processes() -> None:
    lines: list[str] = []
    medians = measure_api.measure_api(lines.append, runs=1)
    assert list(medians) == list(measure_api.STAGES)
    assert 0 < medians["import handviz"] < medians["first image"]
    assert medians["load and first image"] == pytest.approx(medians['handviz.load("final")'] + medians["first image"])
    assert len(lines) == 1 + len(medians)


def test_an_api_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_api, "SCRIPT", "raise SystemExit('no hands')")
    with raises(ErrorCode.NO_RESULT, match="no hands"):
        measure_api.measure_api(print, runs=1)
