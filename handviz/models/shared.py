"""The networks that several models share, each opened once: MediaPipe's landmark network, and trunks.

What they say of a frame's crops is computed once for all models that ask. ONNX Runtime is imported with the first.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import MODELS, RESTORE, TRUNK_NAME
from handviz.core.records import CROP_SIZE, CropLandmarks, Device, HandCrop

if TYPE_CHECKING:
    from handviz.detection.landmark_network import LandmarkNetwork
    from handviz.models.trunk import Trunk


def trunk_file(heads: Path) -> Path:
    """Return the file of the trunk beside a file of heads, or else of the shipped one; HandvizError without any."""
    path = next((folder / TRUNK_NAME for folder in (heads.parent, MODELS) if (folder / TRUNK_NAME).is_file()), None)
    if path is None:
        raise HandvizError(
            f"{heads} holds the heads of a model, and its trunk {TRUNK_NAME} is neither beside it nor in {MODELS}: "
            f"{RESTORE}",
            ErrorCode.MODEL_MISSING,
        )
    return path


class SharedNetworks:
    """The shared networks of the models of one ``LoadContext``; every method may be called from any thread."""

    def __init__(self, landmark_network: "LandmarkNetwork | None" = None) -> None:
        """``landmark_network``: one that its owner runs too; None: opened when crops come without landmarks."""
        self._lock = threading.Lock()
        self._network = landmark_network
        self._trunks: dict[tuple[Path, Device], Trunk] = {}
        self._last: tuple[NDArray[np.uint8], list[CropLandmarks]] | None = None

    def landmark_network(self, device: Device = "auto") -> "LandmarkNetwork":
        """Return the landmark network; HandvizError if its file is missing or damaged."""
        with self._lock:
            return self._opened(device)

    def landmarks_of(self, crops: Sequence[HandCrop], device: Device = "auto") -> list[CropLandmarks]:
        """Return the landmarks that crops carry, and run the network for those of the others.

        Of those only the last ones are kept, for the next model that asks for the same images.
        """
        lacking = [crop for crop in crops if crop.landmarks is None]
        found = iter(self._computed(lacking, device) if lacking else [])
        return [next(found) if crop.landmarks is None else crop.landmarks for crop in crops]

    def trunk_of(self, heads: Path, fingerprint: str, device: Device = "auto") -> "Trunk":
        """Return the trunk of a file of heads: the one beside it, or else the one that handviz ships.

        HandvizError if there is none, or if its weights are not those of the fingerprint.
        """
        path = trunk_file(heads)
        trunk = self._opened_trunk(path, device)
        if trunk.fingerprint != fingerprint:
            raise HandvizError(
                f"{heads} belongs to the trunk {fingerprint[:12]}, but {path} is the trunk {trunk.fingerprint[:12]}: "
                f"put the trunk that it was exported with beside it, or export it again, or {RESTORE}",
                ErrorCode.MODEL_MISMATCH,
            )
        return trunk

    def _opened(self, device: Device) -> "LandmarkNetwork":
        if self._network is None:
            from handviz.detection.landmark_network import LandmarkNetwork

            self._network = LandmarkNetwork(device=device)
        return self._network

    def _opened_trunk(self, path: Path, device: Device) -> "Trunk":
        from handviz.models.trunk import Trunk

        with self._lock:
            key = path.resolve(), device
            if key not in self._trunks:
                self._trunks[key] = Trunk(path, device)
            return self._trunks[key]

    def _computed(self, crops: Sequence[HandCrop], device: Device) -> list[CropLandmarks]:
        """Return the network's landmarks of crops; HandvizError if they are not of its size."""
        if wrong := [crop.size_px for crop in crops if crop.size_px != CROP_SIZE]:
            raise HandvizError(
                f"MediaPipe's landmark network takes crops of {CROP_SIZE} pixels, not {wrong[0]}: correct the model's "
                "CropSpec",
                ErrorCode.WRONG_SHAPE,
            )
        images = np.ascontiguousarray(np.stack([crop.image.transpose(2, 0, 1) for crop in crops]))
        with self._lock:
            # By content: each model of a comparison may have cut its own crops, which are the same.
            if self._last is None or not np.array_equal(self._last[0], images):
                self._last = images, self._opened(device).of_images(images)
            return self._last[1]
