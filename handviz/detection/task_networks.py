"""Opens MediaPipe's two networks as ONNX files, whose weights lie in the task file beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.network_files import loaded_file, sha256_of
from handviz.core.onnx_runtime import check_finite, metadata_of, open_session, warm_up
from handviz.core.paths import LANDMARKER_FILE, restore_or_build
from handviz.core.records import Device, FloatArray, NetworkFile

MEMBERS = ("hand_detector.tflite", "hand_landmarks_detector.tflite")
"""Of the task file: palm detector and landmark network."""
WEIGHTS_KEY = "handviz.weights_sha256"
"""Metadata: the checksum of the task file that a network was made from."""
HOW_TO_GET = restore_or_build("build detector")


class TaskNetwork:
    """One of MediaPipe's networks in ONNX Runtime: batches of images of bytes -> its outputs."""

    def __init__(
        self,
        path: Path,
        outputs: Mapping[str, tuple[int, ...]],
        *,
        size_px: int,
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        """Load it and run it once; HandvizError if the file, or the task file beside it, is missing or another."""
        self._path, self._outputs, self._size_px = path, dict(outputs), size_px
        _check_weights(path)
        self._session = open_session(path, HOW_TO_GET, device=device, threads=threads)
        self._check_contract()
        warm_up(path, HOW_TO_GET, self._session, self._use, device=device)
        self.provider: str = self._session.get_providers()[0]
        """The execution provider in use."""
        self.file: NetworkFile = loaded_file(path)
        """Its checksum, and whether it is the one that handviz ships."""

    def run(self, images: NDArray[np.uint8]) -> dict[str, FloatArray]:
        """Return every output by name for images (B, 3, S, S); HandvizError if one is not finite."""
        values = cast(list[FloatArray], self._session.run(list(self._outputs), {"image": images}))
        found = dict(zip(self._outputs, values, strict=True))
        check_finite(self._path, found, HOW_TO_GET)
        return found

    def _use(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self.run(np.zeros((1, 3, self._size_px, self._size_px), np.uint8))

    def _check_contract(self) -> None:
        """Raise HandvizError unless inputs and outputs are those that are expected."""
        found = {item.name: tuple(item.shape)[1:] for item in self._session.get_outputs()}
        inputs = {item.name: (item.type, tuple(item.shape)[1:]) for item in self._session.get_inputs()}
        expected = {"image": ("tensor(uint8)", (3, self._size_px, self._size_px))}
        if inputs != expected or any(found.get(name) != shape for name, shape in self._outputs.items()):
            raise HandvizError(
                f"{self._path} is another network than expected: {inputs} -> {found}; {HOW_TO_GET}",
                ErrorCode.MODEL_FOREIGN,
            )
        wanted = metadata_of(self._path, self._session, HOW_TO_GET).get(WEIGHTS_KEY, "")
        task = self._path.parent / LANDMARKER_FILE.name
        if wanted != sha256_of(task):
            raise HandvizError(
                f"{task} is not the file that {self._path.name} was made from, so that its weights are others; "
                f"{HOW_TO_GET}",
                ErrorCode.MODEL_MISMATCH,
            )


def _check_weights(path: Path) -> None:
    """Raise HandvizError unless the task file lies beside the network."""
    task = path.parent / LANDMARKER_FILE.name
    if not task.is_file():
        raise HandvizError(
            f"the file {task}, which has the weights of {path.name}, is missing; {HOW_TO_GET}", ErrorCode.MODEL_MISSING
        )
