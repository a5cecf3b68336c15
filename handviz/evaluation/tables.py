"""The paper's tables with what one's own runs reached beside its numbers."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handviz.core.errors import HandvizError
from handviz.evaluation.paper_tables import FIGURES, TABLES, PaperRow, PaperTable

FORMAT = 1
PATTERN = "official*.json"
LARGEST_FILE_BYTES = 1_000_000
COLUMN_OF = {
    "auc_joints": "procrustes_auc_keypoints",
    "pa_mpjpe_mm": "procrustes_mpjpe_mm",
    "auc_vertices": "procrustes_auc_vertices",
    "pa_mpvpe_mm": "procrustes_mpvpe_mm",
    "f5": "procrustes_f5",
    "f15": "procrustes_f15",
    "mpjpe_mm": "root_mpjpe_mm",
    "mpvpe_mm": "root_mpvpe_mm",
    "f5_unaligned": "root_f5",
    "f15_unaligned": "root_f15",
    "ssim": "ssim",
    "psnr_db": "psnr_db",
}
"""A figure's column of an official evaluation; "before alignment" is read as wrist on wrist, as HO3D's code has it."""
NOTE = "Of every pair of columns the first is the paper's number, the second that of the run found (a dash: none)."


# What an official evaluation leaves for the tables: one JSON file beside its run.


@dataclass(frozen=True)
class Result:
    """One model on one split."""

    path: Path
    recipe: str
    """empty: the model was not trained by a recipe"""
    model: str
    dataset: str
    split: str
    samples: int
    crops_seen: int
    figures: dict[str, float]
    """means by the columns of ``definitions.Scores``"""

    @property
    def test(self) -> str:
        """NAME/SPLIT of the data spec."""
        return f"{self.dataset}/{self.split}"


def as_json(result: Result, intervals: dict[str, tuple[float, float]]) -> bytes:
    """The file's content; figures that are no number are left out."""
    entry = {
        "handviz_official": FORMAT,
        "recipe": result.recipe,
        "model": result.model,
        "dataset": result.dataset,
        "split": result.split,
        "samples": result.samples,
        "crops_seen": result.crops_seen,
        "figures": {name: value for name, value in result.figures.items() if math.isfinite(value)},
        "intervals_95": {name: list(pair) for name, pair in intervals.items()},
    }
    return (json.dumps(entry, indent=1) + "\n").encode("utf-8")


def read_results(folder: Path) -> list[Result]:
    """Every result below the folder, in the order of their paths; HandvizError names one that is damaged."""
    if not folder.is_dir():
        raise HandvizError(f"{folder} is not a folder")
    return [_read(path) for path in sorted(folder.rglob(PATTERN))]


def _read(path: Path) -> Result:
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise ValueError("it is too large")
        entry = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(entry, dict) or entry.get("handviz_official") != FORMAT:
            raise ValueError("it is not written by 'handviz evaluate --json' of this version")
        texts = {name: _checked(entry, name, str) for name in ("recipe", "model", "dataset", "split")}
        counts = {name: _checked(entry, name, int) for name in ("samples", "crops_seen")}
        return Result(path=path, **texts, **counts, figures=dict(_figures(_checked(entry, "figures", dict))))
    except (OSError, ValueError, RecursionError) as error:
        raise HandvizError(f"{path} cannot be used ({error}): move it away, or evaluate that model again") from error


def _checked(entry: dict[str, Any], name: str, kind: type) -> Any:
    if type(entry.get(name)) is not kind:
        raise ValueError(f"{name} is missing, or of another kind")
    return entry[name]


def _figures(found: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in found.items():
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError(f"figure {name[:40]!r} is no number")
        yield name, float(value)


def markdown(results: Sequence[Result], tables: Sequence[PaperTable] = TABLES) -> str:
    """Every table, a row a recipe; below each what the runs in it were trained and tested on."""
    return "\n\n".join([NOTE, *(_table(table, results) for table in tables)]) + "\n"


def found_for(row: PaperRow, table: PaperTable, results: Sequence[Result]) -> Result | None:
    """The row's run: of several the one that has seen the most crops, then the one tested on the most samples."""
    own = [one for one in results if one.recipe == row.recipe and one.test == table.test]
    return max(own, key=lambda one: (one.crops_seen, one.samples, str(one.path)), default=None)


def _table(table: PaperTable, results: Sequence[Result]) -> str:
    heads = [part for figure in table.figures for part in (f"{FIGURES[figure][0]}: paper", "ours")]
    lines = [f"### Table {table.name}: {table.title}", "", "| | " + " | ".join(heads) + " |"]
    lines.append("|---" * (1 + len(heads)) + "|")
    notes = []
    for row in table.rows:
        found = found_for(row, table, results)
        lines.append(f"| {row.label} | " + " | ".join(_cells(row, table, found)) + " |")
        if found is not None:
            notes.append(_note(row, found))
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _cells(row: PaperRow, table: PaperTable, found: Result | None) -> list[str]:
    ours = {} if found is None else found.figures
    return [
        cell
        for figure in table.figures
        for cell in (_cell(figure, row.numbers.get(figure)), _cell(figure, ours.get(COLUMN_OF[figure])))
    ]


def _cell(figure: str, value: float | None) -> str:
    return "–" if value is None else FIGURES[figure][1].format(value)


def _note(row: PaperRow, found: Result) -> str:
    place = found.path.parent.name or str(Path(found.path))
    return f"- {row.label}: {place}, {found.crops_seen:,} crops seen, {found.samples:,} samples of {found.test}"
