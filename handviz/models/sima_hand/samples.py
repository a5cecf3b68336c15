"""SiMA-Hand's inputs: what MediaPipe's landmark network says of crops, and the views of one hand at one moment."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handviz.core.units import DECIMETRES_PER_METRE
from handviz.detection.landmark_network import LandmarkNetwork
from handviz.models.onnx_file import as_bytes
from handviz.models.sima_hand.model import Inputs
from handviz.models.truth import Truth


class Views(Protocol):
    """Crops in groups of N, each of one hand in one pose."""

    @property
    def views(self) -> int:
        """N views of every moment."""
        ...

    def __len__(self) -> int: ...

    def batch(self, ids: Tensor) -> tuple[Tensor, Truth]:
        """Return images (B, N, 3, 224, 224) in [0, 1] of moments, and the truth of B N rows, moment by moment."""
        ...


class Moments(Views, Protocol):
    """Hands seen by several cameras at once, as ``training.moments.load_moments`` gives them."""

    def hidden_share(self, ids: Tensor) -> Tensor:
        """Return the fraction (B, N) of the hand that things hide from each view; nan where it is unknown."""
        ...


def inputs_of_images(network: LandmarkNetwork, images: NDArray[np.uint8]) -> Inputs:
    """Return the inputs of crops (B, 224, 224, 3) RGB, maps stored channels last."""
    found = network.arrays_of(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    middle_map = torch.from_numpy(found["middle_map"]).contiguous(memory_format=torch.channels_last)
    keypoints, world = (torch.from_numpy(found[name]).flatten(1) for name in ("keypoints", "world_m"))
    certain = [torch.from_numpy(found[name])[:, None] for name in ("presence", "right_hand")]
    return Inputs(middle_map, torch.cat([keypoints, world * DECIMETRES_PER_METRE, *certain], dim=1))


def inputs_of_batch(network: LandmarkNetwork | None, images: Tensor) -> Inputs:
    """Return the inputs of images (B, 3, 224, 224), or of views (B, N, 3, 224, 224), in [0, 1].

    Without a landmark network these are the images.
    """
    if network is None:
        return Inputs(None, None, images)
    if images.ndim == 5:
        return of_views(inputs_of_batch(network, images.flatten(0, 1)), images.shape[1])
    return inputs_of_images(network, as_bytes(images).permute(0, 2, 3, 1).contiguous().numpy())


def of_views(inputs: Inputs, views: int) -> Inputs:
    """Return the inputs of B N crops as those of N views of B hands."""
    return Inputs(*(part if part is None else part.unflatten(0, (-1, views)) for part in inputs))


def of_crops(inputs: Inputs) -> Inputs:
    """Return the inputs of N views of B hands as those of B N crops."""
    return Inputs(*(part if part is None else part.flatten(0, 1) for part in inputs))
