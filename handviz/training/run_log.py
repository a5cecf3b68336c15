"""``log.csv`` of a run: one row a checkpoint, written whole or not at all."""

import csv
import math
import os
from pathlib import Path

from handviz.core.errors import HandvizError


class RunLog:
    """The rows of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[dict[str, str]]:
        """What was written so far; HandvizError unless every row has a step and as many cells as the header."""
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file, restkey="beyond"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, csv.Error) as error:
            raise HandvizError(f"{self.path} is damaged ({error}): move it away") from error
        if not all(_is_of_a_run(row) for row in rows):
            raise HandvizError(f"{self.path} is not the log of a run: move it away")
        return rows

    def keep_until(self, step: int) -> None:
        """Drop rows of steps that no checkpoint holds, from a run that was killed in between."""
        rows = self.rows()
        kept = [row for row in rows if float(row["step"]) <= step]
        if len(kept) < len(rows):
            self._write(kept)

    def add(self, row: dict[str, float]) -> None:
        """Append a row; HandvizError if it cannot be written."""
        self._write([*self.rows(), {name: _text(value) for name, value in row.items()}])

    def _write(self, rows: list[dict[str, str]]) -> None:
        names = list(dict.fromkeys(name for row in rows for name in row))
        part = self.path.with_name(self.path.name + ".part")
        try:
            with part.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, names, restval="")
                writer.writeheader()
                writer.writerows(rows)
            os.replace(part, self.path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise HandvizError(f"cannot write {self.path} ({error}); the last checkpoint is intact") from error


def _is_of_a_run(row: dict[str, str]) -> bool:
    try:
        step = float(row.get("step", ""))
    except (TypeError, ValueError):
        return False
    return math.isfinite(step) and "beyond" not in row and None not in row.values()


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
