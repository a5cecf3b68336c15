"""Hands of a frame by one model or several: from crops to meshes in the camera frame, refined and checked."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handviz.core.camera_model import HandSize
from handviz.core.errors import HandvizError
from handviz.core.records import (
    Detection,
    FloatArray,
    HandCrop,
    HandednessSetting,
    HandMesh,
    Heatmaps,
    Intrinsics,
    ModelId,
    NetworkOutput,
    PlacedHand,
    RegressionStep,
)
from handviz.detection.crop import CropView, crop_hand, hand_mesh_from_crop, image_from_map
from handviz.hand_models.skinning import vertices_from_keypoint_displacements
from handviz.hand_models.template import HandTemplate
from handviz.models.reconstructor import LoadedModel
from handviz.pipeline.false_hands import Candidate, indices_of_true_hands
from handviz.pipeline.posterior import (
    error_model,
    network_shape,
    with_image_landmarks,
    with_posterior,
    with_world_landmarks,
)
from handviz.pipeline.refinement import reconstruct_with_recheck, with_measured_size
from handviz.pipeline.settings import PipelineConfig


@dataclass(frozen=True, eq=False)
class FrameConditions:
    """What all models of a frame get."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    intrinsics: Intrinsics
    side: HandednessSetting
    hand_size: HandSize
    follows: bool
    """Whether the frame belongs to a stream; otherwise sides are rechecked and false hands found."""


class Reconstruction(NamedTuple):
    """One model's hands of a frame; a recheck of handedness may have replaced crops."""

    crops: list[HandCrop]
    hands: tuple[HandMesh, ...]
    true_indices: list[int]
    """Of those hands that are neither false nor another one once more."""


HandsOfModels = dict[ModelId, tuple[HandMesh, ...]]


@dataclass(frozen=True, eq=False)
class FrameHands:
    """What all models made of a frame, before smoothing."""

    crops: list[HandCrop]
    """Of the chosen model's true hands."""
    hands: HandsOfModels
    errors: dict[ModelId, str]
    """Of the other models."""
    failure: str
    """Of the chosen one; mostly empty."""

    @property
    def detections(self) -> tuple[Detection, ...]:
        """Those of the crops."""
        return tuple(crop.detection for crop in self.crops)


class HandMaker:
    """Runs models on crops and places their hands, with what is prepared once for each hand model."""

    def __init__(self, config: PipelineConfig) -> None:
        self._config = config
        self._displacements: dict[str, FloatArray] = {}

    def prepare(self, template: HandTemplate) -> FloatArray:
        """Return the matrix (V, 21) of ``vertices_from_keypoint_displacements``, computed once for each hand model.

        In single precision, as the networks' vertices are.
        """
        if template.fingerprint not in self._displacements:
            self._displacements[template.fingerprint] = vertices_from_keypoint_displacements(template).astype(
                np.float32
            )
        return self._displacements[template.fingerprint]

    def of_detections(
        self, detections: Sequence[Detection], model: LoadedModel, conditions: FrameConditions
    ) -> Reconstruction:
        """Reconstruct detections from the crops that the model takes."""
        crops = [crop_hand(conditions.image, detection, model.spec.crop) for detection in detections]
        return self.of_crops(crops, model, conditions)

    def of_crops(self, crops: list[HandCrop], model: LoadedModel, conditions: FrameConditions) -> Reconstruction:
        """Reconstruct crops by one model; HandvizError if it does not answer, or not as it must."""
        found = crops
        if conditions.follows or conditions.side != "detected":
            outputs = model.reconstruct(crops)
        else:
            crops, outputs = reconstruct_with_recheck(conditions.image, crops, model)
        placed = [
            # Where the detector got the handedness wrong, its keypoints are wrong too.
            self._refined(output, crop, model, conditions, keypoints_valid=crop is before)
            for output, crop, before in zip(outputs, crops, found, strict=True)
        ]
        fingerprint, camera = model.template.fingerprint, conditions.intrinsics
        hands = tuple(
            with_heatmaps_and_steps(
                hand_mesh_from_crop(hand, crop, intrinsics=camera, model=model.spec.id, hand_model=fingerprint),
                output,
                crop,
                model.template,
            )
            for hand, output, crop in zip(placed, outputs, crops, strict=True)
        )
        if conditions.follows or not self._config.align_to_detector:
            return Reconstruction(crops, hands, list(range(len(hands))))
        candidates = [
            Candidate(crop.detection, output, hand, other_side=crop is not before)
            for crop, output, hand, before in zip(crops, outputs, hands, found, strict=True)
        ]
        return Reconstruction(crops, hands, indices_of_true_hands(candidates))

    def of_others(
        self,
        detections: Sequence[Detection],
        networks: Mapping[ModelId, Future[LoadedModel]],
        conditions: FrameConditions,
    ) -> tuple[HandsOfModels, dict[ModelId, str]]:
        """Reconstruct detections by several models; return their hands, and the errors of those that fail."""
        hands: HandsOfModels = {}
        errors: dict[ModelId, str] = {}
        for name, network in networks.items():
            try:
                # Raised for every frame, the loader's error would grow by a traceback each time.
                failure = network.exception()
                if isinstance(failure, HandvizError):
                    errors[name] = str(failure)
                else:
                    hands[name] = self.of_detections(detections, network.result(), conditions).hands
            except HandvizError as error:
                errors[name] = str(error)
        return hands, errors

    def _refined(
        self,
        output: NetworkOutput,
        crop: HandCrop,
        model: LoadedModel,
        conditions: FrameConditions,
        *,
        keypoints_valid: bool,
    ) -> PlacedHand:
        """Fuse the hand with the landmarks, as far as the configuration allows, and with its measured size."""
        displacements, config, errors = self.prepare(model.template), self._config, error_model()
        shape = network_shape(output, errors)
        # Landmarks of the crop alone, of a model that gives none, judge its hands and do not change them.
        if config.correct_pose and "landmarks" in model.spec.provides:
            shape = with_world_landmarks(shape, errors, displacements)
        placed = PlacedHand(shape.hand)
        if config.align_to_detector and keypoints_valid:
            view = CropView.of(crop, conditions.intrinsics)
            shape, placed = with_image_landmarks(
                shape, placed, crop, view, displacements, moves_shape=config.correct_pose, errors=errors
            )
        placed = with_posterior(placed, shape, displacements, errors)
        return with_measured_size(placed, conditions.hand_size)


def with_heatmaps_and_steps(mesh: HandMesh, output: NetworkOutput, crop: HandCrop, template: HandTemplate) -> HandMesh:
    """Return a hand with what its model also says of the crop: heatmaps, and the hands of its iterations."""
    if output.heatmaps is None and not output.steps:
        return mesh
    heatmaps = None
    if output.heatmaps is not None:
        affine = image_from_map(crop, output.heatmaps.shape[-1])
        heatmaps = Heatmaps(output.heatmaps, affine, output.heatmap_spread)
    last = RegressionStep(output.vertices_m, output.rotation, output.scale, output.translation)
    steps = [_hand_of_step(step, crop, mesh, template) for step in ((*output.steps, last) if output.steps else ())]
    return replace(mesh, heatmaps=heatmaps, steps=tuple(steps))


def _hand_of_step(step: RegressionStep, crop: HandCrop, mesh: HandMesh, template: HandTemplate) -> HandMesh:
    """Return the hand of an iteration where the model itself sees it."""
    keypoints_m = (template.keypoint_regressor @ step.vertices_m).astype(step.vertices_m.dtype)
    hand = NetworkOutput(step.vertices_m, keypoints_m, step.rotation, step.scale, step.translation)
    found = hand_mesh_from_crop(
        PlacedHand(hand), crop, intrinsics=mesh.intrinsics, model=mesh.model, hand_model=mesh.hand_model
    )
    return replace(found, position_uncertainty=None)
