"""The paper's tables with what one's own runs reached beside its numbers."""

from collections.abc import Sequence
from pathlib import Path

from handviz.evaluation.paper import FIGURES, TABLES, PaperRow, PaperTable
from handviz.evaluation.results import Result

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
