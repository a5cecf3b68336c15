"""Makers of entries for tests of ``handviz.cluster``, in a module that other processes can import."""

import os
from pathlib import Path

from handviz.cluster.run_record import Run
from handviz.cluster.shards import Entry
from handviz.cluster.worker import PipelineEntries, ReadEntries
from handviz.core.errors import HandvizError

ENDS, ENDS_ONCE, STOPS, RAISES = "ends", "ends_once", "stops", "raises"
"""In a picture's name: it ends its process, always or once; it stops it as Ctrl+C does; it raises."""


class MadeUpEntries(ReadEntries):
    """A hand for every picture, from its name alone; remembers what it was asked for."""

    asked: list[str] = []  # noqa: RUF012 - the test's own record, cleared by its fixture

    def entry(self, path: Path, file: str, mesh_stem: str) -> Entry:
        self.asked.append(file)
        name = Path(file).stem
        if ENDS in name:
            os._exit(3)
        if STOPS in name:
            raise KeyboardInterrupt
        if RAISES in name:
            raise ZeroDivisionError("this picture is special")
        if "broken" in name:
            raise HandvizError(f"{path}: not a picture")
        return {"file": file, "hands": [{"mesh": None, "score": len(file) / 7}]}


class FailingEntries(ReadEntries):
    """Networks that do not load."""

    def __init__(self, run: Run) -> None:
        raise HandvizError("the network is truncated")


class EndingOnce(PipelineEntries):
    """The real ones, but for a picture that ends its process when it is seen for the first time."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._mark = run.out / "seen"

    def entry(self, path: Path, file: str, mesh_stem: str) -> Entry:
        if ENDS_ONCE in file and not self._mark.exists():
            self._mark.touch()
            os._exit(3)
        return super().entry(path, file, mesh_stem)
