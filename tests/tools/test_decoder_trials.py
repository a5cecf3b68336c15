"""Trials of the decoder: what is trained, that a stopped run goes on, and what the table says."""

import json

import numpy as np
import pytest

from handviz.core.errors import ErrorCode
from tests.errors import raises
from tools.decoder_trials import Arguments, Result, _batches, run, table, visible_hands


def result(form="prior", seed=0, error=8.0, inner=None):
    return Result(form, seed, 8, error, error + 1, inner, 5.0, 0.7, -2.0)


def test_the_table_has_means_and_the_spread_over_seeds():
    text = table([result(seed=0, error=8.0), result(seed=1, error=9.0), result("final", 0, 7.0, 7.5)])
    assert "| prior | 2 | 8.50 ± 0.71 | 9.50 ± 0.71 | - |" in text
    assert "| final | 1 | 7.00 | 8.00 | 7.50 |" in text


def test_batches_are_of_every_crop_once_a_pass_in_the_seed_s_order():
    batches = [part.tolist() for part in _batches(8, 4, 4, seed=1)]
    assert sorted(batches[0] + batches[1]) == sorted(batches[2] + batches[3]) == list(range(8))
    assert batches == [part.tolist() for part in _batches(8, 4, 4, seed=1)]
    assert batches != [part.tolist() for part in _batches(8, 4, 4, seed=2)]


def test_only_visible_hands_are_tested(rendered_hands):
    rows = visible_hands(rendered_hands, 20)
    shown = [np.load(path)["hidden_share"] for path in sorted(rendered_hands.glob("*_labels.npz"))]
    np.testing.assert_array_equal(rows.numpy(), np.flatnonzero(np.concatenate(shown)[:20] < 0.5))


def test_an_unknown_form_is_named(tmp_path):
    with raises(ErrorCode.UNKNOWN_NAME, match="nothing.*amvur embedding"):
        run(Arguments(data=tmp_path, test=tmp_path, out=tmp_path / "trials", forms=("nothing",)))


@pytest.mark.slow
def test_a_trial_is_trained_once_and_its_figures_are_kept(cached_hands, tmp_path, capsys):
    out = tmp_path / "trials.jsonl"
    arguments = Arguments(
        data=cached_hands,
        test=cached_hands,
        out=out,
        forms=("prior", "final edges"),
        seeds=1,
        crops=8,
        batch=4,
        limit=8,
    )
    assert run(arguments) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["form"] for line in lines] == ["prior", "final edges"]
    assert all(np.isfinite([line["pa_mpvpe_mm"], line["rotation_deg"], line["nll"]]).all() for line in lines)
    assert lines[0]["inner_pa_mpvpe_mm"] is None
    assert 3 < lines[1]["inner_pa_mpvpe_mm"] < 60
    before = out.read_bytes()
    assert run(arguments) == 0
    assert out.read_bytes() == before
    assert "| final edges | 1 |" in capsys.readouterr().out
