"""What an ONNX file of handviz must offer: checked once, when it is loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import onnxruntime

from handviz.core.errors import HandvizError
from handviz.core.records import CROP_SIZE, KEYPOINT_COUNT, VARIANTS, VariantName
from handviz.hand_models.choice import which_file

INPUT_NAME = "image"
RIGHT_HAND, WITNESS, PRESENCE = "right_hand", "witness_m", "presence"
OPTIONAL_OUTPUTS: dict[str, tuple[int, ...]] = {RIGHT_HAND: (), WITNESS: (KEYPOINT_COUNT, 3), PRESENCE: ()}
"""What a network may lack, with its shape without the batch."""
VARIANT_KEY, FINGERPRINT_KEY, HAND_MODEL_KEY = "handviz.variant", "handviz.fingerprint", "handviz.hand_model"


def checked_variant(
    path: Path, metadata: Mapping[str, str], template_fingerprint: str | None, how_to_get: str
) -> VariantName:
    """The variant that the file says it is; HandvizError if it names none or another hand model."""
    variant = metadata.get(VARIANT_KEY)
    if variant not in VARIANTS:
        raise HandvizError(f"{path} is not a network of handviz ({VARIANT_KEY} is {variant!r}); {how_to_get}")
    found = metadata.get(FINGERPRINT_KEY, "")
    if template_fingerprint is not None and found != template_fingerprint:
        raise HandvizError(
            f"{path} was made for the hand model {metadata.get(HAND_MODEL_KEY, '?')} {found[:12] or 'without name'}, "
            f"expected {template_fingerprint[:12]}; {which_file(metadata.get(HAND_MODEL_KEY, ''))}; or {how_to_get}"
        )
    return cast(VariantName, variant)


def output_shapes(path: Path, session: onnxruntime.InferenceSession, how_to_get: str) -> dict[str, tuple[int, ...]]:
    """Shape of every output of ``CanonicalHand`` without the batch; HandvizError if the file offers others."""
    inputs = {item.name: list(item.shape)[1:] for item in session.get_inputs() if item.type == "tensor(float)"}
    if inputs != {INPUT_NAME: [3, CROP_SIZE, CROP_SIZE]}:
        raise HandvizError(
            f"{path}: its inputs are {inputs or 'not float'}, expected {INPUT_NAME} "
            f"(B, 3, {CROP_SIZE}, {CROP_SIZE}) float32; {how_to_get}"
        )
    outputs = {item.name: list(item.shape)[1:] for item in session.get_outputs() if item.type == "tensor(float)"}
    vertex_count = (outputs.get("vertices_m") or [0])[0]
    expected = {
        "vertices_m": (vertex_count, 3),
        "vertex_std_m": (vertex_count, 3),
        "keypoints_m": (KEYPOINT_COUNT, 3),
        "keypoint_std_m": (KEYPOINT_COUNT, 3),
        "rotation": (3, 3),
        "scale": (),
        "translation": (2,),
    }
    expected |= {name: shape for name, shape in OPTIONAL_OUTPUTS.items() if name in outputs}
    for name, shape in expected.items():
        if tuple(outputs.get(name, ("missing",))) != shape or not isinstance(vertex_count, int):
            raise HandvizError(
                f"{path}: output {name} is {outputs.get(name, 'missing')}, expected (B, {shape}) float32; {how_to_get}"
            )
    return expected
