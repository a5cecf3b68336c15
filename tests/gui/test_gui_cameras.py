"""Cameras through the window: names, modes, plugging in and out."""

import gc
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import moderngl
import pytest
from gui_cameras import CameraWorld, quicken
from gui_fakes import TRIANGLE, FakePipeline
from pytestqt.qtbot import QtBot

from handviz.core.records import Frame, FrameResult
from handviz.gui.main_window import MainWindow
from handviz.gui.session.camera_probe import CameraProbe
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import FrameRequest
from handviz.gui.session.settings import SettingsStore
from handviz.sources.camera import USUAL_MODE, CameraMode
from handviz.sources.source import CameraInfo

FRONT, BACK = CameraInfo(0, "Front", "usb 1"), CameraInfo(2, "Back", "usb 2")
OTHER = CameraInfo(4, "Front", "usb 3")
REPLUGS = 20
GL_KINDS = (moderngl.Buffer, moderngl.Framebuffer, moderngl.Program, moderngl.Renderbuffer, moderngl.Texture)


@pytest.fixture
def world() -> CameraWorld:
    """Return two cameras of the same name and one of another."""
    return CameraWorld(FRONT, BACK, OTHER)


class Runs:
    """Windows on that world, one after another, each with a new controller as in a new run."""

    def __init__(self, world: CameraWorld, folder: Path) -> None:
        self._world, self._folder = world, folder
        self._open: MainWindow | None = None

    def begin(self) -> MainWindow:
        """Make a window, which is not shown."""
        self.end()
        clip = self._folder / "none.mp4"
        world = self._world
        controller = Controller(
            FakePipeline, SettingsStore(), opener=world.opener, lister=world.lister, fallback_clip=clip
        )
        quicken(controller, world)
        self._open = MainWindow(controller, TRIANGLE)
        return self._open

    def end(self) -> None:
        """Close the window as a user does."""
        if self._open is not None:
            self._world.let_go()
            self._open.close()
            self._open.deleteLater()
            self._open = None


@pytest.fixture
def runs(qtbot: QtBot, world: CameraWorld, tmp_path: Path) -> Iterator[Runs]:
    """Return the runs, and end the last one."""
    made = Runs(world, tmp_path)
    yield made
    made.end()


@pytest.fixture
def window(runs: Runs) -> MainWindow:
    """Return the window of the first run."""
    return runs.begin()


def let_image_come(qtbot: QtBot, window: MainWindow, world: CameraWorld) -> FrameResult:
    """Let the camera give an image; return its result."""
    with qtbot.waitSignal(window._controller.answered) as answered:
        world.camera.may_read.release()
    return answered.args[0].result


def listed(window: MainWindow) -> list[str]:
    """Return the cameras that can be chosen."""
    box = window.source_panel.cameras
    return [box.itemText(row) for row in range(1, box.count())]


def choose(window: MainWindow, world: CameraWorld, row: int) -> None:
    """Choose a camera from the list, while the one before gives its last image."""
    window.source_panel.cameras.setCurrentIndex(row)
    window.source_panel.cameras.activated.emit(row)
    world.resume()


def start(qtbot: QtBot, window: MainWindow, source: str | None = None) -> None:
    """Start, and wait until the cameras are known and a source is open."""
    with qtbot.waitSignals([window._controller.cameras_found, window._controller.source_opened]):
        window._controller.start(source)


def test_cameras_of_the_same_name_are_told_apart(qtbot: QtBot, window: MainWindow, world: CameraWorld) -> None:
    start(qtbot, window)
    assert listed(window) == ["Front (0)", "Back (2)", "Front (4)"]
    with qtbot.waitSignal(window._controller.source_opened):
        choose(window, world, 3)
    assert world.camera.info == OTHER
    assert world.camera.request is not None
    assert world.camera.request.camera == OTHER


def test_the_last_camera_is_found_again_by_its_name(
    qtbot: QtBot, window: MainWindow, world: CameraWorld, runs: Runs
) -> None:
    start(qtbot, window)
    with qtbot.waitSignal(window._controller.source_opened):
        choose(window, world, 2)
    runs.end()
    world.cameras = [CameraInfo(0, "Front"), CameraInfo(2, "Another"), CameraInfo(6, "Back", "usb 9")]
    start(qtbot, runs.begin())
    assert world.camera.info.index == 6


def test_size_and_rate_are_requested_and_saved_for_each_camera(
    qtbot: QtBot, window: MainWindow, world: CameraWorld, runs: Runs
) -> None:
    start(qtbot, window)
    panel, hd = window.source_panel, CameraMode(1280, 720, 30)
    assert panel.mode_row.isVisibleTo(panel)
    assert panel.modes.currentData() == USUAL_MODE
    row = [panel.modes.itemData(row) for row in range(panel.modes.count())].index(hd)
    with qtbot.waitSignal(window._controller.source_opened):
        panel.modes.activated.emit(row)
        world.resume()
    assert world.camera.request is not None
    assert (world.camera.request.mode, panel.modes.currentData()) == (hd, hd)
    assert panel.description.text() == "Front: 48 lines"
    with qtbot.waitSignal(window._controller.source_opened):
        choose(window, world, 2)
    assert panel.modes.currentData() == USUAL_MODE
    runs.end()
    world.cameras = [CameraInfo(8, "Front", "usb 9")]
    start(qtbot, runs.begin())
    assert world.camera.request is not None
    assert world.camera.request.mode == hd


def test_a_camera_that_is_plugged_in_is_listed_and_reported(
    qtbot: QtBot, window: MainWindow, world: CameraWorld
) -> None:
    world.cameras = [FRONT]
    start(qtbot, window)
    with qtbot.waitSignal(window._controller.cameras_found):
        world.cameras = [FRONT, BACK]
    assert listed(window) == ["Front (0)", "Back (2)"]
    assert window.message.text() == "Back plugged in."
    assert window.source_panel.cameras.currentText() == "Front (0)", "the choice stays"
    with qtbot.waitSignal(window._controller.cameras_found):
        world.cameras = [FRONT]
    assert window.message.text() == "Back unplugged."


def test_the_camera_in_use_comes_back_under_another_number(
    qtbot: QtBot, window: MainWindow, world: CameraWorld
) -> None:
    world.cameras = [FRONT, BACK]
    start(qtbot, window)
    before = let_image_come(qtbot, window, world)
    world.plug_out(FRONT)
    qtbot.waitUntil(lambda: "Front is not plugged in" in window.banner.text())
    assert window.viewport._result is before, "the last image stays"
    # Another camera takes its number: it must not be taken for it.
    world.cameras.append(CameraInfo(0, "Stranger"))
    qtbot.waitUntil(lambda: "Stranger (0)" in listed(window))
    assert window.source_panel.cameras.currentIndex() == 0, "none of them is in use"
    assert len(world.alive()) == 0
    with qtbot.waitSignal(window._controller.source_opened):
        world.cameras.append(CameraInfo(5, "Front", "usb 1"))
    assert world.camera.info.index == 5
    let_image_come(qtbot, window, world)
    qtbot.waitUntil(window.banner.isHidden)
    qtbot.waitUntil(lambda: window.source_panel.cameras.currentText() == "Front (5)")


def test_another_camera_can_be_taken_that_has_the_number_of_a_lost_one(
    qtbot: QtBot, window: MainWindow, world: CameraWorld
) -> None:
    world.cameras = [FRONT]
    start(qtbot, window)
    world.plug_out(FRONT)
    world.cameras.append(CameraInfo(0, "Stranger"))
    qtbot.waitUntil(lambda: listed(window) == ["Stranger (0)"])
    with qtbot.waitSignal(window._controller.source_opened):
        choose(window, world, 1)
    assert world.camera.info.name == "Stranger"
    assert window.source_panel.cameras.currentText() == "Stranger (0)"


def test_of_two_with_one_name_the_other_is_not_taken(qtbot: QtBot, window: MainWindow, world: CameraWorld) -> None:
    world.cameras = [FRONT, OTHER]
    start(qtbot, window)
    let_image_come(qtbot, window, world)
    world.plug_out(FRONT)
    qtbot.waitUntil(lambda: "Front is not plugged in" in window.banner.text())
    qtbot.waitUntil(lambda: listed(window) == ["Front (4)"])
    assert window.source_panel.cameras.currentIndex() == 0
    assert len(world.opened) == 1
    with qtbot.waitSignal(window._controller.source_opened):
        world.cameras.append(CameraInfo(6, "Front", "usb 8"))
    assert world.camera.info.index == 6, "at another port, but it was not there before"


def test_of_two_with_one_name_the_one_in_use_is_opened_again(
    qtbot: QtBot, window: MainWindow, world: CameraWorld
) -> None:
    world.cameras = [FRONT, OTHER]
    start(qtbot, window, "camera:4")
    qtbot.waitUntil(lambda: window._controller.camera_in_use == OTHER)
    world.plug_out(FRONT)
    world.camera.is_plugged = False
    with qtbot.waitSignal(window._controller.source_opened):
        world.camera.may_read.release()
    assert world.camera.info == OTHER


def test_a_system_that_names_no_ports(qtbot: QtBot, window: MainWindow, world: CameraWorld) -> None:
    bare = CameraInfo(0, "Front")
    world.cameras = [bare, CameraInfo(2, "Front")]
    start(qtbot, window)
    let_image_come(qtbot, window, world)
    world.plug_out(bare)
    qtbot.waitUntil(lambda: "Front is not plugged in" in window.banner.text())
    with qtbot.waitSignal(window._controller.source_opened):
        world.cameras.append(CameraInfo(3, "Front"))
    assert world.camera.info.index == 3
    qtbot.waitUntil(lambda: window.source_panel.cameras.currentText() == "Front (3)")


def test_a_busy_camera_is_a_message_until_it_is_free(qtbot: QtBot, window: MainWindow, world: CameraWorld) -> None:
    world.is_busy = True
    window._controller.start("camera:2")
    qtbot.waitUntil(lambda: "does not open: another program uses it" in window.banner.text())
    world.is_busy = False
    qtbot.waitUntil(lambda: bool(world.opened))
    let_image_come(qtbot, window, world)
    qtbot.waitUntil(window.banner.isHidden)


def test_a_missing_camera_leaves_the_other_sources(qtbot: QtBot, window: MainWindow, world: CameraWorld) -> None:
    window._controller.start("camera:7")
    qtbot.waitUntil(lambda: "camera:7 is not there" in window.banner.text())
    qtbot.waitUntil(lambda: window.source_panel.cameras.count() > 2)
    with qtbot.waitSignal(window._controller.source_opened):
        choose(window, world, 2)
    let_image_come(qtbot, window, world)
    qtbot.waitUntil(window.banner.isHidden)


def replug(qtbot: QtBot, window: MainWindow, world: CameraWorld, times: int) -> None:
    """Pull the camera out while it runs and put it back, until its image is there again, larger or smaller."""
    for count in range(times):
        world.plug_out(FRONT)
        qtbot.waitUntil(lambda: not window.banner.isHidden())
        world.height = 48 + 8 * (count % 3)
        with qtbot.waitSignal(window._controller.source_opened):
            world.cameras.append(FRONT)
        assert let_image_come(qtbot, window, world).frame.image.shape[0] == world.height
        qtbot.waitUntil(window.banner.isHidden)


@pytest.fixture
def without_older_objects() -> Iterator[None]:
    """Hide objects that exist already, of other tests and of torch, from the garbage collector."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def left_over(world: CameraWorld) -> dict[str, int]:
    """Return the counts of everything that a replug creates."""
    gc.collect()
    kinds = Counter(map(type, gc.get_objects()))
    counts = {
        kind.__name__: sum(count for one, count in kinds.items() if issubclass(one, kind))
        for kind in (Frame, FrameRequest, *GL_KINDS)
    }
    tasks, handles = Path("/proc/self/task"), Path("/proc/self/fd")
    return counts | {
        "cameras": len(world.alive()),
        "threads": len(os.listdir(tasks)) if tasks.is_dir() else threading.active_count(),
        "files": len(os.listdir(handles)) if handles.is_dir() else 0,
    }


def check_replugs(qtbot: QtBot, window: MainWindow, world: CameraWorld) -> dict[str, int]:
    """Check that nothing grows over twenty replugs, after the first few."""
    world.cameras = [FRONT]
    start(qtbot, window)
    let_image_come(qtbot, window, world)
    replug(qtbot, window, world, 3)
    before = settled(qtbot, world)
    replug(qtbot, window, world, REPLUGS)
    after = settled(qtbot, world)
    assert after == before
    assert len(world.opened) == 1 + 3 + REPLUGS
    return after


def settled(qtbot: QtBot, world: CameraWorld) -> dict[str, int]:
    """Return the counts when the reconstruction thread waits and the last result is painted."""

    def is_settled() -> bool:
        found = left_over(world)
        return found["FrameRequest"] == 0 and found["Frame"] == 1

    qtbot.waitUntil(is_settled)
    return left_over(world)


def test_a_camera_replugged_twenty_times_leaves_nothing(
    qtbot: QtBot, window: MainWindow, world: CameraWorld, without_older_objects: None
) -> None:
    assert check_replugs(qtbot, window, world)["cameras"] == 1


@pytest.mark.display
def test_a_camera_replugged_twenty_times_leaves_nothing_on_the_graphics_card(
    qtbot: QtBot, window: MainWindow, world: CameraWorld, without_older_objects: None
) -> None:
    with qtbot.waitExposed(window):
        window.show()
    context = window.viewport._ctx
    assert context is not None
    # From here on the context keeps what is dropped without being released.
    context.gc_mode = "context_gc"
    left = check_replugs(qtbot, window, world)
    assert left["Texture"] > 0, "something was drawn"
    assert left["Buffer"] > 0
    assert [one for one in context.objects if not isinstance(one, moderngl.InvalidObject)] == []


def test_the_probe_searches_only_where_something_may_have_changed(qtbot: QtBot) -> None:
    searches, hint = [], ["a"]

    def lister() -> list[CameraInfo]:
        searches.append(tuple(hint))
        return [FRONT]

    asked: list[object] = []

    def hinter() -> tuple[str, ...]:
        asked.append(1)
        return tuple(hint)

    probe = CameraProbe(lister, hint=hinter, watch_s=0.002)
    emitted: list[object] = []
    probe.found.connect(emitted.append)
    probe.refresh()
    # The first search and one more, because a new device may get its name a moment later.
    qtbot.waitUntil(lambda: len(asked) > 10)
    assert len(searches) == 2
    hint.append("b")
    count = len(asked)
    qtbot.waitUntil(lambda: len(asked) > count + 10)
    assert len(searches) == 4
    probe.stop()
    assert emitted == [[FRONT]], "the same cameras are reported once"
