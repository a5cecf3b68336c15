"""The picture of ``handviz smoothing``: what smoothers leave of errors and trembling, against their lag."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from handviz.evaluation.plots import save_figure
from tools.motion_scores import MotionScores

STYLES = {"raw": ("#333333", "x"), "kalman": ("#0072b2", "o"), "one_euro": ("#d55e00", ".")}
NAMES = {"raw": "no smoothing", "kalman": "Kalman", "one_euro": "One Euro, any weight of speed"}


class Setting(Protocol):
    """One setting of one smoother."""

    @property
    def kind(self) -> str:
        """raw, kalman or one_euro"""
        ...

    @property
    def scores(self) -> MotionScores:
        """What it reached."""
        ...


def draw_sweeps(simulated: Sequence[Setting], rendered: Sequence[Setting], path: Path) -> Path:
    """Four panels; raises HandvizError if it cannot be written."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    _panel(panels[0, 0], simulated, "left_px", "simulated: error that smoothing can change, px")
    _panel(panels[0, 1], simulated, "left_mm", "simulated: error that smoothing can change, mm")
    _panel(panels[1, 0], rendered, "error_px", "whole pipeline on rendered clips: error, px")
    _panel(
        panels[1, 1], rendered, "tremble_px", "whole pipeline on rendered clips: trembling at rest, px a frame squared"
    )
    panels[0, 0].legend()
    return save_figure(figure, path)


def _panel(axes: Axes, settings: Sequence[Setting], measure: str, title: str) -> None:
    by_kind: Mapping[str, list[Setting]] = {kind: [one for one in settings if one.kind == kind] for kind in STYLES}
    for kind, found in by_kind.items():
        colour, marker = STYLES[kind]
        lags = [one.scores.lag_ms for one in found]
        values = [getattr(one.scores, measure) for one in found]
        line = "-" if kind == "kalman" else "none"
        axes.plot(lags, values, linestyle=line, marker=marker, color=colour, label=NAMES[kind])
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("lag, ms")
    axes.set_ylim(bottom=0)
