"""Samples whose 14 x 14 maps and MediaPipe landmarks are computed once and cached beside the images."""

import copy
import hashlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from tqdm import tqdm

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import open_atomic
from handviz.core.records import CROP_SIZE
from handviz.data.synthetic.dataset import read_shard
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.features import LANDMARK_NUMBERS, ImageFeatures, LandmarkHead
from handviz.models.amvur.losses import Truth
from handviz.models.amvur.model import Cached, HandModel
from handviz.models.amvur.onnx_file import INPUT_NAME, write_onnx
from handviz.models.backbones.registry import Backbone, make_backbone
from handviz.training.samples import (
    image_batch,
    joined_truth,
    needed_shards,
    take,
    to_device,
    truth_from_labels,
)

__all__ = ["CachedSamples", "image_batch", "load_cached", "truth_from_labels", "with_features"]
logger = logging.getLogger(__name__)
BATCH = 32
COMMITTED = "mediapipe_hand"
"""The backbone whose first blocks are part of the repository; those of others depend on the run."""


def tail_parameters(backbone: Backbone) -> Iterator[nn.Parameter]:
    """Return the parameters after the cached map: those that get a gradient from it."""
    parameters = list(backbone.parameters())
    wanted = [parameter.requires_grad for parameter in parameters]
    backbone.requires_grad_(True)
    was_training = backbone.training
    backbone.eval()
    with torch.enable_grad():
        zeros = torch.zeros(2, backbone.middle_channels, 14, 14, device=parameters[0].device)
        total = backbone.tail(zeros).sum()
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    backbone.train(was_training)
    for parameter, before in zip(parameters, wanted, strict=True):
        parameter.requires_grad_(before)
    return (p for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None)


def stem_digest(backbone: Backbone) -> str:
    """Return a short hash of all numbers, batch statistics included, before the cached map."""
    tail = {id(parameter) for parameter in tail_parameters(backbone)}
    names = [name for name, parameter in backbone.named_parameters() if id(parameter) not in tail]
    modules = {name.rpartition(".")[0] for name in names}
    digest = hashlib.sha256()
    for name, value in sorted(backbone.state_dict().items()):
        if name in names or name.rpartition(".")[0] in modules:
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


@cache
def committed_digest() -> str:
    """Return the digest of MediaPipe's own first blocks."""
    return stem_digest(make_backbone(COMMITTED))


def cache_name(backbone: Backbone, backbone_name: str) -> str:
    """Return the name of a backbone's cache: with other first blocks than the committed ones, their digest too."""
    digest = stem_digest(backbone)
    if backbone_name == COMMITTED and digest == committed_digest():
        return backbone_name
    return f"{backbone_name}_{digest}"


def middle_file(directory: Path, shard: int, name: str) -> Path:
    """Return the path of a shard's cached maps; ``name`` is from ``cache_name``."""
    return directory / f"shard_{shard:05d}_middle_{name}.npy"


class _Stem(nn.Module):
    """The part of a backbone whose output is cached."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> Tensor:
        return self.backbone.stem(image)[1]


def _session(network: nn.Module, example_shape: tuple[int, ...]) -> onnxruntime.InferenceSession:
    """Return a network with one output in ONNX Runtime."""
    return fast_session(network, ["output"], example_shape)


def fast_session(
    network: nn.Module, outputs: Sequence[str], example_shape: tuple[int, ...]
) -> onnxruntime.InferenceSession:
    """Return a network in ONNX Runtime: three to six times faster than PyTorch on a CPU (docs/log/experiments.md)."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "network.onnx"
        write_onnx(copy.deepcopy(network).cpu(), path, outputs, {INPUT_NAME: example_shape})
        return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def _save(path: Path, array: np.ndarray) -> None:
    with open_atomic(path) as file:
        np.save(file, array)


def _run(session: onnxruntime.InferenceSession, batch: np.ndarray) -> np.ndarray:
    return np.asarray(session.run(None, {INPUT_NAME: batch})[0])


def stem_maps(model: HandModel, images: np.ndarray) -> tuple[Tensor, Tensor | None]:
    """Return float16 maps (N, M, 14, 14) and MediaPipe's landmarks (N, 128) of images (N, 224, 224, 3) uint8; the
    landmarks are None for models without a landmark head."""
    landmark_head = model.landmark_head
    if landmark_head is not None and landmark_head.own_stem:
        raise HandvizError(
            "this network was trained end to end; its landmarks need other maps: choose another network",
            ErrorCode.MODEL_MISMATCH,
        )
    middle = _session(_Stem(model.backbone), (3, CROP_SIZE, CROP_SIZE))
    heads = None if landmark_head is None else _session(landmark_head, (model.backbone.middle_channels, 14, 14))
    maps, landmarks = [], []
    for start in tqdm(range(0, len(images), BATCH), desc="backbone maps", unit="batch", leave=False):
        found = _run(middle, image_batch(images[start : start + BATCH]).contiguous().numpy())
        maps.append(torch.from_numpy(found.astype(np.float16)))
        if heads is not None:
            landmarks.append(torch.from_numpy(_run(heads, found)))
    return torch.cat(maps), torch.cat(landmarks) if heads is not None else None


def _write_maps(directory: Path, shard: int, session: onnxruntime.InferenceSession, path: Path) -> None:
    images = read_shard(directory, shard).images
    batches = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
    maps = [_run(session, image_batch(part).contiguous().numpy()).astype(np.float16) for part in batches]
    _save(path, np.concatenate(maps))


def cache_middle_maps(directory: Path, shards: Sequence[int], backbone: Backbone, backbone_name: str) -> None:
    """Compute the maps that these shards lack."""
    name = cache_name(backbone, backbone_name)
    missing = [shard for shard in shards if not middle_file(directory, shard, name).is_file()]
    if missing:
        session = _session(_Stem(backbone), (3, CROP_SIZE, CROP_SIZE))
        for shard in tqdm(missing, desc="backbone maps", unit="shard"):
            _write_maps(directory, shard, session, middle_file(directory, shard, name))


def landmarks_file(directory: Path, shard: int) -> Path:
    """Return the path of a shard's cached landmarks."""
    return directory / f"shard_{shard:05d}_landmarks.npy"


def cache_landmarks(directory: Path, shards: Sequence[int], landmark_head: LandmarkHead, backbone: Backbone) -> None:
    """Compute MediaPipe's landmarks of these shards from their cached maps, where they are missing."""
    if landmark_head.own_stem or cache_name(backbone, COMMITTED) != COMMITTED:
        raise HandvizError(
            "the backbone's first blocks are no longer MediaPipe's own, which its landmarks need: "
            "train with --end-to-end or with --features global",
            ErrorCode.OPTION_CONFLICT,
        )
    cache_middle_maps(directory, shards, backbone, COMMITTED)
    missing = [shard for shard in shards if not landmarks_file(directory, shard).is_file()]
    if missing:
        session = _session(landmark_head, (backbone.middle_channels, 14, 14))
        for shard in tqdm(missing, desc="landmarks", unit="shard"):
            maps = _read(middle_file(directory, shard, COMMITTED))
            batches = (maps[start : start + BATCH].astype(np.float32) for start in range(0, len(maps), BATCH))
            found = np.concatenate([_run(session, batch) for batch in batches])
            _save(landmarks_file(directory, shard), found.astype(np.float32))


@dataclass(frozen=True, eq=False)
class CachedSamples:
    """A dataset as tensors."""

    middle_maps: Tensor
    """(N, M, 14, 14) float16"""
    landmarks: Tensor | None
    """(N, 128) float32, None for models without a landmark head"""
    truth: Truth
    features: ImageFeatures | None = None
    """Inputs of the heads, where everything before them is frozen"""

    def __len__(self) -> int:
        return len(self.truth.scale_per_cm)

    def batch(self, ids: Tensor) -> tuple[Cached | ImageFeatures, Truth]:
        """Return what is cached of the samples (maps as float32, channels last), and their truth."""
        truth = take(self.truth, ids)
        if self.features is not None:
            return ImageFeatures(*(part if part is None else part[ids].float() for part in self.features)), truth  # type: ignore[arg-type]
        maps = self.middle_maps[ids].float().contiguous(memory_format=torch.channels_last)
        return Cached(maps, None if self.landmarks is None else self.landmarks[ids]), truth


@torch.no_grad()
def with_features(samples: CachedSamples, model: HandModel) -> CachedSamples:
    """Compute the features of all samples once, as everything before the heads is frozen. Stored as float16."""
    model.eval()
    device = next(model.parameters()).device
    chunks = torch.arange(len(samples)).split(BATCH)
    parts: list[ImageFeatures] = []
    for ids in tqdm(chunks, desc="features", unit="batch"):
        cached, _ = samples.batch(ids)
        assert isinstance(cached, Cached)
        features = model.seen(to_device(cached, device))
        parts.append(ImageFeatures(*(part if part is None else part.half().cpu() for part in features)))  # type: ignore[arg-type]
    columns = [column[0] if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True)]
    # Cloned, or the slice would hold all maps in memory.
    return CachedSamples(samples.middle_maps[:0].clone(), None, samples.truth, ImageFeatures(*columns))  # type: ignore[arg-type]


def _read(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise HandvizError(
            f"{path} is damaged ({error}): delete it, it is computed again", ErrorCode.FILE_DAMAGED
        ) from error


def _read_cached(path: Path, shape: tuple[int, ...]) -> Tensor:
    found = _read(path)
    if found.shape != shape:
        raise HandvizError(
            f"{path} holds {found.shape}, its images need {shape}: delete it, it is computed again",
            ErrorCode.WRONG_SHAPE,
        )
    return torch.from_numpy(found)


def load_cached(
    directories: Sequence[Path], model: HandModel, backbone_name: str, template: HandTemplate, limit: int | None = None
) -> CachedSamples:
    """Load all samples of the folders (or the first ``limit``), computing what is not cached yet."""
    numbered, labels = needed_shards(directories, limit, template)
    for directory in dict.fromkeys(directories):
        own = [shard for folder, shard in dict.fromkeys(numbered) if folder == directory]
        _cache(directory, own, model, backbone_name)
    sizes = [len(part["scale"]) for part in labels]
    count = min(sum(sizes), limit or sum(sizes))
    name = cache_name(model.backbone, backbone_name)
    maps = torch.empty((count, model.backbone.middle_channels, 14, 14), dtype=torch.float16)
    landmarks = None if model.landmark_head is None else torch.empty((count, LANDMARK_NUMBERS))
    start = 0
    for (directory, shard), full in zip(numbered, sizes, strict=True):
        rows = slice(start, min(start + full, count))
        size = rows.stop - start
        maps[rows] = _read_cached(middle_file(directory, shard, name), (full, *maps.shape[1:]))[:size]
        if landmarks is not None:
            landmarks[rows] = _read_cached(landmarks_file(directory, shard), (full, LANDMARK_NUMBERS))[:size]
        start = rows.stop
    return CachedSamples(maps, landmarks, joined_truth(labels, count, template))


def _cache(directory: Path, shards: Sequence[int], model: HandModel, backbone_name: str) -> None:
    if model.landmark_head is None:
        cache_middle_maps(directory, shards, model.backbone, backbone_name)
    else:
        cache_landmarks(directory, shards, model.landmark_head, model.backbone)
