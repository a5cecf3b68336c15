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
from handviz.core.errors import HandvizError
from handviz.core.paths import PROJECT_ROOT

INSTALL = "Ray is not installed here: python -m pip install -r requirements-cluster.txt"
MAX_RETRIES = 20
"""So often a shard is continued after its process, or its machine, was lost."""


@dataclass(frozen=True)
class RayOptions:
    """Where tasks run, and what each of them reserves."""

    workers: int = 2
    address: str | None = None
    """Of a cluster ("auto": the one that this machine is part of); None starts one on this machine."""
    cpus: float = 1.0
    gpus: float = 0.0


def run_on_ray(
    run: ShardedRun,
    shards: Iterable[Shard],
    header: dict[str, Any],
    options: RayOptions,
    make: MakerFactory = image_reconstructor,
) -> Iterator[ShardResult]:
    """Yield the shards' results as they come; HandvizError if there is no Ray or no cluster."""
    if importlib.util.find_spec("ray") is None:
        raise HandvizError(INSTALL)
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
        raise HandvizError(f"no cluster of Ray at {options.address or 'this machine'}: {error}") from error


def _python_path() -> str:
    return os.pathsep.join(filter(None, (str(PROJECT_ROOT), os.environ.get("PYTHONPATH"))))


@contextlib.contextmanager
def _environment(options: RayOptions) -> Iterator[None]:
    """Set what Ray reads when it starts; afterwards all variables are as before.

    A cluster of one machine listens to the loopback alone and asks for a secret; no usage is reported to Ray's makers.
    """
    values = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    if options.address is None:
        secret = os.environ.get("RAY_AUTH_TOKEN") or _SECRET
        # Ray's name for "the machine is a cluster of its own", whatever its system is.
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
"""The same one for the life of this process: Ray reads it once."""
