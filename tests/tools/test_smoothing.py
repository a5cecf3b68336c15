"""The comparison of smoothers on a clip that is in the cache and two simulated hands."""

from pathlib import Path

import numpy as np
import pytest

import tools
from handviz.pipeline.kalman import KalmanSmoother
from tests.errors import wrong_usage
from tests.tools.test_motion_scores import motion
from tools import smoothing
from tools.motion_scores import save_motion


def arguments(cache: Path, *more: str) -> list[str]:
    sizes = ["--clips", "1", "--simulated", "1", "--seconds", "3", "--seed", "0"]
    return [*sizes, "--cache", str(cache), *more]


@pytest.mark.slow
def test_tables_and_a_figure_from_what_is_in_the_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smoothing, "STRENGTHS", (0.3,))
    monkeypatch.setattr(smoothing, "SPEED_WEIGHTS", (1, 64))
    monkeypatch.setattr(smoothing.sweep, "__kwdefaults__", {"strengths": (0.3,), "weights": (1, 64)})
    save_motion(tmp_path / "final_0_3s.npz", motion(shake_m=0.001, rests_s=2.0))
    assert tools.run("smoothing", arguments(tmp_path, "--figure", str(tmp_path / "it.png"))) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "it.png").stat().st_size > 10_000
    for told in (
        "new in every frame",
        "simulated, 30 frames",
        "rendered, 15 frames",
        "dropped",
        "at equal lag",
        "MPJPE and acceleration error",
        "ms a hand",
    ):
        assert told in printed


def test_sizes_that_make_no_sense_are_a_message(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with wrong_usage():
        tools.run("smoothing", ["--clips", "0", "--cache", str(tmp_path)])
    assert "--clips" in capsys.readouterr().err


@pytest.mark.slow
def test_kalman_errs_and_trembles_less_than_one_euro_at_its_lag(tmp_path: Path) -> None:
    sizes = smoothing.ErrorSizes(0.00035, 0.0035, (0.012, 0.010, 0.004), across_fraction=0.03, along_fraction=0.075)
    wanted = smoothing.Arguments(simulated=2, seconds=6.0, seed=0)
    rows = smoothing.sweep(smoothing.simulated_motions(sizes, wanted), strengths=(0.1, 0.3), weights=(1, 4, 16, 64))
    (ours,) = (row.scores for row in rows if row.name == "Kalman 0.3")
    rivals = [row.scores for row in rows if row.kind != "kalman" and row.scores.lag_ms <= ours.lag_ms + 0.5]
    assert len(rivals) >= 2
    assert ours.lag_ms < 2
    for measure in ("left_px", "left_mm", "jitter_px", "jitter_mm"):
        assert getattr(ours, measure) < min(getattr(rival, measure) for rival in rivals)


def test_a_hand_costs_less_than_a_millisecond_or_so() -> None:
    """Guard against a loop over vertices in Python, which takes far longer; the command is the benchmark."""
    smoother, one = KalmanSmoother(0.3), motion(shake_m=0.001)
    took_ms = []
    for hand, time_s in zip(one.hands, one.times_s, strict=True):
        start_s = smoothing.time.perf_counter()
        smoother.smooth([hand] if hand is not None else [], time_s * 1000)
        took_ms.append((smoothing.time.perf_counter() - start_s) * 1000)
    assert np.median(took_ms) < 5
