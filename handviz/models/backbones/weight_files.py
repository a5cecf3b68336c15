"""Weights in safetensors files, which are believed only if every number is finite."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor


def load_weights(path: Path) -> dict[str, Tensor]:
    """Return the file's weights; ValueError if one is not finite, OSError or SafetensorError if it is damaged."""
    weights = load_file(path)
    for name, weight in weights.items():
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            raise ValueError(f"its weights {name:.80} are not finite: it is damaged")
    return weights
