"""``handviz benchmark``: the live run without a window, and its report."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handviz.__main__ import main
from handviz.cli import benchmark
from handviz.core.errors import HandvizError
from handviz.core.process import peak_megabytes, resident_megabytes
from handviz.core.records import FrameResult
from handviz.evaluation.performance.live_run import LiveRun
from handviz.pipeline import pipeline as pipeline_module
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.sources.source import open_source
from tests.errors import wrong_usage
from tests.hands import FakeLandmarker
from tests.tiny_network import write_all_networks


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture(autouse=True)
def fake_landmarker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "make_detector", FakeLandmarker)
    alone = functools.partial(FakeLandmarker, "mediapipe", Path(), video=True)
    monkeypatch.setattr(benchmark, "HandLandmarker", alone)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (320, 240), (90, 90, 90 + number)).save(folder / f"{number}.png")
    return folder


def test_a_live_run_shows_as_many_frames_as_wanted_in_order(images: Path, networks: Path) -> None:
    drawn: list[FrameResult] = []
    with Pipeline(PipelineSettings(), PipelineConfig(networks)) as pipeline:
        run = LiveRun(open_source(str(images)), pipeline, drawn.append, capture_fps=1000)
        measures = run.run(10)
    assert len(drawn) == len(measures.age_ms) == len(measures.shown_ms) == 10
    assert measures.shown_ms == sorted(measures.shown_ms)
    times = [result.frame.captured_ms for result in drawn]
    assert times == sorted(times)
    assert min(measures.age_ms) > 0


def test_what_a_worker_raises_comes_out(tmp_path: Path, networks: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"broken")
    with Pipeline(PipelineSettings(), PipelineConfig(networks)) as pipeline:
        run = LiveRun(open_source(str(tmp_path / "broken.png")), pipeline, lambda _: None, capture_fps=1000)
        with pytest.raises(HandvizError, match=r"broken\.png"):
            run.run(5)


@pytest.mark.parametrize("compare", [[], ["--compare"]])
def test_the_report_names_every_figure(
    images: Path,
    networks: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    compare: list[str],
) -> None:
    monkeypatch.setattr(benchmark, "WARM_UP_FRAMES", 1)
    counts = ["--frames", "12", "--stage-frames", "3", "--capture-fps", "200"]
    assert main(["benchmark", "--source", str(images), "--model-dir", str(networks), *counts, *compare]) == 0
    printed = capsys.readouterr().out
    for figure in (
        "detect",
        "reconstruct",
        "draw",
        "record video",
        "ratio to MediaPipe",
        "frames per second",
        "age when shown",
    ):
        assert figure in printed
    assert ("models prior, amvur, final, mediapipe" if compare else "model final") in printed
    for figure in ("peak memory", "memory drift", "ExecutionProvider", "frames dropped"):
        assert figure in printed


def test_the_report_as_json_is_one_object(
    images: Path, networks: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "WARM_UP_FRAMES", 1)
    counts = ["--frames", "3", "--stage-frames", "2", "--capture-fps", "200"]
    assert main(["benchmark", "--source", str(images), "--model-dir", str(networks), *counts, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["one_thread"]["reconstruct"]["median_ms"] > 0
    assert printed["end_to_end"]["frames per second"] > 0


def test_numbers_that_make_no_sense(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with wrong_usage():
        main(["benchmark", "--source", str(images), "--frames", "0"])
    assert "--frames" in capsys.readouterr().err


def test_memory_drift_ignores_the_warm_up() -> None:
    warm_up_then_flat = [100.0] * 10 + [200.0] * 90
    assert benchmark.memory_drift(warm_up_then_flat) == 0.0
    assert benchmark.memory_drift(list(np.linspace(0, 100, 1000))) == pytest.approx(80, abs=1)
    assert benchmark.memory_drift([5.0, 5.0]) == 0.0


def test_memory_is_seen() -> None:
    peak = peak_megabytes()
    assert peak > 10
    assert 0 < resident_megabytes() <= peak * 1.05
