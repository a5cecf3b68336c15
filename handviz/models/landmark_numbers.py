"""How MediaPipe's landmarks enter networks: 128 numbers a crop, in training and in exported files."""

from handviz.core.records import KEYPOINT_COUNT

LANDMARK_NUMBERS = 6 * KEYPOINT_COUNT + 2
"""Of one crop: screen (21 x 3, crop half-sides), world (21 x 3, decimetres), presence, handedness."""
PRESENCE_NUMBER, RIGHT_HAND_NUMBER = LANDMARK_NUMBERS - 2, LANDMARK_NUMBERS - 1
WORLD_NUMBERS = slice(3 * KEYPOINT_COUNT, 6 * KEYPOINT_COUNT)
