"""A landmark network that counts its runs, and inputs for it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import CropLandmarks, HandCrop
from handviz.detection.landmark_network import LandmarkNetwork, batch_of


class CountingLandmarks:
    """The shipped landmark network; ``runs`` counts."""

    def __init__(self) -> None:
        self._network = LandmarkNetwork(device="cpu")
        self.provider, self.file, self.runs = self._network.provider, self._network.file, 0

    def of_images(self, images: NDArray[np.uint8]) -> list[CropLandmarks]:
        """Return what the network says, and count the run."""
        self.runs += 1
        return self._network.of_images(images)

    def of_crops(self, crops: Sequence[HandCrop]) -> list[CropLandmarks]:
        """Return what the network says of crops, and count the run."""
        self.runs += 1
        return self._network.of_crops(crops)


def images_of(crops: Sequence[HandCrop]) -> NDArray[np.uint8]:
    """Return the images of crops as the network takes them, (B, 3, 224, 224)."""
    return batch_of([crop.image for crop in crops])
