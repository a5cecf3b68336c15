"""Results on stdout, own messages on stderr, and libraries on neither."""

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handviz.core.errors import ErrorCode
from handviz.core.output import plain, print_json, print_result, print_text
from handviz.core.paths import PROJECT_ROOT
from tests.errors import raises


@dataclass(frozen=True)
class Row:
    """A value of a kind that commands print."""

    path: Path
    values: tuple[float, ...]


def test_results_are_plain_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"row": Row(Path("a"), (1.0, float("nan"))), 2: np.array([[0.5]]), "one": np.float32(0.5)})
    values = json.loads(capsys.readouterr().out)
    assert values == {"row": {"path": "a", "values": [1.0, None]}, "2": [[0.5]], "one": 0.5}
    assert plain({ErrorCode.BAD_VALUE}) == ["bad_value"]


def test_lines_are_formatted_as_messages_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_result("%d of %s", 1, "a%")
    print_result("100 %")
    assert capsys.readouterr().out == "1 of a%\n100 %\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_names_that_an_encoding_lacks_are_escaped(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    print_text("hand \u624b \udcff\n")
    sys.stdout.flush()
    assert written.getvalue().startswith(b"hand ")
    assert b"udcff" in written.getvalue()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.open("/dev/full", os.O_WRONLY), "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with raises(ErrorCode.DISK_FULL):
            print_text("x" * 100_000)


SILENCED = """
import os, sys, threading
from handviz.core.output import libraries_silenced, silence_libraries
silence_libraries()
def speak(text):
    os.write(2, f"library {text}\\n".encode())
    sys.stderr.write(f"own {text}\\n")
def inner():
    with libraries_silenced():
        speak("other thread")
with libraries_silenced():
    thread = threading.Thread(target=inner)
    thread.start()
    thread.join()
    speak("during")
speak("after")
"""


def test_libraries_are_silent_and_own_messages_of_all_threads_are_not() -> None:
    run = subprocess.run([sys.executable, "-c", SILENCED], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert run.stderr.splitlines() == ["own other thread", "own during", "library after", "own after"]


def reconstruct(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    Image.effect_noise((320, 200), 40).convert("RGB").save(tmp_path / "noise.png")
    words = [
        sys.executable,
        "-m",
        "handviz",
        "reconstruct",
        str(tmp_path / "noise.png"),
        "--out",
        str(tmp_path / "out"),
    ]
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT)}
    return subprocess.run(
        [*words, "--no-overlays", *options], capture_output=True, text=True, check=True, env=environment
    )


@pytest.mark.slow
def test_a_command_prints_its_result_and_libraries_say_nothing(tmp_path: Path) -> None:
    run = reconstruct(tmp_path)
    assert run.stdout.startswith("1 images with ")
    # Of the progress bar, which counts seconds an image on a slow machine.
    bar = ("image/s]", "s/image]", "?image")
    assert [line for line in run.stderr.splitlines() if line and not any(part in line for part in bar)] == []
    assert "XNNPACK" in reconstruct(tmp_path, "--verbose", "--detector", "mediapipe").stderr
