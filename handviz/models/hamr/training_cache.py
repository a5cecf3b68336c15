"""What crops show before the regressor, computed once: heatmaps that are not trained need not be computed again.

Files of one folder, read as they lie on the disk (55 kB a crop). They are named after what they depend on, so that
trainings with other losses or other regressors share them, and a stopped computation goes on.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import make_folder, open_atomic
from handviz.models.hamr.heatmaps import MAP_SHAPES, Maps
from handviz.models.hamr.model import Hamr, Inputs, Seen
from handviz.models.truth import Truth
from handviz.training.cache import fast_session_of
from handviz.training.samples import Samples, take

CHUNK = 64
KINDS = {"maps": np.float16, "at_joints": np.float16, "position": np.float32, "peak": np.float32}
"""Of the numbers in the files; all others are float32."""


@dataclass(frozen=True, eq=False)
class SeenSamples:
    """A dataset of which the files hold what the regressor reads."""

    arrays: dict[str, np.ndarray]
    """(N, ...) by the fields of ``Seen``, on the disk"""
    truth: Truth

    def __len__(self) -> int:
        return len(self.truth.scale_per_cm)

    def batch(self, ids: Tensor) -> tuple[Seen, Truth]:
        """Return what is known of some samples, and their truth."""
        rows = ids.numpy()
        parts = {name: torch.from_numpy(array[rows].astype(np.float32)) for name, array in self.arrays.items()}
        parts["maps"] = parts["maps"].contiguous(memory_format=torch.channels_last)
        return Seen(**parts), take(self.truth, ids)


def cache_key(network: nn.Module, settings: Sequence[object]) -> str:
    """Return a short hash of a network's numbers and of everything else that the files depend on."""
    digest = hashlib.sha256(repr(list(settings)).encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


class _BeforeRegressor(nn.Module):
    """MediaPipe's maps -> all of ``Seen`` but the landmarks."""

    def __init__(self, model: Hamr) -> None:
        super().__init__()
        self.model = model

    def forward(self, map_56: Tensor, map_28: Tensor, middle_map: Tensor) -> tuple[Tensor, ...]:
        seen, _, _ = self.model.seen(Inputs(Maps(map_56, map_28, middle_map), None))
        return tuple(seen)[:-1]


def fast_heatmaps(model: Hamr) -> Callable[[Inputs], Seen]:
    """Return what inputs show, computed by ONNX Runtime: for networks whose heatmaps stay as they are."""
    session = fast_session_of(_BeforeRegressor(model), Seen._fields[:-1], MAP_SHAPES)

    def see(inputs: Inputs) -> Seen:
        assert inputs.maps is not None
        assert inputs.landmarks is not None
        arrays = {name: part.contiguous().numpy() for name, part in inputs.maps._asdict().items()}
        found = dict(zip(Seen._fields, map(torch.from_numpy, session.run(None, arrays)), strict=False))
        return Seen(**found, landmarks=inputs.landmarks)

    return see


@torch.no_grad()
def seen_samples(
    samples: Samples, make_see: Callable[[], Callable[[Tensor, Tensor], Seen]], folder: Path, key: str
) -> SeenSamples:
    """Return the samples with what ``make_see()(ids, images)`` says of them, from the files or computed now."""
    make_folder(folder)
    done_file = folder / f"{key}_done.txt"
    done = _number(done_file)
    arrays: dict[str, np.ndarray] = {}
    if done:
        arrays = {name: _opened(folder / f"{key}_{name}.npy", len(samples)) for name in Seen._fields}
    left = torch.arange(done, len(samples))
    if not len(left):
        return SeenSamples(arrays, samples.truth)
    see = make_see()
    for ids in tqdm(left.split(CHUNK), desc="before the regressor", unit="batch"):
        images, _ = samples.batch(ids)
        found = see(ids, images)
        if not arrays:
            arrays = {name: _made(folder, key, name, len(samples), part) for name, part in found._asdict().items()}
        for name, part in found._asdict().items():
            arrays[name][ids.numpy()] = part.numpy()
        if not (int(ids[0]) // CHUNK) % 16 or int(ids[-1]) + 1 == len(samples):
            for array in arrays.values():
                array.flush()  # type: ignore[attr-defined]
            with open_atomic(done_file) as file:
                file.write(str(int(ids[-1]) + 1).encode())
    return SeenSamples(arrays, samples.truth)


def _number(path: Path) -> int:
    try:
        return int(path.read_text("ascii")) if path.is_file() else 0
    except ValueError as error:
        raise HandvizError(
            f"{path} is damaged: delete its folder, it is computed again", ErrorCode.FILE_DAMAGED
        ) from error


def _made(folder: Path, key: str, name: str, count: int, part: Tensor) -> np.ndarray:
    kind = KINDS.get(name, np.float32)
    shape = (count, *part.shape[1:])
    return np.lib.format.open_memmap(folder / f"{key}_{name}.npy", "w+", kind, shape)


def _opened(path: Path, count: int) -> np.ndarray:
    try:
        array = np.lib.format.open_memmap(path, "r+")
    except (OSError, ValueError) as error:
        raise HandvizError(
            f"{path} is damaged ({error}): delete its folder, it is computed again", ErrorCode.FILE_DAMAGED
        ) from error
    if len(array) != count:
        raise HandvizError(
            f"{path} is of {len(array)} crops, not of {count}: delete its folder, it is computed again",
            ErrorCode.WRONG_SHAPE,
        )
    return array
