"""An evaluation as text, as a CSV file of its samples, and as a plot of its PCK curves."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from handviz.core.files import spreadsheet_text, write_files
from handviz.core.metrics import PCK_LIMIT_MM
from handviz.evaluation.card import CARD_ROWS, cell, mean_or_nan
from handviz.evaluation.definitions import BONE_SCALE, COLUMNS, RESAMPLES, THRESHOLDS_MM, UPPER_AUC, Measures
from handviz.evaluation.official import Evaluation
from handviz.evaluation.plots import save_figure
from handviz.evaluation.protocols import official_count, protocol_of, sequence_of

ALIGNMENT_TITLES = {
    "absolute": "nothing (camera's frame)",
    "root": "root (wrist on wrist)",
    "scale_translation": "scale and translation (wrist, palm)",
    BONE_SCALE: "root and true scale (middle finger)",
    "procrustes": "Procrustes",
}
COLUMN_TITLES = {
    "mpjpe_mm": ("MPJPE, mm", "{:.2f}"),
    "auc_keypoints": ("AUC, joints", "{:.3f}"),
    UPPER_AUC: ("AUC of {:g} to {:g} mm, joints", "{:.3f}"),
    "mpvpe_mm": ("MPVPE, mm", "{:.2f}"),
    "auc_vertices": ("AUC, vertices", "{:.3f}"),
    "f5": ("F@5 mm", "{:.3f}"),
    "f15": ("F@15 mm", "{:.3f}"),
}
UNCERTAINTY_NAMES = ("nll", "coverage_50", "coverage_68", "coverage_90", "coverage_95", "ause", "spearman", "std_mm")
COLOURS = {
    "absolute": "#999999",
    "root": "#0072b2",
    "scale_translation": "#009e73",
    BONE_SCALE: "#cc79a7",
    "procrustes": "#d55e00",
}


def report(evaluation: Evaluation, crops: str, frame_rate_hz: float | None = None) -> str:
    """Return Markdown: counts, errors with intervals, uncertainty, jitter; ``crops`` says how crops were cut."""
    parts = [heading(evaluation, crops), error_table(evaluation), uncertainty_table(evaluation)]
    parts.append(jitter(evaluation, frame_rate_hz))
    return "\n\n".join(part for part in parts if part) + "\n"


def heading(evaluation: Evaluation, crops: str) -> str:
    """Return dataset, split and counts; then what was left out."""
    found, official = len(evaluation.names), official_count(evaluation.dataset, evaluation.split)
    of_official = "" if official is None else f" (the official split has {official:,})"
    lines = [
        f"{evaluation.dataset}/{evaluation.split}: {found:,} samples{of_official}, {crops}, "
        f"hand model {evaluation.hand_model}"
    ]
    if found < evaluation.total:
        lines.append(f"{evaluation.total - found:,} of {evaluation.total:,} hands were not found and are left out")
    if "root_mpvpe_mm" not in evaluation.scores.columns:
        lines.append("no vertex figures: they need a network of MANO's mesh, and a split with true vertices")
    return "\n".join([*lines, *evaluation.warnings])


def error_table(evaluation: Evaluation) -> str:
    """Return a table, a row per alignment, * where the dataset's own program prints it; 95 % bootstrap intervals in
    brackets."""
    official = protocol_of(evaluation.dataset)
    columns = _columns(official.measures)
    titles = ["aligned by", *(_title(column, official.measures) for column in columns)]
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for alignment in official.measures.alignments:
        cells = [_error_cell(evaluation, f"{alignment}_{column}", COLUMN_TITLES[column][1]) for column in columns]
        star = " *" if alignment in official.official else ""
        lines.append("| " + " | ".join([ALIGNMENT_TITLES[alignment] + star, *cells]) + " |")
    lines.append(f"\n\\* {official.source}; {_interval_note(evaluation)}")
    return "\n".join(lines)


def _columns(measures: Measures) -> Sequence[str]:
    """Return the columns that a dataset has, the further area behind the usual one."""
    if measures.upper_auc_from_mm is None:
        return COLUMNS
    return (*COLUMNS[:2], UPPER_AUC, *COLUMNS[2:])


def _title(column: str, measures: Measures) -> str:
    return COLUMN_TITLES[column][0].format(measures.upper_auc_from_mm, PCK_LIMIT_MM)


def _interval_note(evaluation: Evaluation) -> str:
    if evaluation.sequences < 2:
        return "no intervals: all samples are of one sequence"
    drawn = "samples" if evaluation.sequences == len(evaluation.names) else f"{evaluation.sequences:,} whole sequences"
    return f"in brackets 95 % of {RESAMPLES:,} bootstrap draws of {drawn}"


def _error_cell(evaluation: Evaluation, name: str, form: str) -> str:
    if name not in evaluation.scores.columns:
        return "–"
    mean = form.format(evaluation.scores.columns[name].mean())
    if evaluation.sequences < 2:
        return mean
    low, high = evaluation.intervals[name]
    return f"{mean} ({form.format(low)} to {form.format(high)})"


def uncertainty_table(evaluation: Evaluation) -> str:
    """Return the card's rows on uncertainty, keypoints and vertices beside each other; a line if there is none."""
    if not evaluation.std:
        return "the model predicts no uncertainty"
    titles = {name: (title, form) for title, name, form in CARD_ROWS}
    lines = [
        "| standard deviation against error, wrist on wrist, best turn | " + " | ".join(evaluation.std) + " |",
        "|---" * (len(evaluation.std) + 1) + "|",
    ]
    for name in UNCERTAINTY_NAMES:
        title, form = titles[name]
        cells = [cell(form, figures[name]) for figures in evaluation.std.values()]
        lines.append("| " + " | ".join([title.removesuffix(", vertices"), *cells]) + " |")
    return "\n".join(lines)


def jitter(evaluation: Evaluation, frame_rate_hz: float | None = None) -> str:
    """Return a line on acceleration errors, by time too if the rate is known; empty without three such frames."""
    errors = evaluation.acceleration_mm
    if not len(errors["root"]):
        return ""
    means = {name: mean_or_nan(values) for name, values in errors.items()}
    text = (
        f"acceleration error over {len(errors['root']):,} frames: {means['root']:.2f} mm/frame² from the wrist, "
        f"{means['absolute']:.2f} mm/frame² in the camera's frame"
    )
    if frame_rate_hz is not None:
        by_time = {name: value * frame_rate_hz**2 for name, value in means.items()}
        text += f" ({by_time['root']:,.0f} and {by_time['absolute']:,.0f} mm/s² at {frame_rate_hz:g} frames a second)"
    return text


def write_csv(evaluation: Evaluation, path: Path) -> None:
    """Write a row per sample: name, sequence, side, mean stds, every error; HandvizError if that fails."""
    columns: Mapping[str, Sequence[float] | np.ndarray] = {
        **{f"mean_std_{kind}_mm": values for kind, values in evaluation.mean_std_mm.items()},
        **evaluation.scores.columns,
    }
    protocol, text = protocol_of(evaluation.dataset), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "sequence", "handedness", *columns])
    for row, (name, side) in enumerate(zip(evaluation.names, evaluation.handedness, strict=True)):
        numbers = ["" if np.isnan(values[row]) else f"{values[row]:.6f}" for values in columns.values()]
        writer.writerow([*map(spreadsheet_text, (name, sequence_of(name, protocol), side)), *numbers])
    write_files({path: text.getvalue().encode()})


def draw_pck(evaluations: Mapping[str, Evaluation], path: Path) -> Path:
    """Plot the PCK curves of evaluations by title, of joints and of vertices; HandvizError as ``save_figure``."""
    kinds = [
        kind
        for kind in ("keypoints", "vertices")
        if any(f"root_{kind}" in one.scores.pck for one in evaluations.values())
    ]
    figure = Figure(figsize=(5.2 * max(len(kinds), 2), 4.4), layout="constrained")
    for axes, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        for style, (title, evaluation) in zip(_styles(), evaluations.items(), strict=False):
            _draw_curves(axes, evaluation, kind, (style, title if len(evaluations) > 1 else ""))
        axes.set(title=kind, xlabel="threshold, mm", ylabel="fraction within it", xlim=(0, 50), ylim=(0, 1))
        axes.grid(alpha=0.3)
        # A single curve's panel has its legend beside it, where nothing is covered.
        place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if len(kinds) == 1 else {"loc": "best"}
        axes.legend(**place, fontsize="small")
    return save_figure(figure, path)


def _styles() -> Sequence[str]:
    return ("-", "--", ":", "-.") * 8


def _draw_curves(axes: Axes, evaluation: Evaluation, kind: str, style_and_title: tuple[str, str]) -> None:
    style, title = style_and_title
    for alignment in protocol_of(evaluation.dataset).measures.alignments:
        curve = evaluation.scores.pck.get(f"{alignment}_{kind}")
        if curve is not None:
            area = evaluation.scores.columns[f"{alignment}_auc_{kind}"].mean()
            upper = _upper_area(evaluation, alignment) if kind == "keypoints" else ""
            name = f"{title} {ALIGNMENT_TITLES[alignment]}, AUC {area:.3f}{upper}".strip()
            axes.plot(THRESHOLDS_MM, curve, style, color=COLOURS[alignment], label=name)


def _upper_area(evaluation: Evaluation, alignment: str) -> str:
    """Return the further area of keypoints for the legend; empty where the dataset has none."""
    start_mm = protocol_of(evaluation.dataset).measures.upper_auc_from_mm
    if start_mm is None:
        return ""
    area = evaluation.scores.columns[f"{alignment}_{UPPER_AUC}"].mean()
    return f", {area:.3f} of {start_mm:g} to {PCK_LIMIT_MM:g} mm"
