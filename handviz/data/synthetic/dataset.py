"""Reads the shards that the generator wrote."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import read_arrays
from handviz.core.records import CROP_SIZE, FloatArray
from handviz.data.synthetic.generator import (
    LABELS,
    MOMENT_LABELS,
    RIG_LABELS,
    images_file,
    labels_file,
    read_manifest,
)
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.template import HandTemplate

REMEDY = "delete it, and run synthesize again"
IMAGES_NAME = re.compile(r"shard_([0-9]{5,})_pictures\.npz")


@dataclass(frozen=True)
class Crops:
    """A folder of rendered crops."""

    directory: Path
    limit: int | None = None
    """Number of first crops to use; None: all."""


@dataclass(frozen=True, eq=False)
class Shard:
    """Some samples in memory."""

    images: NDArray[np.uint8]
    """(N, 224, 224, 3) RGB"""
    labels: dict[str, FloatArray]
    """arrays named in generator.LABELS, from version 3 on in RIG_LABELS, of moments in MOMENT_LABELS too"""
    visible: NDArray[np.bool_]
    """(N, V)"""
    visible_alone: NDArray[np.bool_]
    """(N, V) without the objects in front of the hand"""

    def first(self, count: int) -> "Shard":
        """Return the first samples."""
        return self._rows(slice(count))

    def of_hands(self) -> "Shard":
        """Return the samples that show a hand."""
        return self._rows(shows_hand(self.labels))

    def without_hand(self) -> "Shard":
        """Return the samples that show no hand."""
        return self._rows(~shows_hand(self.labels))

    def _rows(self, rows: slice | NDArray[np.bool_]) -> "Shard":
        labels = {name: values[rows] for name, values in self.labels.items()}
        return Shard(self.images[rows], labels, self.visible[rows], self.visible_alone[rows])


def shows_hand(labels: dict[str, FloatArray]) -> NDArray[np.bool_]:
    """Return which samples (N,) show a hand; all of a folder whose generator made no others."""
    count = len(labels["scale"])
    return np.asarray(labels["is_hand"] > 0) if "is_hand" in labels else np.ones(count, bool)


def shard_numbers(directory: Path) -> list[int]:
    """Return the numbers of the finished shards that the folder's manifest lists; shards beyond them stay unread.

    Raises HandvizError if there is none, or for a file or manifest that synthesize did not write.
    """
    numbers = sorted(map(_shard_number, directory.glob("shard_*_pictures.npz")))
    if not numbers:
        raise HandvizError(
            f"{directory} holds no rendered hands: make some with 'handviz synthesize --out {directory}'",
            ErrorCode.EMPTY_INPUT,
        )
    manifest = directory / "manifest.json"
    if not manifest.is_file():
        return numbers
    found = read_manifest(manifest)
    if found.count is None or found.shard_size is None:
        return numbers
    return [number for number in numbers if number < -(-found.count // found.shard_size)]


def check_hand_model(directory: Path, template: HandTemplate) -> None:
    """Raise HandvizError if the folder's labels are of another hand model, whose pose and shape mean another hand."""
    manifest = directory / "manifest.json"
    known = read_manifest(manifest).hand_model if manifest.is_file() else None
    if (known or load_open_hand().fingerprint) != template.fingerprint:
        raise HandvizError(
            f"{directory} holds rendered hands of the hand model {str(known or 'open_hand')[:12]}, not of "
            f"{template.name} {template.fingerprint[:12]}: a MANO hand is trained and evaluated on the datasets that "
            "have its vertices (freihand:DIR, ho3d_v2:DIR, dexycb:DIR, hanco:DIR)",
            ErrorCode.MODEL_MISMATCH,
        )


def _shard_number(path: Path) -> int:
    known = IMAGES_NAME.fullmatch(path.name)
    if known is None:
        raise HandvizError(f"{path} is not a file of synthesize: move it away", ErrorCode.UNSUPPORTED_FORMAT)
    return int(known[1])


def read_labels(directory: Path, shard: int) -> dict[str, FloatArray]:
    """Return all label arrays of a shard, equally long; raises HandvizError if one is missing or damaged.

    Folders of version 2 of the generator lack those of RIG_LABELS, those of single crops those of MOMENT_LABELS.
    """
    path = labels_file(directory, shard)
    found = read_arrays(path, REMEDY)
    wanted = dict(LABELS)
    _check_not_older(path, LABELS.keys() - found.keys())
    for more in (RIG_LABELS, MOMENT_LABELS):
        there = more.keys() & found.keys()
        wanted |= more if there else {}
        if there and (lacking := more.keys() - there):
            raise HandvizError(
                f"{path} holds {', '.join(sorted(there))} without {', '.join(sorted(lacking))}: {REMEDY}",
                ErrorCode.FILE_DAMAGED,
            )
    count = len(np.atleast_1d(found["scale"]))
    for name, shape in wanted.items():
        values = found[name]
        if values.dtype.kind not in "fiu":
            raise HandvizError(f"{path}: {name} holds no numbers: {REMEDY}", ErrorCode.FILE_DAMAGED)
        if values.shape != (count, *shape):
            raise HandvizError(
                f"{path}: {name} has the shape {values.shape}, not {(count, *shape)}: {REMEDY}", ErrorCode.WRONG_SHAPE
            )
        if not np.isfinite(values).all():
            raise HandvizError(f"{path}: {name} holds numbers that are not finite: {REMEDY}", ErrorCode.NOT_FINITE)
    return {name: found[name] for name in wanted}


def _check_not_older(path: Path, lacking: set[str]) -> None:
    if lacking:
        raise HandvizError(
            f"{path} lacks {', '.join(sorted(lacking))}: it was rendered by an older generator; "
            "run synthesize again, into another folder",
            ErrorCode.VERSION_MISMATCH,
        )


def decode(data: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """Decode JPEG bytes (B,) to RGB (224, 224, 3); a HandvizError names the file that they come from."""
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None or image.shape != (CROP_SIZE, CROP_SIZE, 3):
        raise HandvizError(
            f"{path} holds an image that is not a {CROP_SIZE} x {CROP_SIZE} JPEG: {REMEDY}", ErrorCode.FILE_DAMAGED
        )
    return np.asarray(image[..., ::-1], np.uint8)


def jpeg_parts(jpeg: NDArray[Any], ends: NDArray[Any], path: Path, count: int) -> list[NDArray[np.uint8]]:
    """Split ``count`` concatenated JPEG images at their ends (N,); HandvizError if the ends do not fit."""
    sound = jpeg.dtype == np.uint8 and jpeg.ndim == ends.ndim == 1 and ends.dtype.kind in "iu" and len(ends) > 0
    if not sound or (np.diff(ends.astype(np.int64), prepend=0) < 1).any() or ends[-1] != len(jpeg):
        raise HandvizError(
            f"{path} is damaged (the ends of its images do not fit their bytes): {REMEDY}", ErrorCode.FILE_DAMAGED
        )
    if len(ends) != count:
        raise HandvizError(f"{path} holds {len(ends)} images, its labels {count}: {REMEDY}", ErrorCode.FILES_DISAGREE)
    return np.split(jpeg, ends[:-1])


def bits(columns: dict[str, NDArray[Any]], name: str, path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Unpack a column of packed bits to truth values of this shape."""
    packed = columns[name]
    wanted = shape[0], -(-shape[1] // 8)
    if packed.dtype != np.uint8 or packed.shape != wanted:
        raise HandvizError(
            f"{path}: {name} is {packed.dtype} of the shape {packed.shape}, not uint8 of {wanted}: {REMEDY}",
            ErrorCode.WRONG_SHAPE,
        )
    return np.unpackbits(packed, axis=1)[:, : shape[1]].astype(bool)


def read_shard(directory: Path, shard: int, vertex_count: int = 778) -> Shard:
    """Return images, labels and visibility of one shard; raises HandvizError if a file is damaged."""
    path, labels = images_file(directory, shard), read_labels(directory, shard)
    shape = len(labels["scale"]), vertex_count
    columns = read_arrays(path, REMEDY, ("jpeg", "jpeg_end", "visible", "visible_alone"))
    parts = jpeg_parts(columns["jpeg"], columns["jpeg_end"], path, shape[0])
    return Shard(
        images=np.stack([decode(part, path) for part in parts]),
        labels=labels,
        visible=bits(columns, "visible", path, shape),
        visible_alone=bits(columns, "visible_alone", path, shape),
    )
