"""Errors of wrists: the table of known ones."""

import numpy as np
import pytest

import tools
from tests.errors import wrong_usage
from tools.wrist_position import Found, table


def found(error_mm: float) -> Found:
    error_m, std_m = np.full(3, error_mm / 1000), np.full(3, 0.010)
    return Found(
        error_m=error_m,
        std_m=std_m,
        error_of_known_size_m=error_m / 2,
        fit_std_m=std_m,
        assumed_error_m=3 * error_m,
        assumed_std_m=std_m,
        log_size=0.1,
        distance=0.02,
        depth_m=0.5,
    )


def test_known_errors_have_their_root_mean_square_and_their_coverage() -> None:
    lines = table([found(8), found(-8), found(12), found(-12)], 5)
    assert lines[0] == "4 right hands found in 5, 0.50 to 0.50 m away"
    assert "mean +10.0 %" in lines[2]
    rms = round(float(np.sqrt((64 + 144) / 2)))
    assert lines[5].split()[-9:] == [str(rms)] * 3 + ["50"] * 3 + ["100"] * 3
    assert lines[4].split()[-9:] == ["5"] * 3 + ["100"] * 6
    assert lines[6].split()[-9:] == ["31"] * 3 + ["0"] * 6


def test_no_hands_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with wrong_usage():
        tools.run("wrist_position", ["--count", "0"])
    assert "--count" in capsys.readouterr().err
