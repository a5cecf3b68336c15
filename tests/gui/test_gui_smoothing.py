"""The kind of smoothing through the window, down to the pipeline."""
# ruff: noqa: F811 - fixtures are imported, then named as parameters

from dataclasses import replace
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from handviz.cli.reconstruct import Arguments
from handviz.core.options import parsed
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import SettingsStore
from handviz.pipeline.kalman import KalmanSmoother
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.pipeline.smoothing import HandSmoother
from handviz.rendering.options import DEFAULT_COMPARED
from tests.gui.test_gui_window import controller, press, window  # noqa: F401 - fixtures
from tests.gui_fakes import FakePipeline
from tests.pipeline.test_pipeline import fake_landmarker, frame, networks  # noqa: F401 - fixtures


def test_a_running_stream_takes_the_other_filter_at_once(
    qtbot: QtBot, controller: Controller, window: MainWindow
) -> None:
    made: list[FakePipeline] = []
    worker = controller._reconstruct
    worker._make_pipeline = lambda settings: made.append(FakePipeline(settings)) or made[0]  # type: ignore[func-returns-value]
    with qtbot.waitSignal(controller.answered):
        controller.start("picture")
    for kind in ("one_euro", "kalman"):
        with qtbot.waitSignal(controller.answered):
            press(qtbot, window, "K")
        assert made[0].told[-1] == ("smoothing_kind", kind)
        assert window.view_panel.choice("smoothing_kind", kind).isChecked()
    window.view_panel.choice("smoothing_kind", "one_euro").click()
    assert controller.settings.pipeline.smoothing_kind == "one_euro"
    assert SettingsStore(controller.store.path.parent).load().pipeline.smoothing_kind == "one_euro"


@pytest.mark.usefixtures("fake_landmarker")
def test_the_pipeline_begins_with_kalman_and_changes_at_the_next_frame(networks: Path) -> None:
    with Pipeline(PipelineSettings(smoothing=0.4), PipelineConfig(networks, preload_others=False)) as pipeline:
        used = set()
        for kind in ("kalman", "one_euro"):
            pipeline.apply(replace(pipeline.settings, smoothing_kind=kind))  # type: ignore[arg-type]
            assert len(pipeline.process(frame(1)).hands) == 1
            used |= {(type(smoother), smoother.strength) for smoother in map(pipeline._smoothers.of, DEFAULT_COMPARED)}
        assert used == {(KalmanSmoother, 0.4), (HandSmoother, 0.4)}


def test_the_command_line_chooses_too() -> None:
    for words, kind in (([], "kalman"), (["--smoothing-kind", "one_euro"], "one_euro")):
        assert parsed(Arguments, "reconstruct", "", ["x", "--out", "y", *words]).smoothing_kind == kind
