"""``handviz export``: a checkpoint becomes the ONNX file that the program runs."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from handviz.core.arguments import HandModelFile, Positional
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import write_files
from handviz.core.output import print_result
from handviz.core.paths import EXPORTS, model_file
from handviz.hand_models.choice import hand_model_or_named
from handviz.models.amvur.export import ExportMetadata, export_onnx
from handviz.training.checkpoint import calibration_metadata, load_checkpoint, read_metadata, supervision_of


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Checkpoint and folder."""

    checkpoint: Positional[Path]
    """Folder of a checkpoint, such as runs/final/last."""
    model_dir: Path = EXPORTS
    """Folder to write to."""
    hand_model: HandModelFile = None


def write_checksums(directory: Path) -> None:
    """Write SHA256SUMS of every model file in the folder (the format of sha256sum)."""
    files = sorted(path for path in directory.iterdir() if path.suffix in (".onnx", ".task", ".safetensors"))
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    write_files({directory / "SHA256SUMS": "".join(lines).encode("utf-8")})


def run(arguments: Arguments) -> int:
    """Export, compare, and update the checksums."""
    metadata = read_metadata(arguments.checkpoint)
    template = hand_model_or_named(arguments.hand_model, metadata["fingerprint"])
    model, config, notes = load_checkpoint(arguments.checkpoint, template)
    if "samples_seen" not in notes:
        raise HandvizError(
            f"{arguments.checkpoint} does not say how many crops it saw (samples_seen): train it again",
            ErrorCode.FILE_DAMAGED,
        )
    path = model_file(config.variant, arguments.model_dir)
    export_metadata = ExportMetadata(
        commit=metadata.get("commit", "unknown"),
        samples_seen=notes["samples_seen"],
        std=calibration_metadata(notes),
        supervision=supervision_of(notes),
    )
    difference = export_onnx(model, config, template, path, export_metadata)
    write_checksums(arguments.model_dir)
    print_result("%s: differs from PyTorch by at most %.2g cm", path, difference)
    return 0
