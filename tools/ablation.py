"""The paper's ablations in a cheap form: which experiments there are, and their tables beside the paper's numbers.

Every experiment trains fresh heads on one frozen trunk, from the same seed, for the same steps over the same crops.
Heads see the paper's F ("global"), AMVUR starts from the rest pose and our own terms of the loss are off, so that the
paper's questions are asked. Why each row is what it is: docs/log/ablations.md.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any

from handviz.core.errors import HandvizError
from handviz.evaluation.paper_tables import ALIGNED, printed
from handviz.models.amvur.losses import LossConfig
from handviz.models.amvur.model import ModelConfig

RESULT = "result.json"
DEVIATION_FIGURES = ("nll", "coverage_90", "spearman")
"""Figures of a result that a mean alone does not have"""


@dataclass(frozen=True)
class Experiment:
    """One training."""

    name: str
    model: ModelConfig
    loss: LossConfig


@dataclass(frozen=True)
class PaperRow:
    """A row as the paper prints it, and the experiment that asks the same; no numbers: ours alone."""

    label: str
    experiment: str
    numbers: tuple[float, ...] = ()


@dataclass(frozen=True)
class PaperTable:
    """A table of ablations; every row has a number for every figure."""

    group: str
    title: str
    figures: tuple[str, ...]
    """Names of figures of a result"""
    rows: tuple[PaperRow, ...]


MODEL = ModelConfig(variant="final", evidence="global", conditioning="rest")
LOSS = LossConfig(crop=0.0, joints=0.0, prior=0.0)
"""The paper's terms: the divergence alone trains the prior-net beside AMVUR."""
ALONE = replace(LOSS, keypoints=0.0, likelihood="l2")
"""Algorithms 5 and 6: squared errors of vertices, camera and 2D joints."""


def _final(name: str, loss: LossConfig = LOSS, **model: str) -> Experiment:
    return Experiment(name, replace(MODEL, **model), loss)  # type: ignore[arg-type]


EXPERIMENTS = {
    one.name: one
    for one in (
        _final("final"),
        _final("prior", ALONE, variant="prior"),
        _final("amvur", ALONE, variant="amvur"),
        _final("dense", attention="dense"),
        _final("self", attention="self", positions="index"),
        _final("cross", positions="index"),
        _final("l2", replace(LOSS, likelihood="l2")),
        _final("v3d", replace(LOSS, keypoints=0.0, camera=0.0, image=0.0)),
        _final("v3d-j3d", replace(LOSS, camera=0.0, image=0.0)),
        _final("v3d-j3d-c", replace(LOSS, image=0.0)),
        _final("j2d", replace(LOSS, vertices=0.0, keypoints=0.0, camera=0.0)),
        _final("j2d-c", replace(LOSS, vertices=0.0, keypoints=0.0)),
        _final("j2d-c-j3d", replace(LOSS, vertices=0.0)),
        _final("amvur-gaussian", variant="amvur"),
        _final("final-on-prior", LossConfig(), conditioning="prior"),
    )
}
BEFORE = ("mpjpe_mm", "mpvpe_mm")
TABLES = (
    PaperTable(
        "variants",
        "Prior-net, AMVUR and both (paper, Table 1, supervised)",
        ALIGNED,
        (
            PaperRow("prior-net", "prior", printed("1", "ho3d_v2_prior", ALIGNED)),
            PaperRow("AMVUR", "amvur", printed("1", "ho3d_v2_amvur", ALIGNED)),
            PaperRow("final", "final", printed("1", "ho3d_v2_final", ALIGNED)),
        ),
    ),
    PaperTable(
        "parts",
        "Parts of AMVUR (paper, Table 5)",
        ALIGNED,
        (
            PaperRow("A: fully connected layers", "dense", printed("5", "ho3d_v2_dense", ALIGNED)),
            PaperRow("B: self-attention", "self", printed("5", "ho3d_v2_self", ALIGNED)),
            PaperRow("C: B + cross-attention", "cross", printed("5", "ho3d_v2_cross", ALIGNED)),
            PaperRow("D: C + positional encoding", "final", printed("1", "ho3d_v2_final", ALIGNED)),
        ),
    ),
    PaperTable(
        "likelihood",
        "L2 against the probabilistic loss (supplement, Table 3, supervised)",
        ALIGNED,
        (
            PaperRow("L2", "l2", printed("S3", "ho3d_v2_l2", ALIGNED)),
            PaperRow("probabilistic", "final", printed("1", "ho3d_v2_final", ALIGNED)),
        ),
    ),
    PaperTable(
        "losses",
        "Terms of the loss, supervised (paper, Table 3)",
        ALIGNED,
        (
            PaperRow("V3D", "v3d", printed("3", "ho3d_v2_v3d", ALIGNED)),
            PaperRow("V3D + J3D", "v3d-j3d", printed("3", "ho3d_v2_v3d_j3d", ALIGNED)),
            PaperRow("V3D + J3D + C", "v3d-j3d-c", printed("3", "ho3d_v2_v3d_j3d_c", ALIGNED)),
            PaperRow("V3D + J3D + C + J2D", "final", printed("1", "ho3d_v2_final", ALIGNED)),
        ),
    ),
    PaperTable(
        "losses-unaligned",
        "Terms of the loss, before Procrustes alignment (supplement, Table 4)",
        BEFORE,
        (
            PaperRow("J2D", "j2d", printed("S4", "ho3d_v2_j2d", BEFORE)),
            PaperRow("J2D + C", "j2d-c", printed("S4", "ho3d_v2_j2d_c", BEFORE)),
            PaperRow("J2D + C + J3D", "j2d-c-j3d", printed("S4", "ho3d_v2_j2d_c_j3d", BEFORE)),
            PaperRow("J2D + C + J3D + V3D", "final", printed("S4", "ho3d_v2_final", BEFORE)),
        ),
    ),
    PaperTable(
        "ours",
        "Not in the paper",
        ALIGNED,
        (
            PaperRow("AMVUR alone, probabilistic loss", "amvur-gaussian"),
            PaperRow("final from the prior-net's mesh, with our crop and prior terms", "final-on-prior"),
        ),
    ),
)


def chosen(names: Sequence[str]) -> list[Experiment]:
    """Experiments by their names, their groups' or "all", each once; raises HandvizError for an unknown name."""
    groups = {table.group: [row.experiment for row in table.rows] for table in TABLES}
    groups |= {"all": list(EXPERIMENTS)} | {name: [name] for name in EXPERIMENTS}
    unknown = [name for name in names if name not in groups]
    if unknown:
        raise HandvizError(f"no ablation is called {', '.join(unknown)}; there are {', '.join(groups)}")
    return [EXPERIMENTS[one] for one in dict.fromkeys(one for name in names for one in groups[name])]


TITLES = {
    "pa_mpjpe_mm": ("PA-MPJPE, mm", "{:.1f}"),
    "pa_mpvpe_mm": ("PA-MPVPE, mm", "{:.1f}"),
    "f5": ("F@5", "{:.3f}"),
    "f15": ("F@15", "{:.3f}"),
    "mpjpe_mm": ("MPJPE, mm", "{:.1f}"),
    "mpvpe_mm": ("MPVPE, mm", "{:.1f}"),
    "nll": ("nll", "{:.2f}"),
    "coverage_90": ("90 % covers", "{:.1%}"),
    "spearman": ("Spearman", "{:.2f}"),
}
ALIKE_COUNTS = ("steps", "batch_size", "samples", "seed", "trunk_crops_seen", "test_samples")
KINDS: dict[str, dict[str, type | UnionType]] = {
    "figures": dict.fromkeys(TITLES, int | float | None),
    "alike": {**dict.fromkeys(ALIKE_COUNTS, int), "trunk": str, "test": str},
}
"""What the tables print of a result, and of what kind it is."""
NOTE = """\
Of every pair of columns the first is the paper's number, the second ours. The data differ, and so does the length of
training: the paper trains whole networks (ResNet50) on photographs of HO3Dv2 and tests on its test set; ours are heads
of {steps} steps ({crops} crops seen) on one frozen trunk, trained and tested on rendered crops. So compare the order
of the rows, not a number with its neighbour. There is one seed: small differences mean nothing."""


def read_results(directory: Path) -> dict[str, dict[str, Any]]:
    """What ``directory/NAME/result.json`` say, by name; raises HandvizError if there is none, or a damaged one."""
    found = {}
    for name in EXPERIMENTS:
        path = directory / name / RESULT
        if path.is_file():
            found[name] = _read_result(path)
    if not found:
        raise HandvizError(
            f"{directory} holds no result of an ablation: 'handviz ablate NAME --run-dir {directory}' first"
        )
    return found


def _read_result(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        lacking = _lacking(result, {"crops_seen": int})
        lacking += [name for part, kinds in KINDS.items() for name in _lacking(result[part], kinds)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise HandvizError(f"{path} is damaged ({error}): train that ablation again") from error
    if lacking:
        raise HandvizError(
            f"{path} lacks {', '.join(lacking)}, or holds something else there: train that ablation again"
        )
    return dict(result)


def _lacking(found: dict[str, Any], kinds: dict[str, type | UnionType]) -> list[str]:
    """Names that are not there or of another kind; figures too large to print are none either."""
    return [
        name
        for name, kind in kinds.items()
        if name not in found or not isinstance(found[name], kind) or _is_too_large(found[name])
    ]


def _is_too_large(value: Any) -> bool:
    return isinstance(value, int) and abs(value) > 10**300


def markdown(results: dict[str, dict[str, Any]]) -> str:
    """Every table of the paper that has a result, a row an experiment, beside the paper's numbers."""
    parts = [_note(results), *_conditions(results)]
    for table in TABLES:
        if any(row.experiment in results for row in table.rows):
            parts.append(f"### {table.title}\n\n" + "\n".join(_table_lines(table, results)))
    missing = [name for name in EXPERIMENTS if name not in results]
    return "\n\n".join([*parts, *([f"Not trained yet: {', '.join(missing)}."] if missing else [])]) + "\n"


def _note(results: dict[str, dict[str, Any]]) -> str:
    """NOTE with the lengths of these trainings."""
    steps = {result["alike"]["steps"] for result in results.values()}
    crops = {result["crops_seen"] for result in results.values()}
    return NOTE.format(steps=_span(steps), crops=_span(crops))


def _span(counts: set[int]) -> str:
    return " to ".join(f"{count:,}" for count in sorted({min(counts), max(counts)}))


def _conditions(results: dict[str, dict[str, Any]]) -> Iterator[str]:
    """How the rows were trained, and a warning if not all alike."""
    first = next(iter(results.values()))
    alike = first["alike"]
    seen = f"{first['crops_seen']:,} seen of {alike['samples']:,}"
    yield (
        f"{alike['steps']} steps of {alike['batch_size']} crops ({seen}), "
        f"seed {alike['seed']}; trunk {alike['trunk']} ({alike['trunk_crops_seen']:,} crops seen); "
        f"{alike['test_samples']:,} held-out crops of {alike['test']}."
    )
    others = [name for name, result in results.items() if result["alike"] != alike]
    if others:
        yield f"**Trained or tested in another way, not to be compared: {', '.join(others)}.**"


def _table_lines(table: PaperTable, results: dict[str, dict[str, Any]]) -> Iterator[str]:
    own = [name for name in ("mpjpe_mm", *DEVIATION_FIGURES) if name not in table.figures]
    pairs = [part for name in table.figures for part in (f"{TITLES[name][0]}: paper", "ours")]
    yield "| | " + " | ".join([*pairs, *(f"our {TITLES[name][0]}" for name in own)]) + " |"
    yield "|---" * (1 + len(pairs) + len(own)) + "|"
    for row in table.rows:
        figures = results[row.experiment]["figures"] if row.experiment in results else {}
        numbers = row.numbers or (None,) * len(table.figures)
        cells = [
            cell
            for name, number in zip(table.figures, numbers, strict=True)
            for cell in (_cell(name, number), _cell(name, figures.get(name)))
        ]
        yield f"| {row.label} | " + " | ".join([*cells, *(_cell(name, figures.get(name)) for name in own)]) + " |"


def _cell(name: str, value: float | None) -> str:
    """A figure; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else TITLES[name][1].format(value)


def listing() -> str:
    """Every experiment by group, what it is in the paper and the paper's numbers."""
    lines = []
    for table in TABLES:
        lines.append(f"{table.group}: {table.title}; {', '.join(TITLES[name][0] for name in table.figures)}")
        for row in table.rows:
            numbers = zip(table.figures, row.numbers, strict=False)
            printed = "  ".join(_cell(name, number) for name, number in numbers)
            lines.append(f"  {row.experiment:15} {row.label:60} {printed}".rstrip())
    return "\n".join(lines) + "\n"
