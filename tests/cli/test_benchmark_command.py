"""``handviz benchmark``: what its options choose, and its output."""

import json
from typing import Any

import numpy as np
import pytest

from handviz.__main__ import main
from handviz.cli import benchmark
from handviz.cli.benchmark import Arguments
from handviz.core.records import StageTimes
from handviz.evaluation.performance.measures import (
    AloneMeasures,
    LoopMeasures,
    LoopRun,
    Scenario,
    Section,
    ShownFrame,
)
from handviz.gui import measured_run
from handviz.gui.measured_run import Measuring
from handviz.models.registry import model_ids
from tests.errors import wrong_usage

SECTION = Section((ShownFrame(StageTimes(detect_ms=5.0), 5.0, 20.0, 1),) * 3, 0.1, 0.2, 0.1, 3, 0)


class Loop:
    """Stands for the program's loop; records what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Measuring]] = []
        self.failure = ""

    def measure(self, options: Any, measuring: Measuring) -> LoopRun:
        self.asked.append((options, measuring))
        sections = (None, None) if self.failure else (SECTION, SECTION)
        loops = tuple(LoopMeasures(scenario, *sections, self.failure) for scenario in measuring.scenarios)
        return LoopRun(loops, 0.0, "the window", "CPUExecutionProvider", 500.0)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    """Replace rendering, the program's loop and MediaPipe."""
    stand_in = Loop()

    def alone(text: str, _: object, max_hands: tuple[int, ...], __: int) -> list[AloneMeasures]:
        assert stand_in.asked, "MediaPipe is measured after the program"
        return [AloneMeasures(text, count, np.full(3, 8.0 * count), 8.0, 1.0) for count in max_hands]

    monkeypatch.setattr(measured_run, "measure_loop", stand_in.measure)
    monkeypatch.setattr(benchmark, "mediapipe_alone", alone)
    monkeypatch.setattr(benchmark, "render", lambda *_, **__: [np.zeros((480, 640, 3), np.uint8)])
    return stand_in


def test_without_options_all_models_hands_and_textures_are_measured() -> None:
    scenarios = Arguments().scenarios()
    assert len(set(scenarios)) == len(scenarios) == len(model_ids()) * 4
    assert {scenario.model for scenario in scenarios} == set(model_ids())
    # The source changes once.
    assert [scenario.hands for scenario in scenarios] == sorted(scenario.hands or 0 for scenario in scenarios)


def test_options_choose_what_is_measured(loop: Loop) -> None:
    words = ["--model", "final", "prior", "--hands", "2", "--texture", "on", "--max-hands", "3", "--seconds", "1.5"]
    assert main(["benchmark", *words]) == 0
    ((options, measuring),) = loop.asked
    assert measuring.scenarios == tuple(Scenario(model, "rendered:2", 2, True) for model in ("final", "prior"))
    assert (options.source, measuring.seconds, measuring.max_hands) == ("rendered:2", 1.5, 3)


def test_a_comparison_is_measured_instead_of_each_model() -> None:
    scenarios = Arguments(compare=True, hands=(1,), texture="off").scenarios()
    assert scenarios == (Scenario("final", "rendered:1", 1, False, model_ids()[:4]),)
    (chosen,) = Arguments(model=("prior",), compare_with=("final",), hands=(1,), texture="off").scenarios()
    assert (chosen.model, set(chosen.compared)) == ("prior", {"prior", "final"})


def test_an_own_source_takes_the_place_of_the_rendered_ones() -> None:
    scenarios = Arguments(source="clip.mp4", model=("final",), texture="off").scenarios()
    assert scenarios == (Scenario("final", "clip.mp4", None),)


def test_mediapipe_is_compared_at_the_same_number_of_hands_and_at_one(
    loop: Loop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", "--model", "final", "--hands", "1", "--texture", "off"]) == 0
    printed = capsys.readouterr().out
    assert "faster than MediaPipe alone with max hands 2, drawing included" in printed
    assert "slower than MediaPipe alone with max hands 1" not in printed
    assert "faster than MediaPipe alone with max hands 1, drawing left out" in printed


def test_as_json_the_report_is_one_object(loop: Loop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "--model", "final", "--hands", "1", "--json", "--without-mediapipe"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [entry["texture"] for entry in values["loops"]] == [False, True]
    assert values["loops"][0]["playing"]["frames_per_second"] == pytest.approx(30)
    assert values["mediapipe_alone"] == []


def test_nothing_measured_is_an_error(loop: Loop, capsys: pytest.CaptureFixture[str]) -> None:
    loop.failure = "the network is missing"
    assert main(["benchmark", "--model", "final", "--hands", "1"]) == 1
    assert "the network is missing" in capsys.readouterr().err


def test_a_source_that_cannot_be_opened_is_named_before_anything_runs(
    loop: Loop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", "--source", "nowhere.mp4"]) == 1
    assert "nowhere.mp4" in capsys.readouterr().err
    assert loop.asked == []


@pytest.mark.parametrize("words", [["--hands", "3"], ["--hands", "0"], ["--seconds", "0"], ["--frames", "0"]])
def test_numbers_that_make_no_sense(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with wrong_usage():
        main(["benchmark", *words])
    assert words[0] in capsys.readouterr().err
