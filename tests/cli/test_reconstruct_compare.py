"""``handviz reconstruct --compare``: three variants of a picture, and how far they lie apart."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from handviz.__main__ import main
from handviz.core.records import VARIANTS
from handviz.pipeline import pipeline as pipeline_module
from tests.hands import FakeLandmarker
from tests.tiny_network import constant_hand, write_network

SIZES = {"prior": 0.8, "amvur": 1.0, "final": 1.2}


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture with a made-up hand, beside networks that answer hands of different size."""
    monkeypatch.setattr(pipeline_module, "HandLandmarker", FakeLandmarker)
    hand = constant_hand()
    for variant, size in SIZES.items():
        scaled = {name: hand[name] * size for name in ("vertices_m", "keypoints_m")}
        write_network(tmp_path / f"handviz_{variant}.onnx", variant, hand=hand | scaled)
    Image.new("RGB", (320, 240), (90, 90, 90)).save(tmp_path / "hand.png")
    return tmp_path / "hand.png"


def reconstruct(picture: Path, *options: str) -> int:
    folder = picture.parent
    return main(["reconstruct", str(picture), "--out", str(folder / "out"), "--model-dir", str(folder), *options])


def test_distances_are_those_between_the_variants_own_meshes(picture: Path) -> None:
    meshes = {}
    for variant in VARIANTS:
        assert reconstruct(picture, "--variant", variant, "--no-overlays") == 0
        (mesh,) = (picture.parent / "out" / "meshes").iterdir()
        meshes[variant] = np.asarray(trimesh.load(mesh, process=False).vertices)
        mesh.unlink()
    assert reconstruct(picture, "--compare", "--no-overlays") == 0
    (entry,) = json.loads((picture.parent / "out" / "hands.json").read_text())
    (hand,) = entry["hands"]
    assert set(hand["distances_mm"]) == {"prior_amvur", "prior_final", "amvur_final"}
    for pair, numbers in hand["distances_mm"].items():
        first, second = pair.split("_")
        expected = 1000 * np.linalg.norm(meshes[first] - meshes[second], axis=1)
        assert numbers["mean"] == pytest.approx(expected.mean(), abs=0.01)
        assert numbers["max"] == pytest.approx(expected.max(), abs=0.01)
        assert numbers["mean"] > 3
        assert numbers["aligned_max"] < numbers["mean"] / 3, "almost only their size differs"


def test_overlays_are_three_pictures_wide(picture: Path) -> None:
    assert reconstruct(picture, "--compare", "--mesh", "none") == 0
    overlay = np.asarray(Image.open(picture.parent / "out" / "overlays" / "hand.png")).astype(int)
    assert overlay.shape == (240, 3 * 320 + 4, 3)
    panes = [overlay[:, start : start + 320] for start in (0, 322, 644)]
    assert all((np.abs(pane - 90).max(axis=2) > 30).any() for pane in panes)


def test_a_missing_variant_is_an_error_of_the_command(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (picture.parent / "handviz_amvur.onnx").unlink()
    assert reconstruct(picture, "--compare") == 1
    assert "handviz_amvur.onnx is missing" in capsys.readouterr().err
