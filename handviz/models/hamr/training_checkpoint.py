"""HAMR's checkpoints: the network, its predictions and its export."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handviz.core.paths import model_file
from handviz.core.records import CROP_SIZE, NetworkOutput
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.detection.landmark_network import LandmarkNetwork
from handviz.hand_models.template import HandTemplate
from handviz.models.hamr.export import ExportModel, export_onnx
from handviz.models.hamr.model import Hamr, ModelConfig, build_model, config_from_saved
from handviz.models.hamr.samples import inputs_of_batch, inputs_of_images
from handviz.training.checkpoint import Architecture, load_network, read_metadata, variance_scales
from handviz.training.families import ExportedFile, Predictor
from handviz.training.samples import image_batch

ARCHITECTURE = Architecture("hamr", build_model, config_from_saved)
UNFITTED_STD_MM = 10.0
"""Root of the sum of a vertex's three variances, before ``handviz calibrate`` has fitted their factor."""
BATCH = 16
CHECK_CROPS = 3


def load_checkpoint(directory: Path, template: HandTemplate) -> tuple[Hamr, ModelConfig, dict[str, Any]]:
    """Return network, config and notes; HandvizError for a foreign, damaged or mismatching checkpoint."""
    return load_network(directory, template, ARCHITECTURE)


def constant_std_mm(notes: dict[str, Any]) -> float:
    """Return the one standard deviation of all points of a checkpoint: the root of the sum of three variances."""
    return UNFITTED_STD_MM * math.sqrt(variance_scales(notes)[0])


def predictor(directory: Path, template: HandTemplate) -> Predictor:
    """Return the predictions of the network as it is exported; HandvizError if the folder is not a checkpoint."""
    model, config, notes = load_checkpoint(directory, template)
    exported = ExportModel(model, template).eval()
    network = LandmarkNetwork() if config.form == "cascade" else None
    std_m = constant_std_mm(notes) / MILLIMETRES_PER_METRE / math.sqrt(3)

    @torch.no_grad()
    def predict(images: NDArray[np.uint8]) -> list[NetworkOutput]:
        hands: list[NetworkOutput] = []
        for start in range(0, len(images), BATCH):
            inputs = inputs_of_batch(network, image_batch(images[start : start + BATCH]))
            found = exported.exported(model(inputs))
            hands += [_hand(dict(zip(found._fields, row, strict=True)), std_m) for row in zip(*found, strict=True)]
        return hands

    return predict


def _hand(row: dict[str, torch.Tensor], std_m: float) -> NetworkOutput:
    arrays = {name: value.numpy() for name, value in row.items()}
    return NetworkOutput(
        vertices_m=arrays["vertices_m"],
        keypoints_m=arrays["keypoints_m"],
        rotation=arrays["rotation"],
        scale=float(arrays["scale"]),
        translation=arrays["translation"],
        vertex_std_m=np.full_like(arrays["vertices_m"], std_m),
        keypoint_std_m=np.full_like(arrays["keypoints_m"], std_m),
        hand_probability=float(arrays["hand_probability"]),
        heatmaps=arrays["heatmaps"],
    )


def export(checkpoint: Path, template: HandTemplate, model_dir: Path) -> ExportedFile:
    """Write a checkpoint as ONNX file; HandvizError if that differs from PyTorch."""
    model, config, notes = load_checkpoint(checkpoint, template)
    images = np.random.default_rng(0).integers(0, 256, (CHECK_CROPS, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    check = (
        inputs_of_images(LandmarkNetwork(), images)
        if config.form == "cascade"
        else inputs_of_batch(None, image_batch(images))
    )
    entries = {
        "handviz.commit": str(read_metadata(checkpoint).get("commit", "unknown")),
        "handviz.samples_seen": str(notes.get("samples_seen", 0)),
        "handviz.form": f"{config.form} x {config.stages}, {config.iterations} iterations",
    }
    path = model_file("hamr", model_dir)
    difference = export_onnx(model, template, path, entries, constant_std_mm(notes), check)
    return ExportedFile(path, difference, "m")
