"""Attention of the files: found by its shape, equal to PyTorch's, an error where there is none."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from handviz.core.errors import ErrorCode
from handviz.core.paths import MODELS, PROJECT_ROOT, model_file
from handviz.core.records import CROP_SIZE, HandCrop
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur import network
from handviz.models.amvur.attention_maps import (
    AttentionMaps,
    AttentionReader,
    AttentionSource,
    attention_of_vertex,
    attention_to_joint,
)
from handviz.models.amvur.training_checkpoint import load_checkpoint
from handviz.models.onnx_contract import float_images
from tests.conftest import SmallModel
from tests.errors import raises
from tests.hands import made_up_detection
from tests.tiny_network import write_network


def noise_crop(seed: int = 0) -> HandCrop:
    image = np.random.default_rng(seed).integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), np.uint8)
    return HandCrop(image, np.eye(2, 3), made_up_detection())


@pytest.fixture(scope="session")
def small_maps(small_model: SmallModel, template: HandTemplate) -> AttentionMaps:
    return AttentionReader(small_model.onnx, template).maps(noise_crop())


@pytest.mark.parametrize("model", ["final", "amvur"])
def test_the_shipped_files_tell_and_rows_sum_to_one(model: str, template: HandTemplate) -> None:
    maps = AttentionReader(model_file(model), template).maps(noise_crop())
    tokens = len(template.coarse_ids)
    assert (maps.to_joints.shape, maps.to_tokens.shape) == ((tokens, 21), (tokens, tokens))
    for rows in (maps.to_joints, maps.to_tokens):
        assert rows.min() >= 0
        np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-5)


def test_attention_is_what_pytorch_computes(
    small_model: SmallModel, small_maps: AttentionMaps, template: HandTemplate, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[torch.Tensor] = []

    def noting(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
        parts = [part.reshape(1, part.shape[1], heads, -1) for part in (query, key, value)]
        scores = torch.einsum("bthd,bshd->bhts", parts[0], parts[1]) / parts[0].shape[3] ** 0.5
        weights = torch.exp(scores) / torch.exp(scores).sum(dim=3, keepdim=True)
        found.append(weights.mean(dim=1)[0])
        return torch.einsum("bhts,bshd->bthd", weights, parts[2]).flatten(2)

    model, _, _ = load_checkpoint(small_model.checkpoint, template)
    # As the export rounds them.
    model = model.half().float().eval()
    monkeypatch.setattr(network, "attention", noting)
    with torch.no_grad():
        model(torch.tensor(float_images([noise_crop()])))
    to_joints, to_tokens = found
    np.testing.assert_allclose(small_maps.to_joints, to_joints.numpy(), atol=1e-5)
    np.testing.assert_allclose(small_maps.to_tokens, to_tokens.numpy(), atol=1e-5)


def test_another_crop_has_other_attention(
    small_model: SmallModel, small_maps: AttentionMaps, template: HandTemplate
) -> None:
    other = AttentionReader(small_model.onnx, template).maps(noise_crop(1))
    assert np.abs(other.to_joints - small_maps.to_joints).max() > 1e-6


def test_a_coarse_vertex_has_its_token_s_attention(template: HandTemplate) -> None:
    tokens = len(template.coarse_ids)
    to_tokens = np.full((tokens, tokens), 1 / tokens)
    to_tokens[7] = 0
    to_tokens[7, 30] = 1
    to_joints = np.full((tokens, 21), 1 / 21)
    to_joints[7] = np.eye(21)[4]
    maps = AttentionMaps(to_joints, to_tokens)
    shown = attention_of_vertex(maps, template, int(template.coarse_ids[7]))
    assert shown.joints is not None
    np.testing.assert_allclose(shown.joints, np.eye(21)[4], atol=1e-6)
    assert shown.vertices.argmax() == template.coarse_ids[30]
    assert shown.vertices.max() == pytest.approx(tokens, rel=1e-3)
    even = attention_of_vertex(maps, template, int(template.coarse_ids[50]))
    np.testing.assert_allclose(even.vertices, 1.0, atol=1e-3)
    towards = attention_to_joint(maps, template, 4)
    assert towards.joints is None
    assert towards.vertices[template.coarse_ids[7]] == pytest.approx(21.0, rel=1e-3)


def test_a_source_keeps_the_last_crop_and_changes_networks() -> None:
    source, crop = AttentionSource(MODELS), noise_crop()
    assert not source.knows(crop, "amvur")
    source.prepare("amvur")
    shown = source.ask(crop, "amvur", vertex=300, joint=None)
    assert source.knows(crop, "amvur")
    assert not source.knows(crop, "final")
    assert shown.joints is not None
    assert shown.joints.sum() == pytest.approx(1.0)
    assert shown.upper >= shown.vertices.max()
    with raises(ErrorCode.NOT_PROVIDED):
        source.ask(crop, "prior", vertex=300, joint=None)


def test_files_without_attention_are_refused_with_a_message(tmp_path: Path, template: HandTemplate) -> None:
    with raises(ErrorCode.NOT_PROVIDED):
        AttentionReader(model_file("prior"), template)
    with raises(ErrorCode.MODEL_FOREIGN):
        AttentionReader(write_network(tmp_path / "handviz_final.onnx"), template)
    with raises(ErrorCode.MODEL_MISSING):
        AttentionReader(tmp_path / "nothing.onnx", template)
    with raises(ErrorCode.MODEL_MISMATCH):
        AttentionReader(write_network(tmp_path / "other.onnx", fingerprint="x"), template)
    (tmp_path / "cut.onnx").write_bytes(model_file("amvur").read_bytes()[:5000])
    with raises(ErrorCode.MODEL_DAMAGED):
        AttentionReader(tmp_path / "cut.onnx", template)


def test_a_live_session_loads_nothing_of_it() -> None:
    loaded = "'onnx' in sys.modules or 'google.protobuf' in sys.modules"
    code = f"import sys, handviz.gui.app, handviz.pipeline.pipeline; sys.exit({loaded})"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=True, timeout=120)
