"""Recordings and transparent PNGs, through the real window."""

import csv
import errno
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import cv2
import moderngl
import numpy as np
import pytest
from gui_fakes import TRIANGLE, FakePipeline, FakeSource, hand, press_key
from hands import textured_hand as open_hand
from PyQt6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from handviz.core.records import FrameResult
from handviz.gui.calibration.feature import CameraFeature
from handviz.gui.main_window import MainWindow
from handviz.gui.record import recording as recorder_module
from handviz.gui.record.recording import RECORDING_FOLDER, VIDEO_RATE_HZ, Recorder, clock_text, size_text
from handviz.gui.record.screenshot import SCREENSHOT_FOLDER
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import SettingsStore
from handviz.gui.view import viewport
from handviz.io.recording import recording
from handviz.io.recording.recorded import read_tracks
from handviz.rendering.highlight import Highlight, Pick
from tests.waiting import LIMIT_S


@pytest.fixture
def camera() -> FakeSource:
    """Make a camera that gives a frame when the test lets it."""
    return FakeSource()


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, camera: FakeSource) -> Iterator[MainWindow]:
    """Make a window, not shown, whose recordings go to a folder of the test."""
    controller = Controller(
        FakePipeline, SettingsStore(), opener=lambda _: camera, lister=list, fallback_clip=tmp_path / "none.mp4"
    )
    controller.store.save_text(RECORDING_FOLDER, str(tmp_path / "out"))
    made = MainWindow(controller, TRIANGLE)
    yield made
    camera.let_go()
    made.close()
    made.deleteLater()


def recorder(window: MainWindow) -> Recorder:
    """Return the window's recorder."""
    return next(part for part in window.features if isinstance(part, Recorder))


def show_frames(qtbot: QtBot, window: MainWindow, camera: FakeSource, count: int) -> None:
    """Let the camera give frames one after the other."""
    for _ in range(count):
        with qtbot.waitSignal(window._controller.answered):
            camera.may_read.release()


def end(qtbot: QtBot, window: MainWindow) -> Path:
    """End the recording with its key; returns its folder."""
    press_key(window, "Ctrl+Shift+R")
    qtbot.waitUntil(lambda: not recorder(window).is_recording)
    return Path(window._controller.store.text("last_recording"))


def test_recording_holds_every_result(qtbot: QtBot, window: MainWindow, camera: FakeSource) -> None:
    window._controller.start("camera:0")
    press_key(window, "Ctrl+Shift+R")
    assert not recorder(window).sign.isHidden()
    assert recorder(window)._panel.record.text() == "Stop recording"
    show_frames(qtbot, window, camera, 4)
    folder = end(qtbot, window)
    lines = [json.loads(line) for line in (folder / "hands.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2, 3]
    assert {line["source"] for line in lines} == {"camera:0"}
    assert lines[0]["hands"][0]["vertices_row"] == 0
    with (folder / "keypoints.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["frame"] for row in rows] == ["0", "1", "2", "3"]
    assert float(rows[0]["little_4_u_px"]) == 32.0
    (track,) = read_tracks(folder)
    np.testing.assert_allclose(track.vertices_m, [hand().vertices_m] * len(track.times_s), atol=1e-7)
    assert "4 frames" in window.message.text()
    assert recorder(window).sign.isHidden()


def test_the_red_dot_leaves_the_line_about_the_camera_model_readable(
    qtbot: QtBot, window: MainWindow, camera: FakeSource
) -> None:
    window.resize(900, 600)
    window.show()
    window._controller.start("camera:0")
    press_key(window, "O")
    press_key(window, "Ctrl+Shift+R")
    show_frames(qtbot, window, camera, 1)
    (camera_model,) = (part for part in window.features if isinstance(part, CameraFeature))
    assert camera_model.note.isVisible()
    assert not recorder(window).sign.geometry().intersects(camera_model.note.geometry())
    end(qtbot, window)


def test_closing_the_window_ends_the_recording(qtbot: QtBot, window: MainWindow, camera: FakeSource) -> None:
    window._controller.start("camera:0")
    recorder(window)._panel.record.click()
    show_frames(qtbot, window, camera, 2)
    camera.let_go()
    window.close()
    (folder,) = (Path(window._controller.store.text(RECORDING_FOLDER))).iterdir()
    assert json.loads((folder / "recording.json").read_text())["results"] >= 2


def test_folder_that_cannot_be_made_is_a_message(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    window._controller.start("camera:0")
    press_key(window, "Ctrl+Shift+R")
    qtbot.waitUntil(lambda: not recorder(window).is_recording)
    assert "cannot be made" in window.message.text()
    assert not recorder(window)._panel.record.isChecked()


def test_full_disk_ends_the_recording_and_what_was_written_stays(
    qtbot: QtBot, window: MainWindow, camera: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    window._controller.start("camera:0")
    press_key(window, "Ctrl+Shift+R")
    show_frames(qtbot, window, camera, 3)
    task = recorder(window)._task
    assert task is not None
    lines = task.folder / "hands.jsonl"
    qtbot.waitUntil(lambda: lines.is_file() and len(lines.read_text().splitlines()) == 3)

    def full(*_: object) -> None:
        error = OSError(errno.ENOSPC, "No space left")
        raise recording.not_writable(Path("x/y"), error)

    monkeypatch.setattr(recording.GrowingFile, "append", full)
    camera.may_read.release()
    qtbot.waitUntil(lambda: not recorder(window).is_recording)
    assert "free space on the disk" in window.message.text()
    assert "Saved so far: " in window.message.text()
    assert not recorder(window).sign.isHidden()
    folder = Path(window._controller.store.text("last_recording"))
    assert len((folder / "hands.jsonl").read_text().splitlines()) == 3


def test_folder_that_vanishes_ends_the_recording(
    qtbot: QtBot, window: MainWindow, camera: FakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "PROGRESS_S", 0.0)
    window._controller.start("camera:0")
    press_key(window, "Ctrl+Shift+R")
    show_frames(qtbot, window, camera, 1)
    task = recorder(window)._task
    assert task is not None
    with qtbot.waitSignal(task.progressed):
        pass
    shutil.rmtree(tmp_path / "out")
    qtbot.waitUntil(lambda: not recorder(window).is_recording)
    assert "cannot be written" in window.message.text()
    assert "Saved so far" not in window.message.text()


def test_what_the_disk_is_too_slow_for_is_counted_and_reported(
    qtbot: QtBot, window: MainWindow, camera: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write = threading.Event()
    add_result = recording.Recording.add_result

    def slowly(self: recording.Recording, *arguments: object) -> None:
        assert may_write.wait(LIMIT_S)
        add_result(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(recording.Recording, "add_result", slowly)
    monkeypatch.setattr(recorder_module, "MAX_RESULTS", 2)
    window._controller.start("camera:0")
    press_key(window, "Ctrl+Shift+R")
    show_frames(qtbot, window, camera, 1)
    task = recorder(window)._task
    assert task is not None
    qtbot.waitUntil(lambda: not task._results)
    show_frames(qtbot, window, camera, 4)
    may_write.set()
    end(qtbot, window)
    assert "3 frames" in window.message.text()
    assert "2 frames lost" in window.message.text()


def test_images_are_taken_at_the_videos_rate_and_counted_where_there_is_no_room(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = recorder(window)
    assert not part.wants_image()
    window._controller.start("camera:0")
    press_key(window, "Ctrl+Shift+R")
    assert part.wants_image()
    assert not part.wants_image(), "the next frame of the video is not due yet"
    part._next_image_s = 0.0
    assert part._task is not None
    monkeypatch.setattr(recorder_module, "MAX_IMAGES", 0)
    assert not part.wants_image()
    assert part._task._images_lost == 1


def test_what_comes_while_the_files_are_being_ended_is_not_called_lost(
    qtbot: QtBot, window: MainWindow, camera: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_close = threading.Event()
    close = recording.Recording.close

    def slowly(self: recording.Recording) -> None:
        assert may_close.wait(LIMIT_S)
        close(self)

    monkeypatch.setattr(recording.Recording, "close", slowly)
    monkeypatch.setattr(recorder_module, "MAX_RESULTS", 2)
    window._controller.start("camera:0")
    part = recorder(window)
    press_key(window, "Ctrl+Shift+R")
    show_frames(qtbot, window, camera, 1)
    press_key(window, "Ctrl+Shift+R")
    show_frames(qtbot, window, camera, 4)
    assert part.is_recording
    part._next_image_s = 0.0
    assert not part.wants_image()
    may_close.set()
    qtbot.waitUntil(lambda: not part.is_recording)
    assert "1 frames" in window.message.text()
    assert "lost" not in window.message.text()
    assert "skipped" not in window.message.text()


def test_a_writer_that_breaks_is_not_taken_for_one_that_goes_on(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_open_recording", Mock(side_effect=ValueError("no file is opened")))
    monkeypatch.setattr(recorder_module.RecordingTask, "_closed", Mock(side_effect=ZeroDivisionError("of all things")))
    window._controller.start("camera:0")
    press_key(window, "Ctrl+Shift+R")
    press_key(window, "Ctrl+Shift+R")
    qtbot.waitUntil(lambda: not recorder(window).is_recording)
    assert "of all things" in window.message.text()


def test_files_that_cannot_be_ended_still_end_the_recording(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: recording.Recording) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(recording.Recording, "_finish_video", fail)
    window._controller.start("camera:0")
    press_key(window, "Ctrl+Shift+R")
    recorder(window).take_image(bytes(64 * 48 * 4), (64, 48))
    end(qtbot, window)
    assert "could not be ended" in window.message.text()


def test_folder_is_chosen_and_saved(window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "mine"))
    recorder(window)._panel.record_folder.click()
    assert window._controller.store.text(RECORDING_FOLDER) == str(tmp_path / "mine")
    window._controller.start("camera:0")
    press_key(window, "Ctrl+Shift+R")
    recorder(window).stop()
    assert list((tmp_path / "mine").iterdir())


def test_recording_is_animated_from_the_window(
    qtbot: QtBot, window: MainWindow, camera: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: list[str] = []
    monkeypatch.setattr(FakePipeline, "process", lambda _, frame: FrameResult(frame, "final", hands=(open_hand(),)))
    window._controller.start("camera:0")
    press_key(window, "Ctrl+Shift+R")
    show_frames(qtbot, window, camera, 3)
    folder = end(qtbot, window)
    for seconds, line in enumerate(lines := (folder / "hands.jsonl").read_text().splitlines()):
        lines[seconds] = json.dumps(json.loads(line) | {"monotonic_ms": 1000.0 * seconds})
    (folder / "hands.jsonl").write_text("\n".join(lines) + "\n")

    def choose(_: object, __: str, start: str) -> str:
        offered.append(start)
        return start

    monkeypatch.setattr(QFileDialog, "getExistingDirectory", choose)
    recorder(window)._panel.animate.click()
    qtbot.waitUntil(lambda: "Saved hands.glb, right.bvh" in window.message.text())
    assert offered == [str(folder)]
    assert (folder / "hands.glb").read_bytes().startswith(b"glTF")
    assert (folder / "right.bvh").read_text().startswith("HIERARCHY")


def test_folder_that_is_no_recording_is_a_message(
    qtbot: QtBot, window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    recorder(window)._panel.animate.click()
    qtbot.waitUntil(lambda: "is no recording" in window.message.text())


def test_times_and_sizes_read_well() -> None:
    assert [clock_text(seconds) for seconds in (5.9, 75, 3723)] == ["0:05", "1:15", "1:02:03"]
    assert [size_text(count) for count in (250_000, 3_400_000_000)] == ["0.2 MB", "3.40 GB"]


def test_no_view_means_no_cut_out(window: MainWindow) -> None:
    press_key(window, "Ctrl+Shift+T")
    assert "no hand in the view" in window.message.text()


@pytest.fixture
def shown(qtbot: QtBot, window: MainWindow) -> MainWindow:
    """Show the window."""
    with qtbot.waitExposed(window):
        window.show()
    return window


@pytest.mark.display
def test_video_shows_the_view(qtbot: QtBot, shown: MainWindow, camera: FakeSource) -> None:
    shown._controller.change(colour="plain", opacity=1.0)
    shown._controller.start("camera:0")
    show_frames(qtbot, shown, camera, 1)
    press_key(shown, "Ctrl+Shift+R")
    for _ in range(5):
        with qtbot.waitSignal(shown.result_painted):
            camera.may_read.release()
    task = recorder(shown)._task
    assert task is not None
    with qtbot.waitSignal(task.progressed) as progress:
        pass
    video = cv2.VideoCapture(str(next(end(qtbot, shown).glob("view.*"))))
    was_read, first = video.read()
    assert was_read
    width, height = shown.viewport.width() // 2 * 2, shown.viewport.height() // 2 * 2
    assert first.shape == (height, width, 3)
    assert first[height // 2, width // 2].max() > 130
    assert np.abs(first[height // 2, 5].astype(int) - 100).max() < 8
    count = 1
    while video.read()[0]:
        count += 1
    assert count > (progress.args[0].duration_s - 0.2) * VIDEO_RATE_HZ > 0


@pytest.mark.display
def test_cut_out_has_the_hand_alone(qtbot: QtBot, shown: MainWindow, camera: FakeSource, tmp_path: Path) -> None:
    shown._controller.store.save_text(SCREENSHOT_FOLDER, str(tmp_path / "pictures"))
    shown._controller.start("camera:0")
    show_frames(qtbot, shown, camera, 1)
    shown._controller.change(figure_scale=2)
    press_key(shown, "Ctrl+Shift+T")
    (saved,) = (tmp_path / "pictures").glob("*_cut_out_*.png")
    image = cv2.imread(str(saved), cv2.IMREAD_UNCHANGED)
    assert image is not None
    height, width = image.shape[:2]
    assert (width, height) == (2 * shown.viewport.width(), 2 * shown.viewport.height())
    assert image[height // 2, width // 2, 3] == 255
    assert image[5, 5].tolist() == [0, 0, 0, 0]
    assert image.shape[2] == 4


@pytest.mark.display
def test_a_cut_out_that_the_card_refuses_is_a_message_and_the_view_goes_on(
    qtbot: QtBot, shown: MainWindow, camera: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown._controller.start("camera:0")
    show_frames(qtbot, shown, camera, 1)
    monkeypatch.setattr(viewport, "read_pixels", Mock(side_effect=moderngl.Error("too large")))
    shown.viewport.set_highlight(mark := Highlight(Pick(0, vertex=0)))
    press_key(shown, "Ctrl+Shift+T")
    assert "cannot draw the view at this size" in shown.message.text()
    scene = shown.viewport._scene
    assert scene is not None
    assert scene._highlight is mark
    with qtbot.waitSignal(shown.viewport.painted):
        shown.viewport.update()
