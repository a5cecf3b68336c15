"""HAMR as an ONNX file: the numbers of PyTorch but for rounded weights, what it takes and gives, and hostile files."""

import math
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from handviz.core.errors import ErrorCode
from handviz.core.records import Detection, HandCrop, NetworkOutput, RegressionStep
from handviz.detection.landmark_network import LandmarkNetwork
from handviz.models.base import LoadContext
from handviz.models.hamr import hourglass, regressor
from handviz.models.hamr.export import ExportModel, export_onnx
from handviz.models.hamr.model import ModelConfig, build_model
from handviz.models.hamr.samples import inputs_of_batch, inputs_of_images
from handviz.models.onnx_contract import HEATMAP_SPREAD_KEY
from handviz.models.reconstructor import LoadedModel, OnnxReconstructor, check_answer, crop_inputs
from handviz.models.registry import model_spec
from handviz.training.samples import image_batch
from tests.errors import raises
from tests.tiny_network import constant_hand

pytestmark = pytest.mark.slow
SMALL = ModelConfig(feature_size=16, token_width=8, width=16)


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
            np.testing.assert_allclose(getattr(hand, name), getattr(expected, name)[row], atol=2e-3)
        assert hand.scale == pytest.approx(float(expected.scale[row]), rel=1e-3)
        assert hand.hand_probability == pytest.approx(float(expected.hand_probability[row]), abs=1e-4)
        assert len(hand.steps) == 3
        for number, step in enumerate(hand.steps):
            np.testing.assert_allclose(step.vertices_m, expected.step_vertices_m[row, number], atol=2e-3)
            np.testing.assert_allclose(step.rotation, expected.step_rotation[row, number], atol=2e-3)


def test_it_says_one_standard_deviation_and_has_the_landmarks(exported, template, images) -> None:
    (hand, *_) = OnnxReconstructor(exported, template=template).reconstruct(crops(images))
    assert hand.vertex_std_m is not None
    assert np.ptp(hand.vertex_std_m) == 0
    assert float(hand.vertex_std_m[0, 0]) == pytest.approx(0.0125 / math.sqrt(3), rel=1e-4)
    assert hand.landmarks_m is not None


def test_landmarks_without_fine_maps_are_computed_anew(exported, template, images) -> None:
    network = OnnxReconstructor(exported, template=template)
    plain = LandmarkNetwork()
    (known,) = plain.of_images(np.ascontiguousarray(images[:1].transpose(0, 3, 1, 2)))
    assert known.map_56 is None, "half a megabyte that no other model needs"
    (crop,) = crops(images[:1])
    (alone,), (given,) = network.reconstruct([crop]), network.reconstruct([replace(crop, landmarks=known)])
    np.testing.assert_array_equal(alone.vertices_m, given.vertices_m)
    with raises(ErrorCode.BAD_VALUE, match="map_56"):
        crop_inputs(("map_56",), [known])


def test_no_crops_give_no_hands(exported, template) -> None:
    assert OnnxReconstructor(exported, template=template).reconstruct([]) == []


def test_without_landmarks_the_file_takes_maps_alone(template, inputs, tmp_path) -> None:
    config = ModelConfig(feature_size=16, token_width=8, width=16, landmarks=False, iterations=1, pose_numbers=12)
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


def answer(template) -> NetworkOutput:
    fields = constant_hand()
    vertices_m = fields["vertices_m"]
    step = RegressionStep(vertices_m, np.eye(3), 8.0, np.zeros(2))
    known = NetworkOutput(**fields | {"scale": 8.0})
    return replace(known, heatmaps=np.zeros((21, 56, 56)), heatmap_spread=(1.0, 0.0), steps=(step,))


@pytest.mark.parametrize(
    "changes",
    [
        {"heatmaps": np.zeros((21, 0, 0))},
        {"heatmaps": np.zeros((21, 56, 28))},
        {"heatmap_spread": (1.0, math.nan)},
        {"heatmap_spread": (-1.0, 0.0)},
        {"heatmap_spread": (1.0, 1e6)},
        {"heatmap_spread": (1.0,)},
        {"scale": 0.0},
        {"scale": 1e-30},
    ],
)
def test_answers_that_would_break_what_follows_are_refused(template, changes) -> None:
    spec = model_spec("hamr")
    check_answer(spec, template, [answer(template)], 1)
    with raises(ErrorCode.MODEL_FOREIGN, ErrorCode.NOT_FINITE, match="hamr"):
        check_answer(spec, template, [replace(answer(template), **changes)], 1)


def test_steps_are_checked_as_the_hand_is(template) -> None:
    spec, good = model_spec("hamr"), answer(template)
    for broken in (replace(good.steps[0], scale=0.0), replace(good.steps[0], vertices_m=np.zeros((2, 3)))):
        with raises(ErrorCode.MODEL_FOREIGN, match="hamr"):
            check_answer(spec, template, [replace(good, steps=(broken,))], 1)
    with raises(ErrorCode.MODEL_FOREIGN, match="11 steps"):
        check_answer(spec, template, [replace(good, steps=good.steps * 11)], 1)


def test_an_hourglass_is_exported_and_loaded_again(template, tmp_path, monkeypatch) -> None:
    """A narrow one: of the form alone."""
    monkeypatch.setattr(hourglass, "CHANNELS", 8)
    monkeypatch.setattr(hourglass, "MORE_CHANNELS", 4)
    monkeypatch.setattr(hourglass.StackedHourglass, "feature_channels", 8 + hourglass.HOURGLASS_MAPS)
    monkeypatch.setattr(regressor, "ORIGINAL_WIDTHS", (8, 8, 8, 8, 8, 16))
    monkeypatch.setattr(regressor.OriginalEncoder, "size", 16)
    torch.manual_seed(5)
    narrow = build_model(ModelConfig("hourglass", stages=1, landmarks=False, width=16), template).eval()
    path = tmp_path / "handviz_hamr.onnx"
    pictures = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), np.uint8)
    given = inputs_of_batch(None, image_batch(pictures))
    assert export_onnx(narrow, template, path, {}, 10.0, given) <= 1e-4
    (hand, _) = OnnxReconstructor(path, template=template).reconstruct(crops(pictures))
    assert hand.heatmaps is not None
    assert hand.heatmaps.shape == (21, 64, 64)
    assert hand.landmarks_m is None


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
