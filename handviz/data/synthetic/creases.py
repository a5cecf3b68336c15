"""Palm lines, finger folds and redness of the knuckles, drawn once over the flat hand at rest."""

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray
from handviz.hand_models.open_hand import load_open_hand

SIZE = 512
CORNER_M, SIDE_M = np.array([-0.11, -0.22]), 0.25
"""The square of (x, y) at rest that the picture covers; studio.frag.glsl has the same numbers."""
# Palm lines as points between the wrist (0, 0), the index's knuckle (1, 1) and the little finger's (-1, 1).
PALM_LINES = (
    ((1.15, 0.72), (0.7, 0.68), (0.2, 0.45), (0.05, 0.1)),
    ((1.15, 0.74), (0.5, 0.72), (-0.2, 0.6), (-0.8, 0.4)),
    ((-1.25, 0.78), (-0.5, 0.86), (0.2, 0.95), (0.55, 1.08)),
)


def _px(points_m: FloatArray) -> FloatArray:
    return (points_m[..., :2] - CORNER_M) / SIDE_M * SIZE


def _line(picture: NDArray[np.uint8], points: FloatArray, width: int, strength: int) -> None:
    smooth = cv2.resize(points.astype(np.float32)[:, None], (1, 32), interpolation=cv2.INTER_LINEAR)
    cv2.polylines(picture, [(smooth * 8).astype(np.int32)], False, strength, width, cv2.LINE_AA, 3)


def _fold(picture: NDArray[np.uint8], middle: FloatArray, along: FloatArray, half: float, strength: int) -> None:
    """A fold across a finger, slightly bent."""
    across = np.array([-along[1], along[0]])
    points = np.array([middle + across * half * s + along * 1.3 * (s * s) for s in np.linspace(-1, 1, 7)])
    _line(picture, points, 1, strength)


def skin_creases() -> NDArray[np.uint8]:
    """(512, 512, 3): lines of the palm's side, folds of the back, redness of knuckles and finger tips."""
    template = load_open_hand()
    joints = _px(template.keypoint_regressor @ template.vertices_m)
    palm, back, red = (np.zeros((SIZE, SIZE), np.uint8) for _ in range(3))
    wrist, index, little = joints[0], joints[5], joints[17]
    up, aside = (index + little) / 2 - wrist, (index - little) / 2
    for line in PALM_LINES:
        _line(palm, np.array([wrist + x * aside + y * up for x, y in line]), 2, 200)
    for finger in range(5):
        for link in (1, 2, 3):
            joint = 1 + 4 * finger + link - 1
            along = joints[joint + 1] - joints[joint]
            along = along / np.linalg.norm(along)
            for shift in (-2.5, 1.5) if link > 1 else (24.0, 27.0):
                _fold(palm, joints[joint] + along * shift, along, 15, 210)
            for shift in (-5.0, -2.0, 1.0, 4.5):
                _fold(back, joints[joint] + along * shift, along, 10 if link < 3 else 8, 150 if link > 1 else 70)
            cv2.circle(red, joints[joint].astype(int).tolist(), 13, 150, -1)
        cv2.circle(red, joints[4 + 4 * finger].astype(int).tolist(), 16, 220, -1)
    for shift in (4.0, 9.0):
        _fold(palm, wrist + np.array([0, shift]), np.array([0.0, -1.0]), 45, 140)
    soft = [cv2.GaussianBlur(image, (0, 0), sigma) for image, sigma in ((palm, 1.1), (back, 1.1), (red, 7))]
    return np.asarray(np.stack(soft, axis=-1), np.uint8)
