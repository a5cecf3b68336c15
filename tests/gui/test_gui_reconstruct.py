"""The reconstruction thread with a pipeline that does what the test says."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from gui_fakes import FakePipeline, frame
from pytestqt.qtbot import QtBot

from handviz.core.camera_model import CameraModel, HandSize
from handviz.core.errors import HandvizError
from handviz.core.records import Frame
from handviz.gui.session.messages import Answer, Job
from handviz.gui.session.reconstruct_thread import PipelineMaker, ReconstructThread
from handviz.gui.session.settings import ViewSettings
from handviz.sources.mailbox import Mailbox
from tests.waiting import LIMIT_S

Start = Callable[..., ReconstructThread]


@pytest.fixture
def mailbox() -> Mailbox[Job]:
    """Where frames are left."""
    return Mailbox()


@pytest.fixture
def start(mailbox: Mailbox[Job]) -> Iterator[Start]:
    """Starts a thread with a pipeline or a maker of one."""
    threads: list[ReconstructThread] = []

    def start_one(pipeline: FakePipeline | PipelineMaker) -> ReconstructThread:
        maker = (lambda _: pipeline) if isinstance(pipeline, FakePipeline) else pipeline
        threads.append(ReconstructThread(mailbox, maker, ViewSettings()))
        threads[-1].start()
        return threads[-1]

    yield start_one
    for thread in threads:
        thread.stop()


def job(number: int, *, generation: int = 1, jump: int = 0, name: str = "") -> Job:
    """A frame in its envelope."""
    return Job(generation, jump, frame(number, name), 30.0)


def answer_to(qtbot: QtBot, thread: ReconstructThread, mailbox: Mailbox[Job], sent: Job) -> Answer:
    """Send one frame and wait for what comes back."""
    with qtbot.waitSignal(thread.answered) as answered:
        mailbox.put(sent)
    return answered.args[0]


def test_answers_carry_numbers_generation_and_provider(qtbot: QtBot, start: Start, mailbox: Mailbox[Job]) -> None:
    answer = answer_to(qtbot, start(FakePipeline(ViewSettings())), mailbox, job(5, generation=3))
    assert (answer.generation, answer.result.frame.number) == (3, 5)
    assert (answer.capture_rate_hz, answer.provider, len(answer.result.hands)) == (30.0, "CPUExecutionProvider", 1)


def test_variant_changes_with_the_next_frame(qtbot: QtBot, start: Start, mailbox: Mailbox[Job]) -> None:
    pipeline = FakePipeline(ViewSettings())
    thread = start(pipeline)
    is_busy, may_go_on = threading.Event(), threading.Event()

    def wait_in_the_middle(_: Frame) -> None:
        is_busy.set()
        assert may_go_on.wait(LIMIT_S)

    pipeline.before_process = wait_in_the_middle
    answers: list[Answer] = []
    thread.answered.connect(answers.append)
    mailbox.put(job(0))
    assert is_busy.wait(LIMIT_S)
    thread.apply(replace(ViewSettings(), variant="prior"))
    mailbox.put(job(1))
    may_go_on.set()
    qtbot.waitUntil(lambda: len(answers) == 2)
    assert [answer.result.variant for answer in answers] == ["final", "prior"]


def test_only_changed_settings_reach_the_pipeline(qtbot: QtBot, start: Start, mailbox: Mailbox[Job]) -> None:
    pipeline = FakePipeline(ViewSettings())
    thread = start(pipeline)
    answer_to(qtbot, thread, mailbox, job(0))
    thread.apply(
        ViewSettings(
            smoothing=0.8, camera_model=CameraModel("angle", 75.0), hand_size=HandSize("length", 190.0), wireframe=True
        )
    )
    answer_to(qtbot, thread, mailbox, job(1))
    answer_to(qtbot, thread, mailbox, job(2))
    assert pipeline.told == [
        ("smoothing", 0.8),
        ("camera_model", CameraModel("angle", 75.0)),
        ("hand_size", HandSize("length", 190.0)),
    ]


def test_texture_is_asked_for_in_its_colour_only_and_forgotten_before_the_next_frame(
    qtbot: QtBot, start: Start, mailbox: Mailbox[Job]
) -> None:
    pipeline = FakePipeline(ViewSettings())
    thread = start(pipeline)
    for number, colour in enumerate(("uncertainty", "texture", "texture", "plain")):
        thread.apply(ViewSettings(colour=colour))  # type: ignore[arg-type]
        has_texture = answer_to(qtbot, thread, mailbox, job(number)).result.hands[0].texture is not None
        assert has_texture == (colour == "texture")
    thread.forget_texture()
    answer_to(qtbot, thread, mailbox, job(4))
    answer_to(qtbot, thread, mailbox, job(5))
    assert pipeline.told == [("texture", True), ("texture", False), ("forget_texture", None)]


def test_pipeline_hears_where_frames_stop_following_each_other(
    qtbot: QtBot, start: Start, mailbox: Mailbox[Job]
) -> None:
    pipeline = FakePipeline(ViewSettings())
    thread = start(pipeline)
    for sent in (job(0), job(1), job(7, jump=1), job(0, generation=2), job(1, generation=2)):
        answer_to(qtbot, thread, mailbox, sent)
    assert pipeline.told == [("reset", True), ("reset", True)]


def test_images_of_a_folder_never_follow_each_other(qtbot: QtBot, start: Start, mailbox: Mailbox[Job]) -> None:
    pipeline = FakePipeline(ViewSettings())
    thread = start(pipeline)
    for sent in (job(0, jump=1, name="a.jpg"), job(1, jump=2, name="b.jpg"), job(0, generation=2)):
        answer_to(qtbot, thread, mailbox, sent)
    assert pipeline.told == [("reset", False), ("reset", True)]


def test_missing_model_is_said_once_and_looked_for_again_with_the_next_source(
    qtbot: QtBot, start: Start, mailbox: Mailbox[Job]
) -> None:
    tries: list[int] = []

    def make(settings: ViewSettings) -> FakePipeline:
        tries.append(1)
        if len(tries) == 1:
            raise HandvizError("models/handviz_final.onnx is missing: run git lfs pull")
        return FakePipeline(settings)

    thread = start(make)
    errors: list[str] = []
    thread.error.connect(errors.append)
    first = answer_to(qtbot, thread, mailbox, job(0))
    second = answer_to(qtbot, thread, mailbox, job(1))
    assert (first.result.hands, second.result.hands, second.provider) == ((), (), "")
    assert (len(tries), len(errors)) == (1, 1)
    with qtbot.waitSignal(thread.recovered):
        assert answer_to(qtbot, thread, mailbox, job(0, generation=2)).result.hands


def test_another_variant_is_tried_where_the_first_one_is_missing(
    qtbot: QtBot, start: Start, mailbox: Mailbox[Job]
) -> None:
    def make(settings: ViewSettings) -> FakePipeline:
        if settings.variant == "final":
            raise HandvizError("models/handviz_final.onnx is missing")
        return FakePipeline(settings)

    thread = start(make)
    assert answer_to(qtbot, thread, mailbox, job(0)).result.hands == ()
    thread.apply(ViewSettings(variant="prior"))
    with qtbot.waitSignal(thread.recovered):
        assert answer_to(qtbot, thread, mailbox, job(1)).result.variant == "prior"


def test_frame_that_fails_is_reported_and_the_next_one_works(qtbot: QtBot, start: Start, mailbox: Mailbox[Job]) -> None:
    pipeline = FakePipeline(ViewSettings())

    def fail_on_the_first(taken: Frame) -> None:
        if taken.number == 0:
            raise ZeroDivisionError("odd")

    pipeline.before_process = fail_on_the_first
    thread = start(pipeline)
    with qtbot.waitSignal(thread.error) as error:
        assert answer_to(qtbot, thread, mailbox, job(0)).result.hands == ()
    assert "odd" in error.args[0]
    with qtbot.waitSignal(thread.recovered):
        assert answer_to(qtbot, thread, mailbox, job(1)).result.hands


def test_variant_that_cannot_be_used_stays_on_the_screen_as_a_message(
    qtbot: QtBot, start: Start, mailbox: Mailbox[Job]
) -> None:
    class Refusing(FakePipeline):
        def set_variant(self, variant: str, /) -> None:
            self.before_process = self.refuse

        def refuse(self, _: Frame) -> None:
            self.before_process = lambda _: None
            raise HandvizError("models/handviz_prior.onnx is missing")

    thread = start(Refusing(ViewSettings()))
    recoveries: list[int] = []
    thread.recovered.connect(lambda: recoveries.append(1))
    answer_to(qtbot, thread, mailbox, job(0))
    thread.apply(ViewSettings(variant="prior"))
    with qtbot.waitSignal(thread.error):
        answer_to(qtbot, thread, mailbox, job(1))
    assert answer_to(qtbot, thread, mailbox, job(2)).result.variant == "final"
    assert recoveries == []


def test_pipeline_is_closed_with_the_thread(qtbot: QtBot, start: Start, mailbox: Mailbox[Job]) -> None:
    pipeline = FakePipeline(ViewSettings())
    thread = start(pipeline)
    answer_to(qtbot, thread, mailbox, job(0))
    thread.stop()
    assert pipeline.is_closed


def test_what_a_result_lacks_stays_said_until_it_is_there(qtbot: QtBot, start: Start, mailbox: Mailbox[Job]) -> None:
    pipeline = FakePipeline(ViewSettings())
    pipeline.error = "Without texture: its file is missing"
    thread = start(pipeline)
    said: list[str] = []
    thread.error.connect(said.append)
    answers = [answer_to(qtbot, thread, mailbox, job(number)) for number in range(3)]
    assert said == [pipeline.error]
    assert all(answer.result.hands for answer in answers)
    pipeline.error = ""
    with qtbot.waitSignal(thread.recovered):
        mailbox.put(job(3))
