"""Exports a trained variant as an ONNX file with the outputs of ``NetworkOutput`` and compares it with PyTorch.

A file is whole, from the image to the hand, or it holds only the heads of the trunk that handviz ships: what follows
the landmark network (``mediapipe_landmarks.onnx``) and is the same in several models, ``handviz_trunk.onnx``.
"""

import hashlib
import json
import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from torch import Tensor, nn

from handviz.core.gaussian import keypoints_from_vertices
from handviz.core.onnx_runtime import session_options
from handviz.core.paths import MODELS, TRUNK_NAME
from handviz.core.records import CROP_SIZE, KEYPOINT_COUNT
from handviz.core.units import DECIMETRES_PER_METRE, METRES_PER_CENTIMETRE
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.family import FAMILY
from handviz.models.amvur.features import ImageFeatures
from handviz.models.amvur.model import Cached, HandModel, ModelConfig
from handviz.models.landmark_numbers import PRESENCE_NUMBER, RIGHT_HAND_NUMBER, WORLD_NUMBERS
from handviz.models.onnx_contract import HAND_PROBABILITY, KEYPOINT_COVARIANCE
from handviz.models.onnx_file import (
    INPUT_NAME,
    add_metadata,
    as_bytes,
    as_floats,
    entries_of_model,
    rounded_to_half,
    store_as_half,
    write_checked,
    write_onnx,
)
from handviz.models.trunk import FEATURE_NAMES, TRUNK_INPUTS, TRUNK_KEY

logger = logging.getLogger(__name__)
MAX_DIFFERENCE_CM = 5e-4
"""Five micrometres at a decimetre from the wrist: the palm of an image of noise is small, and its rotation has fewer
digits than the joints that it is computed from. A misplaced weight shows in millimetres."""
CONFIG_KEY = "handviz.config"
"""Metadata: the fields of ``ModelConfig`` as JSON; files of before have none."""
HEADS = "heads."
"""Beginning of the names of the weights behind the trunk."""


class ExportedHand(NamedTuple):
    """Batches of the fields of ``records.NetworkOutput`` that heads predict, in metres."""

    vertices_m: Tensor
    vertex_std_m: Tensor
    keypoints_m: Tensor
    keypoint_std_m: Tensor
    rotation: Tensor
    scale: Tensor
    translation: Tensor
    hand_probability: Tensor | None = None
    keypoint_covariance_m2: Tensor | None = None


class ExportOutput(NamedTuple):
    """Batches of the fields of ``records.NetworkOutput``, in metres: those of ``ExportedHand``, then MediaPipe's."""

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
    hand_probability: Tensor | None = None
    keypoint_covariance_m2: Tensor | None = None


OUTPUT_NAMES = tuple({"landmarks_m": "witness_m"}.get(name, name) for name in ExportOutput._fields)
"""The fields as an ONNX file names them: its contract keeps the names of version 0.1."""


def output_names(model: HandModel, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of these names of a file's outputs that the model has."""
    heads = model.heads
    has_covariance = getattr(heads.amvur, "joint_covariance", None) is not None
    lacking = {HAND_PROBABILITY: heads.presence is None, KEYPOINT_COVARIANCE: not has_covariance}
    return tuple(name for name in names if not lacking.get(name, False))


class ExportHeads(nn.Module):
    """ImageFeatures' feature (B, D) and joints (B, 21, W) -> ExportedHand: units and keypoints for the program."""

    regressor: Tensor

    def __init__(self, model: HandModel, template: HandTemplate, std: "CalibrationMetadata") -> None:
        super().__init__()
        self.model, self.std = model, std
        regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)
        self.register_buffer("regressor", regressor, persistent=False)

    def forward(self, feature: Tensor, joints: Tensor | None) -> ExportedHand:
        output = self.model.from_cached(ImageFeatures(feature, joints))
        keypoints = keypoints_from_vertices(
            output.mean_cm, output.log_variance, self.regressor, self.std.vertex_correlation
        )
        vertex_unit, keypoint_unit = (
            METRES_PER_CENTIMETRE * math.sqrt(scale)
            for scale in (self.std.vertex_variance_scale, self.std.keypoint_variance_scale)
        )
        return ExportedHand(
            vertices_m=output.mean_cm * METRES_PER_CENTIMETRE,
            vertex_std_m=torch.exp(0.5 * output.log_variance) * vertex_unit,
            keypoints_m=keypoints.mean * METRES_PER_CENTIMETRE,
            keypoint_std_m=torch.exp(0.5 * keypoints.log_variance) * keypoint_unit,
            rotation=output.camera.rotation,
            scale=output.camera.scale / METRES_PER_CENTIMETRE,
            translation=output.camera.translation,
            hand_probability=None if output.hand_logit is None else output.hand_logit.sigmoid(),
            keypoint_covariance_m2=None
            if output.joint_covariance is None
            else output.joint_covariance.dense() * METRES_PER_CENTIMETRE**2,
        )


class ExportModel(ExportHeads):
    """Image (B, 3, 224, 224), uint8 or in [0, 1] -> ExportOutput."""

    def forward(self, image: Tensor) -> ExportOutput:  # type: ignore[override]
        cached = self.model.cached(as_floats(image))
        hand, landmarks = self.of_cached(cached), cached.landmarks
        return ExportOutput(
            *hand[:-2],
            right_hand=torch.ones_like(hand.scale) if landmarks is None else landmarks[:, RIGHT_HAND_NUMBER],
            landmarks_m=torch.zeros_like(hand.keypoints_m) if landmarks is None else _world_m(landmarks),
            presence=torch.zeros_like(hand.scale) if landmarks is None else landmarks[:, PRESENCE_NUMBER],
            hand_probability=hand.hand_probability,
            keypoint_covariance_m2=hand.keypoint_covariance_m2,
        )

    def of_cached(self, cached: Cached) -> ExportedHand:
        """Return what the heads predict for maps and landmarks."""
        seen = self.model.seen(cached)
        return super().forward(seen.feature, seen.joints)


class ExportTrunk(nn.Module):
    """The landmark network's outputs (``records.CropLandmarks``, batches) -> the inputs of ``ExportHeads``."""

    def __init__(self, model: HandModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, middle_map: Tensor, keypoints: Tensor, world_m: Tensor, presence: Tensor, right_hand: Tensor
    ) -> tuple[Tensor, Tensor]:
        certain = torch.stack([presence, right_hand], dim=1)
        landmarks = torch.cat([keypoints.flatten(1), world_m.flatten(1) * DECIMETRES_PER_METRE, certain], dim=1)
        seen = self.model.seen(Cached(middle_map, landmarks))
        assert seen.joints is not None
        return seen.feature, seen.joints


def trunk_inputs(cached: Cached) -> tuple[Tensor, ...]:
    """Return the inputs of ``ExportTrunk`` of maps and landmarks, in its order."""
    landmarks = cached.landmarks
    assert landmarks is not None
    screen = landmarks[:, : WORLD_NUMBERS.start].unflatten(1, (KEYPOINT_COUNT, 3))
    certain = landmarks[:, PRESENCE_NUMBER], landmarks[:, RIGHT_HAND_NUMBER]
    return cached.middle_map, screen, _world_m(landmarks), *certain


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


def trunk_fingerprint(model: HandModel) -> str:
    """Return the sha256 of all weights before the heads, by which heads name their trunk.

    MediaPipe's landmark network is among them, so that heads on a stem that was trained are no shipped trunk's.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        if not name.startswith(HEADS):
            digest.update(f"{name} {tuple(weight.shape)}".encode())
            digest.update(weight.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def stated_trunk(path: Path) -> str:
    """Return the fingerprint that a trunk's file states; empty if there is no readable one."""
    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError):
        return ""
    return next((entry.value for entry in model.metadata_props if entry.key == TRUNK_KEY), "")


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
        CONFIG_KEY: json.dumps(asdict(config)),
        "handviz.vertex_correlation": f"{metadata.std.vertex_correlation:g}",
        "handviz.vertex_variance_scale": f"{metadata.std.vertex_variance_scale:g}",
        "handviz.keypoint_variance_scale": f"{metadata.std.keypoint_variance_scale:g}",
    }


def largest_difference_cm(
    exported: ExportModel, path: Path, images: Tensor, trunk: Path = MODELS / TRUNK_NAME
) -> float:
    """Return the largest difference of any output between PyTorch and ONNX for images (B, 3, 224, 224), in cm.

    Of a file of heads the trunk runs too, on the landmarks of PyTorch's network.
    """
    session = onnxruntime.InferenceSession(path, session_options(), providers=["CPUExecutionProvider"])
    names = {item.name for item in session.get_inputs()}
    with torch.no_grad():
        if names == set(FEATURE_NAMES):
            inputs = run_trunk(trunk, exported.model, images)
            expected: ExportedHand | ExportOutput = exported.of_cached(exported.model.cached(as_floats(images)))
            outputs = session.run(list(output_names(exported.model, ExportedHand._fields)), inputs)
        else:
            images = as_bytes(images) if session.get_inputs()[0].type == "tensor(uint8)" else images
            expected = exported(images)
            outputs = session.run(list(output_names(exported.model, OUTPUT_NAMES)), {INPUT_NAME: images.numpy()})
    found = dict(zip(output_names(exported.model, expected._fields), outputs, strict=True))
    # By how many centimetres a unit moves points at a decimetre from the wrist.
    units = dict.fromkeys(found, 100.0) | dict.fromkeys(("rotation", "translation"), 10.0)
    units |= dict.fromkeys(("scale", "right_hand", "presence", HAND_PROBABILITY), 1.0)
    # Square centimetres: of a standard deviation of a centimetre, the difference is half of that.
    units |= {KEYPOINT_COVARIANCE: 100.0**2}
    # Python's max would ignore NaN.
    return float(np.max([np.abs(found[name] - getattr(expected, name).numpy()).max() * units[name] for name in found]))


def run_trunk(path: Path, model: HandModel, images: Tensor) -> dict[str, NDArray[np.float32]]:
    """Return what a trunk's file gives for the maps and landmarks of the model's network, by the names of outputs."""
    inputs = dict(zip(TRUNK_INPUTS, trunk_inputs(model.cached(as_floats(images))), strict=True))
    session = onnxruntime.InferenceSession(path, session_options(), providers=["CPUExecutionProvider"])
    outputs = session.run(list(FEATURE_NAMES), {name: value.detach().numpy() for name, value in inputs.items()})
    return dict(zip(FEATURE_NAMES, outputs, strict=True))


def export_onnx(
    model: HandModel, config: ModelConfig, template: HandTemplate, path: Path, metadata: ExportMetadata, *,
    check_images: Tensor | None = None, trunk: Path = MODELS / TRUNK_NAME,
) -> float:  # fmt: skip
    """Write the file and return the largest difference (cm) from PyTorch; HandvizError if it is above 1e-4 cm.

    It holds the heads alone if everything before them is ``trunk`` bit for bit, else the whole network.
    The model's weights are rounded to float16, in place, which halves the file; it still computes in float32.
    """
    exported = ExportModel(rounded_to_half(model), template, metadata.std).eval()
    entries, fingerprint = _entries(config, metadata), trunk_fingerprint(model)
    is_heads = config.has_landmark_head and stated_trunk(trunk) == fingerprint

    def write(part: Path) -> None:
        if is_heads:
            features = model.features
            shapes = {"feature": (features.feature_size,), "joints": (KEYPOINT_COUNT, features.joint_width)}
            heads = ExportHeads(model, template, metadata.std).eval()
            write_onnx(heads, part, output_names(model, ExportedHand._fields), shapes)
        else:
            write_onnx(exported, part, output_names(model, OUTPUT_NAMES), kind=torch.uint8)
        store_as_half(part)
        add_metadata(part, template, entries | ({TRUNK_KEY: fingerprint} if is_heads else {}))

    def difference(part: Path) -> float:
        return largest_difference_cm(exported, part, _images(check_images), trunk)

    return write_checked(path, write, difference, MAX_DIFFERENCE_CM, "cm")


def export_trunk(model: HandModel, path: Path, *, check_images: Tensor | None = None) -> float:
    """Write the trunk of a model with landmarks; return the largest difference of a feature from PyTorch.

    HandvizError if it is above MAX_DIFFERENCE_CM. The model's weights are rounded to float16, in place.
    """
    trunk = ExportTrunk(rounded_to_half(model)).eval()

    def write(part: Path) -> None:
        write_onnx(trunk, part, FEATURE_NAMES, TRUNK_INPUTS)
        store_as_half(part)
        add_metadata(part, None, {TRUNK_KEY: trunk_fingerprint(model)})

    def difference(part: Path) -> float:
        images = _images(check_images)
        with torch.no_grad():
            expected = dict(zip(FEATURE_NAMES, trunk(*trunk_inputs(model.cached(images))), strict=True))
        found = run_trunk(part, model, images)
        return float(np.max([np.abs(found[name] - expected[name].numpy()).max() for name in FEATURE_NAMES]))

    return write_checked(path, write, difference, MAX_DIFFERENCE_CM, "cm")


def _images(images: Tensor | None) -> Tensor:
    if images is not None:
        return images
    return torch.rand(3, 3, CROP_SIZE, CROP_SIZE, generator=torch.Generator().manual_seed(0))
