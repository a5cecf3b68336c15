"""Reads what the generator wrote."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.archive import read_arrays
from handviz.data.synthetic.generator import LABELS, labels_file, pictures_file, read_manifest
from handviz.errors import HandvizError
from handviz.records import CROP_SIZE, FloatArray


@dataclass(frozen=True, eq=False)
class Shard:
    """Some samples in memory."""

    pictures: NDArray[np.uint8]
    """(N, 224, 224, 3) RGB"""
    labels: dict[str, FloatArray]
    """arrays named in generator.LABELS"""
    visible: NDArray[np.bool_]
    """(N, V)"""
    visible_alone: NDArray[np.bool_]
    """(N, V) if nothing stood before the hand"""


def shard_numbers(directory: Path) -> list[int]:
    """Numbers of the finished shards that the folder's manifest plans; raises HandvizError if there is none.

    A folder may hold more than the last call of synthesize asked for: that stays unread.
    """
    numbers = sorted(int(path.name.split("_")[1]) for path in directory.glob("shard_*_pictures.npz"))
    if not numbers:
        raise HandvizError(
            f"{directory} holds no rendered hands: make some with 'handviz synthesize --out {directory}'"
        )
    manifest = directory / "manifest.json"
    if not manifest.is_file():
        return numbers
    plan = read_manifest(manifest)
    count, size = (plan.get(key) for key in ("count", "shard_size"))
    planned = -(-int(count) // int(size)) if count and size else len(numbers)
    return [number for number in numbers if number < planned]


def read_labels(directory: Path, shard: int) -> dict[str, FloatArray]:
    """All label arrays of a shard; raises HandvizError if one is missing or damaged."""
    return read_arrays(labels_file(directory, shard), "delete it, and run synthesize again", LABELS)


def _decode(data: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if picture is None or picture.shape != (CROP_SIZE, CROP_SIZE, 3):
        raise HandvizError(f"{path} holds a picture that is not a {CROP_SIZE} x {CROP_SIZE} JPEG")
    return np.asarray(picture[..., ::-1], np.uint8)


def read_shard(directory: Path, shard: int, vertex_count: int = 778) -> Shard:
    """Pictures, labels and visibility of one shard; raises HandvizError if a file is damaged."""
    path = pictures_file(directory, shard)
    columns = read_arrays(path, "delete it, and run synthesize again", ("jpeg", "jpeg_end", "visible", "visible_alone"))
    pictures = np.stack([_decode(part, path) for part in np.split(columns["jpeg"], columns["jpeg_end"][:-1])])
    seen, alone = (
        np.unpackbits(columns[name], axis=1)[:, :vertex_count].astype(bool) for name in ("visible", "visible_alone")
    )
    return Shard(pictures=pictures, labels=read_labels(directory, shard), visible=seen, visible_alone=alone)
