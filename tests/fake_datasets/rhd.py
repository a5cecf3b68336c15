"""Writes an RHD of a few rendered hands, alternately right and left: pickles, images and masks of parts.

Not written, for nobody reads it here: depth.
"""

import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import KEYPOINT_COUNT, FloatArray
from tests.fake_datasets.hands import TinyHand, tiny_hands
from tests.fake_datasets.shapes import keypoints_from_joints

SIZE = (320, 320)
FOLDER = "RHD_published_v2"
TIPS = (744, 320, 443, 555, 672)
HALF_PX = 0.5
TIP_TO_PALM = (0, 4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17)
FIRST_PART, PARTS = {"left": 2, "right": 18}, 16
OTHER_M = np.array([0.25, 0.05, 0.1])
"""How far the other hand is from the shown one: few of its pixels are seen."""
OTHER_PATCH_PX = 5


def write(name: str, root: Path, count: int, seed: int = 0) -> None:
    """Write ``count`` images for training and as many for evaluation; existing files are overwritten."""
    for number, split in enumerate(("training", "evaluation")):
        folder, annotations = root / FOLDER / split, {}
        hands = tiny_hands(count, seed=seed + number, size=SIZE, sides=("right", "left"))
        for row, hand in enumerate(hands):
            annotations[row] = annotation_of(hand)
            write_png(folder / "color" / f"{row:05d}.png", hand.image[..., ::-1])
            write_png(folder / "mask" / f"{row:05d}.png", mask_of(hand))
        write_pickle(folder / f"anno_{split}.pickle", annotations)


def keypoints_of(hand: TinyHand) -> FloatArray:
    """Return (21, 3) in our order, in the camera's frame."""
    return keypoints_from_joints(hand.joints_m, hand.vertices_m, TIPS)


def annotation_of(hand: TinyHand) -> dict[str, Any]:
    """Return K, xyz and uv_vis of both hands, of which the other one lies beside, partly outside the image."""
    matrix = hand.intrinsics.matrix.copy()
    matrix[:2, 2] -= HALF_PX
    shown = keypoints_of(hand)[list(TIP_TO_PALM)]
    hands = [shown, shown + OTHER_M]
    both = np.concatenate(hands if hand.handedness == "left" else hands[::-1])
    pixels = both @ matrix.T
    visible = np.repeat([hand.handedness == "left", hand.handedness == "right"], KEYPOINT_COUNT).astype(np.float64)
    visible[[3, KEYPOINT_COUNT + 3]] = 0.0
    uv_vis = np.column_stack([pixels[:, :2] / pixels[:, 2:], visible])
    return {"uv_vis": uv_vis, "xyz": both, "K": matrix}


def mask_of(hand: TinyHand) -> NDArray[np.uint8]:
    """Return (320, 320) the numbers of the parts: all of the shown hand, some pixels of the other one, a person."""
    columns = np.linspace(0, PARTS - 1, SIZE[0]).round().astype(np.uint8)[None]
    parts = np.where(hand.mask > 127, FIRST_PART[hand.handedness] + columns, 0).astype(np.uint8)
    parts[-2:] = 1
    parts[:OTHER_PATCH_PX, :OTHER_PATCH_PX] = FIRST_PART["left" if hand.handedness == "right" else "right"]
    return parts


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write BGR (H, W, 3) or grey (H, W); folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())


def write_pickle(path: Path, content: object) -> None:
    """Write a pickle as the numpy of its day did."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2).replace(b"cnumpy._core.", b"cnumpy.core."))
