"""A short run of the pipeline over a stream in which hands come and leave."""

import numpy as np
import pytest

import tools
from tools import stream_soak
from tools.stream_soak import BREAK_MS, STEP_MS, stream


def test_streams_contain_cuts_breaks_sizes_and_empty_scenes() -> None:
    frames = list(stream(900, seed=1))
    assert [frame.number for frame in frames] == list(range(900))
    steps_ms = np.diff([frame.captured_ms for frame in frames])
    assert set(steps_ms.round(2)) == {round(STEP_MS, 2), round(STEP_MS + BREAK_MS, 2)}
    assert len({frame.image.shape for frame in frames}) == 4
    assert 0 < sum(np.ptp(frame.image) == 0 for frame in frames) < 450
    again = list(stream(30, seed=1))
    assert all((one.image == other.image).all() for one, other in zip(frames[:30], again, strict=True))


@pytest.mark.slow
def test_a_short_run_ends_with_a_verdict(capsys: pytest.CaptureFixture) -> None:
    status = tools.run("stream_soak", ["--frames", "200", "--model", "prior"])
    lines = capsys.readouterr().out.splitlines()
    assert status == int("something grew" in lines[-2])
    assert lines[-2].startswith("verdict: ")
    frames, _, numbers = lines[-1].partition(", ")
    assert frames == "200 frames"
    assert 1 <= int(numbers.split()[0]) <= 4


def test_growth_is_exit_status_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    used_mb = iter(range(100, 10_000, 100))
    monkeypatch.setattr(stream_soak, "resident_megabytes", lambda: float(next(used_mb)))
    monkeypatch.setattr(stream_soak, "Pipeline", NoPipeline)
    assert tools.run("stream_soak", ["--frames", "200"]) == 1
    assert "GROWS" in capsys.readouterr().out


class NoPipeline:
    """A pipeline that finds nothing."""

    hands = ()

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> "NoPipeline":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def process(self, _: object) -> "NoPipeline":
        return self
