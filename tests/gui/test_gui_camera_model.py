"""Camera intrinsics and hand size through the window: dialog, panel, saved settings, line on the image, calibration."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gui_fakes import TRIANGLE, FakePipeline, FakeSource, hand
from PIL import Image
from PyQt6.QtWidgets import QFileDialog, QPushButton
from pytestqt.qtbot import QtBot

from handviz.core.camera_files import camera_model_text, read_camera_file
from handviz.core.camera_model import ASSUMED_CAMERA, CameraModel, HandSize, camera_model_of_intrinsics
from handviz.core.records import Frame, FrameResult, HandMesh, Intrinsics, PositionUncertainty
from handviz.gui.calibration.dialog import CameraDialog
from handviz.gui.calibration.feature import CameraFeature
from handviz.gui.calibration.pages import PRESETS
from handviz.gui.calibration.panel import position_text, wrist_distance_std_m, wrist_distance_text
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.session.settings import SettingsStore
from handviz.gui.session.source_memory import SourceMemory, saved_camera_model
from handviz.sources.checkerboard import Board
from handviz.sources.source import CameraInfo, text_of_images
from tests.boards import VIEWS, board_image

MEASURED = camera_model_of_intrinsics(Intrinsics(600.0, 321.0, 239.0, 604.0, "calibrated", 0.004), (640, 480))


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    """Make a controller with two cameras, a clip and images."""

    def opener(text: str, *_: object) -> FakeSource:
        return FakeSource(3, names=text == str(tmp_path))

    cameras = [CameraInfo(0, "Front"), CameraInfo(2, "Back/left")]
    return Controller(FakePipeline, SettingsStore(), opener=opener, lister=lambda: cameras)


@pytest.fixture
def window(qtbot: QtBot, controller: Controller) -> Iterator[MainWindow]:
    made = MainWindow(controller, TRIANGLE)
    yield made
    made.close()
    made.deleteLater()


def feature_of(window: MainWindow) -> CameraFeature:
    return next(feature for feature in window.features if isinstance(feature, CameraFeature))


def dialog_of(window: MainWindow) -> CameraDialog:
    """Open the dialog by its key."""
    action = next(a for a in window.actions() if "Ctrl+L" in [key.toString() for key in a.shortcuts()])
    action.trigger()
    return window.findChild(CameraDialog)


def answer_of(image: np.ndarray, *hands: HandMesh, name: str = "") -> Answer:
    result = FrameResult(Frame(0, image, 0.0, name), "final", hands=hands)
    return Answer(0, result, 0.0, 0.0, 0, "CPUExecutionProvider")


def grey(width: int = 640, height: int = 480) -> np.ndarray:
    return np.full((height, width, 3), 90, np.uint8)


def button(dialog: CameraDialog, text: str) -> QPushButton:
    return next(one for one in dialog.findChildren(QPushButton) if one.text() == text)


def test_the_image_always_states_its_camera_model(window: MainWindow, controller: Controller) -> None:
    note = feature_of(window).note
    controller.answered.emit(answer_of(grey()))
    assert note.text() == "assumed 60° field of view (Ctrl+L)"
    assert note.isVisibleTo(window.viewport)
    window.viewport.resize(500, 400)
    window.source_panel.camera_model.field_of_view.setValue(72.5)
    assert controller.settings.pipeline.camera_model == CameraModel("angle", 72.5)
    assert note.text() == "72.5° over the longer side"
    assert note.isVisibleTo(window.viewport)
    assert "72.5°" in window.source_panel.camera_model.known.text()


def test_the_image_states_the_field_of_view_of_its_exif(window: MainWindow, controller: Controller) -> None:
    answer = answer_of(grey(), name="photo.jpg")
    frame = dataclasses.replace(answer.result.frame, exif_focal_px=320.0)
    controller.answered.emit(dataclasses.replace(answer, result=dataclasses.replace(answer.result, frame=frame)))
    assert feature_of(window).note.text() == "90° field of view, from EXIF (Ctrl+L)"


def test_the_line_is_centred_below_the_image(window: MainWindow, controller: Controller) -> None:
    controller.answered.emit(answer_of(grey()))
    window.resize(900, 600)
    window.show()
    note, viewport = feature_of(window).note, window.viewport
    assert abs(note.x() + note.width() / 2 - viewport.width() / 2) <= 1
    assert viewport.height() - 20 < note.geometry().bottom() < viewport.height()


def test_in_a_narrow_view_the_line_leaves_the_corners_free(
    qtbot: QtBot, window: MainWindow, controller: Controller
) -> None:
    controller.answered.emit(answer_of(grey()))
    window.show()
    note = feature_of(window).note
    window.resize(900, 600)
    qtbot.waitUntil(lambda: note.text() == "assumed 60° field of view")
    window.resize(1400, 800)
    qtbot.waitUntil(lambda: note.text() == "assumed 60° field of view (Ctrl+L)")


def test_presets_angles_and_sides(window: MainWindow, controller: Controller) -> None:
    page = dialog_of(window).angle
    row = [preset.name for preset in PRESETS].index("Logitech C920, C922") + 1
    page.presets.setCurrentIndex(row)
    page.presets.activated.emit(row)
    assert controller.settings.pipeline.camera_model == CameraModel("angle", 78.0, "diagonal")
    assert (page.angle.value(), page.side.currentData()) == (78.0, "diagonal")
    page.angle.setValue(90.0)
    page.side.setCurrentIndex(page.side.findData("vertical"))
    page.side.activated.emit(page.side.currentIndex())
    assert controller.settings.pipeline.camera_model == CameraModel("angle", 90.0, "vertical")
    button(dialog_of(window), "Reset to default (60° assumed)").click()
    assert controller.settings.pipeline.camera_model == ASSUMED_CAMERA


def test_every_preset_is_a_camera_model() -> None:
    for preset in PRESETS:
        CameraModel("angle", preset.angle_deg, preset.side).intrinsics_for(640, 480)
        assert preset.source


def test_fx_fy_cx_cy_by_hand(window: MainWindow, controller: Controller) -> None:
    dialog = dialog_of(window)
    page = dialog.numbers
    for name, value in {"fx": 600.0, "fy": 610.0, "cx": 330.0, "cy": 235.0}.items():
        page.boxes[name].setValue(value)
    page.width_box.setValue(640)
    page.height_box.setValue(480)
    page.use.click()
    known = controller.settings.pipeline.camera_model.known
    assert known is not None
    assert [*known.focals_px, *known.centre_px] == [600, 610, 330, 235]
    assert "fx 600.0, fy 610.0" in dialog.summary.text()
    assert "as stated" in dialog.summary.text()
    before = controller.settings.pipeline.camera_model
    page.boxes["cx"].setValue(2000.0)
    page.use.click()
    assert "outside" in dialog.error.text()
    assert controller.settings.pipeline.camera_model == before
    page.boxes["cx"].setValue(320.0)
    controller.change(wireframe=True)
    page.use.click()
    assert dialog.error.text() == ""


def test_another_aspect_ratio_is_stated_on_the_screen(window: MainWindow, controller: Controller) -> None:
    controller.change(camera_model=MEASURED)
    dialog = dialog_of(window)
    controller.answered.emit(answer_of(grey(640, 480)))
    assert feature_of(window).note.text() == "fx 600 px, measured at 640x480"
    controller.answered.emit(answer_of(grey(1280, 720)))
    assert "images of 640x480" in feature_of(window).note.text()
    assert "640x480" in dialog.caveat.text()


def test_camera_models_are_saved_and_loaded(
    window: MainWindow, controller: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialog = dialog_of(window)
    controller.change(camera_model=MEASURED)
    for name, kind in (("mine", "handviz intrinsics (*.json)"), ("theirs.yml", "")):
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, n=name, k=kind: (str(tmp_path / n), k))
        button(dialog, "Save…").click()
    assert read_camera_file(tmp_path / "mine.json") == MEASURED
    controller.change(camera_model=ASSUMED_CAMERA)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "theirs.yml"), ""))
    button(dialog, "Load…").click()
    loaded = controller.settings.pipeline.camera_model.known
    assert loaded is not None
    assert MEASURED.known is not None
    np.testing.assert_allclose(loaded.matrix, MEASURED.known.matrix)
    (tmp_path / "bad.json").write_text("{}")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "bad.json"), ""))
    button(dialog, "Load…").click()
    assert "bad.json" in dialog.error.text()
    controller.change(camera_model=CameraModel("angle", 60.0))
    button(dialog, "Save…").click()
    assert "JSON" in dialog.error.text(), "an angle is no OpenCV calibration"


def test_every_source_keeps_its_own_camera_model(qtbot: QtBot, window: MainWindow, controller: Controller) -> None:
    controller.start("camera:0")
    qtbot.waitUntil(lambda: controller.source is not None)
    qtbot.waitUntil(lambda: bool(controller.cameras))
    open_and_wait(qtbot, controller, "camera:2")
    controller.change(camera_model=CameraModel("angle", 90.0))
    open_and_wait(qtbot, controller, "clip.mp4")
    assert controller.settings.pipeline.camera_model == ASSUMED_CAMERA
    controller.change(camera_model=MEASURED)
    open_and_wait(qtbot, controller, "camera:2")
    assert controller.settings.pipeline.camera_model == CameraModel("angle", 90.0)
    open_and_wait(qtbot, controller, "other.mp4")
    assert controller.settings.pipeline.camera_model == ASSUMED_CAMERA, "nothing was stated for this one"
    open_and_wait(qtbot, controller, str(Path("clip.mp4").absolute()))
    assert controller.settings.pipeline.camera_model == MEASURED
    controller.change(camera_model=ASSUMED_CAMERA)
    open_and_wait(qtbot, controller, "other.mp4")
    open_and_wait(qtbot, controller, "clip.mp4")
    assert controller.settings.pipeline.camera_model == ASSUMED_CAMERA
    assert SettingsStore().load().pipeline.camera_model == ASSUMED_CAMERA


def test_a_camera_model_of_version_0_1_is_found_and_can_be_taken_back(
    qtbot: QtBot, window: MainWindow, controller: Controller
) -> None:
    controller.store.save_text("lens_of_Back_left", camera_model_text(MEASURED))
    controller.start("camera:2")
    qtbot.waitUntil(lambda: controller.settings.pipeline.camera_model == MEASURED)
    controller.change(camera_model=ASSUMED_CAMERA)
    open_and_wait(qtbot, controller, "clip.mp4")
    open_and_wait(qtbot, controller, "camera:2")
    assert controller.settings.pipeline.camera_model == ASSUMED_CAMERA


def test_the_dialog_names_the_source(qtbot: QtBot, window: MainWindow, controller: Controller) -> None:
    controller.start("camera:0")
    qtbot.waitUntil(lambda: controller.source is not None)
    qtbot.waitUntil(lambda: bool(controller.cameras))
    dialog = dialog_of(window)
    controller.answered.emit(answer_of(grey()))
    assert dialog.source.text() == "Applies to: Front", "its name in the system, which came after its image"
    open_and_wait(qtbot, controller, "clip.mp4")
    controller.answered.emit(answer_of(grey()))
    assert dialog.source.text() == "Applies to: fake"


def open_and_wait(qtbot: QtBot, controller: Controller, text: str) -> None:
    with qtbot.waitSignal(controller.source_opened):
        controller.open(text)


def test_damaged_saved_intrinsics_are_the_assumed_ones(
    qtbot: QtBot, window: MainWindow, controller: Controller
) -> None:
    SourceMemory(controller.store).set_camera_model_text(str(Path("clip.mp4").absolute()), '{"mode": "angle"}')
    controller.start("clip.mp4")
    qtbot.waitUntil(lambda: controller.source is not None)
    assert controller.settings.pipeline.camera_model == ASSUMED_CAMERA


def test_the_size_of_a_hand(qtbot: QtBot, window: MainWindow, controller: Controller) -> None:
    page = dialog_of(window).hand
    assert not page.millimetres.isEnabled()
    choose_measure(page, "length")
    page.millimetres.setValue(192.0)
    page.std_mm.setValue(2.0)
    assert controller.settings.pipeline.hand_size == HandSize("length", 192.0, 2.0)
    choose_measure(page, "breadth")
    assert controller.settings.pipeline.hand_size == HandSize("breadth", 82.0, 2.0)
    assert SettingsStore().load().pipeline.hand_size == HandSize("breadth", 82.0, 2.0)
    choose_measure(page, "none")
    assert controller.settings.pipeline.hand_size.measure == "none"
    assert not page.millimetres.isEnabled()


def choose_measure(page: object, measure: str) -> None:
    box = page.measure  # type: ignore[attr-defined]
    box.setCurrentIndex(box.findData(measure))
    box.activated.emit(box.currentIndex())


def test_exif_offers_the_photograph_s_camera_model(
    qtbot: QtBot, window: MainWindow, controller: Controller, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 26
    Image.new("RGB", (64, 48)).save(tmp_path / "0.jpg", exif=exif)
    Image.new("RGB", (64, 48)).save(tmp_path / "1.jpg")
    dialog = dialog_of(window)
    assert not dialog.angle.exif.isEnabled(), "there is no photograph"
    controller.start(str(tmp_path))
    qtbot.waitUntil(dialog.angle.exif.isEnabled)
    controller.answered.emit(answer_of(grey(64, 48), name="0.jpg"))
    dialog.angle.exif.click()
    assert controller.settings.pipeline.camera_model == CameraModel("angle", 79.5, "diagonal")
    open_and_wait(qtbot, controller, text_of_images([tmp_path / "1.jpg", tmp_path / "0.jpg"]))
    controller.answered.emit(answer_of(grey(64, 48), name="0.jpg"))
    controller.change(camera_model=ASSUMED_CAMERA)
    dialog.angle.exif.click()
    assert controller.settings.pipeline.camera_model == CameraModel("angle", 79.5, "diagonal")
    controller.answered.emit(answer_of(grey(64, 48), name="1.jpg"))
    dialog.angle.exif.click()
    assert "EXIF" in dialog.error.text()


def test_a_board_before_the_camera_becomes_its_camera_model(
    qtbot: QtBot, window: MainWindow, controller: Controller
) -> None:
    camera, board = Intrinsics(615.0, 329.0, 236.0), Board(9, 6)
    page = dialog_of(window).board
    page.live.click()
    assert page.live.text() == "Stop live capture"
    task = feature_of(window)._task
    assert task is not None
    for number, view in enumerate(VIEWS, start=1):
        image = board_image(camera, (640, 480), *view, board)
        for _ in range(2):  # still for two images
            with qtbot.waitSignal(task.progressed):
                controller.answered.emit(answer_of(image))
        qtbot.waitUntil(lambda number=number: page.progress.text().startswith(f"{number} of 12"))
    assert page.preview.pixmap().width() == 320
    assert page.use.isEnabled()
    page.use.click()
    known = controller.settings.pipeline.camera_model.known
    assert known is not None
    assert known.origin == "calibrated"
    np.testing.assert_allclose(known.focals_px, 615, rtol=0.01)
    page.live.click()
    assert feature_of(window)._task is None


def test_a_folder_of_boards(
    qtbot: QtBot, window: MainWindow, controller: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera, board = Intrinsics(615.0, 329.0, 236.0), Board(9, 6)
    for number, view in enumerate(VIEWS):
        Image.fromarray(board_image(camera, (640, 480), *view, board)).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    page = dialog_of(window).board
    page.folder.click()
    qtbot.waitUntil(lambda: "10 images, 9 views of the board used" in page.message.text())
    page.use.click()
    assert controller.settings.pipeline.camera_model.known is not None


def test_a_folder_without_boards_gets_a_message(
    qtbot: QtBot, window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    page = dialog_of(window).board
    page.folder.click()
    qtbot.waitUntil(lambda: "no images" in page.message.text())
    Image.fromarray(grey()).save(tmp_path / "a.png")
    page.folder.click()
    qtbot.waitUntil(lambda: "0 of at least 6" in page.message.text())
    assert not page.use.isEnabled()


def test_closing_the_window_ends_a_calibration(qtbot: QtBot, window: MainWindow) -> None:
    dialog_of(window).board.live.click()
    task = feature_of(window)._task
    assert task is not None
    assert task.isRunning()
    window.close()
    assert feature_of(window)._task is None


def test_a_rotated_image_is_calibrated_as_it_was_taken(
    qtbot: QtBot, window: MainWindow, controller: Controller
) -> None:
    camera, board = Intrinsics(615.0, 329.0, 236.0), Board(9, 6)
    page = dialog_of(window).board
    page.live.click()
    task = feature_of(window)._task
    assert task is not None
    image = np.rot90(board_image(camera, (640, 480), *VIEWS[0], board), -1)
    answer = answer_of(np.ascontiguousarray(image))
    rotated = dataclasses.replace(answer.result, frame=dataclasses.replace(answer.result.frame, rotation_deg=90))
    with qtbot.waitSignal(task.progressed) as progress:
        controller.answered.emit(dataclasses.replace(answer, result=rotated))
    assert progress.args[0].preview.shape == (240, 320, 3)
    assert "640 x 480" in window.findChild(CameraDialog).summary.text()


def two_hands() -> tuple[HandMesh, HandMesh]:
    uncertainty = PositionUncertainty(np.diag([0.004, 0.004, 0.02]) ** 2, 0.05)
    first = dataclasses.replace(
        hand(handedness="left"), position_uncertainty=uncertainty, wrist_camera_m=np.array([-0.1, 0.0, 0.5])
    )
    return first, dataclasses.replace(first, handedness="right", wrist_camera_m=np.array([0.14, 0.0, 0.43]))


def test_positions_and_the_distance_of_two_hands_are_shown(window: MainWindow, controller: Controller) -> None:
    controller.answered.emit(answer_of(grey(), *two_hands()))
    text = window.source_panel.hands.text()
    assert "wrist x -10.0 y 0.0 z 50.0 cm\nsigma x 0.6 y 0.4 z 3.2 cm" in text
    assert "wrist distance 25.0 ± " in text
    assert "distance" not in feature_of(window).note.text()
    controller.change(view="orbit")
    assert feature_of(window).note.text().startswith("wrist distance 25.0 ± ")


@pytest.mark.parametrize(("measured", "own_fraction"), [(False, 0.5), (True, 0.0)])
def test_the_uncertainty_of_the_distance_is_that_of_sampled_positions(measured: bool, own_fraction: float) -> None:
    first, second = (
        dataclasses.replace(
            one,
            intrinsics=dataclasses.replace(one.intrinsics, focal_std_fraction=0.1),
            position_uncertainty=dataclasses.replace(one.position_uncertainty, size_is_measured=measured),  # type: ignore[type-var]
        )
        for one in two_hands()
    )
    random, count = np.random.default_rng(3), 200_000
    shared = random.normal(0, 0.05 * np.sqrt(1 - own_fraction), count)
    focal = random.normal(0, 0.1, count)
    positions = []
    for one in (first, second):
        assert one.position_uncertainty is not None
        own = random.normal(0, 0.05 * np.sqrt(own_fraction), count)
        fit = random.multivariate_normal(np.zeros(3), one.position_uncertainty.fit_covariance_m2, count)
        position = one.wrist_camera_m * (1 + shared + own)[:, None] + fit
        position[:, 2] += one.wrist_camera_m[2] * focal
        positions.append(position)
    drawn_m = np.linalg.norm(positions[1] - positions[0], axis=1).std()
    assert wrist_distance_std_m(first, second) == pytest.approx(drawn_m, rel=0.05)


def test_without_uncertainty_there_is_no_uncertainty() -> None:
    first, second = (dataclasses.replace(one, position_uncertainty=None) for one in two_hands())
    assert wrist_distance_text((first, second)) == "wrist distance 25.0 cm"
    assert position_text(first) == "wrist x -10.0 y 0.0 z 50.0 cm"
    assert wrist_distance_text((first,)) == ""


def test_wrists_are_apart_where_they_can_be_of_one_person() -> None:
    left, right = two_hands()
    assert wrist_distance_text((left, right)).startswith("wrist distance 25.0")
    assert wrist_distance_text((right, left)).startswith("wrist distance 25.0")
    for hands in ((), (left, left), (right, right), (left, right, right), (left, left, right, right)):
        assert wrist_distance_text(hands) == ""


def test_the_camera_model_reaches_the_pipeline(qtbot: QtBot, window: MainWindow, controller: Controller) -> None:
    controller.start("clip.mp4")
    qtbot.waitUntil(lambda: controller.source is not None and controller._reconstruct._pipeline is not None)
    pipeline = controller._reconstruct._pipeline
    assert isinstance(pipeline, FakePipeline)
    window.source_panel.camera_model.details.click()
    window.findChild(CameraDialog).angle.angle.setValue(81.0)
    qtbot.waitUntil(lambda: ("camera_model", CameraModel("angle", 81.0)) in pipeline.told)
    owner = str(Path("clip.mp4").absolute())
    assert saved_camera_model(controller.store, owner) == CameraModel("angle", 81.0)
