"""Ablations of SiMA-Hand: forms, paired intervals over moments, and tiny trainings."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import tools
from handviz.core.errors import ErrorCode
from handviz.models.sima_hand import training
from handviz.models.sima_hand.losses import LossConfig
from handviz.models.sima_hand.model import ModelConfig
from tests.errors import raises
from tests.sima_moments import load_fake_moments
from tools import sima_ablations
from tools.sima_ablations import FORMS, MVR, SVR, errors_of, interval_text, table, whole_of, with_wholes


def test_every_form_is_one_of_network_and_loss_with_a_teacher_that_is_one() -> None:
    for form in FORMS.values():
        ModelConfig(**{"network": form.network, **form.model})
        LossConfig(**form.loss)
        assert not form.teacher or FORMS[form.teacher].network == "mvr"
        assert not form.teacher or form.network == "svr"


def test_forms_come_with_what_they_are_compared_with() -> None:
    assert with_wholes(("SiMA of f_v",)) == (SVR, "SiMA of f_v")
    assert with_wholes(("SiMA, without landmarks",)) == (SVR, "SVR, without landmarks", "SiMA, without landmarks")
    assert whole_of("MVR, without joint fusion") == MVR
    assert all(whole_of(name) in FORMS for name in FORMS)


def test_intervals_are_of_moments_drawn_anew() -> None:
    assert interval_text(np.full(50, 0.25), np.arange(50)) == "+0.25 [+0.25, +0.25]"
    random = np.random.default_rng(1)
    alone = random.normal(1.0, 2.0, 400)
    widths = []
    for values, moments in ((alone, np.arange(400)), (np.repeat(alone, 4), np.repeat(np.arange(400), 4))):
        text = interval_text(values, moments)
        low, high = (float(part) for part in text.split("[")[1].rstrip("]").split(", "))
        widths.append(high - low)
    # The normal distribution's: 1.96 standard errors on either side; equal views of a moment say nothing more.
    assert widths[0] == pytest.approx(2 * 1.96 * 2.0 / 20, rel=0.15)
    assert widths[1] == pytest.approx(widths[0], abs=0.02)
    assert interval_text(np.empty(0), np.empty(0, int)) == "-"


def test_the_table_has_differences_from_the_whole() -> None:
    whole, rows = np.ones((4, 12)), np.arange(12) < 6
    worse = whole + np.where(rows, 0.5, 9.0)
    lines = list(table("hidden views", {SVR: whole, "SiMA": worse}, rows, 3))
    assert lines[0].startswith("hidden views: 6;")
    assert lines[3] == "| SVR | 1.00 | 1.00 | 1.00 | 1.00 |"
    assert lines[4].startswith("| SiMA | +0.50 [+0.50, +0.50] |")
    assert list(table("none", {SVR: whole}, np.zeros(12, bool), 3))[3] == "| SVR | - | - | - | - |"


def test_errors_are_those_of_turned_hands(template) -> None:
    from tests.models.test_sima_losses import hand, truth_of

    regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)
    output, other = hand(template, 1), hand(template, 2)
    mesh = type("Mesh", (), {"regressor": regressor})
    truth = truth_of(other, mesh)  # type: ignore[arg-type]
    found = errors_of(output, truth, regressor)
    mine, true = (
        np.einsum("bij,bvj->bvi", part.rotation.numpy(), part.vertices_cm.numpy()) for part in (output, truth)
    )
    np.testing.assert_allclose(found[2], np.linalg.norm(mine - true, axis=2).mean(axis=1) * 10, rtol=1e-4)
    np.testing.assert_allclose(
        found[0], np.linalg.norm(regressor.numpy() @ (mine - true), axis=2).mean(1) * 10, rtol=1e-4
    )
    same = output._replace(rotation=truth.rotation.flip(0), vertices_cm=truth.vertices_cm)
    assert errors_of(same, truth, regressor)[[1, 3]].max() < 1e-2, "aligned"


@pytest.fixture
def rendered_hands(rendered_hands, tmp_path) -> Path:
    """Return a folder of the test's own, so that nobody else finds what is cached beside the hands."""
    return Path(shutil.copytree(rendered_hands, tmp_path / "hands"))


@pytest.fixture
def words(rendered_hands, tmp_path, monkeypatch) -> list[str]:
    for module, name in ((training, "load_moments"), (sima_ablations, "load_moments")):
        monkeypatch.setattr(module, name, load_fake_moments)
    folders = ["--data", str(rendered_hands), "--test", str(rendered_hands), "--out", str(tmp_path / "out")]
    lengths = ["--limit", "8", "--batch", "12", "--multi-epochs", "1", "--single-epochs", "1", "--seeds", "1"]
    return [*folders, *lengths]


@pytest.mark.slow
def test_forms_are_trained_tested_and_kept(words, capsys, monkeypatch) -> None:
    words = [*words, "--forms", "SiMA", "MVR, vertex fusion by concatenation"]
    assert tools.run("sima_ablations", words) == 0
    printed = capsys.readouterr().out
    for name in (MVR, SVR, "SiMA", "MVR, vertex fusion by concatenation"):
        assert printed.count(f"| {name} |") == 2
    assert "all views: 96;" in printed
    assert "hidden views: 32;" in printed
    monkeypatch.setattr(sima_ablations, "train_family", None)
    assert tools.run("sima_ablations", words) == 0, "nothing is trained again"
    assert capsys.readouterr().out == printed
    with raises(ErrorCode.FOLDER_TAKEN, match="errors.npz"):
        sima_ablations.trial_errors(SVR, 0, sima_ablations.Arguments(
            data=sima_ablations.Path(words[1]), test=sima_ablations.Path(words[3]), out=sima_ablations.Path(words[5]),
        ))  # fmt: skip


def test_a_form_that_is_none_is_refused(tmp_path, capsys) -> None:
    words = [word for name in ("data", "test", "out") for word in (f"--{name}", str(tmp_path))]
    assert tools.run("sima_ablations", [*words, "--forms", "no such form"]) == 1
    assert "SiMA of f_v" in capsys.readouterr().err
