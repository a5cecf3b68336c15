"""Runs the networks' ONNX files in ONNX Runtime: crops -> hands."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import onnxruntime

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.network_files import loaded_file
from handviz.core.paths import RESTORE, variant_file
from handviz.core.records import CROP_SIZE, CanonicalHand, FloatArray, HandCrop, NetworkFile, VariantName
from handviz.models.onnx_session import (
    INPUT_NAME,
    LANDMARKS,
    PRESENCE,
    RIGHT_HAND,
    Device,
    check_finite,
    checked_variant,
    metadata_of,
    open_session,
    output_shapes,
    warm_up,
)

HOW_TO_GET = f"{RESTORE}, or make it with 'python -m handviz train' and 'python -m handviz export'"


class HandReconstructor(Protocol):
    """Anything that reconstructs hands from crops."""

    variant: VariantName
    provider: str
    file: NetworkFile

    def reconstruct(self, crops: Sequence[HandCrop]) -> list[CanonicalHand]:
        """Return one hand per crop, in order."""
        ...


class Reconstructor:
    """One variant's ONNX file, checked and warmed up."""

    def __init__(self, model_path: Path, *, template_fingerprint: str | None = None, device: Device = "auto") -> None:
        """Load the file; HandvizError if it is missing, damaged or made for another hand model."""
        self._path = model_path
        self._session = open_session(model_path, HOW_TO_GET, device=device)
        metadata = metadata_of(model_path, self._session, HOW_TO_GET)
        self.variant: VariantName = checked_variant(model_path, metadata, template_fingerprint, HOW_TO_GET)
        self._shapes = output_shapes(model_path, self._session, HOW_TO_GET)
        self._names = list(self._shapes)
        warm_up(self._path, HOW_TO_GET, self._session, self._use, device=device)
        self.provider: str = self._session.get_providers()[0]
        """The execution provider in use."""
        self.file: NetworkFile = loaded_file(model_path)
        """Its checksum, and whether it is the one that handviz ships."""

    def reconstruct(self, crops: Sequence[HandCrop]) -> list[CanonicalHand]:
        """Return one hand per crop, in order; HandvizError if the network's output is not finite."""
        if not crops:
            return []
        images = np.stack([crop.image.transpose(2, 0, 1) for crop in crops]).astype(np.float32, copy=False)
        outputs = self._run(images)
        check_finite(self._path, outputs, HOW_TO_GET)
        return [_hand(outputs, index) for index in range(len(crops))]

    def _use(self, session: onnxruntime.InferenceSession) -> None:
        """Use this session from now on; run it for one hand and for two, which warms it up."""
        self._session = session
        for batch in (1, 2):
            outputs = self._run(np.zeros((batch, 3, CROP_SIZE, CROP_SIZE), np.float32))
            check_finite(self._path, outputs, HOW_TO_GET)

    def _run(self, images: FloatArray) -> dict[str, FloatArray]:
        """Run images (B, 3, 224, 224); return the outputs by name, each with B first."""
        values = cast(list[FloatArray], self._session.run(self._names, {INPUT_NAME: images}))
        outputs = dict(zip(self._names, values, strict=True))
        for name, shape in self._shapes.items():
            if outputs[name].shape != (len(images), *shape):
                expected = (len(images), *shape)
                raise HandvizError(
                    f"{self._path}: {name} has shape {outputs[name].shape}, expected {expected}",
                    ErrorCode.MODEL_FOREIGN,
                )
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
        landmarks_m=outputs[LANDMARKS][index] if LANDMARKS in outputs else None,
        presence=float(outputs[PRESENCE][index]) if PRESENCE in outputs else 0.0,
    )


class NetworkCache:
    """The networks by variant, loaded by one thread on request; every method may be called from any thread."""

    def __init__(self, model_dir: Path, template_fingerprint: str, device: Device = "auto") -> None:
        self._model_dir, self._fingerprint, self._device = model_dir, template_fingerprint, device
        self._lock = threading.Lock()
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load-network")
        self._networks: dict[VariantName, Future[HandReconstructor]] = {}

    def request(self, variant: VariantName) -> Future[HandReconstructor]:
        """Return the network or its loading; one that failed is loaded again, since the file may exist by now."""
        with self._lock:
            known = self._networks.get(variant)
            if known is None or (known.done() and known.exception() is not None):
                known = self._networks[variant] = self._loader.submit(self._load, variant)
            return known

    def requested(self) -> Mapping[VariantName, Future[HandReconstructor]]:
        """Return all networks that were requested so far."""
        with self._lock:
            return dict(self._networks)

    def close(self) -> None:
        """Stop the loading thread."""
        self._loader.shutdown(wait=True, cancel_futures=True)

    def _load(self, variant: VariantName) -> HandReconstructor:
        path = variant_file(variant, self._model_dir)
        network = Reconstructor(path, template_fingerprint=self._fingerprint, device=self._device)
        if network.variant != variant:
            raise HandvizError(
                f"{path} holds the variant {network.variant}, expected {variant}", ErrorCode.MODEL_MISMATCH
            )
        return network
