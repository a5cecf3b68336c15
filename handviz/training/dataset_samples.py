"""Downloaded datasets as samples: annotations in memory, images read, decoded and cropped batch by batch in threads.

Random numbers of a crop depend on the seed, the step and the sample alone, so that a resumed run equals an
uninterrupted one to the bit, in one process or in several.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import KEYPOINT_COUNT, FloatArray
from handviz.core.units import CENTIMETRES_PER_METRE
from handviz.data.datasets.annotated import AnnotatedHand, HandDataset
from handviz.data.datasets.cut import crop_affine, labels, pose_and_shape
from handviz.data.datasets.images import BadImages, UsableImages
from handviz.data.datasets.registry import is_dataset_spec, open_dataset
from handviz.data.labels import points_in_crop, weak_perspective
from handviz.data.synthetic.viewpoint import sample_jitter
from handviz.detection.crop import camera_from_crop, cut_out
from handviz.hand_models.layer import HandLayer
from handviz.hand_models.template import HandTemplate
from handviz.models.truth import Truth
from handviz.training.samples import (
    CROP_LABELS,
    DECODERS,
    ImageSamples,
    Samples,
    image_batch,
    load_images,
    take,
    truth_of_vertices,
)

MAX_BAD_IN_A_ROW = 100
LABEL_CHUNK = 512


@dataclass(frozen=True)
class Drawing:
    """Random seed and step of crops, and whether 3D truth is required."""

    seed: int | None = None
    """Of the crop's jitter in training; None: crops of the annotated keypoints, as in evaluation"""
    step: int = 0
    whole_truth: bool = True
    """Whether a sample without 3D truth is refused"""
    joints_suffice: bool = False
    """Whether joints in 3D are truth enough, where a dataset has no mesh"""


@dataclass(frozen=True, eq=False)
class DatasetSamples:
    """Hands of a split."""

    images: UsableImages
    template: HandTemplate
    rows: NDArray[np.intp]
    """(N,) numbers of the hands in the split"""
    drawing: Drawing = Drawing()

    @property
    def dataset(self) -> HandDataset:
        """The split."""
        return self.images.dataset

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def truth(self) -> Truth:
        """Truth of all samples in the crops of their annotated keypoints; ``batch`` has that of the jittered ones."""
        still = replace(self, drawing=replace(self.drawing, seed=None))
        chunks = [self.rows[start : start + LABEL_CHUNK] for start in range(0, len(self), LABEL_CHUNK)]
        return joined_truths([still.truth_of(*still.hands(chunk)) for chunk in chunks])

    def at_step(self, step: int) -> "DatasetSamples":
        """Return the same samples with the crops of a training step."""
        return replace(self, drawing=replace(self.drawing, step=step))

    def batch(self, ids: Tensor) -> tuple[Tensor, Truth]:
        """Return images (B, 3, 224, 224) in [0, 1] and their truth; HandvizError names an image that cannot be used."""
        with ThreadPoolExecutor(DECODERS) as pool:
            found = list(pool.map(self._crop, ids.tolist()))
        crops, hands, affines = zip(*found, strict=True)
        return image_batch(np.stack(crops)), self.truth_of(hands, affines)

    def _crop(self, number: int) -> tuple[np.ndarray, AnnotatedHand, FloatArray]:
        """Return the crop of a sample, or of the next one whose image can be used, its hand and its affine."""
        for tried in range(MAX_BAD_IN_A_ROW):
            other = int(self.rows[(number + tried) % len(self)])
            image = self.images.read(other)
            if image is None:
                continue
            hand = self.dataset.hand(other)
            affine = self._affine(other, hand)
            return cut_out(image, affine), hand, affine
        raise HandvizError(
            f"{MAX_BAD_IN_A_ROW} images in a row cannot be used, the last because {self.images.bad[other]}: "
            f"python -m handviz doctor --dataset {self.dataset.name} lists what is missing",
            ErrorCode.EMPTY_INPUT,
        )

    def _affine(self, row: int, hand: AnnotatedHand) -> FloatArray:
        seed, step = self.drawing.seed, self.drawing.step
        return crop_affine(hand, None if seed is None else sample_jitter(np.random.default_rng([seed, step, row])))

    def hands(self, rows: NDArray[np.intp]) -> tuple[list[AnnotatedHand], list[FloatArray]]:
        """Return annotation and affine (2, 3) of the crop of these hands of the split."""
        hands = [self.dataset.hand(int(row)) for row in rows]
        return hands, [self._affine(int(row), hand) for row, hand in zip(rows, hands, strict=True)]

    def truth_of(self, hands: Sequence[AnnotatedHand], affines: Sequence[FloatArray]) -> Truth:
        """Return the truth of crops with affines (2, 3); HandvizError names a hand that lacks required truth."""
        vertices_m = posed_vertices(hands, self.template)
        rows = [
            labels(hand, self.template, affine, None if np.isnan(vertices).any() else vertices)
            for hand, affine, vertices in zip(hands, affines, vertices_m, strict=True)
        ]
        if self.drawing.joints_suffice:
            rows = [
                row | joint_labels(hand, affine) if np.isnan(row["scale"]) and hand.mano is None else row
                for hand, affine, row in zip(hands, affines, rows, strict=True)
            ]
        if self.drawing.whole_truth:
            for hand, row in zip(hands, rows, strict=True):
                if np.isnan(row["scale"]):
                    raise HandvizError(self._lacking(hand), ErrorCode.NOT_PROVIDED)
        columns = {name: np.stack([row[name] for row in rows]) for name in CROP_LABELS}
        joints_cm = np.stack([row.get("joints_m", NO_JOINTS) for row in rows]) * CENTIMETRES_PER_METRE
        truth = truth_of_vertices(vertices_m * CENTIMETRES_PER_METRE, columns)
        return replace(truth, joints_cm=torch.from_numpy(joints_cm).float())

    def _lacking(self, hand: AnnotatedHand) -> str:
        whole = f"{self.dataset.name}/{self.dataset.split}"
        if hand.mano is not None and self.template.name != "mano":
            return f"{whole} has its 3D truth in MANO's numbers: give your MANO_RIGHT.pkl with --hand-model"
        if hand.mano is None and hand.keypoints_m is not None:
            return (
                f"{hand.name} of {whole} has joints in 3D, but neither a mesh nor MANO's numbers, which full "
                "supervision and validation need: train with --supervision weak, on 2D keypoints, and validate on "
                "another dataset"
            )
        return f"{hand.name} of {whole} has no 3D truth: train on 2D keypoints alone, or on another split"


NO_JOINTS = np.full((KEYPOINT_COUNT, 3), np.nan)


def joint_labels(hand: AnnotatedHand, crop_from_image: FloatArray) -> dict[str, FloatArray]:
    """Return what joints in 3D alone say of a crop: themselves, and the camera that maps them to the crop best.

    ``joints_m`` (21, 3) in the crop's axes from the wrist; ``scale`` and ``translation`` by least squares. Nothing of a
    hand without them.
    """
    if hand.keypoints_m is None:
        return {}
    joints_m = (hand.keypoints_m - hand.keypoints_m[0]) @ camera_from_crop(crop_from_image, hand.intrinsics)
    in_crop = points_in_crop(hand.keypoints_px, crop_from_image)
    scale, translation = weak_perspective(joints_m, np.eye(3), in_crop)
    return {"joints_m": joints_m, "scale": np.array(scale), "translation": translation}


@torch.no_grad()
def posed_vertices(hands: Sequence[AnnotatedHand], template: HandTemplate) -> FloatArray:
    """Return canonical vertices (N, V, 3) in metres; nan where pose and shape are unknown."""
    columns = zip(*(pose_and_shape(hand, template) for hand in hands), strict=True)
    pose, shape = (torch.from_numpy(np.stack(column).astype(np.float32)) for column in columns)
    vertices: FloatArray = HandLayer(template)(pose, shape).vertices_m.numpy()
    return vertices.astype(np.float64)


def joined_truths(parts: Sequence[Truth]) -> Truth:
    """Concatenate the rows of several truths."""
    return Truth(*(torch.cat([getattr(part, name) for part in parts]) for name in Truth.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class JoinedSamples:
    """Rendered folders and datasets, one after the other."""

    parts: tuple[DatasetSamples | ImageSamples, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @property
    def truth(self) -> Truth:
        """Truth of all samples."""
        return joined_truths([part.truth for part in self.parts])

    def at_step(self, step: int) -> "JoinedSamples":
        """Return the same samples with the crops of a training step."""
        return replace(self, parts=tuple(_part_at_step(part, step) for part in self.parts))

    def batch(self, ids: Tensor) -> tuple[Tensor, Truth]:
        """Return images (B, 3, 224, 224) in [0, 1] and their truth, in the order of ``ids``."""
        rows, images, truths, first = [], [], [], 0
        for part in self.parts:
            own = torch.nonzero((ids >= first) & (ids < first + len(part)))[:, 0]
            if len(own):
                part_images, truth = part.batch(ids[own] - first)
                rows.append(own)
                images.append(part_images)
                truths.append(truth)
            first += len(part)
        order = torch.argsort(torch.cat(rows))
        # Channels last, as image_batch has it.
        ordered = torch.cat(images)[order].contiguous(memory_format=torch.channels_last)
        return ordered, take(joined_truths(truths), order)


def _part_at_step(part: DatasetSamples | ImageSamples, step: int) -> DatasetSamples | ImageSamples:
    return part.at_step(step) if isinstance(part, DatasetSamples) else part


def at_step(samples: Samples, step: int) -> Samples:
    """Return the samples with the crops of a training step: only crops of datasets change."""
    return samples.at_step(step) if isinstance(samples, DatasetSamples | JoinedSamples) else samples


def load_samples(
    sources: Sequence[Path | str],
    template: HandTemplate,
    limit: int | None,
    drawing: Drawing,
    *,
    bad_images: BadImages = "stop",
) -> Samples:
    """Load images of rendered folders and of datasets, all or the first ``limit``."""
    parts: list[DatasetSamples | ImageSamples] = []
    for is_spec, group in groupby(sources, is_dataset_spec):
        for some in [[source] for source in group] if is_spec else [list(group)]:
            left = None if limit is None else limit - sum(map(len, parts))
            if left == 0:
                break
            if is_spec:
                parts.append(load_dataset(some[0], template, left, drawing, bad_images=bad_images))
            else:
                parts.append(load_images([Path(folder) for folder in some], template, left))
    return parts[0] if len(parts) == 1 else JoinedSamples(tuple(parts))


def load_dataset(
    spec: Path | str, template: HandTemplate, limit: int | None, drawing: Drawing, *, bad_images: BadImages = "stop"
) -> DatasetSamples:
    """Load a split's hands: the first ``limit`` to train on, or as many spread over it to evaluate."""
    # Batches have threads of their own.
    cv2.setNumThreads(1)
    dataset = open_dataset(spec)
    count = len(dataset) if limit is None else min(limit, len(dataset))
    if count == 0:
        raise HandvizError(
            f"{spec} holds no hand that can be used: python -m handviz doctor --dataset {dataset.name}",
            ErrorCode.EMPTY_INPUT,
        )
    spread = np.arange(count) if drawing.seed is not None else np.linspace(0, len(dataset) - 1, count).astype(np.intp)
    return DatasetSamples(UsableImages(dataset, bad_images), template, spread, drawing)


def rendered_folders(sources: Sequence[Path | str]) -> tuple[Path, ...]:
    """Return the sources as folders of rendered hands; HandvizError if one is a dataset."""
    for source in sources:
        if is_dataset_spec(source):
            raise HandvizError(
                f"{source} is not cached: add --end-to-end, which trains on the images themselves",
                ErrorCode.OPTION_CONFLICT,
            )
    return tuple(Path(source) for source in sources)
