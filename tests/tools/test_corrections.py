"""``python -m tools.corrections``: every step is timed on the clip's first frames, and the table has its lines."""

import pytest

import tools
from tests.errors import wrong_usage
from tools.corrections import Stopwatch, report


def test_the_stopwatch_gives_the_median_a_hand() -> None:
    watch = Stopwatch()
    watch.times_ms[2]["check"] = [0.1, 0.9, 0.2]
    assert watch.medians_ms() == {2: {"check": 0.2}}
    assert watch.timed("mesh", 1, lambda: "result") == "result"
    assert list(watch.medians_ms()) == [1, 2]


def test_the_table_has_a_line_a_step_and_a_column_a_number_of_hands() -> None:
    lines = report({1: {"all": 1.5, "camera": 0.75, "crop": 0.25}, 2: {"all": 1.0, "camera": 0.5, "crop": 0.125}})
    assert [line.split() for line in lines] == [
        ["ms", "a", "hand,", "median", "1", "hand", "2", "hands"],
        ["camera", "0.750", "0.500"],
        ["all", "1.500", "1.000"],
        ["crop", "(apart)", "0.250", "0.125"],
    ]


@pytest.mark.slow
def test_every_step_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    assert tools.run("corrections", ["--frames", "3"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    steps = ["check", "prior", "landmarks", "landmarks", "posterior", "size", "mesh"]
    assert names == [*steps, "kalman", "all", "one_euro", "track", "crop"]


def test_no_frames_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with wrong_usage():
        tools.run("corrections", ["--frames", "0"])
    assert "--frames" in capsys.readouterr().err
