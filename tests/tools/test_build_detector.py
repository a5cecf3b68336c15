"""The committed networks of the detector are what ``python -m tools.build detector`` makes of the task file."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import onnx
import pytest

from handviz.core.errors import ErrorCode
from handviz.core.network_files import sha256_of
from handviz.core.paths import LANDMARK_FILE, LANDMARKER_FILE, PALM_FILE
from handviz.detection.detector_files import WEIGHTS_KEY
from tests.errors import raises
from tools.build_detector import _Converter, _same_padding, build_landmarks, build_palm
from tools.lite_graph import ACTIVATIONS, LiteGraph, Operator

VERSION_KEY = "handviz.version"


def comparable(path: Path) -> bytes:
    """Return a network's bytes without the version of handviz that made it."""
    model = onnx.load(path, load_external_data=False)
    kept = {item.key: item.value for item in model.metadata_props if item.key != VERSION_KEY}
    assert kept == {WEIGHTS_KEY: sha256_of(LANDMARKER_FILE)}
    onnx.helper.set_model_props(model, kept)
    return model.SerializeToString(deterministic=True)


@pytest.mark.parametrize(("build", "shipped"), [(build_palm, PALM_FILE), (build_landmarks, LANDMARK_FILE)])
def test_the_committed_networks_are_what_the_command_writes(
    build: Callable[[Path], Path], shipped: Path, tmp_path: Path
) -> None:
    assert comparable(build(tmp_path / shipped.name)) == comparable(shipped)


def test_the_networks_have_no_weights_of_their_own() -> None:
    for path in (PALM_FILE, LANDMARK_FILE):
        assert path.stat().st_size < 60_000
        constants = onnx.load(path, load_external_data=False).graph.initializer
        large = [one for one in constants if one.data_location == onnx.TensorProto.EXTERNAL]
        assert {one.external_data[0].value for one in large} == {LANDMARKER_FILE.name}
        assert len(large) > 100


def converted(step: Operator) -> None:
    graph = SimpleNamespace(operators=lambda: [step])
    _Converter(cast(LiteGraph, graph), LANDMARKER_FILE, 0).convert()


def test_an_operator_that_is_not_known_is_an_error() -> None:
    with raises(ErrorCode.BAD_VALUE, match="SOFTMAX"):
        converted(Operator("SOFTMAX", (0,), (1,), None))


def test_an_activation_that_is_not_known_is_an_error() -> None:
    number = next(value for value, name in ACTIVATIONS.items() if name == "TANH")
    options: Any = SimpleNamespace(FusedActivationFunction=lambda: number)
    with raises(ErrorCode.BAD_VALUE, match="TANH"):
        converted(Operator("ADD", (0, 1), (2,), options))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "zeros"),
    [(192, 5, 2, (1, 2)), (224, 3, 2, (0, 1)), (14, 3, 1, (1, 1)), (14, 1, 1, (0, 0)), (7, 3, 2, (1, 1))],
)
def test_padding_is_tensorflows(size: int, kernel: int, stride: int, zeros: tuple[int, int]) -> None:
    """As many outputs as the stride fits into the input, and the larger half of the zeros behind it."""
    assert _same_padding(size, kernel, stride) == zeros
    assert (size + sum(zeros) - kernel) // stride + 1 == -(-size // stride)
