"""What a run may change on its way and what it may not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from handviz.core.errors import ErrorCode
from handviz.models.amvur.loss_config import LossConfig
from handviz.models.amvur.model import ModelConfig
from handviz.models.amvur.training import train
from handviz.models.amvur.training_checkpoint import load_checkpoint
from handviz.models.amvur.training_config import TrainConfig
from handviz.training.augmentation import LandmarkNoise, StyleNoise
from handviz.training.checkpoint import load_resume_state, save_checkpoint
from handviz.training.config import as_metadata, changes
from tests.errors import raises
from tests.small_trainings import amvur_run

SMALL = ModelConfig(variant="prior", width=16, regressor_width=16, features="global")


@pytest.fixture
def config(tmp_path, cached_hands):
    """Configure two steps on eight hands."""
    return TrainConfig(data=(cached_hands,), run=tmp_path / "run", model=SMALL, epochs=1, batch_size=4, limit=8)


def test_what_differs_is_named():
    config = TrainConfig((Path("a"), Path("b")), Path("run"))
    saved = json.loads(json.dumps(as_metadata(config)))
    assert changes(config, saved) == []
    assert changes(replace(config, data=(Path("./a"), Path.cwd() / "b")), saved) == []
    noises = {"landmark_noise": LandmarkNoise(median_mm=10), "style_noise": StyleNoise(strength=0.5)}
    other = replace(config, seed=3, limit=9, loss=LossConfig(image=2.0, kl=0.2), **noises)
    assert changes(other, saved) == [
        "--seed 0, not 3",
        "--limit None, not 9",
        "loss image 0.5, not 2.0",
        "loss kl 0.1, not 0.2",
        "landmark_noise median_mm 8.0, not 10",
        "style_noise strength 1.0, not 0.5",
    ]
    (swapped,) = changes(replace(config, data=(Path("b"), Path("a"))), saved)
    assert swapped.startswith("--data [")


def test_what_may_change_is_no_difference():
    config = TrainConfig((Path("a"),), Path("run"))
    other = replace(
        config, run=Path("elsewhere"), epochs=9, head_rate=0.5, tail_rate=0.1, device="cpu", checkpoint_every=7,
        validation=Path("v"),
    )  # fmt: skip
    assert changes(other, as_metadata(config)) == []


@pytest.mark.parametrize("saved", [None, "damaged", {}, {"data": "a", "loss": None}, {"loss": {"kl": 0.1}}])
def test_what_old_notes_lack_is_no_difference(saved):
    assert changes(TrainConfig((Path("b"),), Path("run"), seed=5, limit=3), saved) == []


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"seed": 1}, "--seed 0, not 1"),
        ({"limit": 4}, "--limit 8, not 4"),
        ({"loss": LossConfig(image=2.0)}, "loss image 0.5, not 2.0"),
    ],
)
def test_a_run_refuses_to_resume_with_other_settings(config, template, change, difference):
    last = train(config, template)
    before = {path.name: path.read_bytes() for path in last.iterdir()}
    with raises(ErrorCode.FOLDER_TAKEN, match=difference):
        train(replace(config, epochs=2, **change), template)
    assert {path.name: path.read_bytes() for path in last.iterdir()} == before


def test_more_hands_in_the_same_folder_are_another_run(config, template):
    """Their number decides the order."""
    last = train(config, template)
    model, _, notes = load_checkpoint(last, template)
    save_checkpoint(last, model, SMALL, notes | {"samples": 7}, template, load_resume_state(last), family="amvur")
    with raises(ErrorCode.FOLDER_TAKEN, match="7 samples, not 8"):
        train(config, template)


def test_epochs_and_rates_may_change_and_old_notes_say_nothing(config, template):
    last = train(config, template)
    longer = replace(config, epochs=2, head_rate=1e-4)
    train(longer, template)
    model, _, notes = load_checkpoint(last, template)
    assert notes["step"] == 4
    old = {name: notes[name] for name in ("step", "samples_seen")}
    save_checkpoint(last, model, SMALL, old, template, load_resume_state(last), family="amvur")
    train(replace(longer, epochs=3, seed=1), template)
    assert load_checkpoint(last, template)[2]["step"] == 6


def test_crops_seen_before_are_those_that_the_run_itself_saved(config, template):
    """The checkpoint it started from may have learnt more since."""
    start = train(replace(config, run=config.run / "start"), template)
    started = replace(config, start_from=(start,))
    last = train(started, template)
    assert load_checkpoint(last, template)[2]["samples_seen"] == 16
    train(replace(config, run=config.run / "start", epochs=5), template)
    resumed = amvur_run(started, template)
    assert resumed.seen_before == 40
    resumed.resume()
    assert (resumed.seen_before, resumed.crops_seen) == (8, 16)
