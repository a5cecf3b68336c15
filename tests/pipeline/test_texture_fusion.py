"""The texture net: its inputs, its training data, and its use in the program."""

import dataclasses
import shutil
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import TEXTURE_NAME
from handviz.core.records import CROP_SIZE, Detection, Frame, HandCrop
from handviz.data.synthetic import generator
from handviz.data.synthetic.dataset import read_shard
from handviz.detection.crop import crop_hand, points_in_crop
from handviz.models.reconstructor import OnnxReconstructor
from handviz.models.texture.network import Copying, TextureConfig, TextureNet, TextureOutput, sampled
from handviz.models.texture.rasterise import NOTHING
from handviz.models.texture.training import TextureLoss, at_pixels, texture_terms
from handviz.models.texture.training_samples import load_texture_samples, mesh_points, missed
from handviz.pipeline import pipeline as pipeline_module
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.pipeline.texture_fusion import Texturer, inside_image
from handviz.rendering.hand_shape import VertexNormals
from tests.errors import raises
from tests.hands import FakeLandmarker
from tests.tiny_network import constant_hand, write_all_networks, write_network

SMALL = TextureConfig(width=16, layers=1)


@pytest.fixture(scope="module")
def samples(texture_hands, template):
    return load_texture_samples((texture_hands,), template)


@pytest.fixture(scope="module")
def batch(samples):
    return samples.batch(torch.arange(16))


@pytest.fixture(scope="module")
def network(template):
    torch.manual_seed(2)
    return TextureNet(SMALL, template).eval()


# The network.


def test_vertices_sample_maps_bilinearly(batch):
    maps, at = batch.image[:2], batch.points[:2, :40, :2] * 0.6
    found = sampled(maps, at).numpy()
    for hand in range(2):
        for vertex, (x, y) in enumerate((at[hand].numpy() + 1) * 112 - 0.5):
            column, row = int(np.floor(x)), int(np.floor(y))
            right, down = x - column, y - row
            corners = maps[hand, :, row : row + 2, column : column + 2].numpy()
            wanted = np.array([1 - down, down]) @ corners @ np.array([1 - right, right])
            np.testing.assert_allclose(found[hand, vertex], wanted, atol=1e-4)


def test_facing_is_the_cosine_of_the_mesh_s_normals(network, batch, template):
    normals = VertexNormals(template.faces, 778)
    for hand, facing in zip(batch.points[:4], network._facing(batch.points[:4]), strict=True):
        np.testing.assert_allclose(facing.numpy(), -normals(hand.numpy())[:, 2], atol=1e-3)


def test_copied_colours_are_mixtures_of_those_that_are_worth_hearing():
    torch.manual_seed(0)
    copying = Copying(16, 4)
    torch.nn.init.zeros_(copying.seen.weight)
    coarse, colours = torch.randn(2, 9, 16), torch.rand(2, 9, 3) * 0.2 + 0.4
    _, copied = copying(torch.randn(2, 30, 16), coarse, colours)
    assert (copied.amax(1) <= colours.amax(1, keepdim=True) + 1e-6).all()
    assert (copied.amin(1) >= colours.amin(1, keepdim=True) - 1e-6).all()
    # Vertices of a low score get little weight, whatever their colour.
    with torch.no_grad():
        copying.seen.weight[:] = -1e3 * (coarse[0, 0] - coarse[0].mean(0))
        copying.seen.bias[:] = 0
    normal = copying.before_key(coarse)
    logits = copying.seen(normal).squeeze(2)
    unseen = logits[0] < -20
    assert unseen.any()
    painted = colours.clone()
    painted[0, unseen] = 100.0
    _, copied = copying(torch.randn(2, 30, 16), coarse, painted)
    assert copied[0].amax() < 1.5


def test_colours_are_finite_for_any_image_and_mesh(network, batch):
    image, points = batch.image[:1], batch.points[:1]
    images = (torch.zeros_like(image), torch.ones_like(image), image.mean(1, keepdim=True).expand(-1, 3, -1, -1))
    meshes = (points, points * 0, points + 9)
    output = network(torch.cat(images), torch.cat(meshes), batch.is_open[:3])
    assert all(part.isfinite().all() for part in output)


# The training data.


def test_the_known_colours_are_those_that_the_image_shows(rendered_hands, template):
    shard = read_shard(rendered_hands, 0)
    with np.load(generator.images_file(rendered_hands, 0)) as columns:
        lit, even = columns["vertex_lit"] / 255, columns["vertex_even"] / 255
    points = mesh_points(shard.labels, template)
    image = torch.from_numpy(shard.images / 255.0).permute(0, 3, 1, 2).float()
    shown = sampled(image, torch.from_numpy(points[..., :2])).numpy()
    away = np.abs(shown - lit).mean(2)
    assert np.median(away[shard.visible]) < 0.06
    assert np.median(away[~shard.visible_alone]) > 0.06
    facing_brightness = [
        (lit[i][seen].mean(), even[i][seen].mean()) for i, seen in enumerate(shard.visible) if seen.any()
    ]
    light, evenly = np.array(facing_brightness).T
    np.testing.assert_allclose(np.median(light / evenly), 1.0, atol=0.1)


def test_meshes_miss_by_as_much_as_said_and_the_same_every_time(template):
    points, handles = np.zeros((200, 778, 3)), np.ones((778, 21)) / 21
    first, second = (missed(points, handles, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)
    assert 0.01 < np.sqrt((first[..., :2] ** 2).mean()) < 0.04


def test_pixels_lie_in_their_triangles_on_the_hand(texture_hands, batch, template):
    faces = torch.tensor(template.faces).long()
    drawn, image, is_there = at_pixels(batch.points, batch, faces)
    place = torch.stack([batch.pixel % 224, batch.pixel // 224], 2) + 0.5
    assert is_there.float().mean() > 0.5
    torch.testing.assert_close(drawn[..., :2][is_there], (place / 112 - 1)[is_there], atol=2e-3, rtol=0)
    rows = torch.arange(16)[:, None]
    torch.testing.assert_close(image, batch.image[rows, :, batch.pixel // 224, batch.pixel % 224])
    with np.load(generator.images_file(texture_hands, 0)) as columns:
        mask = np.unpackbits(columns["mask_bits"], axis=1)[:, : 224 * 224].astype(bool)
    assert mask[rows, batch.pixel][batch.triangle >= 0].all(), "nothing in front of the hand, no background"
    assert not mask.all(1).any()
    assert (batch.seen <= batch.is_open).all()
    assert 0.05 < batch.seen.mean() < 0.6


def test_hands_rendered_before_vertices_had_colours_are_refused(texture_hands, template, tmp_path):
    folder = shutil.copytree(texture_hands, tmp_path / "old")
    path = generator.images_file(folder, 0)
    with np.load(path) as found:
        columns = {name: found[name] for name in found.files if not name.startswith("vertex_")}
    np.savez(path, **columns)
    with pytest.raises(HandvizError, match="before vertices had colours"):
        load_texture_samples((folder,), template)


# The loss.


def known_output(batch, shift=0.0):
    """Return the true colours, brighter by ``shift``, and the true visibility."""
    return TextureOutput(batch.lit + shift, batch.even + shift, (batch.seen * 2 - 1) * 9)


def photometric(output, batch, faces):
    return texture_terms(output, batch, faces, TextureLoss())["photometric"].item()


def with_fewer_pixels(batch, count):
    """Return the batch as of hands that cover only so many pixels: the rest of the list names none."""
    few = torch.arange(batch.pixel.shape[1]) < count
    return batch._replace(
        pixel=torch.where(few, batch.pixel, 0), triangle=torch.where(few, batch.triangle, NOTHING)
    )  # fmt: skip


def test_true_colours_cost_least_and_only_seen_pixels_count(batch, template):
    faces = torch.tensor(template.faces).long()
    terms = {
        name: texture_terms(known_output(batch, shift), batch, faces, TextureLoss())
        for name, shift in (("true", 0.0), ("brighter", 0.1), ("darker", -0.1))
    }
    assert terms["true"]["lit_hidden"] == terms["true"]["even"] == 0
    assert terms["true"]["seen"] < 1e-3
    for name in ("brighter", "darker"):
        assert terms[name]["lit_hidden"] == pytest.approx(TextureLoss().lit_hidden * (0.1 + 10 * 0.01), abs=1e-4)
        assert terms["true"]["photometric"] < terms[name]["photometric"]
    # Pixels that the mask leaves out change nothing, whatever is there: those that no list names, and the first
    # pixel, which the rest of a short list names together with no triangle.
    few, output = with_fewer_pixels(batch, 20), known_output(batch, 0.1)
    listed = torch.zeros(len(few.image), CROP_SIZE**2, dtype=torch.bool)
    listed.scatter_(1, few.pixel[:, :20], few.triangle[:, :20] >= 0)
    assert not listed[:, 0].any()
    painted = torch.where(listed.view(-1, 1, CROP_SIZE, CROP_SIZE), few.image, 1 - few.image)
    wanted = photometric(output, few, faces)
    assert photometric(output, few._replace(image=painted), faces) == wanted
    assert photometric(output, few._replace(image=1 - few.image), faces) != pytest.approx(wanted, rel=0.01)


# The file.


def given_crops(count, grey=0.5):
    nothing = Detection("right", 1.0, np.zeros((21, 2)))
    image = np.full((224, 224, 3), round(255 * grey), np.uint8)
    return [HandCrop(image, np.eye(2, 3), nothing)] * count


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    path = write_network(tmp_path_factory.mktemp("hand") / "final.onnx", hand=constant_hand())
    hand = OnnxReconstructor(path).reconstruct(given_crops(1))[0]
    return points_in_crop(hand.vertices_m, hand)


def test_the_file_colours_any_number_of_hands(small_texture, template, mesh):
    texturer = Texturer(small_texture.onnx, template)
    assert texturer.texture([], [], (224, 224)) == []
    alone = texturer.texture(given_crops(1), [mesh], (224, 224))[0]
    three = texturer.texture(given_crops(3), [mesh] * 3, (224, 224))[2]
    np.testing.assert_allclose(alone.rgb, three.rgb, atol=1e-5)
    for values, shape in ((alone.rgb, (778, 3)), (alone.albedo, (778, 3)), (alone.visible, (778,))):
        assert values.shape == shape
        assert 0 <= values.min() <= values.max() <= 1
    assert 100 < (alone.visible > 0).sum() < 700


@pytest.mark.parametrize("grey", [0.0, 1.0])
def test_a_black_or_overexposed_image_leaves_finite_colours(small_texture, template, mesh, grey):
    texture = Texturer(small_texture.onnx, template).texture(given_crops(1, grey), [mesh], (224, 224))[0]
    assert np.isfinite(texture.rgb).all()
    assert np.isfinite(texture.albedo).all()


def test_vertices_outside_of_the_image_are_not_seen(small_texture, template, mesh):
    crop = given_crops(1)[0]
    whole = Texturer(small_texture.onnx, template).texture([crop], [mesh], (224, 224))[0]
    cut = Texturer(small_texture.onnx, template).texture([crop], [mesh], (224, 90))[0]
    points = np.array([[0.0, -0.5, 0], [0.0, 0.5, 0], [0.0, 1.5, 0]])
    assert inside_image(points, crop, (224, 90)).tolist() == [1, 0, 0]
    assert (cut.visible <= whole.visible).all()
    assert (cut.visible == 0).sum() > (whole.visible == 0).sum() + 50


def test_a_left_hand_in_a_mirror_is_the_right_one(small_texture, template, mesh):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (120, 160, 3)).astype(np.uint8)
    keypoints_px = np.column_stack([rng.uniform(90, 150, 21), rng.uniform(20, 90, 21)])
    mirrored_px = np.column_stack([160 - keypoints_px[:, 0], keypoints_px[:, 1]])
    right = crop_hand(image, Detection("right", 1.0, keypoints_px))
    left = crop_hand(np.ascontiguousarray(image[:, ::-1]), Detection("left", 1.0, mirrored_px))
    texturer = Texturer(small_texture.onnx, template)
    one, other = (texturer.texture([crop], [mesh], (160, 120))[0] for crop in (right, left))
    assert 0 < (one.visible > 0).mean() < 1
    np.testing.assert_allclose(one.rgb, other.rgb, atol=0.02)
    assert ((one.visible > 0) != (other.visible > 0)).mean() < 0.01


def test_a_foreign_a_missing_and_a_broken_file_are_said(small_texture, template, tmp_path):
    other = dataclasses.replace(template, name="other")
    with raises(ErrorCode.MODEL_MISMATCH):
        Texturer(small_texture.onnx, other)
    with raises(ErrorCode.MODEL_MISSING):
        Texturer(tmp_path / "none.onnx", template)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(small_texture.onnx.read_bytes()[:5000])
    with raises(ErrorCode.MODEL_DAMAGED):
        Texturer(broken, template)
    with raises(ErrorCode.MODEL_FOREIGN, match=r"points|image"):
        Texturer(write_network(tmp_path / "final.onnx"), template)


def test_the_file_says_what_it_is(small_texture, template):
    session = onnxruntime.InferenceSession(small_texture.onnx, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["handviz.fingerprint"] == template.fingerprint
    assert metadata["handviz.samples_seen"] == "16"
    assert b"site-packages" not in small_texture.onnx.read_bytes(), "nothing of the machine that exported it"


# The pipeline.


@pytest.fixture
def folder(tmp_path, small_texture, monkeypatch):
    monkeypatch.setattr(pipeline_module, "make_detector", FakeLandmarker)
    write_all_networks(tmp_path)
    shutil.copy(small_texture.onnx, tmp_path / TEXTURE_NAME)
    return tmp_path


def frame(number=0, grey=90):
    return Frame(number=number, image=np.full((240, 320, 3), grey, np.uint8), captured_ms=number * 33.0)


def test_hands_get_textures_when_these_are_wanted(folder):
    with Pipeline(PipelineSettings(), PipelineConfig(folder)) as pipeline:
        assert pipeline.process(frame(0)).hands[0].texture is None
        pipeline.apply(replace(pipeline.settings, texture=True))
        result = pipeline.process(frame(1))
        first = result.hands[0].texture
        assert first is not None
        assert result.times.texture_ms > 0
        for number in range(2, 9):
            later = pipeline.process(frame(number)).hands[0].texture
        assert later.seen.mean() > first.seen.mean()
        pipeline.reset(same_hands=True)
        assert pipeline.process(frame(9)).hands[0].texture.seen.mean() >= later.seen.mean() - 0.01
        np.testing.assert_array_equal(later.sampled_px.shape, (778, 2))
        pipeline.forget_texture()
        again = pipeline.process(frame(9)).hands[0].texture
        assert again.seen.mean() < later.seen.mean()
        pipeline.apply(replace(pipeline.settings, texture=False))
        assert pipeline.process(frame(10)).hands[0].texture is None
        assert pipeline.process(frame(11, grey=0)).hands == ()


def test_images_of_a_folder_fraction_no_colours(folder):
    with Pipeline(PipelineSettings(texture=True), PipelineConfig(folder, video=False)) as pipeline:
        for number in range(3):
            texture = pipeline.process(frame(number)).hands[0].texture
            assert np.array_equal(texture.seen, texture.visible)


def test_a_texture_net_that_is_not_there_is_said_and_hands_go_on(folder, small_texture):
    (folder / TEXTURE_NAME).unlink()
    with Pipeline(PipelineSettings(texture=True), PipelineConfig(folder)) as pipeline:
        result = pipeline.process(frame(0))
        assert "handviz_texture.onnx is missing" in result.error
        assert result.hands[0].texture is None
        shutil.copy(small_texture.onnx, folder / TEXTURE_NAME)
        assert pipeline.process(frame(1)).error, "a file is not looked for with every frame"
        pipeline.apply(replace(pipeline.settings, texture=False))
        pipeline.apply(replace(pipeline.settings, texture=True))
        result = pipeline.process(frame(2))
        assert result.error == ""
        assert result.hands[0].texture is not None
