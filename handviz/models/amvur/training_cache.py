"""AMVUR's samples in memory: cached maps with MediaPipe's landmarks, or the features of a frozen backbone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from tqdm import tqdm

from handviz.core.errors import ErrorCode, HandvizError
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.features import ImageFeatures, LandmarkHead
from handviz.models.amvur.model import Cached, HandModel, ModelOutput
from handviz.models.backbones.registry import Backbone
from handviz.models.landmark_numbers import LANDMARK_NUMBERS
from handviz.models.truth import Truth
from handviz.training.cache import (
    BATCH,
    COMMITTED,
    cache_middle_maps,
    cache_name,
    fast_session,
    first_output,
    map_session,
    middle_file,
    read_array,
    read_cached,
    save_array,
)
from handviz.training.samples import image_batch, joined_truth, needed_shards, take, to_device

Inputs = Tensor | Cached | ImageFeatures
"""Images (B, 3, 224, 224), their cached maps, or the heads' features."""


class FromInputs(nn.Module):
    """A model that takes any kind of inputs."""

    def __init__(self, model: HandModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Inputs) -> ModelOutput:
        return self.model(inputs) if isinstance(inputs, Tensor) else self.model.from_cached(inputs)


def _landmark_session(landmark_head: LandmarkHead, backbone: Backbone) -> onnxruntime.InferenceSession:
    return fast_session(landmark_head, ["output"], (backbone.middle_channels, 14, 14))


def stem_maps(model: HandModel, images: np.ndarray) -> tuple[Tensor, Tensor | None]:
    """Return float16 maps (N, M, 14, 14) and MediaPipe's landmarks (N, 128) of images (N, 224, 224, 3) uint8; the
    landmarks are None for models without a landmark head."""
    landmark_head = model.landmark_head
    if landmark_head is not None and landmark_head.own_stem:
        raise HandvizError(
            "this network was trained end to end; its landmarks need other maps: choose another network",
            ErrorCode.MODEL_MISMATCH,
        )
    middle = map_session(model.backbone)
    heads = None if landmark_head is None else _landmark_session(landmark_head, model.backbone)
    maps, landmarks = [], []
    for start in tqdm(range(0, len(images), BATCH), desc="backbone maps", unit="batch", leave=False):
        found = first_output(middle, image_batch(images[start : start + BATCH]).contiguous().numpy())
        maps.append(torch.from_numpy(found.astype(np.float16)))
        if heads is not None:
            landmarks.append(torch.from_numpy(first_output(heads, found)))
    return torch.cat(maps), torch.cat(landmarks) if heads is not None else None


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
        session = _landmark_session(landmark_head, backbone)
        for shard in tqdm(missing, desc="landmarks", unit="shard"):
            maps = read_array(middle_file(directory, shard, COMMITTED))
            batches = (maps[start : start + BATCH].astype(np.float32) for start in range(0, len(maps), BATCH))
            found = np.concatenate([first_output(session, batch) for batch in batches])
            save_array(landmarks_file(directory, shard), found.astype(np.float32))


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
        maps[rows] = read_cached(middle_file(directory, shard, name), (full, *maps.shape[1:]))[:size]
        if landmarks is not None:
            landmarks[rows] = read_cached(landmarks_file(directory, shard), (full, LANDMARK_NUMBERS))[:size]
        start = rows.stop
    return CachedSamples(maps, landmarks, joined_truth(labels, count, template))


def _cache(directory: Path, shards: Sequence[int], model: HandModel, backbone_name: str) -> None:
    if model.landmark_head is None:
        cache_middle_maps(directory, shards, model.backbone, backbone_name)
    else:
        cache_landmarks(directory, shards, model.landmark_head, model.backbone)
