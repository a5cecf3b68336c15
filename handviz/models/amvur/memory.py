"""How a network lies in memory."""

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def channels_last(network: Network) -> Network:
    """The same network with its convolution weights channels last, which is faster on CPUs."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stubs lack it
