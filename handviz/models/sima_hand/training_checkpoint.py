"""SiMA-Hand's checkpoints: the networks, their predictions and their export."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import model_file
from handviz.core.records import CROP_SIZE, NetworkOutput
from handviz.detection.landmark_network import LandmarkNetwork
from handviz.hand_models.template import HandTemplate
from handviz.models.sima_hand.export import MULTI_VIEW, ExportModel, export_onnx
from handviz.models.sima_hand.family import SIMA
from handviz.models.sima_hand.model import ModelConfig, SimaHand, build_model, config_from_saved
from handviz.models.sima_hand.samples import inputs_of_batch, of_views
from handviz.training.checkpoint import Architecture, constant_std_mm, load_network, read_metadata
from handviz.training.families import ExportedFile, Predictor, with_one_std
from handviz.training.samples import image_batch

ARCHITECTURE = Architecture("sima_hand", build_model, config_from_saved)
BATCH = 16
CHECK_CROPS = 3


def load_checkpoint(directory: Path, template: HandTemplate) -> tuple[SimaHand, ModelConfig, dict[str, Any]]:
    """Return network, config and notes; HandvizError for a foreign, damaged or mismatching checkpoint."""
    return load_network(directory, template, ARCHITECTURE)


def predictor(directory: Path, template: HandTemplate) -> Predictor:
    """Return the predictions of a single-view network as it is exported; HandvizError for any other folder."""
    model, config, notes = load_checkpoint(directory, template)
    if config.network != "svr":
        raise HandvizError(
            f"{directory} holds a multi-view network, which no single crops can be given: "
            "'python -m tools.sima_ablations' measures it",
            ErrorCode.OPTION_CONFLICT,
        )
    exported = ExportModel(model).eval()
    network = LandmarkNetwork() if config.form == "small" else None
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
    views = 0 if config.network == "svr" else config.views
    shape = (CHECK_CROPS * max(views, 1), CROP_SIZE, CROP_SIZE, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    check = inputs_of_batch(LandmarkNetwork() if config.form == "small" else None, image_batch(images))
    check = of_views(check, views) if views else check
    entries = {
        "handviz.commit": str(read_metadata(checkpoint).get("commit", "unknown")),
        "handviz.samples_seen": str(notes.get("samples_seen", 0)),
        "handviz.form": config.form,
    }
    path = model_file(MULTI_VIEW if views else SIMA.id, model_dir)
    difference = export_onnx(model, template, path, entries, constant_std_mm(notes), check)
    return ExportedFile(path, difference, "m")
