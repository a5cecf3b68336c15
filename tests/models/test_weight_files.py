"""Files of weights: their size, and weights that are not finite, which every reader of safetensors refuses."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from handviz.core.paths import MODELS
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


def test_all_shipped_weights_take_less_than_56_megabytes() -> None:
    """A clone and a wheel contain them: MediaPipe's weights stand in them once, and the trunk that models share too."""
    names = [line.split()[1] for line in (MODELS / "SHA256SUMS").read_text().splitlines()]
    assert {"hand_landmarker.task", "handviz_trunk.onnx", "handviz_final.onnx"} <= set(names)
    assert sum((MODELS / name).stat().st_size for name in names) < 56_000_000
