"""``handviz reconstruct --compare``: several models of an image, and the distances between them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.hand_models.open_hand import load_open_hand
from handviz.pipeline import pipeline as pipeline_module
from handviz.pipeline.image_request import compared_models
from handviz.rendering.options import DEFAULT_COMPARED
from tests.errors import raises, wrong_usage
from tests.hands import FakeLandmarker
from tests.made_up_families import MadeUpModel, installed, made_up_family, plain_hand
from tests.tiny_network import constant_hand, write_network

THREE = ("--compare-with", "prior", "amvur")
"""Beside final."""
SIZES = {"prior": 0.8, "amvur": 1.0, "final": 1.2}


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write an image with a made-up hand, beside networks that return hands of different size."""
    monkeypatch.setattr(pipeline_module, "make_detector", FakeLandmarker)
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
    assert reconstruct(image, *THREE, "--no-overlays") == 0
    (entry,) = json.loads((image.parent / "out" / "hands.json").read_text())
    (hand,) = entry["hands"]
    assert set(hand["distances_mm"]) == {"prior_amvur", "prior_final", "amvur_final"}
    for pair, numbers in hand["distances_mm"].items():
        first, second = pair.split("_")
        expected = 1000 * np.linalg.norm(meshes[first] - meshes[second], axis=1)
        assert numbers["mean"] == pytest.approx(expected.mean(), abs=0.01)
        assert numbers["max"] == pytest.approx(expected.max(), abs=0.01)
        assert numbers["mean"] > 3
        assert numbers["aligned_max"] < numbers["mean"] / 2, "mostly their size differs"


def test_overlays_are_three_images_wide(image: Path) -> None:
    assert reconstruct(image, *THREE, "--mesh", "none") == 0
    overlay = np.asarray(Image.open(image.parent / "out" / "overlays" / "hand.png")).astype(int)
    assert overlay.shape == (240, 3 * 320 + 4, 3)
    panes = [overlay[:, start : start + 320] for start in (0, 322, 644)]
    assert all((np.abs(pane - 90).max(axis=2) > 30).any() for pane in panes)


def test_a_missing_model_is_named_and_the_others_have_their_hands(
    image: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (image.parent / "handviz_amvur.onnx").unlink()
    assert reconstruct(image, *THREE, "--mesh", "none") == 0
    entry = entry_of(image)
    assert set(entry["compare_errors"]) == {"amvur"}
    assert "handviz_amvur.onnx is missing" in entry["compare_errors"]["amvur"]
    (hand,) = entry["hands"]
    assert hand["distances_mm"]["prior_final"]["mean"] > 3
    assert hand["distances_mm"]["prior_amvur"] is None
    assert hand["distances_mm"]["amvur_final"] is None
    assert caplog.text.count("handviz_amvur.onnx is missing") == 1
    assert overlay_size(image) == (3 * 320 + 4, 240)


def test_a_missing_model_that_is_asked_for_is_an_error_of_the_command(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (image.parent / "handviz_amvur.onnx").unlink()
    assert reconstruct(image, "--model", "amvur", "--compare") == 1
    assert "handviz_amvur.onnx is missing" in capsys.readouterr().err


def test_all_models_up_to_four_are_compared_unless_some_are_named(image: Path) -> None:
    assert reconstruct(image, "--compare", "--mesh", "none") == 0
    entry = entry_of(image)
    assert "compare_errors" not in entry
    # Of the four models each with each.
    assert len(entry["hands"][0]["distances_mm"]) == 6
    assert (
        "mediapipe_final" in entry["hands"][0]["distances_mm"] or "final_mediapipe" in entry["hands"][0]["distances_mm"]
    )
    assert overlay_size(image) == (2 * 320 + 2, 2 * 240 + 2)


def test_a_chosen_subset_is_compared(image: Path) -> None:
    assert reconstruct(image, "--compare-with", "prior", "--mesh", "none") == 0
    entry = entry_of(image)
    assert (entry["variant"], set(entry["hands"][0]["distances_mm"])) == ("final", {"prior_final"})
    assert overlay_size(image) == (2 * 320 + 2, 240)


def test_a_model_without_uncertainty_and_with_another_crop_is_compared(image: Path) -> None:
    with installed(stranger=made_up_family()):
        assert reconstruct(image, "--model", "plain", "--compare-with", "prior", "final", "--no-overlays") == 0
    entry = entry_of(image)
    assert (entry["variant"], entry["network_input_px"]) == ("plain", 128)
    (hand,) = entry["hands"]
    assert set(hand["distances_mm"]) == {"prior_final", "prior_plain", "final_plain"}
    assert hand["distances_mm"]["prior_plain"]["mean"] > 3
    assert (hand["vertex_std_mm"], hand["keypoint_std_mm"]) == (None, None)


def test_meshes_of_different_hand_models_have_no_distance(image: Path) -> None:
    other = replace(load_open_hand(), vertices_m=load_open_hand().vertices_m * 1.01)
    family = made_up_family("other", load=lambda _: MadeUpModel(lambda count: [plain_hand()] * count, other))
    with installed(stranger=family):
        assert reconstruct(image, "--compare-with", "prior", "other", "--no-overlays", "--mesh", "none") == 0
    distances = entry_of(image)["hands"][0]["distances_mm"]
    assert (distances["prior_other"], distances["final_other"]) == (None, None)
    assert distances["prior_final"]["mean"] > 3


@pytest.mark.parametrize("names", [("final",), ("nobody",), ()])
def test_a_subset_that_is_none_is_refused(image: Path, names: tuple[str, ...]) -> None:
    if names == ("final",):
        assert reconstruct(image, "--compare-with", *names) == 1
        return
    with wrong_usage():
        reconstruct(image, "--compare-with", *names)


def test_at_most_four_models_are_compared() -> None:
    with installed(**{f"package_{name}": made_up_family(f"plain_{name}") for name in "abc"}):
        assert compared_models("final") == (*DEFAULT_COMPARED, "mediapipe")
        assert compared_models("plain_c") == (*DEFAULT_COMPARED, "plain_c")
        assert compared_models("plain_c", ("amvur",)) == ("amvur", "plain_c")
        with raises(ErrorCode.BAD_VALUE, match="plain_c"):
            compared_models("plain_c", ("plain_a", *DEFAULT_COMPARED))
        with raises(ErrorCode.UNKNOWN_NAME, match="nobody"):
            compared_models("plain_c", ("nobody",))


def test_a_shard_of_a_model_without_a_file_is_done_and_knows_what_it_was_compared_with(image: Path) -> None:
    shard = ("--shard", "1/1", "--model", "plain", "--no-overlays", "--mesh", "none")
    with installed(stranger=made_up_family()):
        assert reconstruct(image, *shard, "--compare-with", "final") == 0
        assert set(entry_of(image)["hands"][0]["distances_mm"]) == {"final_plain"}
        assert reconstruct(image, *shard, "--resume", "--compare-with", "final") == 0
        assert reconstruct(image, *shard, "--resume", "--compare-with", "prior") == 1


def overlay_size(image: Path) -> tuple[int, int]:
    with Image.open(image.parent / "out" / "overlays" / "hand.png") as overlay:
        return overlay.size


def entry_of(image: Path) -> dict[str, Any]:
    (entry,) = json.loads((image.parent / "out" / "hands.json").read_text())
    return entry
