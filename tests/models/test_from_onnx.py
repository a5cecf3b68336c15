from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from handviz.core.errors import ErrorCode
from handviz.core.paths import model_file
from handviz.core.records import CROP_SIZE, Detection, HandCrop
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.export import CalibrationMetadata, ExportMetadata, ExportModel, export_onnx
from handviz.models.amvur.from_onnx import NOT_IN_FILE, read_onnx
from handviz.models.amvur.model import PLAIN_FORM, VARIANTS, ModelConfig, build_model
from handviz.models.reconstructor import OnnxReconstructor
from tests.errors import raises

SMALL = ModelConfig(feature_width=32, feature_layers=1, width=64, regressor_width=32)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_shipped_file_becomes_the_module_that_answers_as_the_program_does(variant: str) -> None:
    exported = read_onnx(model_file(variant, Path("models")), load_open_hand())
    image = np.random.default_rng(3).integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), np.uint8)
    crop = HandCrop(image, np.eye(2, 3), Detection("right", 1.0, np.zeros((21, 2))))
    hand = OnnxReconstructor(model_file(variant, Path("models"))).reconstruct([crop])[0]
    module = ExportModel(exported.model, load_open_hand(), exported.metadata.std).eval()
    with torch.no_grad():
        found = module(torch.from_numpy(image).permute(2, 0, 1)[None] / 255.0)
    assert exported.config.variant == variant
    assert np.abs(found.vertices_m[0].numpy() - hand.vertices_m).max() < 1e-6
    assert np.abs(found.vertex_std_m[0].numpy() - hand.vertex_std_m).max() < 1e-6
    assert found.hand_probability is not None
    assert hand.hand_probability == pytest.approx(float(found.hand_probability[0]), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [dict(PLAIN_FORM), {"variant": "amvur", "heads": 2}, {"blocks": 2, "landmarks": False}]
)
def test_every_weight_comes_back(change: dict[str, Any], tmp_path: Path) -> None:
    template, config = load_open_hand(), replace(SMALL, **change)
    torch.manual_seed(1)
    model = build_model(config, template)
    with torch.no_grad():  # Equal constants, as untrained layers have them, would be stored once.
        for parameter in (*model.features.parameters(), *model.heads.parameters()):
            parameter += 0.01 * torch.randn_like(parameter)
    path = tmp_path / "network.onnx"
    export_onnx(model, config, template, path, ExportMetadata("abc", 7, CalibrationMetadata(0.9, 1.5, 2.0)))
    found = read_onnx(path, template)
    assert found.metadata == ExportMetadata("abc", 7, CalibrationMetadata(0.9, 1.5, 2.0))
    assert found.config == config
    for name, value in found.model.state_dict().items():
        if name not in NOT_IN_FILE:
            torch.testing.assert_close(value, model.state_dict()[name], rtol=0, atol=1e-5, msg=name)


def test_another_hand_model_or_no_onnx_file_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    with raises(ErrorCode.MODEL_DAMAGED, match=r"broken\.onnx is missing, truncated or not an ONNX file"):
        read_onnx(broken, load_open_hand())
    other = replace(load_open_hand(), name="mano_right", vertices_m=load_open_hand().vertices_m * 2)
    with raises(ErrorCode.MODEL_MISMATCH):
        read_onnx(model_file("final", Path("models")), other)


def test_a_file_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    model = onnx.load(model_file("prior", Path("models")))
    bias = next(item for item in model.graph.initializer if item.name == "model.heads.camera.correction.bias")
    model.graph.initializer.remove(bias)
    model.graph.initializer.append(onnx.helper.make_tensor("other", 1, bias.dims, [1.0] * bias.dims[0]))
    for node in model.graph.node:
        node.input[:] = ["other" if name == bias.name else name for name in node.input]
    path = tmp_path / "other.onnx"
    onnx.save(model, path)
    with raises(ErrorCode.MODEL_FOREIGN, match=r"lacks heads\.camera\.correction\.bias"):
        read_onnx(path, load_open_hand())
