"""HAMR as an ONNX file: the numbers of PyTorch, what it takes and gives, and hostile files."""

import math

import numpy as np
import onnx
import pytest
import torch

from handviz.core.errors import ErrorCode
from handviz.core.records import Detection, HandCrop
from handviz.detection.landmark_network import LandmarkNetwork
from handviz.models.base import LoadContext
from handviz.models.hamr.export import ExportModel, export_onnx
from handviz.models.hamr.model import ModelConfig, build_model
from handviz.models.hamr.samples import inputs_of_images
from handviz.models.onnx_contract import HEATMAP_SPREAD_KEY
from handviz.models.reconstructor import LoadedModel, OnnxReconstructor
from handviz.models.registry import model_spec
from tests.errors import raises

pytestmark = pytest.mark.slow
SMALL = ModelConfig(feature_size=16, width=16)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (3, 224, 224, 3), np.uint8)


@pytest.fixture(scope="module")
def inputs(images):
    return inputs_of_images(LandmarkNetwork(), images)


@pytest.fixture(scope="module")
def model(template):
    torch.manual_seed(4)
    made = build_model(SMALL, template).eval()
    torch.nn.init.normal_(made.regressor.change.weight, std=0.05)
    return made


@pytest.fixture(scope="module")
def exported(model, template, inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hamr")
    path = folder / "handviz_hamr.onnx"
    assert (
        export_onnx(model, template, path, {"handviz.commit": "abc", HEATMAP_SPREAD_KEY: "1 0"}, 12.5, inputs) <= 1e-4
    )
    return path


def crops(images) -> list[HandCrop]:
    return [HandCrop(image, np.eye(2, 3), Detection("right", 1.0, np.zeros((21, 2)))) for image in images]


def test_the_program_gets_the_numbers_of_pytorch(exported, model, template, inputs, images) -> None:
    network = OnnxReconstructor(exported, template=template)
    hands = network.reconstruct(crops(images))
    with torch.no_grad():
        expected = ExportModel(model, template).exported(model(inputs))
    for row, hand in enumerate(hands):
        for name in ("vertices_m", "keypoints_m", "rotation", "translation", "heatmaps"):
            np.testing.assert_allclose(getattr(hand, name), getattr(expected, name)[row], atol=1e-4)
        assert hand.scale == pytest.approx(float(expected.scale[row]), rel=1e-3)
        assert hand.hand_probability == pytest.approx(float(expected.hand_probability[row]), abs=1e-4)
        assert len(hand.steps) == 3
        for number, step in enumerate(hand.steps):
            np.testing.assert_allclose(step.vertices_m, expected.step_vertices_m[row, number], atol=1e-4)
            np.testing.assert_allclose(step.rotation, expected.step_rotation[row, number], atol=1e-4)


def test_it_says_one_standard_deviation_and_has_the_landmarks(exported, template, images) -> None:
    (hand, *_) = OnnxReconstructor(exported, template=template).reconstruct(crops(images))
    assert hand.vertex_std_m is not None
    assert np.ptp(hand.vertex_std_m) == 0
    assert float(hand.vertex_std_m[0, 0]) == pytest.approx(0.0125 / math.sqrt(3), rel=1e-4)
    assert hand.landmarks_m is not None


def test_crops_that_carry_landmarks_without_fine_maps_are_named(exported, template, images) -> None:
    from dataclasses import replace

    network = OnnxReconstructor(exported, template=template)
    known = LandmarkNetwork().of_images(np.ascontiguousarray(images[:1].transpose(0, 3, 1, 2)))
    (crop,) = crops(images[:1])
    assert len(network.reconstruct([replace(crop, landmarks=known[0])])) == 1
    with raises(ErrorCode.BAD_VALUE, match="map_56"):
        network.reconstruct([replace(crop, landmarks=replace(known[0], map_56=None))])


def test_no_crops_give_no_hands(exported, template) -> None:
    assert OnnxReconstructor(exported, template=template).reconstruct([]) == []


def test_without_landmarks_the_file_takes_maps_alone(template, inputs, tmp_path) -> None:
    config = ModelConfig(feature_size=16, width=16, landmarks=False, iterations=1, pose_numbers=12)
    path = tmp_path / "handviz_hamr.onnx"
    export_onnx(build_model(config, template).eval(), template, path, {}, 10.0, inputs)
    names = [item.name for item in onnx.load(path).graph.input]
    assert names == ["map_56", "map_28", "middle_map"]
    assert OnnxReconstructor(path, template=template).reconstruct([]) == []


def changed_file(source, target, change):
    model = onnx.load(source)
    change(model)
    onnx.save(model, target)
    return target


def renamed(model: onnx.ModelProto, kind: str, old: str, new: str) -> None:
    for item in getattr(model.graph, kind):
        if item.name == old:
            item.name = new
    for node in model.graph.node:
        for names in (node.input, node.output):
            for number, name in enumerate(names):
                if name == old:
                    names[number] = new


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [("input", "map_28", "map_x"), ("output", "heatmaps", "provides"), ("output", "step_scale", "step_vertices_m")],
)
def test_files_that_lack_an_input_or_output_are_refused(exported, template, tmp_path, kind, name, reason) -> None:
    path = changed_file(exported, tmp_path / "broken.onnx", lambda model: renamed(model, kind, name, "map_x"))
    with raises(ErrorCode.MODEL_FOREIGN, match=reason):
        OnnxReconstructor(path, template=template)


def stated(text: str):
    def change(model: onnx.ModelProto) -> None:
        (entry,) = (one for one in model.metadata_props if one.key == HEATMAP_SPREAD_KEY)
        entry.value = text

    return change


def test_the_spread_of_heatmaps_comes_from_the_file(exported, template, images, tmp_path) -> None:
    path = changed_file(exported, tmp_path / "spread.onnx", stated("2.5 0.003"))
    (hand,) = OnnxReconstructor(path, template=template).reconstruct(crops(images[:1]))
    assert hand.heatmap_spread == (2.5, 0.003)


@pytest.mark.parametrize("text", ["2.5", "1 2 3", "nan 0", "-1 0", "1 1e9", "one two", ""])
def test_a_spread_that_is_none_is_refused(exported, template, tmp_path, text: str) -> None:
    path = changed_file(exported, tmp_path / "spread.onnx", stated(text))
    with raises(ErrorCode.MODEL_FOREIGN, match=HEATMAP_SPREAD_KEY):
        OnnxReconstructor(path, template=template)


def test_weights_that_are_not_finite_are_refused(template, inputs, tmp_path) -> None:
    broken = build_model(SMALL, template).eval()
    with torch.no_grad():
        broken.regressor.change.bias[0] = math.nan
    with raises(ErrorCode.NOT_FINITE, match="regressor"):
        export_onnx(broken, template, tmp_path / "handviz_hamr.onnx", {}, 10.0, inputs)
    assert not list(tmp_path.iterdir())


def test_the_shipped_file_is_the_model_of_the_registry(images) -> None:
    spec = model_spec("hamr")
    hands = LoadedModel(spec, LoadContext()).reconstruct(crops(images))
    assert {"heatmaps", "iterations"} <= spec.provides
    assert all(hand.heatmaps is not None and hand.heatmaps.shape == (21, 56, 56) for hand in hands)


def test_an_image_without_a_hand_gives_flat_heatmaps_and_low_presence() -> None:
    grey = np.full((224, 224, 3), 128, np.uint8)
    gradient = np.tile(np.linspace(0, 255, 224, dtype=np.uint8)[:, None, None], (1, 224, 3))
    for hand in LoadedModel(model_spec("hamr"), LoadContext()).reconstruct(crops([grey, gradient])):
        assert hand.heatmaps is not None
        assert float(hand.heatmaps.max()) < 0.3
        assert hand.hand_probability is not None
        assert hand.hand_probability < 0.5
