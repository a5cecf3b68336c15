"""Inputs of a training batch, and its truth: images here; what a family caches of them is in its own samples."""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from handviz.core.files import read_arrays
from handviz.core.units import CENTIMETRES_PER_METRE
from handviz.data.synthetic.dataset import REMEDY, check_hand_model, decode, jpeg_parts, read_labels, shard_numbers
from handviz.data.synthetic.generator import RIG_LABELS, images_file
from handviz.hand_models.layer import HandLayer
from handviz.hand_models.template import HandTemplate
from handviz.models.truth import Truth

CROP_LABELS = ("rotation", "scale", "translation", "keypoints_crop")
TRUTH_LABELS = ("pose", "shape", *CROP_LABELS)
CHUNK = 512
"""Hands whose meshes are computed at once."""
DECODERS = 8
"""Threads that decode images; OpenCV releases the interpreter's lock meanwhile."""
Inputs = Any
"""What a family's network takes: images (B, 3, 224, 224), or a named tuple of what was computed of them before."""


class Samples(Protocol):
    """A dataset in memory."""

    @property
    def truth(self) -> Truth:
        """Truth of all samples."""
        ...

    def __len__(self) -> int: ...

    def batch(self, ids: Tensor) -> tuple[Inputs, Truth]:
        """Return the network's inputs for some samples, and their truth."""
        ...


def to_device(part: Any, device: torch.device) -> Any:
    """Return Inputs or Truth on a device."""
    if part is None or isinstance(part, Tensor):
        return None if part is None else part.to(device)
    if isinstance(part, Truth):
        return Truth(*(getattr(part, field.name).to(device) for field in fields(part)))
    return type(part)(*(to_device(item, device) for item in part))


def take(truth: Truth, ids: Tensor) -> Truth:
    """Return some rows of the truth."""
    return Truth(*(getattr(truth, field.name)[ids] for field in fields(truth)))


def image_batch(images: np.ndarray) -> Tensor:
    """Convert uint8 (N, 224, 224, 3) to float (N, 3, 224, 224) in [0, 1], channels last in memory."""
    # PyTorch warns about read-only arrays, although nothing is written here.
    own = images if images.flags.writeable else images.copy()
    return torch.from_numpy(own).permute(0, 3, 1, 2).float().div_(255.0)


@torch.no_grad()
def truth_from_labels(labels: dict[str, np.ndarray], template: HandTemplate) -> Truth:
    """Convert labels of the generator to truth in centimetres.

    Vertices are the labels' own (N, V, 3), metres in the wrist frame, or without them those of pose and shape.
    """
    columns = {name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in labels.items()}
    if "vertices" in columns:
        return truth_of_vertices(columns["vertices"] * CENTIMETRES_PER_METRE, columns)
    layer = HandLayer(template)
    parts = zip(columns["pose"].split(CHUNK), columns["shape"].split(CHUNK), strict=True)
    vertices = torch.cat([layer(pose, shape).vertices_m * CENTIMETRES_PER_METRE for pose, shape in parts])
    return truth_of_vertices(vertices, columns)


def truth_of_vertices(vertices_cm: Tensor | np.ndarray, labels: Mapping[str, Tensor | np.ndarray]) -> Truth:
    """Return the truth of canonical vertices (N, V, 3), the labels in CROP_LABELS and, if it is there, ``is_hand``."""
    columns = {name: torch.as_tensor(labels[name], dtype=torch.float32) for name in CROP_LABELS}
    return Truth(
        vertices_cm=torch.as_tensor(vertices_cm, dtype=torch.float32),
        keypoints_crop=columns["keypoints_crop"],
        rotation=columns["rotation"],
        scale_per_cm=columns["scale"] / CENTIMETRES_PER_METRE,
        translation=columns["translation"],
        is_hand=torch.as_tensor(labels["is_hand"]).bool() if "is_hand" in labels else None,  # type: ignore[arg-type]
    )


def truth_labels(directory: Path, shard: int) -> dict[str, np.ndarray]:
    """Read the labels that truth is made of; HandvizError names a file that holds other or broken numbers.

    Folders of version 2 of the generator lack those of RIG_LABELS: their meshes are those of pose and shape, and all
    their crops show a hand.
    """
    known = read_labels(directory, shard)
    return {name: known[name] for name in (*TRUTH_LABELS, *RIG_LABELS) if name in known}


def needed_shards(
    directories: Sequence[Path], limit: int | None, template: HandTemplate | None = None
) -> tuple[list[tuple[Path, int]], list[dict[str, np.ndarray]]]:
    """Return folder and number of the shards that hold all samples, or the first ``limit``, and their labels.

    HandvizError if a folder's labels are of another hand model than ``template``.
    """
    for directory in directories:
        if template is not None:
            check_hand_model(directory, template)
    shards: list[tuple[Path, int]] = []
    labels: list[dict[str, np.ndarray]] = []
    left = math.inf if limit is None else limit
    for numbered in [(directory, shard) for directory in directories for shard in shard_numbers(directory)]:
        if left <= 0:
            break
        shards.append(numbered)
        labels.append(truth_labels(*numbered))
        left -= len(labels[-1]["scale"])
    return shards, labels


def joined_truth(labels: Sequence[dict[str, np.ndarray]], count: int, template: HandTemplate) -> Truth:
    """Return the truth of the first ``count`` samples of several shards.

    Vertices that labels hold are taken out of them: of many crops they are too large to be in memory twice.
    """
    rows = {name: np.concatenate([part[name] for part in labels])[:count] for name in TRUTH_LABELS}
    is_hand = np.concatenate([part.get("is_hand", np.ones(len(part["scale"]), bool)) for part in labels])[:count]
    if not any("vertices" in part for part in labels):
        return truth_from_labels(rows | {"is_hand": is_hand}, template)
    vertices_cm = torch.empty((count, template.vertex_count, 3))
    start = 0
    for part in labels:
        of_part = truth_from_labels(part, template).vertices_cm[: count - start]
        part.pop("vertices", None)
        vertices_cm[start : start + len(of_part)] = of_part
        start += len(of_part)
    return truth_of_vertices(vertices_cm, rows | {"is_hand": is_hand})


@dataclass(frozen=True, eq=False)
class ImageSamples:
    """A dataset as JPEG bytes in memory, decoded batch by batch."""

    images: list[tuple[np.ndarray, Path]]
    """JPEG bytes, and the file that they come from"""
    truth: Truth

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, ids: Tensor) -> tuple[Tensor, Truth]:
        """Return images (B, 3, 224, 224) in [0, 1] and their truth."""
        parts, paths = zip(*(self.images[row] for row in ids.tolist()), strict=True)
        with ThreadPoolExecutor(DECODERS) as pool:
            decoded = np.stack(list(pool.map(decode, parts, paths)))
        return image_batch(decoded), take(self.truth, ids)


def load_images(directories: Sequence[Path], template: HandTemplate, limit: int | None = None) -> ImageSamples:
    """Load all images of the folders, or the first ``limit``, undecoded."""
    images: list[tuple[np.ndarray, Path]] = []
    shards, labels = needed_shards(directories, limit, template)
    for (directory, shard), known in zip(shards, labels, strict=True):
        path = images_file(directory, shard)
        columns = read_arrays(path, REMEDY, ("jpeg", "jpeg_end"))
        parts = jpeg_parts(columns["jpeg"], columns["jpeg_end"], path, len(known["scale"]))
        images += [(part, path) for part in parts]
    images = images[:limit]
    return ImageSamples(images, joined_truth(labels, len(images), template))
