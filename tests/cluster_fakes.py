"""Stand-ins for ``ImageReconstructor`` in tests of ``handviz.cluster``, in a module that other processes can import."""

import os
from pathlib import Path

from handviz.cluster.shards import Entry, ShardedRun
from handviz.core.errors import ErrorCode, HandvizError
from handviz.pipeline.image_request import ImageReconstructor, OutputError

KILLS, KILLS_ONCE, STOPS, RAISES, FULL = "kills", "kill_once", "stops", "raises", "full"
"""In an image's name: it kills its process, always or once; stops it as Ctrl+C does; raises; finds the disk full."""


class MadeUpEntries(ImageReconstructor):
    """A reconstructor that makes a hand from an image's name alone, and records the images."""

    asked: list[str] = []  # noqa: RUF012 - the test's own record, cleared by its fixture

    def __init__(self, run: ShardedRun) -> None:
        """Load nothing."""

    def entry(self, path: Path, file: str, stem: str) -> Entry:
        self.asked.append(file)
        name = Path(file).stem
        if KILLS in name:
            os._exit(3)
        if STOPS in name:
            raise KeyboardInterrupt
        if RAISES in name:
            raise ZeroDivisionError("this image is special")
        if FULL in name:
            raise OutputError("no space left on device", ErrorCode.DISK_FULL)
        if "broken" in name:
            raise HandvizError(f"{path}: not an image", ErrorCode.FILE_DAMAGED)
        return {"file": file, "hands": [{"mesh": stem, "score": float("nan") if "nan" in name else len(file) / 7}]}

    def close(self) -> None:
        """Close nothing."""


class KilledOnce(ImageReconstructor):
    """The real reconstructor, but for an image that kills its process the first time."""

    def __init__(self, run: ShardedRun) -> None:
        super().__init__(run.request, run.out)
        self._asked = run.out / "asked"

    def entry(self, path: Path, file: str, stem: str) -> Entry:
        with self._asked.open("a+", encoding="ascii") as asked:
            asked.write(file + "\n")
            asked.seek(0)
            times = asked.read().split().count(file)
        if KILLS_ONCE in file and times == 1:
            os._exit(3)
        return super().entry(path, file, stem)
