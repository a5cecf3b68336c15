"""Exports HAMR as an ONNX file that goes on where MediaPipe's landmark network ends, and compares it with PyTorch."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from handviz.core.units import DECIMETRES_PER_METRE, METRES_PER_CENTIMETRE
from handviz.hand_models.template import HandTemplate
from handviz.models.hamr.family import FAMILY
from handviz.models.hamr.heatmaps import MAP_SHAPES, Maps
from handviz.models.hamr.model import Hamr, Inputs, ModelConfig, ModelOutput
from handviz.models.landmark_numbers import LANDMARK_INPUTS, landmark_arrays
from handviz.models.onnx_contract import CONSTANT_STD_KEY
from handviz.models.onnx_file import (
    INPUT_NAME,
    add_metadata,
    as_bytes,
    as_floats,
    entries_of_model,
    largest_difference,
    rounded_to_half,
    store_as_half,
    without_norms,
    write_checked,
    write_onnx,
)

MAX_DIFFERENCE = 1e-4
"""Of any output: metres, rotations, half-sides, heights of heatmaps."""


class ExportedHand(NamedTuple):
    """Batches of the fields of ``records.NetworkOutput``, in metres; ``step_`` those of its steps."""

    vertices_m: Tensor
    keypoints_m: Tensor
    rotation: Tensor
    scale: Tensor
    translation: Tensor
    hand_probability: Tensor
    heatmaps: Tensor
    step_vertices_m: Tensor
    step_rotation: Tensor
    step_scale: Tensor
    step_translation: Tensor


class ExportModel(nn.Module):
    """``Hamr`` with outputs as the program takes them."""

    regressor: Tensor

    def __init__(self, model: Hamr, template: HandTemplate) -> None:
        super().__init__()
        self.model = model
        regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)
        self.register_buffer("regressor", regressor, persistent=False)

    def exported(self, output: ModelOutput) -> ExportedHand:
        """Return the outputs in metres."""
        hand, before = output.hand, output.steps[:-1]
        return ExportedHand(
            vertices_m=hand.vertices_cm * METRES_PER_CENTIMETRE,
            keypoints_m=(self.regressor @ hand.vertices_cm) * METRES_PER_CENTIMETRE,
            rotation=hand.rotation,
            scale=hand.scale_per_cm / METRES_PER_CENTIMETRE,
            translation=hand.translation,
            hand_probability=output.hand_logit.sigmoid(),
            heatmaps=output.heatmaps[-1],
            step_vertices_m=torch.stack([step.vertices_cm for step in before], dim=1) * METRES_PER_CENTIMETRE,
            step_rotation=torch.stack([step.rotation for step in before], dim=1),
            step_scale=torch.stack([step.scale_per_cm for step in before], dim=1) / METRES_PER_CENTIMETRE,
            step_translation=torch.stack([step.translation for step in before], dim=1),
        )


class FromImage(ExportModel):
    """Image (B, 3, 224, 224) -> ExportedHand, of the form "hourglass"."""

    def forward(self, image: Tensor) -> ExportedHand:
        return self.exported(self.model(Inputs(None, None, as_floats(image))))


class FromMaps(ExportModel):
    """MediaPipe's maps -> ExportedHand."""

    def forward(self, map_56: Tensor, map_28: Tensor, middle_map: Tensor) -> ExportedHand:
        return self.exported(self.model(Inputs(Maps(map_56, map_28, middle_map), None)))


class FromLandmarks(ExportModel):
    """Fields of ``records.CropLandmarks`` (batches) -> ExportedHand."""

    def forward(
        self,
        map_56: Tensor,
        map_28: Tensor,
        middle_map: Tensor,
        keypoints: Tensor,
        world_m: Tensor,
        presence: Tensor,
        right_hand: Tensor,
    ) -> ExportedHand:
        certain = torch.stack([presence, right_hand], dim=1)
        landmarks = torch.cat([keypoints.flatten(1), world_m.flatten(1) * DECIMETRES_PER_METRE, certain], dim=1)
        return self.exported(self.model(Inputs(Maps(map_56, map_28, middle_map), landmarks)))


def export_model(model: Hamr, template: HandTemplate) -> ExportModel:
    """Return the module that is exported: its inputs are those of ``input_shapes``, in their order."""
    if model.config.form != "cascade":
        return FromImage(model, template)
    return (FromLandmarks if model.config.landmarks else FromMaps)(model, template)


def input_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the inputs of a file of this form by name, with their shapes without the batch."""
    if config.form != "cascade":
        return {INPUT_NAME: (3, 224, 224)}
    return MAP_SHAPES | (LANDMARK_INPUTS if config.landmarks else {})


def arrays_of(inputs: Inputs, config: ModelConfig) -> dict[str, np.ndarray]:
    """Return a file's inputs for what the network takes in training."""
    if inputs.maps is None:
        assert inputs.image is not None
        return {INPUT_NAME: as_bytes(inputs.image).numpy()}
    arrays = {name: part.contiguous().numpy() for name, part in inputs.maps._asdict().items()}
    if config.landmarks:
        assert inputs.landmarks is not None
        arrays |= landmark_arrays(inputs.landmarks.numpy())
    return arrays


def export_onnx(
    model: Hamr, template: HandTemplate, path: Path, entries: dict[str, str], constant_std_mm: float, check: Inputs
) -> float:
    """Write the file; return the largest difference of any output from PyTorch for the inputs ``check``.

    HandvizError if it is above MAX_DIFFERENCE. The weights are rounded to float16, in place, which halves the file.
    """
    exported = export_model(rounded_to_half(without_norms(model)), template).eval()
    (spec,) = FAMILY.models
    takes_image = model.config.form != "cascade"
    stated = {
        **entries_of_model(spec, spec.provides - {"landmarks"} if takes_image else spec.provides),
        "handviz.variant": spec.id,
        **entries,
        CONSTANT_STD_KEY: f"{constant_std_mm:.4g}",
    }

    def write(part: Path) -> None:
        kind = torch.uint8 if takes_image else torch.float32
        write_onnx(exported, part, ExportedHand._fields, input_shapes(model.config), kind)
        store_as_half(part)
        add_metadata(part, template, stated)

    arrays = arrays_of(check, model.config)
    return write_checked(
        path, write, lambda part: largest_difference(exported, part, ExportedHand._fields, arrays), MAX_DIFFERENCE
    )
