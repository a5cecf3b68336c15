"""What an ONNX file must be: type and size of its input, what it provides, and what its metadata state."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from handviz.core.errors import ErrorCode
from handviz.core.paths import model_file
from handviz.core.records import HandCrop, NetworkOutput
from handviz.models.onnx_contract import CONSTANT_STD_KEY, INPUT_KEY, MODEL_KEY, PROVIDES_KEY
from handviz.models.reconstructor import OnnxReconstructor
from handviz.models.registry import model_spec
from handviz.models.trunk import TRUNK_KEY
from tests.errors import raises
from tests.hands import made_up_detection
from tests.tiny_network import constant_hand, without_std, write_network

FIELDS = ("vertices_m", "keypoints_m", "rotation", "scale", "translation", "vertex_std_m", "keypoint_std_m")


def crop_of(seed: int, size_px: int = 224) -> HandCrop:
    image = np.random.default_rng(seed).integers(0, 256, (size_px, size_px, 3), np.uint8)
    return HandCrop(image, np.eye(2, 3), made_up_detection("right"))


def assert_same(one: NetworkOutput, other: NetworkOutput) -> None:
    for name in FIELDS:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-6)


def test_a_file_of_bytes_gives_the_hand_of_the_file_of_floats(tmp_path: Path) -> None:
    crops = [crop_of(0), crop_of(1)]
    of_floats = OnnxReconstructor(write_network(tmp_path / "floats.onnx", sensitivity=1.0))
    stated = {INPUT_KEY: "uint8 3x224x224"}
    of_bytes = OnnxReconstructor(
        write_network(tmp_path / "bytes.onnx", takes_bytes=True, sensitivity=1.0, metadata=stated)
    )
    pairs = list(zip(of_floats.reconstruct(crops), of_bytes.reconstruct(crops), strict=True))
    for one, other in pairs:
        assert_same(one, other)
    assert pairs[0][0].scale == pytest.approx(float(constant_hand()["scale"]) + crops[0].image.mean() / 255, rel=1e-5)


@pytest.mark.parametrize("size_px", [64, 128, 256])
@pytest.mark.parametrize("takes_bytes", [True, False])
def test_the_side_of_the_crops_is_the_file_s(tmp_path: Path, size_px: int, takes_bytes: bool) -> None:
    kind = "uint8" if takes_bytes else "float32"
    path = write_network(
        tmp_path / "net.onnx",
        size_px=size_px,
        takes_bytes=takes_bytes,
        metadata={INPUT_KEY: f"{kind} 3x{size_px}x{size_px}"},
    )
    network = OnnxReconstructor(path)
    assert network.size_px == size_px
    assert len(network.reconstruct([crop_of(0, size_px)] * 3)) == 3
    with raises(ErrorCode.WRONG_SHAPE, match=r"net\.onnx"):
        network.reconstruct([crop_of(0, size_px + 1)])


def test_a_file_without_deviations_gives_hands_without_uncertainty(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx", hand=without_std(), metadata={PROVIDES_KEY: ""})
    (hand,) = OnnxReconstructor(path).reconstruct([crop_of(0)])
    assert (hand.vertex_std_m, hand.keypoint_std_m) == (None, None)


def test_one_deviation_of_the_metadata_is_that_of_all_points(tmp_path: Path) -> None:
    stated = {CONSTANT_STD_KEY: "6", PROVIDES_KEY: "constant_uncertainty"}
    path = write_network(tmp_path / "net.onnx", hand=without_std(), metadata=stated)
    (hand,) = OnnxReconstructor(path).reconstruct([crop_of(0)])
    for std_m in (hand.vertex_std_m, hand.keypoint_std_m):
        assert std_m is not None
        np.testing.assert_allclose(1000 * np.linalg.norm(std_m, axis=1), 6.0)


def test_the_model_s_id_may_have_either_name(tmp_path: Path) -> None:
    assert OnnxReconstructor(write_network(tmp_path / "old.onnx", "amvur")).model == "amvur"
    path = write_network(tmp_path / "new.onnx", "amvur", metadata={MODEL_KEY: "somebody_s"})
    assert OnnxReconstructor(path).model == "somebody_s"


WRONG = {
    "another type": {INPUT_KEY: "uint8 3x224x224"},
    "another size": {INPUT_KEY: "float32 3x256x256"},
    "no input": {INPUT_KEY: "something"},
    "no deviation": {PROVIDES_KEY: "uncertainty"},
    "no constant": {PROVIDES_KEY: "constant_uncertainty"},
    "no landmarks": {PROVIDES_KEY: "landmarks"},
    "unknown": {PROVIDES_KEY: "attention, telepathy"},
    "text": {CONSTANT_STD_KEY: "six"},
    "not finite": {CONSTANT_STD_KEY: "nan"},
    "negative": {CONSTANT_STD_KEY: "-1"},
    "huge": {CONSTANT_STD_KEY: "1e9"},
    "no name": {MODEL_KEY: "../../final"},
}


@pytest.mark.parametrize("stated", WRONG.values(), ids=WRONG)
def test_metadata_that_are_not_true_are_refused(tmp_path: Path, stated: dict[str, str]) -> None:
    path = write_network(tmp_path / "net.onnx", hand=without_std(), metadata=stated)
    with raises(ErrorCode.MODEL_FOREIGN, match=r"net\.onnx"):
        OnnxReconstructor(path)


@pytest.mark.parametrize("size_px", [16, 2048])
def test_a_side_out_of_range_is_refused(tmp_path: Path, size_px: int) -> None:
    with raises(ErrorCode.MODEL_FOREIGN, match=r"net\.onnx"):
        OnnxReconstructor(write_network(tmp_path / "net.onnx", size_px=size_px))


def test_deviations_of_vertices_alone_are_refused(tmp_path: Path) -> None:
    hand = without_std() | {"vertex_std_m": constant_hand()["vertex_std_m"]}
    with raises(ErrorCode.MODEL_FOREIGN, match="keypoint_std_m"):
        OnnxReconstructor(write_network(tmp_path / "net.onnx", hand=hand))


def test_what_is_stated_and_true_is_accepted(tmp_path: Path) -> None:
    stated = {PROVIDES_KEY: "attention,uncertainty", INPUT_KEY: "float32 3x224x224", "somebody.else": "anything"}
    OnnxReconstructor(write_network(tmp_path / "net.onnx", metadata=stated))


@pytest.mark.parametrize("name", ["prior", "amvur", "final"])
def test_the_shipped_files_are_heads_and_state_what_is_true(name: str) -> None:
    network = OnnxReconstructor(model_file(name), device="cpu")
    assert (network.model, network.size_px, network.file.state) == (name, 224, "shipped")
    stated = {item.key: item.value for item in onnx.load(model_file(name)).metadata_props}
    assert network.trunk is not None
    assert stated[TRUNK_KEY] == network.trunk.fingerprint
    assert set(stated[PROVIDES_KEY].split(",")) == model_spec(name).provides
    assert stated[INPUT_KEY] == "uint8 3x224x224"
