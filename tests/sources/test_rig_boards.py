"""Recordings of a drawn board by three cameras make a rig; what is missing is named."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from handviz.__main__ import main
from handviz.core.camera_files import camera_model_text
from handviz.core.camera_model import camera_model_of_intrinsics
from handviz.core.errors import ErrorCode
from handviz.sources.rig import read_rig
from handviz.sources.rig_boards import rig_from_boards
from tests.errors import raises
from tests.sources.test_rig_calibration import BOARD, BOARDS, CAMERAS, SIZE, SQUARE_M, drawn, error, true_poses


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write a folder of images for each camera."""
    folder = tmp_path_factory.mktemp("boards")
    for name in CAMERAS:
        (folder / name).mkdir()
        for moment in range(len(BOARDS)):
            cv2.imwrite(str(folder / name / f"{moment}.png"), drawn(name, moment)[..., ::-1])
    return {name: folder / name for name in CAMERAS}


@pytest.fixture(scope="module")
def camera_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write the known cameras."""
    folder = tmp_path_factory.mktemp("cameras")
    for name, camera in CAMERAS.items():
        (folder / f"{name}.json").write_text(camera_model_text(camera_model_of_intrinsics(camera, SIZE)))
    return {name: folder / f"{name}.json" for name in CAMERAS}


def test_the_command_writes_a_rig_whose_cameras_stand_right(
    recordings: dict[str, Path], camera_files: dict[str, Path], capsys: pytest.CaptureFixture
) -> None:
    folder = recordings["left"].parent
    words = [f"{name}={path}" for name, path in recordings.items()]
    cameras = [f"{name}={path}" for name, path in camera_files.items()]
    out = folder / "RIG.json"
    sizes = ["--square-mm", str(1000 * SQUARE_M), "--every", "1"]
    assert main(["rig", "--boards", *words, "--cameras", *cameras, "--out", str(out), *sizes]) == 0
    printed = capsys.readouterr().out
    assert "3 cameras, placed by 3 poses of the board" in printed
    for view in read_rig(out).views:
        degrees, millimetres = error(view.camera_from_world, true_poses()[view.name])
        assert degrees < 0.3
        assert millimetres < 3
        np.testing.assert_allclose(view.camera.intrinsics_for(*SIZE).matrix, CAMERAS[view.name].matrix, atol=1e-6)


def test_live_cameras_may_be_the_sources(recordings: dict[str, Path], camera_files: dict[str, Path], tmp_path) -> None:
    words = [f"{name}={path}" for name, path in recordings.items()]
    cameras = [f"{name}={path}" for name, path in camera_files.items()]
    out = tmp_path / "RIG.json"
    sources = [f"{name}=camera:{number}" for number, name in enumerate(recordings)]
    options = ["--square-mm", "30", "--every", "1", "--sources", *sources]
    assert main(["rig", "--boards", *words, "--cameras", *cameras, "--out", str(out), *options]) == 0
    assert [view["source"] for view in json.loads(out.read_text())["views"]] == ["camera:0", "camera:1", "camera:2"]
    assert read_rig(out).is_live


def test_too_few_views_of_a_camera_are_named(recordings: dict[str, Path]) -> None:
    with raises(ErrorCode.TOO_FEW_VIEWS, "camera left: 3 of at least 6 views"):
        rig_from_boards(recordings, recordings, BOARD, SQUARE_M)


def test_names_that_differ_are_named(recordings: dict[str, Path]) -> None:
    with raises(ErrorCode.OPTION_CONFLICT, "name the same views"):
        rig_from_boards(recordings, {"left": recordings["left"]}, BOARD, SQUARE_M)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["left"], "'left' is not NAME=PATH"),
        (["=x"], "'=x' is not NAME=PATH"),
        (["a=x", "a=y"], "a is there twice"),
    ],
)
def test_words_that_are_no_names_and_paths_are_named(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["rig", "--boards", *words, "--out", str(tmp_path / "RIG.json")]) == 1
    assert message in capsys.readouterr().err
