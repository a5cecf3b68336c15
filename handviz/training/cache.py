"""Maps (14 x 14) of a backbone's frozen blocks, computed once and cached beside the images, for any family."""

import copy
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from tqdm import tqdm

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import open_atomic
from handviz.core.onnx_runtime import session_options
from handviz.data.synthetic.dataset import read_shard
from handviz.models.backbones.registry import Backbone, make_backbone
from handviz.models.onnx_file import IMAGE_SHAPE, INPUT_NAME, write_onnx
from handviz.training.samples import image_batch

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


def map_session(backbone: Backbone) -> onnxruntime.InferenceSession:
    """Return the session from images (B, 3, 224, 224) to the maps (B, M, 14, 14) of a backbone's first blocks."""
    return fast_session(_Stem(backbone), ["output"], IMAGE_SHAPE)


def fast_session(
    network: nn.Module, outputs: Sequence[str], example_shape: tuple[int, ...]
) -> onnxruntime.InferenceSession:
    """Return a network of one input in ONNX Runtime."""
    return fast_session_of(network, outputs, {INPUT_NAME: example_shape})


def fast_session_of(
    network: nn.Module, outputs: Sequence[str], inputs: Mapping[str, tuple[int, ...]]
) -> onnxruntime.InferenceSession:
    """Return a network in ONNX Runtime: three to six times faster than PyTorch on a CPU (docs/log/experiments.md).

    ``inputs``: shapes behind the batch, by name.
    """
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "network.onnx"
        write_onnx(copy.deepcopy(network).cpu(), path, outputs, inputs)
        return onnxruntime.InferenceSession(path, session_options(), providers=["CPUExecutionProvider"])


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an array, completely or not at all."""
    with open_atomic(path) as file:
        np.save(file, array)


def first_output(session: onnxruntime.InferenceSession, batch: np.ndarray) -> np.ndarray:
    """Return the first output of a batch of the only input."""
    return np.asarray(session.run(None, {INPUT_NAME: batch})[0])


def _write_maps(directory: Path, shard: int, session: onnxruntime.InferenceSession, path: Path) -> None:
    images = read_shard(directory, shard).images
    batches = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
    maps = [first_output(session, image_batch(part).contiguous().numpy()).astype(np.float16) for part in batches]
    save_array(path, np.concatenate(maps))


def cache_middle_maps(directory: Path, shards: Sequence[int], backbone: Backbone, backbone_name: str) -> None:
    """Compute the maps that these shards lack."""
    name = cache_name(backbone, backbone_name)
    missing = [shard for shard in shards if not middle_file(directory, shard, name).is_file()]
    if missing:
        session = map_session(backbone)
        for shard in tqdm(missing, desc="backbone maps", unit="shard"):
            _write_maps(directory, shard, session, middle_file(directory, shard, name))


def read_array(path: Path) -> np.ndarray:
    """Read a cached array; HandvizError if it is damaged."""
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise HandvizError(
            f"{path} is damaged ({error}): delete it, it is computed again", ErrorCode.FILE_DAMAGED
        ) from error


def read_cached(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Read a cached array of this shape; HandvizError if it is damaged or of another one."""
    found = read_array(path)
    if found.shape != shape:
        raise HandvizError(
            f"{path} holds {found.shape}, its images need {shape}: delete it, it is computed again",
            ErrorCode.WRONG_SHAPE,
        )
    return torch.from_numpy(found)
