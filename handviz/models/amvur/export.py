"""Exports a trained variant as one ONNX file with the outputs of ``NetworkOutput`` and compares it with PyTorch."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import atomic_path, make_folder
from handviz.core.gaussian import keypoints_from_vertices
from handviz.core.records import CROP_SIZE, KEYPOINT_COUNT
from handviz.core.units import DECIMETRES_PER_METRE, METRES_PER_CENTIMETRE
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.family import FAMILY
from handviz.models.amvur.features import PRESENCE_NUMBER, RIGHT_HAND_NUMBER, WORLD_NUMBERS
from handviz.models.amvur.model import HandModel, ModelConfig
from handviz.models.onnx_file import (
    INPUT_NAME,
    add_metadata,
    as_bytes,
    as_floats,
    entries_of_model,
    refused,
    rounded_to_half,
    store_as_half,
    write_onnx,
)

logger = logging.getLogger(__name__)
MAX_DIFFERENCE_CM = 1e-4


class ExportOutput(NamedTuple):
    """Batches of the fields of ``records.NetworkOutput``, in metres."""

    vertices_m: Tensor
    vertex_std_m: Tensor
    keypoints_m: Tensor
    keypoint_std_m: Tensor
    rotation: Tensor
    scale: Tensor
    translation: Tensor
    right_hand: Tensor
    landmarks_m: Tensor
    presence: Tensor


OUTPUT_NAMES = tuple({"landmarks_m": "witness_m"}.get(name, name) for name in ExportOutput._fields)
"""The fields as an ONNX file names them: its contract keeps the names of version 0.1."""


class ExportModel(nn.Module):
    """Image (B, 3, 224, 224), uint8 or in [0, 1] -> ExportOutput: units and keypoints for the live program."""

    regressor: Tensor

    def __init__(self, model: HandModel, template: HandTemplate, std: "CalibrationMetadata") -> None:
        super().__init__()
        self.model, self.std = model, std
        regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)
        self.register_buffer("regressor", regressor, persistent=False)

    def forward(self, image: Tensor) -> ExportOutput:
        cached = self.model.cached(as_floats(image))
        output, landmarks = self.model.from_cached(cached), cached.landmarks
        keypoints = keypoints_from_vertices(
            output.mean_cm, output.log_variance, self.regressor, self.std.vertex_correlation
        )
        vertex_unit, keypoint_unit = (
            METRES_PER_CENTIMETRE * math.sqrt(scale)
            for scale in (self.std.vertex_variance_scale, self.std.keypoint_variance_scale)
        )
        return ExportOutput(
            vertices_m=output.mean_cm * METRES_PER_CENTIMETRE,
            vertex_std_m=torch.exp(0.5 * output.log_variance) * vertex_unit,
            keypoints_m=keypoints.mean * METRES_PER_CENTIMETRE,
            keypoint_std_m=torch.exp(0.5 * keypoints.log_variance) * keypoint_unit,
            rotation=output.camera.rotation,
            scale=output.camera.scale / METRES_PER_CENTIMETRE,
            translation=output.camera.translation,
            right_hand=torch.ones_like(output.camera.scale) if landmarks is None else landmarks[:, RIGHT_HAND_NUMBER],
            landmarks_m=torch.zeros_like(keypoints.mean) if landmarks is None else _world_m(landmarks),
            presence=torch.zeros_like(output.camera.scale) if landmarks is None else landmarks[:, PRESENCE_NUMBER],
        )


def _world_m(landmarks: Tensor) -> Tensor:
    """Return MediaPipe's world landmarks (B, 21, 3) in metres from all landmark numbers (B, 128)."""
    return landmarks[:, WORLD_NUMBERS].unflatten(1, (KEYPOINT_COUNT, 3)) / DECIMETRES_PER_METRE


@dataclass(frozen=True)
class CalibrationMetadata:
    """The factors from log-variances to the reported standard deviations."""

    vertex_correlation: float
    """Assumed between errors of the vertices that a keypoint is computed from."""
    vertex_variance_scale: float = 1.0
    """Fitted on a validation split by ``handviz calibrate``; 1 where it was not."""
    keypoint_variance_scale: float = 1.0


@dataclass(frozen=True)
class ExportMetadata:
    """Metadata of the file beside its variant and hand model."""

    commit: str
    samples_seen: int
    std: CalibrationMetadata
    supervision: str = "full"
    """"weak": trained on 2D joints alone"""


def _entries(config: ModelConfig, metadata: ExportMetadata) -> dict[str, str]:
    """Return the metadata of a file: what every family's files say of their model, then what is AMVUR's own."""
    (spec,) = (model for model in FAMILY.models if model.id == config.variant)
    return {
        **entries_of_model(spec, spec.provides if config.has_landmark_head else spec.provides - {"landmarks"}),
        "handviz.variant": config.variant,
        "handviz.backbone": config.backbone,
        "handviz.tokens": f"{config.tokens} x {config.width}",
        "handviz.commit": metadata.commit,
        "handviz.samples_seen": str(metadata.samples_seen),
        "handviz.evidence": config.features,
        "handviz.supervision": metadata.supervision,
        "handviz.vertex_correlation": f"{metadata.std.vertex_correlation:g}",
        "handviz.vertex_variance_scale": f"{metadata.std.vertex_variance_scale:g}",
        "handviz.keypoint_variance_scale": f"{metadata.std.keypoint_variance_scale:g}",
    }


def largest_difference_cm(exported: ExportModel, path: Path, images: Tensor) -> float:
    """Return the largest difference of any output between PyTorch and ONNX for images (B, 3, 224, 224), in cm."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    if session.get_inputs()[0].type == "tensor(uint8)":
        images = as_bytes(images)
    with torch.no_grad():
        expected = exported(images)
    outputs = session.run(list(OUTPUT_NAMES), {INPUT_NAME: images.numpy()})
    found = dict(zip(ExportOutput._fields, outputs, strict=True))
    # By how many centimetres a unit moves points at a decimetre from the wrist.
    units = dict.fromkeys(found, 100.0) | dict.fromkeys(("rotation", "translation"), 10.0)
    units |= dict.fromkeys(("scale", "right_hand", "presence"), 1.0)
    # Python's max would ignore NaN.
    return float(np.max([np.abs(found[name] - getattr(expected, name).numpy()).max() * units[name] for name in found]))


def export_onnx(
    model: HandModel, config: ModelConfig, template: HandTemplate, path: Path, metadata: ExportMetadata, *,
    check_images: Tensor | None = None,
) -> float:  # fmt: skip
    """Write the file and return the largest difference (cm) from PyTorch; HandvizError if it is above 1e-4 cm.

    The model's weights are rounded to float16, in place, which halves the file; it still computes in float32.
    """
    exported = ExportModel(rounded_to_half(model), template, metadata.std).eval()
    make_folder(path.parent)
    if check_images is None:
        check_images = torch.rand(3, 3, CROP_SIZE, CROP_SIZE, generator=torch.Generator().manual_seed(0))
    with atomic_path(path) as part:
        write_onnx(exported, part, OUTPUT_NAMES, kind=torch.uint8)
        store_as_half(part)
        add_metadata(part, template, _entries(config, metadata))
        difference = largest_difference_cm(exported, part, check_images)
        if not difference <= MAX_DIFFERENCE_CM:
            refused_path = refused(part, path)
            raise HandvizError(
                f"the ONNX file differs from PyTorch by {difference:.2g} cm; it is saved as {refused_path}",
                ErrorCode.OUTPUT_DIFFERS,
            )
    return difference
