"""Writes an STB of a few left hands: one sequence for training, one for testing, three cameras, both kinds of labels.

Not written, for nobody reads it here: depth.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from handviz.core.records import FloatArray
from tests.fake_datasets.hands import TinyHand, tiny_hands
from tests.fake_datasets.rhd import write_png
from tests.fake_datasets.shapes import drawn, keypoints_from_joints

SIZE = (640, 480)
SEQUENCES = ("B2Counting", "B1Random")
TIPS = (744, 320, 443, 555, 672)
TO_STB = (0, 17, 18, 19, 20, 13, 14, 15, 16, 9, 10, 11, 12, 5, 6, 7, 8, 1, 2, 3, 4)
"""Our keypoint of each of its joints: palm, little finger, ring, middle, index, thumb."""
RING_KNUCKLE = 13
BUMBLEBEE = np.array([[822.79041, 0, 318.47345], [0, 822.79041, 250.31296], [0, 0, 1]])
REALSENSE = np.array([[607.92271, 0, 314.78337], [0, 607.88192, 236.42484], [0, 0, 1]])
BASELINE_MM = 120.054
ROTATION = Rotation.from_rotvec([0.00531, -0.01196, 0.00301])
TRANSLATION_MM = np.array([-24.0381, -0.4563, -1.2326])
SKIN, WALL = np.array([190.0, 150.0, 130.0]), 90
CENTRE_M = np.array([0.05, 0.0, 0.55])
"""Where the hands are before the left camera: all three see them."""


def write(name: str, root: Path, count: int, seed: int = 0) -> None:
    """Write ``count`` frames of a training sequence and of a test sequence; existing files are overwritten."""
    for number, sequence in enumerate(SEQUENCES):
        hands = list(tiny_hands(count, seed=seed + number, size=SIZE, sides=("left",)))
        folder = root / "images" / sequence
        for frame, hand in enumerate(hands):
            vertices_m = hand.vertices_m + shift_of(hand)
            right_m = vertices_m - [BASELINE_MM / 1000, 0, 0]
            write_png(folder / f"BB_left_{frame}.png", picture(vertices_m, BUMBLEBEE))
            write_png(folder / f"BB_right_{frame}.png", picture(right_m, BUMBLEBEE))
            write_png(folder / f"SK_color_{frame}.png", picture(vertices_m, REALSENSE))
        points_mm = np.stack([1000 * palm_first(keypoints_of(hand)) for hand in hands])
        in_depth_camera = np.stack([ROTATION.apply(points) + TRANSLATION_MM for points in points_mm])
        write_labels(root / "labels" / f"{sequence}_BB.mat", points_mm)
        write_labels(root / "labels" / f"{sequence}_SK.mat", in_depth_camera)


def shift_of(hand: TinyHand) -> FloatArray:
    """Return the translation (3,) that brings a rendered hand before all cameras."""
    return np.asarray(CENTRE_M - hand.vertices_m.mean(axis=0))


def keypoints_of(hand: TinyHand) -> FloatArray:
    """Return (21, 3) in our order with the wrist, in the frame of the left camera and in that of the colour camera."""
    return keypoints_from_joints(hand.joints_m, hand.vertices_m, TIPS) + shift_of(hand)


def palm_first(keypoints_m: FloatArray) -> FloatArray:
    """Return (21, 3) in STB's order, with the middle of wrist and ring finger's knuckle in place of the wrist."""
    points = keypoints_m.copy()
    points[0] = 0.5 * (points[0] + points[RING_KNUCKLE])
    return points[list(TO_STB)]


def picture(vertices_m: FloatArray, matrix: FloatArray) -> NDArray[np.uint8]:
    """Return BGR (480, 640, 3): the mesh before a grey wall."""
    image = drawn(vertices_m, matrix, SIZE, SKIN)
    return np.where(image.any(axis=2, keepdims=True), image, WALL).astype(np.uint8)[..., ::-1]


def write_labels(path: Path, points_mm: FloatArray) -> None:
    """Write ``handPara`` (3, 21, N) of points (N, 21, 3) as MATLAB does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"handPara": points_mm.transpose(2, 1, 0)}, do_compression=True)
