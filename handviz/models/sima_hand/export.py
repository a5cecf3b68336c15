"""Exports both networks as ONNX files that go on where MediaPipe's landmark network ends, and compares with PyTorch."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from handviz.core.units import DECIMETRES_PER_METRE, METRES_PER_CENTIMETRE
from handviz.detection.landmark_network import MIDDLE_MAP_SHAPE
from handviz.hand_models.template import HandTemplate
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
from handviz.models.sima_hand.family import SIMA
from handviz.models.sima_hand.model import Inputs, ModelConfig, ModelOutput, SimaHand

MULTI_VIEW = "sima_mvr"
"""In place of a model's id, of a file that takes several views: no model of the program."""
MAX_DIFFERENCE = 1e-4
"""Of any output: metres, rotations, half-sides."""


class ExportedHand(NamedTuple):
    """Batches of the fields of ``records.NetworkOutput``, in metres.

    Of several views mesh and keypoints are (B, ...), all others (B, N, ...).
    """

    vertices_m: Tensor
    keypoints_m: Tensor
    rotation: Tensor
    scale: Tensor
    translation: Tensor
    hand_probability: Tensor


class ExportModel(nn.Module):
    """``SimaHand`` with outputs as the program takes them."""

    def __init__(self, model: SimaHand) -> None:
        super().__init__()
        self.model = model

    def exported(self, output: ModelOutput, views: int = 0) -> ExportedHand:
        """Return the outputs in metres; ``views``: rows of a hand, 0 for a single-view network."""
        found = ExportedHand(
            vertices_m=output.vertices_cm * METRES_PER_CENTIMETRE,
            keypoints_m=(self.model.regressor @ output.vertices_cm) * METRES_PER_CENTIMETRE,
            rotation=output.rotation,
            scale=output.scale_per_cm / METRES_PER_CENTIMETRE,
            translation=output.translation,
            hand_probability=output.hand_logit.sigmoid(),
        )
        if self.model.config.network == "svr":
            return found
        by_hand = ExportedHand(*(part.unflatten(0, (-1, views)) for part in found))
        return by_hand._replace(vertices_m=by_hand.vertices_m[:, 0], keypoints_m=by_hand.keypoints_m[:, 0])


class FromImage(ExportModel):
    """Image (B, 3, 224, 224), or (B, N, 3, 224, 224), -> ExportedHand, of the paper's form."""

    def forward(self, image: Tensor) -> ExportedHand:
        return self.exported(self.model(Inputs(None, None, as_floats(image))), image.shape[1])


class FromMap(ExportModel):
    """MediaPipe's middle map -> ExportedHand."""

    def forward(self, middle_map: Tensor) -> ExportedHand:
        return self.exported(self.model(Inputs(middle_map, None)), middle_map.shape[1])


class FromLandmarks(ExportModel):
    """Fields of ``records.CropLandmarks`` (batches) -> ExportedHand."""

    def forward(
        self, middle_map: Tensor, keypoints: Tensor, world_m: Tensor, presence: Tensor, right_hand: Tensor
    ) -> ExportedHand:
        certain = torch.stack([presence, right_hand], dim=-1)
        parts = [keypoints.flatten(-2), world_m.flatten(-2) * DECIMETRES_PER_METRE, certain]
        return self.exported(self.model(Inputs(middle_map, torch.cat(parts, dim=-1))), middle_map.shape[1])


def export_model(model: SimaHand) -> ExportModel:
    """Return the module that is exported: its inputs are those of ``input_shapes``, in their order."""
    if model.config.form == "paper":
        return FromImage(model)
    return (FromLandmarks if model.config.landmarks else FromMap)(model)


def input_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the inputs of a file by name, with their shapes without the batch and the axis of views."""
    if config.form == "paper":
        return {INPUT_NAME: (3, 224, 224)}
    return {"middle_map": MIDDLE_MAP_SHAPE} | (LANDMARK_INPUTS if config.landmarks else {})


def arrays_of(inputs: Inputs, config: ModelConfig) -> dict[str, np.ndarray]:
    """Return a file's inputs for what the network takes in training."""
    if config.form == "paper":
        assert inputs.image is not None
        return {INPUT_NAME: as_bytes(inputs.image).numpy()}
    assert inputs.middle_map is not None
    arrays = {"middle_map": inputs.middle_map.contiguous().numpy()}
    if config.landmarks:
        assert inputs.landmarks is not None
        arrays |= landmark_arrays(inputs.landmarks.numpy())
    return arrays


def export_onnx(
    model: SimaHand,
    template: HandTemplate,
    path: Path,
    entries: dict[str, str],
    constant_std_mm: float,
    check: Inputs,
) -> float:
    """Write the file; return the largest difference of any output from PyTorch for the inputs ``check``.

    HandvizError if it is above MAX_DIFFERENCE. The weights are rounded to float16 in a copy, which halves the file. A
    multi-view network's file takes any number of views, or the only one that its fusions can concatenate.
    """
    config = model.config
    exported = export_model(rounded_to_half(without_norms(model))).eval()
    takes_image, is_single = config.form == "paper", config.network == "svr"
    provides = SIMA.provides - {"landmarks"} if takes_image else SIMA.provides
    stated = entries_of_model(SIMA, provides) | {"handviz.variant": SIMA.id}
    if not is_single:
        stated |= {"handviz.model": MULTI_VIEW, "handviz.variant": MULTI_VIEW}
    shapes = input_shapes(config)
    if config.fixed_views is not None:
        shapes = {name: (config.fixed_views, *shape) for name, shape in shapes.items()}

    def write(part: Path) -> None:
        kind = torch.uint8 if takes_image else torch.float32
        free_views = not is_single and config.fixed_views is None
        write_onnx(exported, part, ExportedHand._fields, shapes, kind, views=free_views)
        store_as_half(part)
        add_metadata(part, template, {**stated, **entries, CONSTANT_STD_KEY: f"{constant_std_mm:.4g}"})

    arrays = arrays_of(check, model.config)
    return write_checked(
        path, write, lambda part: largest_difference(exported, part, ExportedHand._fields, arrays), MAX_DIFFERENCE
    )
