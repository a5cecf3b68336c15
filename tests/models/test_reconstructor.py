"""ONNX files: the outputs of a good one, and the errors of bad ones."""

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import onnx
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_state

from handviz.core import onnx_runtime
from handviz.core.errors import ErrorCode
from handviz.core.records import Detection, HandCrop
from handviz.hand_models.open_hand import load_open_hand
from handviz.models import reconstructor as reconstructor_module
from handviz.models.reconstructor import OnnxReconstructor
from tests.errors import raises
from tests.tiny_network import constant_hand, write_network


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_network(tmp_path / "handviz_final.onnx")


def crop_of(grey: float) -> HandCrop:
    detection = Detection("right", 1.0, np.zeros((21, 2)))
    return HandCrop(np.full((224, 224, 3), round(255 * grey), np.uint8), np.eye(3)[:2], detection)


def test_every_crop_gets_its_hand(network: Path) -> None:
    reconstructor = OnnxReconstructor(network, template=load_open_hand())
    hands = reconstructor.reconstruct([crop_of(0.1), crop_of(0.9), crop_of(0.5)])
    assert len(hands) == 3
    expected = constant_hand()
    for hand in hands:
        for name, value in expected.items():
            np.testing.assert_allclose(getattr(hand, name), value, atol=1e-6)
            assert np.shape(getattr(hand, name)) == np.shape(value)
    assert reconstructor.model == "final"
    assert reconstructor.provider in {"CPUExecutionProvider", "CUDAExecutionProvider"}


class FailingCard:
    """A session on a graphics card that fails at every run."""

    def __init__(self, network: Path) -> None:
        session = onnx_runtime.open_session(network, "", device="cpu")
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs
        self.get_modelmeta = session.get_modelmeta

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def run(self, *_: object) -> None:
        raise onnx_state.RuntimeException("no kernel image is available for execution on the device")


def test_a_graphics_card_that_cannot_run_it_is_given_up(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconstructor_module, "open_session", lambda path, *_, **__: FailingCard(path))
    reconstructor = OnnxReconstructor(network)
    assert reconstructor.provider == "CPUExecutionProvider"
    assert len(reconstructor.reconstruct([crop_of(0.5)])) == 1
    with raises(ErrorCode.NO_CUDA, match="no kernel image"):
        OnnxReconstructor(network, device="cuda")


def test_cuda_needs_a_driver_and_its_libraries(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    providers = [onnx_runtime.CUDA_PROVIDER, onnx_runtime.CPU_PROVIDER]
    monkeypatch.setattr(onnx_runtime.onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnx_runtime.ctypes, "CDLL", Mock(side_effect=OSError))
    with raises(ErrorCode.NO_CUDA, match="driver"):
        OnnxReconstructor(network, device="cuda")
    on_processor = onnx_runtime.open_session(network, "", device="cpu")
    monkeypatch.setattr(onnx_runtime.ctypes, "CDLL", Mock())
    monkeypatch.setattr(onnx_runtime.onnxruntime, "preload_dlls", Mock())
    # ONNX Runtime falls back to the processor by itself where cuDNN is missing.
    monkeypatch.setattr(onnx_runtime.onnxruntime, "InferenceSession", Mock(return_value=on_processor))
    with raises(ErrorCode.NO_CUDA, match="cuDNN"):
        OnnxReconstructor(network, device="cuda")
    assert OnnxReconstructor(network).provider == onnx_runtime.CPU_PROVIDER


def test_no_crops_no_hands(network: Path) -> None:
    assert OnnxReconstructor(network).reconstruct([]) == []


def test_missing_file(tmp_path: Path) -> None:
    with raises(ErrorCode.MODEL_MISSING, match=r"absent\.onnx is missing; restore it"):
        OnnxReconstructor(tmp_path / "absent.onnx")


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.99])
def test_truncated_file(network: Path, fraction: float) -> None:
    content = network.read_bytes()
    network.write_bytes(content[: int(fraction * len(content))])
    with raises(ErrorCode.MODEL_DAMAGED, match=r"handviz_final\.onnx"):
        OnnxReconstructor(network)


def test_another_file_format(tmp_path: Path) -> None:
    path = tmp_path / "handviz_final.onnx"
    path.write_text("not a network" * 100)
    with raises(ErrorCode.MODEL_DAMAGED):
        OnnxReconstructor(path)


def test_another_hand_model(tmp_path: Path) -> None:
    path = write_network(tmp_path / "other.onnx", fingerprint="0123456789abcdef")
    with raises(ErrorCode.MODEL_MISMATCH, match=r"other\.onnx was made for the hand model open_hand 0123456789ab"):
        OnnxReconstructor(path, template=load_open_hand())


def test_a_network_that_is_not_of_handviz(tmp_path: Path) -> None:
    path = write_network(tmp_path / "other.onnx", "some thing")
    with raises(ErrorCode.MODEL_FOREIGN, match=r"handviz\.variant is 'some thing'"):
        OnnxReconstructor(path)


@pytest.mark.parametrize("name", ["rotation", "vertex_std_m", "scale"])
def test_missing_output(tmp_path: Path, name: str) -> None:
    hand = constant_hand()
    del hand[name]
    path = write_network(tmp_path / "less.onnx", hand=hand)
    with raises(ErrorCode.MODEL_FOREIGN, match=f"output {name} is missing"):
        OnnxReconstructor(path)


def test_wrong_shape(tmp_path: Path) -> None:
    path = write_network(tmp_path / "flat.onnx", hand=constant_hand() | {"keypoints_m": np.zeros((21, 2))})
    with raises(ErrorCode.MODEL_FOREIGN, match="output keypoints_m"):
        OnnxReconstructor(path)


def test_wrong_input_size(network: Path) -> None:
    model = onnx.load(network)
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 256
    onnx.save(model, network)
    with raises(ErrorCode.MODEL_FOREIGN):
        OnnxReconstructor(network)


def test_answers_that_are_not_finite(tmp_path: Path) -> None:
    path = write_network(tmp_path / "nan.onnx", hand=constant_hand() | {"scale": np.array(np.nan)})
    with raises(ErrorCode.NOT_FINITE, match="scale"):
        OnnxReconstructor(path)


def test_metadata_that_are_no_text(network: Path) -> None:
    content = network.read_bytes()
    assert content.count(b"open_hand") == 1
    network.write_bytes(content.replace(b"open_hand", b"\xff\xfe\xfd_hand"))
    with raises(ErrorCode.MODEL_DAMAGED):
        OnnxReconstructor(network)


def test_other_outputs_are_ignored(tmp_path: Path) -> None:
    path = write_network(tmp_path / "more.onnx", hand=constant_hand() | {"prior_m": np.zeros((778, 3))})
    assert len(OnnxReconstructor(path).reconstruct([crop_of(0.5)])) == 1


def test_a_network_gives_landmarks_or_has_none(tmp_path: Path, network: Path) -> None:
    (plain,) = OnnxReconstructor(network).reconstruct([crop_of(0.5)])
    assert plain.landmarks_m is None
    assert plain.presence == 0
    said = np.random.default_rng(1).normal(size=(21, 3))
    path = write_network(tmp_path / "told.onnx", hand=constant_hand() | {"witness_m": said, "presence": np.array(0.75)})
    (told,) = OnnxReconstructor(path).reconstruct([crop_of(0.5)])
    np.testing.assert_allclose(told.landmarks_m, said, atol=1e-6)
    assert told.presence == 0.75


def test_landmarks_of_another_shape(tmp_path: Path) -> None:
    path = write_network(tmp_path / "told.onnx", hand=constant_hand() | {"witness_m": np.zeros((20, 3))})
    with raises(ErrorCode.MODEL_FOREIGN, match="witness_m"):
        OnnxReconstructor(path)
