"""Reads checkpoints of the texture net."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from handviz.core.errors import HandvizError
from handviz.hand_models.template import HandTemplate
from handviz.models.texture.network import TextureConfig, TextureNet
from handviz.training.checkpoint import WEIGHTS, checked_metadata, checked_notes


def load_texture_checkpoint(
    directory: Path, template: HandTemplate
) -> tuple[TextureNet, TextureConfig, dict[str, Any]]:
    """Network, its config and notes; raises HandvizError for a foreign, damaged or mismatching checkpoint."""
    metadata = checked_metadata(directory, template)
    try:
        config = TextureConfig(**json.loads(metadata["model"]))
        network = TextureNet(config, template)
        network.load_state_dict(load_file(directory / WEIGHTS))
    except (TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise HandvizError(f"{directory} holds no texture net of this version of handviz ({error})") from error
    return network, config, checked_notes(directory, metadata["notes"])


def matching_weights(
    directory: Path, template: HandTemplate, network: TextureNet
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Notes of a checkpoint, and its weights of the names and shapes of a network; HandvizError if it has none."""
    metadata, own = checked_metadata(directory, template), network.state_dict()
    try:
        found = load_file(directory / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise HandvizError(f"{directory} is damaged ({error})") from error
    known = {name: value for name, value in found.items() if name in own and value.shape == own[name].shape}
    if not known:
        raise HandvizError(f"{directory} has no weight in common with a texture net")
    return checked_notes(directory, metadata["notes"]), known
