"""When frames of clips are due."""

import pytest
from gui_fakes import frame

from handviz.core.records import Frame
from handviz.gui.session.rates import Pace


def due_times(pace: Pace, times_ms: list[float | None], fps: float = 10.0) -> list[float]:
    """When each frame is read by somebody who is never late."""
    pace.begin(0.0)
    due = []
    for number, time_ms in enumerate(times_ms):
        due.append(pace.due_s)
        pace.go_on(Frame(number, frame().image, 0.0, time_ms=time_ms), fps, pace.due_s)
    return due


def test_frames_without_a_time_follow_the_nominal_rate() -> None:
    assert due_times(Pace(), [None] * 4) == pytest.approx([0, 0.1, 0.2, 0.3])


def test_frames_of_a_variable_rate_follow_their_times() -> None:
    due = due_times(Pace(), [0.0, 40.0, 80.0, 1080.0, 1120.0, 1160.0], fps=25.0)
    assert due == pytest.approx([0, 0.04, 0.08, 0.12, 1.12, 1.16])


@pytest.mark.parametrize("speed", [0.1, 4.0])
def test_speed_stretches_all_intervals(speed: float) -> None:
    pace = Pace()
    pace.set_speed(speed, 0.0)
    assert due_times(pace, [None] * 4) == pytest.approx([0, 0.1 / speed, 0.2 / speed, 0.3 / speed])


def test_a_new_speed_shortens_what_is_waited_for() -> None:
    pace = Pace()
    pace.set_speed(0.1, 0.0)
    due_times(pace, [None])
    assert pace.due_s == pytest.approx(1.0)
    pace.set_speed(2.0, 0.2)
    assert pace.due_s == pytest.approx(0.25)


def test_what_is_late_is_not_made_up_for() -> None:
    pace = Pace()
    pace.begin(0.0)
    pace.go_on(frame(), 10.0, 5.0)
    assert pace.due_s == 5.0
