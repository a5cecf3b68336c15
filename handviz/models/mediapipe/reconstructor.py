"""Crops -> MediaPipe's landmarks -> hands."""

from collections.abc import Sequence

import numpy as np

from handviz.core.geometry import apply_affine
from handviz.core.records import DEFAULT_CROP, CropLandmarks, FloatArray, HandCrop, NetworkOutput
from handviz.detection.crop import as_the_detector_marks_them
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.base import LoadContext
from handviz.models.mediapipe.fit import fit_to_landmarks
from handviz.models.reconstructor import with_landmarks

MAX_SIZE_RATIO = 4.0
"""Between a hand's size by the detector and by its crop; beyond, the detector's keypoints are no hand's."""


class LandmarkReconstructor:
    """The landmark network, and the open hand fitted to its landmarks."""

    def __init__(self, context: LoadContext) -> None:
        """Open the network unless another model has; HandvizError if its file is missing or damaged."""
        self._shared, self._device = context.shared, context.device
        self.template = load_open_hand()
        network = self._shared.landmark_network(self._device)
        self.provider, self.file = network.provider, network.file
        fit_to_landmarks(np.zeros((1, 21, 3)))  # prepares the prior, which takes longer than a fit

    def reconstruct(self, crops: Sequence[HandCrop]) -> list[NetworkOutput]:
        """Return one hand per crop, in order; HandvizError if the network gives no finite landmarks."""
        if not crops:
            return []
        landmarks = self._shared.landmarks_of(crops, self._device)
        fitted = fit_to_landmarks(np.stack([found.world_m for found in landmarks]))
        return [
            _hand(crop, found, *arrays)
            for crop, found, *arrays in zip(
                crops, landmarks, fitted.vertices_m, fitted.keypoints_m, fitted.rotation, strict=True
            )
        ]


def _hand(
    crop: HandCrop, landmarks: CropLandmarks, vertices_m: FloatArray, keypoints_m: FloatArray, rotation: FloatArray
) -> NetworkOutput:
    """Return the fitted hand, with what the network says of landmarks, presence and side."""
    scale, translation = placed_in_crop(crop, keypoints_m @ rotation.T)
    hand = NetworkOutput(
        vertices_m=vertices_m.astype(np.float32),
        keypoints_m=keypoints_m.astype(np.float32),
        rotation=rotation.astype(np.float32),
        scale=scale,
        translation=translation.astype(np.float32),
    )
    return with_landmarks(hand, landmarks)


def placed_in_crop(crop: HandCrop, keypoints_m: FloatArray) -> tuple[float, FloatArray]:
    """Return scale and translation (2,) of the weak perspective for keypoints (21, 3) in the crop's axes.

    They are those of the detector's keypoints; where those are no hand's, the hand fills the crop as crops are made.
    """
    marks = as_the_detector_marks_them(keypoints_m)[:, :2]
    middle = (marks.max(axis=0) + marks.min(axis=0)) / 2
    by_crop = 2 / DEFAULT_CROP.side_per_extent / max(float(np.ptp(marks, axis=0).max()), 1e-6)
    detected = apply_affine(crop.crop_from_image, crop.detection.keypoints_px) / crop.half_px - 1
    centred = marks - marks.mean(axis=0)
    scale = float((centred * detected).sum() / max(float(np.square(centred).sum()), 1e-12))
    if not 1 / MAX_SIZE_RATIO < scale / by_crop < MAX_SIZE_RATIO:
        return by_crop, by_crop * (keypoints_m[0, :2] - middle)
    return scale, detected.mean(axis=0) + scale * (keypoints_m[0, :2] - marks.mean(axis=0))
