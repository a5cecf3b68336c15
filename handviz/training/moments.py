"""Moments as samples: hands that several calibrated cameras see at once, rendered or of HanCo and DexYCB.

All views of a moment are loaded together, moment after moment; ``samples`` has the same crops one by one.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import read_arrays
from handviz.data.datasets.annotated import MultiViewDataset
from handviz.data.datasets.cut import labels
from handviz.data.datasets.images import UsableImages
from handviz.data.datasets.registry import is_dataset_spec, open_dataset
from handviz.data.synthetic.dataset import REMEDY, shard_numbers
from handviz.data.synthetic.generator import MOMENT_LABELS, labels_file, read_manifest
from handviz.hand_models.template import HandTemplate
from handviz.models.truth import Truth
from handviz.training.dataset_samples import DatasetSamples, Drawing, joined_truths, posed_vertices
from handviz.training.samples import ImageSamples, Samples, load_images, take

logger = logging.getLogger(__name__)
LEAST_VIEWS = 2


class Cameras(NamedTuple):
    """Cameras of B moments of N views; those of left hands look into a mirror in x of the wrist frame."""

    camera_from_wrist: Tensor
    """(B, N, 3, 3) rotations from the wrist frame, which all views of a moment share; nan where it is unknown"""
    wrist_camera_m: Tensor
    """(B, N, 3) the wrist in the camera's frame; nan where it is unknown"""
    camera_matrix: Tensor
    """(B, N, 3, 3) K, pixels of the image"""
    crop_from_image: Tensor
    """(B, N, 2, 3) affines, pixels"""


CAMERA_SHAPES = {
    "camera_from_wrist": (3, 3),
    "wrist_camera_m": (3,),
    "camera_matrix": (3, 3),
    "crop_from_image": (2, 3),
}


class Moments(Protocol):
    """Moments in memory; every view is of the same hand in the same pose."""

    @property
    def views(self) -> int:
        """N, the same of all moments."""
        ...

    @property
    def samples(self) -> Samples:
        """The crops one by one: view v of moment m is sample m * views + v."""
        ...

    def __len__(self) -> int: ...

    def batch(self, ids: Tensor) -> tuple[Tensor, Truth]:
        """Return images (B, N, 3, 224, 224) in [0, 1] of some moments, and the truth of the B * N crops in order."""
        ...

    def hidden_share(self, ids: Tensor) -> Tensor:
        """Return the fraction (B, N) of the hand that things hide from each view; nan where it is unknown."""
        ...

    def cameras(self, ids: Tensor) -> Cameras:
        """Return the cameras of the crops that ``batch`` gives."""
        ...


def relative_cameras(cameras: Cameras) -> Tensor:
    """Return the transforms (B, N, N, 4, 4), metres: [b, i, j] from the frame of camera j to that of camera i."""
    rotation, position = cameras.camera_from_wrist, cameras.wrist_camera_m
    batch, views = position.shape[:2]
    transforms = torch.zeros((batch, views, 4, 4), dtype=rotation.dtype)
    transforms[..., :3, :3], transforms[..., :3, 3], transforms[..., 3, 3] = rotation, position, 1
    return transforms[:, :, None] @ torch.linalg.inv(transforms)[:, None]


def rows_of(ids: Tensor, views: int) -> Tensor:
    """Return the samples (B * N,) of moments (B,), moment after moment."""
    return (ids[:, None] * views + torch.arange(views)).flatten()


@dataclass(frozen=True, eq=False)
class RenderedMoments:
    """Folders of ``synthesize --views`` in memory; see ``Moments``."""

    samples: ImageSamples
    views: int
    hidden: Tensor
    """(M, N)"""
    rig: Cameras
    """of all moments"""

    def __len__(self) -> int:
        return len(self.hidden)

    def batch(self, ids: Tensor) -> tuple[Tensor, Truth]:
        """Return images (B, N, 3, 224, 224) in [0, 1] of some moments, and the truth of the B * N crops in order."""
        return _batch(self.samples, ids, self.views)

    def hidden_share(self, ids: Tensor) -> Tensor:
        """Return the fraction (B, N) of the hand that things hide from each view."""
        return self.hidden[ids]

    def cameras(self, ids: Tensor) -> Cameras:
        """Return the cameras of the crops that ``batch`` gives."""
        return Cameras(*(part[ids] for part in self.rig))


@dataclass(frozen=True, eq=False)
class DatasetMoments:
    """Moments of a split of HanCo or DexYCB; see ``Moments``."""

    samples: DatasetSamples
    views: int

    def __len__(self) -> int:
        return len(self.samples) // self.views

    def at_step(self, step: int) -> "DatasetMoments":
        """Return the same moments with the crops of a training step."""
        return replace(self, samples=self.samples.at_step(step))

    def batch(self, ids: Tensor) -> tuple[Tensor, Truth]:
        """Return images (B, N, 3, 224, 224) in [0, 1] of some moments, and the truth of the B * N crops in order.

        HandvizError names an image that cannot be used: another one would be of another moment.
        """
        return _batch(self.samples, ids, self.views)

    def hidden_share(self, ids: Tensor) -> Tensor:
        """Return nan (B, N): no dataset says it."""
        return torch.full((len(ids), self.views), torch.nan)

    def cameras(self, ids: Tensor) -> Cameras:
        """Return the cameras of the crops that ``batch`` gives; nan of rotation and position without MANO's file."""
        template = self.samples.template
        hands, affines = self.samples.hands(self.samples.rows[rows_of(ids, self.views).numpy()])
        known = [
            labels(hand, template, affine, None if np.isnan(vertices).any() else vertices)
            for hand, affine, vertices in zip(hands, affines, posed_vertices(hands, template), strict=True)
        ]
        return _cameras({name: np.stack([row[name] for row in known]) for name in CAMERA_SHAPES}, self.views)

    def camera_from_world(self, ids: Tensor) -> Tensor:
        """Return the transforms (B, N, 4, 4) from the dataset's world to the true cameras, metres."""
        dataset = self.samples.dataset
        assert isinstance(dataset, MultiViewDataset)
        rows = self.samples.rows[rows_of(ids, self.views).numpy()]
        found = np.stack([dataset.camera_from_world(int(row)) for row in rows])
        return torch.from_numpy(found).reshape(len(ids), self.views, 4, 4)


def _batch(samples: ImageSamples | DatasetSamples, ids: Tensor, views: int) -> tuple[Tensor, Truth]:
    images, truth = samples.batch(rows_of(ids, views))
    return images.unflatten(0, (len(ids), views)), truth


def _cameras(columns: dict[str, np.ndarray], views: int) -> Cameras:
    parts = {name: torch.from_numpy(columns[name]).float() for name in CAMERA_SHAPES}
    return Cameras(**{name: part.reshape(-1, views, *CAMERA_SHAPES[name]) for name, part in parts.items()})


def load_moments(
    sources: Sequence[Path | str],
    template: HandTemplate,
    limit: int | None = None,
    *,
    views: int | None = None,
    drawing: Drawing | None = None,
) -> RenderedMoments | DatasetMoments:
    """Load the moments of folders of ``synthesize --views``, or of one split of HanCo or DexYCB.

    ``limit`` moments at most; the first ``views`` of each, or all that the first folder has or most of the split's
    moments have. ``drawing`` as of ``load_samples``, for datasets. Raises HandvizError for single crops, and for fewer
    views than are asked for.
    """
    if (views is not None and views < LEAST_VIEWS) or (limit is not None and limit < 1):
        raise HandvizError(
            f"{limit} moments of {views} views are asked for: the least is one, of {LEAST_VIEWS}", ErrorCode.BAD_VALUE
        )
    specs = [source for source in sources if is_dataset_spec(source)]
    if not sources or (specs and len(sources) > 1):
        raise HandvizError(
            "moments are those of rendered folders, or of one dataset: give either", ErrorCode.OPTION_CONFLICT
        )
    if specs:
        return _of_dataset(specs[0], template, limit, views, drawing or Drawing())
    parts: list[RenderedMoments] = []
    for source in sources:
        left = None if limit is None else limit - sum(map(len, parts))
        if left == 0:
            break
        wanted = parts[0].views if parts and views is None else views
        parts.append(_of_folder(Path(source), template, left, wanted))
    return parts[0] if len(parts) == 1 else _joined(parts)


def _joined(parts: Sequence[RenderedMoments]) -> RenderedMoments:
    images = [image for part in parts for image in part.samples.images]
    return RenderedMoments(
        samples=ImageSamples(images, joined_truths([part.samples.truth for part in parts])),
        views=parts[0].views,
        hidden=torch.cat([part.hidden for part in parts]),
        rig=Cameras(*(torch.cat(columns) for columns in zip(*(part.rig for part in parts), strict=True))),
    )


# Rendered folders.


def folder_views(directory: Path) -> int:
    """Return the number of views of a rendered folder's moments; 1 where its crops are single."""
    manifest = directory / "manifest.json"
    return read_manifest(manifest).views if manifest.is_file() else 1


def _of_folder(directory: Path, template: HandTemplate, limit: int | None, views: int | None) -> RenderedMoments:
    shards, there = shard_numbers(directory), folder_views(directory)
    wanted = views or there
    if there < max(wanted, LEAST_VIEWS):
        asked = max(wanted, LEAST_VIEWS)
        raise HandvizError(
            f"{directory} holds crops of {there} view{'s' * (there > 1)} a moment, not {asked}: make some with "
            f"'handviz synthesize --views {asked}'",
            ErrorCode.NOT_PROVIDED,
        )
    samples = load_images([directory], template, None if limit is None else limit * there)
    columns = _rig_labels(directory, shards, there, len(samples))
    if wanted < there:
        rows = (np.arange(len(samples)).reshape(-1, there)[:, :wanted]).reshape(-1)
        samples = ImageSamples([samples.images[row] for row in rows], take(samples.truth, torch.from_numpy(rows)))
        columns = {name: values[rows] for name, values in columns.items()}
    hidden = torch.from_numpy(columns["hidden_share"]).float().reshape(-1, wanted)
    return RenderedMoments(samples, wanted, hidden, _cameras(columns, wanted))


def _rig_labels(directory: Path, shards: Sequence[int], views: int, count: int) -> dict[str, np.ndarray]:
    """Return the first ``count`` rows of cameras and hidden fractions; HandvizError for shards of parted moments."""
    parts: list[dict[str, np.ndarray]] = []
    read = 0
    for shard in shards:
        if read >= count:
            break
        path = labels_file(directory, shard)
        found = read_arrays(path, REMEDY, (*MOMENT_LABELS, "hidden_share", *CAMERA_SHAPES))
        if not _is_whole(found["moment"], found["view"], views):
            raise HandvizError(f"{path} does not hold whole moments of {views} views: {REMEDY}", ErrorCode.FILE_DAMAGED)
        parts.append({name: found[name] for name in ("hidden_share", *CAMERA_SHAPES)})
        read += len(found["view"])
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


def _is_whole(moment: NDArray[np.integer], view: NDArray[np.integer], views: int) -> bool:
    """Return whether moments (R,) and views (R,) of a shard's rows are those of whole moments, one after the other."""
    if len(moment) % views or not len(moment):
        return False
    by_moment = moment.reshape(-1, views)
    return bool(
        (view.reshape(-1, views) == np.arange(views)).all()
        and (by_moment == by_moment[:, :1]).all()
        and (np.diff(by_moment[:, 0]) > 0).all()
    )


# Datasets.


def _of_dataset(
    spec: Path | str, template: HandTemplate, limit: int | None, views: int | None, drawing: Drawing
) -> DatasetMoments:
    # Batches have threads of their own.
    cv2.setNumThreads(1)
    dataset = open_dataset(spec)
    if not isinstance(dataset, MultiViewDataset):
        raise HandvizError(
            f"{dataset.name} has no moments that several calibrated cameras saw: hanco and dexycb have",
            ErrorCode.NOT_PROVIDED,
        )
    rows = view_rows(dataset.moments(), views)
    left_out = len(np.unique(dataset.moments())) - len(rows)
    if left_out:
        logger.warning(
            "%d of %d moments of %s are left out: fewer than %d cameras saw their hand",
            *(left_out, left_out + len(rows), spec, rows.shape[1]),
        )
    if not len(rows) or rows.shape[1] < LEAST_VIEWS:
        raise HandvizError(
            f"{spec} has no moment that {views or LEAST_VIEWS} cameras saw: choose another split, or fewer views",
            ErrorCode.NOT_PROVIDED,
        )
    count = len(rows) if limit is None else min(limit, len(rows))
    spread = np.arange(count) if drawing.seed is not None else np.linspace(0, len(rows) - 1, count).astype(np.intp)
    samples = DatasetSamples(UsableImages(dataset), template, rows[spread].reshape(-1), drawing)
    return DatasetMoments(samples, rows.shape[1])


def view_rows(moments: NDArray[np.intp], views: int | None = None) -> NDArray[np.intp]:
    """Return the first N samples (M, N) of each moment that has so many; ``moments`` (S,) as a dataset gives them.

    Without ``views``, N is what most moments have, the larger number if two are as frequent.
    """
    _, counts = np.unique(moments, return_counts=True)
    if not len(counts):
        return np.zeros((0, views or LEAST_VIEWS), np.intp)
    frequent = np.bincount(counts)
    wanted = len(frequent) - 1 - int(np.argmax(frequent[::-1])) if views is None else views
    order = np.argsort(moments, kind="stable")
    starts = np.cumsum(counts) - counts
    return np.asarray(order[starts[counts >= wanted][:, None] + np.arange(wanted)], np.intp)
