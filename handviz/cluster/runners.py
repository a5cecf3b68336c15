"""How shards come to workers: one after another in this process, or to actors of Ray Data."""

import importlib.util
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from handviz.cluster.run_record import Run
from handviz.cluster.shards import ShardReport
from handviz.cluster.worker import MakerFactory, PipelineEntries, Worker
from handviz.errors import HandvizError
from handviz.paths import PROJECT_ROOT

INSTALL = "Ray is not installed here: python -m pip install -r requirements-cluster.txt"


class Runner(Protocol):
    """Does shards somewhere; they come back in any order."""

    def reports(self, run: Run, numbers: Iterable[int]) -> Iterator[ShardReport]:
        """Do these shards; HandvizError if the run cannot go on (what is done stays)."""
        ...


@dataclass(frozen=True)
class HereRunner:
    """One worker, in this process."""

    make: MakerFactory = PipelineEntries

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
    make: MakerFactory = PipelineEntries

    def reports(self, run: Run, numbers: Iterable[int]) -> Iterator[ShardReport]:
        """See ``Runner``."""
        if importlib.util.find_spec("ray") is None:
            raise HandvizError(INSTALL)
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        import ray
        from ray.exceptions import RayError

        self._start(ray)
        try:
            for row in self._dataset(ray, run, list(numbers)).iter_rows():
                yield _report_of(json.loads(row["report"]))
        except RayError as error:
            raise HandvizError(f"the cluster stopped ({_first_line(error)}); {AGAIN}") from error
        finally:
            ray.shutdown()

    def _start(self, ray: Any) -> None:
        paths = os.pathsep.join(filter(None, (str(PROJECT_ROOT), os.environ.get("PYTHONPATH"))))
        shared = {"logging_level": "warning", "log_to_driver": True}
        try:
            if self.address is None:
                os.environ["PYTHONPATH"] = paths
                cpus = max(1, round(self.workers * self.cpus))
                ray.init("local", num_cpus=cpus, include_dashboard=False, _node_ip_address="127.0.0.1", **shared)
            else:
                ray.init(self.address, runtime_env={"env_vars": {"PYTHONPATH": paths}}, **shared)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise HandvizError(f"no cluster of Ray at {self.address or 'this machine'}: {error}") from error

    def _dataset(self, ray: Any, run: Run, numbers: list[int]) -> Any:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        items = [{"shard": number} for number in numbers]
        # One block a shard: a block is what a worker gets at once, and what is repeated where one dies.
        shards = ray.data.from_items(items, override_num_blocks=len(items))
        return shards.map_batches(
            _Actor,
            fn_constructor_args=(run, self.make),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(self.workers, len(items)), max_tasks_in_flight_per_actor=1),
            num_cpus=self.cpus,
            num_gpus=self.gpus or None,
        )


AGAIN = "shards that are done stay: the same command goes on"


class _Actor:
    """A worker as Ray Data wants it: batches in, batches out."""

    def __init__(self, run: Run, make: MakerFactory) -> None:
        self._worker = Worker(run, make)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        reports = map(self._worker.do, map(int, batch["shard"]))
        return {"report": [json.dumps(asdict(report)) for report in reports]}


def _report_of(values: dict[str, Any]) -> ShardReport:
    return ShardReport(**{**values, "unreadable": tuple(map(tuple, values["unreadable"]))})


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
