"""MediaPipe's networks as ONNX files: their contract, and answers that are not finite."""

from types import SimpleNamespace

import numpy as np
import pytest

from handviz.core.errors import ErrorCode
from handviz.core.paths import LANDMARK_FILE, PALM_FILE
from handviz.detection.palm import ANCHOR_COUNT, NUMBERS, PALM_SIZE
from handviz.detection.task_networks import TaskNetwork
from tests.errors import raises

PALM_OUTPUTS = {"boxes": (ANCHOR_COUNT, NUMBERS), "scores": (ANCHOR_COUNT,)}


def test_a_shipped_network_runs_on_batches_and_says_what_it_is() -> None:
    network = TaskNetwork(PALM_FILE, PALM_OUTPUTS, size_px=PALM_SIZE, device="cpu")
    assert network.provider == "CPUExecutionProvider"
    assert (network.file.file, network.file.state) == (PALM_FILE.name, "shipped")
    found = network.run(np.zeros((2, 3, PALM_SIZE, PALM_SIZE), np.uint8))
    assert {name: values.shape for name, values in found.items()} == {
        name: (2, *shape) for name, shape in PALM_OUTPUTS.items()
    }


@pytest.mark.parametrize(
    ("outputs", "size_px"),
    [
        ({"boxes": (ANCHOR_COUNT, 4)}, PALM_SIZE),
        ({"presence": ()}, PALM_SIZE),
        (PALM_OUTPUTS, 224),
    ],
)
def test_another_network_than_expected_is_refused(outputs: dict[str, tuple[int, ...]], size_px: int) -> None:
    with raises(ErrorCode.MODEL_FOREIGN, match=rf"{PALM_FILE.name} .*build detector"):
        TaskNetwork(PALM_FILE, outputs, size_px=size_px, device="cpu")


def test_numbers_that_are_not_finite_name_the_file_and_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    network = TaskNetwork(LANDMARK_FILE, {"presence": (), "right_hand": ()}, size_px=224, device="cpu")
    answer = [np.array([0.5]), np.array([np.nan])]
    monkeypatch.setattr(network, "_session", SimpleNamespace(run=lambda *_: answer))
    with raises(ErrorCode.NOT_FINITE, match=rf"{LANDMARK_FILE.name} gave right_hand"):
        network.run(np.zeros((1, 3, 224, 224), np.uint8))
