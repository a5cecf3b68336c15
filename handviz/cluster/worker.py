"""One process of a run: loads the networks once, then does shards, picture by picture."""

import contextlib
import logging
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from handviz.cluster.listing import pictures_of_shard
from handviz.cluster.run_record import Run, known_listing
from handviz.cluster.shards import MOST_TRIES, Entry, Journal, ShardReport, is_done, read_report, write_shard
from handviz.core.errors import HandvizError
from handviz.core.memory import peak_megabytes
from handviz.core.records import Frame
from handviz.io.hands_json import unreadable_entry
from handviz.models.onnx_session import limit_threads
from handviz.pipeline.image_request import reconstructed, written_entry
from handviz.pipeline.pipeline import Pipeline
from handviz.sources.images import now_ms, read_image

logger = logging.getLogger(__name__)


class EntryMaker(Protocol):
    """What makes a picture's entry."""

    stage_seconds: dict[str, float]
    """How long it has been busy with what; whoever reads it may clear it."""

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
        limit_threads(run.threads)
        self._run = run
        self._pipeline = Pipeline(run.order.settings())
        self.stage_seconds: dict[str, float] = defaultdict(float)

    def entry(self, path: Path, file: str, mesh_stem: str) -> Entry:
        """See ``EntryMaker``."""
        order, out = self._run.order, self._run.out
        with timed(self.stage_seconds, "read"):
            frame = Frame(0, read_image(path), now_ms(), path.name)
        found = result, _ = reconstructed(self._pipeline, frame, order.camera)
        for stage, milliseconds in asdict(result.times).items():
            self.stage_seconds[stage.removesuffix("_ms")] += milliseconds / 1000
        with timed(self.stage_seconds, "write"):
            if order.mesh != "none":
                (out / mesh_stem).parent.mkdir(parents=True, exist_ok=True)
            return written_entry(file, found, order, out, mesh_stem)

    def close(self) -> None:
        """Free detector and networks."""
        self._pipeline.close()


class ReadEntries:
    """Entries without hands: pictures are read, and nothing is looked for."""

    def __init__(self, _: Run) -> None:
        self.stage_seconds: dict[str, float] = defaultdict(float)

    def entry(self, path: Path, file: str, mesh_stem: str) -> Entry:
        """See ``EntryMaker``."""
        with timed(self.stage_seconds, "read"):
            height, width = read_image(path).shape[:2]
        return {"file": file, "width": width, "height": height, "hands": []}

    def close(self) -> None:
        """Nothing is held."""


def make_entries(run: Run) -> EntryMaker:
    """What a run asks for."""
    return ReadEntries(run) if run.only_read else PipelineEntries(run)


@contextlib.contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add what the block takes."""
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] += time.perf_counter() - began


class Worker:
    """Does shards, one after another."""

    def __init__(self, run: Run, make: MakerFactory = make_entries) -> None:
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
        began, cpu_began = time.perf_counter(), time.process_time()
        self._maker.stage_seconds.clear()
        files = pictures_of_shard(out, number)
        journal = Journal(out, number)
        try:
            already = len(journal.entries)
            for position in range(already, len(files)):
                file = files[position]
                name = f"meshes/{number:09d}/{position:06d}_{Path(file).stem}"
                given_up = position == already and journal.tries >= MOST_TRIES
                journal.add(_poisonous(file) if given_up else entry_or_reason(self._maker, self._run, file, name))
            report = replace(
                _report(number, journal.entries),
                worked_on=len(files) - already,
                seconds=round(time.perf_counter() - began, 3),
                cpu_seconds=round(time.process_time() - cpu_began, 3),
                stage_seconds={stage: round(spent, 4) for stage, spent in self._maker.stage_seconds.items()},
            )
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


def entry_or_reason(maker: EntryMaker, run: Run, file: str, mesh_stem: str = "") -> Entry:
    """The entry of a listed picture, or why there is none."""
    path = run.root / file
    try:
        return maker.entry(path, file, mesh_stem)
    except HandvizError as error:
        return unreadable_entry(file, str(error))
    # The outermost loop: one picture of a billion that fails, for whatever reason, must not end the shard.
    except Exception as error:
        logger.exception("%s failed", path)
        return unreadable_entry(file, f"{path}: it could not be reconstructed ({error})")


def _poisonous(file: str) -> Entry:
    return unreadable_entry(file, f"{file}: {MOST_TRIES} processes ended at this picture; it is passed")


def _report(number: int, entries: list[Entry]) -> ShardReport:
    bad: list[tuple[str, Any]] = [(entry["file"], entry["error"]) for entry in entries if "error" in entry]
    return ShardReport(
        number=number,
        pictures=len(entries),
        hands=sum(len(entry["hands"]) for entry in entries),
        unreadable=tuple(bad),
        host=socket.gethostname(),
        peak_megabytes=round(peak_megabytes() or 0.0, 1),
    )
