"""Ablations of HAMR: forms, paired intervals, and two tiny trainings."""

import numpy as np
import pytest

import tools
from handviz.models.hamr.losses import LossConfig
from handviz.models.hamr.model import ModelConfig, build_model
from handviz.training.checkpoint import save_checkpoint
from tools import hamr_ablations
from tools.hamr_ablations import FORMS, WHOLE, interval_text, table


def test_every_form_is_one_of_network_and_loss() -> None:
    for of_model, of_loss in FORMS.values():
        ModelConfig(**of_model)
        LossConfig(**of_loss)
    assert FORMS[WHOLE] == ({}, {})


def test_intervals_are_of_paired_differences() -> None:
    assert interval_text(np.full(50, 0.25)) == "+0.25 [+0.25, +0.25]"
    random = np.random.default_rng(1)
    text = interval_text(random.normal(1.0, 2.0, 400))
    low, high = (float(part) for part in text.split("[")[1].rstrip("]").split(", "))
    # The normal distribution's: 1.96 standard errors on either side.
    assert high - low == pytest.approx(2 * 1.96 * 2.0 / 20, rel=0.15)
    assert low < 1.0 < high


def test_the_table_has_differences_from_the_whole() -> None:
    whole = np.ones((3, 10))
    lines = list(table({WHOLE: whole, "1 iteration": whole + 0.5}))
    assert lines[3] == "| whole | 1.00 | 1.00 | 1.00 |"
    assert lines[4].startswith("| 1 iteration | +0.50 [+0.50, +0.50] |")


@pytest.mark.slow
def test_two_forms_are_trained_tested_and_kept(rendered_hands, template, tmp_path, capsys, monkeypatch) -> None:
    heatmaps = tmp_path / "heatmaps"
    save_checkpoint(heatmaps, build_model(ModelConfig(), template), ModelConfig(), {}, template, {}, family="hamr")
    folders = [
        "--heatmaps",
        str(heatmaps),
        "--data",
        str(rendered_hands),
        "--test",
        str(rendered_hands),
        "--out",
        str(tmp_path / "out"),
    ]
    words = [*folders, "--forms", "1 iteration", "--seeds", "1", "--limit", "32", "--batch", "16"]
    assert tools.run("hamr_ablations", words) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-2].startswith("| 1 iteration | ")
    assert printed.splitlines()[-1].startswith("12 components explain ")
    monkeypatch.setattr(hamr_ablations, "train_family", None)
    assert tools.run("hamr_ablations", words) == 0, "nothing is trained again"
    assert capsys.readouterr().out == printed


def test_a_form_that_is_none_is_refused(tmp_path, capsys) -> None:
    words = [word for name in ("data", "test", "out", "heatmaps") for word in (f"--{name}", str(tmp_path))]
    assert tools.run("hamr_ablations", [*words, "--forms", "no such form"]) == 1
    assert "1 iteration" in capsys.readouterr().err
