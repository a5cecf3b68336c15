"""``handviz reconstruct --compare``: three models of an image, and the distances between them."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from handviz.__main__ import main
from handviz.pipeline import pipeline as pipeline_module
from handviz.rendering.options import DEFAULT_COMPARED
from tests.hands import FakeLandmarker
from tests.tiny_network import constant_hand, write_network

SIZES = {"prior": 0.8, "amvur": 1.0, "final": 1.2}


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write an image with a made-up hand, beside networks that return hands of different size."""
    monkeypatch.setattr(pipeline_module, "HandLandmarker", FakeLandmarker)
    hand = constant_hand()
    for model, size in SIZES.items():
        scaled = {name: hand[name] * size for name in ("vertices_m", "keypoints_m")}
        write_network(tmp_path / f"handviz_{model}.onnx", model, hand=hand | scaled)
    Image.new("RGB", (320, 240), (90, 90, 90)).save(tmp_path / "hand.png")
    return tmp_path / "hand.png"


def reconstruct(image: Path, *options: str) -> int:
    folder = image.parent
    return main(["reconstruct", str(image), "--out", str(folder / "out"), "--model-dir", str(folder), *options])


def test_distances_are_those_between_the_models_own_meshes(image: Path) -> None:
    meshes = {}
    for model in DEFAULT_COMPARED:
        assert reconstruct(image, "--model", model, "--no-overlays") == 0
        (mesh,) = (image.parent / "out" / "meshes").iterdir()
        meshes[model] = np.asarray(trimesh.load(mesh, process=False).vertices)
        mesh.unlink()
    assert reconstruct(image, "--compare", "--no-overlays") == 0
    (entry,) = json.loads((image.parent / "out" / "hands.json").read_text())
    (hand,) = entry["hands"]
    assert set(hand["distances_mm"]) == {"prior_amvur", "prior_final", "amvur_final"}
    for pair, numbers in hand["distances_mm"].items():
        first, second = pair.split("_")
        expected = 1000 * np.linalg.norm(meshes[first] - meshes[second], axis=1)
        assert numbers["mean"] == pytest.approx(expected.mean(), abs=0.01)
        assert numbers["max"] == pytest.approx(expected.max(), abs=0.01)
        assert numbers["mean"] > 3
        assert numbers["aligned_max"] < numbers["mean"] / 3, "almost only their size differs"


def test_overlays_are_three_images_wide(image: Path) -> None:
    assert reconstruct(image, "--compare", "--mesh", "none") == 0
    overlay = np.asarray(Image.open(image.parent / "out" / "overlays" / "hand.png")).astype(int)
    assert overlay.shape == (240, 3 * 320 + 4, 3)
    panes = [overlay[:, start : start + 320] for start in (0, 322, 644)]
    assert all((np.abs(pane - 90).max(axis=2) > 30).any() for pane in panes)


def test_a_missing_model_is_an_error_of_the_command(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (image.parent / "handviz_amvur.onnx").unlink()
    assert reconstruct(image, "--compare") == 1
    assert "handviz_amvur.onnx is missing" in capsys.readouterr().err
