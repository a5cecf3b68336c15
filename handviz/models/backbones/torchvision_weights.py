"""Weights of torchvision's classifiers (``resnet50-….pth``, ``efficientnet_b0_….pth``) for our backbones.

handviz does not ship them: their training pictures' terms are not ours to pass on. Names and shapes are torchvision's.
"""

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from handviz.core.errors import HandvizError
from handviz.models.backbones.backbone_interface import Backbone

CLASSIFIERS = ("fc.", "classifier.")


def load_torchvision_weights(backbone: Backbone, path: Path) -> None:
    """Take over all weights before the classifier; HandvizError names what the file lacks or has too much of."""
    found = {name: value for name, value in _read(path).items() if not name.startswith(CLASSIFIERS)}
    own = backbone.state_dict()
    # Old files have no counters of batches, which nothing here reads.
    wanted = {name for name in own if not name.endswith("num_batches_tracked")}
    wrong = sorted((wanted - found.keys()) | (found.keys() - own.keys()))
    wrong += sorted(name for name in wanted & found.keys() if found[name].shape != own[name].shape)
    if wrong:
        kind = type(backbone).__name__
        raise HandvizError(
            f"{path} is not torchvision's file for {kind}: {len(wrong)} weights differ, the first is {wrong[0]}"
        )
    if not all(torch.isfinite(found[name]).all() for name in wanted):
        raise HandvizError(f"{path} holds weights that are not finite: download it again")
    backbone.load_state_dict(own | found)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, SafetensorError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise HandvizError(f"{path} cannot be read as a file of weights ({type(error).__name__})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise HandvizError(f"{path} holds something else than weights by their names")
    return {str(name): value for name, value in state.items()}
