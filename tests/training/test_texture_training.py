"""Training of the texture net: it learns, resumes, starts from other weights, takes meshes and says what it lacks."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from handviz.core.errors import ErrorCode
from handviz.data.synthetic.dataset import read_shard
from handviz.data.synthetic.generator import images_file
from handviz.models.texture.network import TextureConfig
from handviz.models.texture.training import (
    TextureLoss,
    TextureTask,
    TextureTrainConfig,
    at_pixels,
    load_texture_checkpoint,
)
from handviz.models.texture.training_samples import MeshSource, load_texture_samples, prepared_file
from handviz.training.trainer import Run
from tests.errors import raises
from tests.small_trainings import assert_same, with_empty_crops
from tests.tiny_network import constant_hand, write_network

pytestmark = pytest.mark.slow

SMALL = TextureConfig(width=16, layers=1)


@pytest.fixture
def config(tmp_path, texture_hands):
    return TextureTrainConfig(
        (texture_hands,), tmp_path / "run", SMALL, epochs=2, batch_size=4, limit=8, warm_up_steps=1
    )


def texture_run(config, template):
    return Run(TextureTask(config, template))


def losses(trainer, count):
    return [sum(trainer.train_step(ids).values()) for ids, _ in zip(trainer.batches(), range(count), strict=False)]


def test_a_few_steps_lower_the_loss(config, template):
    trainer = texture_run(dataclasses.replace(config, batch_size=8, epochs=6, rate=5e-3), template)
    found = losses(trainer, 6)
    assert found[-1] < 0.95 * found[0]
    assert not any(
        p.requires_grad for name, p in trainer.task.network.named_parameters() if name.startswith("maps.first")
    )


def test_a_resumed_run_is_the_straight_run(config, template, tmp_path):
    straight = texture_run(dataclasses.replace(config, run=tmp_path / "straight"), template)
    losses(straight, 4)
    broken = texture_run(config, template)
    losses(broken, 2)
    broken.save()
    resumed = texture_run(config, template)
    resumed.resume()
    losses(resumed, 2)
    assert resumed.step == 4
    assert_same(straight.task.network.state_dict(), resumed.task.network.state_dict())
    others = {
        "seed 0, not 5": {"seed": 5},
        "batches of 4": {"batch_size": 2},
        "loss even": {"loss": TextureLoss(even=2)},
    }
    for name, change in others.items():
        with raises(ErrorCode.FOLDER_TAKEN, match=name):
            texture_run(dataclasses.replace(config, **change), template).resume()


def test_another_run_s_weights_are_a_start(config, template, small_texture):
    started = texture_run(dataclasses.replace(config, start_from=small_texture.run / "last"), template)
    fresh = texture_run(config, template)
    wanted, _, notes = load_texture_checkpoint(small_texture.run / "last", template)
    assert_same(wanted.state_dict(), started.task.network.state_dict())
    assert not torch.equal(fresh.task.network.think[1].weight, started.task.network.think[1].weight)
    assert started.seen_before == notes["samples_seen"] == 16
    wider = dataclasses.replace(config, model=TextureConfig(width=32, layers=1), start_from=small_texture.run / "last")
    taken = texture_run(wider, template).task.network.state_dict()
    assert torch.equal(taken["maps.whole.project.weight"], wanted.state_dict()["maps.whole.project.weight"])


def test_what_is_watched_is_signal_to_noise_of_pixels_and_vertices(config, template, texture_hands):
    trainer = texture_run(dataclasses.replace(config, validation=texture_hands), template)
    found = trainer.validate()
    assert set(found) == {"psnr_pixels", "psnr_lit_hidden", "psnr_even_seen", "psnr_even_hidden", "seen_right"}
    assert all(5 < value < 60 for name, value in found.items() if name.startswith("psnr"))
    assert 0 <= found["seen_right"] <= 1
    assert trainer.task.network.training


def test_too_few_samples_are_said(config, template):
    with raises(ErrorCode.EMPTY_INPUT):
        texture_run(dataclasses.replace(config, batch_size=9), template)


def test_crops_without_a_hand_train_nothing(texture_hands, template, tmp_path):
    shows = with_empty_crops(texture_hands, tmp_path / "some")
    for limit in (None, 20, 2):
        whole, some = (load_texture_samples((path,), template, limit) for path in (texture_hands, tmp_path / "some"))
        assert len(some) == shows[:limit].sum()
        rows = np.flatnonzero(shows[:limit])
        for name, values in whole.columns.items():
            np.testing.assert_array_equal(some.columns[name], values[rows])
        assert all(np.array_equal(some.images[at][0], whole.images[row][0]) for at, row in enumerate(rows))


def test_a_folder_without_colours_says_how_to_get_them(texture_hands, template, tmp_path):
    shutil.copytree(texture_hands, tmp_path / "plain")
    path = images_file(tmp_path / "plain", 1)
    with np.load(path) as archive:
        columns = {name: archive[name] for name in archive.files if name != "vertex_even"}
    np.savez(path, **columns)
    with raises(ErrorCode.VERSION_MISMATCH, match=r"shard_00001_pictures.npz .*run the same synthesize again"):
        load_texture_samples((tmp_path / "plain",), template)


# Meshes of a trained model.


@pytest.fixture
def hands(rendered_hands, tmp_path):
    """Return a copy of the rendered hands, beside whose images meshes may be prepared."""
    return shutil.copytree(rendered_hands, tmp_path / "hands")


def test_meshes_are_those_of_the_model_that_is_named(hands, template, tmp_path):
    """The model says the same hand for every crop, so that its mesh is known."""
    hand = constant_hand()
    model = write_network(tmp_path / "final.onnx", hand=hand)
    samples = load_texture_samples((hands,), template, 16, model)
    wanted = hand["scale"] * hand["vertices_m"] @ hand["rotation"].T
    wanted[:, :2] += hand["translation"]
    points = samples.columns["points"].astype(np.float64)
    np.testing.assert_allclose(points, np.broadcast_to(wanted, points.shape), atol=2e-3)
    batch = samples.batch(torch.arange(16))
    assert (batch.seen <= batch.is_open).all()
    drawn, _, is_there = at_pixels(batch.points, batch, torch.tensor(template.faces).long())
    place = torch.stack([batch.pixel % 224, batch.pixel // 224], 2) + 0.5
    torch.testing.assert_close(drawn[..., :2][is_there], (place / 112 - 1)[is_there], atol=2e-3, rtol=0)


def test_what_was_prepared_with_other_meshes_is_not_taken(hands, template, tmp_path):
    first, second = (
        write_network(tmp_path / f"{number}.onnx", hand=constant_hand() | {"scale": np.array(scale)})
        for number, scale in enumerate((8.0, 9.0))
    )
    sources = [None, *(MeshSource.load(path, template) for path in (first, second))]
    assert len({prepared_file(hands, 0, template, source) for source in sources}) == 3
    small, large = (load_texture_samples((hands,), template, 4, path) for path in (first, second))
    ratio = np.ptp(large.columns["points"][0, :, 0]) / np.ptp(small.columns["points"][0, :, 0])
    assert ratio == pytest.approx(9 / 8, rel=1e-2)


def test_a_checkpoint_and_its_file_give_the_same_meshes(small_model, rendered_hands, template):
    images = read_shard(rendered_hands, 0).images[:3]
    one, other = (MeshSource.load(path, template).points(images) for path in small_model)
    assert one.shape == (3, 778, 3)
    np.testing.assert_allclose(one, other, atol=2e-3)


def test_a_model_that_does_not_fit_is_refused(template, tmp_path):
    with raises(ErrorCode.MODEL_MISMATCH, match="112"):
        MeshSource.load(write_network(tmp_path / "small.onnx", size_px=112), template)
    with raises(ErrorCode.MODEL_MISSING):
        MeshSource.load(tmp_path / "none.onnx", template)
    with raises(ErrorCode.FILE_MISSING):
        MeshSource.load(tmp_path, template)


def test_a_run_takes_the_meshes_and_goes_on_with_the_same(config, hands, template, tmp_path):
    first, second = (write_network(tmp_path / f"{number}.onnx") for number in range(2))
    config = dataclasses.replace(config, data=(hands,), validation=hands, meshes=first)
    run = texture_run(config, template)
    wanted = load_texture_samples((hands,), template, 1, first).columns["points"]
    for samples in (run.task.samples, run.task.validation):
        np.testing.assert_array_equal(samples.columns["points"], np.broadcast_to(wanted, (len(samples), 778, 3)))
    losses(run, 1)
    run.save()
    for other in (second, None):
        with raises(ErrorCode.FOLDER_TAKEN, match="meshes"):
            texture_run(dataclasses.replace(config, meshes=other), template).resume()
