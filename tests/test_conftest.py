"""The fixtures that guard the other tests fail when they should."""

import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
LEAVERS = """
import threading
import pytest
from PyQt6.QtCore import QThread, QTimer
from PyQt6.QtWidgets import QLabel, QMessageBox

kept = []

class Sleeper(QThread):
    def run(self):
        self.msleep(2000)

def test_clean(qtbot):
    label = QLabel("closed by qtbot")
    qtbot.addWidget(label)
    timer = QTimer(label)
    timer.start(1000)
    box = QMessageBox(label)

def test_window(qapp):
    kept.append(QLabel("left open"))

def test_timer(qapp):
    kept.append(QTimer())
    kept[-1].start(1000)

def test_qt_thread(qapp):
    kept.append(Sleeper())
    kept[-1].start()

def test_python_thread():
    release = threading.Event()
    kept.append(release)
    threading.Thread(target=release.wait, args=(2,)).start()

def test_message_box(qapp):
    QMessageBox.critical(None, "title", "text")

def test_gl_leak(ctx):
    ctx.buffer(reserve=16)

def test_gl_released(ctx):
    ctx.buffer(reserve=16).release()

@pytest.mark.display
def test_display():
    raise AssertionError("must not run")
"""


@pytest.fixture
def guarded(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a folder of tests of its own, under this conftest."""
    monkeypatch.setenv("PYTHONPATH", str(CONFTEST.parents[1]))
    conftest = CONFTEST.read_text().replace('pytest_plugins = ["pytester"]', "")
    assert "thread.join(LIMIT_S)" in conftest
    pytester.makeconftest(conftest.replace("thread.join(LIMIT_S)", "thread.join(0.1)"))
    pytester.makeini("[pytest]\nmarkers =\n    display\n    slow\n")
    return pytester


def test_guards_fail_the_tests_that_leave_something_behind(guarded: pytest.Pytester) -> None:
    guarded.makepyfile(LEAVERS)
    outcome = guarded.runpytest_subprocess("-v", "-p", "no:cacheprovider")
    lines = outcome.stdout.str()
    # What is left behind is found after the test itself has passed: an error, not a failure.
    for name in ("window", "timer", "qt_thread", "python_thread", "gl_leak"):
        assert f"::test_{name} ERROR" in lines
    assert "::test_message_box FAILED" in lines
    outcome.assert_outcomes(passed=7, errors=5, failed=1, skipped=1)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can be without a display")
def test_asking_for_the_display_s_tests_without_a_display_is_an_error(
    guarded: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    guarded.makepyfile("import pytest\n\n@pytest.mark.display\ndef test_display():\n    pass")
    outcome = guarded.runpytest_subprocess("-m", "display", "-p", "no:cacheprovider")
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    assert "xvfb-run" in outcome.stderr.str()
