"""Images of the guide: scenes run one after the other, and failures are reported."""
# ruff: noqa: F811 - fixtures are imported, then named as parameters

from collections.abc import Generator
from pathlib import Path

import pytest
from PIL import Image
from PyQt6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

import tools
from handviz.core.paths import CLIP_FILE
from handviz.gui import app
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from tests.gui.test_gui_window import controller, window  # noqa: F401 - fixtures
from tools import photographer
from tools.guide_images import SCENES
from tools.photographer import Photographer, Scene, Script, Stage


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographer, "TICK_MS", 1)
    monkeypatch.setattr(photographer, "SETTLE_MS", 1)


def at_once(stage: Stage) -> Script:
    yield lambda: True
    return stage.window.view_panel


def without_the_key(stage: Stage) -> Generator:
    stage.press("Ctrl+Alt+Q")
    yield lambda: True


def never(stage: Stage) -> Generator[object, None, QWidget]:
    yield lambda: False
    return stage.window


def test_scenes_are_saved_by_their_names_and_failures_are_told(
    qtbot: QtBot, window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photographer, "PATIENCE_S", 0.05)
    scenes = tuple(Scene(play.__name__, play) for play in (at_once, without_the_key, never, at_once))
    made = Photographer(window, tmp_path, scenes)
    with qtbot.waitSignal(made.finished):
        pass
    assert [path.name for path in tmp_path.glob("*.jpg")] == ["at_once.jpg"]
    with Image.open(tmp_path / "at_once.jpg") as saved:
        assert saved.width == window.view_panel.width()
    assert made.failures == ["without_the_key: no action has the key Ctrl+Alt+Q", "never: did not become ready"]


def test_every_scene_is_an_image_of_the_guide() -> None:
    committed = {path.stem for path in (Path(__file__).parents[2] / "docs" / "guide").glob("*.jpg")}
    assert {scene.name for scene in SCENES} <= committed


@pytest.mark.parametrize(("failures", "status"), [([], 0), (["it failed"], 1)])
def test_the_tool_plays_the_clip_with_settings_of_its_own(
    failures: list[str],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    controller: Controller,
    window: MainWindow,
    tmp_path: Path,
) -> None:
    def run(options: app.WindowArguments, instruments: app.Instruments) -> int:
        assert options.source == str(CLIP_FILE)
        assert instruments.settings_folder is not None
        assert instruments.watch is not None
        made = instruments.watch(window, controller)
        assert isinstance(made, Photographer)
        made.failures += failures
        return 0

    monkeypatch.setattr(app, "run", run)
    assert tools.run("guide_images", [str(tmp_path)]) == status
