"""Training on a handful of rendered hands: it learns, goes on where it stopped, and never eats a checkpoint."""

import csv
import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.spatial.transform import Rotation

from handviz.__main__ import main
from handviz.data.synthetic.dataset import read_shard
from handviz.errors import HandvizError
from handviz.hand_model.open_hand import load_open_hand
from handviz.nets.model import ModelConfig, build_model
from handviz.records import VARIANTS
from handviz.train import checkpoint
from handviz.train.cache import landmarks_file, load_cached, middle_file, picture_batch, with_evidence
from handviz.train.checkpoint import load_checkpoint, load_resume_state, recovered, save_checkpoint
from handviz.train.run_log import RunLog
from handviz.train.train import (
    TrainConfig,
    Trainer,
    learning_rate_factor,
    optimiser_groups,
    train,
    validation_errors,
)

SMALL = ModelConfig(width=16, regressor_width=16, evidence_width=16, evidence_layers=1)
NAME = "mediapipe_hand"


@pytest.fixture(scope="module")
def template():
    return load_open_hand()


@pytest.fixture
def config(tmp_path, cached_hands) -> TrainConfig:
    """Two epochs of two steps on eight hands."""
    return TrainConfig(
        data=(cached_hands,),
        run=tmp_path / "run",
        model=SMALL,
        epochs=2,
        batch_size=4,
        limit=8,
        warm_up_steps=2,
        checkpoint_every=2,
    )


def run_steps(trainer, count=None):
    """Loss of every step."""
    trainer.model.train()
    losses = []
    for ids in trainer.batches():
        losses.append(sum(trainer.train_step(ids).values()))
        if len(losses) == count:
            break
    return losses


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


# Learning.


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_loss_falls(config, template, variant):
    one_batch = replace(config, model=replace(SMALL, variant=variant), limit=4, epochs=6, head_rate=3e-3)
    losses = run_steps(Trainer(one_batch, template))
    assert len(losses) == 6
    assert losses[-1] < losses[0] - 0.5


def test_going_on_is_the_straight_run_to_the_bit(config, template):
    straight = Trainer(config, template)
    losses = run_steps(straight)
    stopped = Trainer(replace(config, run=config.run / "resumed"), template)
    first_half = run_steps(stopped, 2)
    stopped.save()
    resumed = Trainer(stopped.config, template)
    resumed.resume()
    assert resumed.step == 2
    assert first_half + run_steps(resumed) == losses
    assert_same(resumed.model.state_dict(), straight.model.state_dict())
    for one, other in zip(resumed.optimiser.state.values(), straight.optimiser.state.values(), strict=True):
        assert_same(one, other)


def test_going_on_in_the_middle_of_an_epoch_takes_the_other_samples(config, template):
    trainer = Trainer(config, template)
    whole = list(trainer.batches())
    assert len(whole) == 4
    for epoch in (whole[:2], whole[2:]):
        assert sorted(torch.cat(epoch).tolist()) == list(range(8))
    assert not torch.equal(torch.cat(whole[:2]), torch.cat(whole[2:]))
    for step in range(4):
        trainer.step = step
        left = list(trainer.batches())
        assert len(left) == 4 - step
        assert all(torch.equal(one, other) for one, other in zip(left, whole[step:], strict=True))


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
    arguments = ["train", "--data", str(cached_hands), "--run", str(tmp_path / "run"), "--variant", "amvur"]
    assert main([*arguments, "--width", "16", "--epochs", "1", "--batch-size", "4", "--limit", "4"]) == 0
    assert load_checkpoint(tmp_path / "run" / "last", template)[1].variant == "amvur"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--epochs", "0"),
        ("--batch-size", "0"),
        ("--limit", "-1"),
        ("--head-rate", "nan"),
        ("--tail-rate", "-0.1"),
        ("--width", "3"),
    ],
)
def test_the_command_says_what_it_cannot_do(tmp_path, capsys, option, value):
    assert main(["train", "--data", str(tmp_path), "--run", str(tmp_path / "run"), f"{option}={value}"]) == 1
    assert f"{option.strip('-').replace('-', '_')} " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def procrustes(wanted, points):
    """``points`` turned, moved and scaled onto ``wanted``, by scipy."""
    centre, middle = wanted.mean(axis=0), points.mean(axis=0)
    rotation, _ = Rotation.align_vectors(wanted - centre, points - middle)
    turned = rotation.apply(points - middle)
    return centre + turned * (turned * (wanted - centre)).sum() / (turned**2).sum()


def test_validation_errors_are_those_of_a_slow_loop(config, template):
    trainer = Trainer(config, template)
    found = validation_errors(trainer.model, trainer.samples, trainer.regressor)
    assert trainer.model.training
    trainer.model.eval()
    errors, variances, apart, aligned = [], [], [], []
    for row in range(8):
        maps, truth = trainer.samples.batch(torch.tensor([row]))
        with torch.no_grad():
            output = trainer.model.from_cached(maps)
        camera = output.camera
        for vertex in range(0, 778):
            errors.append((output.mean_cm[0, vertex] - truth.vertices_cm[0, vertex]).norm())
            variances.append(output.log_variance[0, vertex].exp().sum())
        seen = camera.scale * (camera.rotation[0] @ output.mean_cm[0].T)[:2] + camera.translation.T
        wanted = truth.scale_per_cm * (truth.rotation[0] @ truth.vertices_cm[0].T)[:2] + truth.translation.T
        apart.append((seen - wanted).norm(dim=0).mean())
        mine, true = ((trainer.regressor @ mesh[0]).double().numpy() for mesh in (output.mean_cm, truth.vertices_cm))
        fitted = procrustes(true, mine)
        aligned.append(10 * np.linalg.norm(fitted - true, axis=1).mean())
    assert found["vertex_error_mm"] == pytest.approx(10 * float(torch.stack(errors).mean()), rel=1e-4)
    assert found["std_mm"] == pytest.approx(10 * float(torch.stack(variances).mean().sqrt()), rel=1e-4)
    assert found["image_error_percent"] == pytest.approx(50 * float(torch.stack(apart).mean()), rel=1e-4)
    assert found["pa_mpjpe_mm"] == pytest.approx(np.mean(aligned), rel=1e-3)


def test_the_rate_warms_up_and_falls_to_zero():
    factors = [learning_rate_factor(step, 100, 10) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    assert (np.diff(factors[10:]) < 0).all()
    assert learning_rate_factor(0, 1, 0) == 1


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
    ours = ("heads.", "evidence.") if tail_rate else ("heads.",)
    assert set(grouped[0]) == {name for name in names.values() if name.startswith(ours)}
    assert [group["rate"] for group in groups] == ([0.5, tail_rate] if tail_rate else [0.5])
    if tail_rate:
        parts = {name.split(".")[1] for name in grouped[1]}
        assert parts == {"tail_blocks", "last_expand", "last_depthwise"}


def test_the_stem_never_moves_and_a_frozen_tail_does_not_either(config, template):
    def moved(tail_rate):
        trainer = Trainer(replace(config, tail_rate=tail_rate, epochs=1), template)
        before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
        run_steps(trainer)
        after = trainer.model.state_dict()
        return {name for name, value in before.items() if not torch.equal(value, after[name])}

    of_all, of_heads = moved(3e-4), moved(0.0)
    assert {name.split(".")[1] for name in of_all if name.startswith("backbone")} == {
        "tail_blocks",
        "last_expand",
        "last_depthwise",
    }
    assert not [name for name in of_heads if name.startswith("backbone")]
    assert {name for name in of_heads if "log_variance" not in name}


@pytest.mark.parametrize("evidence", ["joints", "global"])
@torch.no_grad()
def test_what_a_frozen_network_sees_is_kept_and_changes_nothing(config, template, evidence):
    model = build_model(replace(SMALL, evidence=evidence), template).eval()
    samples = load_cached(config.data, model, NAME, template, 8)
    ids = torch.tensor([5, 2])
    kept, truth = with_evidence(samples, model).batch(ids)
    cached, same_truth = samples.batch(ids)
    direct = model.seen(cached)
    assert cached.middle_map.shape == (2, 112, 14, 14)
    for mine, wanted in zip(kept, direct, strict=True):
        assert (mine is None) == (wanted is None)
        if wanted is not None:
            # Half precision.
            torch.testing.assert_close(mine, wanted, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(model.from_cached(kept).mean_cm, model.from_cached(cached).mean_cm, rtol=0, atol=0.02)
    assert torch.equal(truth.vertices_cm, same_truth.vertices_cm)


@torch.no_grad()
def test_the_cache_is_what_the_model_sees_of_the_pictures(config, template):
    model = build_model(SMALL, template).eval()
    samples = load_cached(config.data, model, NAME, template)
    assert len(samples) == 32
    expected = model.cached(picture_batch(read_shard(config.data[0], 1).pictures[:3]))
    cached, _ = samples.batch(torch.arange(16, 19))
    torch.testing.assert_close(cached.middle_map, expected.middle_map, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(cached.landmarks, expected.landmarks, rtol=1e-2, atol=1e-2)


def test_several_folders_are_taken_together(config, template):
    model = build_model(SMALL, template)
    samples = load_cached((*config.data, *config.data), model, NAME, template, 40)
    assert len(samples) == 40
    assert torch.equal(samples.middle_maps[32:], samples.middle_maps[:8])
    assert torch.equal(samples.landmarks[32:], samples.landmarks[:8])
    assert torch.equal(samples.truth.vertices_cm[32:], samples.truth.vertices_cm[:8])


def test_a_backbone_can_start_from_another_run(config, template, tmp_path):
    source = Trainer(replace(config, epochs=1, head_rate=0.0, tail_rate=0.1), template)
    run_steps(source)
    source.save()
    next_config = replace(config, model=replace(SMALL, variant="prior"), backbone_from=config.run / "last")
    started = Trainer(next_config, template)
    assert_same(started.model.backbone.state_dict(), source.model.backbone.state_dict())
    other = replace(SMALL, variant="prior", backbone="efficientnet_b0")
    save_checkpoint(tmp_path / "other", build_model(other, template), other, {}, template, {})
    with pytest.raises(HandvizError, match="backbone efficientnet_b0"):
        Trainer(replace(config, backbone_from=tmp_path / "other"), template)


def test_a_model_can_start_from_other_variants(config, template):
    """Weights of the same name and shape are taken over, from the last checkpoint that has them."""
    models = {}
    for variant in ("prior", "amvur"):
        torch.manual_seed(len(variant))
        models[variant] = build_model(replace(SMALL, variant=variant), template)
        save_checkpoint(config.run / variant, models[variant], replace(SMALL, variant=variant), {}, template, {})
    plain = replace(SMALL, conditioning="rest")
    start = replace(config, model=plain, start_from=(config.run / "prior", config.run / "amvur"))
    heads = Trainer(start, template).model.heads
    for part, source in (("prior", "prior"), ("amvur", "amvur"), ("camera", "amvur")):
        assert_same(getattr(heads, part).state_dict(), getattr(models[source].heads, part).state_dict())


# Data that is none.


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_checkpoint(config, template):
    trainer = Trainer(config, template)
    run_steps(trainer, 2)
    trainer.save()
    before = {path.name: path.read_bytes() for path in (config.run / "last").iterdir()}
    weights = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.samples.truth.vertices_cm[3:] = torch.nan
    with pytest.raises(HandvizError, match=r"loss became nan at step 2.*last checkpoint is intact"):
        run_steps(trainer)
    assert_same(trainer.model.state_dict(), weights)
    assert {path.name: path.read_bytes() for path in (config.run / "last").iterdir()} == before
    resumed = Trainer(config, template)
    resumed.resume()
    assert len(run_steps(resumed)) == 2


@pytest.mark.parametrize("damage", ["nan", "of another hand"])
@pytest.mark.parametrize("end_to_end", [False, True])
def test_labels_that_are_none_are_named_with_their_shard(config, template, tmp_path, damage, end_to_end):
    folder = Path(shutil.copytree(config.data[0], tmp_path / "copy"))
    path = folder / "shard_00001_labels.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    if damage == "nan":
        arrays["pose"][3, 7] = np.nan
    else:
        arrays["pose"] = arrays["pose"][:, :12]
    np.savez(path, **arrays)
    model = replace(SMALL, witness_stem=end_to_end)
    with pytest.raises(HandvizError, match=r"shard_00001_labels.npz.*pose.*delete it, and run synthesize again"):
        train(replace(config, data=(folder,), model=model, end_to_end=end_to_end, limit=None), template)
    assert not (config.run / "last").exists()


def test_a_folder_without_hands_is_said(config, template, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(HandvizError, match=r"holds no rendered hands.*synthesize"):
            Trainer(replace(config, data=(folder,)), template)


def test_fewer_hands_than_a_batch_are_said(config, template):
    with pytest.raises(HandvizError, match="32 samples, fewer than a batch"):
        Trainer(replace(config, limit=None, batch_size=33), template)


def damaged(path, damage):
    if damage == "truncated":
        os.truncate(path, 400)
    elif damage == "of fewer pictures":
        np.save(path, np.load(path)[:3])
    else:
        np.save(path, np.load(path)[:, :5])


@pytest.mark.parametrize("damage", ["truncated", "of fewer pictures", "of another network"])
@pytest.mark.parametrize("kind", ["maps", "landmarks"])
def test_a_damaged_cache_is_named_and_computed_again_when_deleted(config, template, tmp_path, kind, damage):
    folder = Path(shutil.copytree(config.data[0], tmp_path / "copy"))
    path = middle_file(folder, 1, NAME) if kind == "maps" else landmarks_file(folder, 1)
    damaged(path, damage)
    copied, model = replace(config, data=(folder,), limit=None), build_model(SMALL, template)
    with pytest.raises(HandvizError, match=f"{path.name}.*delete it, it is computed again"):
        load_cached(copied.data, model, NAME, template)
    path.unlink()
    if kind == "landmarks":
        assert len(load_cached(copied.data, model, NAME, template)) == 32


# Checkpoints.


@pytest.fixture
def saved(tmp_path, template):
    """A checkpoint of untrained weights."""
    model, notes = build_model(SMALL, template), {"step": 3}
    return save_checkpoint(tmp_path / "last", model, SMALL, notes, template, {"step": 3, "optimiser": {}}), model


def test_a_checkpoint_comes_back_as_it_was(saved, template):
    folder, model = saved
    loaded, config, notes = load_checkpoint(folder, template)
    assert_same(loaded.state_dict(), model.state_dict())
    assert (config, notes) == (SMALL, {"step": 3})
    assert load_resume_state(folder) == {"step": 3, "optimiser": {}}
    assert sorted(path.name for path in folder.parent.iterdir() if "last" in path.name) == ["last"]


def test_another_hand_model_is_named(saved, template):
    other = replace(template, uv=template.uv + 1)
    with pytest.raises(HandvizError, match=f"{template.fingerprint[:12]}, not for open_hand {other.fingerprint[:12]}"):
        load_checkpoint(saved[0], other)


@pytest.mark.parametrize("damage", ["missing", "truncated", "text", "another program's", "another version's"])
def test_a_folder_that_is_no_checkpoint_is_said(saved, template, damage):
    folder, model = saved
    path = folder / "model.safetensors"
    metadata = {"model": "{}", "fingerprint": template.fingerprint, "notes": "{}"}
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        os.truncate(path, 5000)
    elif damage == "text":
        path.write_text("not weights")
    elif damage == "another program's":
        save_file(model.state_dict(), path)
    else:
        save_file(model.state_dict(), path, {**metadata, "model": json.dumps({"layers": 12})})
    with pytest.raises(HandvizError, match="last"):
        load_checkpoint(folder, template)


def test_a_checkpoint_of_before_evidence_had_a_name_is_the_paper_s(tmp_path, template):
    plain = replace(SMALL, evidence="global")
    model = build_model(plain, template)
    named = {name: value for name, value in asdict(plain).items() if not name.startswith("evidence")}
    metadata = {"model": json.dumps(named), "fingerprint": template.fingerprint, "notes": "{}"}
    save_file(model.state_dict(), tmp_path / "model.safetensors", metadata)
    loaded, config, _ = load_checkpoint(tmp_path, template)
    assert config.evidence == "global"
    assert loaded.witness is None
    assert_same(loaded.state_dict(), model.state_dict())


@pytest.mark.parametrize("notes", ["[]", "{", '{"samples_seen": "9"}', '{"samples_seen": -1}', '{"samples_seen": 1.5}'])
def test_notes_that_are_none_are_said(saved, template, notes):
    folder, model = saved
    metadata = {"model": json.dumps(asdict(SMALL)), "fingerprint": template.fingerprint, "notes": notes}
    save_file(model.state_dict(), folder / "model.safetensors", metadata)
    with pytest.raises(HandvizError, match=r"notes of .*last are damaged"):
        load_checkpoint(folder, template)


@pytest.mark.parametrize("text", ["step,loss\n,1\n", "step,loss\nEve,1\n", "step,loss\nnan,1\n", "name,age\nEve,7\n"])
def test_a_foreign_log_is_said(tmp_path, text):
    path = tmp_path / "log.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HandvizError, match="not the log of a run: move it away"):
        RunLog(path).keep_until(4)


def test_weights_of_another_width_do_not_fit(saved, template):
    folder, model = saved
    metadata = {"model": json.dumps(asdict(SMALL) | {"width": 32}), "fingerprint": template.fingerprint, "notes": "{}"}
    save_file(model.state_dict(), folder / "model.safetensors", metadata)
    with pytest.raises(HandvizError, match="does not fit this version"):
        load_checkpoint(folder, template)


class Hostile:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_hostile_state_is_refused_and_not_run(saved, tmp_path):
    torch.save({"step": 1, "optimiser": Hostile(tmp_path / "owned")}, saved[0] / "resume.pt")
    with pytest.raises(
        HandvizError, match=r"resume.pt is damaged or missing \(it holds more than numbers\): start a new run"
    ):
        load_resume_state(saved[0])
    assert not (tmp_path / "owned").exists()
    (saved[0] / "resume.pt").unlink()
    with pytest.raises(HandvizError, match=r"resume.pt is damaged or missing"):
        load_resume_state(saved[0])


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(saved, template, monkeypatch):
    folder, model = saved
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full_disk)
    with pytest.raises(HandvizError, match=r"No space left.*last one is intact"):
        save_checkpoint(folder, model, SMALL, {}, template, {})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not folder.with_name("last.part").exists()


def test_a_stop_between_two_checkpoints_loses_none(saved, template):
    folder, model = saved
    folder.rename(folder.with_name("last.old"))
    assert recovered(folder) == folder
    assert_same(load_checkpoint(folder, template)[0].state_dict(), model.state_dict())
    assert recovered(folder.with_name("never")) == folder.with_name("never")


def test_a_run_of_another_model_or_another_way_is_not_gone_on_with(config, template):
    Trainer(config, template).save()
    with pytest.raises(HandvizError, match=r"another model.*choose another run folder"):
        Trainer(replace(config, model=replace(SMALL, width=32)), template).resume()
    with pytest.raises(HandvizError, match=r"another way.*choose another run folder"):
        Trainer(replace(config, tail_rate=0.0), template).resume()
