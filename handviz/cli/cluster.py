"""``handviz cluster``: a folder of any size -> shards and hands.json, by many processes or machines (Ray)."""

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from handviz.cli.image_arguments import ImageArguments, image_request
from handviz.cluster.ray_run import RayOptions, run_on_ray
from handviz.cluster.shards import (
    MAX_NAMED_ERRORS,
    Shard,
    ShardedRun,
    ShardResult,
    attempt_shard,
    complete_shards,
    differing,
    header_of,
    image_reconstructor,
    join,
    shard_count,
)
from handviz.core.arguments import Count, Positional, between, whole
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import print_result

IMAGES_PER_SHARD = 500
MAX_FAILED_SHARDS = 20
"""So many shards that cannot be written end a run: the disk is full, or the folder has gone."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Arguments(ImageArguments):
    """Input, number of processes and output folder.

    A run that was stopped continues where the same command is given again. Exit status 0 if all shards are complete and
    not every image is unreadable.
    """

    input: Positional[Path]
    """Folder with images in it and below, or a .txt list of their paths."""
    out: Path
    """Folder for shards and hands.json."""
    workers: Annotated[int, whole(0, 10**6)] = 2
    """Processes; 0: this process, without Ray."""
    address: str | None = None
    """Of a cluster, auto for the one around this machine; without it one of its own."""
    cpus: Annotated[float, between(0, 1024)] = 1.0
    """Cores a worker."""
    gpus: Annotated[float, between(0, 1024)] = 0.0
    """GPUs a worker, 0.25 is fine."""
    threads: Count = 1
    """Of each worker's networks."""
    shards: Count | None = None
    """Without it those in --out, else one for 500 images."""
    no_join: bool = False
    """Do not write hands.json at the end."""
    verify: Count | None = None
    """At the end, do N random images again and compare."""


def run(arguments: Arguments) -> int:
    """Reconstruct what is not complete, join, verify; return 0 if all is complete."""
    # Other machines have other working folders.
    source, out = (path.expanduser().absolute() for path in (arguments.input, arguments.out))
    if not source.exists():
        raise HandvizError(f"{source}: there is no such folder or list", ErrorCode.FILE_MISSING)
    whole = ShardedRun(source, out, image_request(arguments), recursive=True, threads=arguments.threads)
    header = header_of(whole)
    of = arguments.shards or shard_count(out) or math.ceil(header["images"] / IMAGES_PER_SHARD)
    with logging_redirect_tqdm():
        _do(whole, of, header, arguments)
    complete = complete_shards(whole, of, header)
    images, hands, unreadable = (
        sum(getattr(result, name) for result in complete) for name in ("images", "hands", "unreadable")
    )
    message = "%d of %d images with %d hands, %d unreadable, in %d of %d shards: %s"
    print_result(message, images, header["images"], hands, unreadable, len(complete), of, out)
    if not arguments.no_join and len(complete) == of:
        print_result("all of them in one list: %s", join(whole, of, complete))
    if arguments.verify:
        _verify(whole, complete, arguments.verify)
    return 1 if len(complete) < of or images == unreadable else 0


def _do(whole: ShardedRun, of: int, header: dict[str, Any], arguments: Arguments) -> None:
    """Reconstruct the shards that are not complete, with progress and the first errors."""
    complete = complete_shards(whole, of, header)
    found = sum(result.images for result in complete)
    todo = sorted({Shard(number, of) for number in range(1, of + 1)} - {result.shard for result in complete})
    logger.info("%d images in %d shards, %d of them complete already", header["images"], of, len(complete))
    failed = named = images = 0
    began = time.perf_counter()
    with tqdm(total=header["images"], initial=found, unit="image") as bar:
        for result in _results(whole, todo, header, arguments):
            bar.update(result.images)
            images += result.images
            for error in result.errors[: max(0, MAX_NAMED_ERRORS - named)]:
                logger.error("%s", error)
            named += len(result.errors)
            failed += bool(result.failure)
            if result.is_fatal or failed >= MAX_FAILED_SHARDS:
                raise HandvizError(
                    f"the run ends after {failed} shards that failed: {result.failure}", ErrorCode.CANCELLED
                )
            if result.failure:
                logger.error("shard %d failed, %s", result.shard.number, result.failure)
    if images:
        print_result("%.2f images a second", images / (time.perf_counter() - began))


def _results(
    whole: ShardedRun, todo: list[Shard], header: dict[str, Any], arguments: Arguments
) -> Iterator[ShardResult]:
    if not todo:
        return iter(())
    if not arguments.workers:
        return (attempt_shard(whole, shard, header, image_reconstructor) for shard in todo)
    options = RayOptions(arguments.workers, arguments.address, arguments.cpus, arguments.gpus)
    return run_on_ray(whole, todo, header, options)


def _verify(whole: ShardedRun, complete: list[ShardResult], images: int) -> None:
    different = differing(whole, complete, images)
    print_result("%d of %d images that were done again got another entry", len(different), images)
    if different:
        raise HandvizError(
            f"results are not those of this machine, for example of {different[0]}", ErrorCode.OUTPUT_DIFFERS
        )
