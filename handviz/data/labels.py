"""Labels of a crop whose hand has a known position: one computation for rendered and photographed hands."""

from dataclasses import dataclass

import numpy as np

from handviz.core.geometry import apply_affine, project_points
from handviz.core.records import CROP_SIZE, FloatArray, Intrinsics
from handviz.detection.crop import camera_from_crop


@dataclass(frozen=True, eq=False)
class PlacedHand:
    """The right hand that networks learn, with its rotation and position in the camera's frame."""

    keypoints_m: FloatArray
    """(21, 3) canonical, wrist joint at the origin"""
    camera_from_wrist: FloatArray
    """(3, 3) canonical axes -> the camera's; a rotation, after a mirror in x where the true hand is a left"""
    wrist_camera_m: FloatArray
    """(3,) wrist joint in the camera's frame"""


def weak_perspective(points_m: FloatArray, rotation: FloatArray, in_crop: FloatArray) -> tuple[float, FloatArray]:
    """Return scale and translation (2,) that best map rotated points (21, 3) to crop points (21, 2) in [-1, 1]."""
    flat = (points_m @ rotation.T)[:, :2]
    flat_mean, crop_mean = flat.mean(0), in_crop.mean(0)
    centred = flat - flat_mean
    scale = float((centred * (in_crop - crop_mean)).sum() / max((centred**2).sum(), 1e-12))
    return scale, crop_mean - scale * flat_mean


def points_in_crop(points_px: FloatArray, crop_from_image: FloatArray) -> FloatArray:
    """Map points (..., 2) of the image to the crop's [-1, 1], x right, y down."""
    return apply_affine(crop_from_image, points_px) / (CROP_SIZE / 2) - 1


def view_labels(intrinsics: Intrinsics, crop_from_image: FloatArray) -> dict[str, FloatArray]:
    """Return the labels of camera and crop alone."""
    return {"camera_matrix": intrinsics.matrix, "crop_from_image": crop_from_image}


def placed_labels(hand: PlacedHand, intrinsics: Intrinsics, crop_from_image: FloatArray) -> dict[str, FloatArray]:
    """Return every label but pose, shape and hidden_share (see generator.LABELS).

    Crops of left hands are mirrored, and so is ``camera_from_wrist``: ``rotation`` is a rotation for either hand.
    """
    rotation = camera_from_crop(crop_from_image, intrinsics).T @ hand.camera_from_wrist
    in_camera = hand.keypoints_m @ hand.camera_from_wrist.T + hand.wrist_camera_m
    in_crop = points_in_crop(project_points(in_camera, intrinsics), crop_from_image)
    scale, translation = weak_perspective(hand.keypoints_m, rotation, in_crop)
    return view_labels(intrinsics, crop_from_image) | {
        "rotation": rotation,
        "scale": np.array(scale),
        "translation": translation,
        "keypoints_crop": in_crop,
        "camera_from_wrist": hand.camera_from_wrist,
        "wrist_camera_m": hand.wrist_camera_m,
    }
