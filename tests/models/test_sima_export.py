"""SiMA-Hand as ONNX files: the numbers of PyTorch, what they take and give, and how large they are."""

import math

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from handviz.core.errors import ErrorCode
from handviz.core.records import Detection, HandCrop
from handviz.detection.landmark_network import LandmarkNetwork
from handviz.models.base import LoadContext
from handviz.models.reconstructor import OnnxReconstructor
from handviz.models.sima_hand.export import ExportedHand, ExportModel, arrays_of, export_model, export_onnx
from handviz.models.sima_hand.family import FAMILY, SIMA
from handviz.models.sima_hand.model import Inputs, ModelConfig, build_model
from handviz.models.sima_hand.samples import inputs_of_batch, inputs_of_images, of_views
from handviz.training.samples import image_batch
from tests.errors import raises
from tests.models.test_sima_networks import awake

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (6, 224, 224, 3), np.uint8)


@pytest.fixture(scope="module")
def inputs(images) -> Inputs:
    return inputs_of_images(LandmarkNetwork(), images)


def made(config: ModelConfig, template, path, check: Inputs):
    """Return a network and the difference of its file."""
    torch.manual_seed(4)
    network = awake(build_model(config, template))
    return network, export_onnx(network, template, path, {"handviz.commit": "abc"}, 12.5, check)


@pytest.fixture(scope="module")
def single(template, inputs, tmp_path_factory):
    path = tmp_path_factory.mktemp("sima") / "handviz_sima.onnx"
    network, difference = made(ModelConfig(), template, path, inputs)
    assert difference <= 1e-4
    return network, path


@pytest.fixture(scope="module")
def multi(template, inputs, tmp_path_factory):
    path = tmp_path_factory.mktemp("sima") / "handviz_sima_mvr.onnx"
    network, difference = made(ModelConfig("mvr"), template, path, of_views(inputs, 3))
    assert difference <= 1e-4
    return network, path


def crops(images) -> list[HandCrop]:
    return [HandCrop(image, np.eye(2, 3), Detection("right", 1.0, np.zeros((21, 2)))) for image in images]


def test_the_program_gets_the_numbers_of_pytorch(single, template, inputs, images) -> None:
    network, path = single
    hands = OnnxReconstructor(path, template=template).reconstruct(crops(images))
    with torch.no_grad():
        expected = ExportModel(network).exported(network(inputs))
    for row, hand in enumerate(hands):
        for name in ("vertices_m", "keypoints_m", "rotation", "translation"):
            np.testing.assert_allclose(getattr(hand, name), getattr(expected, name)[row], atol=2e-3)
        assert hand.scale == pytest.approx(float(expected.scale[row]), rel=2e-3)
        assert hand.hand_probability == pytest.approx(float(expected.hand_probability[row]), abs=1e-3)


def test_it_says_one_standard_deviation_and_has_the_landmarks(single, template, images) -> None:
    (hand, *_) = OnnxReconstructor(single[1], template=template).reconstruct(crops(images))
    assert hand.vertex_std_m is not None
    assert np.ptp(hand.vertex_std_m) == 0
    assert float(hand.vertex_std_m[0, 0]) == pytest.approx(0.0125 / math.sqrt(3), rel=1e-4)
    assert hand.landmarks_m is not None
    assert hand.heatmaps is None


def test_the_model_of_the_family_loads_its_file(single, images, monkeypatch) -> None:
    _, path = single
    monkeypatch.setattr("handviz.models.reconstructor.model_spec", lambda _: SIMA)
    assert SIMA.file_in(path.parent) == path
    hands = SIMA.load(LoadContext(model_dir=path.parent)).reconstruct(crops(images))
    assert len(hands) == len(images)
    # The file is not shipped yet.
    assert SIMA in FAMILY.models or not SIMA.file.is_file()


def test_a_file_of_several_views_takes_any_number_of_them(multi, inputs) -> None:
    network, path = multi
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for views in (1, 2, 6):
        given = of_views(inputs, views)
        with torch.no_grad():
            expected = ExportModel(network).exported(network(given), views)
        found = session.run(list(ExportedHand._fields), arrays_of(given, network.config))
        hands = 6 // views
        assert [part.shape for part in found] == [
            (hands, 778, 3), (hands, 21, 3), (hands, views, 3, 3), (hands, views), (hands, views, 2), (hands, views)
        ]  # fmt: skip
        for mine, true in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, true.numpy(), atol=2e-3, rtol=2e-3)


def test_a_file_of_several_views_is_no_model_of_the_program(multi, template) -> None:
    with raises(ErrorCode.MODEL_FOREIGN):
        OnnxReconstructor(multi[1], template=template)


def test_both_files_are_under_five_megabytes(single, multi) -> None:
    assert sum(path.stat().st_size for _, path in (single, multi)) < 5e6


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(landmarks=False),
        ModelConfig("mvr", landmarks=False),
        ModelConfig("mvr", vertex_fusion="concat", image_fusion="concat", joint_fusion="concat", views=3),
        ModelConfig("mvr", vertex_fusion="printed"),
    ],
)
def test_other_forms_are_exported_too(template, inputs, tmp_path, config) -> None:
    path = tmp_path / "handviz_sima.onnx"
    check = of_views(inputs, 3) if config.network == "mvr" else inputs
    _, difference = made(config, template, path, check)
    assert difference <= 1e-4
    shapes = {item.name: item.type.tensor_type.shape.dim for item in onnx.load(path).graph.input}
    assert shapes.keys() == ({"middle_map", "keypoints", "world_m", "presence", "right_hand"} if config.landmarks
                             else {"middle_map"})  # fmt: skip
    if config.network == "mvr":
        assert shapes["middle_map"][1].dim_value == (config.fixed_views or 0)


def test_the_paper_s_form_is_exported_with_the_image(template, tmp_path, images, monkeypatch) -> None:
    """A narrow one: of the form alone."""
    from handviz.models.sima_hand import encoders, model

    monkeypatch.setattr(encoders, "DENSE_MIDDLE", 32)
    narrow = model.SIZES["paper"]._replace(
        image=16, joint=32, orientation=32, attention=(8, 2), regressor=(4, 16), decoder=(16, 8, 8, 8)
    )
    monkeypatch.setitem(model.SIZES, "paper", narrow)
    path = tmp_path / "handviz_sima.onnx"
    check = inputs_of_batch(None, image_batch(images[:2]))
    _, difference = made(ModelConfig(form="paper", landmarks=False), template, path, check)
    assert difference <= 1e-4
    (hand, _) = OnnxReconstructor(path, template=template).reconstruct(crops(images[:2]))
    assert hand.landmarks_m is None
    assert isinstance(export_model(build_model(ModelConfig(), template)), ExportModel)


def test_weights_that_are_not_finite_are_refused(template, inputs, tmp_path) -> None:
    broken = build_model(ModelConfig(), template).eval()
    with torch.no_grad():
        broken.decoder.last.linear.bias[0] = math.nan
    with raises(ErrorCode.NOT_FINITE, match="decoder"):
        export_onnx(broken, template, tmp_path / "handviz_sima.onnx", {}, 10.0, inputs)
    assert not list(tmp_path.iterdir())
