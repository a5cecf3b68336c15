"""HAMR's checkpoints: the network, its predictions and its export."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray

from handviz.core.json_files import Within, check_value
from handviz.core.paths import model_file
from handviz.core.records import CROP_SIZE, NetworkOutput
from handviz.detection.landmark_network import LandmarkNetwork
from handviz.hand_models.template import HandTemplate
from handviz.models.hamr.export import ExportModel, export_onnx
from handviz.models.hamr.model import Hamr, ModelConfig, build_model, config_from_saved
from handviz.models.hamr.samples import inputs_of_batch, inputs_of_images
from handviz.models.hamr.spread import fit_spread
from handviz.models.onnx_contract import HEATMAP_SPREAD_KEY
from handviz.training.checkpoint import Architecture, constant_std_mm, load_network, read_metadata
from handviz.training.families import ExportedFile, Predictor, with_one_std
from handviz.training.samples import image_batch, load_images

ARCHITECTURE = Architecture("hamr", build_model, config_from_saved)
BATCH = 16
CHECK_CROPS = 3


@dataclass(frozen=True)
class _SpreadNotes:
    """What the notes hold of the heatmaps' calibration."""

    heatmap_spread: tuple[Annotated[float, Within(ge=0, le=1e6)], Annotated[float, Within(ge=0, le=1e6)]] = (1.0, 0.0)


def load_checkpoint(directory: Path, template: HandTemplate) -> tuple[Hamr, ModelConfig, dict[str, Any]]:
    """Return network, config and notes; HandvizError for a foreign, damaged or mismatching checkpoint."""
    return load_network(directory, template, ARCHITECTURE)


def heatmap_spread(notes: dict[str, Any]) -> tuple[float, float]:
    """Return scale and floor of a checkpoint's heatmaps' spread (``spread.py``); 1 and 0 before they are fitted."""
    found = check_value(notes, _SpreadNotes, "the checkpoint's calibration", "calibrate it again")
    return found.heatmap_spread


def calibrated_spread(directory: Path, data: Path, count: int | None, template: HandTemplate) -> dict[str, Any]:
    """Return the notes of the heatmaps' spread, fitted on rendered crops that show a hand."""
    model, config, _ = load_checkpoint(directory, template)
    model.eval()
    network = LandmarkNetwork() if config.form == "cascade" else None
    samples = load_images((data,), template, count)
    errors, spreads = [], []
    for ids in torch.arange(len(samples)).split(BATCH):
        images, truth = samples.batch(ids)
        with torch.no_grad():
            _, _, found = model.seen(inputs_of_batch(network, images))
        rows = truth.is_hand
        errors.append((found.position - truth.keypoints_crop)[rows].flatten(0, 1).numpy())
        spreads.append(found.covariance[rows].flatten(0, 1).numpy())
    scale, floor = fit_spread(np.concatenate(errors), np.concatenate(spreads))
    return {"heatmap_spread": [scale, floor]}


def predictor(directory: Path, template: HandTemplate) -> Predictor:
    """Return the predictions of the network as it is exported; HandvizError if the folder is not a checkpoint."""
    model, config, notes = load_checkpoint(directory, template)
    exported = ExportModel(model, template).eval()
    network = LandmarkNetwork() if config.form == "cascade" else None
    std_mm = constant_std_mm(notes)

    @torch.no_grad()
    def predict(images: NDArray[np.uint8]) -> list[NetworkOutput]:
        hands: list[NetworkOutput] = []
        for start in range(0, len(images), BATCH):
            inputs = inputs_of_batch(network, image_batch(images[start : start + BATCH]))
            found = exported.exported(model(inputs))
            rows = zip(*(part.numpy() for part in found), strict=True)
            hands += [with_one_std(dict(zip(found._fields, row, strict=True)), std_mm) for row in rows]
        return hands

    return predict


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
    scale, floor = heatmap_spread(notes)
    entries[HEATMAP_SPREAD_KEY] = f"{scale:.6g} {floor:.6g}"
    path = model_file("hamr", model_dir)
    difference = export_onnx(model, template, path, entries, constant_std_mm(notes), check)
    return ExportedFile(path, difference, "m")
