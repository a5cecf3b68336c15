"""Predictors of the registry's models and of ONNX files, which take the crops that each of them needs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import DEFAULT_CROP, CropSpec, Detection, HandCrop, NetworkOutput
from handviz.detection.crop import cut_out
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.template import HandTemplate
from handviz.models.base import LoadContext, ModelSpec, Reconstructor
from handviz.models.reconstructor import LoadedModel, OnnxReconstructor

BATCH = 16
"""Crops per call of a model."""
UNKNOWN = Detection("right", 1.0, np.zeros((21, 2)))


class ModelPredictor:
    """Calls a model with crops (N, S, S, 3) RGB as its ``crop`` says, and returns one hand each."""

    def __init__(self, model: Reconstructor | LoadedModel, crop: CropSpec) -> None:
        self.crop = crop
        """The crop that it takes."""
        self.template: HandTemplate = model.template
        """The hand model of its meshes."""
        self._model = model

    def __call__(self, images: NDArray[np.uint8]) -> list[NetworkOutput]:
        """Return a right hand for every crop."""
        crops = [HandCrop(image, np.eye(2, 3), UNKNOWN) for image in images]
        batches = [crops[start : start + BATCH] for start in range(0, len(crops), BATCH)]
        return [hand for batch in batches for hand in self._model.reconstruct(batch)]


def spec_predictor(spec: ModelSpec, hand_model: Path | None = None) -> ModelPredictor:
    """Load a model of the registry; HandvizError if that fails, or if an answer is not what it must be."""
    return ModelPredictor(LoadedModel(spec, LoadContext(hand_model=hand_model)), spec.crop)


def onnx_predictor(path: Path, template: HandTemplate | None = None) -> ModelPredictor:
    """Load an ONNX file for a hand model, or the open hand; its crops have the side that it takes, the usual margin."""
    reconstructor = OnnxReconstructor(path, template=template or load_open_hand())
    return ModelPredictor(reconstructor, CropSpec(size_px=reconstructor.size_px))


def crop_of(predict: object) -> CropSpec:
    """Return the crop that a predictor takes; those of checkpoints take the crops of handviz's own networks."""
    return predict.crop if isinstance(predict, ModelPredictor) else DEFAULT_CROP


def recropped(images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], wanted: CropSpec) -> NDArray[np.uint8]:
    """Return upright crops (N, 224, 224, 3) of the usual margin as crops of another side or margin.

    They are the same bytes where side and margin are the same; what lies outside of a crop is black. A model whose
    crops keep the image's axes gets upright hands.
    """
    if (wanted.size_px, wanted.side_per_extent) == (DEFAULT_CROP.size_px, DEFAULT_CROP.side_per_extent):
        return np.asarray(images)
    side_px = DEFAULT_CROP.size_px
    scale = wanted.size_px / (side_px * wanted.side_per_extent / DEFAULT_CROP.side_per_extent)
    shift = wanted.size_px / 2 - scale * side_px / 2
    affine = np.array([[scale, 0.0, shift], [0.0, scale, shift]])
    return np.stack([cut_out(image, affine, wanted.size_px) for image in images])
