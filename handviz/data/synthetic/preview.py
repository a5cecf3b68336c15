"""A contact sheet of rendered hands for a person to judge: pictures, and the same with their keypoints."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import CROP_SIZE, KEYPOINT_PARENTS, FloatArray
from handviz.data.synthetic.dataset import read_shard

COLUMNS, ROWS = 8, 3


def draw_skeleton(picture: NDArray[np.uint8], keypoints_px: FloatArray) -> NDArray[np.uint8]:
    """A copy of the picture with bones (keypoints (21, 2) in pixels), one colour a finger."""
    picture = picture.copy()
    colours = ((255, 99, 71), (255, 200, 0), (80, 220, 100), (70, 170, 255), (200, 120, 255))
    for child, parent in enumerate(KEYPOINT_PARENTS):
        if parent >= 0:
            ends = [tuple(int(v) for v in np.round(keypoints_px[point])) for point in (parent, child)]
            cv2.line(picture, ends[0], ends[1], colours[(child - 1) // 4], 2, cv2.LINE_AA)
    return picture


def write_preview(directory: Path, path: Path) -> None:
    """Write the sheet of the folder's first shard: rows of pictures, each followed by a row with keypoints."""
    shard = read_shard(directory, 0)
    rows = []
    for row in range(ROWS):
        chosen = range(row * COLUMNS, min((row + 1) * COLUMNS, len(shard.pictures)))
        if not len(chosen):
            break
        plain = [shard.pictures[i] for i in chosen]
        marked = [
            draw_skeleton(shard.pictures[i], (shard.labels["keypoints_crop"][i] + 1) * CROP_SIZE / 2) for i in chosen
        ]
        empty = [np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)] * (COLUMNS - len(plain))
        rows += [np.hstack(plain + empty), np.hstack(marked + empty)]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])
