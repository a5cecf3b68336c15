"""``handviz cluster``: a folder of any size -> shards of hands.json, by several processes or machines (Ray Data)."""

import argparse
import logging
import time
from collections import defaultdict
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from handviz.cli.image_arguments import add_picture_arguments, count, number, picture_order
from handviz.cli.reconstruct import REPORT_NAME
from handviz.cluster.listing import Listed
from handviz.cluster.run_record import Run
from handviz.cluster.runners import HereRunner, RayRunner, Runner
from handviz.cluster.shards import ShardReport
from handviz.cluster.verification import differing
from handviz.cluster.whole_run import do, join, prepared, shards_to_do, write_summary
from handviz.core.errors import HandvizError
from handviz.core.memory import peak_megabytes

MOST_NAMED = 20
"""Unreadable pictures that are named while a run goes on; its folder names all."""
MOST_TROUBLES = 20
"""So many shards that cannot be written end a run: the disk is full, or the folder has gone."""
logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to reconstruct, by how many, and where to."""
    parser.epilog = (
        "A run that was stopped goes on where the same command is given again. "
        "Exit status 0 if all shards of the part are done and not every picture so far is unreadable."
    )
    parser.add_argument(
        "input", type=Path, help="folder with pictures in it and below, or a text file with their paths"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards and what is told of them")
    parser.add_argument("--workers", type=_workers, default=2, metavar="N", help="0: this process, without Ray (2)")
    parser.add_argument("--address", help="of a cluster, auto for the one around this machine (one of its own)")
    parser.add_argument("--cpus", type=_part_of_machine, default=1.0, metavar="C", help="cores a worker (1)")
    parser.add_argument(
        "--gpus", type=_part_of_machine, default=0.0, metavar="G", help="GPUs a worker, 0.25 is fine (0)"
    )
    parser.add_argument("--threads", type=count, default=1, metavar="T", help="of each worker's networks (1)")
    parser.add_argument("--shard-size", type=count, default=500, metavar="N", help="pictures a shard (%(default)s)")
    parser.add_argument(
        "--part", type=_part, default=(1, 1), metavar="K/N", help="do the K-th of N parts of the shards"
    )
    parser.add_argument("--list-only", action="store_true", help="list the pictures, and reconstruct none")
    parser.add_argument("--join", action="store_true", help=f"at the end, write one {REPORT_NAME} too")
    parser.add_argument(
        "--only-read", action="store_true", help="find no hands: name unreadable pictures, time reading"
    )
    parser.add_argument("--verify", type=count, metavar="N", help="at the end, do N random pictures again and compare")
    parser.add_argument("--compare", action="store_true", help="ask all variants, and tell their distances")
    add_picture_arguments(parser, mesh="none")


def run(arguments: argparse.Namespace) -> int:
    """List, reconstruct, count; 0 if the part is complete."""
    order = picture_order(arguments)
    source, out = _absolute(arguments.input), _absolute(arguments.out)
    if not source.exists():
        raise HandvizError(f"{source}: there is no such folder or list")
    whole = Run(source, out, order, arguments.shard_size, arguments.threads, arguments.only_read)
    listed = prepared(whole)
    logger.info("%d pictures in %d shards", listed.pictures, listed.shards)
    if arguments.list_only:
        return 0
    part, parts = arguments.part
    shards = range(listed.shards * (part - 1) // parts, listed.shards * part // parts)
    todo = shards_to_do(out, shards)
    if len(todo) < len(shards):
        logger.info("%d shards of %d are done already", len(shards) - len(todo), len(shards))
    progress = Progress(_pictures_of(todo, listed, arguments.shard_size))
    try:
        with logging_redirect_tqdm():
            do(whole, todo, _runner(arguments), progress.told)
    finally:
        progress.close()
        totals = write_summary(whole, listed)
        told = "%d of %d pictures with %d hands, %d unreadable, in %d of %d shards, %.2f kB a picture: %s"
        size_kb = totals.bytes / 1000 / max(totals.pictures, 1)
        logger.info(
            told, totals.pictures, listed.pictures, totals.hands, totals.unreadable,
            totals.shards, listed.shards, size_kb, out,
        )  # fmt: skip
    if arguments.join:
        join(whole, listed, out / REPORT_NAME)
        logger.info("all of them in one list: %s", out / REPORT_NAME)
    if arguments.verify:
        different = differing(whole, listed, arguments.verify)
        logger.info("%d of %d pictures that were done again got another entry", len(different), arguments.verify)
        if different:
            raise HandvizError(f"results are not those of this machine, for example of {different[0]}")
    all_failed = 0 < totals.pictures == totals.unreadable
    return 1 if all_failed or shards_to_do(out, shards) else 0


def _pictures_of(shards: list[int], listed: Listed, shard_size: int) -> int:
    """How many pictures they hold; the last one of all may be shorter."""
    short = listed.shards * shard_size - listed.pictures if listed.shards - 1 in shards else 0
    return len(shards) * shard_size - short


class Progress:
    """What is told while a run goes on, and what a picture cost."""

    def __init__(self, pictures: int) -> None:
        self._bar = tqdm(total=pictures, unit="picture")
        self._troubles = 0
        self._stages: dict[str, float] = defaultdict(float)
        self._began, self._named = time.perf_counter(), 0
        self._pictures, self._seconds, self._cpu_seconds, self._peak_megabytes = 0, 0.0, 0.0, 0.0

    def told(self, report: ShardReport) -> None:
        """Note a shard that is done; name the first unreadable pictures."""
        if report.trouble:
            self._troubles += 1
            logger.error("shard %d on %s: %s", report.number, report.host, report.trouble)
            if self._troubles >= MOST_TROUBLES:
                raise HandvizError(f"{self._troubles} shards could not be done; the last one: {report.trouble}")
        self._bar.update(report.pictures)
        self._pictures += report.worked_on
        self._seconds += report.seconds
        self._cpu_seconds += report.cpu_seconds
        for stage, seconds in report.stage_seconds.items():
            self._stages[stage] += seconds
        self._peak_megabytes = max(self._peak_megabytes, report.peak_megabytes)
        for _, reason in report.unreadable[: max(0, MOST_NAMED - self._named)]:
            logger.error("%s", reason)
        self._named += len(report.unreadable)

    def close(self) -> None:
        """Say what the pictures of this run cost."""
        self._bar.close()
        if self._pictures:
            passed_s = time.perf_counter() - self._began
            rate = self._pictures / passed_s
            cost_ms, cpu_ms = (1000 * spent / self._pictures for spent in (self._seconds, self._cpu_seconds))
            logger.info("%d pictures in %.1f s: %.2f a second", self._pictures, passed_s, rate)
            stages = ", ".join(
                f"{stage} {1000 * s / self._pictures:.1f}" for stage, s in sorted(self._stages.items(), key=_longest)
            )
            logger.info("a picture took a worker %.1f ms and %.1f ms of a core (%s)", cost_ms, cpu_ms, stages)
            here = peak_megabytes() or 0
            logger.info("memory at most: %.0f MB a worker, %.0f MB this process", self._peak_megabytes, here)


def _longest(stage: tuple[str, float]) -> float:
    return -stage[1]


def _runner(arguments: argparse.Namespace) -> Runner:
    if not arguments.workers:
        return HereRunner()
    return RayRunner(arguments.workers, arguments.address, arguments.cpus, arguments.gpus)


def _absolute(path: Path) -> Path:
    """Other machines have other working folders."""
    return path.expanduser().absolute()


def _workers(text: str) -> int:
    return int(number(text, 0, 1e6))


def _part_of_machine(text: str) -> float:
    return number(text, 0.0, 1024.0)


def _part(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts):
        return int(part), int(parts)
    raise argparse.ArgumentTypeError(f"{text} is no part like 3/100")
