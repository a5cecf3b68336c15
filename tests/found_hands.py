"""Made-up hands as the fit of the posterior's errors finds them, whose errors are known."""

import numpy as np

from handviz.core.geometry import apply_affine, invert_affine, rotation_from_axis_angle
from handviz.core.records import CROP_SIZE, Detection, HandCrop, Intrinsics, NetworkOutput
from handviz.detection.crop import CropView, as_the_detector_marks_them, crop_from_image_affine
from handviz.evaluation.posterior_fit import FoundHand, followers
from handviz.hand_models.open_hand import load_open_hand

CAMERA = Intrinsics(600.0, 320.0, 240.0)


def made_up_hand(random: np.random.Generator) -> FoundHand:
    """Return a hand whose network errs by 4 mm, world landmarks by 8 mm and 2D landmarks by 0.03 half-sides."""
    template = load_open_hand()
    wrist_m = np.array([0.02, 0.05, 0.45]) + random.normal(0, 0.02, 3)
    turn = rotation_from_axis_angle(random.normal(0, 0.5, 3))
    true_m = template.vertices_m - template.keypoint_regressor[0] @ template.vertices_m
    keypoints_m = template.keypoint_regressor @ true_m
    marked_m = as_the_detector_marks_them(keypoints_m) @ turn.T
    affine = crop_from_image_affine(CAMERA.project(marked_m + wrist_m), "right")
    view = CropView(affine, CAMERA)
    marks = view.in_crop(marked_m + wrist_m) + random.normal(0, 0.03, (21, 2))
    pixels = apply_affine(invert_affine(affine), (marks + 1) * CROP_SIZE / 2)
    crop = HandCrop(np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8), affine, Detection("right", 1.0, pixels))
    moved = random.normal(0, 0.004, (21, 3))
    spread = random.uniform(0.9, 1.1, 21)[:, None] * np.ones(3)
    rotation = view.camera_from_crop.T @ rotation_from_axis_angle(random.normal(0, 0.1, 3)) @ turn
    hand = NetworkOutput(
        vertices_m=true_m + followers() @ (moved - moved[0]),
        keypoints_m=keypoints_m + moved - moved[0],
        keypoint_std_m=0.004 * spread,
        vertex_std_m=0.004 * random.uniform(0.9, 1.1, true_m.shape),
        rotation=rotation,
        scale=float(600 * 2 / (wrist_m[2] * np.ptp(pixels, axis=0).max() * 1.8)),
        translation=marks[0],
        landmarks_m=(marked_m + random.normal(0, 0.008, (21, 3))) @ view.camera_from_crop,
        presence=1.0,
    )
    return FoundHand(hand, crop, CAMERA, true_m, turn, wrist_m)


def made_up_hands(count: int) -> list[FoundHand]:
    """Return as many of them, always the same."""
    random = np.random.default_rng(5)
    return [made_up_hand(random) for _ in range(count)]
