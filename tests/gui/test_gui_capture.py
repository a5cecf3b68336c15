"""The capture thread with scripted sources."""

from collections.abc import Callable, Iterator

import pytest
from gui_fakes import UNPLUGGED, FakeSource
from pytestqt.qtbot import QtBot

from handviz.core.errors import ErrorCode, HandvizError
from handviz.gui.session.capture_thread import CaptureThread
from handviz.gui.session.messages import FrameRequest, SourceInfo
from handviz.sources.mailbox import Mailbox

MISSING = "camera 0 is not there"
Start = Callable[..., CaptureThread]


class RecordingMailbox(Mailbox[FrameRequest]):
    """Mailbox that records all requests."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[FrameRequest] = []

    def put(self, item: FrameRequest) -> None:
        """Record and pass on."""
        self.requests.append(item)
        super().put(item)

    def numbers(self) -> list[int]:
        """Return the frame numbers so far."""
        return [request.frame.number for request in self.requests]


@pytest.fixture
def mailbox() -> RecordingMailbox:
    """Return the mailbox for frames."""
    return RecordingMailbox()


@pytest.fixture
def start(mailbox: RecordingMailbox) -> Iterator[Start]:
    """Return a function that starts a capture thread with these sources; errors among them are raised."""
    threads: list[tuple[CaptureThread, list[FakeSource]]] = []

    def start_one(*sources: FakeSource | HandvizError) -> CaptureThread:
        left = list(sources)

        def opener(_: str) -> FakeSource:
            source = left.pop(0)
            if isinstance(source, HandvizError):
                raise source
            return source

        thread = CaptureThread(mailbox, opener, retry_s=0.001)
        threads.append((thread, [source for source in sources if isinstance(source, FakeSource)]))
        thread.start()
        return thread

    yield start_one
    for thread, sources in threads:
        for source in sources:
            source.let_go()
        thread.stop()
        assert all(source.is_closed for source in sources)


def test_camera_frames_arrive_and_carry_the_generation(qtbot: QtBot, start: Start, mailbox: RecordingMailbox) -> None:
    camera = FakeSource()
    thread = start(camera)
    with qtbot.waitSignal(thread.opened) as opened:
        thread.open("camera:0", 7)
    assert opened.args == [SourceInfo(7, "camera:0", "fake", camera.description, None, True)]
    camera.may_read.release(3)
    qtbot.waitUntil(lambda: mailbox.numbers() == [0, 1, 2])
    assert {request.generation for request in mailbox.requests} == {7}
    assert mailbox.dropped == 2


def test_missing_camera_is_a_message_and_is_tried_again(qtbot: QtBot, start: Start) -> None:
    thread = start(
        HandvizError(MISSING, ErrorCode.CAMERA_MISSING), HandvizError(MISSING, ErrorCode.CAMERA_MISSING), FakeSource()
    )
    with qtbot.waitSignals([thread.error, thread.error, thread.opened], order="strict") as signals:
        thread.open("camera:0", 1)
    assert signals.all_signals_and_args[0].args == (1, MISSING)


def test_camera_unplugged_in_mid_stream_comes_back(qtbot: QtBot, start: Start, mailbox: RecordingMailbox) -> None:
    first, second = FakeSource(broken=(2,)), FakeSource()
    thread = start(first, HandvizError(MISSING, ErrorCode.CAMERA_MISSING), second)
    thread.open("camera:0", 1)
    first.may_read.release(2)
    qtbot.waitUntil(lambda: mailbox.numbers() == [0, 1])
    with qtbot.waitSignals([thread.error, thread.error, thread.opened], order="strict") as signals:
        first.may_read.release()
    assert signals.all_signals_and_args[0].args == (1, UNPLUGGED)
    assert first.is_closed
    with qtbot.waitSignal(thread.recovered):
        second.may_read.release()
    qtbot.waitUntil(lambda: mailbox.numbers() == [0, 1, 0])


def test_missing_clip_is_a_message_and_is_not_tried_again(qtbot: QtBot, start: Start) -> None:
    thread = start(HandvizError("clip.mp4: there is no such file", ErrorCode.CAMERA_MISSING), FakeSource(3))
    with qtbot.waitSignal(thread.error):
        thread.open("clip.mp4", 1)
    with qtbot.waitSignal(thread.opened):
        thread.open("other.mp4", 2)


def test_clip_plays_to_its_end_and_pauses(qtbot: QtBot, start: Start, mailbox: RecordingMailbox) -> None:
    thread = start(FakeSource(3))
    thread.set_loop(False)
    with qtbot.waitSignals([thread.playing_changed] * 2, check_params_cbs=[_is(True), _is(False)]):
        thread.open("clip.mp4", 1)
    assert mailbox.numbers() == [0, 1, 2]


def test_clip_starts_again_with_a_discontinuity(qtbot: QtBot, start: Start, mailbox: RecordingMailbox) -> None:
    start(FakeSource(2)).open("clip.mp4", 1)
    qtbot.waitUntil(lambda: len(mailbox.requests) >= 4)
    assert mailbox.numbers()[:4] == [0, 1, 0, 1]
    assert mailbox.requests[0].jump == mailbox.requests[1].jump != mailbox.requests[2].jump


def test_playing_again_at_the_end_starts_again(qtbot: QtBot, start: Start, mailbox: RecordingMailbox) -> None:
    thread = start(FakeSource(2))
    thread.set_loop(False)
    with qtbot.waitSignal(thread.playing_changed, check_params_cb=_is(False)):
        thread.open("clip.mp4", 1)
    with qtbot.waitSignal(thread.playing_changed, check_params_cb=_is(False)):
        thread.set_playing(True)
    assert mailbox.numbers() == [0, 1, 0, 1]


def test_every_frame_waits_until_the_one_before_is_taken(qtbot: QtBot, start: Start, mailbox: RecordingMailbox) -> None:
    thread = start(FakeSource(6))
    thread.set_loop(False)
    thread.set_every_frame(True)
    thread.open("clip.mp4", 1)
    taken: list[int] = []

    def take() -> bool:
        request = mailbox.get(0.0)
        if request is not None:
            assert mailbox.numbers() == list(range(request.frame.number + 1)), "no later frame was put"
            taken.append(request.frame.number)
        return len(taken) == 6

    qtbot.waitUntil(take)
    assert taken == list(range(6))
    assert mailbox.dropped == 0


def test_requests_are_handled_while_a_frame_waits(qtbot: QtBot, start: Start, mailbox: RecordingMailbox) -> None:
    thread = start(FakeSource(6))
    thread.set_every_frame(True)
    thread.open("clip.mp4", 1)  # nobody takes its first frame
    qtbot.waitUntil(lambda: mailbox.numbers() == [0])
    with qtbot.waitSignal(thread.playing_changed, check_params_cb=_is(False)):
        thread.set_playing(False)


def test_a_clip_loops_between_in_and_out_point(qtbot: QtBot, start: Start, mailbox: RecordingMailbox) -> None:
    thread = start(FakeSource(9, nominal_fps=1.0), FakeSource(9, nominal_fps=1.0))
    thread.open("folder", 1)
    thread.set_span(3, 5)
    thread.set_speed(100.0)
    thread.set_playing(True)
    qtbot.waitUntil(lambda: len(mailbox.requests) >= 10)
    numbers = mailbox.numbers()
    at = numbers.index(3)
    assert numbers[at : at + 6] == [3, 4, 5, 3, 4, 5]
    assert set(numbers[at:]) == {3, 4, 5}
    thread.open("other", 2)  # all of another source is there again
    thread.set_playing(True)
    qtbot.waitUntil(lambda: {7, 8} <= {one.frame.number for one in mailbox.requests if one.generation == 2})


def test_playing_from_the_out_point_begins_at_the_in_point(
    qtbot: QtBot, start: Start, mailbox: RecordingMailbox
) -> None:
    thread = start(FakeSource(9, nominal_fps=1.0))
    thread.set_loop(False)
    thread.open("folder", 1)
    thread.set_span(2, 4)
    thread.set_speed(100.0)
    thread.seek(7)
    qtbot.waitUntil(lambda: mailbox.numbers()[-1:] == [7])
    thread.set_playing(True)
    qtbot.waitUntil(lambda: mailbox.numbers()[-1] == 4)
    assert mailbox.numbers() == [0, 7, 2, 3, 4]


def test_steps_pause_the_clip(qtbot: QtBot, start: Start, mailbox: RecordingMailbox) -> None:
    thread = start(FakeSource(9, nominal_fps=1.0))
    thread.open("folder", 1)
    thread.step(1)
    thread.step(1)
    thread.step(-1)
    qtbot.waitUntil(lambda: mailbox.numbers() == [0, 1, 2, 1])


def test_steps_at_the_ends_stay_there(qtbot: QtBot, start: Start, mailbox: RecordingMailbox) -> None:
    thread = start(FakeSource(2, nominal_fps=1.0))
    thread.open("folder", 1)
    for by in (-1, 1, 1, -1):
        thread.step(by)
    qtbot.waitUntil(lambda: mailbox.numbers() == [0, 1, 0])


def test_seek_shows_one_frame(qtbot: QtBot, start: Start, mailbox: RecordingMailbox) -> None:
    thread = start(FakeSource(9, nominal_fps=1.0))
    thread.open("folder", 1)
    thread.seek(6)
    qtbot.waitUntil(lambda: mailbox.numbers()[-1:] == [6])


def test_unreadable_images_are_reported_and_skipped_in_both_directions(
    qtbot: QtBot, start: Start, mailbox: RecordingMailbox
) -> None:
    thread = start(FakeSource(4, broken=(1, 2), names=True, nominal_fps=1.0))
    thread.open("folder", 1)
    with qtbot.waitSignals([thread.error] * 2) as signals:
        thread.step(1)
    assert [signal.args[1][:5] for signal in signals.all_signals_and_args] == ["1.jpg", "2.jpg"]
    qtbot.waitUntil(lambda: mailbox.numbers() == [0, 3])
    thread.step(-1)
    qtbot.waitUntil(lambda: mailbox.numbers() == [0, 3, 0])


def test_skipped_images_stay_reported_until_the_next_step(
    qtbot: QtBot, start: Start, mailbox: RecordingMailbox
) -> None:
    thread = start(FakeSource(4, broken=(1,), names=True, nominal_fps=1.0))
    recoveries: list[int] = []
    thread.recovered.connect(recoveries.append)
    thread.open("folder", 1)
    thread.step(1)
    qtbot.waitUntil(lambda: mailbox.numbers() == [0, 2])
    with qtbot.waitSignal(thread.recovered):
        thread.step(1)
    qtbot.waitUntil(lambda: mailbox.numbers() == [0, 2, 3])
    assert recoveries == [1]


def test_a_camera_that_stays_away_is_logged_once(qtbot: QtBot, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    thread = start(
        HandvizError(MISSING, ErrorCode.CAMERA_MISSING),
        HandvizError(MISSING, ErrorCode.CAMERA_MISSING),
        HandvizError(MISSING, ErrorCode.CAMERA_MISSING),
        FakeSource(),
    )
    with qtbot.waitSignal(thread.opened):
        thread.open("camera:0", 1)
    assert caplog.text.count(MISSING) == 1


def test_paused_frame_is_sent_again(qtbot: QtBot, start: Start, mailbox: RecordingMailbox) -> None:
    thread = start(FakeSource(1, names=True, nominal_fps=1.0))
    thread.open("picture.jpg", 1)
    qtbot.waitUntil(lambda: mailbox.numbers() == [0])
    thread.repeat()
    qtbot.waitUntil(lambda: mailbox.numbers() == [0, 0])
    assert mailbox.requests[1].frame.image is mailbox.requests[0].frame.image
    assert mailbox.requests[1].frame.captured_ms > mailbox.requests[0].frame.captured_ms
    assert mailbox.requests[1].jump == mailbox.requests[0].jump


def test_source_that_breaks_in_an_unknown_way_is_reported(
    qtbot: QtBot, start: Start, mailbox: RecordingMailbox
) -> None:
    class Odd(FakeSource):
        def read(self) -> None:  # type: ignore[override]
            raise ZeroDivisionError

    thread = start(Odd(3), FakeSource(3))
    with qtbot.waitSignal(thread.error) as error:
        thread.open("clip.mp4", 1)
    assert "unexpectedly" in error.args[1]
    thread.open("other.mp4", 2)
    qtbot.waitUntil(lambda: mailbox.numbers()[:1] == [0])


def _is(wanted: bool) -> Callable[[int, bool], bool]:
    return lambda _, is_playing: is_playing == wanted
