"""Training of the texture net: it learns, resumes, starts from other weights and says what it lacks."""

import dataclasses

import pytest
import torch

from handviz.core.errors import ErrorCode
from handviz.models.texture.network import TextureConfig
from handviz.models.texture.training import TextureLoss, TextureTask, TextureTrainConfig, load_texture_checkpoint
from handviz.training.trainer import Run
from tests.errors import raises
from tests.small_trainings import assert_same

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
