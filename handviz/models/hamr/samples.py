"""HAMR's training inputs: images, and what MediaPipe's landmark network says of them, computed batch by batch.

The maps of a crop take 260 kB, so they are not cached: ONNX Runtime computes them faster than they are read.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handviz.core.units import DECIMETRES_PER_METRE
from handviz.detection.landmark_network import LandmarkNetwork
from handviz.models.hamr.heatmaps import Maps
from handviz.models.hamr.model import Inputs
from handviz.models.onnx_file import as_bytes


def inputs_of_images(network: LandmarkNetwork, images: NDArray[np.uint8]) -> Inputs:
    """Return the inputs of crops (B, 224, 224, 3) RGB, maps stored channels last."""
    found = network.arrays_of(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), fine=True)
    maps = (torch.from_numpy(found[name]).contiguous(memory_format=torch.channels_last) for name in Maps._fields)
    keypoints, world = (torch.from_numpy(found[name]).flatten(1) for name in ("keypoints", "world_m"))
    certain = [torch.from_numpy(found[name])[:, None] for name in ("presence", "right_hand")]
    return Inputs(Maps(*maps), torch.cat([keypoints, world * DECIMETRES_PER_METRE, *certain], dim=1))


def inputs_of_batch(network: LandmarkNetwork | None, images: Tensor) -> Inputs:
    """Return the inputs of images (B, 3, 224, 224) in [0, 1]: the images themselves without a landmark network."""
    if network is None:
        return Inputs(None, None, images)
    return inputs_of_images(network, as_bytes(images).permute(0, 2, 3, 1).contiguous().numpy())
