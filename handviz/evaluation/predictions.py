"""A dataset's samples -> a network's predictions in the dataset's own camera, with its handedness and fingertips."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Detection, FloatArray, HandCrop, NetworkOutput, PlacedHand
from handviz.data.datasets.annotated import AnnotatedHand
from handviz.data.datasets.images import UsableImages
from handviz.data.datasets.posing import placed_vertices_m
from handviz.detection.crop import crop_hand, hand_mesh_from_crop
from handviz.evaluation.evaluate import BATCH, Predictor
from handviz.evaluation.protocols import protocol_of
from handviz.hand_models.mano.parameters import MIRROR
from handviz.hand_models.template import HandTemplate

TIPS = (4, 8, 12, 16, 20)
MANO = "mano"
"""The name of templates whose vertices are those of the datasets."""
Finder = Callable[[AnnotatedHand, NDArray[np.uint8]], Detection | None]
"""An annotated hand and its image -> its detection, or None."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """A network's prediction for one sample, and the sample."""

    hand: AnnotatedHand
    index: int
    """of the sample in its dataset"""
    canonical: NetworkOutput
    keypoints_m: FloatArray
    """(21, 3) in the image's camera, fingertips where the dataset has them, left hands as they are"""
    vertices_m: FloatArray
    """(V, 3) likewise, of the network's own hand model"""
    true_vertices_m: FloatArray | None
    """(778, 3) likewise; None if the hand model is not MANO, or they are unknown"""


def true_crop(hand: AnnotatedHand, _: NDArray[np.uint8]) -> Detection:
    """Return the annotated keypoints as a detection, as the field does."""
    return Detection(hand.handedness, 1.0, hand.keypoints_px)


def has_true_vertices(hand: AnnotatedHand, template: HandTemplate) -> bool:
    """Return whether vertices of this hand model can be compared: they are given, or MANO's parameters are."""
    return template.name == MANO and (hand.vertices_m is not None or hand.mano is not None)


def true_vertices_m(hand: AnnotatedHand, template: HandTemplate) -> FloatArray | None:
    """Return vertices (778, 3) in the camera frame, the dataset's or posed by its parameters with the user's MANO."""
    if not has_true_vertices(hand, template):
        return None
    return placed_vertices_m(hand, template) if hand.vertices_m is None else np.asarray(hand.vertices_m, np.float64)


def predictions(
    images: UsableImages, indices: Sequence[int], predict: Predictor, template: HandTemplate, *, find: Finder
) -> Iterator[Prediction]:
    """Predict every detected sample, in order, by a network whose hand model is ``template``.

    HandvizError for an output that is not finite, and for images that cannot be read and are not left out.
    """
    dataset = images.dataset
    left_tips = protocol_of(dataset.name).left_tip_vertices or dataset.tip_vertices
    for start in range(0, len(indices), BATCH):
        chosen, hands, crops = [], [], []
        for index in indices[start : start + BATCH]:
            hand, image = dataset.hand(index), images.read(index)
            detection = None if image is None else find(hand, image)
            if image is not None and detection is not None:
                chosen.append(index)
                hands.append(hand)
                crops.append(crop_hand(image, detection))
        outputs = predict(np.stack([_as_bytes(crop) for crop in crops])) if crops else []
        for index, hand, crop, output in zip(chosen, hands, crops, outputs, strict=True):
            tips = left_tips if hand.handedness == "left" else dataset.tip_vertices
            keypoints_m, vertices_m = _in_camera(hand, crop, output, tips if template.name == MANO else None)
            yield Prediction(hand, index, output, keypoints_m, vertices_m, true_vertices_m(hand, template))


def _as_bytes(crop: HandCrop) -> NDArray[np.uint8]:
    return crop.image


def _in_camera(
    hand: AnnotatedHand, crop: HandCrop, output: NetworkOutput, tips: Sequence[int] | None
) -> tuple[FloatArray, FloatArray]:
    """Return keypoints and vertices in the camera; ``tips``: vertices of the fingertips, None: the network's own."""
    parts = (output.vertices_m, output.keypoints_m, output.rotation, output.vertex_std_m, output.keypoint_std_m)
    if not all(part is None or np.isfinite(part).all() for part in parts):
        raise HandvizError(
            f"the network's output for {hand.name} is not finite: train it again, or with a lower rate",
            ErrorCode.NOT_FINITE,
        )
    mesh = hand_mesh_from_crop(PlacedHand(output), crop, intrinsics=hand.intrinsics, model="final")
    keypoints_m, vertices_m = (
        points.astype(np.float64) + mesh.wrist_camera_m for points in (mesh.keypoints_m, mesh.vertices_m)
    )
    if tips is not None:
        keypoints_m[list(TIPS)] = vertices_m[list(tips)]
    return keypoints_m, vertices_m


def canonical_offsets_m(
    answer_m: FloatArray, truth_m: FloatArray, wrists_m: tuple[FloatArray, FloatArray], *, is_left: bool
) -> FloatArray:
    """Return canonical prediction minus truth (K, 3), wrist on wrist, the truth rotated by the best fit.

    Points (K, 3): ``answer_m`` canonical, ``truth_m`` in the camera; their wrists beside them. Datasets do not define
    the network's canonical frame, so the best-fitting rotation stands for the true one: no scale, no mirror.
    """
    output, truth = answer_m - wrists_m[0], (truth_m - wrists_m[1]) * (MIRROR if is_left else 1.0)
    left, _, right = np.linalg.svd(output.T.astype(np.float64) @ truth)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    return np.asarray(output - truth @ ((left * sign) @ right).T)
