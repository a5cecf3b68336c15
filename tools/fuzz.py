"""Damage files of every kind at random, the same for the same seed, and check that no reader fails at them.

A damaged file must be refused by a HandvizError or be read to possible values, within ten seconds and one gigabyte.
Readers run in another process, which is killed at a file that takes longer. Files that failed are kept.
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import psutil

import tools
from handviz.core.arguments import Count, Option, Seed, between
from handviz.core.paths import PROJECT_ROOT

MAX_SECONDS, OPENING_SECONDS = 10.0, 120.0
"""For one file; for the first of a door, whose whole files are made and read before."""
BUSY_MACHINE = 6
"""So many times the limit may pass while the process got less than half of it."""
FILES_OF_ROUND = 10
GOOD = ("refused", "fine")
BAD = ("crashed", "hung", "wrong", "memory", "no door")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """What became of one damaged file."""

    door: str
    seed: int
    number: int
    verdict: str
    """One of GOOD or BAD."""
    text: str
    """The code of the error, or the traceback."""
    file: str
    """Where the damaged file lies, if it failed."""
    seconds: float

    @property
    def has_failed(self) -> bool:
        """Whether this is a defect of handviz."""
        return self.verdict not in GOOD

    def __str__(self) -> str:
        """Return verdict, place and how to see it again."""
        again = f"python -m tools.fuzz --doors {self.door} --seed {self.seed} --number {self.number}"
        return f"{self.verdict}: {self.file} ({again})\n{self.text}"


class Worker:
    """The process that reads; it is started when needed, and again after it has died."""

    def __init__(self, save_to: Path, log: Path) -> None:
        self._save_to, self._log = save_to, log
        self._process: subprocess.Popen[str] | None = None
        self._opened: set[str] = set()

    def read(self, door: str, seed: int, number: int) -> Finding:
        """Return what becomes of one damaged file."""
        process = self._process or self._started()
        request = {"name": door, "seed": seed, "number": number, "save_to": str(self._save_to)}
        limit_s = MAX_SECONDS if door in self._opened else OPENING_SECONDS
        began, is_late = time.monotonic(), threading.Event()
        is_answered = threading.Event()
        watchdog = threading.Thread(target=self._watch, args=(process, limit_s, is_answered, is_late))
        watchdog.start()
        answer = self._answer(process, request)
        is_answered.set()
        watchdog.join()
        seconds = time.monotonic() - began
        if answer is None:
            self.close()
            answer = self._death(door, seed, number, "hung" if is_late.is_set() else "crashed")
        elif door in self._opened and answer["verdict"] == "memory":
            self.close()  # what it holds would be counted for the next files
        elif answer["verdict"] != "no door":
            self._opened.add(door)
        return Finding(door, seed, number, answer["verdict"], answer["text"], answer["file"], seconds)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        self._opened.clear()
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    def _started(self) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "QT_QPA_PLATFORM": "offscreen"}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", "tools.fuzzing.worker"],
                cwd=PROJECT_ROOT, env=environment, text=True, encoding="utf-8",
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        return self._process

    def _answer(self, process: subprocess.Popen[str], request: dict[str, Any]) -> dict[str, Any] | None:
        """Return the process's answer; None if it died."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            return None
        return json.loads(line) if line.endswith("\n") else None

    def _death(self, door: str, seed: int, number: int, verdict: str) -> dict[str, Any]:
        """Return the answer in place of a process that died, with the last that it said."""
        files = sorted(self._save_to.glob(f"{door}-{seed}-{number}-*"))
        said = self._log.read_text(encoding="utf-8", errors="replace")[-3000:]
        return {"verdict": verdict, "text": said, "file": str(files[0]) if files else ""}

    @staticmethod
    def _watch(
        process: subprocess.Popen[str], limit_s: float, is_answered: threading.Event, is_late: threading.Event
    ) -> None:
        """Kill the process at its limit: of its own time, since other programs may keep the cores busy."""
        began_s = _busy_seconds(process)
        for _ in range(BUSY_MACHINE):
            if is_answered.wait(limit_s):
                return
            if _busy_seconds(process) - began_s > limit_s / 2:
                break
        is_late.set()
        process.kill()


def _busy_seconds(process: subprocess.Popen[str]) -> float:
    try:
        times = psutil.Process(process.pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


@dataclass
class Table:
    """What became of the files of each door."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    seconds: Counter[str] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        """Count a file."""
        self.counts.setdefault(finding.door, Counter())[finding.verdict] += 1
        self.seconds[finding.door] += finding.seconds  # type: ignore[assignment]

    def lines(self) -> Iterator[str]:
        """Yield the table: a line for each door, and their sum."""
        names = (*GOOD, *BAD)
        yield f"{'door':20}{'files':>8}" + "".join(f"{name:>9}" for name in names) + f"{'seconds':>9}"
        total: Counter[str] = Counter()
        for door, counts in self.counts.items():
            yield self._line(door, counts, self.seconds[door])
            total += counts
        yield self._line("all", total, sum(self.seconds.values()))

    @staticmethod
    def _line(name: str, counts: Counter[str], seconds: float) -> str:
        cells = "".join(f"{counts[verdict]:9d}" for verdict in (*GOOD, *BAD))
        return f"{name:20}{counts.total():8d}{cells}{seconds:9.1f}"


def rounds(doors: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield door and number of files without end: some of each door in turn."""
    first = 0
    while True:
        for door in doors:
            yield from ((door, number) for number in range(first, first + FILES_OF_ROUND))
        first += FILES_OF_ROUND


def read_all(
    cases: Iterable[tuple[str, int]], seed: int, save_to: Path, until_s: float | None = None
) -> Iterator[Finding]:
    """Yield what becomes of each case, until the time of ``time.monotonic``; files that failed stay in ``save_to``."""
    save_to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(save_to, Path(folder) / "log")
        try:
            for door, number in cases:
                if until_s is not None and time.monotonic() > until_s:
                    return
                yield worker.read(door, seed, number)
        finally:
            worker.close()


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """How many files of which doors."""

    files: Count = 1000
    """Files in all, some of each door in turn."""
    seconds: Annotated[float | None, between(1, 1e6, "N")] = None
    """End after this time, though there be files left."""
    seed: Seed = 0
    doors: Annotated[tuple[str, ...], Option(metavar="A,B", read=lambda words: tuple(words[0].split(",")))] = ()
    """Only these kinds of files; without it all."""
    number: Annotated[int | None, Option(metavar="N")] = None
    """Only this file of each door: to see a failure again."""
    out: Path = Path("fuzz-failures")
    """Folder for the files that failed."""


def run(arguments: Arguments) -> int:
    """Read damaged files, print what became of them, and return 1 if any failed."""
    from tools.fuzzing.doors import DOORS, door_named

    doors = [door_named(name).name for name in arguments.doors or DOORS]
    if arguments.number is not None:
        cases: Iterable[tuple[str, int]] = [(door, arguments.number) for door in doors]
    else:
        cases = (case for case, _ in zip(rounds(doors), range(arguments.files), strict=False))
    until_s = None if arguments.seconds is None else time.monotonic() + arguments.seconds
    table, has_failed = Table(), False
    for finding in read_all(cases, arguments.seed, arguments.out, until_s):
        table.add(finding)
        if finding.has_failed:
            has_failed = True
            logger.error("%s", finding)
    sys.stdout.writelines(f"{line}\n" for line in table.lines())
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(tools.run("fuzz"))
