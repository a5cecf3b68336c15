"""What a family brings to be trained: the one trainer and the commands of checkpoints take any family by this record.

A family names its record by ``ModelFamily.training`` as ``module:NAME``, which is imported where it is trained,
exported or evaluated, and never in a live session.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import NetworkOutput
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.hand_models.template import HandTemplate
from handviz.models.registry import families
from handviz.training.checkpoint import Architecture, family_in, load_network, read_metadata
from handviz.training.config import RunConfig
from handviz.training.distributed import Processes, joined
from handviz.training.trainer import RunTask, complete_run

Predictor = Callable[[NDArray[np.uint8]], list[NetworkOutput]]
"""Crops (N, 224, 224, 3) RGB -> one hand each."""


def options_without(config: type[RunConfig], unusual: Collection[str]) -> tuple[str, ...]:
    """Return the fields of a run's settings that are options of ``handviz train``: all but the unusual ones."""
    return tuple(item.name for item in fields(config) if item.name not in unusual)


def with_one_std(row: Mapping[str, NDArray[Any]], std_mm: float) -> NetworkOutput:
    """Return the hand of one row of a network's outputs that predicts no variances: all points have this one.

    ``row`` has fields of ``NetworkOutput``, metres, and may have others; ``std_mm`` is the root of the sum of a point's
    three variances.
    """
    known = {item.name for item in fields(NetworkOutput)}
    given: dict[str, Any] = {
        name: value if value.ndim else float(value) for name, value in row.items() if name in known
    }
    std_m = std_mm / MILLIMETRES_PER_METRE / math.sqrt(3)
    return NetworkOutput(
        **given,
        vertex_std_m=np.full_like(row["vertices_m"], std_m),
        keypoint_std_m=np.full_like(row["keypoints_m"], std_m),
    )


@dataclass(frozen=True)
class ExportedFile:
    """An ONNX file, and by how much it differs from the network that it was exported from."""

    path: Path
    difference: float
    """The largest of any output"""
    unit: str
    """Of the difference, such as "cm" """


def _no_remark(_: dict[str, Any]) -> str:
    return ""


@dataclass(frozen=True)
class TrainingFamily:
    """A family as the trainer and the commands of checkpoints see it; its losses are its task's."""

    architecture: Architecture[Any, Any]
    """Builds its networks and reads its checkpoints"""
    config: type[RunConfig]
    """The settings of a run, which ``handviz train`` reads as options"""
    task: Callable[[Any, HandTemplate, Processes], RunTask]
    """Makes the task of a config, in one of its processes"""
    export: Callable[[Path, HandTemplate, Path], ExportedFile]
    """Writes a checkpoint's folder as ONNX file into a folder of models"""
    predictor: Callable[[Path, HandTemplate], Predictor] | None = None
    """The predictions of a checkpoint's folder; None: only its ONNX file can be evaluated"""
    options: tuple[str, ...] = ()
    """Fields of ``config`` that are options of ``handviz train``; empty: all"""
    is_calibrated: bool = False
    """Whether ``predictor`` and ``export`` multiply the variances by ``checkpoint.VARIANCE_SCALES`` of the notes, so
    that ``handviz calibrate`` can fit these"""
    more_calibration: Callable[[Path, Path, int | None, HandTemplate], dict[str, Any]] | None = None
    """Fits what else of a checkpoint's folder is calibrated, on a folder of crops or its first ones; returns notes"""
    remark: Callable[[dict[str, Any]], str] = _no_remark
    """What titles must say of a checkpoint by its notes, such as "weak"; empty: nothing"""
    inside: Callable[[Path, HandTemplate], Predictor | None] | None = None
    """The predictions of the network inside a checkpoint's folder or ONNX file that its error is compared with: None
    for those without one"""
    inside_title: str = ""
    """What tables call that network"""

    @property
    def id(self) -> str:
        """The family's id."""
        return self.architecture.family

    def load(self, directory: Path, template: HandTemplate) -> tuple[nn.Module, Any, dict[str, Any]]:
        """Return a checkpoint's network, config and notes; HandvizError if it is none of this family."""
        return load_network(directory, template, self.architecture)

    def predictor_of(self, directory: Path, template: HandTemplate) -> Predictor:
        """Return the predictions of a checkpoint; HandvizError if the family has none but those of ONNX files."""
        if self.predictor is None:
            raise HandvizError(
                f"checkpoints of the family {self.id} are not evaluated themselves: "
                f"'handviz export {directory}' writes the file that is",
                ErrorCode.UNSUPPORTED_FORMAT,
            )
        return self.predictor(directory, template)


def trainable_families() -> tuple[str, ...]:
    """Return the ids of the families that can be trained; none of them is imported."""
    return tuple(family.id for family in families() if family.training)


def training_family(name: str) -> TrainingFamily:
    """Return how the family of that id is trained; HandvizError names those that can be."""
    lines = {family.id: family.training for family in families() if family.training}
    if name not in lines:
        raise HandvizError(
            f"no family {name!r} can be trained: choose one of {', '.join(lines)}", ErrorCode.UNKNOWN_NAME
        )
    module, _, attribute = lines[name].partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:  # a package of somebody else may fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise _unusable(name, lines[name], reason) from error
    if not isinstance(found, TrainingFamily) or found.id != name:
        raise _unusable(name, lines[name], "it is no TrainingFamily of this id")
    return found


def _unusable(name: str, line: str, reason: str) -> HandvizError:
    return HandvizError(
        f"the training of the family {name} ({line}) cannot be used ({reason}): update or uninstall its package",
        ErrorCode.PACKAGE_MISSING,
    )


def family_of_checkpoint(directory: Path) -> TrainingFamily:
    """Return the family that a checkpoint's metadata names; HandvizError if it is no checkpoint or of none known."""
    name = family_in(read_metadata(directory))
    if name not in trainable_families():
        raise HandvizError(
            f"{directory} is of the family {name!r}, which is not among {', '.join(trainable_families())}: "
            "install the package that it came with; a texture net is for 'handviz texture'",
            ErrorCode.UNKNOWN_NAME,
        )
    return training_family(name)


def train_family(family: TrainingFamily, config: RunConfig, template: HandTemplate) -> Path:
    """Train to the end, resuming an earlier run; return the checkpoint's folder."""
    with joined(config.device) as processes:
        return complete_run(config, lambda: family.task(config, template, processes))
