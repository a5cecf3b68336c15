"""The folder inspector, driven through the window."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gui_fakes import FACES, TRIANGLE, FakePipeline, FakeSource, hand
from PIL import Image
from PyQt6.QtCore import QEvent, QMimeData, QPersistentModelIndex, QPointF, Qt, QUrl
from PyQt6.QtGui import QDropEvent, QImage, QKeyEvent
from PyQt6.QtWidgets import QApplication, QFileDialog
from pytestqt.qtbot import QtBot

from handviz.core.records import Detection, Frame, FrameResult
from handviz.gui.folder import image_loaders
from handviz.gui.folder.feature import INSPECTED_FOLDER, InspectionFeature
from handviz.gui.folder.image_loaders import Thumbnails
from handviz.gui.folder.inspection_worker import InspectionLike, InspectionWorker
from handviz.gui.folder.page import WITHOUT_SIGMA, duration_text
from handviz.gui.folder.table import InspectionModel, RowFilter
from handviz.gui.main_window import SCREENSHOT_FOLDER, MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.mesh_saver import MeshRequest
from handviz.gui.session.settings import SettingsStore
from handviz.gui.session.tasks import NICENESS
from handviz.inspection.columns import HandRow, ImageRow, InspectionRequest
from handviz.inspection.inspection import Inspection
from handviz.pipeline.settings import PipelineConfig
from handviz.sources.source import CameraInfo
from tests.hands import made_up_detection

BOTH = 250


class Processor:
    """Left hands in bright images, right ones in dark ones, none in black ones, both at the brightness ``BOTH``."""

    def __init__(self) -> None:
        self.before: Callable[[Frame], None] = lambda _: None

    def process(self, frame: Frame) -> FrameResult:
        """Return the hands of the image's brightness."""
        self.before(frame)
        brightness = int(frame.image[0, 0, 0])
        hands = (hand(handedness="left" if brightness > 128 else "right"),) if brightness else ()
        hands += (hand(handedness="right"),) if brightness == BOTH else ()
        detections: tuple[Detection, ...] = tuple(made_up_detection(one.handedness) for one in hands)
        return FrameResult(frame, "final", detections, hands)

    def close(self) -> None:
        """Nothing to free."""


@pytest.fixture
def processor() -> Processor:
    """Return the pipeline of every inspection of the test."""
    return Processor()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make images with a right hand, a left one, none, and one that is unreadable."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, grey in (("a.png", 90), ("b.png", 200), ("c.png", 0)):
        Image.new("RGB", (64, 48), (grey, grey, grey)).save(folder / name)
    (folder / "d.jpg").write_bytes(b"broken")
    return folder


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, processor: Processor, monkeypatch: pytest.MonkeyPatch) -> Iterator[MainWindow]:
    """Make the real window; its inspections are real but for the networks."""

    def make(request: InspectionRequest) -> InspectionLike:
        return Inspection(request, make=lambda _: processor, faces=FACES)

    monkeypatch.setattr(InspectionFeature.__init__, "__kwdefaults__", {"make": make})
    controller = Controller(
        FakePipeline,
        SettingsStore(),
        opener={"clip": FakeSource(5, nominal_fps=10.0)}.__getitem__,
        lister=lambda: [CameraInfo(0, "Front")],
        fallback_clip=tmp_path / "none.mp4",
        config=PipelineConfig(tmp_path, detector="mediapipe"),
    )
    made = MainWindow(controller, TRIANGLE)
    yield made
    made.close()
    made.deleteLater()


def test_the_models_and_the_detector_are_those_of_the_window(qtbot: QtBot, window: MainWindow, folder: Path) -> None:
    inspect(qtbot, window, folder)
    request = window.inspection._request
    assert request is not None
    assert (request.model_dir, request.detector) == (folder.parent, "mediapipe")


def press(window: MainWindow, key: str) -> None:
    """Trigger the action of a shortcut."""
    next(a for a in window.actions() if key in [k.toString() for k in a.shortcuts()]).trigger()


def inspect(qtbot: QtBot, window: MainWindow, folder: Path) -> None:
    """Inspect a folder to the end."""
    window.inspection.inspect(str(folder))
    wait_for_end(qtbot, window)


def wait_for_end(qtbot: QtBot, window: MainWindow) -> None:
    """Wait until nothing is being inspected."""
    qtbot.waitUntil(lambda: not window.inspection.is_running)


def cells(window: MainWindow, column: int) -> list[str]:
    """Return the texts of a column."""
    model = window.inspection.page.model
    return [model.data(model.index(row, column)) for row in range(model.rowCount())]


def test_keys_change_the_page(window: MainWindow) -> None:
    press(window, "F3")
    assert window.pages.currentWidget() is window.inspection.page
    press(window, "F2")
    assert window.pages.currentIndex() == 0


def test_a_chosen_folder_is_inspected(
    qtbot: QtBot, window: MainWindow, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    press(window, "Ctrl+I")
    wait_for_end(qtbot, window)
    assert cells(window, 0) == ["a.png", "b.png", "c.png", "d.jpg"]
    assert cells(window, 1) == ["right", "left", "–", "–"]
    assert cells(window, 3) == ["4.0", "4.0", "–", "–"]
    assert cells(window, 8)[2] == "no hand found"
    assert "not an image" in cells(window, 8)[3]
    assert window.inspection.page.status.text() == "3 images with 2 hands, 1 unreadable"
    assert window._controller.store.text(INSPECTED_FOLDER) == str(folder)


def test_images_are_listed_before_there_are_results(
    qtbot: QtBot, window: MainWindow, folder: Path, processor: Processor
) -> None:
    seen: list[list[str]] = []
    processor.before = lambda _: qtbot_wait_in_worker(lambda: bool(seen))
    window.inspection.inspect(str(folder))
    qtbot.waitUntil(lambda: window.inspection.page.model.rowCount() == 4)
    seen.append(cells(window, 8))
    assert seen[0][:3] == ["pending"] * 3
    wait_for_end(qtbot, window)


def qtbot_wait_in_worker(condition: Callable[[], bool]) -> None:
    """Let a worker wait for the test."""
    from threading import Event

    pause = Event()
    while not condition():
        pause.wait(0.01)


def test_pause_and_resume(qtbot: QtBot, window: MainWindow, folder: Path, processor: Processor) -> None:
    page = window.inspection.page
    started: list[str] = []
    go: list[bool] = []

    def wait(frame: Frame) -> None:
        started.append(frame.name)
        qtbot_wait_in_worker(lambda: bool(go))

    processor.before = wait
    window.inspection.inspect(str(folder))
    qtbot.waitUntil(lambda: bool(started))
    assert page.resume.text() == "Pause"
    page.resume.click()
    go.append(True)
    wait_for_end(qtbot, window)
    assert started == ["a.png"]
    assert page.resume.text() == "Resume"
    assert "3 pending" in page.status.text()
    page.resume.click()
    wait_for_end(qtbot, window)
    assert started == ["a.png", "b.png", "c.png"]
    assert page.resume.text() == "Rescan"


def test_another_start_of_the_program_resumes_the_last_folder(qtbot: QtBot, window: MainWindow, folder: Path) -> None:
    inspect(qtbot, window, folder)
    again = InspectionFeature(window._controller, window.pages, TRIANGLE)
    assert again.page.resume.isEnabled()
    assert folder.name in again.page.title.text()
    again.stop()


def test_filters_and_worst_first(qtbot: QtBot, window: MainWindow, folder: Path) -> None:
    inspect(qtbot, window, folder)
    page = window.inspection.page
    page.side.setCurrentIndex(page.side.findData("left"))
    assert cells(window, 0) == ["b.png"]
    page.side.setCurrentIndex(0)
    for shown, names in (
        ("hands", ["a.png", "b.png"]),
        ("no hands", ["c.png"]),
        ("failed", ["d.jpg"]),
        ("waiting", []),
    ):
        page.shown.setCurrentIndex(page.shown.findData(shown))
        assert cells(window, 0) == names
    page.shown.setCurrentIndex(0)
    page.name.setText("B.P")
    assert cells(window, 0) == ["b.png"]
    assert page.count.text() == "1 row"
    page.name.clear()
    page.above.setValue(4.0)
    assert cells(window, 0) == ["a.png", "b.png"]
    page.above.setValue(5.0)
    assert cells(window, 0) == []
    page.above.setValue(0.0)
    page.worst.click()
    assert set(cells(window, 0)[:2]) == {"a.png", "b.png"}
    assert page.table.currentIndex().row() == 0
    assert page.chosen is not None
    assert page.chosen.hand is not None


def test_a_filter_by_sigma_says_that_hands_without_one_are_left_out(window: MainWindow) -> None:
    page = window.inspection.page
    without = HandRow(0, "right", 0.9, None, None, 0.5, None, None)
    page.model.take_listing(Path(), [ImageRow("a.png", "done", (without,))])
    assert page.count.text() == "1 row"
    page.above.setValue(4.0)
    assert page.count.text() == f"0 rows, {WITHOUT_SIGMA}"
    page.model.take_listing(Path(), [ImageRow("a.png", "done", (replace(without, mean_std_mm=5.0, max_std_mm=6.0),))])
    assert page.count.text() == "1 row"


def test_worst_first_is_by_error_where_there_is_a_truth(qtbot: QtBot, window: MainWindow, folder: Path) -> None:
    page = window.inspection.page
    points = {"a.png": 0.001, "b.png": 0.003}
    truth = [
        {
            "file": name,
            "hands": [{"handedness": side, "keypoints_camera_m": [[step * k, 0.0, 0.0] for k in range(21)]}],
        }
        for (name, step), side in zip(points.items(), ("right", "left"), strict=True)
    ]
    (folder / "ground_truth.json").write_text(json.dumps(truth))
    inspect(qtbot, window, folder)
    assert not page.table.isColumnHidden(6)
    page.worst.click()
    assert cells(window, 0)[:2] == ["b.png", "a.png"]
    assert cells(window, 6)[:2] == ["30.0", "10.0"]
    (folder / "ground_truth.json").write_text("{")
    page.resume.click()
    wait_for_end(qtbot, window)
    assert page.table.isColumnHidden(6)
    assert "ground_truth.json cannot be used" in window.message.text()


def key_press(widget: object, key: Qt.Key) -> bool:
    """Press a key as Qt does; returns whether the widget took it before the window's shortcuts."""
    override = QKeyEvent(QEvent.Type.ShortcutOverride, key, Qt.KeyboardModifier.NoModifier)
    override.ignore()
    QApplication.sendEvent(widget, override)
    if override.isAccepted():
        QApplication.sendEvent(widget, QKeyEvent(QEvent.Type.KeyPress, key, Qt.KeyboardModifier.NoModifier))
    return override.isAccepted()


def test_arrows_walk_and_image_crop_and_numbers_follow(qtbot: QtBot, window: MainWindow, folder: Path) -> None:
    inspect(qtbot, window, folder)
    page, detail = window.inspection.page, window.inspection.page.detail

    def shows(name: str) -> bool:
        return detail.result is not None and detail.result.frame.name == name

    qtbot.waitUntil(lambda: shows("a.png") and bool(detail.result.hands))
    assert [one.handedness for one in detail.result.hands] == ["right"]
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Up, Qt.Key.Key_Right):
        assert key_press(page.table, key)
    qtbot.waitUntil(lambda: shows("b.png"))
    assert [one.handedness for one in detail.result.hands] == ["left"]
    assert detail.large._result is detail.result
    assert detail.small._result.hands == detail.result.hands
    assert not detail.crop.pixmap().isNull()
    (crop,) = detail._preview.crops
    assert crop.max() == 200, "its colours are those of the image"
    assert "b.png   64 x 48   left   Score\N{NO-BREAK SPACE}0.90" in detail.numbers.text()
    assert key_press(page.table, Qt.Key.Key_Down)
    qtbot.waitUntil(lambda: shows("c.png"))
    assert detail.result.hands == ()
    assert detail.crop.pixmap().isNull()
    assert key_press(page.table, Qt.Key.Key_Down)
    assert detail.result is None
    assert "not an image" in detail.reason.text()
    assert not key_press(page.table, Qt.Key.Key_Space)


def test_of_several_hands_the_chosen_one_stands_alone_in_the_small_view(
    qtbot: QtBot, window: MainWindow, folder: Path
) -> None:
    Image.new("RGB", (64, 48), (BOTH, BOTH, BOTH)).save(folder / "a.png")
    inspect(qtbot, window, folder)
    page, detail = window.inspection.page, window.inspection.page.detail
    for row, side in enumerate(("left", "right")):
        page.select_row(row)
        qtbot.waitUntil(lambda: detail.result is not None and len(detail.result.hands) == 2)
        qtbot.waitUntil(lambda side=side: [one.handedness for one in detail.small._result.hands] == [side])
    assert [one.handedness for one in detail.large._result.hands] == ["left", "right"]


def test_views_follow_the_settings(window: MainWindow) -> None:
    detail = window.inspection.page.detail
    assert (detail.large.options.view, detail.small.options.view) == ("overlay", "orbit")
    press(window, "O")
    assert (detail.large.options.view, detail.small.options.view) == ("orbit", "overlay")
    press(window, "T")
    assert detail.large.options.colour == "uncertainty"
    for key in ("C", "D"):
        press(window, key)
    assert not any(one.options.compare or one.options.difference for one in (detail.large, detail.small))


def test_meshes_are_those_of_the_page_in_front(
    qtbot: QtBot, window: MainWindow, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[MeshRequest] = []
    monkeypatch.setattr(window._controller, "save_meshes", requests.append)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(folder / "mine"), ""))
    inspect(qtbot, window, folder)
    detail = window.inspection.page.detail
    qtbot.waitUntil(lambda: detail.result is not None and bool(detail.result.hands))
    press(window, "T")
    press(window, "Ctrl+E")
    assert requests[0].result is detail.result
    assert requests[0].colour == "uncertainty", "results are saved without texture"
    press(window, "F2")
    press(window, "Ctrl+E")
    assert len(requests) == 1
    assert "no hand" in window.message.text()


def drop(widget: object, path: str) -> None:
    """Drop a file on a widget."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(path)])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    widget.dropEvent(QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, buttons, keys))  # type: ignore[attr-defined]


def test_a_dropped_image_is_chosen_in_its_folder(qtbot: QtBot, window: MainWindow, folder: Path) -> None:
    page = window.inspection.page
    drop(page, str(folder / "b.png"))
    wait_for_end(qtbot, window)
    assert page.chosen is not None
    assert page.chosen.image.file == "b.png"


@pytest.mark.parametrize("name", ["absent", "a.txt"])
def test_what_is_no_folder_is_a_message(window: MainWindow, folder: Path, name: str) -> None:
    (folder / "a.txt").touch()
    drop(window.inspection.page, str(folder / name))
    assert "is not a folder" in window.message.text()
    assert not window.inspection.is_running


def test_a_folder_without_images_is_a_message(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    inspect(qtbot, window, tmp_path / "empty")
    assert "no images in this folder" in window.message.text()


def test_a_folder_that_goes_while_it_is_read_is_a_message(
    qtbot: QtBot, window: MainWindow, folder: Path, processor: Processor
) -> None:
    processor.before = lambda frame: (folder.rename(folder.with_name("moved")), None)[1] if folder.exists() else None
    inspect(qtbot, window, folder)
    assert "cannot be read any more" in window.inspection.page.status.text()
    assert cells(window, 1)[0] == "right"


def test_another_network_has_a_table_of_its_own(
    qtbot: QtBot, window: MainWindow, folder: Path, processor: Processor
) -> None:
    inspect(qtbot, window, folder)
    seen: list[str] = []
    processor.before = lambda frame: seen.append(frame.name)
    press(window, "1")
    assert window.inspection.is_running
    wait_for_end(qtbot, window)
    assert seen == ["a.png", "b.png", "c.png"]
    assert "prior" in window.inspection.page.title.text()
    press(window, "3")
    wait_for_end(qtbot, window)
    assert len(seen) == 3, "the saved results of the first are shown again"


def test_the_stream_is_paused_while_the_page_is_shown(qtbot: QtBot, window: MainWindow) -> None:
    controller = window._controller
    answers: list[object] = []
    controller.answered.connect(answers.append)
    controller.start("clip")
    qtbot.waitUntil(lambda: len(answers) > 1)
    press(window, "F3")
    qtbot.waitUntil(lambda: controller._capture._paused)
    QApplication.processEvents()
    count = len(answers)
    qtbot.wait(400)
    assert len(answers) <= count + 1
    press(window, "F2")
    qtbot.waitUntil(lambda: len(answers) > count + 2)


def test_export_asks_what_and_where(
    qtbot: QtBot, window: MainWindow, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspect(qtbot, window, folder)
    out = tmp_path / "out"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(out))
    window.inspection.page.name.setText("b.p")
    dialog = window.inspection.exporter.ask()
    assert dialog.only_shown.isChecked()
    for name in ("report", "meshes"):
        dialog.parts[name].setChecked(False)
    assert not dialog.meshes.isEnabled()
    dialog.accept()
    qtbot.waitUntil(lambda: "Saved" in window.message.text())
    assert window.message.text() == f"Saved hands.csv, hands.json in {out}"
    assert [entry["file"] for entry in json.loads((out / "hands.json").read_text())] == ["b.png"]
    out_file = tmp_path / "file"
    out_file.touch()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(out_file))
    dialog = window.inspection.exporter.ask()
    dialog.accept()
    qtbot.waitUntil(lambda: "cannot be made" in window.message.text())
    assert window.inspection.page.export.text() == "Export…"


def test_nothing_is_exported_where_nothing_is_chosen(qtbot: QtBot, window: MainWindow, folder: Path) -> None:
    inspect(qtbot, window, folder)
    dialog = window.inspection.exporter.ask()
    for box in dialog.parts.values():
        box.setChecked(False)
    assert dialog.choose is not None
    assert not dialog.choose.isEnabled()
    dialog.reject()


def many(count: int) -> list[ImageRow]:
    """Return images with one hand each, with scattered standard deviations."""
    return [
        ImageRow(f"{n:05d}.jpg", "done", (HandRow(0, "right", 0.9, n * 7919 % 10_007 / 1000, 9.0, 0.5),))
        for n in range(count)
    ]


@pytest.fixture
def model(qtbot: QtBot) -> Iterator[InspectionModel]:
    """Make ten thousand rows without a view."""
    thumbnails = Thumbnails()
    model = InspectionModel(thumbnails)
    model.take_listing(Path("nowhere"), many(10_000))
    yield model
    thumbnails.stop()


def test_what_is_chosen_stays_chosen_whatever_the_order(model: InspectionModel) -> None:
    worst = max(model.rows, key=lambda row: row.hand.mean_std_mm if row.hand is not None else 0)
    paused = QPersistentModelIndex(model.index(model.rows.index(worst), 0))
    model.sort(3, Qt.SortOrder.DescendingOrder)
    assert paused.row() == 0
    model.take([ImageRow("00000.jpg", "done", (HandRow(0, "left", 0.9, 99.0, 99.0, 0.5),))])
    assert paused.row() == 1
    model.set_filter(RowFilter(text=worst.image.file))
    assert (paused.row(), model.rowCount()) == (0, 1)
    model.set_filter(RowFilter(text="nothing"))
    assert not paused.isValid()


@pytest.mark.parametrize("order", [Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder])
@pytest.mark.parametrize("column", [0, 1, 3, 6])
def test_new_results_stand_where_sorting_all_would_put_them(
    model: InspectionModel, column: int, order: Qt.SortOrder
) -> None:
    images = [ImageRow(f"{number:05d}.jpg") for number in range(50)]
    model.take_listing(Path(), images)
    model.sort(column, order)
    model.set_filter(RowFilter(text="0"))
    changed = [*many(50)[::7], ImageRow("00033.jpg", "failed", reason="broken")]
    for image in changed:
        model.take([image])
    stepwise = [row.key for row in model.rows]
    model.sort(column, order)
    assert stepwise == [row.key for row in model.rows]


def test_numbers_are_sorted_as_numbers_and_what_has_none_comes_last(model: InspectionModel) -> None:
    rows = [
        ImageRow("a", "done", (HandRow(0, "left", 0.9, 10.0, 9.0, 0.5), HandRow(1, "left", 0.9, 9.0, 9.0, 0.5))),
        ImageRow("b"),
        ImageRow("c", "done", (HandRow(0, "left", 0.9, 100.0, 9.0, 0.5),)),
    ]
    model.take_listing(Path(), rows)
    for order, keys in (
        (Qt.SortOrder.AscendingOrder, [("a", 1), ("a", 0), ("c", 0), ("b", -1)]),
        (Qt.SortOrder.DescendingOrder, [("c", 0), ("a", 0), ("a", 1), ("b", -1)]),
    ):
        model.sort(3, order)
        assert [row.key for row in model.rows] == keys


def test_thumbnails_in_memory_are_few(qtbot: QtBot, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_loaders, "MAX_THUMBNAILS", 2)
    thumbnails = Thumbnails()
    taken: list[Path] = []
    thumbnails._worker.answered.connect(lambda path, _: taken.append(path))
    for name in ("a.png", "b.png", "d.jpg"):
        thumbnails.pixmap(folder / name)
    qtbot.waitUntil(lambda: len(taken) == 3)
    assert len(thumbnails) == 2
    thumbnails.stop()


def test_an_inspection_that_fails_unexpectedly_is_a_message_and_the_next_one_runs(qtbot: QtBot, folder: Path) -> None:
    class Broken:
        def events(self) -> Iterator[ImageRow]:
            raise ZeroDivisionError("of all things")
            yield

        def cancel(self) -> None:
            pass

    worker = InspectionWorker(lambda _: Broken())
    for _ in range(2):
        with qtbot.waitSignal(worker.ended) as ended:
            worker.begin(InspectionRequest(folder))
        assert "of all things" in ended.args[0]
    worker.stop()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere Qt's own priorities do it")
def test_an_inspection_steps_back_behind_the_window(qtbot: QtBot, folder: Path) -> None:
    niceness: list[int] = []

    class Noting:
        def events(self) -> Iterator[ImageRow]:
            niceness.append(os.getpriority(os.PRIO_PROCESS, 0))
            yield from ()

        def cancel(self) -> None:
            pass

    before = os.getpriority(os.PRIO_PROCESS, 0)
    worker = InspectionWorker(lambda _: Noting())
    with qtbot.waitSignal(worker.ended):
        worker.begin(InspectionRequest(folder))
    worker.stop()
    assert niceness == [max(before, NICENESS)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_remaining_time_is_formatted() -> None:
    assert [duration_text(seconds) for seconds in (5.2, 89, 120, 4000, 7380)] == [
        "5 s",
        "89 s",
        "2 min",
        "67 min",
        "2 h 3 min",
    ]


@pytest.mark.display
def test_the_page_is_painted(qtbot: QtBot, window: MainWindow, folder: Path) -> None:
    window._controller.change(colour="plain", opacity=1.0)
    with qtbot.waitExposed(window):
        window.show()
    inspect(qtbot, window, folder)
    page, detail = window.inspection.page, window.inspection.page.detail
    qtbot.waitUntil(lambda: detail.result is not None and bool(detail.result.hands))
    qtbot.waitUntil(lambda: page.thumbnails._known.keys() >= {folder / "a.png", folder / "b.png"})
    QApplication.processEvents()
    for viewport in (detail.large, detail.small):
        image = viewport.grabFramebuffer()
        assert image.pixelColor(image.width() // 2, image.height() // 2).lightness() > 110
    images = folder / "saved"
    window._controller.store.save_text(SCREENSHOT_FOLDER, str(images))
    press(window, "Ctrl+S")
    (saved,) = images.iterdir()
    # The image alone, 4:3 as its source, without the bars beside it.
    size, view = QImage(str(saved)).size(), detail.large.grabFramebuffer().size()
    assert size.width() / size.height() == pytest.approx(4 / 3, abs=0.01)
    assert size.width() == view.width() or size.height() == view.height()
    thumbnail = page.thumbnails.pixmap(folder / "b.png").toImage()
    assert thumbnail.pixelColor(20, 15).lightness() == 200
