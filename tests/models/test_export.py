"""A checkpoint as an ONNX file: the same numbers, any batch size, and its metadata."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from handviz import __version__
from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.core.gaussian import keypoints_from_vertices
from handviz.core.records import Detection, HandCrop
from handviz.models.amvur import export
from handviz.models.amvur.export import (
    MAX_DIFFERENCE_CM,
    OUTPUT_NAMES,
    CalibrationMetadata,
    ExportMetadata,
    ExportModel,
    ExportOutput,
    export_onnx,
    largest_difference_cm,
)
from handviz.models.amvur.model import VARIANTS, ModelConfig, build_model
from handviz.models.amvur.training_checkpoint import load_checkpoint
from handviz.models.backbones.mediapipe_hand import load_mediapipe_landmark_net
from handviz.models.onnx_file import as_bytes, rounded_to_half, store_as_half, write_onnx
from handviz.models.reconstructor import OnnxReconstructor
from handviz.training.checkpoint import read_metadata
from tests.errors import raises

pytestmark = pytest.mark.slow

CORRELATION = 0.75
UNCERTAINTY = CalibrationMetadata(vertex_correlation=CORRELATION)
SMALL = ModelConfig(width=16, regressor_width=16, feature_width=16, feature_layers=1)
NOTES = ExportMetadata(commit="abc", samples_seen=9, std=UNCERTAINTY)


@pytest.fixture(scope="module")
def exported(small_model, template):
    """Return the module that was exported, in PyTorch."""
    model = rounded_to_half(load_checkpoint(small_model.checkpoint, template)[0])
    return ExportModel(model, template, UNCERTAINTY).eval()


def images(count):
    return torch.rand(count, 3, 224, 224, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_any_batch_gives_the_numbers_of_pytorch(small_model, exported, batch):
    session = onnxruntime.InferenceSession(small_model.onnx, providers=["CPUExecutionProvider"])
    found = dict(zip(ExportOutput._fields, session.run(None, {"image": as_bytes(images(batch)).numpy()}), strict=True))
    with torch.no_grad():
        wanted = exported(as_bytes(images(batch)))._asdict()
    for name, values in found.items():
        assert values.shape == wanted[name].shape
        # Metres and half-sides: a millionth is the ten thousandth part of a centimetre.
        np.testing.assert_allclose(values, wanted[name].numpy(), atol=1e-6 if name.endswith("_m") else 1e-4)
    assert largest_difference_cm(exported, small_model.onnx, images(batch)) < MAX_DIFFERENCE_CM
    if batch > 1:
        assert np.abs(found["vertices_m"][0] - found["vertices_m"][1]).max() > 1e-4


def test_the_outputs_are_named_and_free_in_the_batch(small_model):
    graph = onnx.load(small_model.onnx).graph
    assert [item.name for item in graph.input] == ["image"]
    assert [item.name for item in graph.output] == list(OUTPUT_NAMES)
    assert "witness_m" in OUTPUT_NAMES, "the contract of files keeps its names"
    for item in (*graph.input, *graph.output):
        assert item.type.tensor_type.shape.dim[0].dim_param
        assert all(size.dim_value for size in item.type.tensor_type.shape.dim[1:])


def test_the_file_says_what_it_is(small_model, template):
    metadata = {item.key: item.value for item in onnx.load(small_model.onnx).metadata_props}
    assert json.loads(metadata.pop("handviz.config")) == json.loads(read_metadata(small_model.checkpoint)["model"])
    assert metadata == {
        "handviz.model": "final",
        "handviz.family": "amvur",
        "handviz.provides": "attention,landmarks,uncertainty",
        "handviz.input": "uint8 3x224x224",
        "handviz.variant": "final",
        "handviz.hand_model": "open_hand",
        "handviz.fingerprint": template.fingerprint,
        "handviz.version": __version__,
        "handviz.backbone": "mediapipe_hand",
        "handviz.tokens": "coarse x 32",
        "handviz.commit": read_metadata(small_model.checkpoint)["commit"],
        "handviz.samples_seen": "1234",
        "handviz.evidence": "joints",
        "handviz.supervision": "full",
        "handviz.vertex_correlation": "0.75",
        "handviz.vertex_variance_scale": "1",
        "handviz.keypoint_variance_scale": "1",
    }


def test_the_command_renews_the_checksums(small_model):
    lines = (small_model.onnx.parent / "SHA256SUMS").read_text().splitlines()
    assert lines == [f"{hashlib.sha256(small_model.onnx.read_bytes()).hexdigest()}  handviz_final.onnx"]


def test_the_live_program_loads_it(small_model, exported, template):
    reconstructor = OnnxReconstructor(small_model.onnx, template=template)
    assert reconstructor.model == "final"
    two_images, nothing = images(2), Detection("right", 1.0, np.zeros((21, 2)))
    pixels = as_bytes(two_images)
    crops = [HandCrop(image.permute(1, 2, 0).numpy(), np.eye(2, 3), nothing) for image in pixels]
    with torch.no_grad():
        wanted = exported(pixels)
    for row, hand in enumerate(reconstructor.reconstruct(crops)):
        for name in ExportOutput._fields:
            # The palm of noise is small, which the camera computes a rotation from.
            tolerance = 1e-3 if name == "rotation" else 1e-4
            np.testing.assert_allclose(getattr(hand, name), getattr(wanted, name)[row].numpy(), atol=tolerance)


def test_a_prior_alone_can_be_exported_too(tmp_path, template):
    """Its standard deviation is one number for every coordinate."""
    config = replace(SMALL, variant="prior", features="global")
    model = build_model(config, template)
    with torch.no_grad():
        model.heads.prior_log_variance.fill_(-2.0)
    path = tmp_path / "new" / "handviz_prior.onnx"
    assert export_onnx(model, config, template, path, NOTES, check_images=images(1)) < MAX_DIFFERENCE_CM
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    std_m = session.run(["vertex_std_m"], {"image": as_bytes(images(3)).numpy()})[0]
    np.testing.assert_allclose(std_m, np.full((3, 778, 3), 0.01 * np.exp(-1)), rtol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_units_are_metres_and_keypoints_those_of_the_loss(template, variant):
    torch.manual_seed(1)
    model = build_model(replace(SMALL, variant=variant), template).eval()
    found, plain = ExportModel(model, template, UNCERTAINTY).eval()(images(2)), model(images(2))
    regressor = torch.from_numpy(template.keypoint_regressor.copy())
    keypoints = keypoints_from_vertices(plain.mean_cm, plain.log_variance, regressor, CORRELATION)
    torch.testing.assert_close(found.vertices_m, plain.mean_cm / 100)
    torch.testing.assert_close(found.vertex_std_m, plain.log_variance.exp().sqrt() / 100)
    torch.testing.assert_close(found.keypoints_m, keypoints.mean / 100)
    torch.testing.assert_close(found.keypoint_std_m, keypoints.log_variance.exp().sqrt() / 100)
    torch.testing.assert_close(found.scale, plain.camera.scale * 100)
    # Weak perspective is the same in metres and in centimetres.
    torch.testing.assert_close(found.scale[:, None] * found.keypoints_m[:, 3], plain.camera.scale[:, None] * (
        regressor @ plain.mean_cm)[:, 3])  # fmt: skip


@torch.no_grad()
def test_a_variance_scale_widens_its_uncertainties_by_the_root_and_moves_no_mean(template):
    torch.manual_seed(1)
    model = build_model(SMALL, template).eval()
    scaled = replace(UNCERTAINTY, vertex_variance_scale=4.0, keypoint_variance_scale=0.25)
    plain, found = (ExportModel(model, template, notes).eval()(images(2)) for notes in (UNCERTAINTY, scaled))
    factors = {"vertex_std_m": 2.0, "keypoint_std_m": 0.5}
    for name in ExportOutput._fields:
        torch.testing.assert_close(getattr(found, name), getattr(plain, name) * factors.get(name, 1.0))


class Constants(nn.Module):
    """An image's mean times large and small weights."""

    def __init__(self, weights):
        super().__init__()
        self.large, self.small = nn.Parameter(weights), nn.Parameter(torch.full((8,), 0.1))

    def forward(self, image):
        return image.mean((1, 2, 3))[:, None] * self.large + self.small.sum()


@pytest.mark.parametrize("kind", ["exact", "finer than half", "beyond half"])
def test_constants_that_float16_holds_are_stored_so_and_no_number_changes(tmp_path, kind):
    weights = torch.randn(50_000, generator=torch.Generator().manual_seed(0)).half().float()
    if kind != "exact":
        weights[7] = 0.1 if kind == "finer than half" else 1e6
    path = tmp_path / "network.onnx"
    write_onnx(Constants(weights), path, ["output"])

    def answer():
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(None, {"image": images(2).numpy()})[0]

    before, size = answer(), path.stat().st_size
    store_as_half(path)
    np.testing.assert_array_equal(answer(), before)
    assert path.stat().st_size < 0.6 * size if kind == "exact" else path.stat().st_size >= size
    stored = {constant.data_type for constant in onnx.load(path).graph.initializer if constant.dims == [50_000]}
    assert stored == {onnx.TensorProto.FLOAT16 if kind == "exact" else onnx.TensorProto.FLOAT}


def test_an_exported_network_takes_half_the_bytes_of_its_checkpoint(small_model):
    weights = small_model.checkpoint / "model.safetensors"
    assert small_model.onnx.stat().st_size < 0.75 * weights.stat().st_size


def test_a_file_that_differs_from_pytorch_is_not_put_in_place(small_model, exported, template, tmp_path, monkeypatch):
    other = build_model(ModelConfig(width=32, regressor_width=32), template)
    monkeypatch.setattr(export, "write_onnx", lambda _, path, *__, **___: shutil.copy(small_model.onnx, path))
    path = tmp_path / "handviz_final.onnx"
    path.write_bytes(b"the last good one")
    with raises(
        ErrorCode.OUTPUT_DIFFERS, match=r"differs from PyTorch by .* cm; it is saved as .*handviz_final.onnx.refused"
    ):
        export_onnx(other, ModelConfig(), template, path, NOTES, check_images=images(1))
    assert path.read_bytes() == b"the last good one"
    assert sorted(item.name for item in tmp_path.iterdir()) == [path.name, f"{path.name}.refused"]


def test_a_checkpoint_that_hides_what_it_saw_is_said(small_model, tmp_path, capsys):
    folder = shutil.copytree(small_model.checkpoint, tmp_path / "last")
    metadata = read_metadata(folder)
    notes = json.loads(metadata["notes"])
    del notes["samples_seen"]
    path = folder / "model.safetensors"
    save_file(load_file(path), path, metadata | {"notes": json.dumps(notes)})
    assert main(["export", str(folder), "--model-dir", str(tmp_path)]) == 1
    assert "does not say how many crops it saw" in capsys.readouterr().err


def test_another_hand_model_s_file_is_refused(small_model, template):
    other = replace(template, uv=template.uv + 1)
    with raises(ErrorCode.MODEL_MISMATCH, match=f"expected {other.fingerprint[:12]}"):
        OnnxReconstructor(small_model.onnx, template=other)


def test_a_folder_that_is_no_checkpoint_is_said(tmp_path, capsys):
    assert main(["export", str(tmp_path), "--model-dir", str(tmp_path / "models")]) == 1
    assert "missing or not a checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


@torch.no_grad()
def test_the_landmark_head_keeps_mediapipe_s_weights(template):
    torch.manual_seed(2)
    found = ExportModel(build_model(SMALL, template).eval(), template, UNCERTAINTY).eval()(images(2))
    said = load_mediapipe_landmark_net().eval()(images(2))
    torch.testing.assert_close(found.landmarks_m, said.world_m, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.presence, said.presence)
    torch.testing.assert_close(found.right_hand, said.handedness)


@torch.no_grad()
def test_a_network_without_landmarks_has_presence_0(template):
    torch.manual_seed(2)
    plain = build_model(replace(SMALL, features="global"), template).eval()
    found = ExportModel(plain, template, UNCERTAINTY).eval()(images(2))
    assert found.presence.tolist() == [0, 0]
    assert found.right_hand.tolist() == [1, 1]
