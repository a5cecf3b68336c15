"""Training data of SiMA-Hand in memory-mapped files: MediaPipe's maps and landmarks of all crops, a teacher's features.

They are computed once, beside the data and beside the teacher, so that a step of training runs neither of the two.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import atomic_path, make_folder, read_arrays, write_arrays
from handviz.detection.landmark_network import MIDDLE_MAP_SHAPE, LandmarkNetwork
from handviz.hand_models.template import HandTemplate
from handviz.models.landmark_numbers import LANDMARK_NUMBERS
from handviz.models.sima_hand.model import Features, Inputs, SimaHand
from handviz.models.sima_hand.samples import Views, inputs_of_batch, of_views
from handviz.models.truth import Truth
from handviz.training.samples import ImageSamples, load_images, to_device

CACHED_CROPS = 64
"""Computed at once."""
OF_MOMENTS = ("vertex", "last_vertex")
"""Features of a hand, of which its views have one; all others are of a crop."""
Loader = Callable[[tuple[Path, ...], HandTemplate, int | None], Views]


@dataclass(frozen=True, eq=False)
class SingleViews:
    """Ordinary crops as moments of one view."""

    samples: ImageSamples
    views = 1

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, ids: Tensor) -> tuple[Tensor, Truth]:
        """Return images (B, 1, 3, 224, 224) and their truth."""
        images, truth = self.samples.batch(ids)
        return images[:, None], truth


def load_single_views(folders: tuple[Path, ...], template: HandTemplate, limit: int | None) -> Views:
    """Return rendered crops as moments of one view."""
    return SingleViews(load_images(folders, template, limit))


@dataclass(frozen=True, eq=False)
class CachedFolder:
    """What is cached of a folder of M moments of N views."""

    directory: Path
    middle_maps: np.ndarray
    """(M N, 112, 14, 14) float16, memory-mapped"""
    landmarks: np.ndarray
    """(M N, 128) float32"""
    vertices_cm: Tensor
    """(M, V, 3) canonical"""
    labels: dict[str, Tensor]
    """Fields of ``Truth`` but the vertices, of M N rows"""
    views: int

    def rows(self, ids: Tensor) -> tuple[Inputs, Truth]:
        """Return the inputs of crops (K,), maps channels last, and their truth."""
        maps = torch.from_numpy(self.middle_maps[ids.numpy()]).float().contiguous(memory_format=torch.channels_last)
        inputs = Inputs(maps, torch.from_numpy(self.landmarks[ids.numpy()]))
        known = {name: value[ids] for name, value in self.labels.items()}
        return inputs, Truth(self.vertices_cm[ids // self.views], **known)


@dataclass(frozen=True, eq=False)
class CachedSamples:
    """Cached folders one after the other, or the first crops of them."""

    parts: tuple[CachedFolder, ...]
    count: int
    """Moments"""

    @property
    def views(self) -> int:
        """N views of every moment."""
        return self.parts[0].views

    def __len__(self) -> int:
        return self.count

    def crops(self, ids: Tensor) -> tuple[Inputs, Truth]:
        """Return the inputs of crops (K,), numbered moment by moment, and their truth, in the order of ``ids``."""
        inputs, truths, order, first = [], [], [], 0
        for part in self.parts:
            own = torch.nonzero((ids >= first) & (ids < first + len(part.landmarks)))[:, 0]
            if len(own):
                found, truth = part.rows(ids[own] - first)
                inputs.append(found)
                truths.append(truth)
                order.append(own)
            first += len(part.landmarks)
        if len(inputs) == 1:
            return inputs[0], truths[0]
        back = torch.argsort(torch.cat(order))
        joined = Inputs(*(None if part[0] is None else torch.cat(part)[back] for part in zip(*inputs, strict=True)))
        columns = (torch.cat([getattr(part, item.name) for part in truths])[back] for item in fields(Truth))
        return joined, Truth(*columns)

    def batch(self, ids: Tensor) -> tuple[Inputs, Truth]:
        """Return the inputs (B, N, ...) of moments (B,), and the truth of B N rows."""
        inputs, truth = self.crops(crops_of(ids, self.views))
        return of_views(inputs, self.views), truth


def crops_of(moments: Tensor, views: int) -> Tensor:
    """Return the numbers (B N,) of the crops of moments (B,)."""
    return (moments[:, None] * views + torch.arange(views)).flatten()


def load_cached(
    directories: Sequence[Path], template: HandTemplate, limit: int | None, load: Loader, network: LandmarkNetwork
) -> CachedSamples:
    """Return folders' moments (all, or the first ``limit``), computing what is not cached yet.

    HandvizError if they have different numbers of views.
    """
    parts: list[CachedFolder] = []
    count = 0
    for directory in directories:
        if limit is not None and count >= limit:
            break
        parts.append(_folder(directory, template, load((directory,), template, None), network))
        count += len(parts[-1].vertices_cm)
    if not count:
        raise HandvizError(f"{', '.join(map(str, directories))} hold no crops", ErrorCode.EMPTY_INPUT)
    if len({part.views for part in parts}) > 1:
        views = ", ".join(f"{part.directory}: {part.views}" for part in parts)
        raise HandvizError(f"the folders have different numbers of views ({views})", ErrorCode.OPTION_CONFLICT)
    return CachedSamples(tuple(parts), count if limit is None else min(limit, count))


def _files(directory: Path, views: int) -> tuple[Path, Path]:
    return directory / f"sima_maps_{views}.npy", directory / f"sima_labels_{views}.npz"


def _folder(directory: Path, template: HandTemplate, source: Views, network: LandmarkNetwork) -> CachedFolder:
    maps_file, labels_file = _files(directory, source.views)
    if not (maps_file.is_file() and labels_file.is_file()):
        _write(directory, source, network)
    columns = read_arrays(labels_file, "delete it: it is computed again")
    maps = _mapped(maps_file)
    count, names = len(source) * source.views, [item.name for item in fields(Truth) if item.name != "vertices_cm"]
    wanted = {"landmarks": (count, LANDMARK_NUMBERS), "vertices_cm": (len(source), template.vertex_count, 3)}
    shapes = {name: columns[name].shape if name in columns else None for name in wanted}
    if shapes != wanted or maps.shape != (count, *MIDDLE_MAP_SHAPE) or not set(names) <= columns.keys():
        raise _stale(maps_file, labels_file)
    known = {name: torch.from_numpy(columns[name]) for name in names}
    vertices = torch.from_numpy(columns["vertices_cm"])
    found = CachedFolder(directory, maps, columns["landmarks"], vertices, known, source.views)
    _check_fresh(found, source, (maps_file, labels_file))
    return found


def _check_fresh(found: CachedFolder, source: Views, files: tuple[Path, Path]) -> None:
    """Raise HandvizError if the first and last moment are others than those that were cached."""
    ids = torch.tensor([0, len(source) - 1])
    _, truth = source.batch(ids)
    _, cached = found.rows(crops_of(ids, source.views))
    same = (torch.allclose(getattr(truth, name), getattr(cached, name), atol=1e-4, equal_nan=True)
            for name in ("keypoints_crop", "rotation", "vertices_cm"))  # fmt: skip
    if not all(same):
        raise _stale(*files)


def _stale(*files: Path) -> HandvizError:
    names = " and ".join(map(str, files))
    return HandvizError(f"{names} are of other data: delete them, they are computed again", ErrorCode.WRONG_SHAPE)


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise HandvizError(
            f"{path} is damaged ({error}): delete it, it is computed again", ErrorCode.FILE_DAMAGED
        ) from error


def _write(directory: Path, source: Views, network: LandmarkNetwork) -> None:
    """Compute maps and landmarks of a folder's crops, and write them with the truth."""
    maps_file, labels_file = _files(directory, source.views)
    shape = (len(source) * source.views, *MIDDLE_MAP_SHAPE)
    landmarks, truths = [], []
    with atomic_path(maps_file) as part:
        maps = np.lib.format.open_memmap(part, "w+", np.float16, shape)
        chunks = torch.arange(len(source)).split(max(CACHED_CROPS // source.views, 1))
        for ids in tqdm(chunks, desc=f"maps of {directory.name}", unit="batch"):
            images, truth = source.batch(ids)
            inputs = inputs_of_batch(network, images.flatten(0, 1))
            assert inputs.middle_map is not None
            assert inputs.landmarks is not None
            start = int(ids[0]) * source.views
            maps[start : start + len(inputs.landmarks)] = inputs.middle_map.numpy()
            landmarks.append(inputs.landmarks.numpy())
            vertices = truth.vertices_cm[:: source.views]
            truths.append([vertices] + [getattr(truth, item.name) for item in fields(Truth)[1:]])
        maps.flush()
        del maps
    columns = {
        item.name: torch.cat(list(part)).numpy()
        for item, part in zip(fields(Truth), zip(*truths, strict=True), strict=True)
    }
    write_arrays(labels_file, columns | {"landmarks": np.concatenate(landmarks)})


@dataclass(frozen=True, eq=False)
class TeacherFeatures:
    """A teacher's features of cached samples, memory-mapped, by the names of ``Features``."""

    arrays: dict[str, tuple[np.ndarray, ...]]
    """(M, ...) of moments or (M N, ...) of crops for every folder, float16"""
    views: int

    def of_crops(self, ids: Tensor) -> Features:
        """Return the features of crops (K,); those that were not written are empty."""
        empty = torch.empty(0)
        return Features(**{
            name: self._rows(name, ids // self.views if name in OF_MOMENTS else ids) if name in self.arrays else empty
            for name in Features._fields
        })  # fmt: skip

    def _rows(self, name: str, ids: Tensor) -> Tensor:
        parts = self.arrays[name]
        found = np.empty((len(ids), *parts[0].shape[1:]), np.float16)
        numbers, first = ids.numpy(), 0
        for part in parts:
            own = (numbers >= first) & (numbers < first + len(part))
            found[own] = part[numbers[own] - first]
            first += len(part)
        return torch.from_numpy(found).float()


def teacher_features(
    teacher: SimaHand, checkpoint: Path, samples: CachedSamples, names: Sequence[str]
) -> TeacherFeatures:
    """Return a multi-view network's features of samples, written once beside its checkpoint."""
    digest = _digest(teacher)
    arrays: dict[str, tuple[np.ndarray, ...]] = {}
    folder = make_folder(checkpoint.parent / "features")
    for part in samples.parts:
        of_folder = hashlib.sha256(f"{digest} {part.directory.resolve()} {len(part.landmarks)}".encode()).hexdigest()
        paths = {name: folder / f"{of_folder[:16]}_{name}.npy" for name in names}
        missing = {name: path for name, path in paths.items() if not path.is_file()}
        if missing:
            _write_features(teacher, part, missing)
        for name, path in paths.items():
            arrays[name] = (*arrays.get(name, ()), _mapped(path))
    return TeacherFeatures(arrays, samples.views)


def _digest(network: SimaHand) -> str:
    digest = hashlib.sha256(repr(network.config).encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def _write_features(teacher: SimaHand, part: CachedFolder, paths: dict[str, Path]) -> None:
    """Write a teacher's features of a folder, by their names; crops enter as they are, without noise."""
    teacher.eval()
    device, moments = next(teacher.parameters()).device, len(part.vertices_cm)
    with ExitStack() as files:
        unfinished = {name: files.enter_context(atomic_path(path)) for name, path in paths.items()}
        opened: dict[str, np.memmap[Any, Any]] = {}
        chunks = torch.arange(moments).split(max(CACHED_CROPS // part.views, 1))
        for ids in tqdm(chunks, desc="teacher's features", unit="batch"):
            inputs, _ = part.rows(crops_of(ids, part.views))
            features = teacher(of_views(to_device(inputs, device), part.views)).features
            for name, path in unfinished.items():
                found = getattr(features, name).half().cpu().numpy()
                each = 1 if name in OF_MOMENTS else part.views
                if name not in opened:
                    shape = (moments * each, *found.shape[1:])
                    opened[name] = np.lib.format.open_memmap(path, "w+", np.float16, shape)
                start = int(ids[0]) * each
                opened[name][start : start + len(found)] = found
        for name in unfinished:
            opened.pop(name).flush()
