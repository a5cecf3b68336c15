"""What a model's ONNX file takes and gives: its metadata, inputs and outputs, checked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from handviz.core.arguments import number
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import CROP_SIZE, FINE_MAPS, KEYPOINT_COUNT, FloatArray, HandCrop, ModelId
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.hand_models.choice import which_file
from handviz.models.base import PROVISIONS
from handviz.models.trunk import FEATURE_NAMES, TRUNK_KEY, feature_widths

INPUT_NAME = "image"
RIGHT_HAND, LANDMARKS, PRESENCE = "right_hand", "witness_m", "presence"
HAND_PROBABILITY, KEYPOINT_COVARIANCE = "hand_probability", "keypoint_covariance_m2"
HEATMAPS = "heatmaps"
STEP_OUTPUTS = ("step_vertices_m", "step_rotation", "step_scale", "step_translation")
"""Of the hands before the last iteration: all four or none, (B, N, ...)."""
OPTIONAL_OUTPUTS: dict[str, tuple[int, ...]] = {
    RIGHT_HAND: (),
    LANDMARKS: (KEYPOINT_COUNT, 3),
    PRESENCE: (),
    HAND_PROBABILITY: (),
    KEYPOINT_COVARIANCE: (3 * KEYPOINT_COUNT, 3 * KEYPOINT_COUNT),
}
"""Outputs that a network may lack, with their shapes without the batch."""
CROP_INPUTS: dict[str, tuple[int, ...]] = {
    **FINE_MAPS,
    "middle_map": (112, 14, 14),
    "keypoints": (KEYPOINT_COUNT, 3),
    "world_m": (KEYPOINT_COUNT, 3),
    "presence": (),
    "right_hand": (),
}
"""Fields of ``CropLandmarks`` that a file may take in place of the image, with their shapes without the batch."""
MIN_HEATMAP, MAX_HEATMAP, MAX_STEPS = 8, 256, 10
MAX_SPREAD = (1e4, 4.0)
"""Of scale and floor, square half-sides."""
VARIANT_KEY, FINGERPRINT_KEY, HAND_MODEL_KEY = "handviz.variant", "handviz.fingerprint", "handviz.hand_model"
MODEL_KEY, INPUT_KEY, PROVIDES_KEY = "handviz.model", "handviz.input", "handviz.provides"
"""Metadata that files have since 0.2: the model's id, such as "final" (before: ``VARIANT_KEY``); type and shape of the
input, such as "uint8 3x224x224"; and what the model predicts besides the mesh, separated by commas."""
CONSTANT_STD_KEY = "handviz.constant_std_mm"
"""One standard deviation for all points, of a file without outputs for it."""
HEATMAP_SPREAD_KEY = "handviz.heatmap_spread"
"""Two numbers by which the spread of a heatmap becomes the covariance of its keypoint (``core.records.Heatmaps``)."""
AS_IT_IS = (1.0, 0.0)
INPUT_TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}
MIN_CROP_PX, MAX_CROP_PX, MAX_CONSTANT_STD_MM = 32, 1024, 1000.0


def checked_model(
    path: Path, metadata: Mapping[str, str], template_fingerprint: str | None, how_to_get: str
) -> ModelId:
    """Return the model that the file names; HandvizError if it names none or another hand model."""
    model = metadata.get(MODEL_KEY) or metadata.get(VARIANT_KEY)
    if not model or not model.isidentifier():
        raise HandvizError(
            f"{path} is not a network of handviz ({VARIANT_KEY} is {model!r}); {how_to_get}", ErrorCode.MODEL_FOREIGN
        )
    found = metadata.get(FINGERPRINT_KEY, "")
    if template_fingerprint is not None and found != template_fingerprint:
        raise HandvizError(
            f"{path} was made for the hand model {metadata.get(HAND_MODEL_KEY, '?')} {found[:12] or 'without name'}, "
            f"expected {template_fingerprint[:12]}; {which_file(metadata.get(HAND_MODEL_KEY, ''))}; or {how_to_get}",
            ErrorCode.MODEL_MISMATCH,
        )
    return model


@dataclass(frozen=True)
class Contract:
    """What a file takes and gives, checked: its input, its outputs without the batch, and what its metadata state.

    A file is whole, from the crops on, or it goes on from what MediaPipe's landmark network says of them, or it holds
    the heads that belong to a trunk (``models.trunk``).
    """

    size_px: int
    """Side of the crops: the input of a whole file is (B, 3, S, S)."""
    takes_bytes: bool
    """Whether the input is uint8, 0 to 255; otherwise float32, 0 to 1."""
    outputs: Mapping[str, tuple[int, ...]]
    constant_std_m: float | None = None
    """Standard deviation along each axis of all points, where the outputs have none and the metadata state one."""
    trunk: str = ""
    """Of heads: the fingerprint of their trunk."""
    feature_widths: tuple[int, int] = (0, 0)
    """Of heads: D and W of ``trunk.Features``."""
    heatmap_spread: tuple[float, float] = AS_IT_IS
    """``core.records.Heatmaps.spread`` of its heatmaps."""
    crop_inputs: tuple[str, ...] = ()
    """Of a file that goes on from the landmark network: the fields of ``CropLandmarks`` that it takes."""


def checked_contract(
    path: Path, session: onnxruntime.InferenceSession, metadata: Mapping[str, str], how_to_get: str
) -> Contract:
    """Return what a file takes and gives; HandvizError if that is not what ``NetworkOutput`` needs."""
    outputs = _output_shapes(path, session, how_to_get)
    inputs = {item.name for item in session.get_inputs()}
    has_trunk, from_landmarks = inputs == set(FEATURE_NAMES), "middle_map" in inputs
    _check_provisions(path, outputs, metadata, how_to_get, has_landmarks=has_trunk or from_landmarks)
    constant_std_m = _constant_std_m(path, outputs, metadata, how_to_get)
    spread = _heatmap_spread(path, metadata, how_to_get)
    if has_trunk:
        trunk, widths = _trunk_of(path, session, metadata, how_to_get)
        return Contract(CROP_SIZE, True, outputs, constant_std_m, trunk, widths, spread)
    if from_landmarks:
        crop_inputs = _crop_inputs_of(path, session, how_to_get)
        return Contract(CROP_SIZE, True, outputs, constant_std_m, heatmap_spread=spread, crop_inputs=crop_inputs)
    size_px, takes_bytes = _input_of(path, session, metadata, how_to_get)
    return Contract(size_px, takes_bytes, outputs, constant_std_m, heatmap_spread=spread)


def _constant_std_m(
    path: Path, outputs: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str], how_to_get: str
) -> float | None:
    """Return ``Contract.constant_std_m``; HandvizError if the metadata state no standard deviation."""
    stated = metadata.get(CONSTANT_STD_KEY)
    if stated is None or "vertex_std_m" in outputs:
        return None
    try:
        std_mm = number(stated, 0.0, MAX_CONSTANT_STD_MM)
    except ValueError as error:
        raise HandvizError(f"{path}: {CONSTANT_STD_KEY}: {error}; {how_to_get}", ErrorCode.MODEL_FOREIGN) from error
    return std_mm / MILLIMETRES_PER_METRE / math.sqrt(3)


def _heatmap_spread(path: Path, metadata: Mapping[str, str], how_to_get: str) -> tuple[float, float]:
    """Return ``Contract.heatmap_spread``; HandvizError if the metadata state something else than two numbers."""
    stated = metadata.get(HEATMAP_SPREAD_KEY)
    if stated is None:
        return AS_IT_IS
    try:
        scale, floor = (number(word, 0.0, most) for word, most in zip(stated.split(), MAX_SPREAD, strict=True))
    except ValueError as error:
        raise HandvizError(f"{path}: {HEATMAP_SPREAD_KEY}: {error}; {how_to_get}", ErrorCode.MODEL_FOREIGN) from error
    return scale, floor


def _trunk_of(
    path: Path, session: onnxruntime.InferenceSession, metadata: Mapping[str, str], how_to_get: str
) -> tuple[str, tuple[int, int]]:
    """Return the fingerprint of the trunk that heads belong to, and the sizes of their inputs."""
    inputs = {item.name: tuple(item.shape[1:]) for item in session.get_inputs() if item.type == "tensor(float)"}
    trunk, widths = metadata.get(TRUNK_KEY, ""), feature_widths(inputs)
    if widths is None or not trunk:
        raise HandvizError(
            f"{path}: its inputs are {inputs} and the trunk that it belongs to ({TRUNK_KEY}) is {trunk[:12]!r}, "
            f"expected feature (B, D) and joints (B, 21, W) of float32 and a fingerprint; {how_to_get}",
            ErrorCode.MODEL_FOREIGN,
        )
    return trunk, widths


def _crop_inputs_of(path: Path, session: onnxruntime.InferenceSession, how_to_get: str) -> tuple[str, ...]:
    """Return the fields of ``CropLandmarks`` that a file takes; HandvizError for others, or for other shapes."""
    found = {item.name: (item.type, tuple(item.shape[1:])) for item in session.get_inputs()}
    known = {name: ("tensor(float)", shape) for name, shape in CROP_INPUTS.items()}
    if any(known.get(name) != kind for name, kind in found.items()):
        raise HandvizError(
            f"{path}: its inputs are {found}, expected some of {CROP_INPUTS} of float32; {how_to_get}",
            ErrorCode.MODEL_FOREIGN,
        )
    return tuple(found)


def _check_provisions(
    path: Path,
    outputs: Mapping[str, tuple[int, ...]],
    metadata: Mapping[str, str],
    how_to_get: str,
    *,
    has_landmarks: bool,
) -> None:
    """Raise HandvizError if the metadata state what the outputs do not give; they may state nothing."""
    stated = {name.strip() for name in metadata.get(PROVIDES_KEY, "").split(",") if name.strip()}
    has_std = "vertex_std_m" in outputs
    lacking = {
        "uncertainty": not has_std,
        "constant_uncertainty": not has_std and CONSTANT_STD_KEY not in metadata,
        "landmarks": LANDMARKS not in outputs and not has_landmarks,
        "heatmaps": HEATMAPS not in outputs,
        "iterations": not set(STEP_OUTPUTS) <= outputs.keys(),
    }
    wrong = sorted(name for name in stated if name not in PROVISIONS or lacking.get(name, False))
    if wrong:
        raise HandvizError(
            f"{path}: its metadata state that it provides {', '.join(wrong)}, which it does not: correct them "
            f"({PROVIDES_KEY}); or {how_to_get}",
            ErrorCode.MODEL_FOREIGN,
        )


def _input_of(
    path: Path, session: onnxruntime.InferenceSession, metadata: Mapping[str, str], how_to_get: str
) -> tuple[int, bool]:
    """Return the side of the crops and whether they are bytes; HandvizError if the metadata state something else."""
    found = [(item.name, item.type, list(item.shape)[1:]) for item in session.get_inputs()]
    name, kind, shape = found[0] if len(found) == 1 else ("", "", [])
    size = shape[-1] if len(shape) == 3 else 0
    if (name, shape) != (INPUT_NAME, [3, size, size]) or kind not in INPUT_TYPES or not isinstance(size, int):
        raise HandvizError(
            f"{path}: its inputs are {found}, expected {INPUT_NAME} (B, 3, S, S) of float32 or uint8; {how_to_get}",
            ErrorCode.MODEL_FOREIGN,
        )
    own = f"{INPUT_TYPES[kind]} 3x{size}x{size}"
    if metadata.get(INPUT_KEY, own) != own or not MIN_CROP_PX <= size <= MAX_CROP_PX:
        raise HandvizError(
            f"{path}: its input is {own}, but its metadata state {metadata.get(INPUT_KEY)!r} (sides from {MIN_CROP_PX} "
            f"to {MAX_CROP_PX} can be used); {how_to_get}",
            ErrorCode.MODEL_FOREIGN,
        )
    return size, INPUT_TYPES[kind] == "uint8"


def _output_shapes(path: Path, session: onnxruntime.InferenceSession, how_to_get: str) -> dict[str, tuple[int, ...]]:
    """Return every output's shape without the batch; HandvizError if they are not those of ``NetworkOutput``."""
    outputs = {item.name: list(item.shape)[1:] for item in session.get_outputs() if item.type == "tensor(float)"}
    vertex_count = (outputs.get("vertices_m") or [0])[0]
    standard_deviations = {"vertex_std_m": (vertex_count, 3), "keypoint_std_m": (KEYPOINT_COUNT, 3)}
    expected: dict[str, tuple[int, ...]] = {
        "vertices_m": (vertex_count, 3),
        "keypoints_m": (KEYPOINT_COUNT, 3),
        "rotation": (3, 3),
        "scale": (),
        "translation": (2,),
    }
    # Both or none: one alone would leave half of the hand without.
    expected |= standard_deviations if standard_deviations.keys() & outputs.keys() else {}
    expected |= {name: shape for name, shape in OPTIONAL_OUTPUTS.items() if name in outputs}
    expected |= _shapes_of_heatmaps(outputs) | _shapes_of_steps(outputs, vertex_count)
    for name, shape in expected.items():
        if tuple(outputs.get(name, ("missing",))) != shape or not isinstance(vertex_count, int):
            raise HandvizError(
                f"{path}: output {name} is {outputs.get(name, 'missing')}, expected (B, {shape}) float32; {how_to_get}",
                ErrorCode.MODEL_FOREIGN,
            )
    return expected


def _shapes_of_heatmaps(outputs: Mapping[str, Sequence[object]]) -> dict[str, tuple[int, ...]]:
    """Return what the heatmaps of a file must be, if it has any: square, of a side that is no mistake."""
    if HEATMAPS not in outputs:
        return {}
    side = outputs[HEATMAPS][-1] if outputs[HEATMAPS] else 0
    known = side if isinstance(side, int) and MIN_HEATMAP <= side <= MAX_HEATMAP else -1
    return {HEATMAPS: (KEYPOINT_COUNT, known, known)}


def _shapes_of_steps(outputs: Mapping[str, Sequence[object]], vertex_count: int) -> dict[str, tuple[int, ...]]:
    """Return what the outputs of earlier iterations must be, if the file has any of them."""
    if not set(STEP_OUTPUTS) & outputs.keys():
        return {}
    shape = outputs.get("step_scale", ())
    steps = shape[0] if len(shape) == 1 and isinstance(shape[0], int) and 1 <= shape[0] <= MAX_STEPS else -1
    shapes = (steps, vertex_count, 3), (steps, 3, 3), (steps,), (steps, 2)
    return dict(zip(STEP_OUTPUTS, shapes, strict=True))


Images = NDArray[np.uint8] | FloatArray


def input_images(crops: Sequence[HandCrop], *, takes_bytes: bool) -> Images:
    """Return crops (B, 3, S, S) as a network takes them: uint8, or float32 in [0, 1]."""
    if takes_bytes:
        return cast(Images, np.stack([crop.image.transpose(2, 0, 1) for crop in crops]))
    return float_images(crops)


def float_images(crops: Sequence[HandCrop]) -> FloatArray:
    """Return crops (B, 3, S, S) as float32 in [0, 1], for networks that take floats."""
    return np.stack([crop.image.transpose(2, 0, 1) for crop in crops]).astype(np.float32) / np.float32(255.0)
