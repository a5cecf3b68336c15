"""The tables of papers: their own rows, with their printed numbers. So far AMVUR (CVPR 2023) and its supplement.

The numbers are in ``paper_tables.toml``, each row with its place in the paper or its supplement. A row names its recipe
(``evaluation/recipes``), so that its run can be found. Rows of other methods are left out. Numbers are after Procrustes
alignment where a figure's name begins with ``pa_``.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

TABLES_FILE = Path(__file__).with_suffix(".toml")
FIGURES: dict[str, tuple[str, str]] = {
    "auc_joints": ("AUC_J", "{:.3f}"),
    "pa_mpjpe_mm": ("PA-MPJPE, mm", "{:.1f}"),
    "auc_vertices": ("AUC_V", "{:.3f}"),
    "pa_mpvpe_mm": ("PA-MPVPE, mm", "{:.1f}"),
    "f5": ("F@5", "{:.3f}"),
    "f15": ("F@15", "{:.3f}"),
    "mpjpe_mm": ("MPJPE, mm", "{:.1f}"),
    "mpvpe_mm": ("MPVPE, mm", "{:.1f}"),
    "f5_unaligned": ("F@5", "{:.3f}"),
    "f15_unaligned": ("F@15", "{:.3f}"),
    "ssim": ("SSIM", "{:.3f}"),
    "psnr_db": ("PSNR, dB", "{:.1f}"),
}
"""Title and format of every figure in the tables"""


@dataclass(frozen=True)
class PaperRow:
    """A row as it is printed."""

    label: str
    recipe: str
    printed: str
    """Training scheme and method as the source calls the row, or its place; empty without numbers"""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """By figure; those that the paper, or our copy of it, leaves out are missing"""


@dataclass(frozen=True)
class PaperTable:
    """A table, with the split that all of its rows are tested on."""

    paper: str
    """Short name of the method whose paper it is in, such as "AMVUR" """
    name: str
    """Its number there, such as "1", or "S2" of a supplement"""
    source: str
    """Document and table that its numbers are printed in, such as "supplement, Table 2\""""
    title: str
    test: str
    """NAME/SPLIT of the data spec"""
    figures: tuple[str, ...]
    rows: tuple[PaperRow, ...]

    @property
    def id(self) -> str:
        """Its name in ``handviz tables``, such as "amvur/1" or "sima_hand/2"."""
        return f"{self.paper.lower().replace('-', '_')}/{self.name}"

    @property
    def heading(self) -> str:
        """What stands above it."""
        return f"{self.paper}, Table {self.name}: {self.title}"


def _table(rows: list[tuple[str, str, str, list[float]]], figures: list[str], **texts: str) -> PaperTable:
    found = (
        PaperRow(label, recipe, printed, dict(zip(figures, numbers, strict=bool(numbers))))
        for label, recipe, printed, numbers in rows
    )
    return PaperTable(**texts, figures=tuple(figures), rows=tuple(found))


TABLES = tuple(_table(**entry) for entry in tomllib.loads(TABLES_FILE.read_text(encoding="utf-8"))["table"])
