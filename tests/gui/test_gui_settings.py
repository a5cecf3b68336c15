"""The settings file: damaged, foreign, hostile, of Qt, and one that cannot be written."""

import dataclasses
import errno
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PyQt6.QtCore import QSize
from pytestqt.qtbot import QtBot

from handviz.core.camera_model import CameraModel, HandSize
from handviz.core.files import not_writable
from handviz.core.paths import PROJECT_ROOT
from handviz.gui.main_window import MainWindow
from handviz.gui.session import settings as settings_module
from handviz.gui.session.controller import Controller
from handviz.gui.session.former_settings import MAX_BYTES as MAX_FORMER_BYTES
from handviz.gui.session.settings import (
    FILE_NAME,
    FORMER_NAME,
    SettingsStore,
    ViewSettings,
    changed,
    flat,
    wanted_of_pipeline,
)
from handviz.gui.session.settings_file import MAX_BYTES, MAX_TEXT
from handviz.gui.session.source_memory import LAST_SOURCE, saved_camera_model
from handviz.gui.window_layout import GEOMETRY, first_size
from handviz.pipeline.settings import PipelineSettings
from handviz.rendering.options import DrawOptions
from tests.gui_fakes import TRIANGLE, FakePipeline

OTHER = changed(
    ViewSettings(),
    model="prior",
    wireframe=True,
    opacity=0.5,
    max_hands=7,
    camera_model=CameraModel("angle", 70.0),
    hand_size=HandSize("breadth", 85.0, 2.0),
)
WRITTEN_BY_QT = r"""[memory]
folded_groups=Model|Camera
last_source="/home/me/a, b; \"c\" \xe9\x20ac \x65.mp4"
lens_of_C920%20%28usb%201%29="{\"mode\": \"angle\", \"field_of_view_deg\": 81.0}"
settings_version=1
stream_address=@@home
unknown=@Invalid()
window_geometry=@ByteArray(AdnQywAD)

[view]
colour=plain
opacity=0.25
skeleton=true
"""


@pytest.fixture
def folder(settings_folder: Path) -> Path:
    """Return the folder of the settings, which exists."""
    settings_folder.mkdir()
    return settings_folder


def write_view(folder: Path, **view: Any) -> None:
    (folder / FILE_NAME).write_text(json.dumps({"memory": {"settings_version": "1"}, "view": view}))


def test_settings_are_json_and_come_back(folder: Path) -> None:
    store = SettingsStore()
    store.save(OTHER)
    store.save_text("last_source", "/näme/\udcff.mp4")
    content = json.loads((folder / FILE_NAME).read_text(encoding="ascii"))
    assert content["view"]["opacity"] == 0.5
    assert content["view"]["wireframe"] is True
    again = SettingsStore()
    assert (again.load(), again.text("last_source"), again.notice) == (OTHER, "/näme/\udcff.mp4", "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("opacity", "7"),
        ("opacity", "NaN"),
        ("opacity", "1e999"),
        ("opacity", "9" * 5000),
        ("opacity", "true"),
        ("opacity", "[0.5]"),
        ("wireframe", "1"),
        ("max_hands", "0"),
        ("max_hands", "11"),
        ("max_hands", "2.5"),
        ("max_hands", "true"),
        ("max_hands", '"many"'),
        ("variant", '"best"'),
        ("variant", "{}"),
        ("theme", "null"),
        ("camera_model", '"{}"'),
        ("camera_model", json.dumps('{"mode": "angle", "field_of_view_deg": 1' + "0" * 5000 + "}")),
        ("hand_size", json.dumps("[" * 5000)),
        ("hand_size", "-1"),
    ],
)
def test_a_value_that_cannot_be_used_loses_only_itself_and_is_said(folder: Path, name: str, value: str) -> None:
    (folder / FILE_NAME).write_text(f'{{"view": {{"skeleton": true, "{name}": {value}}}}}')
    store = SettingsStore()
    assert store.load() == changed(ViewSettings(), skeleton=True)
    assert f"({name})" in store.notice
    assert not (folder / f"{FILE_NAME}.before-reset").exists()
    store.save(store.load())
    again = SettingsStore()
    assert (again.load(), again.notice) == (changed(ViewSettings(), skeleton=True), "")


@pytest.mark.parametrize("value", ["7", '"a\\u0000b"', '"\\ud800"', "null", "[]"])
def test_a_saved_text_that_is_none(folder: Path, value: str) -> None:
    (folder / FILE_NAME).write_text(f'{{"memory": {{"last_source": {value}, "last_folder": "x"}}}}')
    store = SettingsStore()
    assert (store.text("last_source"), store.text("last_folder")) == ("", "x")
    assert "(last_source)" in store.notice


def test_names_in_messages_are_plain_and_short(folder: Path) -> None:
    names = {f"<b>\n{'x' * 1000}{number}": 7 for number in range(100)}
    (folder / FILE_NAME).write_text(json.dumps({"memory": names}))
    notice = SettingsStore().notice
    assert len(notice) < 400
    assert "<" not in notice
    assert "\n" not in notice


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"{",
        b"7",
        b"[]",
        b'{"view": 7}',
        b'{"memory": []}',
        b"[" * 100_000,
        b'{"view":' * 100_000,
        b" " * (MAX_BYTES + 1),
        b'{"memory": {"settings_version": "77"}, "view": {"variant": "prior"}}',
        pickle.dumps({"view": {}}),
    ],
    ids=["bytes", "cut", "number", "list", "view", "memory", "deep", "deep tables", "huge", "version", "pickle"],
)
def test_a_damaged_file_is_set_aside_once_with_a_message(folder: Path, content: bytes) -> None:
    (folder / FILE_NAME).write_bytes(content)
    store = SettingsStore()
    assert store.load() == ViewSettings()
    assert f"{FILE_NAME}.before-reset beside it" in store.notice
    assert (folder / f"{FILE_NAME}.before-reset").read_bytes() == content
    assert SettingsStore().notice == ""


def test_an_empty_file_does_not_replace_an_older_backup(folder: Path) -> None:
    (folder / FILE_NAME).touch()
    backup = folder / f"{FILE_NAME}.before-reset"
    backup.write_text("older")
    assert "could not be read" in SettingsStore().notice
    assert backup.read_text() == "older"


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
def test_something_else_of_that_name(folder: Path, kind: str) -> None:
    path = folder / FILE_NAME
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        if not hasattr(os, "mkfifo"):
            return
        os.mkfifo(path)
    else:
        path.symlink_to(path)
    store = SettingsStore()
    assert "could not be read" in store.notice
    store.save(OTHER)
    assert SettingsStore().load() == OTHER


def test_values_of_later_versions_stay(folder: Path) -> None:
    (folder / FILE_NAME).write_text('{"view": {"opacity": 0.5, "sparkle": 3}, "memory": {"later": "x"}}')
    store = SettingsStore()
    store.save(changed(store.load(), skeleton=True))
    content = json.loads((folder / FILE_NAME).read_text())
    assert (content["view"]["sparkle"], content["view"]["opacity"], content["memory"]["later"]) == (3, 0.5, "x")


def test_two_windows_keep_what_the_other_one_has_saved() -> None:
    first, second = SettingsStore(), SettingsStore()
    first.save_text("lens_of_A", "a")
    second.save_text("lens_of_B", "b")
    first.save_text("lens_of_C", "c")
    again = SettingsStore()
    assert [again.text(f"lens_of_{name}") for name in "ABC"] == ["a", "b", "c"]


def test_an_overlong_text_is_kept_for_this_run_only() -> None:
    store = SettingsStore()
    store.save_text("last_source", "x" * (MAX_TEXT + 1))
    assert len(store.text("last_source")) == MAX_TEXT + 1
    assert SettingsStore().text("last_source") == ""


# Files that cannot be written.


def test_a_folder_that_cannot_be_written_is_said_once(qtbot: QtBot, folder: Path, monkeypatch: Any) -> None:
    (folder / "file").touch()
    monkeypatch.setenv("HANDVIZ_CONFIG_DIR", str(folder / "file" / "below"))
    controller = Controller(FakePipeline, SettingsStore(), lister=list)
    warned: list[str] = []
    controller.warned.connect(warned.append)
    controller.start("clip")
    controller.change(opacity=0.5)
    controller.change(opacity=0.6)
    controller.close()
    said = [text for text in warned if "Settings are lost" in text]
    assert len(said) == 1
    assert "cannot be written" in said[0]
    assert controller.store.load().draw.opacity == 0.6


def test_a_full_disk_leaves_the_file_and_what_failed_is_written_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SettingsStore()
    store.save_text("first", "1")
    before = (folder / FILE_NAME).read_bytes()

    def full(files: dict[Path, bytes]) -> None:
        raise not_writable(next(iter(files)), OSError(errno.ENOSPC, "No space left on device"))

    with monkeypatch.context() as patch:
        patch.setattr(settings_module, "write_files", full)
        store.save_text("second", "2")
    assert (folder / FILE_NAME).read_bytes() == before
    assert "No space left" in store.notice
    store.save_text("third", "3")
    again = SettingsStore()
    assert [again.text(name) for name in ("first", "second", "third")] == ["1", "2", "3"]


def test_damaged_settings_on_a_full_disk_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / FILE_NAME).write_bytes(b"{")

    def full(files: dict[Path, bytes]) -> None:
        raise not_writable(next(iter(files)), OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr(settings_module, "write_files", full)
    SettingsStore()
    assert (folder / f"{FILE_NAME}.before-reset").read_bytes() == b"{"


# The file that Qt wrote.


def test_a_file_of_qt_is_taken_and_stays(folder: Path) -> None:
    (folder / FORMER_NAME).write_text(WRITTEN_BY_QT)
    store = SettingsStore()
    assert store.load() == changed(ViewSettings(), colour="plain", opacity=0.25, skeleton=True)
    assert store.text("last_source") == '/home/me/a, b; "c" é€ e.mp4'
    assert store.text("stream_address") == "@home"
    assert (store.text("unknown"), store.text(GEOMETRY)) == ("", "AdnQywAD")
    assert saved_camera_model(store, "C920 (usb 1)") == CameraModel("angle", 81.0)
    assert store.notice == ""
    assert not (folder / FILE_NAME).exists()
    store.save(OTHER)
    assert (folder / FORMER_NAME).read_text() == WRITTEN_BY_QT
    again = SettingsStore()
    assert (again.load(), again.text(LAST_SOURCE)) == (OTHER, store.text(LAST_SOURCE))


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"no group=1",
        b"\x00",
        b"[view]\n" + b"x" * MAX_FORMER_BYTES,
        b"[memory]\nsettings_version=77\n",
    ],
    ids=["bytes", "no group", "zero", "huge", "version"],
)
def test_a_damaged_file_of_qt_is_said_once_and_stays(folder: Path, content: bytes) -> None:
    (folder / FORMER_NAME).write_bytes(content)
    store = SettingsStore()
    assert store.load() == ViewSettings()
    assert FORMER_NAME in store.notice
    assert (folder / FORMER_NAME).read_bytes() == content
    assert SettingsStore().notice == ""


@pytest.mark.parametrize(
    "line", ["a" + " " * 1000 + "b", " " * 500_000 + "=", "[" * 900_000, "[" + "]" * 900_000, "a=\\"]
)
def test_lines_that_take_a_reader_long(folder: Path, line: str) -> None:
    lines = "\n".join([line] * (900_000 // len(line)))
    (folder / FORMER_NAME).write_text(f"[view]\nopacity=0.5\n{lines}\n")
    begin_s = time.process_time()
    SettingsStore().load()
    assert time.process_time() - begin_s < 5, "of the reader's own time; quadratic ones take minutes"


def hostile_ini(canary: Path) -> str:
    """Return settings that run code when ``QSettings`` reads them: the pickle of a call, as PyQt stores objects."""

    class Call:
        def __reduce__(self) -> Any:
            return Path.touch, (canary,)

    lines = []
    for protocol, name in enumerate(("variant", "opacity", "camera_model")):
        payload = pickle.dumps(Call(), protocol)
        raw = b"\0\0\0\x7f\0\0\0\x0ePyQt_PyObject\0" + len(payload).to_bytes(4, "big") + payload
        escaped = "".join(f"\\x{byte:x}" for byte in raw)
        lines.append(f"{name}=@Variant({escaped})")
    return "\n".join(["[memory]", lines[0].replace("variant", "last_source"), "[view]", *lines, "skeleton=true", ""])


def test_a_hostile_file_of_qt_runs_nothing(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (folder / FORMER_NAME).write_text(hostile_ini(canary))
    store = SettingsStore()
    assert store.load() == changed(ViewSettings(), skeleton=True)
    assert store.text("last_source") == ""
    assert "variant" in store.notice
    assert not canary.exists()


WINDOW_THAT_CLOSES = """
import sys
from PyQt6.QtCore import QTimer
from handviz.gui import app

status = app.run(app.parse([]), app.Instruments(watch=lambda window, controller: QTimer.singleShot(0, window.close)))
sys.exit(status)
"""


@pytest.mark.slow
def test_the_window_runs_nothing_of_a_hostile_file_of_qt(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (folder / FORMER_NAME).write_text(hostile_ini(canary))
    surroundings = os.environ | {"QT_QPA_PLATFORM": "offscreen", "DISPLAY": ":0", "PYTHONPATH": str(PROJECT_ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WINDOW_THAT_CLOSES],
        check=False, env=surroundings, timeout=120, capture_output=True, text=True, cwd=PROJECT_ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not canary.exists()
    assert json.loads((folder / FILE_NAME).read_text())["memory"][GEOMETRY]


def test_no_module_names_qsettings() -> None:
    sources = [*(PROJECT_ROOT / "handviz").rglob("*.py"), *(PROJECT_ROOT / "tools").rglob("*.py")]
    assert len(sources) > 200
    naming = [path.name for path in sources if "QSettings" in path.read_text(encoding="utf-8")]
    # Its docstring says why Qt does not read the file.
    assert naming == ["former_settings.py"]
    reader = PROJECT_ROOT / "handviz" / "gui" / "session" / "former_settings.py"
    assert "PyQt6" not in reader.read_text(encoding="utf-8")


# The window.


@pytest.mark.parametrize(
    ("free", "expected"), [((1920, 1080), (1240, 780)), ((1366, 768), (1240, 728)), ((900, 600), (900, 560))]
)
def test_a_new_window_fits_the_screen(free: tuple[int, int], expected: tuple[int, int]) -> None:
    assert first_size(QSize(*free)) == QSize(*expected)


@pytest.mark.parametrize(
    "geometry", ["x", "é", "A" * 100_000, "AdnQywAD", "AdnQywADAAAAAAAA/////w==", "AdnQywADf////4AAAAB/////f////wAA"]
)
def test_a_damaged_geometry_gives_a_window_of_the_first_size(qtbot: QtBot, geometry: str) -> None:
    SettingsStore().save_text(GEOMETRY, geometry)
    window = MainWindow(Controller(FakePipeline, SettingsStore(), lister=list), TRIANGLE)
    assert window.size() == first_size(window.screen().availableGeometry().size())
    window.close()
    window.deleteLater()


@pytest.mark.parametrize(
    "texts",
    [
        {"last_source": "camera:" + "9" * 5000, "last_camera": '["a", "b"]'},
        {"last_source": "camera:" + "9" * 5000},
        {"last_source": "pictures:" + "[" * 5000},
        {"stream_port": "9" * 5000, "stream_address": "x" * 5000, "stream_format": "?"},
        {"last_camera": "[" * 900 + "]" * 900, "last_source": "camera:0"},
        {"recent_sources": "[" + "9" * 5000 + "]"},
        {"folded_groups": "|" * 5000, "panels_hidden": "maybe"},
    ],
    ids=["camera", "camera without a name", "images", "stream", "deep", "recent", "layout"],
)
def test_the_window_starts_with_odd_texts(qtbot: QtBot, texts: dict[str, str]) -> None:
    store = SettingsStore()
    for name, text in texts.items():
        store.save_text(name, text)
    controller = Controller(FakePipeline, SettingsStore(), lister=list, fallback_clip=Path("none.mp4"))
    window = MainWindow(controller, TRIANGLE)
    with qtbot.waitSignal(controller.cameras_found):
        controller.start()
    window.close()
    window.deleteLater()


def test_no_setting_has_the_name_of_another() -> None:
    names = [item.name for kind in (DrawOptions, PipelineSettings, ViewSettings) for item in dataclasses.fields(kind)]
    assert len(set(names)) == len(names)


def test_a_setting_is_changed_in_the_part_that_has_it() -> None:
    found = changed(ViewSettings(), model="prior", colour="plain", loop=False)
    assert (found.pipeline.model, found.draw.colour, found.loop) == ("prior", "plain", False)
    assert {name for name, value in flat(found).items() if value != flat(ViewSettings())[name]} == {
        "model",
        "colour",
        "loop",
    }


def test_what_follows_from_other_settings_is_no_setting() -> None:
    assert not {"others", "texture", "legend", "background"} & set(flat(ViewSettings()))
    with pytest.raises(KeyError):
        changed(ViewSettings(), texture=True)


@pytest.mark.parametrize(
    ("changes", "others", "texture"),
    [
        ({}, (), False),
        ({"colour": "texture"}, (), True),
        ({"compare": True, "compared": ("prior", "final")}, ("prior", "final"), False),
        ({"difference": True, "difference_pair": ("amvur", "final")}, ("amvur", "final"), False),
        (
            {
                "compare": True,
                "compared": ("prior", "final"),
                "difference": True,
                "difference_pair": ("final", "amvur"),
            },
            ("prior", "final", "amvur"),
            False,
        ),
    ],
)
def test_what_is_shown_says_what_the_pipeline_does(
    changes: dict[str, Any], others: tuple[str, ...], texture: bool
) -> None:
    wanted = wanted_of_pipeline(changed(ViewSettings(), model="prior", **changes))
    assert wanted == PipelineSettings("prior", others=others, texture=texture)


@pytest.mark.parametrize("pair", [("prior", "amvur"), ("prior", "final"), ("amvur", "final")])
def test_pairs_as_former_versions_wrote_them(folder: Path, pair: tuple[str, str]) -> None:
    write_view(folder, difference_pair="_".join(pair))
    store = SettingsStore()
    assert (store.load().draw.difference_pair, store.notice) == (pair, "")


def test_models_are_saved_as_texts(folder: Path) -> None:
    settings = changed(ViewSettings(), compared=("final", "prior"), difference_pair=("final", "amvur"))
    SettingsStore().save(settings)
    view = json.loads((folder / FILE_NAME).read_text())["view"]
    assert (view["compared"], view["difference_pair"]) == ("final,prior", "final,amvur")
    assert SettingsStore().load() == settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "hamr_of_a_package"),
        ("compared", "prior,hamr_of_a_package"),
        ("compared", "prior"),
        ("compared", "prior,prior"),
        ("compared", "prior,amvur,final,prior,amvur"),
        ("compared", 3),
        ("difference_pair", "hamr_of_a_package,final"),
        ("difference_pair", "final,final"),
        ("difference_pair", "prior,amvur,final"),
    ],
)
def test_models_that_are_not_there_become_the_usual_ones(folder: Path, name: str, value: object) -> None:
    write_view(folder, **{name: value, "skeleton": True})
    store = SettingsStore()
    assert store.load() == changed(ViewSettings(), skeleton=True)
    assert name in store.notice
