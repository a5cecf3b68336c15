"""A package outside of handviz adds a family by its entry point: installed, listed, run and offered in the window."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from handviz.core.paths import CLIP_FILE, PROJECT_ROOT
from handviz.sources.source import open_source

PACKAGE = Path(__file__).parents[1] / "stranger_family"
NOTHING_ELSE = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a copy of the package, with nothing from elsewhere, into a folder of its own."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "stranger_family.py"):
        (source / name).write_bytes((PACKAGE / name).read_bytes())
    target = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "install", *NOTHING_ELSE, "--target", target, source)
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (target / "stranger_family.py").is_file()
    return target


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a frame of the clip."""
    source = open_source(str(CLIP_FILE))
    frame = source.read()
    source.close()
    assert frame is not None
    path = tmp_path_factory.mktemp("image") / "hand.png"
    Image.fromarray(frame.image).save(path)
    return path


def python(installed: Path, *words: str | Path) -> str:
    """Run Python with the package beside this handviz; return what it prints."""
    path = os.pathsep.join((str(PROJECT_ROOT), str(installed)))
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=PROJECT_ROOT,
        env={**os.environ, "PYTHONPATH": path, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def reconstruct(installed: Path, image: Path, out: Path, *options: str) -> Any:
    """Return the only object of ``hands.json``; JSON of other programs knows no NaN."""
    python(installed, "-m", "handviz", "reconstruct", image, "--out", out, *options)

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    (entry,) = json.loads((out / "hands.json").read_text(), parse_constant=refuse)
    return entry


def test_the_family_is_listed_behind_those_of_handviz(installed: Path) -> None:
    code = "import handviz; print([(spec.id, spec.crop.size_px) for spec in handviz.list_models()][-1])"
    assert python(installed, "-c", code).strip() == "('stranger', 128)"


def test_its_hands_are_written_without_uncertainty(installed: Path, image: Path, tmp_path: Path) -> None:
    entry = reconstruct(installed, image, tmp_path, "--model", "stranger")
    assert (entry["variant"], entry["network_input_px"]) == ("stranger", 128)
    assert entry["hands"]
    for hand in entry["hands"]:
        assert (hand["keypoint_std_mm"], hand["vertex_std_mm"]) == (None, None)
        assert len(hand["keypoints_camera_m"]) == 21
        ply = (tmp_path / hand["mesh"]).read_bytes()
        assert b"vertex_std_mm" not in ply.partition(b"end_header")[0]


def test_it_is_compared_with_a_model_of_handviz(installed: Path, image: Path, tmp_path: Path) -> None:
    entry = reconstruct(installed, image, tmp_path, "--model", "stranger", "--compare-with", "final")
    for hand in entry["hands"]:
        assert set(hand["distances_mm"]) == {"final_stranger"}
        assert hand["distances_mm"]["final_stranger"]["mean"] > 1
    with Image.open(image) as one, Image.open(tmp_path / "overlays" / "hand.png") as overlay:
        assert overlay.width > 2 * one.width


def test_the_doctor_names_its_package(installed: Path) -> None:
    code = "from handviz.cli.doctor import check_families; print(check_families()[0].detail)"
    assert "Stranger of stranger-family: stranger" in python(installed, "-c", code)
