"""UDP stream through the real window, read by the receiver of the documentation."""

import json
import queue
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gui_fakes import TRIANGLE, FakePipeline, FakeSource, press_key
from hands import made_up_hand
from pytestqt.qtbot import QtBot

from handviz.core.paths import PROJECT_ROOT
from handviz.gui.main_window import MainWindow
from handviz.gui.record import streaming as streaming_module
from handviz.gui.record.streaming import Streaming
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import SettingsStore
from handviz.io.recording.udp import Datagrams
from tests.io.test_datagrams import timed_result
from tests.waiting import LIMIT_S


@pytest.fixture
def camera() -> FakeSource:
    """Make a camera that gives a frame when the test lets it."""
    return FakeSource()


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, camera: FakeSource) -> Iterator[MainWindow]:
    """Make a window that is not shown."""
    made = MainWindow(
        Controller(
            FakePipeline, SettingsStore(), opener=lambda _: camera, lister=list, fallback_clip=tmp_path / "none.mp4"
        ),
        TRIANGLE,
    )
    yield made
    camera.let_go()
    made.close()
    made.deleteLater()


def streaming(window: MainWindow) -> Streaming:
    """Return the window's stream."""
    return next(part for part in window.features if isinstance(part, Streaming))


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """Make a socket that listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.settimeout(LIMIT_S)
        listening.bind(("127.0.0.1", 0))
        yield listening


def stream_to(window: MainWindow, port: int, kind: str) -> None:
    """Set the panel and press the key."""
    panel = streaming(window)._panel
    panel.stream_port.setValue(port)
    panel.stream_format.setCurrentText(kind)
    press_key(window, "Ctrl+U")


def test_every_result_is_sent(qtbot: QtBot, window: MainWindow, camera: FakeSource, receiver: socket.socket) -> None:
    window._controller.start("camera:0")
    stream_to(window, receiver.getsockname()[1], "JSON")
    qtbot.waitUntil(lambda: "Streaming JSON to 127.0.0.1" in window.message.text())
    for number in range(3):
        with qtbot.waitSignal(window._controller.answered):
            camera.may_read.release()
        timed_result = json.loads(receiver.recv(65535))
        assert (timed_result["frame"], timed_result["source"], len(timed_result["hands"])) == (number, "camera:0", 1)
    press_key(window, "Ctrl+U")
    assert not streaming(window).is_on
    assert streaming(window)._panel.stream_address.isEnabled()


def test_osc_arrives_as_bundles(qtbot: QtBot, window: MainWindow, camera: FakeSource, receiver: socket.socket) -> None:
    window._controller.start("camera:0")
    stream_to(window, receiver.getsockname()[1], "OSC")
    with qtbot.waitSignal(window._controller.answered):
        camera.may_read.release()
    frame, hand = receiver.recv(65535), receiver.recv(65535)
    assert frame.startswith(b"#bundle\0")
    assert b"/handviz/frame\0" in frame
    assert b"/handviz/right/keypoints\0" in hand


@pytest.fixture
def documented(receiver: socket.socket, tmp_path: Path) -> Iterator[tuple[int, "queue.Queue[str]"]]:
    """Start the receiver of the documentation; give its port and the lines that it prints."""
    text = (PROJECT_ROOT / "docs" / "guide" / "export.md").read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "import socket" in block)
    script = tmp_path / "receive.py"
    script.write_text(code)
    port = receiver.getsockname()[1]
    receiver.close()
    with subprocess.Popen([sys.executable, str(script), str(port)], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        lines: queue.Queue[str] = queue.Queue()
        reader = threading.Thread(target=lambda: [lines.put(line) for line in program.stdout or ()])
        reader.start()
        assert lines.get(timeout=LIMIT_S) == "listening\n"
        yield port, lines
        program.kill()
        reader.join()


def test_receiver_of_the_documentation_prints_the_finger_tip(
    qtbot: QtBot, window: MainWindow, camera: FakeSource, documented: tuple[int, "queue.Queue[str]"]
) -> None:
    port, lines = documented
    window._controller.start("camera:0")
    stream_to(window, port, "JSON")
    with qtbot.waitSignal(window._controller.answered):
        camera.may_read.release()
    assert lines.get(timeout=LIMIT_S) == "0 right index tip [0.0, 0.0, 0.5] m +- 1.0 mm\n"


def test_receiver_of_the_documentation_takes_hands_without_uncertainty(
    documented: tuple[int, "queue.Queue[str]"],
) -> None:
    port, lines = documented
    hand = replace(made_up_hand(), model="mediapipe", vertex_std_mm=None, keypoint_std_mm=None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in Datagrams("JSON").of(timed_result(hand, number=7)):
            sender.sendto(datagram, ("127.0.0.1", port))
    line = lines.get(timeout=LIMIT_S)
    assert line.startswith("7 right index tip [")
    assert line.endswith("] m (no uncertainty)\n")


def test_a_missing_receiver_is_reported_once(
    qtbot: QtBot, window: MainWindow, camera: FakeSource, receiver: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming_module, "QUIET_AFTER_S", 60.0)
    port = receiver.getsockname()[1]
    receiver.close()
    window._controller.start("camera:0")
    stream_to(window, port, "OSC")
    task, messages = streaming(window)._task, list[str]()
    assert task is not None
    task.progressed.connect(messages.append)
    for _ in range(6):
        with qtbot.waitSignal(window._controller.answered):
            camera.may_read.release()
    qtbot.waitUntil(lambda: "No program listens" in window.message.text())
    assert sum("No program listens" in message for message in messages) == 1
    assert streaming(window).is_on


def test_name_that_is_no_address_turns_it_off_with_a_message(qtbot: QtBot, window: MainWindow) -> None:
    streaming(window)._panel.stream_address.setText("my.machine")
    press_key(window, "Ctrl+U")
    qtbot.waitUntil(lambda: not streaming(window).is_on)
    assert "not a numeric address" in window.message.text()
    assert not streaming(window)._panel.stream.isChecked()


def test_the_receiver_is_saved_but_not_that_it_ran(qtbot: QtBot, window: MainWindow) -> None:
    panel = streaming(window)._panel
    assert (panel.stream_address.text(), panel.stream_port.value(), panel.stream.isChecked()) == (
        "127.0.0.1",
        9000,
        False,
    )
    panel.stream_address.setText("127.0.0.2")
    panel.stream_address.editingFinished.emit()
    panel.stream_format.textActivated.emit("JSON")
    panel.stream_port.setValue(9123)
    panel.stream.click()
    assert streaming(window).is_on
    again = MainWindow(Controller(FakePipeline, SettingsStore(), lister=list), TRIANGLE)
    panel = streaming(again)._panel
    assert (panel.stream_address.text(), panel.stream_port.value()) == ("127.0.0.2", 9123)
    assert panel.stream_format.currentText() == "JSON"
    assert not streaming(again).is_on
    again.close()
    again.deleteLater()


def test_an_address_of_another_machine_is_warned_about(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    from handviz.io.recording import udp

    monkeypatch.setattr(udp.socket.socket, "connect", lambda *_: None)
    streaming(window)._panel.stream_address.setText("192.0.2.7")
    press_key(window, "Ctrl+U")
    qtbot.waitUntil(lambda: "not this machine" in window.message.text())
