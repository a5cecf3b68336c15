"""Start of the program."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gui_fakes import TRIANGLE, FakePipeline, FakeSource
from PIL import Image
from PyQt6.QtGui import QSurfaceFormat
from pytestqt.qtbot import QtBot

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import CLIP_FILE, PROJECT_ROOT
from handviz.gui import app
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import SettingsStore, ViewSettings, changed, wanted_of_pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from tests.errors import raises


def test_command_line() -> None:
    options = app.parse(["--source", "camera:1", "--model", "prior", "--view", "orbit", "--colour", "texture"])
    assert (options.source, options.model, options.view, options.colour) == ("camera:1", "prior", "orbit", "texture")


def test_a_file_needs_no_option() -> None:
    assert app.parse(["clip.mp4", "--model", "prior"]).file == "clip.mp4"
    assert app.parse([]).file is None


def test_a_rig_opens_on_its_own_page() -> None:
    opened: list[str | None] = []
    window = SimpleNamespace(several_views=SimpleNamespace(open=lambda text: opened.append(f"rig {text}")))
    controller = SimpleNamespace(start=opened.append)
    for source in ("a/RIG.json", "clip.mp4", None):
        app.begin(window, controller, source)  # type: ignore[arg-type]
    assert opened == [None, "rig a/RIG.json", "clip.mp4", None]


def test_only_named_options_change_the_settings_of_a_run() -> None:
    options = app.parse(["--model", "prior", "--screenshot", "x.png"])
    assert app.settings_for_this_run(options) == {"model": "prior"}


def test_the_detector_of_the_command_line_is_that_of_the_run(qtbot: QtBot) -> None:
    for words, detector in (([], "handviz"), (["--detector", "mediapipe"], "mediapipe")):
        controller = app.make_controller(app.parse(words))
        assert controller.config.detector == detector
        controller.close()


def test_unknown_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        app.parse(["--model", "best"])
    assert "final" in capsys.readouterr().err


def test_missing_model_folder_is_a_message_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(HandvizError, match=r"handviz_final\.onnx"):
        app.pipeline_maker(PipelineConfig(tmp_path))(PipelineSettings())


def test_pipeline_begins_with_textures_only_where_they_are_shown() -> None:
    wanted = [wanted_of_pipeline(changed(ViewSettings(), colour=colour)) for colour in ("texture", "plain")]
    assert [settings.texture for settings in wanted] == [True, False]


def test_error_that_nobody_caught_is_a_message_and_a_log_entry(qtbot: QtBot, caplog: pytest.LogCaptureFixture) -> None:
    controller = Controller(FakePipeline, SettingsStore())
    report = app.unexpected_error_reporter(controller)
    with qtbot.waitSignal(controller.status_changed) as said:
        report(ZeroDivisionError, ZeroDivisionError("odd"), None)
    assert "ZeroDivisionError: odd" in said.args[0].text
    assert "odd" in caplog.text


def test_without_a_display_the_command_for_images_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in app.DISPLAY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with raises(ErrorCode.NO_DISPLAY, match="handviz reconstruct"):
        app.check_display()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    app.check_display()


@pytest.mark.display
def test_window_is_saved_after_some_results(qtbot: QtBot, tmp_path: Path) -> None:
    store = SettingsStore()
    controller = Controller(FakePipeline, store, opener=lambda _: FakeSource(6), lister=list)
    window = MainWindow(controller, TRIANGLE)
    saver = app.ScreenshotAfter(window, tmp_path / "window.png", 3)
    window.show()
    controller.start("clip")
    qtbot.waitUntil(lambda: not window.isVisible())
    assert (tmp_path / "window.png").stat().st_size > 10_000
    assert not saver.has_failed
    window.deleteLater()


@pytest.mark.display
def test_format_is_opengl_3_3_core_and_opencv_leaves_qt_alone(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "QApplication", FakeApplication)
    monkeypatch.setenv("QT_QPA_FONTDIR", "/opencv")
    before = QSurfaceFormat.defaultFormat()
    app.make_application([])
    chosen = QSurfaceFormat.defaultFormat()
    QSurfaceFormat.setDefaultFormat(before)
    assert chosen.version() == (3, 3)
    assert chosen.profile() == QSurfaceFormat.OpenGLContextProfile.CoreProfile
    assert "QT_QPA_FONTDIR" not in os.environ


class FakeApplication:
    """Replacement of QApplication, of which one exists already."""

    def __init__(self, _: list[str]) -> None:
        """Do nothing."""

    @staticmethod
    def setAttribute(_: object) -> None:  # noqa: N802
        """Do nothing."""

    def setApplicationName(self, _: str) -> None:  # noqa: N802
        """Do nothing."""


@pytest.mark.display
def test_window_is_sharp_on_a_display_of_twice_the_resolution(tmp_path: Path) -> None:
    """Run the program in its own process, because Qt reads the scale once."""
    saved = tmp_path / "window.png"
    command = [sys.executable, "app.py", "--source", str(CLIP_FILE), "--colour", "plain", "--screenshot", str(saved)]
    surroundings = os.environ | {"QT_SCALE_FACTOR": "2", "HANDVIZ_CONFIG_DIR": str(tmp_path)}
    command += ["--screenshot-after", "2"]
    subprocess.run(command, cwd=PROJECT_ROOT, check=True, env=surroundings, timeout=120, capture_output=True)
    image = np.asarray(Image.open(saved).convert("L"), dtype=float)
    assert image.shape[1] > 1.9 * 828
    # Text and edges that were drawn at half the size and blown up would repeat every second pixel.
    doubled = np.abs(np.diff(image[:, : image.shape[1] // 2 * 2], axis=1))
    within, between = doubled[:, ::2].mean(), doubled[:, 1::2].mean()
    assert min(within, between) > 0.75 * max(within, between)


WINDOW_UNTIL_FIRST_HANDS = """
import sys
from pathlib import Path
from handviz.core.camera_model import CameraModel, HandSize
from handviz.gui import app
from handviz.gui.session.settings import SettingsStore, ViewSettings, changed
from handviz.gui.session.source_memory import SourceMemory, owner_of, save_camera_model
from handviz.sources.camera import CameraInfo

folder, clip = Path(sys.argv[1]), sys.argv[2]
store = SettingsStore(folder)
saved = changed(ViewSettings(), camera_model=CameraModel("angle", 70.0), hand_size=HandSize("breadth", 85.0, 2.0))
store.save(saved)
save_camera_model(store, owner_of(clip, ""), saved.pipeline.camera_model)
memory = SourceMemory(store)
memory.save_opened(clip, None)
memory.set_rotation(clip, None, 0)
shown = []

def watch(window, controller):
    def see(answer):
        if answer.result.hands and not shown:
            assert controller.settings.pipeline.camera_model == saved.pipeline.camera_model
            shown.extend(name for name in ("pydantic", "torch") if name in sys.modules)
            shown.append("hands")
            window.close()
    controller.answered.connect(see)

status = app.run(app.parse([]), app.Instruments(watch=watch, settings_folder=folder))
sys.exit(status or (0 if shown == ["hands"] else f"loaded until the first hands: {shown}"))
"""


@pytest.mark.slow
def test_the_window_shows_hands_without_loading_what_only_files_need(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WINDOW_UNTIL_FIRST_HANDS, str(tmp_path), str(CLIP_FILE)]
    surroundings = os.environ | {"QT_QPA_PLATFORM": "offscreen", "HANDVIZ_CONFIG_DIR": str(tmp_path)}
    done = subprocess.run(
        command, cwd=PROJECT_ROOT, check=False, env=surroundings, timeout=120, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
