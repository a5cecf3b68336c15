"""Saved settings of sources."""

from pathlib import Path

import pytest

from handviz.gui.session.settings import SettingsStore
from handviz.gui.session.source_memory import (
    LAST_CAMERA,
    LAST_SOURCE,
    MAX_RECENT,
    MODES,
    RECENT,
    ROTATIONS,
    SourceMemory,
)
from handviz.sources.camera import USUAL_MODE, CameraInfo, CameraMode

FRONT, TWIN = CameraInfo(0, "Front", "usb 1"), CameraInfo(2, "Front", "usb 2")
HD = CameraMode(1280, 720, 30)


@pytest.fixture
def memory() -> SourceMemory:
    """Return an empty memory."""
    return SourceMemory(SettingsStore())


def test_twins_are_saved_separately_and_a_moved_camera_by_its_name(memory: SourceMemory) -> None:
    memory.set_mode("camera:0", FRONT, HD)
    memory.set_rotation("camera:2", TWIN, 180)
    assert memory.mode_of("camera:0", FRONT) == HD
    assert memory.config_of("camera:2", TWIN).rotation_deg == 180
    assert memory.config_of("camera:7", CameraInfo(7, "Front", "usb 9")).rotation_deg == 180
    assert memory.mode_of("camera:1", CameraInfo(1, "Back", "usb 1")) == USUAL_MODE


def test_a_camera_without_a_name_is_known_by_its_number(memory: SourceMemory) -> None:
    memory.set_mode("camera:3", None, HD)
    config = memory.config_of("camera:3", None)
    assert config.camera is not None
    assert (config.camera.mode, config.camera.camera) == (HD, None)
    assert memory.config_of("camera:4", None).camera is None


def test_the_last_of_two_twins_is_opened_first(memory: SourceMemory) -> None:
    memory.save_opened("camera:2", TWIN)
    assert memory.last([FRONT, TWIN]) == "camera:2"
    assert memory.last([CameraInfo(5, "Front", "usb 2"), FRONT]) == "camera:5"
    assert memory.last([CameraInfo(0, "Other", "usb 2")]) == ""


def test_recent_sources_are_eight_and_have_no_doubles(memory: SourceMemory, tmp_path: Path) -> None:
    for number in [*range(12), 5]:
        path = tmp_path / f"{number}, ü.mp4"
        path.touch()
        memory.save_opened(str(path), None)
    assert len(memory.recent()) == MAX_RECENT
    assert [Path(text).name for text in memory.recent()[:3]] == ["5, ü.mp4", "11, ü.mp4", "10, ü.mp4"]
    memory.save_opened("camera:0", FRONT)
    assert len(memory.recent()) == MAX_RECENT, "cameras have a list of their own"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"camera:0": [1' + "0" * 400 + ", 480, 30]}",
        '{"camera:0": 90.5}',
        "{",
        "[1, 2",
        '{"camera:0": [1e999, 480, 30]}',
        '{"camera:0": [0, 0, 0]}',
        '{"camera:0": "x"}',
        "[[1]]",
        "7",
    ],
)
def test_a_broken_settings_file_is_as_if_nothing_had_been(text: str, tmp_path: Path) -> None:
    store = SettingsStore()
    for name in (LAST_CAMERA, MODES, RECENT, ROTATIONS):
        store.save_text(name, text)
    store.save_text(LAST_SOURCE, "camera:0")
    memory = SourceMemory(store)
    assert memory.recent() == []
    assert memory.config_of("camera:0", None).camera is None
    assert memory.config_of("camera:0", None).rotation_deg == 0
    memory.last([FRONT])
    memory.set_rotation("camera:0", None, 90)
    assert memory.config_of("camera:0", None).rotation_deg == 90


@pytest.mark.parametrize("text", ["null", "7", "{", "[" * 100_000])
def test_images_that_are_no_list_are_as_if_nothing_had_been(text: str) -> None:
    SettingsStore().save_text(LAST_SOURCE, f"pictures:{text}")
    assert SourceMemory(SettingsStore()).last([FRONT]) == ""


def test_a_camera_with_thousands_of_digits() -> None:
    store = SettingsStore()
    store.save_text(LAST_SOURCE, "camera:" + "9" * 5000)
    assert SourceMemory(store).last([FRONT]) == ""
    store.save_text(LAST_CAMERA, '["Front", "usb 1"]')
    assert SourceMemory(store).last([FRONT]) == "camera:0", "which is known by its name"
