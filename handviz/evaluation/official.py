"""Evaluates any predictor on any dataset by its own protocol, with intervals, curves, uncertainty and jitter."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from tqdm import tqdm

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import FloatArray
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.data.datasets.annotated import HandDataset
from handviz.data.datasets.images import BadImages, UsableImages
from handviz.evaluation.card import uncertainty_figures
from handviz.evaluation.definitions import (
    CameraPoints,
    Measures,
    Scores,
    acceleration_errors_mm,
    joined,
    mean_intervals,
    score,
)
from handviz.evaluation.evaluate import Predictor
from handviz.evaluation.predictions import (
    Finder,
    Prediction,
    canonical_offsets_m,
    has_true_vertices,
    predictions,
    true_crop,
)
from handviz.evaluation.protocols import clip_of, frame_of, protocol_of, sequence_of
from handviz.hand_models.template import HandTemplate

CHUNK = 64
MAX_UNCERTAINTY_HANDS = 2000
"""Hands, uniformly spaced, whose vertices' uncertainty is evaluated: rank correlations need all of them at once."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A predictor's results on a split."""

    dataset: str
    split: str
    hand_model: str
    total: int
    """requested samples with 3D truth whose images could be read"""
    names: tuple[str, ...]
    """(N,) of the samples that were found"""
    handedness: tuple[str, ...]
    scores: Scores
    intervals: dict[str, tuple[float, float]]
    """of the means of ``scores.columns``, 95 %"""
    sequences: int
    """number of sequences that the intervals draw from; N where every sample is its own"""
    std: dict[str, dict[str, float]]
    """``card.uncertainty_figures`` of keypoints, and of vertices where they are compared"""
    mean_std_mm: dict[str, FloatArray]
    """(N,) mean standard deviation of each sample's keypoints and vertices"""
    acceleration_mm: dict[str, FloatArray]
    """(M,) acceleration errors in mm per frame^2 of three neighbouring frames, absolute and relative to the wrist"""
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Options:
    """Options of an evaluation."""

    count: int | None = None
    """samples, uniformly spaced; None: all"""
    find: Finder = true_crop
    """where crops are cut"""
    watch: Callable[[Sequence[Prediction]], object] = len
    """receives every prediction, in order"""
    bad_images: BadImages = "stop"
    """handling of images that cannot be read"""


DEFAULTS = Options()


def evaluate(
    dataset: HandDataset, predict: Predictor, template: HandTemplate, options: Options = DEFAULTS
) -> Evaluation:
    """Evaluate a predictor whose hand model is ``template``.

    HandvizError if nothing can be compared, or if an output is not finite.
    """
    indices = with_truth(dataset, options.count)
    has_mesh = all(has_true_vertices(dataset.hand(index), template) for index in indices)
    collected = _Collected(has_mesh, len(indices), protocol_of(dataset.name).measures)
    images = UsableImages(dataset, options.bad_images)
    with tqdm(total=len(indices), unit="hand", leave=False) as bar:
        for start in range(0, len(indices), CHUNK):
            chosen = indices[start : start + CHUNK]
            found = list(predictions(images, chosen, predict, template, find=options.find))
            collected.add(found)
            options.watch(found)
            bar.update(len(chosen))
    evaluation = collected.evaluation(dataset, template)
    warnings = (*evaluation.warnings, *images.warnings)
    return replace(evaluation, total=evaluation.total - len(images.bad), warnings=warnings)


def with_truth(dataset: HandDataset, count: int | None = None) -> list[int]:
    """Return the samples with 3D keypoints, ``count`` of them uniformly spaced; HandvizError if there are none."""
    found = [index for index in range(len(dataset)) if dataset.hand(index).keypoints_m is not None]
    if not found:
        raise HandvizError(
            f"{dataset.name}/{dataset.split} has no 3D truth in this download, so nothing can be compared: "
            "write a --submission for its server, or take a split with truth",
            ErrorCode.NOT_PROVIDED,
        )
    if count is None or count >= len(found):
        return found
    return [found[index] for index in np.linspace(0, len(found) - 1, count).round().astype(int)]


class _Collected:
    """The parts of predictions that are needed after they are scored."""

    def __init__(self, has_mesh: bool, expected: int, measures: Measures) -> None:
        self._measures = measures
        self._has_mesh, self._every = has_mesh, max(1, -(-expected // MAX_UNCERTAINTY_HANDS))
        self._expected, self._parts = expected, list[Scores]()
        self._names, self._handedness = list[str](), list[str]()
        self._keypoints, self._true_keypoints = list[FloatArray](), list[FloatArray]()
        self._offsets: dict[str, list[FloatArray]] = {"keypoints": [], "vertices": []}
        self._stds: dict[str, list[FloatArray]] = {"keypoints": [], "vertices": []}
        self._mean_std: dict[str, list[float]] = {"keypoints": [], "vertices": []}

    def add(self, found: Sequence[Prediction]) -> None:
        if not found:
            return
        points = camera_points(found, has_mesh=self._has_mesh)
        self._parts.append(score(points, self._measures))
        self._keypoints += list(points.keypoints_m)
        self._true_keypoints += list(points.true_keypoints_m)
        for one in found:
            if len(self._names) % self._every == 0:
                self._add_uncertainty(one)
            self._names.append(one.hand.name)
            self._handedness.append(one.hand.handedness)
            for kind, std in (("keypoints", one.canonical.keypoint_std_m), ("vertices", one.canonical.vertex_std_m)):
                mean_m = math.nan if std is None else float(np.linalg.norm(std, axis=1).mean())
                self._mean_std[kind].append(mean_m * MILLIMETRES_PER_METRE)

    def _add_uncertainty(self, one: Prediction) -> None:
        hand, predicted = one.hand, one.canonical
        assert hand.keypoints_m is not None
        if predicted.keypoint_std_m is None or predicted.vertex_std_m is None:
            return
        wrists, is_left = (predicted.keypoints_m[0], hand.keypoints_m[0]), hand.handedness == "left"
        offsets = canonical_offsets_m(predicted.keypoints_m, hand.keypoints_m, wrists, is_left=is_left)
        # The wrist is the origin of both.
        self._store("keypoints", offsets[1:], predicted.keypoint_std_m[1:])
        if self._has_mesh and one.true_vertices_m is not None:
            offsets = canonical_offsets_m(predicted.vertices_m, one.true_vertices_m, wrists, is_left=is_left)
            self._store("vertices", offsets, predicted.vertex_std_m)

    def _store(self, kind: str, offsets_m: FloatArray, std_m: FloatArray) -> None:
        self._offsets[kind].append(offsets_m.astype(np.float32))
        self._stds[kind].append(std_m.astype(np.float32))

    def evaluation(self, dataset: HandDataset, template: HandTemplate) -> Evaluation:
        if not self._parts:
            raise HandvizError(
                f"not one of {self._expected} hands of {dataset.name}/{dataset.split} was found", ErrorCode.NO_HANDS
            )
        scores, protocol = joined(self._parts), protocol_of(dataset.name)
        sequences = [sequence_of(name, protocol) for name in self._names]
        ends = mean_intervals(np.stack(list(scores.columns.values()), axis=1), sequences)
        keypoints, truth = np.stack(self._keypoints), np.stack(self._true_keypoints)
        return Evaluation(
            dataset=dataset.name,
            split=dataset.split,
            hand_model=template.name,
            total=self._expected,
            names=tuple(self._names),
            handedness=tuple(self._handedness),
            scores=scores,
            intervals={name: (float(low), float(high)) for name, low, high in zip(scores.columns, *ends, strict=True)},
            sequences=len(set(sequences)),
            std={
                kind: uncertainty_figures(np.stack(offsets), np.stack(self._stds[kind]))
                for kind, offsets in self._offsets.items()
                if offsets
            },
            mean_std_mm={kind: np.array(values) for kind, values in self._mean_std.items()},
            acceleration_mm=accelerations(self._names, self._handedness, keypoints, truth),
            warnings=tuple(dataset.warnings),
        )


def camera_points(found: Sequence[Prediction], *, has_mesh: bool) -> CameraPoints:
    """Stack predictions and truth."""
    return CameraPoints(
        keypoints_m=np.stack([one.keypoints_m for one in found]),
        true_keypoints_m=np.stack([np.asarray(one.hand.keypoints_m, np.float64) for one in found]),
        vertices_m=np.stack([one.vertices_m for one in found]) if has_mesh else None,
        true_vertices_m=np.stack([np.asarray(one.true_vertices_m) for one in found]) if has_mesh else None,
    )


def accelerations(
    names: Sequence[str], handedness: Sequence[str], keypoints_m: FloatArray, truth_m: FloatArray
) -> dict[str, FloatArray]:
    """Return acceleration errors (M,), ``absolute`` and ``root``, of keypoints (N, 21, 3) at every frame with both its
    neighbours in its clip; M may be 0."""
    positions = [(clip_of(name), side, frame_of(name)) for name, side in zip(names, handedness, strict=True)]
    known = [row for row, (_, _, frame) in enumerate(positions) if frame is not None]
    order = sorted(known, key=lambda row: positions[row])
    # Frames that count up one by one keep their distance to a counter.
    runs = groupby(enumerate(order), key=lambda at: (*positions[at[1]][:2], (positions[at[1]][2] or 0) - at[0]))
    found: dict[str, list[FloatArray]] = {"absolute": [], "root": []}
    for _, run in runs:
        rows = [row for _, row in run]
        if len(rows) > 2:
            track, truth = keypoints_m[rows], truth_m[rows]
            found["absolute"].append(acceleration_errors_mm(track, truth))
            found["root"].append(acceleration_errors_mm(track - track[:, :1], truth - truth[:, :1]))
    return {name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in found.items()}
