"""Reads checkpoints of the texture net."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from handviz.errors import HandvizError
from handviz.hand_model.template import HandTemplate
from handviz.nets.texture import TextureConfig, TextureNet
from handviz.train.checkpoint import WEIGHTS, checked_metadata, checked_notes


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
