"""MediaPipe's landmark network in ONNX Runtime: crops of hands -> 21 keypoints, presence, side, and its middle map."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import LANDMARK_FILE
from handviz.core.records import CROP_SIZE, FINE_MAPS, KEYPOINT_COUNT, CropLandmarks, Device, FloatArray, HandCrop
from handviz.detection.task_networks import TaskNetwork

MIDDLE_MAP_SHAPE = (112, 14, 14)
OUTPUTS: dict[str, tuple[int, ...]] = {
    "keypoints": (KEYPOINT_COUNT, 3),
    "world_m": (KEYPOINT_COUNT, 3),
    "presence": (),
    "right_hand": (),
    "middle_map": MIDDLE_MAP_SHAPE,
}
"""By name, with their shapes without the batch: the fields of ``CropLandmarks``."""


class LandmarkNetwork:
    """The landmark network, for crops of any number of hands at once; for any thread."""

    def __init__(self, path: Path = LANDMARK_FILE, *, device: Device = "auto") -> None:
        """Load it; HandvizError if the file, or the task file that has its weights, is missing or another."""
        self._network = TaskNetwork(path, OUTPUTS | FINE_MAPS, size_px=CROP_SIZE, device=device)
        self.gives_fine_maps = False
        """Whether it also gives ``FINE_MAPS``, half a megabyte a crop; a model that needs them asks once."""
        self.provider: str = self._network.provider
        """The execution provider in use."""
        self.file = self._network.file
        """The file that it was loaded from."""

    def of_images(self, images: NDArray[np.uint8]) -> list[CropLandmarks]:
        """Return what it says of images (B, 3, 224, 224); HandvizError if that is not finite."""
        if not len(images):
            return []
        found = self.arrays_of(images, fine=self.gives_fine_maps)
        return [
            CropLandmarks(
                keypoints=found["keypoints"][index],
                world_m=found["world_m"][index],
                presence=float(found["presence"][index]),
                right_hand=float(found["right_hand"][index]),
                middle_map=found["middle_map"][index],
                **{name: found[name][index].copy() for name in FINE_MAPS if name in found},
            )
            for index in range(len(images))
        ]

    def arrays_of(self, images: NDArray[np.uint8], *, fine: bool = False) -> dict[str, FloatArray]:
        """Return the same as arrays (B, ...) by the names of ``OUTPUTS``, with ``fine`` of ``FINE_MAPS`` too."""
        return self._network.run(images, tuple(OUTPUTS | FINE_MAPS) if fine else tuple(OUTPUTS))

    def of_crops(self, crops: Sequence[HandCrop]) -> list[CropLandmarks]:
        """Return what it says of crops as handviz's own networks take them; HandvizError if one has another size."""
        if wrong := [crop.image.shape[0] for crop in crops if crop.image.shape[0] != CROP_SIZE]:
            raise HandvizError(
                f"MediaPipe's landmark network takes crops of {CROP_SIZE} pixels, not {wrong[0]}: correct the model's "
                "CropSpec",
                ErrorCode.WRONG_SHAPE,
            )
        return self.of_images(batch_of([crop.image for crop in crops]))


def batch_of(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return images (S, S, 3), all of one size, as a batch (B, 3, S, S); of none (0, 3, 224, 224)."""
    if not images:
        return np.zeros((0, 3, CROP_SIZE, CROP_SIZE), np.uint8)
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
