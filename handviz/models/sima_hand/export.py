"""Exports both networks as ONNX files that go on where MediaPipe's landmark network ends, and compares with PyTorch."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import atomic_path, make_folder
from handviz.core.onnx_runtime import session_options
from handviz.core.records import KEYPOINT_COUNT
from handviz.core.units import DECIMETRES_PER_METRE, METRES_PER_CENTIMETRE
from handviz.detection.landmark_network import MIDDLE_MAP_SHAPE
from handviz.hand_models.template import HandTemplate
from handviz.models.landmark_numbers import LANDMARK_NUMBERS, PRESENCE_NUMBER, RIGHT_HAND_NUMBER, WORLD_NUMBERS
from handviz.models.onnx_contract import CONSTANT_STD_KEY
from handviz.models.onnx_file import (
    INPUT_NAME,
    add_metadata,
    as_bytes,
    as_floats,
    entries_of_model,
    refused,
    rounded_to_half,
    store_as_half,
    without_norms,
    write_onnx,
)
from handviz.models.sima_hand.family import SIMA
from handviz.models.sima_hand.model import Inputs, ModelConfig, ModelOutput, SimaHand

MULTI_VIEW = "sima_mvr"
"""In place of a model's id, of a file that takes several views: no model of the program."""
MAX_DIFFERENCE = 1e-4
"""Of any output: metres, rotations, half-sides."""
LANDMARK_INPUTS: dict[str, tuple[int, ...]] = {
    "keypoints": (KEYPOINT_COUNT, 3),
    "world_m": (KEYPOINT_COUNT, 3),
    "presence": (),
    "right_hand": (),
}
"""Fields of ``records.CropLandmarks`` that a file takes beside the middle map, with their shapes without the batch."""


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
        landmarks = inputs.landmarks
        assert landmarks is not None
        assert landmarks.shape[-1] == LANDMARK_NUMBERS
        points = (KEYPOINT_COUNT, 3)
        arrays["keypoints"] = landmarks[..., : WORLD_NUMBERS.start].unflatten(-1, points).numpy()
        arrays["world_m"] = (landmarks[..., WORLD_NUMBERS].unflatten(-1, points) / DECIMETRES_PER_METRE).numpy()
        arrays["presence"] = landmarks[..., PRESENCE_NUMBER].numpy()
        arrays["right_hand"] = landmarks[..., RIGHT_HAND_NUMBER].numpy()
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
    make_folder(path.parent)
    with atomic_path(path) as part:
        kind = torch.uint8 if takes_image else torch.float32
        free_views = not is_single and config.fixed_views is None
        write_onnx(exported, part, ExportedHand._fields, shapes, kind, views=free_views)
        store_as_half(part)
        add_metadata(part, template, {**stated, **entries, CONSTANT_STD_KEY: f"{constant_std_mm:.4g}"})
        difference = _difference(exported, part, check)
        if not difference <= MAX_DIFFERENCE:
            raise HandvizError(
                f"the ONNX file differs from PyTorch by {difference:.2g}; it is saved as {refused(part, path)}",
                ErrorCode.OUTPUT_DIFFERS,
            )
    return difference


def _difference(exported: ExportModel, path: Path, check: Inputs) -> float:
    session = onnxruntime.InferenceSession(path, session_options(), providers=["CPUExecutionProvider"])
    arrays = arrays_of(check, exported.model.config)
    found = session.run(list(ExportedHand._fields), arrays)
    with torch.no_grad():
        expected = exported(*(torch.from_numpy(array) for array in arrays.values()))
    # Python's max would ignore NaN.
    return float(np.max([np.abs(mine - true.numpy()).max() for mine, true in zip(found, expected, strict=True)]))
