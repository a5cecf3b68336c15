"""A driver that offers OpenGL and then fails: a message explains it, and reconstruction continues."""
# ruff: noqa: F811 - fixtures are imported, then named as parameters

import sys
from types import SimpleNamespace

import moderngl
import pytest
from PyQt6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.view.viewport import SOFTWARE_HINTS, broken_driver
from handviz.rendering import passes
from handviz.rendering.scene import Scene
from tests.gui.test_gui_window import controller, press, window  # noqa: F401 - fixtures

SAID = "GLSL Compiler failed\n\nfragment_shader\n===============\n0:1(10): error: GLSL 3.30 is not supported"


def test_the_message_fits_the_system_and_the_driver() -> None:
    error = moderngl.Error(SAID)
    assert "GLSL Compiler failed" in broken_driver(error, "linux")
    assert "LIBGL_ALWAYS_SOFTWARE=1" in broken_driver(error, "linux")
    assert "QT_OPENGL=software" in broken_driver(error, "win32")
    assert "update the system" in broken_driver(error, "darwin")
    assert "Error" in broken_driver(moderngl.Error(""), "linux")


@pytest.fixture(params=["compile", "draw"])
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the driver fail at compiling shaders, or at drawing the first image."""

    def fail(*_: object, **__: object) -> None:
        raise moderngl.Error(SAID)

    if request.param == "compile":
        monkeypatch.setattr(passes, "load_program", fail)
    else:
        monkeypatch.setattr(Scene, "draw", fail)


@pytest.mark.display
@pytest.mark.usefixtures("broken")
def test_hands_are_reconstructed_and_saved_although_nothing_can_be_drawn(
    qtbot: QtBot,
    controller: Controller,
    window: MainWindow,
    tmp_path: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (f"{tmp_path}/mine", "Binary glTF (*.glb)"))
    saved: list[object] = []
    exporter = SimpleNamespace(export_mesh=lambda path, *_, **__: saved.append(path) or [path])
    monkeypatch.setitem(sys.modules, "handviz.io.mesh_export", exporter)
    with qtbot.waitExposed(window):
        window.show()
    with qtbot.waitSignal(controller.answered) as answered:
        controller.start("picture")
    qtbot.waitUntil(lambda: "cannot draw" in window.banner.text())
    assert not window.banner.isHidden()
    if sys.platform in SOFTWARE_HINTS:
        assert SOFTWARE_HINTS[sys.platform] in window.banner.text()
    assert answered.args[0].result.hands
    assert window._shown is answered.args[0].result
    window.view_panel.numbers.refresh()
    assert window.view_panel.numbers.values["detect"].text() == "20.0 ms"
    with qtbot.waitSignal(controller._saver.finished):
        press(qtbot, window, "Ctrl+E")
    assert saved
