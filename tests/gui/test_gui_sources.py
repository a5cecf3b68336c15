"""Clips, folders and images through the window: timeline, rotation, dropping, switching, bad input."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from gui_cameras import CameraWorld, quicken
from gui_fakes import TRIANGLE, FakePipeline, press_key
from numbered_clips import number_in, write_clip
from PIL import Image
from PyQt6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PyQt6.QtGui import QDropEvent
from pytestqt.qtbot import QtBot

from handviz.core.records import Frame
from handviz.gui.main_window import NOTHING_TO_SAVE, MainWindow
from handviz.gui.record.recording import NOTHING_TO_RECORD, RECORDING_FOLDER
from handviz.gui.record.screenshot import SCREENSHOT_FOLDER
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import SettingsStore
from handviz.gui.source.timeline import time_text
from handviz.sources import images
from handviz.sources.source import CameraInfo

COUNT = 30
SWITCHES = 20


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip of thirty numbered frames, 25 a second."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mkv", "MPG2", COUNT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of the images 1, 2 and 10, each of its own grey."""
    made = tmp_path / "pictures"
    made.mkdir()
    put(made, 1, 2, 10)
    return made


@pytest.fixture
def world() -> CameraWorld:
    """Return a world without cameras."""
    return CameraWorld()


@pytest.fixture
def window(qtbot: QtBot, world: CameraWorld, tmp_path: Path) -> Iterator[MainWindow]:
    """Return a window, not shown, that opens real files."""
    controller = Controller(
        FakePipeline, SettingsStore(), opener=world.opener, lister=world.lister, fallback_clip=tmp_path / "none.mp4"
    )
    quicken(controller, world)
    made = MainWindow(controller, TRIANGLE)
    yield made
    world.let_go()
    made.close()
    made.deleteLater()


def put(folder: Path, *greys: int) -> None:
    """Write images that are named and coloured by a number."""
    for grey in greys:
        Image.new("RGB", (64, 48), (grey, grey, grey)).save(folder / f"{grey}.png")


def start(qtbot: QtBot, window: MainWindow, source: Path) -> None:
    """Start, and wait for the first image."""
    with qtbot.waitSignal(window._controller.answered):
        window._controller.start(str(source))


def start_paused(qtbot: QtBot, window: MainWindow, clip: Path) -> None:
    """Start a clip and pause it at its first frame."""
    start(qtbot, window, clip)
    with qtbot.waitSignal(window._controller.playing_changed):
        press_key(window, "Space")
    wait_for(qtbot, window, 0, "Home")


def wait_for(qtbot: QtBot, window: MainWindow, number: int, *keys: str) -> Frame:
    """Press keys and wait until the frame of this number is shown."""
    for key in keys:
        press_key(window, key)
    qtbot.waitUntil(lambda: window._shown is not None and window._shown.frame.number == number)
    return shown_frame(window)


def shown_frame(window: MainWindow) -> Frame:
    """Return the frame on the screen."""
    assert window._shown is not None
    return window._shown.frame


def drop(window: MainWindow, *paths: Path) -> None:
    """Drop paths as a file manager does."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    window.dropEvent(QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, buttons, keys))


def test_steps_ends_and_numbers_go_where_they_say(qtbot: QtBot, window: MainWindow, clip: Path) -> None:
    start_paused(qtbot, window, clip)
    timeline = window.timeline
    for key, number in (("Shift+Right", 10), ("Right", 11), ("Shift+Left", 1), ("Shift+Left", 0), ("End", COUNT - 1)):
        frame = wait_for(qtbot, window, number, key)
        assert number_in(frame.image) == number
        assert timeline.number.value() == number + 1
        assert timeline.slider.value() == number
    assert (timeline.count.text(), timeline.time.text()) == (f"/ {COUNT}", "00:01.160")
    assert wait_for(qtbot, window, 0, "Home").time_ms == 0.0


def test_a_typed_number_seeks_and_pauses(qtbot: QtBot, window: MainWindow, clip: Path) -> None:
    start(qtbot, window, clip)
    window.timeline.show()
    box = window.timeline.number
    press_key(window, "Ctrl+G")
    box.selectAll()
    qtbot.keyClicks(box, "18")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert number_in(wait_for(qtbot, window, 17).image) == 17
    qtbot.waitUntil(lambda: not window._controller.is_playing)
    box.selectAll()
    qtbot.keyClicks(box, "3")
    qtbot.keyClick(box, Qt.Key.Key_Escape)
    assert box.value() == 18


def test_there_is_no_frame_to_go_to_without_a_clip(qtbot: QtBot, window: MainWindow) -> None:
    press_key(window, "Ctrl+G")
    assert "clips and folders only" in window.message.text()


def test_a_click_on_the_bar_goes_there_and_drags_on(qtbot: QtBot, window: MainWindow, clip: Path) -> None:
    start_paused(qtbot, window, clip)
    slider = window.timeline.slider
    slider.resize(600, 20)
    qtbot.mousePress(slider, Qt.MouseButton.LeftButton, pos=QPoint(300, 10))
    assert slider.value() == pytest.approx(COUNT / 2, abs=1)
    assert slider.isSliderDown()
    frame = wait_for(qtbot, window, slider.value())
    assert number_in(frame.image) == frame.number
    qtbot.mouseMove(slider, QPoint(150, 10))
    qtbot.waitUntil(lambda: shown_frame(window).number == pytest.approx(COUNT / 4, abs=1))
    qtbot.mouseRelease(slider, Qt.MouseButton.LeftButton, pos=QPoint(150, 10))
    assert not slider.isSliderDown()


def test_scrubbing_ends_at_the_last_place(qtbot: QtBot, window: MainWindow, clip: Path) -> None:
    start_paused(qtbot, window, clip)
    for number in (3, 25, 8, 19, 27, 6):
        window.timeline.slider.setValue(number)
    assert number_in(wait_for(qtbot, window, 6).image) == 6


def test_speed_by_keys_and_by_the_list(qtbot: QtBot, window: MainWindow, clip: Path) -> None:
    start(qtbot, window, clip)
    timeline, clock = window.timeline, window._controller._capture._clock
    for key, text in (("]", "2×"), ("]", "4×"), ("]", "4×"), ("[", "2×"), ("[", "1×"), ("[", "0.5×")):
        press_key(window, key)
        assert timeline.speed.currentText() == text
    timeline.speed.activated.emit(0)
    assert window._controller.speed == 0.1
    qtbot.waitUntil(lambda: clock._speed == 0.1)
    assert timeline.speed.currentText() == "0.1×"
    timeline.speed.activated.emit(5)
    times_ms: list[float | None] = []
    window._controller.answered.connect(lambda answer: times_ms.append(answer.result.frame.time_ms))
    qtbot.waitUntil(lambda: len(times_ms) > 5)
    assert set(times_ms) <= {40.0 * number for number in range(COUNT)}, "the clip's own time, at any speed"


def test_a_narrow_window_leaves_out_what_keys_do_as_well(window: MainWindow) -> None:
    timeline = window.timeline
    shown = []
    for width in (324, 400, 700):
        timeline.setFixedWidth(width)
        timeline.resize(width, 60)
        timeline.resizeEvent(None)
        shown.append((timeline.speed.isVisibleTo(timeline), timeline.time.isVisibleTo(timeline)))
    assert shown == [(False, False), (True, False), (True, True)]
    name = "a long name of an image that nobody can read 1.png"
    timeline.file_name.setText(name)
    assert (timeline.file_name.minimumSizeHint().width(), timeline.file_name.toolTip()) == (1, name)


@pytest.mark.parametrize("count", [59_999.6, 0.0, 3_723_004.0])
def test_time_is_read_in_minutes(count: float) -> None:
    assert time_text(count) == {59_999.6: "01:00.000", 0.0: "00:00.000", 3_723_004.0: "62:03.004"}[count]


def test_images_are_rotated_as_they_are_read_and_that_is_saved(
    qtbot: QtBot, window: MainWindow, clip: Path, folder: Path
) -> None:
    press_key(window, "Ctrl+B")
    assert "No images to rotate" in window.message.text()
    start_paused(qtbot, window, clip)
    upright = wait_for(qtbot, window, 0)
    for button, rotation_deg in ((None, 90), (None, 180), (window.source_panel.rotate_left, 90)):
        press_key(window, "Ctrl+B") if button is None else button.click()
        qtbot.waitUntil(lambda rotation_deg=rotation_deg: shown_frame(window).rotation_deg == rotation_deg)
        frame = shown_frame(window)
        np.testing.assert_array_equal(frame.image, np.rot90(upright.image, -rotation_deg // 90))
        assert window.source_panel.rotation_state.text() == f"{rotation_deg}°"
    with qtbot.waitSignal(window._controller.answered) as answered:
        window._controller.open(str(folder))
    assert answered.args[0].result.frame.rotation_deg == 0
    with qtbot.waitSignal(window._controller.answered) as answered:
        window._controller.open(str(clip))
    assert answered.args[0].result.frame.rotation_deg == 90
    assert window.source_panel.rotation_state.text() == "90°"


def test_mirroring_leaves_the_frames_alone(qtbot: QtBot, window: MainWindow, clip: Path) -> None:
    start_paused(qtbot, window, clip)
    press_key(window, "M")
    assert window.viewport.options.mirror
    assert number_in(wait_for(qtbot, window, 5, *["Right"] * 5).image) == 5


def test_several_dropped_images_are_shown_one_after_another(
    qtbot: QtBot, window: MainWindow, folder: Path, clip: Path
) -> None:
    start(qtbot, window, clip)
    notes, before = folder / "notes.txt", window._last_folder()
    notes.touch()
    drop(window, folder / "10.png", notes, folder / "2.png")
    assert wait_for(qtbot, window, 0).name == "2.png"
    assert window.message.text() == "Only the images were opened; not used: notes.txt."
    assert wait_for(qtbot, window, 1, "Right").name == "10.png"
    assert "chosen images: 2 images" in window.source_panel.description.text()
    assert window._last_folder() == before, "a list of images is no folder to begin the next question in"
    source = window._controller.source
    assert source is not None
    assert source.short_text == "chosen images"
    drop(window, clip, folder / "2.png")
    qtbot.waitUntil(lambda: window._controller.source is not None and window._controller.source.text == str(clip))
    assert "not used: 2.png" in window.message.text()


def test_recent_sources_are_in_a_menu_while_they_are_there(
    qtbot: QtBot, window: MainWindow, clip: Path, folder: Path, tmp_path: Path
) -> None:
    panel = window.source_panel
    panel.recent_menu.aboutToShow.emit()
    assert [action.text() for action in panel.recent_menu.actions()] == ["None yet"]
    gone = write_clip(tmp_path / "gone.mkv", "MPG2", 3)
    start(qtbot, window, clip)
    for path in (gone, folder, clip, folder):
        with qtbot.waitSignal(window._controller.source_opened):
            window._open(str(path))
    gone.unlink()
    panel.recent_menu.aboutToShow.emit()
    actions = panel.recent_menu.actions()
    assert [action.toolTip() for action in actions] == [str(folder), str(clip)]
    with qtbot.waitSignal(window._controller.source_opened) as opened:
        actions[1].trigger()
    assert opened.args[0].text == str(clip)


def test_twenty_quick_switches_never_show_a_former_source(
    qtbot: QtBot, window: MainWindow, clip: Path, folder: Path, world: CameraWorld
) -> None:
    world.cameras = [CameraInfo(0, "Front")]
    start(qtbot, window, clip)
    controller = window._controller
    wrong: list[str] = []

    def check(answer: object) -> None:
        assert window._shown is not None
        name, is_live = window._shown.frame.name, controller._wanted_text.startswith("camera")
        fits = {str(clip): not name and not is_live, str(folder): bool(name), "camera:0": is_live and not name}
        wrong.extend([] if fits[controller._wanted_text] else [f"{name or 'clip'} in {controller._wanted_text}"])

    controller.answered.connect(check)
    sources = [str(folder), "camera:0", str(clip)]
    for count in range(SWITCHES):
        controller.open(sources[count % 3])
        world.resume()
        if count % 4 == 3:
            qtbot.wait(5)
    world.let_go()
    controller.open(str(folder))
    qtbot.waitUntil(lambda: window._shown is not None and window._shown.frame.name == "1.png")
    assert wrong == []
    assert len(world.alive()) <= 1


def test_new_images_appear_while_the_folder_is_shown(qtbot: QtBot, window: MainWindow, folder: Path) -> None:
    start(qtbot, window, folder)
    assert wait_for(qtbot, window, 1, "Right").name == "2.png"
    with qtbot.waitSignal(window._controller.length_changed):
        put(folder, 3)
    qtbot.waitUntil(lambda: window.timeline.count.text() == "/ 4")
    assert window.source_panel.description.text() == "pictures: 4 images"
    assert [wait_for(qtbot, window, number, "Right").name for number in (2, 3)] == ["3.png", "10.png"]


def test_images_that_vanish_are_left_out(qtbot: QtBot, window: MainWindow, folder: Path) -> None:
    start(qtbot, window, folder)
    assert wait_for(qtbot, window, 1, "Right").name == "2.png"
    (folder / "1.png").unlink()
    qtbot.waitUntil(lambda: window.timeline.number.value() == 1)
    assert window.timeline.count.text() == "/ 2"
    press_key(window, "Right")
    qtbot.waitUntil(lambda: shown_frame(window).name == "10.png")
    assert shown_frame(window).number == 1


def test_a_folder_that_goes_and_comes_back(qtbot: QtBot, window: MainWindow, folder: Path) -> None:
    start(qtbot, window, folder)
    hidden = folder.rename(folder.with_name("elsewhere"))
    qtbot.waitUntil(lambda: "cannot be read any more" in window.banner.text())
    assert window.viewport._result is not None, "the last image stays"
    hidden.rename(folder)
    qtbot.waitUntil(window.banner.isHidden)
    assert wait_for(qtbot, window, 1, "Right").name == "2.png"


def test_many_unreadable_images_are_reported_together(qtbot: QtBot, window: MainWindow, folder: Path) -> None:
    for number in range(3, 10):
        (folder / f"{number}.png").write_text("no image")
    start(qtbot, window, folder)
    wait_for(qtbot, window, 1, "Right")
    assert wait_for(qtbot, window, 9, "Right").name == "10.png"
    qtbot.waitUntil(lambda: "7 images in a row cannot be read" in window.banner.text())


def test_the_end_of_a_folder_is_its_last_readable_image(qtbot: QtBot, window: MainWindow, folder: Path) -> None:
    (folder / "90.png").write_bytes(b"")
    (folder / "91.png").write_text("no image")
    start(qtbot, window, folder)
    assert wait_for(qtbot, window, 2, "End").name == "10.png"
    assert "90.png: the file is empty" in window.banner.text()
    assert wait_for(qtbot, window, 1, "Left").name == "2.png"
    qtbot.waitUntil(window.banner.isHidden)


def test_a_clip_that_ends_early_is_as_long_as_it_is(
    qtbot: QtBot, window: MainWindow, clip: Path, tmp_path: Path
) -> None:
    whole = clip.read_bytes()
    short = tmp_path / "short.mkv"
    short.write_bytes(whole[: len(whole) // 2])
    start_paused(qtbot, window, short)
    with qtbot.waitSignal(window._controller.length_changed):
        press_key(window, "End")
    length = window._controller.source
    assert length is not None
    assert length.frame_count is not None
    assert length.frame_count < COUNT
    assert number_in(wait_for(qtbot, window, length.frame_count - 1).image) == length.frame_count - 1
    assert window.timeline.slider.maximum() == length.frame_count - 1


def test_pages_that_are_not_shown_are_told(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (64, 48), (grey,) * 3) for grey in (90, 120))
    first.save(tmp_path / "pages.tif", save_all=True, append_images=[second])
    start(qtbot, window, tmp_path / "pages.tif")
    qtbot.waitUntil(lambda: "only the first of 2 frames is used" in window.banner.text())
    assert shown_frame(window).image.mean() == pytest.approx(90)


def bad_input(kind: str, folder: Path) -> Path:
    """Return a file or folder that is no source."""
    path = folder / {"empty folder": "empty", "broken clip": "clip.mp4", "not there": "gone.mp4"}.get(kind, "a.jpg")
    if kind == "empty folder":
        path.mkdir()
    elif kind == "huge image":
        Image.new("L", (300, 200)).save(path)
    elif kind != "not there":
        path.write_bytes(b"" if kind == "0 bytes" else b"no image and no clip at all")
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty folder", "no images in this folder"),
        ("broken clip", "neither an image nor a clip"),
        ("not there", "there is no such file"),
        ("0 bytes", "the file is empty"),
        ("text as jpg", "not an image in a known format"),
        ("huge image", "make it smaller first"),
    ],
)
def test_bad_input_is_a_message_and_the_next_source_works(
    qtbot: QtBot,
    window: MainWindow,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    message: str,
) -> None:
    monkeypatch.setattr(images, "MAX_IMAGE_PX", 300 * 200 - 1)
    bad = bad_input(kind, tmp_path)
    window._controller.start(str(bad))
    qtbot.waitUntil(lambda: message in window.banner.text())
    assert bad.name in window.banner.text()
    assert not window.banner.isHidden()
    drop(window, clip)
    qtbot.waitUntil(lambda: window._shown is not None)
    qtbot.waitUntil(window.banner.isHidden)


def test_a_file_that_may_not_be_read(
    qtbot: QtBot, window: MainWindow, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Image.open

    def refuse(path: Path, formats: Sequence[str] | None = None) -> Image.Image:
        if path.name == "2.png":
            raise PermissionError(13, "Permission denied")
        return real(path, formats=list(formats or ()))

    monkeypatch.setattr(Image, "open", refuse)
    start(qtbot, window, folder)
    assert wait_for(qtbot, window, 2, "Right").name == "10.png"
    assert "2.png: the image cannot be read ([Errno 13] Permission denied)" in window.banner.text()


@pytest.mark.parametrize(
    "name", ["ü ñ 手 🖐", "q\"uo'te & <b>bold", "per%03dcent#?", "new\nline", "camera:0", "~tilde", "[1]{2}"]
)
def test_paths_of_strange_characters(qtbot: QtBot, window: MainWindow, clip: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    put(folder, 7)
    strange_clip = folder / f"{name}.mkv"
    strange_clip.write_bytes(clip.read_bytes())
    start(qtbot, window, folder)
    assert wait_for(qtbot, window, 0).name == "7.png"
    with qtbot.waitSignal(window._controller.source_opened):
        drop(window, strange_clip)
    qtbot.waitUntil(lambda: window._shown is not None and not window._shown.frame.name)
    assert window._controller.memory.recent()[0] == str(strange_clip)
    assert SettingsStore().text("last_source") == str(strange_clip)
    press_key(window, "Ctrl+B")
    assert window._controller.memory.config_of(str(strange_clip), None).rotation_deg == 90


def test_a_file_that_cannot_be_opened_leaves_the_present_source_alone(
    qtbot: QtBot, window: MainWindow, clip: Path, tmp_path: Path
) -> None:
    start_paused(qtbot, window, clip)
    wait_for(qtbot, window, 3, "Right", "Right", "Right")
    (tmp_path / "broken.mp4").write_bytes(b"no clip")
    for path in (tmp_path / "broken.mp4", tmp_path / "missing.png"):
        with qtbot.waitSignal(window._controller.warned) as warned:
            drop(window, path)
        assert path.name in warned.args[0]
        assert any(path.name in toast.text() for toast in window.toasts.labels)
        source = window._controller.source
        assert source is not None
        assert source.text == str(clip)
        qtbot.waitUntil(lambda: window._shown is not None and window._shown.frame.number == 3)
        assert not window.banner.isVisible()
    wait_for(qtbot, window, 4, "Right")


def test_a_source_that_opened_while_another_was_asked_for_is_the_one_that_stays(
    qtbot: QtBot, window: MainWindow, clip: Path, tmp_path: Path
) -> None:
    put(tmp_path, 10, 20)
    start_paused(qtbot, window, clip)
    window._controller.open(str(tmp_path / "10.png"))
    with qtbot.waitSignal(window._controller.warned):
        window._controller.open(str(tmp_path / "missing.png"))
    source = window._controller.source
    assert source is not None
    assert source.text == str(tmp_path / "10.png")
    qtbot.waitUntil(lambda: window._shown is not None and window._shown.frame.name == "10.png")


def test_nothing_is_saved_or_recorded_without_a_source(
    qtbot: QtBot, window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window._controller.store.save_text(SCREENSHOT_FOLDER, str(tmp_path / "shots"))
    window._controller.store.save_text(RECORDING_FOLDER, str(tmp_path / "recordings"))
    press_key(window, "Ctrl+S")
    assert window.message.text() == NOTHING_TO_SAVE
    press_key(window, "Ctrl+Shift+R")
    assert window.message.text() == NOTHING_TO_RECORD
    assert not any((tmp_path / name).exists() for name in ("shots", "recordings"))


def test_the_title_names_the_source(qtbot: QtBot, window: MainWindow, clip: Path) -> None:
    assert window.windowTitle() == "handviz"
    start_paused(qtbot, window, clip)
    assert window.windowTitle() == f"{clip.name} - handviz"
