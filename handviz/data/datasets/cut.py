"""Crops and labels of a dataset's hands, in the form of rendered samples.

Left hands are mirrored by ``detection/crop.py``, so that all labels are those of a right hand; ``crop_from_image`` and
``camera_from_wrist`` contain the mirror and refer to the true image and the true camera.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import rotation_from_axis_angle
from handviz.core.records import FloatArray
from handviz.data.datasets.annotated import AnnotatedHand
from handviz.data.datasets.posing import placed_wrist_m
from handviz.data.labels import PlacedHand, placed_labels, points_in_crop, view_labels
from handviz.data.synthetic.viewpoint import CropJitter
from handviz.detection.crop import crop_from_image_affine, cut_out
from handviz.hand_models.mano.parameters import MIRROR, posed, template_pose, template_shape
from handviz.hand_models.template import POSE_SIZE, SHAPE_SIZE, HandTemplate

MANO = "mano"
"""Name of the templates to which MANO's pose and shape apply."""


class CutHand(NamedTuple):
    """Crop and labels of a photographed hand, as a rendered sample has them."""

    labels: dict[str, FloatArray]
    """arrays named in generator.LABELS; nan where the dataset lacks them"""
    image: NDArray[np.uint8]
    """(224, 224, 3) RGB"""


def crop_affine(hand: AnnotatedHand, jitter: CropJitter | None = None) -> FloatArray:
    """Return the affine (2, 3) from image to crop by the annotated keypoints; ``jitter`` as of a detector's crops."""
    if jitter is None:
        return crop_from_image_affine(hand.keypoints_px, hand.handedness)
    return crop_from_image_affine(
        hand.keypoints_px,
        hand.handedness,
        side_per_extent=jitter.side_per_extent,
        rotation_rad=jitter.rotation_rad,
        shift=jitter.shift,
    )


def pose_and_shape(hand: AnnotatedHand, template: HandTemplate) -> tuple[FloatArray, FloatArray]:
    """Return pose (45,) and shape (10,) of the (mirrored) right hand as the template takes them; nan if unknown."""
    if hand.mano is None or template.name != MANO:
        return np.full(POSE_SIZE, np.nan), np.full(SHAPE_SIZE, np.nan)
    return template_pose(hand.mano, template), template_shape(hand.mano, template)


def canonical_vertices(hand: AnnotatedHand, template: HandTemplate) -> FloatArray | None:
    """Return (V, 3) of the right hand, wrist joint at the origin; None where pose and shape are unknown."""
    pose, shape = pose_and_shape(hand, template)
    return None if np.isnan(pose).any() else np.asarray(posed(template, pose[None], shape[None])[0])


def placed_hand(hand: AnnotatedHand, vertices_m: FloatArray, template: HandTemplate) -> PlacedHand | None:
    """Return canonical vertices (V, 3) placed before the camera; None where the dataset lacks the position.

    The wrist joint follows from the dataset's vertices; where it has none, from its knuckle or its wrist.
    """
    if hand.mano is None:
        return None
    camera_from_wrist = rotation_from_axis_angle(hand.mano.global_rotation)
    if hand.handedness == "left":
        camera_from_wrist = camera_from_wrist @ np.diag(MIRROR)
    if hand.vertices_m is not None:
        wrist_m = hand.vertices_m.mean(axis=0) - vertices_m.mean(axis=0) @ camera_from_wrist.T
    elif hand.mano.knuckle_m is not None or hand.keypoints_m is not None:
        wrist_m = placed_wrist_m(hand, template)
    else:
        return None
    return PlacedHand(template.keypoint_regressor @ vertices_m, camera_from_wrist, np.asarray(wrist_m, np.float64))


def labels(
    hand: AnnotatedHand, template: HandTemplate, crop_from_image: FloatArray, vertices_m: FloatArray | None
) -> dict[str, FloatArray]:
    """Return the labels of a crop; ``vertices_m`` are the hand's ``canonical_vertices``."""
    pose, shape = pose_and_shape(hand, template)
    known = {"pose": pose, "shape": shape, "hidden_share": np.array(np.nan)}
    placed = None if vertices_m is None else placed_hand(hand, vertices_m, template)
    if placed is not None:
        return known | placed_labels(placed, hand.intrinsics, crop_from_image)
    wrist_m = np.full(3, np.nan) if hand.keypoints_m is None else hand.keypoints_m[0]
    return known | {
        "rotation": np.full((3, 3), np.nan),
        "scale": np.array(np.nan),
        "translation": np.full(2, np.nan),
        "keypoints_crop": points_in_crop(hand.keypoints_px, crop_from_image),
        "camera_from_wrist": np.full((3, 3), np.nan),
        "wrist_camera_m": wrist_m,
        **view_labels(hand.intrinsics, crop_from_image),
    }


def cut(
    hand: AnnotatedHand, image: NDArray[np.uint8], template: HandTemplate, jitter: CropJitter | None = None
) -> CutHand:
    """Return crop and labels; ``jitter`` is for training (viewpoint.sample_jitter), None for evaluation.

    ``keypoints_crop`` are the template's keypoints where vertices are known (datasets call other vertices fingertips),
    else the dataset's own.
    """
    affine = crop_affine(hand, jitter)
    return CutHand(labels(hand, template, affine, canonical_vertices(hand, template)), cut_out(image, affine))
