"""``handviz calibrate --pipeline``: its options, and what it prints, writes and draws of given figures and hands."""

import json
from pathlib import Path

import numpy as np
import pytest

from handviz.__main__ import main
from handviz.cli import calibrate
from handviz.core.paths import MODELS
from handviz.evaluation.pipeline_calibration import DEFAULT_STREAM, STILLS, KindFigures, Measured, Plan, figures
from handviz.evaluation.posterior_fit import MIN_HANDS, FitPlan, FoundHand, fitted
from handviz.pipeline.error_model import FIELDS
from tests.errors import wrong_usage
from tests.found_hands import made_up_hands


def made_up_figures(kind: str) -> KindFigures:
    random, found = np.random.default_rng(4), []
    for number in range(9):
        visible = random.random(40) < 0.6
        found.append(
            Measured(
                random.exponential(4, 20), random.uniform(2, 6, 20),
                random.exponential(4, 40), random.uniform(2, 6, 40),
                random.random(20) < 0.6, visible, visible, 0.2, 0.4 + 0.01 * number, number % 2 == 1,
            )
        )  # fmt: skip
    return figures(kind, 12, found)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Note what is asked to be measured, and measure nothing."""
    asked = []

    def measure(plan: Plan) -> dict[str, tuple[KindFigures, ...]]:
        asked.append(plan)
        return {model: (made_up_figures(DEFAULT_STREAM), made_up_figures(STILLS)) for model in plan.models}

    monkeypatch.setattr(calibrate, "measure", measure)
    return asked


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[FitPlan]:
    """Note what is asked to be fitted, and find made-up hands, as many as are asked for less one."""
    asked = []

    def found_hands(plan: FitPlan) -> list[FoundHand]:
        asked.append(plan)
        return made_up_hands(min(plan.count, MIN_HANDS + 10) - 1)

    monkeypatch.setattr(calibrate, "found_hands", found_hands)
    return asked


def test_all_shipped_models_with_uncertainty_are_measured(
    plans: list[Plan], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "--pipeline"]) == 0
    plan = plans[0]
    assert plan.models == ("prior", "amvur", "final", "hamr", "sima")
    assert (plan.count, plan.seed, plan.config.model_dir) == (240, 611, MODELS)
    text = capsys.readouterr().out
    for model in plan.models:
        assert f"| {model}, stills | 9 of 12 |" in text
    assert "AUSC, mm | AUSE / mean error | Pearson |" in text
    # None of these hands is hidden by as much.
    assert "| final, hidden by 50% or more | 0 | – | – |" in text


def test_models_count_and_seed_are_chosen_and_figures_are_json(
    plans: list[Plan], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--models", "final", "final", "--count", "7", "--seed", "12", "--json"]
    assert main(["calibrate", "--pipeline", *words]) == 0
    assert (plans[0].models, plans[0].count, plans[0].seed) == (("final",), 7, 12)
    found = json.loads(capsys.readouterr().out)["final"]
    assert [kind["kind"] for kind in found] == [DEFAULT_STREAM, STILLS]
    assert found[1]["hidden"][1]["hidden_over_visible"] is None
    assert {len(row["coverage"]) for row in found[1]["rows"]} == {4}


def test_figures_of_stills_and_streams_are_drawn(plans: list[Plan], tmp_path: Path) -> None:
    assert main(["calibrate", "--pipeline", "--models", "final", "--plots", str(tmp_path / "new")]) == 0
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        f"{title}_final_{kind}.png" for title in ("reliability", "sparsification") for kind in ("stills", "streams")
    }


def test_an_error_model_is_fitted_tested_and_written(
    fits: list[FitPlan], plans: list[Plan], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "errors.npz"
    assert main(["calibrate", "--pipeline", "--fit", str(path)]) == 0
    assert plans == []
    (plan,) = fits
    assert (plan.model, plan.count, plan.seed, plan.config.model_dir) == ("final", 1400, 503, MODELS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("landmarks' errors, standard deviations on photographs against here: 0.")
    assert lines[1] == "72 of 1400 hands were found, 48 fitted, 24 tested"
    starts = ["PA-MPJPE", "keypoints: Spearman", "vertices: Spearman", "bones' lengths", "thickness", "angles"]
    starts += ["distance / count", "wrist", f"wrote {path}"]
    assert all(line.startswith(start) for line, start in zip(lines[2:], starts, strict=True))
    wanted = fitted(made_up_hands(72)[:48])
    with np.load(path) as written:
        assert set(written.files) == set(FIELDS)
        for name, shape in FIELDS.items():
            assert written[name].shape == shape
            np.testing.assert_array_equal(written[name], getattr(wanted, name))
    assert [entry.name for entry in path.parent.iterdir()] == ["errors.npz"]


def test_model_count_and_seed_of_a_fit_are_chosen_and_too_few_hands_are_said(
    fits: list[FitPlan], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "errors.npz"
    path.write_bytes(b"as it was")
    words = ["--models", "amvur", "--count", "7", "--seed", "12"]
    assert main(["calibrate", "--pipeline", "--fit", str(path), *words]) == 1
    assert (fits[0].model, fits[0].count, fits[0].seed) == ("amvur", 7, 12)
    assert "6 of 7 hands were found" in capsys.readouterr().err
    assert path.read_bytes() == b"as it was"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["file/errors.npz", "folder"])
def test_a_file_that_cannot_be_written_is_said_before_the_work(
    fits: list[FitPlan], tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    assert main(["calibrate", "--pipeline", "--fit", str(tmp_path / place)]) == 1
    assert str(tmp_path / place.partition("/")[0]) in capsys.readouterr().err
    assert fits == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "--data"),
        (["runs/final/last"], "--data"),
        (["--data", "crops"], "checkpoint"),
        (["runs/final/last", "--pipeline"], "checkpoint"),
        (["--pipeline", "--data", "crops"], "--data"),
        (["--pipeline", "--hand-model", "MANO_RIGHT.pkl"], "--hand-model"),
        (["--pipeline", "--models", "mediapipe"], "mediapipe"),
        (["runs/final/last", "--data", "crops", "--models", "final"], "--models"),
        (["runs/final/last", "--data", "crops", "--seed", "0"], "--seed"),
        (["runs/final/last", "--data", "crops", "--plots", "plots"], "--plots"),
        (["runs/final/last", "--data", "crops", "--model-dir", "elsewhere"], "--model-dir"),
        (["runs/final/last", "--data", "crops", "--json"], "--json"),
        (["--fit", "errors.npz"], "--pipeline"),
        (["runs/final/last", "--data", "crops", "--fit", "errors.npz"], "--fit"),
        (["--pipeline", "--fit", "errors.npz", "--data", "crops"], "--data"),
        (["--pipeline", "--fit", "errors.npz", "--plots", "plots"], "--plots"),
        (["--pipeline", "--fit", "errors.npz", "--json"], "--json"),
        (["--pipeline", "--fit", "errors.npz", "--models", "final", "amvur"], "--models"),
        (["--pipeline", "--fit", "errors.npz", "--models", "mediapipe"], "mediapipe"),
    ],
)
def test_options_that_do_not_go_together_are_said(
    plans: list[Plan], fits: list[FitPlan], capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    assert main(["calibrate", *words]) == 1
    assert named in capsys.readouterr().err
    assert plans == fits == []


def test_no_scenes_and_unknown_models_are_refused(plans: list[Plan]) -> None:
    for words in (["--count", "0"], ["--models", "nobody"]):
        with wrong_usage():
            main(["calibrate", "--pipeline", *words])
    assert plans == []
