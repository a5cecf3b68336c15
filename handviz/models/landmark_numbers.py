"""How MediaPipe's landmarks enter networks: 128 numbers a crop, in training and in exported files."""

import numpy as np

from handviz.core.records import KEYPOINT_COUNT
from handviz.core.units import DECIMETRES_PER_METRE

LANDMARK_NUMBERS = 6 * KEYPOINT_COUNT + 2
"""Of one crop: screen (21 x 3, crop half-sides), world (21 x 3, decimetres), presence, handedness."""
PRESENCE_NUMBER, RIGHT_HAND_NUMBER = LANDMARK_NUMBERS - 2, LANDMARK_NUMBERS - 1
WORLD_NUMBERS = slice(3 * KEYPOINT_COUNT, 6 * KEYPOINT_COUNT)
LANDMARK_INPUTS: dict[str, tuple[int, ...]] = {
    "keypoints": (KEYPOINT_COUNT, 3),
    "world_m": (KEYPOINT_COUNT, 3),
    "presence": (),
    "right_hand": (),
}
"""Fields of ``records.CropLandmarks`` that the numbers are made of, with their shapes without the batch."""


def landmark_arrays(landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """Return the fields ``LANDMARK_INPUTS`` of landmarks (..., 128): an ONNX file's inputs."""
    points = (*landmarks.shape[:-1], KEYPOINT_COUNT, 3)
    return {
        "keypoints": landmarks[..., : WORLD_NUMBERS.start].reshape(points),
        "world_m": landmarks[..., WORLD_NUMBERS].reshape(points) / DECIMETRES_PER_METRE,
        "presence": landmarks[..., PRESENCE_NUMBER],
        "right_hand": landmarks[..., RIGHT_HAND_NUMBER],
    }
