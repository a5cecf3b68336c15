"""The papers' tables with the results of one's own runs beside its numbers."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import write_files
from handviz.core.json_files import read_json
from handviz.evaluation.paper_tables import FIGURES, TABLES, PaperRow, PaperTable

FORMAT = 1
PATTERN = "official*.json"
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
"""A figure's column of an official evaluation; "before alignment" is root-relative, as in HO3D's code."""
RENDERED = "rendered"
"""``Result.dataset`` of crops that handviz renders, and ``PaperTable.test`` of a table of such results."""
NOTE = "Of every pair of columns the first is the paper's number, the second that of the run found (a dash: none)."
RENDERED_NOTE = """\
## Rendered hands: no results on a dataset

The tables below repeat rows in a cheap form: heads alone, trained for a short time on a frozen backbone, trained and
tested on rendered hands (`handviz reproduce NAME --rendered`). Every such number ends in "r". The paper trains whole
networks on photographs and tests on a dataset: compare the order of the rows, never a number with its neighbour. Every
row is one training: small differences mean nothing."""
UNLIKE = "**Not to be compared: these rows were trained or tested in different ways.**"


@dataclass(frozen=True)
class Result:
    """One model on one split."""

    path: Path
    recipe: str
    """empty: not trained by a recipe"""
    model: str
    dataset: str
    split: str
    samples: int
    crops_seen: int
    figures: dict[str, float]
    """means by the columns of ``definitions.Scores``"""
    conditions: str = ""
    """of the training, where they are not the recipe's own"""

    @property
    def test(self) -> str:
        """NAME/SPLIT of the data spec."""
        return f"{self.dataset}/{self.split}"


@dataclass(frozen=True)
class _Saved:
    """What is read of a result's file."""

    handviz_official: Literal[1]
    """FORMAT"""
    recipe: str
    model: str
    dataset: str
    split: str
    samples: int
    crops_seen: int
    figures: dict[str, float]
    conditions: str = ""
    """missing in files of earlier versions"""


def as_json(result: Result, intervals: dict[str, tuple[float, float]]) -> bytes:
    """Return the file's content; numbers that are not finite are left out."""
    entry = {
        "handviz_official": FORMAT,
        "recipe": result.recipe,
        "model": result.model,
        "dataset": result.dataset,
        "split": result.split,
        "samples": result.samples,
        "crops_seen": result.crops_seen,
        "conditions": result.conditions,
        "figures": {name: value for name, value in result.figures.items() if math.isfinite(value)},
        "intervals_95": {name: list(pair) for name, pair in intervals.items()},
    }
    return (json.dumps(entry, indent=1) + "\n").encode("utf-8")


def write_result(result: Result, intervals: dict[str, tuple[float, float]]) -> Path:
    """Write the result and return its path; HandvizError if it cannot be written."""
    write_files({result.path: as_json(result, intervals)})
    return result.path


def read_results(folder: Path) -> list[Result]:
    """Read every result below the folder, in the order of their paths; HandvizError names one that is damaged."""
    if not folder.is_dir():
        raise HandvizError(f"{folder} is not a folder", ErrorCode.FILE_MISSING)
    return [_read(path) for path in sorted(folder.rglob(PATTERN))]


def _read(path: Path) -> Result:
    saved = read_json(path, _Saved, "move it away, or evaluate that model again")
    fields = {name: value for name, value in vars(saved).items() if name != "handviz_official"}
    return Result(path=path, **fields)


def markdown(results: Sequence[Result], tables: Sequence[PaperTable] = TABLES) -> str:
    """Return every table, a row per recipe, then, marked, those with rows trained on rendered hands.

    Below each stands what its runs were trained and tested on.
    """
    parts = [NOTE, *(_table(table, results) for table in tables)]
    rendered = [on_rendered_hands(table) for table in tables if not table.test.startswith(RENDERED)]
    rendered = [table for table in rendered if any(found_for(row, table, results) for row in table.rows)]
    if rendered:
        parts += [RENDERED_NOTE, *(_table(table, results) for table in rendered)]
    return "\n\n".join(parts) + "\n"


def on_rendered_hands(table: PaperTable) -> PaperTable:
    """Return the table of the same rows, trained and tested on rendered hands."""
    return replace(table, title=f"{table.title} (the paper) beside RENDERED HANDS (ours)", test=RENDERED)


def found_for(row: PaperRow, table: PaperTable, results: Sequence[Result]) -> Result | None:
    """Return the row's run: of several the one trained on the most crops, then the one tested on the most samples."""
    own = [one for one in results if one.recipe == row.recipe and table.test in (one.test, one.dataset)]
    return max(own, key=lambda one: (one.crops_seen, one.samples, str(one.path)), default=None)


def _table(table: PaperTable, results: Sequence[Result]) -> str:
    ours = "rendered" if table.test == RENDERED else "ours"
    heads = [part for figure in table.figures for part in (f"{FIGURES[figure][0]}: paper", ours)]
    lines = [f"### {table.heading}", "", "| | " + " | ".join(heads) + " |"]
    lines.append("|---" * (1 + len(heads)) + "|")
    runs = [(row, found_for(row, table, results)) for row in table.rows]
    lines += [f"| {row.label} | " + " | ".join(_cells(row, table, found)) + " |" for row, found in runs]
    notes = [_note(row, found) for row, found in runs if found is not None]
    # Results on a dataset each count as its official test; rendered ones are comparable only among themselves.
    ways = {(one.conditions, one.test, one.samples) for _, one in runs if one is not None}
    if table.test == RENDERED and len(ways) > 1:
        notes.append(f"\n{UNLIKE}")
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _cells(row: PaperRow, table: PaperTable, found: Result | None) -> list[str]:
    ours = {} if found is None else found.figures
    mark = " r" if table.test == RENDERED else ""
    return [
        cell
        for figure in table.figures
        for cell in (_cell(figure, row.numbers.get(figure)), _cell(figure, ours.get(COLUMN_OF[figure]), mark))
    ]


def _cell(figure: str, value: float | None, mark: str = "") -> str:
    return "–" if value is None else FIGURES[figure][1].format(value) + mark


def _note(row: PaperRow, found: Result) -> str:
    folder = found.path.parent.name or str(Path(found.path))
    text = f"- {row.label}: {folder}, {found.crops_seen:,} crops seen, {found.samples:,} samples of {found.test}"
    return f"{text}; {found.conditions}" if found.conditions else text
