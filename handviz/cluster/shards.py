"""Results of a shard: one line a picture, put in place whole; and the journal of a shard that is under way."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from handviz.core.errors import HandvizError
from handviz.core.files import write_whole

SHARDS_FOLDER = "shards"
SHARDS_PER_FOLDER = 1000
MOST_TRIES = 3
"""A picture at which the process ended so often is passed: it may be the picture that ends it."""
Entry = dict[str, Any]


@dataclass(frozen=True)
class ShardReport:
    """What is told of a shard that is done."""

    number: int
    pictures: int = 0
    hands: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    """Picture and reason."""
    seconds: float = 0.0
    """Of work on it, in the process that finished it."""
    cpu_seconds: float = 0.0
    """Of all threads of that process; unlike ``seconds`` it does not grow where others want the cores too."""
    worked_on: int = 0
    """How many pictures that process did; fewer than ``pictures`` where another one had begun."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    """Of ``seconds``, how much went where: read, detect, crop, reconstruct, write ..."""
    bytes: int = 0
    sha256: str = ""
    host: str = ""
    peak_megabytes: float = 0.0
    """Of the process, since it began."""
    trouble: str = ""
    """Why the shard is not done; never in a file."""


def shard_path(out: Path, number: int) -> Path:
    """The file with the entries."""
    return out / SHARDS_FOLDER / f"{number // SHARDS_PER_FOLDER:06d}" / f"hands_{number:09d}.jsonl"


def report_path(out: Path, number: int) -> Path:
    """The file that says that the shard is done, and what is in it."""
    return shard_path(out, number).with_suffix(".done.json")


def is_done(out: Path, number: int) -> bool:
    """Whether a shard is complete."""
    return report_path(out, number).is_file()


def write_shard(out: Path, report: ShardReport, entries: list[Entry]) -> ShardReport:
    """Put the entries in place, then the report that stands for them; returns it with its size and sum."""
    content = "".join(json.dumps(entry, allow_nan=False) + "\n" for entry in entries).encode("ascii")
    facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    report = ShardReport(**{**asdict(report), **facts})
    told = (json.dumps(asdict(report)) + "\n").encode("ascii")
    write_whole({shard_path(out, report.number): content, report_path(out, report.number): told})
    return report


def read_report(out: Path, number: int) -> ShardReport:
    """The report of a shard that is done; HandvizError if it is damaged."""
    path = report_path(out, number)
    try:
        return report_of(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise HandvizError(f"{path} is damaged ({error}); delete it, and its shard is done again") from error


def report_of(values: dict[str, Any]) -> ShardReport:
    """The report in an object of JSON; TypeError, KeyError or ValueError if there is none in it."""
    unreadable = tuple((str(file), str(reason)) for file, reason in values["unreadable"])
    return ShardReport(**{**values, "unreadable": unreadable})


def entries_of_shard(out: Path, number: int) -> Iterator[Entry]:
    """The entries of a shard that is done, in order; HandvizError if its file is not what its report says."""
    path, report = shard_path(out, number), read_report(out, number)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise HandvizError(f"{path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != report.sha256:
        wrong = f"{path} is not what its run wrote; delete {report_path(out, number).name}, and its shard is done again"
        raise HandvizError(wrong)
    for line in content.splitlines():
        yield json.loads(line)


class Journal:
    """Entries of a shard that is under way, kept as soon as they are made: whoever goes on begins where this one ended.

    One process writes it at a time.
    """

    def __init__(self, out: Path, number: int) -> None:
        """Open or begin it; HandvizError if that is not possible."""
        self._path = shard_path(out, number).with_suffix(".journal")
        self.entries: list[Entry] = []
        """What earlier processes made of the shard's first pictures."""
        self.tries = 0
        """How many processes ended at the picture that is next."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = self._path.open("a+b")
            self._go_on()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HandvizError(f"{self._path} cannot be used ({error}); delete it if it is damaged") from error

    def add(self, entry: Entry) -> None:
        """Keep the next picture's entry."""
        self._write({"at": len(self.entries), "entry": entry})
        self.entries.append(entry)

    def remove(self) -> None:
        """The shard is done."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave it to the next process."""
        self._file.close()

    def _go_on(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1  # a process that was killed may have left half a line
        os.truncate(self._path, whole)
        ended_at: list[int] = []
        for line in content[:whole].splitlines():
            values = json.loads(line)
            if "entry" in values:
                # A process that was thought dead may have gone on for a while and said the same again.
                if values["at"] == len(self.entries):
                    self.entries.append(values["entry"])
            else:
                ended_at.append(values["ended_at"])
        if content:
            self._write({"ended_at": len(self.entries)})
            self.tries = 1 + ended_at.count(len(self.entries))

    def _write(self, values: dict[str, Any]) -> None:
        self._file.write(json.dumps(values, allow_nan=False).encode("ascii") + b"\n")
        self._file.flush()
