"""The reconstruction thread with a scripted pipeline."""

import threading
from collections.abc import Callable, Iterator

import pytest
from gui_fakes import FakePipeline, frame
from pytestqt.qtbot import QtBot

from handviz.core.camera_model import CameraModel, HandSize
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Frame
from handviz.gui.session.messages import Answer, FrameRequest
from handviz.gui.session.reconstruct_thread import PipelineMaker, ReconstructThread
from handviz.gui.session.settings import ViewSettings, changed, wanted_of_pipeline
from handviz.pipeline.settings import PipelineSettings
from handviz.sources.mailbox import Mailbox
from tests.waiting import LIMIT_S

Requests = Mailbox[FrameRequest]
Start = Callable[..., ReconstructThread]


@pytest.fixture
def mailbox() -> Requests:
    """Return the mailbox for frames."""
    return Mailbox()


@pytest.fixture
def start(mailbox: Requests) -> Iterator[Start]:
    """Return a function that starts a thread with a pipeline or a maker of one."""
    threads: list[ReconstructThread] = []

    def start_one(pipeline: FakePipeline | PipelineMaker) -> ReconstructThread:
        maker = (lambda _: pipeline) if isinstance(pipeline, FakePipeline) else pipeline
        threads.append(ReconstructThread(mailbox, maker, PipelineSettings()))
        threads[-1].start()
        return threads[-1]

    yield start_one
    for thread in threads:
        thread.stop()


def request(number: int, *, generation: int = 1, jump: int = 0, name: str = "") -> FrameRequest:
    """Return a request with this frame."""
    return FrameRequest(generation, jump, frame(number, name), 30.0)


def answer_to(qtbot: QtBot, thread: ReconstructThread, mailbox: Requests, sent: FrameRequest) -> Answer:
    """Send a frame and return its answer."""
    with qtbot.waitSignal(thread.answered) as answered:
        mailbox.put(sent)
    return answered.args[0]


def test_answers_carry_numbers_generation_and_provider(qtbot: QtBot, start: Start, mailbox: Requests) -> None:
    answer = answer_to(qtbot, start(FakePipeline()), mailbox, request(5, generation=3))
    assert (answer.generation, answer.result.frame.number) == (3, 5)
    assert (answer.capture_rate_hz, answer.provider, len(answer.result.hands)) == (30.0, "CPUExecutionProvider", 1)


def test_model_changes_with_the_next_frame(qtbot: QtBot, start: Start, mailbox: Requests) -> None:
    pipeline = FakePipeline()
    thread = start(pipeline)
    is_busy, may_go_on = threading.Event(), threading.Event()

    def wait_in_the_middle(_: Frame) -> None:
        is_busy.set()
        assert may_go_on.wait(LIMIT_S)

    pipeline.before_process = wait_in_the_middle
    answers: list[Answer] = []
    thread.answered.connect(answers.append)
    mailbox.put(request(0))
    assert is_busy.wait(LIMIT_S)
    thread.apply(PipelineSettings("prior"))
    mailbox.put(request(1))
    may_go_on.set()
    qtbot.waitUntil(lambda: len(answers) == 2)
    assert [answer.result.model for answer in answers] == ["final", "prior"]


def test_only_changed_settings_reach_the_pipeline(qtbot: QtBot, start: Start, mailbox: Requests) -> None:
    pipeline = FakePipeline()
    thread = start(pipeline)
    answer_to(qtbot, thread, mailbox, request(0))
    thread.apply(
        PipelineSettings(smoothing=0.8, camera_model=CameraModel("angle", 75.0), hand_size=HandSize("length", 190.0))
    )
    answer_to(qtbot, thread, mailbox, request(1))
    answer_to(qtbot, thread, mailbox, request(2))
    assert pipeline.told == [
        ("camera_model", CameraModel("angle", 75.0)),
        ("hand_size", HandSize("length", 190.0)),
        ("smoothing", 0.8),
    ]


def test_texture_is_asked_for_in_its_colour_only_and_forgotten_before_the_next_frame(
    qtbot: QtBot, start: Start, mailbox: Requests
) -> None:
    pipeline = FakePipeline()
    thread = start(pipeline)
    for number, colour in enumerate(("uncertainty", "texture", "texture", "plain")):
        thread.apply(wanted_of_pipeline(changed(ViewSettings(), colour=colour)))
        has_texture = answer_to(qtbot, thread, mailbox, request(number)).result.hands[0].texture is not None
        assert has_texture == (colour == "texture")
    thread.forget_texture()
    answer_to(qtbot, thread, mailbox, request(4))
    answer_to(qtbot, thread, mailbox, request(5))
    assert pipeline.told == [("texture", True), ("texture", False), ("forget_texture", None)]


def test_requests_for_single_hands_reach_the_pipeline_before_the_next_frame(
    qtbot: QtBot, start: Start, mailbox: Requests
) -> None:
    pipeline = FakePipeline()
    thread = start(pipeline)
    answer_to(qtbot, thread, mailbox, request(0))
    thread.flip_hand(2)
    thread.hide_hand(1)
    thread.show_all_hands()
    answer_to(qtbot, thread, mailbox, request(1))
    answer_to(qtbot, thread, mailbox, request(2))
    assert pipeline.told == [("flip_hand", 2), ("hide_hand", 1), ("show_all_hands", None)]


def test_pipeline_hears_where_frames_stop_following_each_other(qtbot: QtBot, start: Start, mailbox: Requests) -> None:
    pipeline = FakePipeline()
    thread = start(pipeline)
    for sent in (request(0), request(1), request(7, jump=1), request(0, generation=2), request(1, generation=2)):
        answer_to(qtbot, thread, mailbox, sent)
    assert pipeline.told == [("reset", True), ("reset", True)]


def test_images_of_a_folder_never_follow_each_other(qtbot: QtBot, start: Start, mailbox: Requests) -> None:
    pipeline = FakePipeline()
    thread = start(pipeline)
    for sent in (request(0, jump=1, name="a.jpg"), request(1, jump=2, name="b.jpg"), request(0, generation=2)):
        answer_to(qtbot, thread, mailbox, sent)
    assert pipeline.told == [("reset", False), ("reset", True)]


def test_missing_model_is_said_once_and_looked_for_again_with_the_next_source(
    qtbot: QtBot, start: Start, mailbox: Requests
) -> None:
    tries: list[int] = []

    def make(settings: PipelineSettings) -> FakePipeline:
        tries.append(1)
        if len(tries) == 1:
            raise HandvizError("models/handviz_final.onnx is missing: run git lfs pull", ErrorCode.CAMERA_MISSING)
        return FakePipeline(settings)

    thread = start(make)
    errors: list[str] = []
    thread.error.connect(errors.append)
    first = answer_to(qtbot, thread, mailbox, request(0))
    second = answer_to(qtbot, thread, mailbox, request(1))
    assert (first.result.hands, second.result.hands, second.provider) == ((), (), "")
    assert (len(tries), len(errors)) == (1, 1)
    with qtbot.waitSignal(thread.recovered):
        assert answer_to(qtbot, thread, mailbox, request(0, generation=2)).result.hands


def test_another_model_is_tried_where_the_first_one_is_missing(qtbot: QtBot, start: Start, mailbox: Requests) -> None:
    def make(settings: PipelineSettings) -> FakePipeline:
        if settings.model == "final":
            raise HandvizError("models/handviz_final.onnx is missing", ErrorCode.CAMERA_MISSING)
        return FakePipeline(settings)

    thread = start(make)
    assert answer_to(qtbot, thread, mailbox, request(0)).result.hands == ()
    thread.apply(PipelineSettings("prior"))
    with qtbot.waitSignal(thread.recovered):
        assert answer_to(qtbot, thread, mailbox, request(1)).result.model == "prior"


def test_frame_that_fails_is_reported_and_the_next_one_works(qtbot: QtBot, start: Start, mailbox: Requests) -> None:
    pipeline = FakePipeline()

    def fail_on_the_first(taken: Frame) -> None:
        if taken.number == 0:
            raise ZeroDivisionError("odd")

    pipeline.before_process = fail_on_the_first
    thread = start(pipeline)
    with qtbot.waitSignal(thread.error) as error:
        assert answer_to(qtbot, thread, mailbox, request(0)).result.hands == ()
    assert "odd" in error.args[0]
    with qtbot.waitSignal(thread.recovered):
        assert answer_to(qtbot, thread, mailbox, request(1)).result.hands


def test_model_that_cannot_be_used_stays_on_the_screen_as_a_message(
    qtbot: QtBot, start: Start, mailbox: Requests
) -> None:
    class Refusing(FakePipeline):
        def apply(self, settings: PipelineSettings, /) -> None:
            self.before_process = self.refuse

        def refuse(self, _: Frame) -> None:
            self.before_process = lambda _: None
            raise HandvizError("models/handviz_prior.onnx is missing", ErrorCode.CAMERA_MISSING)

    thread = start(Refusing())
    recoveries: list[int] = []
    thread.recovered.connect(lambda: recoveries.append(1))
    answer_to(qtbot, thread, mailbox, request(0))
    thread.apply(PipelineSettings("prior"))
    with qtbot.waitSignal(thread.error):
        answer_to(qtbot, thread, mailbox, request(1))
    assert answer_to(qtbot, thread, mailbox, request(2)).result.model == "final"
    assert recoveries == []


def test_pipeline_is_closed_with_the_thread(qtbot: QtBot, start: Start, mailbox: Requests) -> None:
    pipeline = FakePipeline()
    thread = start(pipeline)
    answer_to(qtbot, thread, mailbox, request(0))
    thread.stop()
    assert pipeline.is_closed


def test_what_a_result_lacks_stays_reported_until_it_is_there(qtbot: QtBot, start: Start, mailbox: Requests) -> None:
    pipeline = FakePipeline()
    pipeline.error = "Without texture: its file is missing"
    thread = start(pipeline)
    said: list[str] = []
    thread.error.connect(said.append)
    answers = [answer_to(qtbot, thread, mailbox, request(number)) for number in range(3)]
    assert said == [pipeline.error]
    assert all(answer.result.hands for answer in answers)
    pipeline.error = ""
    with qtbot.waitSignal(thread.recovered):
        mailbox.put(request(3))
