"""AMVUR's checkpoints: the network, what its notes say of its standard deviations, its predictions and its export."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.json_files import Within, check_value
from handviz.core.paths import model_file
from handviz.core.records import NetworkOutput
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.export import CalibrationMetadata, ExportMetadata, ExportModel, export_onnx
from handviz.models.amvur.model import HandModel, ModelConfig, build_model, config_from_saved, current_weight_name
from handviz.training.checkpoint import Architecture, load_network, read_metadata, variance_scales
from handviz.training.families import ExportedFile, Predictor
from handviz.training.samples import image_batch

ARCHITECTURE = Architecture("amvur", build_model, config_from_saved, current_weight_name)
NUMBERS = ("scale", "right_hand", "presence", "hand_probability")
"""Fields of ``NetworkOutput`` that are one number."""
BATCH = 16
"""Crops per call of a network."""


def load_checkpoint(directory: Path, template: HandTemplate) -> tuple[HandModel, ModelConfig, dict[str, Any]]:
    """Return model, config and notes; HandvizError for a foreign, damaged or mismatching checkpoint."""
    return load_network(directory, template, ARCHITECTURE)


@dataclass(frozen=True)
class _Loss:
    vertex_correlation: Annotated[float, Within(ge=0, le=1)]


@dataclass(frozen=True)
class _Train:
    loss: _Loss


@dataclass(frozen=True)
class _CorrelationNotes:
    """What the notes hold of the calibration of standard deviations beside the factors of the variances."""

    train: _Train


def calibration_metadata(notes: dict[str, Any]) -> CalibrationMetadata:
    """Return the calibration of the checkpoint's standard deviations; HandvizError if missing or invalid."""
    found = check_value(notes, _CorrelationNotes, "the checkpoint's calibration", "use another checkpoint")
    return CalibrationMetadata(found.train.loss.vertex_correlation, *variance_scales(notes))


def supervision_of(notes: dict[str, Any]) -> str:
    """Return "full" or "weak"; notes of older versions lack it and mean "full"."""
    train = notes.get("train")
    return str(train.get("supervision", "full")) if isinstance(train, dict) else "full"


def remark_of(notes: dict[str, Any]) -> str:
    """Return what the title of a checkpoint's figures must say of its training: "weak", or nothing."""
    return "weak" if supervision_of(notes) == "weak" else ""


def predictor(directory: Path, template: HandTemplate) -> Predictor:
    """Return the predictions of the module that is exported; HandvizError if the folder is not a checkpoint."""
    model, _, notes = load_checkpoint(directory, template)
    return predictor_of(model, template, calibration_metadata(notes))


def predictor_of(model: HandModel, template: HandTemplate, calibration: CalibrationMetadata) -> Predictor:
    """Return the predictions of a network as it is exported."""
    exported = ExportModel(model, template, calibration).eval()

    @torch.no_grad()
    def predict(images: NDArray[np.uint8]) -> list[NetworkOutput]:
        hands = []
        for start in range(0, len(images), BATCH):
            output = exported(image_batch(images[start : start + BATCH]))
            parts = {name: part.numpy() for name, part in output._asdict().items() if part is not None}
            for row in zip(*parts.values(), strict=True):
                fields = dict(zip(parts, row, strict=True))
                numbers = {name: float(fields[name]) for name in NUMBERS if name in fields}
                hands.append(NetworkOutput(**fields | numbers))
        return hands

    return predict


def export(checkpoint: Path, template: HandTemplate, model_dir: Path) -> ExportedFile:
    """Write a checkpoint as the ONNX file of its variant; HandvizError if that differs from PyTorch."""
    model, config, notes = load_checkpoint(checkpoint, template)
    if "samples_seen" not in notes:
        raise HandvizError(
            f"{checkpoint} does not say how many crops it saw (samples_seen): train it again", ErrorCode.FILE_DAMAGED
        )
    metadata = ExportMetadata(
        commit=read_metadata(checkpoint).get("commit", "unknown"),
        samples_seen=notes["samples_seen"],
        std=calibration_metadata(notes),
        supervision=supervision_of(notes),
    )
    path = model_file(config.variant, model_dir)
    return ExportedFile(path, export_onnx(model, config, template, path, metadata), "cm")
