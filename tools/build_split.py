"""``python -m tools.build split``: whole files of AMVUR's models -> the trunk that they share, and heads on it.

What ``handviz export`` writes of newly trained models are whole files, since their trunk is not the shipped one. Files
that are heads already are left as they are, if they belong to the trunk beside them.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from handviz.cli.export import write_checksums
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import MODELS, TRUNK_NAME, model_file
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.export import export_onnx, export_trunk, trunk_fingerprint
from handviz.models.amvur.family import FAMILY
from handviz.models.amvur.from_onnx import read_onnx
from handviz.models.base import ModelSpec
from handviz.models.onnx_file import MAX_BYTE
from tools.build_backbone import reference_crop


def build(folder: Path = MODELS, models: Sequence[ModelSpec] = FAMILY.models) -> Path:
    """Write the trunk and the heads in place of the files; HandvizError if their trunks differ in a single bit."""
    files = [model_file(spec.id, folder) for spec in models]
    template = load_open_hand()
    exported = [read_onnx(path, template) for path in files]
    fingerprints = {path: trunk_fingerprint(one.model) for path, one in zip(files, exported, strict=True)}
    if len(set(fingerprints.values())) > 1:
        named = ", ".join(f"{path.name} {fingerprint[:12]}" for path, fingerprint in fingerprints.items())
        raise HandvizError(
            f"the models do not share a trunk ({named}): train the heads of one on the trunk of the other, with "
            "--tail-rate 0",
            ErrorCode.MODEL_MISMATCH,
        )
    trunk, crops = folder / TRUNK_NAME, _check_crops()
    export_trunk(exported[0].model, trunk, check_images=crops)
    for path, one in zip(files, exported, strict=True):
        export_onnx(one.model, one.config, template, path, one.metadata, check_images=crops, trunk=trunk)
    write_checksums(folder)
    return trunk


def _check_crops() -> Tensor:
    """Return crops (3, 3, 224, 224) of a drawn hand, also mirrored and upside down: on noise networks differ more."""
    crop = torch.from_numpy(reference_crop()).permute(2, 0, 1) / MAX_BYTE
    return torch.stack([crop, crop.flip(2), crop.flip(1)])
