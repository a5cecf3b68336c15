"""Runs the trunk: the part of AMVUR's networks between the landmark network and the heads, which models share."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.network_files import loaded_file
from handviz.core.onnx_runtime import check_finite, metadata_of, open_session, warm_up
from handviz.core.paths import restore_or_build
from handviz.core.records import KEYPOINT_COUNT, CropLandmarks, Device, FloatArray, NetworkFile

TRUNK_KEY = "handviz.trunk"
"""Metadata of a trunk and of the heads that belong to it: a fingerprint of the weights before the heads."""
TRUNK_INPUTS: dict[str, tuple[int, ...]] = {
    "middle_map": (112, 14, 14),
    "keypoints": (KEYPOINT_COUNT, 3),
    "world_m": (KEYPOINT_COUNT, 3),
    "presence": (),
    "right_hand": (),
}
"""The fields of ``CropLandmarks`` with their shapes, as a trunk takes them in batches."""
HOW_TO_GET = restore_or_build("build split")


@dataclass(frozen=True, eq=False)
class Features:
    """What a trunk says of crops: the heads' inputs, by the names of their files."""

    feature: FloatArray
    """(B, D) one vector a crop"""
    joints: FloatArray
    """(B, 21, W) one token a joint"""

    def feed(self) -> dict[str, FloatArray]:
        """Return the inputs of heads by name."""
        return {"feature": self.feature, "joints": self.joints}


FEATURE_NAMES = tuple(field.name for field in fields(Features))


class Trunk:
    """A trunk's ONNX file, checked and warmed up; every method may be called from any thread."""

    def __init__(self, path: Path, device: Device = "auto") -> None:
        """Load the file; HandvizError if it is missing, damaged or no trunk."""
        self._path = path
        self._session = open_session(path, HOW_TO_GET, device=device)
        self.fingerprint: str = metadata_of(path, self._session, HOW_TO_GET).get(TRUNK_KEY, "")
        """Of its weights and of those of the landmark network before it."""
        self.widths: tuple[int, int] = self._checked_widths()
        """D and W of ``Features``."""
        self._lock = threading.Lock()
        self._last: tuple[tuple[CropLandmarks, ...], Features] | None = None
        warm_up(path, HOW_TO_GET, self._session, self._use, device=device)
        self.file: NetworkFile = loaded_file(path)
        """Its checksum, and whether it is the one that handviz ships."""

    def features(self, landmarks: Sequence[CropLandmarks]) -> Features:
        """Return the features of crops by what the landmark network said of them; HandvizError if they are not finite.

        Asked for the same landmarks again, as the next model of a comparison does, it does not run again.
        """
        asked = tuple(landmarks)
        with self._lock:
            if self._last is None or not _are_same(self._last[0], asked):
                self._last = (
                    asked,
                    self._run(
                        {
                            name: np.stack([getattr(one, name) for one in asked]).astype(np.float32)
                            for name in TRUNK_INPUTS
                        }
                    ),
                )
            return self._last[1]

    def _run(self, inputs: Mapping[str, FloatArray]) -> Features:
        outputs = cast(list[FloatArray], self._session.run(list(FEATURE_NAMES), dict(inputs)))
        check_finite(self._path, dict(zip(FEATURE_NAMES, outputs, strict=True)), HOW_TO_GET)
        return Features(*outputs)

    def _use(self, session: onnxruntime.InferenceSession) -> None:
        """Use this session from now on; run it for one hand and for two, which warms it up."""
        self._session = session
        for batch in (1, 2):
            self._run({name: np.zeros((batch, *shape), np.float32) for name, shape in TRUNK_INPUTS.items()})

    def _checked_widths(self) -> tuple[int, int]:
        """Return D and W; HandvizError if inputs, outputs or metadata are not a trunk's."""
        inputs = {item.name: tuple(item.shape[1:]) for item in self._session.get_inputs()}
        outputs = {item.name: tuple(item.shape[1:]) for item in self._session.get_outputs()}
        widths = feature_widths(outputs)
        if inputs != TRUNK_INPUTS or widths is None or not self.fingerprint:
            raise HandvizError(
                f"{self._path} is not a trunk of handviz (inputs {inputs}, outputs {outputs}, {TRUNK_KEY} "
                f"{self.fingerprint[:12]!r}); {HOW_TO_GET}",
                ErrorCode.MODEL_FOREIGN,
            )
        return widths


def feature_widths(shapes: Mapping[str, tuple[object, ...]]) -> tuple[int, int] | None:
    """Return D and W of shapes without the batch by name, if they are those of ``Features``, else None."""
    match dict(shapes):
        case {"feature": (int(feature),), "joints": (21, int(joints)), **others} if not others:
            return feature, joints
    return None


def _are_same(some: Sequence[CropLandmarks], others: Sequence[CropLandmarks]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))
