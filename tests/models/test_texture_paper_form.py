"""The texture net's paper form: shapes of the supplement's Table 1, equations 10 and 11 by NumPy, training, file."""

import dataclasses

import numpy as np
import onnxruntime
import pytest
import torch

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.hand_models.layer import HandLayer
from handviz.models.amvur.model import ModelConfig, build_model
from handviz.models.texture.network import TextureConfig, TextureNet
from handviz.models.texture.paper_form import PaperTextureNet, build_texture_net
from handviz.models.texture.rasterise import interpolated, rasterise
from handviz.models.texture.training import (
    ARCHITECTURE,
    PAPER_LOSS,
    TextureTask,
    TextureTrainConfig,
    load_texture_checkpoint,
)
from handviz.pipeline.texture_fusion import Texturer
from handviz.training.checkpoint import save_checkpoint
from handviz.training.trainer import Run
from tests.errors import raises
from tests.small_trainings import assert_same

SMALL = TextureConfig(16, heads=1, layers=1, form="paper", backbone="mediapipe_hand")
CENTRE = 0.5
"""Of a pixel: pixel 0 of a map reaches from 0 to 1."""


@pytest.fixture(scope="module")
def network(template):
    torch.manual_seed(0)
    return build_texture_net(TextureConfig.paper(), template).eval()


@pytest.fixture(scope="module")
def inputs(template):
    """Two noise images, two meshes of which one reaches out of its crop, and which vertices are not occluded."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        rest = HandLayer(template)(torch.zeros(2, 45), torch.zeros(2, 10)).vertices_m
    points = (rest - rest.mean(1, keepdim=True)) * torch.tensor([9.0, 15.0])[:, None, None]
    assert (points[1, :, :2].abs() > 1).any()
    return torch.rand(2, 3, 224, 224, generator=generator), points, (points[..., 2] < 0).float()


@pytest.fixture(scope="module")
def features(network, inputs):
    with torch.no_grad():
        return network.backbone(inputs[0])


def test_shapes_are_those_of_the_supplement_s_table(network, inputs, features, template):
    assert features.shallow_map.shape == (2, 64, 112, 112)
    assert features.global_feature.shape == (2, 2048)
    of_vertices = network.vertex_features(features, inputs[1])
    assert of_vertices.shape == (2, 778, 2112)
    tokens = network.tokens(of_vertices)
    assert tokens.shape == network.attended(tokens).shape == (2, 778, 2115)
    with torch.no_grad():
        output = network(*inputs)
    assert output.rgb.shape == (2, 778, 3)
    faces = torch.tensor(template.faces).long()
    assert interpolated(output.rgb, faces, rasterise(inputs[1], faces)).shape == (2, 224, 224, 3)


def bilinear(grid, x, y):
    """Return a map (C, 112, 112) at a point in crop half-sides; beyond the outermost pixels their value."""
    side = grid.shape[1]
    column, row = (min(max((at + 1) / 2 * side - CENTRE, 0.0), side - 1.0) for at in (x, y))
    left, top = int(column), int(row)
    right, bottom = min(left + 1, side - 1), min(top + 1, side - 1)
    across, down = column - left, row - top
    upper = (1 - across) * grid[:, top, left] + across * grid[:, top, right]
    lower = (1 - across) * grid[:, bottom, left] + across * grid[:, bottom, right]
    return (1 - down) * upper + down * lower


def test_a_vertex_has_the_map_at_its_projection_and_the_global_feature(network, inputs, features):
    points = inputs[1]
    found = network.vertex_features(features, points).numpy()
    maps, whole = features.shallow_map.numpy().astype(np.float64), features.global_feature.numpy()
    for hand in range(2):
        wanted = np.array([bilinear(maps[hand], x, y) for x, y, _ in points[hand].tolist()])
        np.testing.assert_allclose(found[hand, :, :64], wanted, atol=1e-4)
        np.testing.assert_array_equal(found[hand, :, 64:], np.broadcast_to(whole[hand], (778, 2048)))


def test_a_token_ends_with_its_vertex_s_rest_position(network, inputs, features, template):
    of_vertices = network.vertex_features(features, inputs[1])
    tokens = network.tokens(of_vertices)
    assert torch.equal(tokens[..., :2112], of_vertices)
    np.testing.assert_allclose(tokens[1, :, 2112:], 10 * template.vertices_m, rtol=1e-6)


def test_vertices_attend_to_all_others_beside_their_own_token(network):
    """Equation 10: softmax(Q K^T / sqrt(d)) V, plus the token."""
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randn(1, 30, 2115, generator=generator)
    with torch.no_grad():
        found = network.attended(tokens)[0].numpy()
    weights = {name: value.numpy().astype(np.float64) for name, value in network.state_dict().items() if "." in name}
    own = tokens[0].numpy().astype(np.float64)
    query, key = np.split(own @ weights["query_key.weight"].T, 2, axis=1)
    scores = np.exp(query @ key.T / np.sqrt(512))
    wanted = own + scores / scores.sum(axis=1, keepdims=True) @ (own @ weights["value.weight"].T)
    np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_it_has_one_colour_and_the_mesh_s_visibility(network, inputs):
    with torch.no_grad():
        output = network(*inputs)
    assert torch.equal(output.rgb, output.even)
    torch.testing.assert_close(torch.sigmoid(output.seen_logit), inputs[2])


def test_every_part_gets_a_gradient_from_the_colours(template, inputs):
    torch.manual_seed(0)
    network = build_texture_net(SMALL, template)
    network(*inputs).rgb.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


# The configuration.


def test_a_checkpoint_that_names_no_form_is_of_ours(template):
    saved = ARCHITECTURE.config_from_saved({"width": 16, "heads": 4, "layers": 1})
    assert saved == TextureConfig(width=16, layers=1)
    assert isinstance(ARCHITECTURE.build(saved, template), TextureNet)
    again = ARCHITECTURE.config_from_saved(dataclasses.asdict(SMALL))
    assert again == SMALL
    assert isinstance(ARCHITECTURE.build(again, template), PaperTextureNet)


def test_what_does_not_go_together_is_refused(tmp_path):
    with raises(ErrorCode.UNKNOWN_NAME, match="form"):
        TextureConfig(form="theirs")
    with raises(ErrorCode.UNKNOWN_NAME, match="backbone"):
        TextureConfig.paper("vgg")
    with raises(ErrorCode.OPTION_CONFLICT, match="--backbone"):
        TextureConfig(backbone="resnet50")
    with raises(ErrorCode.OPTION_CONFLICT, match="layer"):
        TextureConfig(form="paper", backbone="resnet50")
    for name in ("backbone_from", "backbone_weights"):
        with raises(ErrorCode.OPTION_CONFLICT, match=name):
            TextureTrainConfig((tmp_path,), tmp_path, **{name: tmp_path})


# Training and file.


def config_of(texture_hands, run, **more):
    return TextureTrainConfig((texture_hands,), run, SMALL, PAPER_LOSS, batch_size=4, limit=4, warm_up_steps=1, **more)


@pytest.mark.slow
def test_it_learns_from_the_image_alone(texture_hands, template, tmp_path):
    trainer = Run(TextureTask(config_of(texture_hands, tmp_path / "run", epochs=6, rate=3e-4), template))
    terms = [trainer.train_step(ids) for ids in trainer.batches()]
    assert all(set(term) == {"photometric"} for term in terms)
    assert terms[-1]["photometric"] < 0.9 * terms[0]["photometric"]


@pytest.mark.slow
def test_its_backbone_starts_as_a_trained_model_s(texture_hands, template, tmp_path):
    model_config = ModelConfig(width=16, regressor_width=16, features="global")
    model = build_model(model_config, template)
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter += 0.01
    source = save_checkpoint(tmp_path / "last", model, model_config, {}, template, {}, family="amvur")
    config = config_of(texture_hands, tmp_path / "run", backbone_from=source)
    assert_same(model.backbone.state_dict(), TextureTask(config, template).network.backbone.state_dict())
    other = dataclasses.replace(config, model=TextureConfig.paper("resnet50"))
    with raises(ErrorCode.MODEL_MISMATCH, match="resnet50"):
        TextureTask(other, template)


@pytest.mark.slow
def test_the_command_trains_it_and_writes_a_file_that_the_program_reads(texture_hands, template, tmp_path):
    run = str(tmp_path / "run")
    words = ["--form", "paper", "--backbone", "mediapipe_hand", "--limit", "2", "--batch-size", "2", "--epochs", "1"]
    assert main(["texture", "train", "--data", str(texture_hands), "--run", run, *words]) == 0
    network, config, notes = load_texture_checkpoint(tmp_path / "run" / "last", template)
    assert config == TextureConfig.paper("mediapipe_hand")
    assert notes["train"]["loss"] == dataclasses.asdict(PAPER_LOSS)
    assert main(["texture", "export", f"{run}/last", "--model-dir", str(tmp_path)]) == 0
    path = tmp_path / "handviz_texture.onnx"
    points = HandLayer(template)(torch.zeros(1, 45), torch.zeros(1, 10)).vertices_m * 8
    image = torch.rand(1, 3, 224, 224)
    rgb, albedo, visible = Texturer(path, template).colours(image.numpy(), points.detach().numpy())
    with torch.no_grad():
        wanted = network.eval()(image, points, torch.ones(1, 778)).rgb.clamp(0, 1)
    np.testing.assert_allclose(rgb, wanted, atol=5e-3)
    np.testing.assert_array_equal(rgb, albedo)
    assert set(np.unique(visible.round(3))) == {0.0, 1.0}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["handviz.form"] == "paper"
