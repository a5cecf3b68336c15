"""Sessions of ONNX Runtime: their number of threads, and what happens where the graphics card fails."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from handviz.core import onnx_runtime
from handviz.core.errors import ErrorCode
from handviz.core.onnx_runtime import check_finite, limit_threads, open_session, warm_up
from tests.errors import raises


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Write a network that adds a number to itself."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "graph", [value], [result])
    path = tmp_path / "sum.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


@pytest.fixture(autouse=True)
def no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_runtime, "_thread_limit", None)


def options_of(path: Path) -> onnxruntime.SessionOptions:
    return open_session(path, "make it again", device="cpu").get_session_options()


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (3, 3), (64, 4)])
def test_a_session_has_a_thread_for_each_core_up_to_four(
    network: Path, monkeypatch: pytest.MonkeyPatch, cores: int, threads: int
) -> None:
    monkeypatch.setattr(onnx_runtime, "usable_cores", lambda: cores)
    assert options_of(network).intra_op_num_threads == threads


def test_a_limit_of_the_process_holds_for_sessions_from_then_on(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_runtime, "usable_cores", lambda: 3)
    before = options_of(network)
    limit_threads(1)
    assert (before.intra_op_num_threads, options_of(network).intra_op_num_threads) == (3, 1)


def test_waiting_threads_spin_no_longer_than_between_two_layers_and_beside_a_window_not_at_all(
    network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_runtime, "_spins", True)
    options = options_of(network)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    onnx_runtime.spare_cores()
    assert options_of(network).get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
    assert 0 < int(options.get_session_config_entry("session.intra_op.spin_duration_us")) <= 100


def test_a_network_made_from_a_file_runs_in_its_place(network: Path, tmp_path: Path) -> None:
    session = open_session(tmp_path / "absent.onnx", "make it", device="cpu", content=network.read_bytes())
    assert session.run(["y"], {"x": np.array([2.0], np.float32)})[0] == [4.0]
    with raises(ErrorCode.MODEL_MISSING, match=r"absent\.onnx is missing; make it"):
        open_session(tmp_path / "absent.onnx", "make it", device="cpu")


class Failing:
    """A session of a graphics card that fails when it is run."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def get_providers(self) -> list[str]:
        return [self._provider]

    def run(self, *_: object) -> None:
        raise onnx_runtime.onnx_state.Fail("out of memory")


def run(session: Any) -> None:
    session.run(["y"], {"x": np.array([2.0], np.float32)})


def test_where_the_graphics_card_fails_the_processor_runs_the_network(network: Path) -> None:
    used = []

    def use(session: Any) -> None:
        used.append(session)
        run(session)

    warm_up(network, "make it", Failing(onnx_runtime.CUDA_PROVIDER), use)
    assert used[-1].get_providers() == [onnx_runtime.CPU_PROVIDER]


@pytest.mark.parametrize(
    ("provider", "device", "code"),
    [
        (onnx_runtime.CUDA_PROVIDER, "cuda", ErrorCode.NO_CUDA),
        (onnx_runtime.CPU_PROVIDER, "auto", ErrorCode.MODEL_DAMAGED),
    ],
)
def test_a_network_that_cannot_be_run_elsewhere_is_said(
    network: Path, provider: str, device: Any, code: ErrorCode
) -> None:
    with raises(code, match=r"sum\.onnx"):
        warm_up(network, "make it", Failing(provider), run, device=device)


def test_outputs_that_are_not_finite_are_named(network: Path) -> None:
    check_finite(network, {"y": np.ones(2)}, "make it")
    with raises(ErrorCode.NOT_FINITE, match=r"sum\.onnx gave y"):
        check_finite(network, {"x": np.ones(2), "y": np.array([1.0, np.inf])}, "make it")
