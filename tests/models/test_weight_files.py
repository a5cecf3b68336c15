"""Weights that are not finite are refused by every reader of safetensors."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from handviz.models.backbones.weight_files import load_weights


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
