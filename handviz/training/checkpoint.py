"""Checkpoints: weights as safetensors with family, config, hand model and commit as metadata; a second file to resume
from.
"""

import json
import logging
import math
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

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
from handviz.models.backbones.weight_files import load_weights

logger = logging.getLogger(__name__)
WEIGHTS, STATE = "model.safetensors", "resume.pt"
OLD = ".old"
UNFITTED_STD_MM = 10.0
"""Of a network with one standard deviation for all points, before ``handviz calibrate`` has fitted its factor."""
VARIANCE_SCALES = ("vertex_variance_scale", "keypoint_variance_scale")
"""Notes in which ``handviz calibrate`` keeps the factors of a checkpoint's variances."""
FIRST_FAMILY = "amvur"
"""The family of checkpoints that name none."""
ConfigT = TypeVar("ConfigT")
NetworkT = TypeVar("NetworkT", bound=nn.Module)


@dataclass(frozen=True)
class Architecture(Generic[ConfigT, NetworkT]):
    """The networks of a family: how one is built of its config, and how a checkpoint becomes one again."""

    family: str
    """The family's id, which its checkpoints name"""
    build: Callable[[ConfigT, HandTemplate], NetworkT]
    """Builds a network, freshly initialised"""
    config_from_saved: Callable[[Mapping[str, Any]], ConfigT]
    """The config of what a checkpoint of this version or an older one holds; TypeError or ValueError for another"""
    current_weight_name: Callable[[str], str] = str
    """The name in ``state_dict`` of a weight of a checkpoint of this version or an older one"""


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
    state: dict[str, Any], *, family: str,
) -> Path:  # fmt: skip
    """Write ``directory`` completely or not at all: an earlier checkpoint stays until the new one is complete."""
    part = unfinished_path(directory)
    metadata = {
        "model": json.dumps(asdict(config)),  # type: ignore[call-overload]
        "hand_model": template.name,
        "fingerprint": template.fingerprint,
        "commit": current_commit(),
        "family": family,
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


def family_in(metadata: Mapping[str, str]) -> str:
    """Return the id of the family that a checkpoint's metadata names; those before families name none: AMVUR."""
    return metadata.get("family", FIRST_FAMILY)


def _checked_metadata(directory: Path, template: HandTemplate, family: str) -> dict[str, str]:
    """Return ``read_metadata``; HandvizError for a checkpoint of another family or hand model."""
    metadata = read_metadata(directory)
    # Texture nets from before families name none either.
    if metadata.get("family", family) != family:
        raise HandvizError(
            f"{directory} is a checkpoint of the family {metadata['family']}, not {family}: choose another checkpoint",
            ErrorCode.MODEL_MISMATCH,
        )
    if metadata["fingerprint"] != template.fingerprint:
        raise HandvizError(
            f"{directory} was trained for the hand model {metadata.get('hand_model')} "
            f"{metadata['fingerprint'][:12]}, not for {template.name} {template.fingerprint[:12]}: "
            f"{which_file(metadata.get('hand_model', ''))}",
            ErrorCode.MODEL_MISMATCH,
        )
    return metadata


def load_network(
    directory: Path, template: HandTemplate, architecture: Architecture[ConfigT, NetworkT]
) -> tuple[NetworkT, ConfigT, dict[str, Any]]:
    """Return network, config and notes; HandvizError for a foreign, damaged or mismatching checkpoint."""
    metadata = _checked_metadata(directory, template, architecture.family)
    saved = parse_json(metadata["model"], dict[str, Any], str(directory), "use another checkpoint")
    try:
        config = architecture.config_from_saved(saved)
        network = architecture.build(config, template)
        weights = load_weights(directory / WEIGHTS)
        network.load_state_dict({architecture.current_weight_name(name): weight for name, weight in weights.items()})
    except (TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise HandvizError(
            f"{directory} holds no network of the family {architecture.family} of this version of handviz ({error}): "
            "use another checkpoint",
            ErrorCode.MODEL_DAMAGED,
        ) from error
    return network, config, parsed_notes(directory, metadata["notes"])


@dataclass(frozen=True)
class _Notes:
    """What the notes of a checkpoint must be, where they have it."""

    samples_seen: Annotated[int, Within(ge=0)] = 0


@dataclass(frozen=True)
class _ScaleNotes:
    vertex_variance_scale: Annotated[float, Within(gt=0)] = 1.0
    keypoint_variance_scale: Annotated[float, Within(gt=0)] = 1.0


def parsed_notes(directory: Path, text: str) -> dict[str, Any]:
    """Parse notes to a dict; ``samples_seen``, if present, is an integer from 0 on."""
    name, remedy = f"the notes of {directory}", "use another checkpoint"
    parse_json(text, _Notes, name, remedy)
    return parse_json(text, dict[str, Any], name, remedy)


def variance_scales(notes: dict[str, Any]) -> tuple[float, float]:
    """Return the factors ``VARIANCE_SCALES`` of a checkpoint's variances, 1 before they are fitted.

    HandvizError if they are damaged.
    """
    found = check_value(notes, _ScaleNotes, "the checkpoint's calibration", "use another checkpoint")
    return found.vertex_variance_scale, found.keypoint_variance_scale


def constant_std_mm(notes: dict[str, Any]) -> float:
    """Return the one standard deviation of all points of a network that predicts none, fitted by ``calibrate``.

    It is the root of the sum of a point's three variances.
    """
    return UNFITTED_STD_MM * math.sqrt(variance_scales(notes)[0])


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
