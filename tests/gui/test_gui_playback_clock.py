"""Due times of the frames of clips."""

import pytest
from gui_fakes import frame

from handviz.core.records import Frame
from handviz.gui.session.rates import PlaybackClock


def due_times(clock: PlaybackClock, times_ms: list[float | None], fps: float = 10.0) -> list[float]:
    """Return when each frame is read without delay."""
    clock.begin(0.0)
    due = []
    for number, time_ms in enumerate(times_ms):
        due.append(clock.due_s)
        clock.advance(Frame(number, frame().image, 0.0, time_ms=time_ms), fps, clock.due_s)
    return due


def test_frames_without_a_time_follow_the_nominal_rate() -> None:
    assert due_times(PlaybackClock(), [None] * 4) == pytest.approx([0, 0.1, 0.2, 0.3])


def test_frames_of_a_variable_rate_follow_their_times() -> None:
    due = due_times(PlaybackClock(), [0.0, 40.0, 80.0, 1080.0, 1120.0, 1160.0], fps=25.0)
    assert due == pytest.approx([0, 0.04, 0.08, 0.12, 1.12, 1.16])


@pytest.mark.parametrize("speed", [0.1, 4.0])
def test_speed_stretches_all_intervals(speed: float) -> None:
    clock = PlaybackClock()
    clock.set_speed(speed, 0.0)
    assert due_times(clock, [None] * 4) == pytest.approx([0, 0.1 / speed, 0.2 / speed, 0.3 / speed])


def test_a_new_speed_shortens_what_is_waited_for() -> None:
    clock = PlaybackClock()
    clock.set_speed(0.1, 0.0)
    due_times(clock, [None])
    assert clock.due_s == pytest.approx(1.0)
    clock.set_speed(2.0, 0.2)
    assert clock.due_s == pytest.approx(0.25)


def test_what_is_late_is_not_made_up_for() -> None:
    clock = PlaybackClock()
    clock.begin(0.0)
    clock.advance(frame(), 10.0, 5.0)
    assert clock.due_s == 5.0
