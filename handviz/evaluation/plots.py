"""Figures of calibration, drawn by matplotlib without a window: PNG or SVG by the file's suffix."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from handviz.core.errors import ErrorCode, HandvizError, write_error_code
from handviz.core.files import atomic_path, make_folder
from handviz.core.records import FloatArray
from handviz.evaluation.calibration import NOMINAL, REMOVED

SUFFIXES = (".png", ".svg")
COLOURS = {"all": "#333333", "visible": "#0072b2", "hidden": "#d55e00"}
"""Distinguishable for colour-blind readers too (Okabe and Ito 2008)."""


class Curves(Protocol):
    """A row of ``calibration`` or ``pipeline_calibration``."""

    @property
    def points(self) -> str:
        """``vertices`` or ``keypoints``."""

    @property
    def seen(self) -> str:
        """A key of COLOURS."""

    @property
    def count(self) -> int:
        """Of points."""

    @property
    def error_mm(self) -> float:
        """Mean error."""

    @property
    def ause(self) -> float:
        """Area between the two curves of sparsification, by the mean error."""

    @property
    def reliability(self) -> FloatArray:
        """(19,) at NOMINAL."""

    @property
    def sparsification_mm(self) -> FloatArray:
        """(100,) at REMOVED."""

    @property
    def oracle_mm(self) -> FloatArray:
        """(100,) at REMOVED."""


def check_ending(path: Path) -> None:
    """Raise HandvizError unless the suffix is that of an image format."""
    if path.suffix.lower() not in SUFFIXES:
        raise HandvizError(f"{path} must end in {' or '.join(SUFFIXES)}", ErrorCode.UNSUPPORTED_FORMAT)


def save_figure(figure: Figure, path: Path) -> Path:
    """Write an image; HandvizError if that fails."""
    check_ending(path)
    try:
        make_folder(path.parent)
        with atomic_path(path) as part:
            figure.savefig(part, dpi=150)
    except (OSError, HandvizError) as error:
        code = write_error_code(error) if isinstance(error, OSError) else error.code
        raise HandvizError(f"cannot write {path} ({error})", code) from error
    return path


def _panels(rows: Sequence[Curves]) -> tuple[Figure, dict[str, Axes]]:
    """Yield a panel for each kind of points."""
    names = list(dict.fromkeys(row.points for row in rows))
    figure = Figure(figsize=(4.5 * len(names), 4.2), layout="constrained")
    panels = dict(zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True))
    for name, axes in panels.items():
        axes.set_title(name)
        axes.grid(alpha=0.3)
    return figure, panels


def draw_reliability(rows: Sequence[Curves], path: Path) -> Path:
    """Plot observed over nominal coverage of central intervals; above the diagonal the variances are too large."""
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


def draw_sparsification(rows: Sequence[Curves], path: Path) -> Path:
    """Plot the mean error of the points left (Ilg et al. 2018): by standard deviation, by error (dashed), at random
    (dots)."""
    figure, panels = _panels(rows)
    for row in rows:
        if row.count:
            axes, colour = panels[row.points], COLOURS[row.seen]
            axes.plot(REMOVED, row.sparsification_mm, color=colour, label=f"{row.seen}, AUSE {row.ause:.2f}")
            axes.plot(REMOVED, row.oracle_mm, color=colour, linestyle="--")
            axes.axhline(row.error_mm, color=colour, linestyle=":")
    for axes in panels.values():
        axes.set(xlabel="fraction removed, most uncertain first", ylabel="mean error of the rest, mm", xlim=(0, 1))
        axes.set_ylim(bottom=0)
        axes.plot([], [], color="grey", linestyle="--", label="best order")
        axes.plot([], [], color="grey", linestyle=":", label="random order")
        axes.legend(loc="best", fontsize="small")
    return save_figure(figure, path)
