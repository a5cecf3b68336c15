"""Training in one process or several (torchrun), on the CPU (gloo) or one GPU each (nccl), with one interface."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, get_args

import torch
from torch import Tensor, distributed, nn

from handviz.core.errors import ErrorCode, HandvizError

Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[Device, ...] = get_args(Device)
TIMEOUT = timedelta(hours=12)
"""How long processes wait while the first one caches maps or validates."""


@dataclass(frozen=True)
class Processes:
    """This process among all, and its device."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this one writes files and shows progress."""
        return self.rank == 0

    def own_part(self, ids: Tensor) -> Tensor:
        """Return this process's equal part of a batch."""
        return ids.chunk(self.count)[self.rank]

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over all processes, the same bits in each."""
        if self.count == 1:
            return values
        shared = values.detach().clone()
        distributed.all_reduce(shared)
        return shared / self.count

    def any(self, here: bool) -> bool:
        """Return whether it is so in any process."""
        return bool(self.mean(torch.tensor(float(here), device=self.device)) > 0)

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network with its gradients averaged over all processes."""
        if self.count == 1:
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=devices)

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """Let the first process run first, so that the others find what it has cached."""
        if self.count > 1 and not self.first:
            distributed.barrier()
        yield
        if self.count > 1 and self.first:
            distributed.barrier()


ALONE = Processes()


def chosen_device(name: str, local_rank: int) -> torch.device:
    """Return the device of that name; "auto" is a GPU if there is one. HandvizError if it is missing."""
    if name not in DEVICES:
        raise HandvizError(f"device is {name!r}; there are {', '.join(DEVICES)}", ErrorCode.UNKNOWN_NAME)
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise HandvizError(
            "device cuda: PyTorch finds no GPU here; install its CUDA build or use --device cpu", ErrorCode.BAD_VALUE
        )
    if local_rank >= torch.cuda.device_count():
        raise HandvizError(
            f"process {local_rank} has no GPU of its own, there are {torch.cuda.device_count()}: start fewer processes",
            ErrorCode.BAD_VALUE,
        )
    return torch.device("cuda", local_rank)


@contextmanager
def joined(device_name: str) -> Iterator[Processes]:
    """Join the processes that torchrun has started, if any; leave them at the end."""
    count, rank, local_rank = (
        int(os.environ.get(name, default)) for name, default in (("WORLD_SIZE", 1), ("RANK", 0), ("LOCAL_RANK", 0))
    )
    device = chosen_device(device_name, local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if count == 1:
        yield Processes(device=device)
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield Processes(rank, count, device)
    finally:
        distributed.destroy_process_group()
