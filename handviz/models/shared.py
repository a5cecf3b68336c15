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
from handviz.core.records import CropLandmarks, Device, HandCrop

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
        self._last: list[tuple[NDArray[np.uint8], CropLandmarks]] = []

    def landmark_network(self, device: Device = "auto") -> "LandmarkNetwork":
        """Return the landmark network; HandvizError if its file is missing or damaged."""
        with self._lock:
            return self._opened(device)

    def landmarks_of(
        self, crops: Sequence[HandCrop], device: Device = "auto", *, fine: bool = False
    ) -> list[CropLandmarks]:
        """Return the landmarks that crops carry, and for the others what the network says, which runs once for them.

        ``fine``: with the maps of earlier blocks, which the network gives from then on.

        The last crops are remembered: the next model of a comparison, whose crops are the same, gets the same records.
        HandvizError if a crop is not of the network's size.
        """
        with self._lock:
            if fine:
                self._opened(device).gives_fine_maps = True
            found = [self._known(index, crop) for index, crop in enumerate(crops)]
            if fine:
                found = [None if one is None or one.map_56 is None else one for one in found]
            lacking = [index for index, one in enumerate(found) if one is None]
            if lacking:
                seen = self._opened(device).of_crops([crops[index] for index in lacking])
                for index, one in zip(lacking, seen, strict=True):
                    found[index] = one
            landmarks = [one for one in found if one is not None]
            self._last = [(crop.image, one) for crop, one in zip(crops, landmarks, strict=True)]
        return landmarks

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

    def _known(self, index: int, crop: HandCrop) -> CropLandmarks | None:
        """Return what the crop carries or what was said of the same image in its place, if either is there."""
        if crop.landmarks is not None or index >= len(self._last):
            return crop.landmarks
        image, landmarks = self._last[index]
        # By content: each model of a comparison may have cut crops of its own, which are the same.
        return landmarks if image is crop.image or np.array_equal(image, crop.image) else None
