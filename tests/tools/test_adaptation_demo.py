"""The demonstration of adaptation: a row shows errors before and after."""

import numpy as np
import pytest
import torch

import tools
from handviz.adaptation.adapt import Outcome, split_rows
from handviz.adaptation.training import Agreement
from handviz.models.amvur.export import CalibrationMetadata, ExportMetadata
from handviz.models.amvur.model import ModelConfig, build_model
from tests.errors import wrong_usage
from tools.adaptation_demo import HEADER, Demonstration


def test_a_row_compares_means_before_and_after(template) -> None:
    small = ModelConfig(variant="prior", feature_width=16, feature_layers=1, width=16, regressor_width=32)
    before, after = Agreement(2.0, 1.5), Agreement(1.0, 1.25)
    notes = ExportMetadata("abc", 7, CalibrationMetadata(0.9))
    model, images = build_model(small, template), torch.zeros(3, 3, 224, 224)
    outcome = Outcome(model, notes, before, after, 1, True, split_rows(50), images, 1.0)
    errors = [np.full(4, value) for value in (8.0, 6.0, 5.0, 5.5)]
    row = Demonstration("plain", 500, 48, 50, outcome, *errors).row()
    assert row.count("|") == HEADER.splitlines()[0].count("|")
    assert row.startswith("| plain 500 | 48/50 | 1.00 | 2.00 -> 1.00 | 1.50 -> 1.25 | yes |")
    assert row.endswith("| 8.00 -> 6.00 (-25.0 %) | 5.00 -> 5.50 (+10.0 %) |")


def test_unknown_looks_and_senseless_numbers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert tools.run("adaptation_demo", ["nothing"]) == 1
    assert "there are plain, stretched" in capsys.readouterr().err
    for option in ("--clips", "--seconds"):
        with wrong_usage():
            tools.run("adaptation_demo", ["plain", option, "0"])
        assert option in capsys.readouterr().err
    assert tools.run("adaptation_demo", ["plain", "--epochs", "0"]) == 1
    assert "epochs is 0" in capsys.readouterr().err
