"""``handviz export``: a checkpoint of any family becomes the ONNX file that the program runs."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from handviz.core.arguments import HandModelFile, Positional
from handviz.core.files import write_files
from handviz.core.output import print_result
from handviz.core.paths import EXPORTS
from handviz.hand_models.choice import hand_model_or_named
from handviz.training.checkpoint import read_metadata
from handviz.training.families import ExportedFile, family_of_checkpoint


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
    files = sorted(path for path in directory.iterdir() if path.suffix in (".onnx", ".task"))
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    write_files({directory / "SHA256SUMS": "".join(lines).encode("utf-8")})


def run(arguments: Arguments) -> int:
    """Export as the checkpoint's family does it, compare, and update the checksums."""
    family, metadata = family_of_checkpoint(arguments.checkpoint), read_metadata(arguments.checkpoint)
    template = hand_model_or_named(arguments.hand_model, metadata["fingerprint"])
    exported = family.export(arguments.checkpoint, template, arguments.model_dir)
    report_export(exported)
    return 0


def report_export(exported: ExportedFile) -> None:
    """Update the checksums of the file's folder and say by how much the file differs."""
    write_checksums(exported.path.parent)
    print_result("%s: differs from PyTorch by at most %.2g %s", exported.path, exported.difference, exported.unit)
