"""The trial of decoders on the true pose and shape: its hands, its losses and its table."""

import numpy as np
import pytest
import torch

import tools
from handviz.core.gaussian import gaussian_nll
from handviz.hand_models.layer import HandLayer
from handviz.models.amvur.loss_config import LossConfig
from handviz.models.amvur.network import AmvurOutput
from tools.decoder_oracle import LOSSES, drawn_hands, errors_mm, loss_of


class _Exact(torch.nn.Module):
    """Answers with the mesh of the feature, ``factor`` times as large."""

    def __init__(self, template, factor):
        super().__init__()
        self.layer, self.factor = HandLayer(template), factor

    def forward(self, feature):
        vertices_cm = 100 * self.layer(feature[:, :45], feature[:, 45:]).vertices_m
        return AmvurOutput(self.factor * vertices_cm, torch.zeros_like(vertices_cm))


def test_the_feature_is_all_that_is_to_be_known(template):
    hands = drawn_hands(template, 5, 3)
    assert hands.feature.shape == (5, 55)
    # Procrustes takes a size away.
    assert errors_mm(_Exact(template, 1.1), hands, template) == pytest.approx((0, 0), abs=1e-3)
    other = drawn_hands(template, 5, 4)
    assert min(errors_mm(_Exact(template, 1.0), type(hands)(hands.feature, other.vertices_cm), template)) > 3


def test_the_losses_are_those_of_the_training():
    true, regressor = torch.randn(2, 6, 3), torch.rand(4, 6)
    output = AmvurOutput(torch.randn(2, 6, 3), torch.randn(2, 6, 3))
    squares = ((output.mean_cm - true) ** 2).mean() + ((regressor @ (output.mean_cm - true)) ** 2).mean()
    torch.testing.assert_close(loss_of(output, true, regressor, LOSSES["l2"], 0.0), squares)
    independent = LossConfig(vertex_correlation=0.0)
    variance = regressor**2 @ output.log_variance.exp()
    keypoints = gaussian_nll(regressor @ true, regressor @ output.mean_cm, variance.log()).mean()
    expected = gaussian_nll(true, output.mean_cm, output.log_variance).mean() + keypoints
    torch.testing.assert_close(loss_of(output, true, regressor, independent, 0.0), expected)
    early, late = (loss_of(output, true, regressor, LOSSES["squares_first"], part) for part in (0.69, 0.71))
    assert not torch.isclose(early, late)
    assert torch.equal(late, loss_of(output, true, regressor, LOSSES["nll"], 0.0))


def test_the_command_prints_a_row_a_form(capsys):
    words = [
        "--forms",
        "prior:l2",
        "embedding+feed_forward:squares_first",
        "--steps",
        "2",
        "--batch",
        "2",
        "--tests",
        "3",
    ]
    assert tools.run("decoder_oracle", words) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[:2] for row in rows[1:]] == [
        ["| prior", "l2"],
        ["| embedding+feed_forward", "squares_first"],
    ]
    assert all(np.isfinite(float(row.split(" | ")[2])) for row in rows[1:])


@pytest.mark.parametrize("form", ["prior", "none:l2", "prior:none"])
def test_a_form_that_is_none_is_said(form, capsys):
    assert tools.run("decoder_oracle", ["--forms", form]) == 1
    assert "is no form" in capsys.readouterr().err
