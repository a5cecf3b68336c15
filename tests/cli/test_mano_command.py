"""``reconstruct --save-mano`` and ``handviz mano``, with a made-up detector and constant networks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handviz.__main__ import main
from handviz.hand_models import choice
from handviz.pipeline import pipeline as pipeline_module
from tests.hands import FakeLandmarker
from tests.mano_hands import stand_in_network
from tests.tiny_network import write_network


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder ``open`` and a folder ``mano`` with the same hand."""
    folder = tmp_path_factory.mktemp("networks")
    (folder / "open").mkdir()
    source = write_network(folder / "open" / "handviz_final.onnx")
    stand_in_network(source, folder / "mano" / "handviz_final.onnx")
    return folder


@pytest.fixture
def reconstruct(tmp_path: Path, networks: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Path]]:
    """Run the command on one image, with this folder's network; return its status and the output folder."""
    monkeypatch.setattr(pipeline_module, "make_detector", FakeLandmarker)
    monkeypatch.setattr(choice, "MANO_FOLDER", tmp_path / "nothing")
    image = tmp_path / "hand.png"
    Image.new("RGB", (320, 240), (90, 90, 90)).save(image)

    def run(model: str, *options: str) -> tuple[int, Path]:
        out = tmp_path / f"out_{model}"
        arguments = ["reconstruct", str(image), "--out", str(out), "--no-overlays"]
        return main([*arguments, "--model-dir", str(networks / model), *options]), out

    return run


def hands(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text(encoding="utf-8"))["hands"])


def test_a_mano_networks_hand_goes_through_every_file_and_comes_back(
    reconstruct: Callable[..., tuple[int, Path]], mano_files: tuple[Path, Path], tmp_path: Path
) -> None:
    option = ["--hand-model", str(mano_files[0])]
    status, out = reconstruct("mano", *option, "--network-pose", "--save-mano", str(tmp_path / "p.json"))
    assert status == 0
    (saved,) = hands(tmp_path / "p.json")
    assert (saved["source"], saved["side"], saved["fitted_to"]) == ("hand.png", "right", "vertices")
    assert saved["largest_error_mm"] < 0.1, "the rest pose is one of the model's own"
    (entry,) = json.loads((out / "hands.json").read_text(encoding="utf-8"))[0]["hands"]
    np.testing.assert_allclose(saved["wrist"], entry["wrist_camera_m"], atol=2e-5)
    for source, target in (("p.json", "m.npz"), ("m.npz", "c.json"), ("c.json", "s.npz")):
        form = {"m": "matrices", "c": "components", "s": "six_d"}[target[0]]
        line = ["mano", str(tmp_path / source), "--out", str(tmp_path / target), "--to", form, *option]
        assert main([*line, "--vertices", str(tmp_path / f"{target}.npy")]) == 0
    vertices = [np.load(tmp_path / f"{name}.npy") for name in ("m.npz", "c.json", "s.npz")]
    assert vertices[0].shape == (1, 778, 3)
    np.testing.assert_allclose(vertices[1], vertices[0], atol=1e-6)
    np.testing.assert_allclose(vertices[2], vertices[0], atol=1e-6)
    assert main(["mano", str(out / "hands.json"), "--out", str(tmp_path / "f.json"), *option]) == 0
    (fitted,) = hands(tmp_path / "f.json")
    assert fitted["fitted_to"] == "vertices"
    np.testing.assert_allclose(fitted["hand_pose"], saved["hand_pose"], atol=1e-3)


@pytest.mark.parametrize("way", ["../mesh.ply", "{outside}", "link.ply", "meshes/../../mesh.ply", "a\0b"])
def test_meshes_outside_of_the_lists_folder_are_not_read(
    reconstruct: Callable[..., tuple[int, Path]],
    mano_files: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    way: str,
) -> None:
    _, out = reconstruct("mano", "--hand-model", str(mano_files[0]))
    entries = json.loads((out / "hands.json").read_text(encoding="utf-8"))
    outside = tmp_path / "mesh.ply"
    (out / entries[0]["hands"][0]["mesh"]).rename(outside)
    (out / "link.ply").symlink_to(outside)
    entries[0]["hands"][0]["mesh"] = way.format(outside=outside)
    (out / "hands.json").write_text(json.dumps(entries), encoding="utf-8")
    words = ["--out", str(tmp_path / "f.json"), "--hand-model", str(mano_files[0])]
    assert main(["mano", str(out / "hands.json"), *words]) == 1
    assert "handviz mano: " in capsys.readouterr().err
    assert not (tmp_path / "f.json").exists()


def test_of_the_open_hand_mano_is_fitted_to_keypoints(
    reconstruct: Callable[..., tuple[int, Path]], mano_files: tuple[Path, Path], tmp_path: Path
) -> None:
    status, out = reconstruct("open", "--save-mano", str(tmp_path / "p.json"), "--mano", str(mano_files[0]))
    assert status == 0
    (saved,) = hands(tmp_path / "p.json")
    assert saved["fitted_to"] == "keypoints"
    assert saved["mean_error_mm"] < 3
    line = ["mano", str(out / "hands.json"), "--out", str(tmp_path / "f.json"), "--hand-model", str(mano_files[0])]
    assert main(line) == 0
    (fitted,) = hands(tmp_path / "f.json")
    assert fitted["fitted_to"] == "keypoints", "a mesh of 778 vertices in another order is no MANO hand"
    np.testing.assert_allclose(fitted["hand_pose"], saved["hand_pose"], atol=0.01)


def test_what_is_missing_is_a_message(
    reconstruct: Callable[..., tuple[int, Path]],
    mano_files: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def said(status: int) -> str:
        assert status == 1
        return capsys.readouterr().err

    saving = ["--save-mano", str(tmp_path / "p.json")]
    assert "give it by --mano FILE" in said(reconstruct("open", *saving)[0])
    assert "are written as" in said(reconstruct("open", "--save-mano", str(tmp_path / "p.pkl"))[0])
    assert "MANO's left hand" in said(reconstruct("open", *saving, "--mano", str(mano_files[1]))[0])
    choice._KNOWN.clear()
    choice._mano.cache_clear()
    without = said(reconstruct("mano")[0])
    assert "was made for the hand model mano" in without
    assert "MANO_RIGHT.pkl that it was trained with by --hand-model FILE" in without
    assert "leave --hand-model FILE out" in said(reconstruct("open", "--hand-model", str(mano_files[0]))[0])
    other = tmp_path / "other.json"
    other.write_text('[{"file": "x", "hands": [{}]}]', encoding="utf-8")
    line = ["mano", str(other), "--out", str(tmp_path / "o.json")]
    assert "this needs your MANO_RIGHT.pkl" in said(main(line))
    assert "[0].hands[0].handedness: " in said(main([*line, "--hand-model", str(mano_files[0])]))
    assert "no output is named" in said(main(["mano", str(other)]))
