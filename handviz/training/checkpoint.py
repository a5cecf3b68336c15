"""Checkpoints: weights as safetensors with config, hand model and commit as metadata; a second file to resume from."""

import json
import logging
import os
import pickle
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from handviz import __version__
from handviz.core.errors import ErrorCode, HandvizError, write_error_code
from handviz.core.files import UNFINISHED, atomic_path, unfinished_path
from handviz.core.json_files import Within, check_value, parse_json
from handviz.core.paths import IS_CLONE, PROJECT_ROOT
from handviz.hand_models.choice import which_file
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.export import CalibrationMetadata
from handviz.models.amvur.model import HandModel, ModelConfig, build_model, config_from_saved, current_weight_name
from handviz.models.backbones.weight_files import load_weights

logger = logging.getLogger(__name__)
WEIGHTS, STATE = "model.safetensors", "resume.pt"
OLD = ".old"
VARIANCE_SCALES = ("vertex_variance_scale", "keypoint_variance_scale")


def current_commit() -> str:
    """Return the clone's commit; of an installed package its version, as "handviz 0.1.0"; else "unknown"."""
    if not IS_CLONE:
        return f"handviz {__version__}"
    # Without this, an unpacked archive inside of another repository would name that one's commit.
    if not (PROJECT_ROOT / ".git").exists():
        return "unknown"
    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return result.stdout.strip()


def save_checkpoint(
    directory: Path, model: nn.Module, config: object, notes: dict[str, Any], template: HandTemplate,
    state: dict[str, Any],
) -> Path:  # fmt: skip
    """Write ``directory`` completely or not at all: an earlier checkpoint stays until the new one is complete."""
    part = unfinished_path(directory)
    metadata = {
        "model": json.dumps(asdict(config)),  # type: ignore[call-overload]
        "hand_model": template.name,
        "fingerprint": template.fingerprint,
        "commit": current_commit(),
        "notes": json.dumps(notes),
    }
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    try:
        # Left by a run that was killed while writing: no other run writes checkpoints of this name.
        for left in directory.parent.glob(f"{directory.name}.*{UNFINISHED}"):
            shutil.rmtree(left, ignore_errors=True)
        part.mkdir(parents=True)
        save_file(weights, part / WEIGHTS, metadata)
        torch.save(state, part / STATE)
        _put_in_place(part, directory)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        recovered(directory)
        code = write_error_code(error) if isinstance(error, OSError) else ErrorCode.NOT_WRITABLE
        raise HandvizError(
            f"cannot write the checkpoint {directory} ({error}); the last one is intact", code
        ) from error
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return directory


def _put_in_place(part: Path, directory: Path) -> None:
    """Replace the old checkpoint; at every moment one exists under one of the two names in ``recovered``."""
    old = recovered(directory).with_name(directory.name + OLD)
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        os.replace(directory, old)
    os.replace(part, directory)
    shutil.rmtree(old, ignore_errors=True)


def recovered(directory: Path) -> Path:
    """Return the folder, restored if the program was stopped while a new checkpoint replaced it."""
    old = directory.with_name(directory.name + OLD)
    if old.is_dir() and not directory.exists():
        os.replace(old, directory)
    return directory


def read_metadata(directory: Path) -> dict[str, str]:
    """Return a checkpoint's metadata; raises HandvizError if it is missing or not one of handviz."""
    path = directory / WEIGHTS
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        code = ErrorCode.FILE_MISSING if isinstance(error, FileNotFoundError) else ErrorCode.FILE_DAMAGED
        raise HandvizError(f"{path} is missing or not a checkpoint ({error})", code) from error
    lacking = {"model", "fingerprint", "notes"} - metadata.keys()
    if lacking:
        raise HandvizError(
            f"{path} is not a checkpoint of handviz: it lacks {', '.join(sorted(lacking))}", ErrorCode.MODEL_FOREIGN
        )
    return metadata


def checked_metadata(directory: Path, template: HandTemplate) -> dict[str, str]:
    """Return ``read_metadata`` of a checkpoint; HandvizError if it was trained for another hand model."""
    metadata = read_metadata(directory)
    if metadata["fingerprint"] != template.fingerprint:
        raise HandvizError(
            f"{directory} was trained for the hand model {metadata.get('hand_model')} "
            f"{metadata['fingerprint'][:12]}, not for {template.name} {template.fingerprint[:12]}: "
            f"{which_file(metadata.get('hand_model', ''))}",
            ErrorCode.MODEL_MISMATCH,
        )
    return metadata


def load_checkpoint(directory: Path, template: HandTemplate) -> tuple[HandModel, ModelConfig, dict[str, Any]]:
    """Return model, config and notes; raises HandvizError for a foreign, damaged or mismatching checkpoint."""
    metadata = checked_metadata(directory, template)
    try:
        config = config_from_saved(
            parse_json(metadata["model"], dict[str, Any], str(directory), "use another checkpoint")
        )
        model = build_model(config, template)
        weights = load_weights(directory / WEIGHTS)
        model.load_state_dict({current_weight_name(name): weight for name, weight in weights.items()})
    except (TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise HandvizError(
            f"{directory} does not fit this version of handviz ({error})", ErrorCode.MODEL_DAMAGED
        ) from error
    return model, config, parsed_notes(directory, metadata["notes"])


@dataclass(frozen=True)
class _Notes:
    """What the notes of a checkpoint must be, where they have it."""

    samples_seen: Annotated[int, Within(ge=0)] = 0


@dataclass(frozen=True)
class _Loss:
    vertex_correlation: Annotated[float, Within(ge=0, le=1)]


@dataclass(frozen=True)
class _Train:
    loss: _Loss


@dataclass(frozen=True)
class _CalibrationNotes:
    """What the notes hold of the calibration of standard deviations; the scales are missing before it."""

    train: _Train
    vertex_variance_scale: Annotated[float, Within(gt=0)] = 1.0
    keypoint_variance_scale: Annotated[float, Within(gt=0)] = 1.0


def parsed_notes(directory: Path, text: str) -> dict[str, Any]:
    """Parse notes to a dict; ``samples_seen``, if present, is an integer from 0 on."""
    name, remedy = f"the notes of {directory}", "use another checkpoint"
    parse_json(text, _Notes, name, remedy)
    return parse_json(text, dict[str, Any], name, remedy)


def calibration_metadata(notes: dict[str, Any]) -> CalibrationMetadata:
    """Return the calibration of the checkpoint's standard deviations; HandvizError if missing or invalid."""
    found = check_value(notes, _CalibrationNotes, "the checkpoint's calibration", "use another checkpoint")
    return CalibrationMetadata(
        vertex_correlation=found.train.loss.vertex_correlation,
        vertex_variance_scale=found.vertex_variance_scale,
        keypoint_variance_scale=found.keypoint_variance_scale,
    )


def supervision_of(notes: dict[str, Any]) -> str:
    """Return "full" or "weak"; notes of older versions lack it and mean "full"."""
    train = notes.get("train")
    return str(train.get("supervision", "full")) if isinstance(train, dict) else "full"


def load_resume_state(directory: Path) -> dict[str, Any]:
    """Return the optimiser's state; only tensors and plain values are read from the file."""
    try:
        return dict(torch.load(directory / STATE, map_location="cpu", weights_only=True))
    except Exception as error:  # torch.load raises nearly anything for a damaged file
        # torch's text for an unpickling error recommends to run the file's code.
        unsafe = isinstance(error, pickle.UnpicklingError)
        missing = ErrorCode.FILE_MISSING if isinstance(error, FileNotFoundError) else ErrorCode.FILE_DAMAGED
        reason, code = ("it holds more than numbers", ErrorCode.UNSAFE_FILE) if unsafe else (error, missing)
        raise HandvizError(f"{directory / STATE} is damaged or missing ({reason}): start a new run", code) from error


def add_metadata(directory: Path, notes: dict[str, Any]) -> None:
    """Add notes to a checkpoint; its weights stay unchanged."""
    metadata = read_metadata(directory)
    metadata["notes"] = json.dumps(parsed_notes(directory, metadata["notes"]) | notes)
    path = directory / WEIGHTS
    try:
        with atomic_path(path) as part:
            save_file(load_file(path), part, metadata)
    except (HandvizError, SafetensorError) as error:
        code = error.code if isinstance(error, HandvizError) else ErrorCode.NOT_WRITABLE
        raise HandvizError(f"cannot write {path} ({error}); it is unchanged", code) from error
