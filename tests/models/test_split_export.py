"""Networks on the shipped trunk are exported as heads, others whole; both can be trained on; whole files are split."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from handviz.core.errors import ErrorCode
from handviz.core.network_files import listed_checksums
from handviz.core.paths import MODELS, TRUNK_NAME, model_file
from handviz.core.records import CROP_SIZE, HandCrop
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.export import (
    CalibrationMetadata,
    ExportMetadata,
    ExportModel,
    export_onnx,
    export_trunk,
    stated_trunk,
    trunk_fingerprint,
)
from handviz.models.amvur.from_onnx import Exported, read_onnx
from handviz.models.amvur.model import ModelConfig, build_model
from handviz.models.onnx_file import as_bytes
from handviz.models.reconstructor import OnnxReconstructor
from handviz.models.registry import model_spec
from handviz.models.trunk import Trunk
from tests.errors import raises
from tests.hands import made_up_detection
from tools import build_split

pytestmark = pytest.mark.slow
SMALL = ModelConfig("prior", feature_width=32, feature_layers=1, width=64, regressor_width=32)


def images(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, CROP_SIZE, CROP_SIZE, generator=torch.Generator().manual_seed(count))


@pytest.fixture
def prior(template: HandTemplate) -> Exported:
    """Return the shipped prior-net, with a camera of its own."""
    read = read_onnx(model_file("prior"), template)
    with torch.no_grad():
        read.model.heads.camera.correction.bias += 0.25
    return read


def exported(read: Exported, path: Path, template: HandTemplate, trunk: Path = MODELS / TRUNK_NAME) -> set[str]:
    """Export a network, and return the names of the file's inputs."""
    export_onnx(read.model, read.config, template, path, read.metadata, check_images=images(), trunk=trunk)
    return {item.name for item in onnx.load(path).graph.input}


def assert_answers_of(path: Path, read: Exported, template: HandTemplate) -> None:
    """Compare the program's hands with PyTorch's."""
    pixels = as_bytes(images())
    crops = [HandCrop(image.permute(1, 2, 0).numpy(), np.eye(2, 3), made_up_detection("right")) for image in pixels]
    with torch.no_grad():
        wanted = ExportModel(read.model, template, read.metadata.std).eval()(pixels)
    for index, hand in enumerate(OnnxReconstructor(path, device="cpu").reconstruct(crops)):
        for name in ("vertices_m", "keypoints_m", "vertex_std_m", "landmarks_m"):
            np.testing.assert_allclose(getattr(hand, name), getattr(wanted, name)[index].numpy(), atol=1e-5)


def test_new_heads_on_the_shipped_trunk_are_heads(prior: Exported, tmp_path: Path, template: HandTemplate) -> None:
    path = tmp_path / "handviz_prior.onnx"
    assert exported(prior, path, template) == {"feature", "joints"}
    assert path.stat().st_size < 7e6
    assert_answers_of(path, prior, template)
    again = read_onnx(path, template)
    assert (again.config, again.metadata) == (prior.config, prior.metadata)
    for name, weight in prior.model.state_dict().items():
        if "log_variance" not in name:
            torch.testing.assert_close(again.model.state_dict()[name], weight, rtol=0, atol=1e-6, msg=name)


def test_a_single_bit_makes_another_trunk(prior: Exported) -> None:
    before = trunk_fingerprint(prior.model)
    assert before == stated_trunk(MODELS / TRUNK_NAME), "the camera belongs to the heads"
    for part in (prior.model.features, prior.model.backbone.stem_blocks, prior.model.landmark_head):
        weight = next(part.parameters())
        kept = weight.detach().clone()
        with torch.no_grad():
            weight.view(-1)[0] = torch.nextafter(weight.view(-1)[0], torch.tensor(torch.inf))
        assert trunk_fingerprint(prior.model) != before
        with torch.no_grad():
            weight.copy_(kept)
    assert trunk_fingerprint(prior.model) == before


@pytest.fixture
def small_whole(tmp_path: Path, template: HandTemplate) -> Path:
    """Write a whole file of a narrow prior-net, whose trunk is its own; return its folder."""
    torch.manual_seed(1)
    model = build_model(SMALL, template)
    with torch.no_grad():  # Equal constants, as untrained layers have them, would be stored once.
        for parameter in (*model.features.parameters(), *model.heads.parameters()):
            parameter += 0.01 * torch.randn_like(parameter)
    notes = ExportMetadata("abc", 7, CalibrationMetadata(0.9, 1.5, 2.0))
    assert exported(Exported(model, SMALL, notes), model_file("prior", tmp_path), template) == {"image"}
    return tmp_path


def test_whole_files_are_split(small_whole: Path) -> None:
    path = model_file("prior", small_whole)
    pixels = as_bytes(images(1))[0].permute(1, 2, 0).numpy()
    crop = HandCrop(pixels, np.eye(2, 3), made_up_detection("right"))
    whole = OnnxReconstructor(path, device="cpu").reconstruct([crop])[0]
    size = path.stat().st_size
    assert build_split.build(small_whole, [model_spec("prior")]) == small_whole / TRUNK_NAME
    split = OnnxReconstructor(path, device="cpu")
    assert split.trunk is not None
    assert split.trunk.fingerprint == stated_trunk(small_whole / TRUNK_NAME) != stated_trunk(MODELS / TRUNK_NAME)
    hand = split.reconstruct([crop])[0]
    np.testing.assert_allclose(hand.vertices_m, whole.vertices_m, atol=1e-5)
    np.testing.assert_allclose(hand.landmarks_m, whole.landmarks_m, atol=1e-5)
    assert path.stat().st_size < size / 3
    assert dict(listed_checksums(small_whole / "SHA256SUMS")).keys() == {path.name, TRUNK_NAME}


def test_files_with_different_trunks_are_not_split(small_whole: Path) -> None:
    shutil.copy(model_file("amvur"), small_whole)
    before = {path.name: path.read_bytes() for path in small_whole.iterdir()}
    with raises(ErrorCode.MODEL_MISMATCH, match="do not share a trunk"):
        build_split.build(small_whole, [model_spec("prior"), model_spec("amvur")])
    assert {path.name: path.read_bytes() for path in small_whole.iterdir()} == before


def test_heads_beside_a_trunk_with_other_weights_are_not_trained_on(
    prior: Exported, tmp_path: Path, template: HandTemplate
) -> None:
    path = tmp_path / "handviz_prior.onnx"
    shutil.copy(model_file("prior"), path)
    with torch.no_grad():
        prior.model.features.summary.bias[3] += 1e-3
    assert export_trunk(prior.model, tmp_path / TRUNK_NAME, check_images=images()) < 1e-4
    assert Trunk(tmp_path / TRUNK_NAME, "cpu").fingerprint == trunk_fingerprint(prior.model)
    with raises(ErrorCode.MODEL_MISMATCH, match="is another"):
        read_onnx(path, template)


def test_no_readable_trunk_states_nothing(tmp_path: Path) -> None:
    assert stated_trunk(tmp_path / TRUNK_NAME) == ""
    (tmp_path / TRUNK_NAME).write_bytes(b"no network")
    assert stated_trunk(tmp_path / TRUNK_NAME) == ""
