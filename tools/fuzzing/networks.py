"""Doors of networks and checkpoints. PyTorch is imported when such a door is opened."""

from pathlib import Path

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import CROP_SIZE, Detection, HandCrop
from handviz.hand_models.open_hand import load_open_hand
from tools.fuzzing.door import Door, check, check_finite


def write_onnx(folder: Path) -> None:
    """Write a tiny network with the inputs and outputs of the real ones."""
    from tests.tiny_network import write_network

    write_network(folder / "handviz_final.onnx")


def read_onnx_session(path: Path) -> None:
    """Load a network and reconstruct a grey crop."""
    from handviz.models.reconstructor import OnnxReconstructor

    network = OnnxReconstructor(path, device="cpu")
    image = np.full((CROP_SIZE, CROP_SIZE, 3), 128, np.uint8)
    hand = network.reconstruct([HandCrop(image, np.eye(2, 3), Detection("right", 1.0, np.zeros((21, 2))))])[0]
    check_finite(hand.vertices_m, "a vertex")
    check(hand.keypoints_m.shape == (21, 3), "keypoints of another shape")


def read_onnx_weights(path: Path) -> None:
    """Read a network's weights, to train on; the tiny network has none, so at best it is refused."""
    from handviz.models.amvur.from_onnx import read_onnx

    read_onnx(path, load_open_hand())


def write_checkpoint(folder: Path) -> None:
    """Write a checkpoint of a narrow network."""
    import torch

    from handviz.models.amvur.model import ModelConfig, build_model
    from handviz.training.checkpoint import save_checkpoint

    torch.manual_seed(0)
    config = ModelConfig(width=16, regressor_width=16, feature_width=16, feature_layers=1)
    template = load_open_hand()
    state = {"step": 3, "optimiser": {"state": {0: {"exp_avg": torch.ones(4)}}}, "generator": torch.zeros(8)}
    save_checkpoint(
        folder / "last", build_model(config, template), config, {"samples_seen": 3}, template, state, family="amvur"
    )


def read_checkpoint(folder: Path) -> None:
    """Load a checkpoint, whose weights must be finite."""
    from handviz.models.amvur.training_checkpoint import load_checkpoint

    model, _, notes = load_checkpoint(folder / "last", load_open_hand())
    check(isinstance(notes, dict), "notes that are no object")
    for name, value in model.state_dict().items():
        check_finite(value.numpy(), name)


def read_resume_state(folder: Path) -> None:
    """Load the optimiser's state."""
    from handviz.training.checkpoint import load_resume_state

    load_resume_state(folder / "last")


def write_weights(folder: Path) -> None:
    """Write a small file of weights."""
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.ones(3, 4), "b": torch.arange(5)}, folder / "weights.safetensors", {"note": "x"})


def read_weights(path: Path) -> None:
    """Load weights, which must be finite."""
    from safetensors import SafetensorError

    from handviz.models.backbones.weight_files import load_weights

    try:
        weights = load_weights(path)
    except (ValueError, OSError, SafetensorError) as error:  # which its callers name
        raise HandvizError(str(error), ErrorCode.MODEL_DAMAGED) from error
    for name, value in weights.items():
        check_finite(value.float().numpy(), name)


DOORS = (
    Door("networks", write_onnx, read_onnx_session),
    Door("trained_networks", write_onnx, read_onnx_weights, whole="refused"),
    Door("checkpoints", write_checkpoint, read_checkpoint, damaged="last/*.safetensors", is_folder=True),
    Door("resume_states", write_checkpoint, read_resume_state, damaged="last/*.pt", is_folder=True),
    Door("weights", write_weights, read_weights),
)
