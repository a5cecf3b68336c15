"""Nothing leaves the machine unasked: the programs run under strace, which sees every connection and written file."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from handviz.core.paths import CLIP_FILE, PROJECT_ROOT
from tests.waiting import LIMIT_S

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="strace is Linux's"),
    pytest.mark.slow,
]
WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|^\d+ +(creat|mkdir)")
OUTSIDE = re.compile(r"AF_INET")
DEVICES = ("/dev/", "/proc/self/", "/sys/")
DRIVER_CACHE = "/mesa_shader_cache/"
"""Of the graphics driver, in the user's cache folder."""


def traced(command: list[str], home: Path) -> list[str]:
    """Return the lines of strace for a command that must succeed, with its home folder in ``home``."""
    assert shutil.which("strace"), "install strace; bootstrap.py test does so"
    if subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets no process be traced")
    log = home.with_name("strace.log")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    environment |= {"HOME": str(home), "PYTHONPATH": str(PROJECT_ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    calls = "connect,sendto,sendmsg,sendmmsg,openat,open,creat,mkdir"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", f"trace={calls}", "-o", str(log), *command],
        env=environment, cwd=home, capture_output=True, text=True, timeout=5 * LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return log.read_text(encoding="utf-8", errors="replace").splitlines()


def written(lines: list[str]) -> set[str]:
    """Return the files and folders that were opened for writing, or made."""
    found = set()
    for line in lines:
        if WRITES.search(line) and " = -1 " not in line and (name := re.search(r'"([^"]*)"', line)):
            found.add(name.group(1))
    return {name for name in found if not name.startswith(DEVICES) and DRIVER_CACHE not in name}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("detector", ["handviz", "mediapipe"])
def test_reconstruct_connects_to_nothing_and_writes_its_output_alone(home: Path, tmp_path: Path, detector: str) -> None:
    out = tmp_path / "out"
    command = ["reconstruct", str(CLIP_FILE), "--every", "60", "--out", str(out), "--detector", detector]
    lines = traced([sys.executable, "-m", "handviz", *command], home)
    assert [line for line in lines if OUTSIDE.search(line)] == []
    assert (out / "hands.json").is_file()
    assert {name for name in written(lines) if not name.startswith(str(out))} == set()
    assert list(home.rglob("*")) == []


@pytest.mark.display
def test_the_window_connects_to_nothing_and_writes_its_settings_alone(home: Path, tmp_path: Path) -> None:
    image = tmp_path / "window.png"
    command = [str(PROJECT_ROOT / "app.py"), "--source", str(CLIP_FILE), "--screenshot", str(image)]
    lines = traced([sys.executable, *command], home)
    assert [line for line in lines if OUTSIDE.search(line)] == []
    outside = {name for name in written(lines) if not name.startswith((str(image.parent), str(home)))}
    assert outside == set()
    kept = {path.relative_to(home).parts[1] for path in home.rglob("*") if path.is_file()}
    assert {name for name in kept if not name.startswith("qtshadercache")} <= {"handviz"}


def test_the_check_sees_what_it_should(home: Path, tmp_path: Path) -> None:
    script = (
        "import socket, pathlib\n"
        f"pathlib.Path({str(tmp_path)!r}, 'elsewhere').write_text('x')\n"
        "socket.socket(type=socket.SOCK_DGRAM).connect(('192.0.2.1', 53))\n"
    )
    lines = traced([sys.executable, "-c", script], home)
    assert written(lines) == {str(tmp_path / "elsewhere")}
    assert len([line for line in lines if OUTSIDE.search(line)]) == 1
