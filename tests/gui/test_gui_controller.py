"""The controller, without a window."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gui_fakes import FakePipeline, FakeSource, frame
from pytestqt.qtbot import QtBot

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import FrameResult
from handviz.gui.session.controller import LAST_SOURCE, Controller
from handviz.gui.session.messages import Answer, Status
from handviz.gui.session.settings import SettingsStore, ViewSettings, changed
from handviz.sources.source import CameraInfo

Make = Callable[..., Controller]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a function that makes controllers whose sources are found by their text."""
    controllers: list[Controller] = []

    def make_one(
        sources: dict[str, FakeSource] | None = None, *, cameras: tuple[CameraInfo, ...] = (), **settings: Any
    ) -> Controller:
        def opener(text: str, _: object = None) -> FakeSource:
            if text not in (sources or {}):
                raise HandvizError(f"{text} is not there", ErrorCode.CAMERA_MISSING)
            return (sources or {})[text]

        settings.setdefault("fallback_clip", tmp_path / "no_clip.mp4")
        controllers.append(
            Controller(FakePipeline, SettingsStore(), opener=opener, lister=lambda: list(cameras), **settings)
        )
        return controllers[-1]

    yield make_one
    for controller in controllers:
        controller.close()


def texts(controller: Controller) -> list[str]:
    """Return the list of messages from now on."""
    messages: list[str] = []
    controller.status_changed.connect(lambda status: messages.append(status.text))
    return messages


def test_answers_come_through(qtbot: QtBot, make: Make) -> None:
    controller = make({"clip.mp4": FakeSource(3)})
    with qtbot.waitSignal(controller.answered) as answered:
        controller.start("clip.mp4")
    assert answered.args[0].result.hands


def test_late_answers_of_the_last_source_are_dropped(qtbot: QtBot, make: Make) -> None:
    controller = make({"a": FakeSource(1), "b": FakeSource(1)})
    with qtbot.waitSignal(controller.answered):
        controller.start("a")
    with qtbot.waitSignal(controller.answered):
        controller.open("b")
    late = Answer(1, FrameResult(frame(), "final"), 0.0, 0.0, 0, "")
    with qtbot.assertNotEmitted(controller.answered):
        controller._on_answered(late)


def test_late_errors_of_the_last_source_are_dropped(qtbot: QtBot, make: Make) -> None:
    controller = make({"b": FakeSource(1)})
    with qtbot.waitSignal(controller.answered):
        controller.start("b")
    with qtbot.assertNotEmitted(controller.status_changed):
        controller._on_source_error(0, "the last camera is gone")


def test_paused_image_is_processed_again_with_a_changed_model(qtbot: QtBot, make: Make) -> None:
    controller = make({"picture.jpg": FakeSource(1, names=True, nominal_fps=1.0)})
    with qtbot.waitSignal(controller.answered):
        controller.start("picture.jpg")
    with qtbot.waitSignal(controller.answered) as again:
        controller.change(model="amvur")
    assert again.args[0].result.model == "amvur"


def test_paused_image_gets_a_texture_that_can_be_reset(qtbot: QtBot, make: Make) -> None:
    controller = make({"picture.jpg": FakeSource(1, names=True, nominal_fps=1.0)})
    messages = texts(controller)
    with qtbot.waitSignal(controller.answered):
        controller.start("picture.jpg")
    with qtbot.assertNotEmitted(controller.answered, wait=50):
        controller.forget_texture()
    assert "texture colour only" in messages[-1]
    with qtbot.waitSignal(controller.answered) as again:
        controller.change(colour="texture")
    assert again.args[0].result.hands[0].texture is not None
    with qtbot.waitSignal(controller.answered):
        controller.forget_texture()
    pipeline = controller._reconstruct._pipeline
    assert isinstance(pipeline, FakePipeline)
    assert pipeline.told[-2:] == [("texture", True), ("forget_texture", None)]
    assert messages[-1] == "Texture reset."


def test_paused_image_is_processed_again_when_a_hand_is_flipped_or_hidden(qtbot: QtBot, make: Make) -> None:
    controller = make({"picture.jpg": FakeSource(1, names=True, nominal_fps=1.0)})
    with qtbot.waitSignal(controller.answered):
        controller.start("picture.jpg")
    pipeline = controller._reconstruct._pipeline
    assert isinstance(pipeline, FakePipeline)
    for ask, told in (
        (lambda: controller.flip_hand(2), ("flip_hand", 2)),
        (lambda: controller.hide_hand(1), ("hide_hand", 1)),
        (controller.show_all_hands, ("show_all_hands", None)),
    ):
        with qtbot.waitSignal(controller.answered):
            ask()
        assert pipeline.told[-1] == told


def test_what_concerns_only_the_display_processes_nothing(qtbot: QtBot, make: Make) -> None:
    controller = make({"picture.jpg": FakeSource(1, names=True, nominal_fps=1.0)})
    with qtbot.waitSignal(controller.answered):
        controller.start("picture.jpg")
    with qtbot.assertNotEmitted(controller.answered, wait=100), qtbot.waitSignal(controller.settings_changed):
        controller.change(mirror=True)


def test_settings_are_saved(make: Make) -> None:
    make().change(model="prior", smoothing=0.75, wireframe=True, range_high_mm=22.5)
    assert make().settings == changed(ViewSettings(), model="prior", smoothing=0.75, wireframe=True, range_high_mm=22.5)


def test_settings_for_one_run_are_not_saved(make: Make) -> None:
    make().change(model="amvur", colour="plain")
    controller = make(for_this_run={"model": "prior", "colour": "uncertainty"})
    assert (controller.settings.pipeline.model, controller.settings.draw.colour) == ("prior", "uncertainty")
    controller.change(wireframe=True)
    assert make().settings == changed(ViewSettings(), model="amvur", colour="plain", wireframe=True)


def test_choosing_what_the_run_began_with_is_saved(make: Make) -> None:
    make(for_this_run={"model": "prior"}).change(model="prior")
    assert make().settings.pipeline.model == "prior"


def test_only_a_source_that_the_user_opened_is_saved(qtbot: QtBot, make: Make) -> None:
    controller = make({"given.mp4": FakeSource(1), "mine.mp4": FakeSource(1)})
    with qtbot.waitSignal(controller.source_opened):
        controller.start("given.mp4")
    assert SettingsStore().text(LAST_SOURCE) == ""
    with qtbot.waitSignal(controller.source_opened):
        controller.open("mine.mp4")
    assert SettingsStore().text(LAST_SOURCE) == "mine.mp4"


def test_damaged_settings_become_defaults(settings_folder: Path) -> None:
    settings_folder.mkdir()
    text = "[view]\nvariant=best\nsmoothing=many\nopacity=7\nwireframe=perhaps\nskeleton=true\n"
    (settings_folder / "handviz.ini").write_text(text)
    assert SettingsStore().load() == changed(ViewSettings(), skeleton=True)


def test_begins_with_the_last_source(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    clip = tmp_path / "mine.mp4"
    clip.touch()
    SettingsStore().save_text(LAST_SOURCE, str(clip))
    controller = make({str(clip): FakeSource(1)}, cameras=(CameraInfo(0, "Front"),))
    with qtbot.waitSignal(controller.source_opened) as opened:
        controller.start()
    assert opened.args[0].text == str(clip)


def test_begins_with_the_first_camera_if_the_last_source_is_gone(qtbot: QtBot, make: Make) -> None:
    SettingsStore().save_text(LAST_SOURCE, "camera:4")
    camera = FakeSource()
    controller = make({"camera:1": camera}, cameras=(CameraInfo(1, "Front"), CameraInfo(2, "Back")))
    with qtbot.waitSignal(controller.source_opened) as opened:
        controller.start()
    assert opened.args[0].text == "camera:1"
    assert SettingsStore().text(LAST_SOURCE) == "camera:4", "it may be plugged in again"
    camera.let_go()


def test_begins_with_the_bundled_clip_and_reports_it(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    clip = tmp_path / "bundled.mp4"
    clip.touch()
    controller = make({str(clip): FakeSource(1)}, fallback_clip=clip)
    messages = texts(controller)
    with qtbot.waitSignal(controller.answered):
        controller.start()
    assert messages[-1] == "No camera found; playing the bundled clip."
    assert SettingsStore().text(LAST_SOURCE) == ""


def test_nothing_to_begin_with_is_a_message(qtbot: QtBot, make: Make) -> None:
    controller = make()
    messages = texts(controller)
    with qtbot.waitSignal(controller.cameras_found):
        controller.start()
    assert messages[-1].startswith("No camera found. Open a clip")


def test_missing_camera_is_an_error_until_another_source_is_chosen(qtbot: QtBot, make: Make) -> None:
    controller = make({"clip.mp4": FakeSource(1)})
    statuses: list[Status] = []
    controller.status_changed.connect(statuses.append)
    controller.start("camera:0")
    qtbot.waitUntil(lambda: Status("camera:0 is not there", is_error=True) in statuses)
    with qtbot.waitSignal(controller.answered):
        controller.open("clip.mp4")
    assert not statuses[-1].is_error


def test_missing_model_is_an_error_and_frames_still_come(
    qtbot: QtBot, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise HandvizError("models/handviz_final.onnx is missing", ErrorCode.CAMERA_MISSING)

    monkeypatch.setattr(FakePipeline, "__init__", refuse)
    controller = make({"clip.mp4": FakeSource(1)})
    messages = texts(controller)
    with qtbot.waitSignal(controller.answered) as answered:
        controller.start("clip.mp4")
    assert answered.args[0].provider == ""
    assert messages[-1] == "models/handviz_final.onnx is missing"


def test_cameras_that_cannot_be_listed_are_none(qtbot: QtBot, tmp_path: Path) -> None:
    def lister() -> list[CameraInfo]:
        raise OSError("no permission")

    controller = Controller(FakePipeline, SettingsStore(), lister=lister, fallback_clip=tmp_path / "none.mp4")
    with qtbot.waitSignal(controller.cameras_found) as found:
        controller.start()
    assert found.args == [[]]
    controller.close()


def given(number: int, *, rate_hz: float = 30.0) -> Answer:
    """Return an answer of the present source, which plays unless ``rate_hz`` is 0."""
    return Answer(0, FrameResult(frame(number), "final"), rate_hz, rate_hz, 0, "")


def test_texts_of_a_playing_source_follow_the_first_answer_at_once_and_then_the_newest(
    qtbot: QtBot, make: Make
) -> None:
    controller, numbers = make(), list[int]()
    controller.reported.connect(lambda answer: numbers.append(answer.result.frame.number))
    for number in range(3):
        controller.answered.emit(given(number))
    assert numbers == [0]
    qtbot.waitUntil(lambda: numbers == [0, 2])
    qtbot.waitUntil(lambda: not controller._reports._timer.isActive())
    controller.answered.emit(given(3))
    assert numbers == [0, 2, 3]


def test_texts_of_a_paused_source_follow_every_answer(make: Make) -> None:
    controller, numbers = make(), list[int]()
    controller.reported.connect(lambda answer: numbers.append(answer.result.frame.number))
    for number in range(3):
        controller.answered.emit(given(number, rate_hz=0.0))
    assert numbers == [0, 1, 2]


def test_a_text_that_waits_is_forgotten_with_its_source(qtbot: QtBot, make: Make) -> None:
    controller, reported = make({"b": FakeSource(1)}), list[Answer]()
    controller.reported.connect(reported.append)
    for number in (7, 8):
        controller.answered.emit(given(number))
    controller.start("b")
    qtbot.waitUntil(lambda: len(reported) > 1)
    assert [answer.result.frame.number for answer in reported[:2]] == [7, 0]
