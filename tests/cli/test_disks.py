"""Folders and disks that take no files: one line in every command, never a traceback.

Tests run as root too, whom no permission stops: the folders lie below a file, and files are limited in size.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from handviz.__main__ import main
from handviz.core.paths import CLIP_FILE, PROJECT_ROOT
from tools import run as run_tool

HAND = str(CLIP_FILE)


@pytest.mark.parametrize(
    "words",
    [
        ["synthesize", "--count", "2", "--workers", "1", "--out", "BAD"],
        ["reconstruct", HAND, "--no-overlays", "--out", "BAD"],
        ["reconstruct", HAND, "--no-overlays", "--resume", "--out", "BAD"],
        ["train", "--data", "x", "--run", "BAD"],
        ["adapt", HAND, "--limit", "1", "--out", "BAD"],
        ["animate", "x", "--out", "BAD"],
        ["tables", "--recipes"],
    ],
    ids=lambda words: words[0],
)
def test_a_folder_below_a_file(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    status = main([str(tmp_path / "file" / "below") if word == "BAD" else word for word in words])
    said = capsys.readouterr().err.splitlines()
    assert status == ("BAD" in words)
    named = [line for line in said if line.startswith("handviz ") and str(tmp_path / "file") in line]
    assert len(named) == status
    assert (tmp_path / "file").read_bytes() == b""


def test_a_cache_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    words = ["--clips", "1", "--simulated", "1", "--seconds", "2", "--cache", str(tmp_path / "file" / "below")]
    assert run_tool("smoothing", words) == 1
    assert "cannot be made" in capsys.readouterr().err


LIMITED = """
import resource, sys
from handviz.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs limits of the size of files")
@pytest.mark.parametrize(
    "words", [["synthesize", "--count", "4", "--workers", "1"], ["reconstruct", HAND, "--every", "90"]]
)
def test_a_disk_that_takes_only_small_files(words: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, *words, "--out", str(out)],
        cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert "Traceback" not in run.stderr
    assert "File too large" in run.stderr
    assert not list(out.rglob("*.part"))
