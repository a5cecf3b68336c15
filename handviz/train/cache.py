"""Training data in memory: the backbone's 14 x 14 maps, computed once per shard, and ground truth in centimetres."""

import logging
import os
import tempfile
from collections.abc import Sequence
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
from handviz.nets.evidence import LANDMARK_NUMBERS, Evidence, Witness
from handviz.nets.model import Cached, HandModel
from handviz.nets.onnx_file import INPUT_NAME, write_onnx
from handviz.records import CROP_SIZE
from handviz.train.losses import Truth

logger = logging.getLogger(__name__)
BATCH = 32
TRUTH_LABELS = ("pose", "shape", "rotation", "scale", "translation", "keypoints_crop")


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


def _session(network: nn.Module, example_shape: tuple[int, ...]) -> onnxruntime.InferenceSession:
    """A network in ONNX Runtime: three to six times faster than PyTorch on a CPU (docs/experiments.md)."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "network.onnx"
        write_onnx(network, path, ["output"], example_shape)
        return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def _save(path: Path, array: np.ndarray) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.save(file, array)
    os.replace(part, path)


def _run(session: onnxruntime.InferenceSession, batch: np.ndarray) -> np.ndarray:
    return np.asarray(session.run(None, {INPUT_NAME: batch})[0])


def _write_maps(directory: Path, shard: int, session: onnxruntime.InferenceSession, path: Path) -> None:
    pictures = read_shard(directory, shard).pictures
    batches = (pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH))
    maps = [_run(session, picture_batch(part).contiguous().numpy()).astype(np.float16) for part in batches]
    _save(path, np.concatenate(maps))


def cache_middle_maps(directory: Path, backbone: Backbone, backbone_name: str) -> list[int]:
    """Compute the maps that are missing; returns the numbers of all shards."""
    shards = shard_numbers(directory)
    missing = [shard for shard in shards if not middle_file(directory, shard, backbone_name).is_file()]
    if missing:
        session = _session(_Stem(backbone), (3, CROP_SIZE, CROP_SIZE))
        for shard in tqdm(missing, desc="backbone maps", unit="shard"):
            _write_maps(directory, shard, session, middle_file(directory, shard, backbone_name))
    return shards


def landmarks_file(directory: Path, shard: int) -> Path:
    """Where the witness's cached landmarks of a shard lie."""
    return directory / f"shard_{shard:05d}_landmarks.npy"


def cache_landmarks(directory: Path, witness: Witness, backbone: Backbone, backbone_name: str) -> list[int]:
    """What MediaPipe's own heads say of every crop, from its cached maps, where it is missing."""
    shards = cache_middle_maps(directory, backbone, backbone_name)
    missing = [shard for shard in shards if not landmarks_file(directory, shard).is_file()]
    if missing:
        session = _session(witness, (backbone.middle_channels, 14, 14))
        for shard in tqdm(missing, desc="landmarks", unit="shard"):
            maps = np.load(middle_file(directory, shard, backbone_name), allow_pickle=False)
            batches = (maps[start : start + BATCH].astype(np.float32) for start in range(0, len(maps), BATCH))
            found = np.concatenate([_run(session, batch) for batch in batches])
            _save(landmarks_file(directory, shard), found.astype(np.float32))
    return shards


@dataclass(frozen=True, eq=False)
class CachedSamples:
    """A dataset as tensors."""

    middle_maps: Tensor
    """(N, M, 14, 14) float16"""
    landmarks: Tensor | None
    """(N, 128) float32 of the witness, None for models without one"""
    truth: Truth
    evidence: Evidence | None = None
    """What the heads see, where everything before them is frozen"""

    def __len__(self) -> int:
        return len(self.truth.scale_per_cm)

    def batch(self, ids: Tensor) -> tuple[Cached | Evidence, Truth]:
        """What of the samples is cached (maps as float32, channels last), and their truth."""
        truth = take(self.truth, ids)
        if self.evidence is not None:
            return Evidence(*(part if part is None else part[ids].float() for part in self.evidence)), truth  # type: ignore[arg-type]
        maps = self.middle_maps[ids].float().contiguous(memory_format=torch.channels_last)
        return Cached(maps, None if self.landmarks is None else self.landmarks[ids]), truth


@torch.no_grad()
def with_evidence(samples: CachedSamples, model: HandModel) -> CachedSamples:
    """Run everything before the heads once for all: it will not change any more. Kept as float16."""
    model.eval()
    chunks = torch.arange(len(samples)).split(BATCH)
    parts: list[Evidence] = []
    for ids in tqdm(chunks, desc="evidence", unit="batch"):
        cached, _ = samples.batch(ids)
        assert isinstance(cached, Cached)
        parts.append(Evidence(*(part if part is None else part.half() for part in model.seen(cached))))  # type: ignore[arg-type]
    columns = [column[0] if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True)]
    return CachedSamples(samples.middle_maps[:0], None, samples.truth, Evidence(*columns))  # type: ignore[arg-type]


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


def _read_cached(path: Path, shape: tuple[int, ...]) -> Tensor:
    remedy = "delete it, it is computed again"
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise HandvizError(f"{path} is damaged ({error}): {remedy}") from error
    if found.shape != shape:
        raise HandvizError(f"{path} holds {found.shape}, its pictures need {shape}: {remedy}")
    return torch.from_numpy(found)


def load_cached(
    directories: Sequence[Path], model: HandModel, backbone_name: str, template: HandTemplate, limit: int | None = None
) -> CachedSamples:
    """All samples of the folders (or the first ``limit``), computing what is not cached yet."""
    places: list[tuple[Path, int]] = []
    for directory in directories:
        places += [(directory, shard) for shard in _cached_shards(directory, model, backbone_name)]
    labels = [read_labels(directory, shard) for directory, shard in places]
    count = sum(len(part["scale"]) for part in labels)
    count = min(count, limit or count)
    maps = torch.empty((count, model.backbone.middle_channels, 14, 14), dtype=torch.float16)
    landmarks = None if model.witness is None else torch.empty((count, LANDMARK_NUMBERS))
    start = 0
    for (directory, shard), known in zip(places, labels, strict=True):
        size = min(len(known["scale"]), count - start)
        if size <= 0:
            break
        full = len(known["scale"])
        path = middle_file(directory, shard, backbone_name)
        maps[start : start + size] = _read_cached(path, (full, *maps.shape[1:]))[:size]
        if landmarks is not None:
            path = landmarks_file(directory, shard)
            landmarks[start : start + size] = _read_cached(path, (full, LANDMARK_NUMBERS))[:size]
        start += size
    columns = {name: np.concatenate([part[name] for part in labels])[:count] for name in TRUTH_LABELS}
    return CachedSamples(maps, landmarks, truth_from_labels(columns, template))


def _cached_shards(directory: Path, model: HandModel, backbone_name: str) -> list[int]:
    if model.witness is None:
        return cache_middle_maps(directory, model.backbone, backbone_name)
    return cache_landmarks(directory, model.witness, model.backbone, backbone_name)
