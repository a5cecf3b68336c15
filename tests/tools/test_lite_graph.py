"""TensorFlow Lite files are read: operators, shapes, and where their weights lie."""

import zipfile
from itertools import pairwise

import numpy as np
import pytest

from handviz.core.errors import ErrorCode
from handviz.core.paths import LANDMARKER_FILE
from handviz.detection.detector_files import TASK_MEMBERS
from tests.errors import raises
from tools.lite_graph import LiteGraph

PALM, LANDMARKS = TASK_MEMBERS


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    with zipfile.ZipFile(LANDMARKER_FILE) as archive:
        return {name: archive.read(name) for name in TASK_MEMBERS}


def test_both_networks_have_the_operators_that_are_converted(contents: dict[str, bytes]) -> None:
    palm, landmarks = (LiteGraph(contents[name]) for name in (PALM, LANDMARKS))
    assert palm.shape(palm.inputs[0]) == (1, 192, 192, 3)
    assert [palm.shape(tensor) for tensor in palm.outputs] == [(1, 2016, 18), (1, 2016, 1)]
    assert landmarks.shape(landmarks.inputs[0]) == (1, 224, 224, 3)
    assert [landmarks.shape(tensor) for tensor in landmarks.outputs] == [(1, 63), (1, 1), (1, 1), (1, 63)]
    assert {"PRELU", "RESIZE_BILINEAR", "PAD"} <= {step.kind for step in palm.operators()}
    kinds = [step.kind for step in landmarks.operators()]
    assert kinds.count("FULLY_CONNECTED") == 4
    assert "DEQUANTIZE" not in kinds, "weights count as weights"


def test_steps_come_after_what_they_need(contents: dict[str, bytes]) -> None:
    graph = LiteGraph(contents[LANDMARKS])
    known = set(graph.inputs)
    for step in graph.operators():
        needed = {tensor for tensor in step.inputs if not graph.is_weight(tensor)}
        assert needed & known, step
        known |= set(step.outputs)
    assert set(graph.outputs) <= known


def test_a_weight_lies_at_its_place_in_the_file(contents: dict[str, bytes]) -> None:
    content = contents[LANDMARKS]
    graph = LiteGraph(content)
    first = next(step for step in graph.operators() if step.kind == "CONV_2D")
    place = graph.place(first.inputs[1])
    assert place.length == 2 * np.prod(place.shape)
    kernel = np.frombuffer(content[place.start : place.start + place.length], np.float16)
    assert np.isfinite(kernel).all()
    assert 0.01 < kernel.astype(np.float32).std() < 10, "numbers of another place would be of any size"
    assert first.activation in ("RELU6", "NONE")


def test_no_two_weights_overlap(contents: dict[str, bytes]) -> None:
    for content in contents.values():
        graph = LiteGraph(content)
        tensors = {tensor for step in graph.operators() for tensor in step.inputs if graph.is_weight(tensor)}
        places = sorted({(place.start, place.length) for place in map(graph.place, tensors)})
        assert all(start + length <= after for (start, length), (after, _) in pairwise(places))
        assert places[-1][0] + places[-1][1] <= len(content)


def test_constants_of_whole_numbers(contents: dict[str, bytes]) -> None:
    graph = LiteGraph(contents[PALM])
    pad = next(step for step in graph.operators() if step.kind == "PAD")
    pads = graph.numbers(pad.inputs[1])
    before, after = graph.shape(pad.inputs[0]), graph.shape(pad.outputs[0])
    assert pads.shape == (4, 2)
    assert tuple(np.array(before) + pads.sum(axis=1)) == after


def test_a_weight_of_another_precision_is_another_network(contents: dict[str, bytes]) -> None:
    graph = LiteGraph(contents[PALM])
    pad = next(step for step in graph.operators() if step.kind == "PAD")
    graph._half_of[-1] = pad.inputs[1]
    with raises(ErrorCode.BAD_VALUE, match="not float16"):
        graph.place(-1)
