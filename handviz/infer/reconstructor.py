"""The networks as ONNX files, run by ONNX Runtime: crops -> hands. The only live user of onnxruntime."""

import ctypes
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_state

from handviz.errors import HandvizError
from handviz.infer.onnx_checks import INPUT_NAME, PRESENCE, RIGHT_HAND, WITNESS, checked_variant, output_shapes
from handviz.records import CROP_SIZE, CanonicalHand, FloatArray, HandCrop, VariantName

CUDA_PROVIDER, CPU_PROVIDER = "CUDAExecutionProvider", "CPUExecutionProvider"
MOST_THREADS = 4
ONNX_ERRORS = tuple(
    item for item in vars(onnx_state).values() if isinstance(item, type) and issubclass(item, Exception)
)
HOW_TO_GET = "restore it from the repository, or make it with 'python -m handviz train' and 'python -m handviz export'"
logger = logging.getLogger(__name__)


class HandReconstructor(Protocol):
    """Anything that makes hands of crops; AMVUR's networks are one kind, others may follow."""

    variant: VariantName
    provider: str

    def reconstruct(self, crops: Sequence[HandCrop]) -> list[CanonicalHand]:
        """One hand per crop, in order."""
        ...


class Reconstructor:
    """One variant's ONNX file, checked and warmed up."""

    def __init__(self, model_path: Path, *, template_fingerprint: str | None = None) -> None:
        """Load the file; HandvizError if it is missing, damaged or made for another hand model."""
        self._path = model_path
        self._session = _session(model_path)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.variant: VariantName = checked_variant(model_path, metadata, template_fingerprint, HOW_TO_GET)
        self._shapes = output_shapes(model_path, self._session, HOW_TO_GET)
        self._names = list(self._shapes)
        self._warm_up()
        self.provider: str = self._session.get_providers()[0]
        """The execution provider that really runs it."""

    def reconstruct(self, crops: Sequence[HandCrop]) -> list[CanonicalHand]:
        """One hand per crop, in order; raises HandvizError if the network's answer is not finite."""
        if not crops:
            return []
        images = np.stack([crop.image.transpose(2, 0, 1) for crop in crops]).astype(np.float32, copy=False)
        outputs = self._run(images)
        for name, values in outputs.items():
            if not np.isfinite(values).all():
                raise HandvizError(f"{self._path.name} answered with {name} that is not finite; {HOW_TO_GET}")
        return [_hand(outputs, index) for index in range(len(crops))]

    def _warm_up(self) -> None:
        """Run once for one hand and for two; a graphics card that cannot is given up for the processor."""
        try:
            for batch in (1, 2):
                self._run(np.zeros((batch, 3, CROP_SIZE, CROP_SIZE), np.float32))
        except ONNX_ERRORS as error:
            if self._session.get_providers()[0] == CPU_PROVIDER:
                raise HandvizError(f"{self._path} does not run ({error}); {HOW_TO_GET}") from error
            logger.warning("the graphics card does not run %s (%s): the processor does", self._path.name, error)
            self._session = _session(self._path, may_use_card=False)
            self._warm_up()

    def _run(self, images: FloatArray) -> dict[str, FloatArray]:
        """Images (B, 3, 224, 224) -> outputs by name, each with B first."""
        values = cast(list[FloatArray], self._session.run(self._names, {INPUT_NAME: images}))
        outputs = dict(zip(self._names, values, strict=True))
        for name, shape in self._shapes.items():
            if outputs[name].shape != (len(images), *shape):
                expected = (len(images), *shape)
                raise HandvizError(f"{self._path}: {name} has shape {outputs[name].shape}, expected {expected}")
        return outputs


def _hand(outputs: dict[str, FloatArray], index: int) -> CanonicalHand:
    return CanonicalHand(
        vertices_m=outputs["vertices_m"][index],
        vertex_std_m=outputs["vertex_std_m"][index],
        keypoints_m=outputs["keypoints_m"][index],
        keypoint_std_m=outputs["keypoint_std_m"][index],
        rotation=outputs["rotation"][index],
        scale=float(outputs["scale"][index]),
        translation=outputs["translation"][index],
        right_hand=float(outputs[RIGHT_HAND][index]) if RIGHT_HAND in outputs else 1.0,
        witness_m=outputs[WITNESS][index] if WITNESS in outputs else None,
        presence=float(outputs[PRESENCE][index]) if PRESENCE in outputs else 0.0,
    )


def _session(path: Path, *, may_use_card: bool = True) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise HandvizError(f"the network {path} is missing; {HOW_TO_GET}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(MOST_THREADS, _usable_cores())
    # Spinning between a network's layers saves a fifth of its time; between runs detector and drawing need the cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 4
    try:
        if may_use_card and _cuda_driver():
            onnxruntime.preload_dlls()
            return onnxruntime.InferenceSession(path, options, providers=[CUDA_PROVIDER, CPU_PROVIDER])
        return onnxruntime.InferenceSession(path, options, providers=[CPU_PROVIDER])
    except ONNX_ERRORS as error:
        raise HandvizError(f"{path} is truncated or not an ONNX file ({error}); {HOW_TO_GET}") from error


def _usable_cores() -> int:
    if sys.platform.startswith("linux"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cuda_driver() -> bool:
    """Whether CUDA is worth trying: this ONNX Runtime has it and the machine has NVIDIA's driver."""
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        return False
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
