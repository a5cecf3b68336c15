"""How shards come to workers: one after another in this process, or to actors of Ray Data."""

import contextlib
import functools
import importlib.util
import json
import logging
import math
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from handviz.cluster.run_record import Run
from handviz.cluster.shards import ShardReport, report_of
from handviz.cluster.worker import MakerFactory, Worker, make_entries
from handviz.core.errors import HandvizError
from handviz.core.paths import PROJECT_ROOT

AGAIN = "shards that are done stay, and the same command goes on"
INSTALL = "Ray is not installed here: python -m pip install -r requirements-cluster.txt"

EVERYWHERE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""Nothing is told to Ray's makers; and what their processes log in a worker's death is in the shard's report."""


def on_this_machine() -> dict[str, str]:
    """What keeps a cluster of one machine to itself: it listens to the loopback alone, and to who knows a secret."""
    paths = filter(None, (str(PROJECT_ROOT), os.environ.get("PYTHONPATH")))
    return {
        # Ray's name for "the machine is a cluster of its own", whatever its system is.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or _secret(),
        "PYTHONPATH": os.pathsep.join(paths),
    }


@functools.cache
def _secret() -> str:
    """The same one for the life of this process: Ray reads it once."""
    return secrets.token_hex(32)


class Runner(Protocol):
    """Does shards somewhere; they come back in any order."""

    def reports(self, run: Run, numbers: Iterable[int]) -> Iterator[ShardReport]:
        """Do these shards; HandvizError if the run cannot go on (what is done stays)."""
        ...


@dataclass(frozen=True)
class HereRunner:
    """One worker, in this process."""

    make: MakerFactory = make_entries

    def reports(self, run: Run, numbers: Iterable[int]) -> Iterator[ShardReport]:
        """See ``Runner``."""
        worker = Worker(run, self.make)
        try:
            for number in numbers:
                yield worker.do(number)
        finally:
            worker.close()


@dataclass(frozen=True)
class RayRunner:
    """Actors of Ray Data: each loads the networks once, and is begun anew where it dies."""

    workers: int = 2
    address: str | None = None
    """Of a cluster ("auto": the one that this machine is part of); None starts one on this machine."""
    cpus: float = 1.0
    """Of each worker."""
    gpus: float = 0.0
    """Of each worker; several may share one."""
    make: MakerFactory = make_entries

    def reports(self, run: Run, numbers: Iterable[int]) -> Iterator[ShardReport]:
        """See ``Runner``."""
        if importlib.util.find_spec("ray") is None:
            raise HandvizError(INSTALL)
        with environment({**EVERYWHERE, **(on_this_machine() if self.address is None else {})}):
            import ray.data
            from ray.exceptions import RayError

            self._start(ray)
            try:
                for row in self._dataset(ray, run, list(numbers)).iter_rows():
                    if row["trouble"]:
                        raise HandvizError(row["trouble"])
                    yield report_of(json.loads(row["report"]))
            except RayError as error:
                raise HandvizError(f"the cluster stopped: {_reason(error)}; {AGAIN}") from error
            finally:
                ray.shutdown()

    def _start(self, ray: Any) -> None:
        quiet = {"logging_level": "error", "log_to_driver": False}
        paths = os.pathsep.join(filter(None, (str(PROJECT_ROOT), os.environ.get("PYTHONPATH"))))
        try:
            if self.address is None:
                cpus = max(1, math.ceil(self.workers * self.cpus))
                ray.init("local", num_cpus=cpus, include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
            else:
                ray.init(self.address, runtime_env={"env_vars": {"PYTHONPATH": paths}}, **quiet)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise HandvizError(f"no cluster of Ray at {self.address or 'this machine'}: {error}") from error

    def _dataset(self, ray: Any, run: Run, numbers: list[int]) -> Any:
        # What goes wrong comes back in reports, and in what this module raises.
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        # A shard may take hours, and a cluster may be busy for days.
        context.execution_no_progress_timeout_s = -1
        items = [{"shard": number} for number in numbers]
        # One block a shard: a block is what a worker gets at once, and what is repeated where one dies.
        shards = ray.data.from_items(items, override_num_blocks=len(items))
        return shards.map_batches(
            Actor,
            fn_constructor_args=(run, self.make),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(self.workers, len(items)), max_tasks_in_flight_per_actor=1),
            num_cpus=self.cpus,
            num_gpus=self.gpus or None,
        )


class Actor:
    """A worker as Ray Data wants it: batches in, batches out. An exception would have the actor begun anew for ever."""

    def __init__(self, run: Run, make: MakerFactory) -> None:
        self._worker: Worker | None = None
        self._trouble = ""
        try:
            self._worker = Worker(run, make)
        except HandvizError as error:
            self._trouble = f"{socket.gethostname()}: {error}"

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        reports = [json.dumps(asdict(self._report(int(number)))) for number in batch["shard"]]
        return {"report": reports, "trouble": [self._trouble] * len(reports)}

    def _report(self, number: int) -> ShardReport:
        if self._worker is None:
            return ShardReport(number)
        try:
            return self._worker.do(number)
        except HandvizError as error:
            return ShardReport(number, host=socket.gethostname(), trouble=str(error))


def _reason(error: BaseException) -> str:
    """The last line of what Ray tells: the error in the worker."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].removeprefix(
        "handviz.core.errors.HandvizError: "
    )


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables that processes started meanwhile get; afterwards they are as before."""
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
