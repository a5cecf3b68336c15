"""Rendered hands for the texture net: meshes, visibility, covered pixels and true colours.

The meshes are the true ones with errors as a network makes them, or those of a trained model (Algorithm 4).
"""

import hashlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import read_arrays, write_arrays
from handviz.core.records import CROP_SIZE, KEYPOINT_COUNT, Detection, FloatArray, HandCrop, NetworkOutput
from handviz.core.visibility import DEPTH_TOLERANCE, self_visible
from handviz.data.synthetic.dataset import REMEDY, bits, decode, jpeg_parts
from handviz.data.synthetic.generator import images_file
from handviz.detection.crop import points_in_crop
from handviz.hand_models.skinning import vertices_from_keypoint_displacements
from handviz.hand_models.template import HandTemplate
from handviz.models.reconstructor import OnnxReconstructor
from handviz.models.texture.rasterise import NOTHING, nearest_triangles
from handviz.models.truth import in_crop
from handviz.training.checkpoint import WEIGHTS
from handviz.training.families import Predictor, family_of_checkpoint
from handviz.training.samples import DECODERS, image_batch, needed_shards, truth_from_labels

logger = logging.getLogger(__name__)
PIXELS = 256
"""Random pixels of the hand at which a sample's photometric loss is evaluated."""
MAX_MOVE, SHIFT, LOG_SCALE = 0.05, 0.015, 0.02
"""Errors of meshes: of every keypoint up to so many crop half-sides (standard deviation), of the whole, of its size."""
RASTER_BATCH = 32
MODEL_BATCH = 16
"""Crops per call of a model whose meshes are taken."""
OF_COLOURS = "was rendered before vertices had colours: run the same synthesize again"
DARKEST_SHOWN = 4 / 255
"""Pixels without a brighter channel are outside the image."""


class TextureBatch(NamedTuple):
    """Inputs of the network, and the truth."""

    image: Tensor
    """(B, 3, 224, 224)"""
    points: Tensor
    """(B, V, 3) crop half-sides"""
    is_open: Tensor
    """(B, V) 1 where the mesh does not hide the vertex"""
    seen: Tensor
    """(B, V) 1 where the image shows the vertex, at its position in the mesh"""
    lit: Tensor
    """(B, V, 3) sRGB"""
    even: Tensor
    """(B, V, 3) sRGB"""
    pixel: Tensor
    """(B, P) numbers of pixels (row * 224 + column)"""
    triangle: Tensor
    """(B, P) the mesh's triangle there, -1 where there were too few pixels"""


def missed(points: FloatArray, handles: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return points (N, V, 3) with a network's errors, different for each hand: displacements, a shift and a scale."""
    count = len(points)
    reach = rng.uniform(0, MAX_MOVE, (count, 1, 1))
    displacements = np.einsum("vk,nkc->nvc", handles, rng.normal(0, 1, (count, handles.shape[1], 3)) * reach)
    centre = points.mean(axis=1, keepdims=True)
    scale = np.exp(rng.normal(0, LOG_SCALE, (count, 1, 1)))
    shift = rng.normal(0, SHIFT, (count, 1, 3)) * [1, 1, 0]
    return np.asarray(centre + (points - centre) * scale + shift + displacements, np.float32)


def mesh_points(labels: dict[str, np.ndarray], template: HandTemplate) -> FloatArray:
    """Return true vertices (N, V, 3) in crop half-sides, by the weak perspective of the labels."""
    truth = truth_from_labels(labels, template)
    return in_crop(truth.vertices_cm, truth.rotation, truth.scale_per_cm, truth.translation).numpy()


@dataclass(frozen=True)
class MeshSource:
    """A trained model whose meshes of the images take the place of the true ones."""

    predict: Predictor
    digest: str
    """Of its weights, for the names of what is prepared with them"""

    @classmethod
    def load(cls, path: Path, template: HandTemplate) -> "MeshSource":
        """Load a checkpoint's folder or an ONNX file; HandvizError if it is neither, or of another hand model."""
        if path.is_dir():
            return cls(family_of_checkpoint(path).predictor_of(path, template), _file_digest(path / WEIGHTS))
        model = OnnxReconstructor(path, template=template)
        if model.size_px != CROP_SIZE:
            raise HandvizError(
                f"{path} takes crops of {model.size_px} pixels, rendered ones have {CROP_SIZE}: choose another model",
                ErrorCode.MODEL_MISMATCH,
            )
        unknown = Detection("right", 1.0, np.zeros((KEYPOINT_COUNT, 2)))

        def predict(images: NDArray[np.uint8]) -> list[NetworkOutput]:
            return model.reconstruct([HandCrop(image, np.eye(2, 3), unknown) for image in images])

        return cls(predict, _file_digest(path))

    def points(self, images: NDArray[np.uint8]) -> FloatArray:
        """Return the model's vertices (N, V, 3) of crops (N, 224, 224, 3) in crop half-sides, by its own camera."""
        parts = np.split(images, range(MODEL_BATCH, len(images), MODEL_BATCH))
        hands = [hand for part in parts for hand in self.predict(part)]
        return np.stack([points_in_crop(hand.vertices_m, hand) for hand in hands])


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def front_triangles(points: FloatArray, faces: Tensor) -> Tensor:
    """Return the nearest triangle (N, 224, 224) of meshes (N, V, 3); -1 for none and where the inside shows."""
    at = torch.from_numpy(np.asarray(points, np.float32))
    triangle, _ = nearest_triangles(at, faces)
    first, second, third = at[..., :2][:, faces].unbind(2)
    one, other = second - first, third - first
    from_inside = one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0] >= 0
    hidden = from_inside.gather(1, triangle.flatten(1).clamp(min=0)).view_as(triangle)
    return torch.where(hidden, NOTHING, triangle)


def shown_at(points: FloatArray, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether the image shows the hand, by masks (N, 224, 224), at points (N, V, 3): (N, V)."""
    cells = np.floor((points[..., :2] + 1) * (CROP_SIZE / 2)).astype(int)
    inside = ((cells >= 0) & (cells < CROP_SIZE)).all(axis=2)
    x, y = np.clip(cells, 0, CROP_SIZE - 1).transpose(2, 0, 1)
    return inside & mask[np.arange(len(points))[:, None], y, x]


class _Preparation:
    """Converter of shards of rendered hands to the texture net's training data."""

    def __init__(self, template: HandTemplate, source: MeshSource | None) -> None:
        self.template, self.source = template, source
        self.handles = vertices_from_keypoint_displacements(template)
        self.faces = torch.tensor(template.faces).long()

    def prepare(self, directory: Path, shard: int, labels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return points, visibility and pixels of a shard."""
        path, count = images_file(directory, shard), len(labels["scale"])
        columns = read_arrays(path, REMEDY, ("mask_bits", "visible"))
        visible = bits(columns, "visible", path, (count, self.template.vertex_count))
        mask = bits(columns, "mask_bits", path, (count, CROP_SIZE * CROP_SIZE)).reshape(count, CROP_SIZE, CROP_SIZE)
        rng = np.random.default_rng([7, shard])
        points = self._points(path, labels, rng).astype(np.float16)
        exact = points.astype(np.float32)
        is_open = np.stack([self_visible(hand, self.template.faces) for hand in exact])
        seen = visible & is_open & shown_at(exact, mask)
        pixel, triangle = self._pixels(exact, mask, rng)
        return {
            "points": points,
            "is_open": np.packbits(is_open, axis=1),
            "seen": np.packbits(seen, axis=1),
            "pixel": pixel,
            "triangle": triangle,
        }

    def _points(self, path: Path, labels: dict[str, np.ndarray], rng: np.random.Generator) -> FloatArray:
        """Return the meshes (N, V, 3) of a shard with these labels, whose images the file holds."""
        if self.source is None:
            return missed(mesh_points(labels, self.template), self.handles, rng)
        columns = read_arrays(path, REMEDY, ("jpeg", "jpeg_end"))
        parts = jpeg_parts(columns["jpeg"], columns["jpeg_end"], path, len(labels["scale"]))
        return self.source.points(np.stack([decode(part, path) for part in parts]))

    def _pixels(
        self, points: FloatArray, mask: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint16], NDArray[np.int16]]:
        pixel = np.zeros((len(points), PIXELS), np.uint16)
        triangle = np.full((len(points), PIXELS), NOTHING, np.int16)
        for start in range(0, len(points), RASTER_BATCH):
            raster = front_triangles(points[start : start + RASTER_BATCH], self.faces).numpy()
            for row, numbers in enumerate(raster, start=start):
                covered = np.flatnonzero((numbers >= 0) & mask[row])
                chosen = rng.permutation(covered)[:PIXELS]
                pixel[row, : len(chosen)], triangle[row, : len(chosen)] = chosen, numbers.ravel()[chosen]
        return pixel, triangle


def prepared_file(directory: Path, shard: int, template: HandTemplate, source: MeshSource | None = None) -> Path:
    """Return the path of a shard's prepared arrays; the name depends on all that they were computed with."""
    meshes = f"{MAX_MOVE} {SHIFT} {LOG_SCALE}" if source is None else source.digest
    constants = f"{PIXELS} {meshes} {DEPTH_TOLERANCE} {template.fingerprint}"
    digest = hashlib.sha256(constants.encode()).hexdigest()[:12]
    return directory / f"shard_{shard:05d}_texture_{digest}.npz"


def _prepared(
    directory: Path, shard: int, preparation: _Preparation, labels: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    path = prepared_file(directory, shard, preparation.template, preparation.source)
    if path.is_file():
        found = read_arrays(path, "delete it, it is computed again", ("points", "is_open", "seen", "pixel", "triangle"))
        if len(found["points"]) == len(labels["scale"]):
            return found
    arrays = preparation.prepare(directory, shard, labels)
    write_arrays(path, arrays)
    return arrays


@dataclass(frozen=True, eq=False)
class TextureSamples:
    """A dataset in memory: images as JPEG, everything else as arrays of small types."""

    images: list[tuple[np.ndarray, Path]]
    columns: dict[str, np.ndarray]
    """``points`` (N, V, 3) float16, ``is_open`` and ``seen`` packed bits, ``pixel`` and ``triangle`` (N, P),
    ``vertex_lit`` and ``vertex_even`` (N, V, 3) uint8"""

    def __len__(self) -> int:
        return len(self.images)

    def images_of(self, ids: Tensor) -> Tensor:
        """Return images of some samples (B, 3, 224, 224)."""
        parts, paths = zip(*(self.images[row] for row in ids.tolist()), strict=True)
        with ThreadPoolExecutor(DECODERS) as pool:
            return image_batch(np.stack(list(pool.map(decode, parts, paths)))).contiguous()

    def batch(self, ids: Tensor) -> TextureBatch:
        """Return some samples as tensors."""
        rows = ids.numpy()
        taken = {name: values[rows] for name, values in self.columns.items()}
        count = taken["points"].shape[1]
        flags = {name: np.unpackbits(taken[name], axis=1)[:, :count].astype(np.float32) for name in ("is_open", "seen")}
        return TextureBatch(
            image=self.images_of(ids),
            points=torch.from_numpy(taken["points"].astype(np.float32)),
            is_open=torch.from_numpy(flags["is_open"]),
            seen=torch.from_numpy(flags["seen"]),
            lit=torch.from_numpy(taken["vertex_lit"].astype(np.float32) / 255),
            even=torch.from_numpy(taken["vertex_even"].astype(np.float32) / 255),
            pixel=torch.from_numpy(taken["pixel"].astype(np.int64)),
            triangle=torch.from_numpy(taken["triangle"].astype(np.int64)),
        )


def load_texture_samples(
    directories: Sequence[Path], template: HandTemplate, limit: int | None = None, meshes: Path | None = None
) -> TextureSamples:
    """Load all samples of the folders, or the first ``limit``; prepares what is not prepared yet.

    ``meshes``: a trained model whose meshes are taken, as in ``MeshSource.load``.
    """
    preparation = _Preparation(template, None if meshes is None else MeshSource.load(meshes, template))
    images: list[tuple[np.ndarray, Path]] = []
    columns: dict[str, list[np.ndarray]] = {}
    shards, labels = needed_shards(directories, limit, template)
    for (directory, shard), known in tqdm(zip(shards, labels, strict=True), total=len(shards), desc="meshes"):
        path = images_file(directory, shard)
        found = read_arrays(path, REMEDY)
        if "vertex_lit" not in found or "vertex_even" not in found:
            raise HandvizError(f"{path} {OF_COLOURS}", ErrorCode.VERSION_MISMATCH)
        parts = jpeg_parts(found["jpeg"], found["jpeg_end"], path, len(known["scale"]))
        images += [(part, path) for part in parts]
        own = _prepared(directory, shard, preparation, known)
        own |= {name: found[name] for name in ("vertex_lit", "vertex_even")}
        for name, values in own.items():
            columns.setdefault(name, []).append(values)
    joined = {name: np.concatenate(parts)[:limit] for name, parts in columns.items()}
    return TextureSamples(images[:limit], joined)
