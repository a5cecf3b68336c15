"""Draw validation error of training runs against training crops seen."""

import csv
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from matplotlib.figure import Figure

import tools
from handviz.core.arguments import Option
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import print_result
from handviz.core.records import FloatArray
from handviz.evaluation.plots import check_ending, save_figure
from handviz.training.checkpoint import read_metadata

USUAL_BATCH = 64
ERROR_TITLES = {"pa_mpjpe_mm": "validation PA-MPJPE, mm", "vertex_error_mm": "validation vertex error, mm"}
"""Columns of a log that may be drawn, the best first."""

Row = tuple[int, dict[str, Any]]
"""A line's number in its file, and its cells by the header's names."""


@dataclass(frozen=True, eq=False)
class Log:
    """The log of a run."""

    name: str
    crops_seen: FloatArray
    """(R,) training crops, repeats counted"""
    errors_mm: dict[str, FloatArray]
    """(R,) by the names of ERROR_TITLES, those that the log has"""


def _batch_size(run: Path) -> int:
    """Return the batch size from the notes of the run's checkpoint; the default where there is none."""
    try:
        return int(json.loads(read_metadata(run / "last")["notes"])["train"]["batch_size"])
    except (HandvizError, KeyError, TypeError, ValueError, OverflowError):
        return USUAL_BATCH


def _table(path: Path) -> list[Row]:
    """Return the rows of a CSV file by their lines, cells as text."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(enumerate(csv.DictReader(file), start=2))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise HandvizError(f"{path} is missing or not the log of a run ({error})", ErrorCode.FILE_DAMAGED) from error


def _column(path: Path, rows: list[Row], name: str) -> FloatArray:
    """Return one column as finite numbers >= 0; HandvizError names a line that is not."""
    values = []
    for line, row in rows:
        try:
            value = float(row[name])
        except (TypeError, ValueError):
            value = math.nan
        if None in row or not math.isfinite(value) or value < 0:
            raise HandvizError(
                f"{path}, line {line}: {name} is {str(row[name])[:40]!r}; "
                "wanted are numbers from 0 on, and as many cells as the header has",
                ErrorCode.FILE_DAMAGED,
            )
        values.append(value)
    return np.array(values)


def read_log(run: Path) -> Log:
    """Read the ``log.csv`` of a run's folder; raise HandvizError if it is missing, foreign, empty or damaged.

    ``crops_seen`` where the trainer wrote it, else steps times the batch. Where a run that was stopped wrote
    a step twice, the later row counts. Rows without an error stay out: a run may watch --validation from later on.
    """
    path = run / "log.csv"
    rows = _table(path)
    columns = rows[0][1].keys() if rows else ()
    errors = [name for name in ERROR_TITLES if name in columns]
    rows = [(line, row) for line, row in rows if all(row[name] != "" for name in errors)]
    if not rows or "step" not in columns or not errors:
        wanted = " or ".join(ERROR_TITLES)
        raise HandvizError(f"{path} has no rows with step and {wanted}: train with --validation", ErrorCode.EMPTY_INPUT)
    steps = _column(path, rows, "step")
    seen = _column(path, rows, "crops_seen") if "crops_seen" in columns else steps * _batch_size(run)
    # The last of equal steps: unique finds the first of the reversed rows.
    _, first = np.unique(steps[::-1], return_index=True)
    last = len(steps) - 1 - first
    return Log(run.name or str(run), seen[last], {name: _column(path, rows, name)[last] for name in errors})


def draw_learning_curve(logs: Sequence[Log], path: Path) -> Path:
    """Draw error over crops seen, one line a run, all by the best measure that every log has."""
    shared = [name for name in ERROR_TITLES if all(name in log.errors_mm for log in logs)]
    if not shared:
        raise HandvizError(
            f"these runs logged different errors ({', '.join(ERROR_TITLES)}): draw them separately",
            ErrorCode.FILES_DISAGREE,
        )
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for log in logs:
        axes.plot(log.crops_seen, log.errors_mm[shared[0]], marker=".", label=log.name)
    axes.set(xscale="log", xlabel="training crops seen", ylabel=ERROR_TITLES[shared[0]])
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return save_figure(figure, path)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The runs and the image's path."""

    runs: Annotated[tuple[Path, ...], Option(is_positional=True, metavar="RUN ...")]
    """Folders of runs with their log.csv."""
    out: Path
    """Image to write, .png or .svg."""


def run(arguments: Arguments) -> int:
    """Draw validation error over crops seen."""
    check_ending(arguments.out)
    print_result("wrote %s", draw_learning_curve([read_log(run) for run in arguments.runs], arguments.out))
    return 0


if __name__ == "__main__":
    sys.exit(tools.run("plot_training"))
