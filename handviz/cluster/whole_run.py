"""A whole run: list the pictures, do the shards that are not done, count, and join."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from handviz.cluster.listing import Listed, pictures_of_manifest, pictures_under, write_listing
from handviz.cluster.run_record import Run, identity, known_listing, write_record
from handviz.cluster.runners import Runner
from handviz.cluster.shards import ShardReport, entries_of_shard, is_done, read_report
from handviz.core.errors import HandvizError
from handviz.core.files import write_whole, writing_whole

MANIFEST_NAME, INDEX_NAME, UNREADABLE_NAME = "manifest.json", "index.jsonl", "unreadable.jsonl"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Totals:
    """Of the shards that are done."""

    shards: int = 0
    pictures: int = 0
    hands: int = 0
    unreadable: int = 0
    bytes: int = 0

    def plus(self, report: ShardReport) -> "Totals":
        """With one shard more."""
        return Totals(
            self.shards + 1,
            self.pictures + report.pictures,
            self.hands + report.hands,
            self.unreadable + len(report.unreadable),
            self.bytes + report.bytes,
        )


def prepared(run: Run) -> Listed:
    """The listing of a run, made now unless it was begun before; HandvizError if the folder holds another run."""
    listed = known_listing(run)
    if listed is not None:
        return listed
    identity(run)  # a network that is missing is told before the listing, which may take hours
    try:
        run.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HandvizError(f"the folder {run.out} cannot be made: {error}") from error
    remarks: list[str] = []
    if run.source.is_dir():
        pictures = pictures_under(run.source, leave_out=run.out, remarks=remarks)
    else:
        pictures = pictures_of_manifest(run.source)
    listed = write_listing(run.out, pictures, run.shard_size, remarks)
    for remark in remarks:
        logger.warning("%s", remark)
    if not listed.pictures:
        raise HandvizError(f"{run.source}: there are no pictures in it")
    write_record(run, listed)
    return Listed(listed.pictures, listed.shards, tuple(remarks))


def shards_to_do(out: Path, shards: range) -> list[int]:
    """Which of the shards are not complete."""
    return [number for number in shards if not is_done(out, number)]


def do(run: Run, numbers: list[int], runner: Runner, told: Callable[[ShardReport], None]) -> None:
    """Do these shards, and tell of every one that is done."""
    if numbers:
        for report in runner.reports(run, numbers):
            told(report)


def write_summary(run: Run, listed: Listed) -> Totals:
    """Write the index, the list of unreadable pictures and the manifest from the shards' own reports."""
    totals = Totals()
    with writing_whole(run.out / INDEX_NAME) as index, writing_whole(run.out / UNREADABLE_NAME) as unreadable:
        for number in range(listed.shards):
            if not is_done(run.out, number):
                continue
            report = read_report(run.out, number)
            totals = totals.plus(report)
            for file, error in report.unreadable:
                unreadable.write(_line({"file": file, "error": error}))
            index.write(_line({**asdict(report), "unreadable": len(report.unreadable)}))
    manifest = {
        "complete": totals.shards == listed.shards,
        "listed": {"pictures": listed.pictures, "shards": listed.shards},
        "done": asdict(totals),
        **{name: value for name, value in identity(run).items() if name not in ("source", "shard_size")},
    }
    write_whole({run.out / MANIFEST_NAME: (json.dumps(manifest, indent=1) + "\n").encode("ascii")})
    return totals


def join(run: Run, listed: Listed, path: Path) -> None:
    """Write one ``hands.json`` from all shards, a picture at a time; HandvizError unless all are done."""
    lacking = sum(not is_done(run.out, number) for number in range(listed.shards))
    if lacking:
        raise HandvizError(f"{lacking} of {listed.shards} shards are not done yet: run the command again")
    with writing_whole(path) as file:
        before = b"[\n "
        for entry in _all_entries(run.out, listed):
            # As json.dumps(entries, indent=1) has it; a line break inside of a text is never written as one.
            file.write(before + json.dumps(entry, indent=1).replace("\n", "\n ").encode("ascii"))
            before = b",\n "
        file.write(b"\n]\n")


def _all_entries(out: Path, listed: Listed) -> Iterator[dict[str, Any]]:
    for number in range(listed.shards):
        yield from entries_of_shard(out, number)


def _line(values: dict[str, Any]) -> bytes:
    return (json.dumps(values) + "\n").encode("ascii")
