"""One process of a run: loads the networks once, then does shards, picture by picture."""

import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from handviz.capture.images import now_ms, read_image
from handviz.cluster.listing import pictures_of_shard
from handviz.cluster.run_record import Run, known_listing
from handviz.cluster.shards import MOST_TRIES, Entry, Journal, ShardReport, is_done, read_report, write_shard
from handviz.errors import HandvizError
from handviz.infer.process_memory import peak_megabytes
from handviz.infer.report import unreadable_entry
from handviz.records import Frame

logger = logging.getLogger(__name__)


class EntryMaker(Protocol):
    """What makes a picture's entry."""

    def entry(self, path: Path, file: str, mesh_stem: str) -> Entry:
        """The entry of the picture at ``path``, which the list calls ``file``; HandvizError if it cannot be read."""
        ...

    def close(self) -> None:
        """Free everything."""
        ...


MakerFactory = Callable[[Run], EntryMaker]


class PipelineEntries:
    """Entries from the networks, the same as those of ``handviz reconstruct``."""

    def __init__(self, run: Run) -> None:
        """Load the networks; HandvizError if that fails."""
        # Here, for the process that only hands out shards does without onnxruntime and mediapipe.
        from handviz.infer.onnx_session import limit_threads
        from handviz.infer.pipeline import Pipeline

        limit_threads(run.threads)
        self._run = run
        self._pipeline = Pipeline(run.order.settings())

    def entry(self, path: Path, file: str, mesh_stem: str) -> Entry:
        """See ``EntryMaker``."""
        from handviz.infer.picture_order import reconstructed, written_entry

        frame = Frame(0, read_image(path), now_ms(), path.name)
        found = reconstructed(self._pipeline, frame, self._run.order.camera)
        if self._run.order.mesh != "none":
            (self._run.out / mesh_stem).parent.mkdir(parents=True, exist_ok=True)
        return written_entry(file, found, self._run.order, self._run.out, mesh_stem)

    def close(self) -> None:
        """Free detector and networks."""
        self._pipeline.close()


class Worker:
    """Does shards, one after another."""

    def __init__(self, run: Run, make: MakerFactory = PipelineEntries) -> None:
        """Load the networks; HandvizError if they, or the program, are not those of the run."""
        if known_listing(run) is None:
            raise HandvizError(f"{run.out} is not there on {socket.gethostname()}: all machines need the same folders")
        self._run = run
        self._maker = make(run)

    def do(self, number: int) -> ShardReport:
        """Reconstruct what is not yet done of a shard; HandvizError if results cannot be written."""
        out = self._run.out
        if is_done(out, number):
            return read_report(out, number)
        began = time.perf_counter()
        files = pictures_of_shard(out, number)
        journal = Journal(out, number)
        try:
            already = len(journal.entries)
            for position in range(already, len(files)):
                file = files[position]
                name = f"meshes/{number:09d}/{position:06d}_{Path(file).stem}"
                given_up = position == already and journal.tries >= MOST_TRIES
                journal.add(_poisonous(file) if given_up else self._entry(file, name))
            report = _report(number, journal.entries, len(files) - already, time.perf_counter() - began)
            report = write_shard(out, report, journal.entries)
            journal.remove()
        except OSError as error:
            raise HandvizError(f"shard {number} cannot be written to {out}: {error}") from error
        finally:
            journal.close()
        return report

    def close(self) -> None:
        """Free everything."""
        self._maker.close()

    def _entry(self, file: str, mesh_stem: str) -> Entry:
        path = self._run.root / file
        try:
            return self._maker.entry(path, file, mesh_stem)
        except HandvizError as error:
            return unreadable_entry(file, str(error))
        # The outermost loop: one picture of a billion that fails, for whatever reason, must not end the shard.
        except Exception as error:
            logger.exception("%s failed", path)
            return unreadable_entry(file, f"{path}: it could not be reconstructed ({error})")


def _poisonous(file: str) -> Entry:
    return unreadable_entry(file, f"{file}: {MOST_TRIES} processes ended at this picture; it is passed")


def _report(number: int, entries: list[Entry], worked_on: int, seconds: float) -> ShardReport:
    bad: list[tuple[str, Any]] = [(entry["file"], entry["error"]) for entry in entries if "error" in entry]
    return ShardReport(
        number=number,
        pictures=len(entries),
        hands=sum(len(entry["hands"]) for entry in entries),
        unreadable=tuple(bad),
        seconds=round(seconds, 3),
        worked_on=worked_on,
        host=socket.gethostname(),
        peak_megabytes=round(peak_megabytes() or 0.0, 1),
    )
