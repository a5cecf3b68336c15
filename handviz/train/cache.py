"""Training data in memory: the backbone's 14 x 14 maps, computed once per shard, and ground truth in centimetres."""

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from tqdm import tqdm

from handviz.data.synthetic.dataset import read_labels, read_shard, shard_numbers
from handviz.errors import HandvizError
from handviz.hand_model.layer import HandLayer
from handviz.hand_model.template import HandTemplate
from handviz.nets.backbones import Backbone
from handviz.nets.onnx_file import INPUT_NAME, write_onnx
from handviz.train.losses import Truth

logger = logging.getLogger(__name__)
BATCH = 32


def picture_batch(pictures: np.ndarray) -> Tensor:
    """uint8 (N, 224, 224, 3) -> float (N, 3, 224, 224) in [0, 1], channels last in memory."""
    return torch.from_numpy(pictures.copy()).permute(0, 3, 1, 2).float() / 255.0


def middle_file(directory: Path, shard: int, backbone_name: str) -> Path:
    """Where the cached maps of a shard lie."""
    return directory / f"shard_{shard:05d}_middle_{backbone_name}.npy"


class _Stem(nn.Module):
    """The half of a backbone whose answer is cached."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> Tensor:
        return self.backbone.stem(image)[1]


def _stem_session(backbone: Backbone) -> onnxruntime.InferenceSession:
    """The stem in ONNX Runtime: three to six times faster than PyTorch on a CPU (docs/experiments.md)."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "stem.onnx"
        write_onnx(_Stem(backbone), path, ["middle_map"])
        return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def _write_maps(directory: Path, shard: int, session: onnxruntime.InferenceSession, path: Path) -> None:
    pictures = read_shard(directory, shard).pictures
    maps = []
    for start in range(0, len(pictures), BATCH):
        images = picture_batch(pictures[start : start + BATCH]).contiguous().numpy()
        maps.append(session.run(None, {INPUT_NAME: images})[0].astype(np.float16))
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.save(file, np.concatenate(maps))
    os.replace(part, path)


def cache_middle_maps(directory: Path, backbone: Backbone, backbone_name: str) -> list[int]:
    """Compute the maps that are missing; returns the numbers of all shards."""
    shards = shard_numbers(directory)
    missing = [shard for shard in shards if not middle_file(directory, shard, backbone_name).is_file()]
    if missing:
        session = _stem_session(backbone)
        for shard in tqdm(missing, desc="backbone maps", unit="shard"):
            _write_maps(directory, shard, session, middle_file(directory, shard, backbone_name))
    return shards


@dataclass(frozen=True, eq=False)
class CachedSamples:
    """A dataset as tensors."""

    middle_maps: Tensor
    """(N, M, 14, 14) float16"""
    truth: Truth
    features: Tensor | None = None
    """(N, D) float32 global features, where the backbone is frozen"""

    def __len__(self) -> int:
        return len(self.truth.scale_per_cm)

    def batch(self, ids: Tensor) -> tuple[Tensor, Truth]:
        """Features, or maps (float32, channels last) where there are none, and the truth of some samples."""
        if self.features is not None:
            return self.features[ids], take(self.truth, ids)
        maps = self.middle_maps[ids].float().contiguous(memory_format=torch.channels_last)
        return maps, take(self.truth, ids)


@torch.no_grad()
def with_features(samples: CachedSamples, backbone: Backbone) -> CachedSamples:
    """Run the backbone's last blocks once for all: they will not change any more."""
    backbone.eval()
    chunks = torch.arange(len(samples)).split(BATCH)
    features = [backbone.tail(samples.batch(ids)[0]) for ids in tqdm(chunks, desc="features", unit="batch")]
    return CachedSamples(samples.middle_maps[:0], samples.truth, torch.cat(features))


def take(truth: Truth, ids: Tensor) -> Truth:
    """Some rows of the ground truth."""
    return Truth(
        truth.vertices_cm[ids],
        truth.keypoints_crop[ids],
        truth.rotation[ids],
        truth.scale_per_cm[ids],
        truth.translation[ids],
    )


@torch.no_grad()
def truth_from_labels(labels: dict[str, np.ndarray], template: HandTemplate) -> Truth:
    """Labels of the generator -> ground truth in centimetres; vertices come from pose and shape."""
    layer = HandLayer(template)
    columns = {name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in labels.items()}
    parts = zip(columns["pose"].split(512), columns["shape"].split(512), strict=True)
    vertices = torch.cat([layer(pose, shape).vertices_m * 100.0 for pose, shape in parts])
    return Truth(
        vertices_cm=vertices,
        keypoints_crop=columns["keypoints_crop"],
        rotation=columns["rotation"],
        scale_per_cm=columns["scale"] / 100.0,
        translation=columns["translation"],
    )


def _read_maps(path: Path, shape: tuple[int, ...]) -> Tensor:
    remedy = "delete it, it is computed again"
    try:
        maps = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise HandvizError(f"{path} is damaged ({error}): {remedy}") from error
    if maps.shape != shape:
        raise HandvizError(f"{path} holds maps {maps.shape}, its pictures need {shape}: {remedy}")
    return torch.from_numpy(maps)


def load_cached(
    directory: Path, backbone: Backbone, backbone_name: str, template: HandTemplate, limit: int | None = None
) -> CachedSamples:
    """All samples of a folder (or the first ``limit``), computing what is not cached yet."""
    shards = cache_middle_maps(directory, backbone, backbone_name)
    labels = [read_labels(directory, shard) for shard in shards]
    count = sum(len(part["scale"]) for part in labels)
    count = min(count, limit or count)
    maps = torch.empty((count, backbone.middle_channels, 14, 14), dtype=torch.float16)
    start = 0
    for shard, known in zip(shards, labels, strict=True):
        if start >= count:
            break
        shape = (len(known["scale"]), *maps.shape[1:])
        part = _read_maps(middle_file(directory, shard, backbone_name), shape)[: count - start]
        maps[start : start + len(part)] = part
        start += len(part)
    columns = {name: np.concatenate([part[name] for part in labels])[:count] for name in labels[0]}
    return CachedSamples(maps, truth_from_labels(columns, template))
