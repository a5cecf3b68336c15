"""Rendered folders and downloaded datasets as one set of samples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from handviz.core.errors import HandvizError
from handviz.data.datasets.registry import is_dataset_spec, open_dataset
from handviz.data.datasets.usable_pictures import BadPictures, UsablePictures
from handviz.hand_models.template import HandTemplate
from handviz.models.amvur.losses import Truth
from handviz.training.dataset_samples import DatasetSamples, Drawing, joined_truths
from handviz.training.samples import PictureSamples, Samples, load_pictures, take


@dataclass(frozen=True, eq=False)
class JoinedSamples:
    """One part after the other."""

    parts: tuple[DatasetSamples | PictureSamples, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @property
    def truth(self) -> Truth:
        """Of all samples."""
        return joined_truths([part.truth for part in self.parts])

    def at_step(self, step: int) -> "JoinedSamples":
        """The same samples as a step of training sees them."""
        return replace(self, parts=tuple(_part_at_step(part, step) for part in self.parts))

    def batch(self, ids: Tensor) -> tuple[Tensor, Truth]:
        """Pictures (B, 3, 224, 224) in [0, 1], and their truth, in the order of ``ids``."""
        places, pictures, truths, first = [], [], [], 0
        for part in self.parts:
            own = torch.nonzero((ids >= first) & (ids < first + len(part)))[:, 0]
            if len(own):
                given, truth = part.batch(ids[own] - first)
                places.append(own)
                pictures.append(given)
                truths.append(truth)
            first += len(part)
        order = torch.argsort(torch.cat(places))
        # Channels last, as picture_batch has it.
        given = torch.cat(pictures)[order].contiguous(memory_format=torch.channels_last)
        return given, take(joined_truths(truths), order)


def _part_at_step(part: DatasetSamples | PictureSamples, step: int) -> DatasetSamples | PictureSamples:
    return part.at_step(step) if isinstance(part, DatasetSamples) else part


def at_step(samples: Samples, step: int) -> Samples:
    """The samples as a step of training sees them: only crops of datasets are drawn anew."""
    return samples.at_step(step) if isinstance(samples, DatasetSamples | JoinedSamples) else samples


def load_samples(
    sources: Sequence[Path | str],
    template: HandTemplate,
    limit: int | None,
    drawing: Drawing,
    *,
    bad_pictures: BadPictures = "stop",
) -> Samples:
    """Pictures of rendered folders and of datasets, all or the first ``limit``."""
    parts: list[DatasetSamples | PictureSamples] = []
    for is_spec, group in groupby(sources, is_dataset_spec):
        for some in [[source] for source in group] if is_spec else [list(group)]:
            left = None if limit is None else limit - sum(map(len, parts))
            if left == 0:
                break
            if is_spec:
                parts.append(load_dataset(some[0], template, left, drawing, bad_pictures=bad_pictures))
            else:
                parts.append(load_pictures([Path(folder) for folder in some], template, left))
    return parts[0] if len(parts) == 1 else JoinedSamples(tuple(parts))


def load_dataset(
    spec: Path | str, template: HandTemplate, limit: int | None, drawing: Drawing, *, bad_pictures: BadPictures = "stop"
) -> DatasetSamples:
    """The hands of a split: the first ``limit`` to train on, as many from all over it to watch or evaluate."""
    # Batches have threads of their own.
    cv2.setNumThreads(1)
    dataset = open_dataset(spec)
    count = len(dataset) if limit is None else min(limit, len(dataset))
    if count == 0:
        raise HandvizError(f"{spec} holds no hand that can be used: python -m handviz doctor --dataset {dataset.name}")
    spread = np.arange(count) if drawing.seed is not None else np.linspace(0, len(dataset) - 1, count).astype(np.intp)
    return DatasetSamples(UsablePictures(dataset, bad_pictures), template, spread, drawing)


def rendered_folders(sources: Sequence[Path | str]) -> tuple[Path, ...]:
    """The sources as folders of rendered hands; HandvizError if one is a dataset."""
    for source in sources:
        if is_dataset_spec(source):
            raise HandvizError(f"{source} is not cached: add --end-to-end, which trains on the pictures themselves")
    return tuple(Path(source) for source in sources)
