"""The one trainer takes any family, a checkpoint says its family, and those of before families load as they did."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.hand_models.template import HandTemplate
from handviz.models import registry
from handviz.models.amvur.model import HandModel
from handviz.models.amvur.training import TRAINING as AMVUR
from handviz.models.amvur.training_checkpoint import load_checkpoint
from handviz.models.base import ModelFamily
from handviz.models.texture.training import load_texture_checkpoint
from handviz.training.checkpoint import WEIGHTS, load_network, read_metadata
from handviz.training.distributed import ALONE
from handviz.training.families import (
    family_of_checkpoint,
    train_family,
    trainable_families,
    training_family,
)
from handviz.training.trainer import Run
from tests import tiny_family
from tests.errors import raises, wrong_usage
from tests.small_trainings import assert_same, run_steps
from tests.tiny_family import TinyConfig, TinyTrainConfig

BROKEN = ("nowhere:TRAINING", "tiny_family:MISSING", "tiny_family:NOT_A_FAMILY")
STEPS = 20
"""Of four epochs of five batches."""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register the tiny family as a line of the registry does."""
    monkeypatch.setattr(registry, "BUILT_IN", (*registry.BUILT_IN, "tests.tiny_family:FAMILY"))
    registry.families.cache_clear()
    yield
    registry.families.cache_clear()


@pytest.fixture
def config(tmp_path: Path) -> TinyTrainConfig:
    """Return the settings of twenty steps."""
    return TinyTrainConfig(
        ("numbers",), tmp_path / "run", TinyConfig(), epochs=4, batch_size=8, warm_up_steps=2, checkpoint_every=10
    )


def without_family(folder: Path, into: Path) -> Path:
    """Return a copy of a checkpoint as versions without families wrote it."""
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        metadata = file.metadata()
    del metadata["family"]
    into.mkdir()
    save_file(load_file(folder / WEIGHTS), into / WEIGHTS, metadata)
    return into


def test_the_trainer_trains_a_family_that_it_does_not_know(config: TinyTrainConfig, template: HandTemplate) -> None:
    last = train_family(tiny_family.TRAINING, config, template)
    network, found, notes = tiny_family.TRAINING.load(last, template)
    assert (found, notes["step"], notes["train"]["power"]) == (TinyConfig(), STEPS, 2.0)
    assert isinstance(network, tiny_family.TinyNetwork)
    assert read_metadata(last)["family"] == "tiny"
    with (config.run / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["10", "20"]
    untrained = tiny_family.TinyTask(config, template, ALONE)
    assert float(rows[-1]["error"]) < 0.7 * untrained.validate()["error"]


def test_a_resumed_run_of_it_is_the_straight_run(config: TinyTrainConfig, template: HandTemplate) -> None:
    straight = train_family(tiny_family.TRAINING, replace(config, run=config.run / "straight"), template)
    broken = Run(tiny_family.TinyTask(config, template, ALONE))
    run_steps(broken, 10)
    broken.save()
    resumed = train_family(tiny_family.TRAINING, config, template)
    networks = [tiny_family.TRAINING.load(folder, template)[0].state_dict() for folder in (straight, resumed)]
    assert_same(*networks)
    with raises(ErrorCode.FOLDER_TAKEN, match="seed"):
        train_family(tiny_family.TRAINING, replace(config, seed=3), template)


def test_a_checkpoint_of_another_config_is_not_resumed(config: TinyTrainConfig, template: HandTemplate) -> None:
    train_family(tiny_family.TRAINING, config, template)
    with raises(ErrorCode.FOLDER_TAKEN, match="another model"):
        train_family(tiny_family.TRAINING, replace(config, model=TinyConfig(width=3)), template)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_the_commands_take_it(tmp_path: Path, template: HandTemplate, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "numbers", "--run", str(tmp_path / "run"), "--width", "5", "--power", "1", "--epochs", "4"]
    assert main(["train", "--family", "tiny", *words, "--batch-size", "8"]) == 0
    last = tmp_path / "run" / "last"
    assert f"checkpoint: {last}" in capsys.readouterr().out
    assert family_of_checkpoint(last).load(last, template)[1] == TinyConfig(width=5)
    assert main(["export", str(last), "--model-dir", str(tmp_path / "models")]) == 0
    assert "tiny.onnx: differs from PyTorch by at most" in capsys.readouterr().out
    metadata = {item.key: item.value for item in onnx.load(tmp_path / "models" / "tiny.onnx").metadata_props}
    assert (metadata["handviz.family"], metadata["handviz.fingerprint"]) == ("tiny", template.fingerprint)
    assert "tiny.onnx" in (tmp_path / "models" / "SHA256SUMS").read_text()
    for command in (["calibrate", str(last), "--data", "nowhere"], ["evaluate", str(last), "--data", "nowhere"]):
        assert main(command) == 1
        assert "family tiny" in capsys.readouterr().err


@pytest.mark.usefixtures("tiny")
def test_the_options_are_those_of_the_family(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {}
    for words in (["--family", "tiny"], ["--family=tiny"], ["--family", "amvur"], []):
        with pytest.raises(SystemExit):
            main(["train", *words, "--help"])
        shown[tuple(words)] = capsys.readouterr().out
    assert shown["--family", "tiny"] == shown[("--family=tiny",)]
    assert "--power" in shown["--family", "tiny"]
    assert "--camera-prior" not in shown["--family", "tiny"]
    assert shown["--family", "amvur"] == shown[()].replace("{amvur}", "{amvur,tiny}")
    assert "--camera-prior" in shown[()]
    assert "--warm-up-steps" not in shown[()], "a setting that AMVUR does not show"


def test_a_family_that_is_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with wrong_usage():
        main(["train", "--family", "mine", "--data", "x", "--run", "y"])
    assert "mine" in capsys.readouterr().err
    with raises(ErrorCode.UNKNOWN_NAME, match="amvur"):
        training_family("mine")


@pytest.mark.parametrize(
    "line", ["tests.nowhere:TRAINING", "tests.tiny_family:MISSING", "tests.tiny_family:NOT_A_FAMILY"]
)
def test_a_training_that_cannot_be_used_is_one_line(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    broken = ModelFamily("broken", "Broken", models=(), training=line)
    monkeypatch.setattr("handviz.training.families.families", lambda: (broken,))
    with raises(ErrorCode.PACKAGE_MISSING, match=f"broken .{line}"):
        training_family("broken")


def test_only_families_with_a_training_can_be_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trainable_families() == ("amvur", "hamr", "sima_hand")
    plain = ModelFamily("plain", "Plain", models=())
    monkeypatch.setattr("handviz.training.families.families", lambda: (plain, tiny_family.FAMILY))
    assert trainable_families() == ("tiny",)
    assert training_family("tiny") is tiny_family.TRAINING


def test_a_checkpoint_of_another_family_is_named(config: TinyTrainConfig, template: HandTemplate) -> None:
    last = train_family(tiny_family.TRAINING, config, template)
    with raises(ErrorCode.MODEL_MISMATCH, match="tiny, not amvur"):
        load_checkpoint(last, template)
    with raises(ErrorCode.UNKNOWN_NAME, match="'tiny'"):
        family_of_checkpoint(last)


def test_a_checkpoint_without_a_family_is_amvur_s(small_model, tmp_path: Path, template: HandTemplate) -> None:
    old = without_family(small_model.checkpoint, tmp_path / "old")
    assert family_of_checkpoint(old) is AMVUR
    network, found, notes = family_of_checkpoint(old).load(old, template)
    now = load_checkpoint(small_model.checkpoint, template)
    assert isinstance(network, HandModel)
    assert (found, notes) == now[1:]
    assert_same(network.state_dict(), now[0].state_dict())
    assert main(["export", str(old), "--model-dir", str(tmp_path)]) == 0
    assert (tmp_path / "handviz_final.onnx").read_bytes() == small_model.onnx.read_bytes()


def test_a_texture_net_without_a_family_loads(small_texture, tmp_path: Path, template: HandTemplate) -> None:
    now = load_texture_checkpoint(small_texture.run / "last", template)
    old = load_texture_checkpoint(without_family(small_texture.run / "last", tmp_path / "old"), template)
    assert now[1:] == old[1:]
    assert_same(now[0].state_dict(), old[0].state_dict())
    with raises(ErrorCode.UNKNOWN_NAME, match="handviz texture"):
        family_of_checkpoint(small_texture.run / "last")
    with raises(ErrorCode.MODEL_DAMAGED):
        family_of_checkpoint(tmp_path / "old").load(tmp_path / "old", template)


def test_a_config_of_another_version_is_refused(config: TinyTrainConfig, template: HandTemplate) -> None:
    last = train_family(tiny_family.TRAINING, config, template)
    other = replace(tiny_family.ARCHITECTURE, config_from_saved=lambda saved: TinyConfig(depth=saved["width"]))
    with raises(ErrorCode.MODEL_DAMAGED, match="depth"):
        load_network(last, template, other)
