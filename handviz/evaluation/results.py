"""What an official evaluation leaves for the tables: one JSON file beside its run."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handviz.core.errors import HandvizError

FORMAT = 1
PATTERN = "official*.json"
LARGEST_FILE_BYTES = 1_000_000


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
