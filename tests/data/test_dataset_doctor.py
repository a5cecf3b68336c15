"""The doctor of downloads."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from handviz.__main__ import main
from handviz.core.paths import PROJECT_ROOT
from handviz.data.datasets.examination import spread_rows
from handviz.data.datasets.registry import READERS, reader, splits
from tests.fake_datasets import freihand


@pytest.fixture(scope="module")
def download(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FreiHAND with three hands, as the fake writes it; tests that change it copy it."""
    root = tmp_path_factory.mktemp("downloads") / "freihand"
    freihand.write("freihand", root, 3, seed=2)
    return root


@pytest.fixture
def copy(download: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(download, tmp_path / "copy"))


def examine(root: Path, *options: str) -> int:
    return main(["doctor", "--dataset", "freihand", "--root", str(root), *options])


def test_every_split_is_counted_beside_the_official_count(download: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert examine(download) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == list(splits("freihand"))
    assert lines[0] == "warn training           12 of 130,240 samples, 8 of 8 images opened (224 x 224)"
    assert lines[-1] == "warn evaluation         3 of 3,960 samples, 3 of 3 images opened (224 x 224)"


def test_bad_images_are_named_and_counted(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = sorted((copy / "evaluation" / "rgb").iterdir())
    images[0].write_bytes(images[0].read_bytes()[:900])
    images[2].write_bytes(b"<html>")
    assert examine(copy, "--images", "all") == 0
    said = capsys.readouterr().out
    assert "3 of 3,960 samples, 1 of 3 images opened" in said
    assert f"{images[0]} is cut off" in said
    assert f"{images[2]} is not an image" in said
    assert "download these files again, or train with --bad-images skip" in said
    images[1].write_bytes(b"")
    assert examine(copy) == 1
    assert "FAIL evaluation" in capsys.readouterr().out


def test_what_is_not_there_is_said_once(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "training_K.json").unlink()
    assert examine(copy) == 0
    *_, missing, reason = capsys.readouterr().out.splitlines()
    assert missing == "none training, training_gs, training_hom, training_sample, training_auto, training_own"
    assert "training_K.json is missing" in reason
    assert "FreiHAND_pub_v2.zip" in reason
    assert examine(copy / "training") == 1


def test_annotations_of_other_images_are_suspected(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy / "evaluation_K.json"
    cameras = [
        [[9 * fx, 0, cx], [0, 9 * fy, cy], one] for (fx, _, cx), (_, fy, cy), one in json.loads(path.read_text())
    ]
    path.write_text(json.dumps(cameras))
    assert examine(copy) == 0
    assert "of the keypoints lie inside the images: images and annotations" in capsys.readouterr().out


def test_wrong_options_are_said(download: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--dataset", "freihand"]) == 1
    assert main(["doctor", "--dataset", "freihnd", "--root", "x"]) == 1
    assert examine(download, "--images", "none") == 1
    said = capsys.readouterr().err
    for message in (
        "--dataset NAME and --root DIR go together",
        "no dataset 'freihnd'; there are freihand",
        "--images is none: give a number",
    ):
        assert message in said


def test_rows_are_the_first_the_last_and_between() -> None:
    assert spread_rows(100, 4).tolist() == [0, 33, 66, 99]
    assert spread_rows(3, 8).tolist() == [0, 1, 2]
    assert spread_rows(0, 8).tolist() == []
    assert spread_rows(5, None).tolist() == [0, 1, 2, 3, 4]


def test_the_doctor_needs_no_package_to_start() -> None:
    """It is what says which packages are missing."""
    script = "import sys, handviz.cli.doctor; sys.exit('numpy is loaded' if 'numpy' in sys.modules else 0)"
    outcome = subprocess.run([sys.executable, "-c", script], cwd=PROJECT_ROOT, capture_output=True, check=False)
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize("name", READERS)
def test_every_dataset_has_a_reader(name: str) -> None:
    assert len(splits(name)) == len(set(splits(name))) > 1
    assert callable(reader(name).open_split)
