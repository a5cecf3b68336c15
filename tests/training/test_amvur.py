"""Training on a handful of rendered hands: it learns, moves what it should, and logs what a slow loop finds."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.models.amvur.model import VARIANTS, build_model
from handviz.models.amvur.training import optimiser_groups, train, validation_errors
from handviz.models.amvur.training_cache import load_cached
from handviz.models.amvur.training_checkpoint import load_checkpoint
from handviz.training.augmentation import LandmarkNoise
from tests.errors import raises
from tests.small_trainings import SMALL, amvur_run, assert_same, run_steps

pytestmark = pytest.mark.slow

NAME = "mediapipe_hand"


# Learning.


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_loss_falls(config, template, variant):
    one_batch = replace(config, model=replace(SMALL, variant=variant), limit=4, epochs=6, head_rate=3e-3)
    losses = run_steps(amvur_run(one_batch, template))
    assert len(losses) == 6
    assert losses[-1] < losses[0] - 0.5


def test_a_run_writes_its_log_and_a_checkpoint_that_loads(config, template, cached_hands):
    folder = train(replace(config, validation=cached_hands), template)
    assert folder == config.run / "last"
    with (config.run / "log.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4"]
    assert [row["crops_seen"] for row in rows] == ["8", "16"]
    assert {"loss", "vertices", "kl", "crop", "joints", "pa_mpjpe_mm", "std_mm", "image_error_percent"} <= rows[
        0
    ].keys()
    model, loaded_config, notes = load_checkpoint(folder, template)
    assert loaded_config == SMALL
    assert (notes["step"], notes["samples_seen"], notes["samples"]) == (4, 16, 8)
    assert notes["train"]["loss"]["vertex_correlation"] == config.loss.vertex_correlation
    regressor = torch.from_numpy(template.keypoint_regressor.copy())
    found = validation_errors(model, load_cached((cached_hands,), model, NAME, template), regressor)
    for name, value in found.items():
        assert float(rows[1][name]) == pytest.approx(value, rel=1e-4)
    # A finished run has nothing left to do.
    before = (folder / "model.safetensors").read_bytes()
    train(config, template)
    assert (folder / "model.safetensors").read_bytes() == before


def test_the_command_trains(tmp_path, cached_hands, template):
    arguments = ["train", "--data", str(cached_hands), "--run", str(tmp_path / "run"), "--model", "amvur"]
    assert main([*arguments, "--width", "16", "--epochs", "1", "--batch-size", "4", "--limit", "4"]) == 0
    assert load_checkpoint(tmp_path / "run" / "last", template)[1].variant == "amvur"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--epochs", "0"),
        ("--batch-size", "0"),
        ("--limit", "-1"),
        ("--head-rate", "-1"),
        ("--tail-rate", "-0.1"),
        ("--width", "3"),
    ],
)
def test_the_command_says_what_it_cannot_do(tmp_path, capsys, option, value):
    assert main(["train", "--data", str(tmp_path), "--run", str(tmp_path / "run"), f"{option}={value}"]) == 1
    assert f"{option.strip('-').replace('-', '_')} " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def procrustes(wanted, points):
    """Rotate, move and scale ``points`` onto ``wanted``, by scipy."""
    centre, middle = wanted.mean(axis=0), points.mean(axis=0)
    rotation, _ = Rotation.align_vectors(wanted - centre, points - middle)
    rotated = rotation.apply(points - middle)
    return centre + rotated * (rotated * (wanted - centre)).sum() / (rotated**2).sum()


def test_validation_errors_are_those_of_a_slow_loop(config, template):
    trainer = amvur_run(config, template)
    found = validation_errors(trainer.task.network, trainer.task.samples, trainer.task.regressor)
    assert trainer.task.network.training
    trainer.task.network.eval()
    errors, variances, distances, aligned = [], [], [], []
    for row in range(8):
        maps, truth = trainer.task.samples.batch(torch.tensor([row]))
        with torch.no_grad():
            output = trainer.task.network.from_cached(maps)
        camera = output.camera
        for vertex in range(0, 778):
            errors.append((output.mean_cm[0, vertex] - truth.vertices_cm[0, vertex]).norm())
            variances.append(output.log_variance[0, vertex].exp().sum())
        seen = camera.scale * (camera.rotation[0] @ output.mean_cm[0].T)[:2] + camera.translation.T
        wanted = truth.scale_per_cm * (truth.rotation[0] @ truth.vertices_cm[0].T)[:2] + truth.translation.T
        distances.append((seen - wanted).norm(dim=0).mean())
        mine, true = (
            (trainer.task.regressor @ mesh[0]).double().numpy() for mesh in (output.mean_cm, truth.vertices_cm)
        )
        fitted = procrustes(true, mine)
        aligned.append(10 * np.linalg.norm(fitted - true, axis=1).mean())
    assert found["vertex_error_mm"] == pytest.approx(10 * float(torch.stack(errors).mean()), rel=1e-4)
    assert found["std_mm"] == pytest.approx(10 * float(torch.stack(variances).mean().sqrt()), rel=1e-4)
    assert found["image_error_percent"] == pytest.approx(50 * float(torch.stack(distances).mean()), rel=1e-4)
    assert found["pa_mpjpe_mm"] == pytest.approx(np.mean(aligned), rel=1e-3)


# What is trained.


@pytest.mark.parametrize("tail_rate", [3e-4, 0.0])
def test_every_trainable_parameter_is_in_one_group_and_the_stem_in_none(config, template, tail_rate):
    model = build_model(SMALL, template)
    groups = optimiser_groups(model, replace(config, tail_rate=tail_rate, head_rate=0.5))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    grouped = [[names[id(parameter)] for parameter in group["params"]] for group in groups]
    together = [name for group in grouped for name in group]
    assert len(together) == len(set(together))
    assert set(together) == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    ours = ("heads.", "features.") if tail_rate else ("heads.",)
    assert set(grouped[0]) == {name for name in names.values() if name.startswith(ours)}
    assert [group["rate"] for group in groups] == ([0.5, tail_rate] if tail_rate else [0.5])
    if tail_rate:
        parts = {name.split(".")[1] for name in grouped[1]}
        assert parts == {"tail_blocks", "last_expand", "last_depthwise"}


def test_the_stem_never_moves_and_a_frozen_tail_does_not_either(config, template):
    def moved(tail_rate):
        trainer = amvur_run(replace(config, tail_rate=tail_rate, epochs=1), template)
        before = {name: value.clone() for name, value in trainer.task.network.state_dict().items()}
        run_steps(trainer)
        after = trainer.task.network.state_dict()
        return {name for name, value in before.items() if not torch.equal(value, after[name])}

    of_all, of_heads = moved(3e-4), moved(0.0)
    assert {name.split(".")[1] for name in of_all if name.startswith("backbone")} == {
        "tail_blocks",
        "last_expand",
        "last_depthwise",
    }
    assert not [name for name in of_heads if name.startswith("backbone")]
    assert {name for name in of_heads if "log_variance" not in name}


def test_training_the_covariance_alone_moves_nothing_else_and_lowers_its_term(config, template):
    trainer = amvur_run(replace(config, tail_rate=0.0, covariance_only=True, head_rate=0.01, epochs=10), template)
    before = {name: value.clone() for name, value in trainer.task.network.state_dict().items()}
    losses = run_steps(trainer)
    after = trainer.task.network.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert moved == {name for name in before if name.startswith("heads.amvur.joint_covariance.")}
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"tail_rate": 3e-4},
        {"model": replace(SMALL, rank=0)},
        {"model": replace(SMALL, variant="prior")},
        {"supervision": "weak", "landmark_noise": LandmarkNoise(fraction=0.0)},
    ],
)
def test_a_covariance_that_is_not_there_cannot_be_trained_alone(config, wrong):
    with raises(ErrorCode.OPTION_CONFLICT, match="covariance_only"):
        replace(config, **{"tail_rate": 0.0, "covariance_only": True} | wrong)


def test_draws_differ_by_step_and_a_resumed_run_has_those_of_the_straight_one(config, template):
    sampled = replace(config, loss=replace(config.loss, samples=2), epochs=1)
    straight = amvur_run(sampled, template)
    ids = torch.arange(4)
    first, again, later = (straight.task.loss_terms(ids, step)["image"].item() for step in (0, 0, 1))
    assert first == again != later
    run_steps(straight)
    stopped = amvur_run(sampled, template)
    run_steps(stopped, 1)
    stopped.save()
    resumed = amvur_run(sampled, template)
    resumed.resume()
    run_steps(resumed)
    assert_same(straight.task.network.state_dict(), resumed.task.network.state_dict())
    with raises(ErrorCode.FOLDER_TAKEN, match="loss samples"):
        amvur_run(replace(sampled, loss=replace(config.loss, samples=3)), template).resume()
