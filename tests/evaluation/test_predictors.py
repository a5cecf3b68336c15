"""Evaluation of models of the registry: by their id, with their own crops, with and without uncertainty."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.core.records import DEFAULT_CROP, CropSpec, NetworkOutput
from handviz.data.synthetic.dataset import Crops, read_shard
from handviz.evaluation.calibration import calibrate, fit_variance_scale
from handviz.evaluation.card import NO_FIGURES_OF_STD, card, uncertainty_of
from handviz.evaluation.evaluate import collect
from handviz.evaluation.predictors import ModelPredictor, crop_of, recropped
from handviz.hand_models.open_hand import load_open_hand
from tests.errors import raises
from tests.made_up_families import MadeUpModel, installed, made_up_family, plain_hand, std_of

SMOOTH = np.stack(np.meshgrid(np.arange(224), np.arange(224), indexing="xy"), axis=-1)


def ramp() -> np.ndarray:
    """Return crops (1, 224, 224, 3) whose red grows along x and whose green grows along y."""
    return np.concatenate([SMOOTH, np.full((224, 224, 1), 7)], axis=2).astype(np.uint8)[None]


def test_crops_of_the_usual_side_and_margin_stay_the_same_bytes() -> None:
    assert recropped(ramp(), DEFAULT_CROP) is not None
    np.testing.assert_array_equal(recropped(ramp(), DEFAULT_CROP), ramp())
    np.testing.assert_array_equal(recropped(ramp(), replace(DEFAULT_CROP, is_upright=False)), ramp())


@pytest.mark.parametrize("size_px", [112, 128, 256])
def test_crops_of_another_side_show_the_same(size_px: int) -> None:
    (found,) = recropped(ramp(), CropSpec(size_px=size_px))
    assert found.shape == (size_px, size_px, 3)
    centres = (np.arange(size_px) + 0.5) * 224 / size_px - 0.5
    inside = slice(2, -2)
    np.testing.assert_allclose(found[size_px // 2, inside, 0], centres[inside], atol=1.5)
    np.testing.assert_allclose(found[inside, size_px // 2, 1], centres[inside], atol=1.5)


def test_a_smaller_margin_is_the_middle_and_a_larger_one_has_a_black_border() -> None:
    (middle,) = recropped(ramp(), CropSpec(224, DEFAULT_CROP.side_per_extent / 2))
    np.testing.assert_allclose(middle[112, 2:-2:20, 0], 56 + np.arange(224)[2:-2:20] / 2, atol=1.5)
    (wide,) = recropped(ramp(), CropSpec(224, DEFAULT_CROP.side_per_extent * 2))
    assert not wide[:50].any()
    assert not wide[:, -50:].any()
    np.testing.assert_allclose(wide[112, 60:164:20, 0], (np.arange(60, 164, 20) - 56) * 2, atol=2.5)


def test_a_predictor_says_which_crop_it_takes() -> None:
    predict = ModelPredictor(MadeUpModel(lambda count: [plain_hand()] * count), CropSpec(128))
    assert crop_of(predict).size_px == 128
    assert crop_of(lambda images: []) == DEFAULT_CROP


@pytest.fixture(scope="module")
def hands(rendered_hands: Path) -> Path:
    return rendered_hands


def model_of(**changes: Any) -> MadeUpModel:
    return MadeUpModel(lambda count: [plain_hand(**changes)] * count)


def answers_of(hands: Path, model: MadeUpModel) -> Any:
    return collect([Crops(hands, 5)], ModelPredictor(model, CropSpec(128)), load_open_hand())


def test_a_model_without_uncertainty_has_errors_alone_on_its_card(hands: Path) -> None:
    model = model_of()
    answers = answers_of(hands, model)
    assert {crop.image.shape for crop in model.crops} == {(128, 128, 3)}
    assert uncertainty_of(answers) == "none"
    found = vars(card(answers))
    # Five crops need not have a heavily hidden hand.
    by_crops = {"pa_mpjpe_visible_mm", "pa_mpjpe_hidden_mm"}
    assert {name for name, value in found.items() if np.isnan(value)} - by_crops == set(NO_FIGURES_OF_STD)
    assert found["pa_mpjpe_mm"] > 1
    assert calibrate(answers) == ()
    with raises(ErrorCode.NOT_PROVIDED):
        fit_variance_scale(answers)


def test_one_standard_deviation_for_all_vertices_is_recognised(hands: Path) -> None:
    constant = {"vertex_std_m": std_of(0.003, 778), "keypoint_std_m": std_of(0.003, 21)}
    answers = answers_of(hands, model_of(**constant))
    assert uncertainty_of(answers) == "constant"
    assert card(answers).std_mm == pytest.approx(3 * np.sqrt(3), rel=1e-4)
    varied = constant["vertex_std_m"] * np.linspace(1, 2, 778)[:, None]
    assert uncertainty_of(answers_of(hands, model_of(**constant | {"vertex_std_m": varied}))) == "per_vertex"


def test_deviations_that_are_partly_not_finite_are_an_error(hands: Path) -> None:
    std = std_of(0.003, 778)
    std[0] = np.nan
    answers = answers_of(hands, model_of(vertex_std_m=std, keypoint_std_m=std_of(0.003, 21)))
    with raises(ErrorCode.NOT_FINITE):
        card(answers)


def test_the_command_takes_ids_and_prints_dashes_and_nulls(
    hands: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    constant = {"vertex_std_m": std_of(0.003, 778), "keypoint_std_m": std_of(0.003, 21)}
    steady = made_up_family("steady", lambda count: [plain_hand(**constant)] * count)
    options = ("--data", str(hands), "--count", "5", "--calibration", "--plots", str(tmp_path))
    with installed(stranger=made_up_family(), other=steady):
        assert main(["evaluate", "plain", "steady", *options]) == 0
        text = capsys.readouterr().out
        assert main(["evaluate", "plain", "steady", *options, "--json"]) == 0
        found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert "| | plain | steady |" in text
    assert "nan" not in text
    assert "plain predicts no uncertainty" in text
    assert "steady predicts one standard deviation for all vertices of a hand" in text
    assert "| mean standard deviation, mm | – | 5.20 |" in text
    assert found["uncertainty"] == {"plain": "none", "steady": "constant"}
    assert found["models"]["plain"]["nll"] is None
    assert found["calibration"]["plain"] == []
    assert {path.stem for path in tmp_path.iterdir()} == {"reliability_steady", "sparsification_steady"}


def test_a_file_of_a_model_s_name_is_the_file(hands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plain").mkdir()
    with installed(stranger=made_up_family()):
        assert main(["evaluate", "plain", "--data", str(hands), "--count", "5"]) == 1


def test_a_model_s_wrong_answer_is_an_error_of_the_command(hands: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def wrong(count: int) -> list[NetworkOutput]:
        return [plain_hand(keypoints_m=np.zeros((20, 3)))] * count

    with installed(stranger=made_up_family("peculiar", wrong)):
        assert main(["evaluate", "peculiar", "--data", str(hands), "--count", "5"]) == 1
    assert "peculiar" in capsys.readouterr().err
    assert len(read_shard(hands, 0).images) >= 5
