"""Pictures of calibration and of learning, drawn by matplotlib without a window: PNG or SVG by the file's ending."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from handviz.core.errors import HandvizError
from handviz.core.records import FloatArray
from handviz.evaluation.calibration import NOMINAL, REMOVED, Calibration
from handviz.training.checkpoint import read_metadata

ENDINGS = (".png", ".svg")
COLOURS = {"all": "#333333", "visible": "#0072b2", "hidden": "#d55e00"}
"""Told apart by colour-blind readers too (Okabe and Ito 2008)."""
USUAL_BATCH = 64
ERROR_TITLES = {"pa_mpjpe_mm": "validation PA-MPJPE, mm", "vertex_error_mm": "validation vertex error, mm"}
"""Columns of a log that may be drawn, the best first."""


Row = tuple[int, dict[str, Any]]
"""A line's number in its file, and its cells by the header's names."""


@dataclass(frozen=True, eq=False)
class Log:
    """What a run wrote of itself."""

    name: str
    crops_seen: FloatArray
    """(R,) training crops, repeats counted"""
    errors_mm: dict[str, FloatArray]
    """(R,) by the names of ERROR_TITLES, those that the log has"""


def check_ending(path: Path) -> None:
    """Raise HandvizError unless a picture of that name can be drawn."""
    if path.suffix.lower() not in ENDINGS:
        raise HandvizError(f"{path} must end in {' or '.join(ENDINGS)}")


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a picture; raises HandvizError if that is not possible."""
    check_ending(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise HandvizError(f"cannot write {path} ({error})") from error
    return path


def _panels(rows: Sequence[Calibration]) -> tuple[Figure, dict[str, Axes]]:
    """A panel for each kind of points."""
    names = list(dict.fromkeys(row.points for row in rows))
    figure = Figure(figsize=(4.5 * len(names), 4.2), layout="constrained")
    panels = dict(zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True))
    for name, axes in panels.items():
        axes.set_title(name)
        axes.grid(alpha=0.3)
    return figure, panels


def draw_reliability(rows: Sequence[Calibration], path: Path) -> Path:
    """Observed over nominal coverage of central intervals; above the diagonal the model is too unsure."""
    figure, panels = _panels(rows)
    for axes in panels.values():
        axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfect")
        axes.set(xlabel="the interval should cover", ylabel="it covers", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    for row in rows:
        if row.count:
            axes = panels[row.points]
            axes.plot(NOMINAL, row.reliability, color=COLOURS[row.seen], marker=".", label=row.seen)
    for axes in panels.values():
        axes.legend(loc="upper left")
    return save_figure(figure, path)


def draw_sparsification(rows: Sequence[Calibration], path: Path) -> Path:
    """Mean error of the points left (Ilg et al. 2018): by deviation, by the error itself (dashed), at random (dots)."""
    figure, panels = _panels(rows)
    for row in rows:
        if row.count:
            axes, colour = panels[row.points], COLOURS[row.seen]
            axes.plot(REMOVED, row.sparsification_mm, color=colour, label=f"{row.seen}, AUSE {row.ause:.2f}")
            axes.plot(REMOVED, row.oracle_mm, color=colour, linestyle="--")
            axes.axhline(row.error_mm, color=colour, linestyle=":")
    for axes in panels.values():
        axes.set(xlabel="share thrown out, most unsure first", ylabel="mean error of the rest, mm", xlim=(0, 1))
        axes.set_ylim(bottom=0)
        axes.plot([], [], color="grey", linestyle="--", label="best order")
        axes.plot([], [], color="grey", linestyle=":", label="order at random")
        axes.legend(loc="best", fontsize="small")
    return save_figure(figure, path)


def _batch_size(run: Path) -> int:
    """From the notes of the run's checkpoint; the usual one where there is none."""
    try:
        return int(json.loads(read_metadata(run / "last")["notes"])["train"]["batch_size"])
    except (HandvizError, KeyError, TypeError, ValueError, OverflowError):
        return USUAL_BATCH


def _table(path: Path) -> list[Row]:
    """Rows of a CSV file by their lines, cells as text."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(enumerate(csv.DictReader(file), start=2))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise HandvizError(f"{path} is missing or not the log of a run ({error})") from error


def _column(path: Path, rows: list[Row], name: str) -> FloatArray:
    """One column as finite numbers >= 0; a HandvizError names the line that is not."""
    values = []
    for line, row in rows:
        try:
            value = float(row[name])
        except (TypeError, ValueError):
            value = math.nan
        if None in row or not math.isfinite(value) or value < 0:
            raise HandvizError(
                f"{path}, line {line}: {name} is {str(row[name])[:40]!r}; "
                "wanted are numbers from 0 on, and as many cells as the header has"
            )
        values.append(value)
    return np.array(values)


def read_log(run: Path) -> Log:
    """The ``log.csv`` of a run's folder; raises HandvizError if it is missing, foreign, empty or damaged.

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
        raise HandvizError(f"{path} has no rows with step and {wanted}: train with --validation")
    steps = _column(path, rows, "step")
    seen = _column(path, rows, "crops_seen") if "crops_seen" in columns else steps * _batch_size(run)
    # The last of equal steps: unique finds the first of the reversed rows.
    _, first = np.unique(steps[::-1], return_index=True)
    last = len(steps) - 1 - first
    return Log(run.name or str(run), seen[last], {name: _column(path, rows, name)[last] for name in errors})


def draw_learning_curve(logs: Sequence[Log], path: Path) -> Path:
    """Error over crops seen, one line a run; all by the best measure that every log has."""
    shared = [name for name in ERROR_TITLES if all(name in log.errors_mm for log in logs)]
    if not shared:
        raise HandvizError(f"these runs logged different errors ({', '.join(ERROR_TITLES)}): draw them apart")
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for log in logs:
        axes.plot(log.crops_seen, log.errors_mm[shared[0]], marker=".", label=log.name)
    axes.set(xscale="log", xlabel="training crops seen", ylabel=ERROR_TITLES[shared[0]])
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return save_figure(figure, path)
