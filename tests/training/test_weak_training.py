"""Weak training: it learns from 2D joints, never uses 3D truth, and a camera net gives the camera's prior."""

from dataclasses import fields, replace

import pytest
import torch

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.models.amvur.model import VARIANTS
from handviz.models.amvur.training import train, validation_errors
from handviz.models.amvur.training_camera_prior import (
    LANDMARKS,
    camera_of_landmarks,
    load_camera_prior,
    rest_palm_cm,
)
from handviz.models.amvur.training_checkpoint import load_checkpoint
from handviz.models.amvur.training_config import TrainConfig
from handviz.models.truth import Truth
from handviz.training.augmentation import LandmarkNoise
from handviz.training.samples import load_images, take
from tests.errors import raises
from tests.small_trainings import SMALL, amvur_run, assert_same, run_steps

pytestmark = pytest.mark.slow

QUIET = LandmarkNoise(fraction=0.0)
CPU = torch.device("cpu")


@pytest.fixture
def weak(config):
    return replace(config, supervision="weak", landmark_noise=QUIET)


@pytest.fixture(scope="module")
def camera_checkpoint(tmp_path_factory, cached_hands, template):
    """Train ``--model prior`` on rendered hands for one step."""
    run = tmp_path_factory.mktemp("camera") / "run"
    model = replace(SMALL, variant="prior", features="global")
    return train(TrainConfig((cached_hands,), run, model, epochs=1, batch_size=4, limit=4), template)


def poisoned(trainer):
    """Replace all truth but 2D joints by nan."""
    truth = trainer.task.samples.truth
    for item in fields(truth):
        if item.name != "keypoints_crop":
            getattr(truth, item.name).fill_(torch.nan)
    return trainer


def test_hands_without_3d_truth_count_in_no_3d_error(weak, template):
    of_all = ["std_mm", "presence_percent"]
    trainer = amvur_run(weak, template)
    before = validation_errors(trainer.task.network, trainer.task.samples, trainer.task.regressor)
    known = replace(trainer.task.samples, truth=take(trainer.task.samples.truth, torch.arange(8)))
    known.truth.vertices_cm[::2], known.truth.scale_per_cm[::2] = torch.nan, torch.nan
    found = validation_errors(trainer.task.network, known, trainer.task.regressor)
    samples, odd = trainer.task.samples, torch.arange(1, 8, 2)
    trainer.task.samples = replace(
        samples, middle_maps=samples.middle_maps[odd], landmarks=samples.landmarks[odd], truth=take(samples.truth, odd)
    )
    expected = validation_errors(trainer.task.network, trainer.task.samples, trainer.task.regressor)
    for name, value in expected.items():
        assert found[name] == pytest.approx((before if name in of_all else expected)[name], rel=1e-4), value
    nothing = validation_errors(poisoned(trainer).task.network, trainer.task.samples, trainer.task.regressor)
    assert [name for name, value in nothing.items() if value == value] == of_all


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_loss_falls_and_truth_that_is_nan_changes_no_bit(weak, template, camera_checkpoint, variant):
    one_batch = replace(
        weak, model=replace(SMALL, variant=variant), limit=4, epochs=3, head_rate=3e-3, camera_prior=camera_checkpoint
    )
    known, unknown = amvur_run(one_batch, template), poisoned(amvur_run(one_batch, template))
    losses = run_steps(known)
    assert losses[-1] < losses[0]
    assert run_steps(unknown) == losses
    assert_same(known.task.network.state_dict(), unknown.task.network.state_dict())


def test_a_resumed_weak_run_is_the_straight_one(weak, template, camera_checkpoint):
    weak = replace(weak, camera_prior=camera_checkpoint, epochs=1)
    straight = amvur_run(weak, template)
    run_steps(straight)
    first = amvur_run(weak, template)
    run_steps(first, 1)
    first.save()
    resumed = amvur_run(weak, template)
    resumed.resume()
    assert resumed.step == 1
    run_steps(resumed)
    assert_same(straight.task.network.state_dict(), resumed.task.network.state_dict())


def test_a_weak_run_does_not_go_on_as_a_full_one(weak, template):
    first = amvur_run(weak, template)
    run_steps(first, 1)
    first.save()
    with raises(ErrorCode.FOLDER_TAKEN, match="--supervision weak"):
        amvur_run(replace(weak, supervision="full"), template).resume()


def test_cached_or_from_images_the_camera_prior_is_its_nets_answer(cached_hands, template, camera_checkpoint, weak):
    trainer = amvur_run(weak, template)
    ids = torch.tensor([5, 2, 7])
    images = load_images((cached_hands,), template, 8)
    given, _ = images.batch(ids)
    model, _, _ = load_checkpoint(camera_checkpoint, template)
    with torch.no_grad():
        expected = model.eval()(given).camera
    with_prior = replace(weak, camera_prior=camera_checkpoint)
    live = load_camera_prior(with_prior, images, template, CPU).of(ids, given)
    torch.testing.assert_close(live.mean, expected.mean)
    torch.testing.assert_close(live.log_variance, expected.log_variance)
    cached = load_camera_prior(with_prior, trainer.task.samples, template, CPU).of(ids, given)
    # Cached maps are float16.
    torch.testing.assert_close(cached.mean, expected.mean, atol=2e-3, rtol=0)
    fixed = replace(with_prior, loss=replace(with_prior.loss, weak=replace(with_prior.loss.weak, camera_std=1.0)))
    of_one = load_camera_prior(fixed, trainer.task.samples, template, CPU).of(ids, given)
    torch.testing.assert_close(of_one.mean, cached.mean)
    assert not of_one.log_variance.any()
    assert load_camera_prior(weak, trainer.task.samples, template, CPU) is None


def test_the_landmarks_are_the_same_prior_cached_from_images_and_without_a_landmark_head(cached_hands, template, weak):
    trainer, ids = amvur_run(weak, template), torch.tensor([5, 2, 7])
    expected = camera_of_landmarks(trainer.task.samples.landmarks[ids], rest_palm_cm(template))
    config = replace(weak, camera_prior=LANDMARKS)
    images = load_images((cached_hands,), template, 8)
    blind = amvur_run(replace(weak, run=weak.run / "blind", model=replace(SMALL, features="global")), template)
    assert blind.task.samples.landmarks is None
    for samples in (trainer.task.samples, blind.task.samples, images):
        found = load_camera_prior(config, samples, template, CPU).of(ids, samples.batch(ids)[0])
        # Cached maps are float16.
        torch.testing.assert_close(found.mean, expected.mean, atol=2e-2, rtol=0)
        torch.testing.assert_close(found.log_variance, expected.log_variance, atol=1e-2, rtol=0)


def test_with_the_landmarks_prior_no_3d_truth_is_read(weak, template):
    weak = replace(weak, camera_prior=LANDMARKS, epochs=1)
    known, unknown = amvur_run(weak, template), poisoned(amvur_run(weak, template))
    assert run_steps(known) == run_steps(unknown)
    assert_same(known.task.network.state_dict(), unknown.task.network.state_dict())
    without = amvur_run(replace(weak, camera_prior=None), template)
    assert run_steps(without) != run_steps(amvur_run(weak, template))


def test_a_prior_is_for_weak_training_and_noise_that_knows_the_truth_is_not(config, camera_checkpoint):
    with raises(ErrorCode.OPTION_CONFLICT, match="camera prior"):
        replace(config, camera_prior=camera_checkpoint)
    with raises(ErrorCode.OPTION_CONFLICT, match="landmark_noise"):
        replace(config, supervision="weak")
    with raises(ErrorCode.UNKNOWN_NAME, match="full, weak"):
        replace(config, supervision="strong")


def test_the_command_trains_weakly_and_its_notes_say_so(tmp_path, cached_hands, template, camera_checkpoint):
    arguments = ["train", "--data", str(cached_hands), "--run", str(tmp_path / "run"), "--width", "16"]
    arguments += ["--epochs", "1", "--batch-size", "4", "--limit", "4", "--weight-decay", "0"]
    assert main([*arguments, "--supervision", "weak", "--camera-prior", str(camera_checkpoint)]) == 0
    notes = load_checkpoint(tmp_path / "run" / "last", template)[2]["train"]
    assert notes["supervision"] == "weak"
    assert notes["camera_prior"] == str(camera_checkpoint)
    assert notes["landmark_noise"]["fraction"] == 0
    assert notes["loss"]["weak"]["draws"] == 4
    log = (tmp_path / "run" / "log.csv").read_text(encoding="utf-8")
    assert "camera" in log.splitlines()[0]


def test_adamw_without_decay_is_adam(template, weak):
    """The paper's optimiser; the same bits, so there is no second one to choose."""
    trainer, other = (amvur_run(replace(weak, weight_decay=0.0, epochs=1), template) for _ in range(2))
    other.optimiser = torch.optim.Adam(other.optimiser.param_groups)
    assert run_steps(trainer) == run_steps(other)
    assert_same(trainer.task.network.state_dict(), other.task.network.state_dict())


def test_efficientnet_of_the_paper_trains_on_images(weak, template):
    model = replace(SMALL, variant="final", backbone="efficientnet_b0", features="global", conditioning="rest")
    run = replace(weak, model=model, end_to_end=True, limit=2, batch_size=2, epochs=1)
    trainer = poisoned(amvur_run(run, template))
    before = {name: value.clone() for name, value in trainer.task.network.backbone.named_parameters()}
    assert all(loss == loss for loss in run_steps(trainer))
    assert all(not torch.equal(value, before[name]) for name, value in trainer.task.network.backbone.named_parameters())
    assert isinstance(trainer.task.samples.truth, Truth)
