"""Weights that are not finite are refused by every reader of safetensors."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from handviz.core.errors import ErrorCode
from handviz.core.paths import BACKBONE_FILE
from handviz.models.backbones.mediapipe_hand import load_mediapipe_landmark_net
from handviz.models.backbones.weight_files import load_weights
from tests.errors import raises


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_single_number_is_enough(tmp_path: Path, number: float) -> None:
    path = tmp_path / "weights.safetensors"
    weights = {"one": torch.zeros(3, 4), "two": torch.zeros(5), "count": torch.zeros(2, dtype=torch.int64)}
    save_file(weights, path)
    assert load_weights(path).keys() == weights.keys()
    weights["two"][3] = number
    save_file(weights, path)
    with pytest.raises(ValueError, match="two"):
        load_weights(path)


def test_the_backbone_is_checked(tmp_path: Path) -> None:
    weights = load_file(BACKBONE_FILE)
    name = sorted(weights)[7]
    weights[name].view(-1)[-1] = float("nan")
    path = tmp_path / "backbone.safetensors"
    save_file(weights, path)
    with raises(ErrorCode.MODEL_DAMAGED, match=name):
        load_mediapipe_landmark_net(path)
