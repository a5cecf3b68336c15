"""``handviz reconstruct --views``: a rig's folders and clips, with a model of several views that triangulates."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handviz.__main__ import main
from handviz.core.camera_model import camera_model_of_intrinsics
from handviz.core.records import Detection
from handviz.models import multiview
from handviz.pipeline import multiview as pipeline
from handviz.sources.rig import Rig, RigView, write_rig
from tests.core.test_multiview import NAMES, keypoints_m, seen
from tests.errors import wrong_usage
from tests.fake_datasets import hanco
from tests.fake_multiview import KnowingDetector

SIZE, VIEWS = (640, 480), 3


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    """Write a rig of three folders with two moments; the second one lacks a view. Pixels tell the view's number."""
    folder, views = tmp_path / "rig", []
    for number, hand in enumerate(seen(keypoints_m(), count=VIEWS)):
        images = folder / NAMES[number]
        images.mkdir(parents=True)
        for moment in range(2 if number != 1 else 1):
            cv2.imwrite(str(images / f"{moment}.png"), np.full((SIZE[1], SIZE[0], 3), number + 1, np.uint8))
        camera = camera_model_of_intrinsics(hand.camera.intrinsics, SIZE)
        views.append(RigView(NAMES[number], images, camera, hand.camera.camera_from_world))
    write_rig(folder / "RIG.json", Rig("RIG.json", tuple(views)))
    return folder / "RIG.json"


@pytest.fixture
def with_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the triangulating model, and a detector that finds the hands that the rig shows."""
    hands = seen(keypoints_m(), count=VIEWS)
    found: dict[int, tuple[Detection, ...]] = {
        at + 1: (Detection(hand.handedness, hand.score, hand.keypoints_px),) for at, hand in enumerate(hands)
    }
    monkeypatch.setattr(multiview, "BUILT_IN", ("tests.fake_multiview:load",))
    monkeypatch.setattr(pipeline, "make_detector", lambda *_, **__: KnowingDetector(found))


@pytest.fixture
def reconstruct(tmp_path: Path) -> Callable[..., tuple[int, list[dict[str, Any]]]]:
    """Run the command; return its status and the list that it wrote."""

    def run(source: object, *options: str) -> tuple[int, list[dict[str, Any]]]:
        out = tmp_path / "out"
        status = main(["reconstruct", "--views", str(source), "--out", str(out), *options])
        written = out / "hands.json"
        return status, json.loads(written.read_text()) if written.is_file() else []

    return run


@pytest.mark.usefixtures("with_model")
def test_moments_views_and_hands_are_listed(
    reconstruct: Callable[..., Any], rig: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, (first, second) = reconstruct(rig)
    assert status == 0
    assert (first["file"], first["moment"], first["width"], first["height"]) == ("RIG.json#000000", 0, *SIZE)
    assert (first["variant"], "time_ms" in first) == ("triangulated", False)
    assert [view["name"] for view in first["views"]] == list(NAMES[:VIEWS])
    assert first["views"][1]["file"] == "0.png"
    np.testing.assert_allclose(
        first["views"][2]["camera_from_world"], seen(keypoints_m())[2].camera.camera_from_world, atol=1e-6
    )
    assert first["hands"][0]["views"] == list(NAMES[:VIEWS])
    expected = seen(keypoints_m())[0].camera.in_camera(keypoints_m())
    hand = first["hands"][0]
    found = np.array(hand["keypoints_camera_m"]) + hand["wrist_camera_m"]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (tmp_path / "out" / hand["mesh"]).is_file()
    assert (second["moment"], second["hands"][0]["views"]) == (1, ["left", "top"])
    assert [(left["name"], left["kind"]) for left in second["left_out"]] == [("right", "time")]
    said = capsys.readouterr()
    assert "2 moments with 2 hands, 2 of them from several views" in said.out
    assert "view right is left out" in said.err


@pytest.mark.usefixtures("with_model")
def test_every_second_moment_and_no_meshes(reconstruct: Callable[..., Any], rig: Path, tmp_path: Path) -> None:
    status, entries = reconstruct(rig, "--every", "2", "--mesh", "none")
    assert (status, [entry["moment"] for entry in entries]) == (0, [0])
    assert entries[0]["hands"][0]["mesh"] is None
    assert not (tmp_path / "out" / "meshes").exists()


@pytest.mark.usefixtures("with_model")
def test_a_dataset_without_hands_that_are_found_ends_with_status_1(
    reconstruct: Callable[..., Any], tmp_path: Path
) -> None:
    hanco.write("hanco", tmp_path / "HanCo", 1)
    black = [path for path in (tmp_path / "HanCo").rglob("*.jpg") if "rgb" in str(path)]
    for path in black:
        cv2.imwrite(str(path), np.zeros((224, 224, 3), np.uint8))
    status, entries = reconstruct(f"hanco/test:{tmp_path / 'HanCo'}")
    assert status == 1
    assert entries
    assert len(entries[0]["views"]) == 8


def test_without_the_network_one_sentence_says_so(
    reconstruct: Callable[..., Any], rig: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert reconstruct(rig, "--model-dir", str(tmp_path / "none")) == (1, [])
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "handviz_sima_mvr.onnx is missing" in said[0]


def test_a_wrong_rig_is_named_before_the_network(
    reconstruct: Callable[..., Any], rig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads(rig.read_text())
    content["views"][1]["camera_from_world"][0][:3] = [
        -value for value in content["views"][1]["camera_from_world"][0][:3]
    ]
    rig.write_text(json.dumps(content))
    assert reconstruct(rig)[0] == 1
    assert "right is a mirrored camera" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--resume"], ["--covariance"], ["--compare"], ["--smoothing", "0.5"], ["--focal-px", "600"]]
)
def test_options_of_single_images_are_refused(
    options: list[str], reconstruct: Callable[..., Any], rig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reconstruct(rig, *options)[0] == 1
    assert f"{options[0]} does not work with --views" in capsys.readouterr().err


def test_a_rig_has_to_be_given() -> None:
    with wrong_usage():
        main(["reconstruct", "--views", "--out", "o"])
