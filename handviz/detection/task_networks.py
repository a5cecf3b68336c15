"""Opens MediaPipe's two networks as ONNX files, whose weights lie in the task file beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.network_files import loaded_file
from handviz.core.onnx_runtime import check_finite, open_session, warm_up
from handviz.core.paths import LANDMARKER_FILE
from handviz.core.records import Device, FloatArray, NetworkFile
from handviz.detection.detector_files import GET_GRAPHS, check_graph


class TaskNetwork:
    """One of MediaPipe's networks in ONNX Runtime: batches of images of bytes -> its outputs."""

    def __init__(
        self,
        path: Path,
        outputs: Mapping[str, tuple[int, ...]],
        *,
        size_px: int,
        device: Device = "auto",
    ) -> None:
        """Load it and run it once; HandvizError if the file, or the task file beside it, is missing or another."""
        self._path, self._outputs, self._size_px = path, dict(outputs), size_px
        check_graph(path, path.with_name(LANDMARKER_FILE.name))
        self._session = open_session(path, GET_GRAPHS, device=device)
        self._check_contract()
        warm_up(path, GET_GRAPHS, self._session, self._use, device=device)
        self.provider: str = self._session.get_providers()[0]
        """The execution provider in use."""
        self.file: NetworkFile = loaded_file(path)
        """Its checksum, and whether it is the one that handviz ships."""

    def run(self, images: NDArray[np.uint8], names: Sequence[str] = ()) -> dict[str, FloatArray]:
        """Return outputs by name for images (B, 3, S, S), all or these; HandvizError if one is not finite."""
        names = names or tuple(self._outputs)
        values = cast(list[FloatArray], self._session.run(list(names), {"image": images}))
        found = dict(zip(names, values, strict=True))
        check_finite(self._path, found, GET_GRAPHS)
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
                f"{self._path} is another network than expected: {inputs} -> {found}; {GET_GRAPHS}",
                ErrorCode.MODEL_FOREIGN,
            )
