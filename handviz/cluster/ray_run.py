"""Shards as tasks of Ray, on this machine or on a cluster; the only module that imports Ray."""

import contextlib
import importlib.util
import math
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from handviz.cluster.shards import MakerFactory, Shard, ShardedRun, ShardResult, attempt_shard, image_reconstructor
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.extras import install_line
from handviz.core.paths import IS_CLONE, PROJECT_ROOT

MAX_RETRIES = 20
"""How often a shard is resumed after its process or machine was lost."""


@dataclass(frozen=True)
class RayOptions:
    """The cluster that runs the tasks, and the resources of each."""

    workers: int = 2
    address: str | None = None
    """Address of a cluster ("auto": the one of this machine); None starts one on this machine."""
    cpus: float = 1.0
    gpus: float = 0.0


def run_on_ray(
    run: ShardedRun,
    shards: Iterable[Shard],
    header: dict[str, Any],
    options: RayOptions,
    make: MakerFactory = image_reconstructor,
) -> Iterator[ShardResult]:
    """Yield the shards' results as they finish; HandvizError if Ray or the cluster is missing."""
    if importlib.util.find_spec("ray") is None:
        raise HandvizError(f"Ray is not installed; type: {install_line('cluster')}", ErrorCode.PACKAGE_MISSING)
    with _environment(options):
        import ray

        _start(ray, options)
        try:
            task = ray.remote(attempt_shard).options(
                num_cpus=options.cpus, num_gpus=options.gpus, max_retries=MAX_RETRIES
            )
            waiting = iter(shards)
            running = {task.remote(run, shard, header, make): shard for shard in islice(waiting, options.workers)}
            while running:
                (ready,), _ = ray.wait(list(running), num_returns=1)
                yield _result(ray, ready, running.pop(ready))
                running |= {task.remote(run, shard, header, make): shard for shard in islice(waiting, 1)}
        finally:
            ray.shutdown()


def _result(ray: Any, ready: Any, shard: Shard) -> ShardResult:
    try:
        result: ShardResult = ray.get(ready)
    except ray.exceptions.RayError as error:
        last_line = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        return ShardResult(shard, failure=f"its task did not end: {last_line}")
    return result


def _start(ray: Any, options: RayOptions) -> None:
    quiet = {"logging_level": "error", "log_to_driver": False}
    try:
        if options.address is None:
            cpus = max(1, math.ceil(options.workers * options.cpus))
            ray.init("local", num_cpus=cpus, include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
        else:
            ray.init(options.address, runtime_env={"env_vars": {"PYTHONPATH": _python_path()}}, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = options.address or "this machine"
        raise HandvizError(f"no Ray cluster can be reached at {where}: {error}", ErrorCode.NO_CONNECTION) from error


def _python_path() -> str:
    """Return the workers' PYTHONPATH: the clone comes first; an installed handviz is found where Python finds it."""
    return os.pathsep.join(filter(None, (str(PROJECT_ROOT) if IS_CLONE else "", os.environ.get("PYTHONPATH"))))


@contextlib.contextmanager
def _environment(options: RayOptions) -> Iterator[None]:
    """Set the variables that Ray reads when it starts, and restore them afterwards.

    A local cluster listens on the loopback only and requires a token; no usage is reported to Ray's makers.
    """
    values = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    if options.address is None:
        secret = os.environ.get("RAY_AUTH_TOKEN") or _SECRET
        # Ray's variable for a cluster of one machine, on any system.
        values |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secret}
        values |= {"PYTHONPATH": _python_path()}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_SECRET = secrets.token_hex(32)
"""Constant for this process, because Ray reads it once."""
