"""Recordings and pictures without background, through the real window."""

import csv
import errno
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from gui_fakes import TRIANGLE, FakePipeline, FakeSource, hand
from pytestqt.qtbot import QtBot

from handviz.gui.controller import Controller
from handviz.gui.main_window import MainWindow
from handviz.gui.recording import RECORDING_FOLDER, Recorder, clock_text, size_text
from handviz.gui.screenshot import SCREENSHOT_FOLDER
from handviz.gui.settings import SettingsStore
from handviz.output import recording
from handviz.output.recorded import read_tracks


@pytest.fixture
def camera() -> FakeSource:
    """Gives a frame when the test lets it."""
    return FakeSource()


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, camera: FakeSource) -> Iterator[MainWindow]:
    """A window that is not shown, with recordings going to a folder of the test."""
    controller = Controller(
        FakePipeline, SettingsStore(), opener=lambda _: camera, lister=list, fallback_clip=tmp_path / "none.mp4"
    )
    controller.store.remember(RECORDING_FOLDER, str(tmp_path / "out"))
    made = MainWindow(controller, TRIANGLE)
    yield made
    camera.let_go()
    made.close()
    made.deleteLater()


def press(window: MainWindow, key: str) -> None:
    """Trigger the action of a shortcut, as Qt does for the active window."""
    next(a for a in window.actions() if key in [k.toString() for k in a.shortcuts()]).trigger()


def recorder(window: MainWindow) -> Recorder:
    """The window's."""
    return next(part for part in window.features if isinstance(part, Recorder))


def show_frames(qtbot: QtBot, window: MainWindow, camera: FakeSource, count: int) -> None:
    """Let the camera give that many, one after the other."""
    for _ in range(count):
        with qtbot.waitSignal(window._controller.answered):
            camera.may_read.release()


def end(qtbot: QtBot, window: MainWindow) -> Path:
    """End the recording with its key; returns its folder."""
    press(window, "Ctrl+Shift+R")
    qtbot.waitUntil(lambda: not recorder(window).is_recording)
    return Path(window._controller.store.text("last_recording"))


def test_recording_holds_every_result(qtbot: QtBot, window: MainWindow, camera: FakeSource) -> None:
    window._controller.start("camera:0")
    press(window, "Ctrl+Shift+R")
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
    assert "4 results" in window.sentence.text()
    assert recorder(window).sign.isHidden()


def test_closing_the_window_ends_the_recording(qtbot: QtBot, window: MainWindow, camera: FakeSource) -> None:
    window._controller.start("camera:0")
    recorder(window)._panel.record.click()
    show_frames(qtbot, window, camera, 2)
    camera.let_go()
    window.close()
    (folder,) = (Path(window._controller.store.text(RECORDING_FOLDER))).iterdir()
    assert json.loads((folder / "recording.json").read_text())["results"] >= 2


def test_folder_that_cannot_be_made_is_a_sentence(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    press(window, "Ctrl+Shift+R")
    qtbot.waitUntil(lambda: not recorder(window).is_recording)
    assert "cannot be made" in window.sentence.text()
    assert not recorder(window)._panel.record.isChecked()


def test_full_disk_ends_the_recording_and_what_was_written_stays(
    qtbot: QtBot, window: MainWindow, camera: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    window._controller.start("camera:0")
    press(window, "Ctrl+Shift+R")
    show_frames(qtbot, window, camera, 3)
    thread = recorder(window)._thread
    assert thread is not None
    qtbot.waitUntil(lambda: not thread._results)

    def full(*_: object) -> None:
        raise recording.HandvizError(recording.disk_sentence(Path("x/y"), OSError(errno.ENOSPC, "No space left")))

    monkeypatch.setattr(recording.GrowingFile, "append", full)
    camera.may_read.release()
    qtbot.waitUntil(lambda: not recorder(window).is_recording)
    assert "The disk is full" in window.sentence.text()
    assert "What was written stays" in window.sentence.text()
    assert not recorder(window).sign.isHidden()
    folder = Path(window._controller.store.text("last_recording"))
    assert len((folder / "hands.jsonl").read_text().splitlines()) == 3


def test_times_and_sizes_read_well() -> None:
    assert [clock_text(seconds) for seconds in (5.9, 75, 3723)] == ["0:05", "1:15", "1:02:03"]
    assert [size_text(count) for count in (250_000, 3_400_000_000)] == ["0.2 MB", "3.40 GB"]


def test_no_view_means_no_cut_out(window: MainWindow) -> None:
    press(window, "Ctrl+Shift+T")
    assert "no hand in the view" in window.sentence.text()


@pytest.fixture
def shown(qtbot: QtBot, window: MainWindow) -> MainWindow:
    """The window on a display."""
    window.show()
    qtbot.waitExposed(window)
    return window


@pytest.mark.display
def test_video_shows_the_view(qtbot: QtBot, shown: MainWindow, camera: FakeSource) -> None:
    shown._controller.change(colour="plain", opacity=1.0)
    shown._controller.start("camera:0")
    show_frames(qtbot, shown, camera, 1)
    press(shown, "Ctrl+Shift+R")
    for _ in range(5):
        with qtbot.waitSignal(shown.result_painted):
            camera.may_read.release()
    thread = recorder(shown)._thread
    assert thread is not None
    with qtbot.waitSignal(thread.progressed):
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
    assert count >= 15


@pytest.mark.display
def test_cut_out_has_the_hand_alone(qtbot: QtBot, shown: MainWindow, camera: FakeSource, tmp_path: Path) -> None:
    shown._controller.store.remember(SCREENSHOT_FOLDER, str(tmp_path / "pictures"))
    shown._controller.start("camera:0")
    show_frames(qtbot, shown, camera, 1)
    recorder(shown)._panel.twice.setChecked(True)
    press(shown, "Ctrl+Shift+T")
    (saved,) = (tmp_path / "pictures").glob("*_cut_out_*.png")
    picture = cv2.imread(str(saved), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    height, width = picture.shape[:2]
    assert (width, height) == (2 * shown.viewport.width(), 2 * shown.viewport.height())
    assert picture[height // 2, width // 2, 3] == 255
    assert picture[5, 5].tolist() == [0, 0, 0, 0]
    assert picture.shape[2] == 4
