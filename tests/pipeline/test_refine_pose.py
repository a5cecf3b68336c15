"""Refinement of the pose by MediaPipe's landmarks, in 3D and in 2D."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from handviz.core import metrics
from handviz.core.geometry import apply_affine, invert_affine, rotation_from_axis_angle
from handviz.core.records import CROP_SIZE, Detection, FloatArray, HandCrop, Intrinsics, NetworkOutput, PlacedHand
from handviz.detection.crop import (
    CropView,
    as_the_detector_marks_them,
    camera_from_crop,
    crop_from_image_affine,
    wrist_from_network,
)
from handviz.hand_models.layer import HandLayer
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.skinning import vertices_from_keypoint_displacements
from handviz.pipeline.refinement import (
    DEFAULT_PRIOR,
    FRACTION,
    FRACTION_IN_IMAGE,
    PRESENCE_POWER,
    refine_in_2d,
    refine_in_3d,
)
from tests.tiny_network import constant_hand

TEMPLATE = load_open_hand()
LIFT = vertices_from_keypoint_displacements(TEMPLATE)


def bent(angle: float) -> FloatArray:
    """(V, 3) the hand with every finger joint bent by radians."""
    pose = torch.zeros(1, 15, 3)
    pose[:, 3:, 2] = angle
    with torch.no_grad():
        return HandLayer(TEMPLATE)(pose.flatten(1), torch.zeros(1, 10)).vertices_m[0].double().numpy()


def hand_of(vertices_m: FloatArray, landmark_vertices_m: FloatArray, presence: float = 1.0) -> NetworkOutput:
    """Return a network's hand with the world landmarks of a hand of vertices ``landmark_vertices_m`` (V, 3)."""
    fields = constant_hand()
    keypoints = TEMPLATE.keypoint_regressor @ vertices_m
    rotation = rotation_from_axis_angle(np.array([0.4, 1.0, -0.3]))
    marked_m = as_the_detector_marks_them(TEMPLATE.keypoint_regressor @ landmark_vertices_m)
    landmarks_m = 0.8 * marked_m @ rotation.T + [0.1, 0.0, 0.3]
    own = {"vertices_m": vertices_m, "keypoints_m": keypoints, "landmarks_m": landmarks_m, "presence": presence}
    return NetworkOutput(**fields | {"scale": float(fields["scale"])} | own)  # type: ignore[arg-type]


def test_landmarks_that_agree_move_nothing_however_they_are_rotated_and_scaled():
    hand = hand_of(bent(0.3), bent(0.3))
    np.testing.assert_allclose(refine_in_3d(hand, LIFT).vertices_m, hand.vertices_m, atol=1e-6)


def test_the_pose_moves_the_stated_fraction_of_the_way():
    hand, expected = hand_of(bent(0.3), bent(0.45)), TEMPLATE.keypoint_regressor @ bent(0.45)
    before, after = (metrics.pa_mpjpe_mm(item.keypoints_m[None], expected[None])[0] for item in
                     (hand, refine_in_3d(hand, LIFT)))  # fmt: skip
    assert before > 4
    assert after / before == pytest.approx(1 - FRACTION, abs=0.05)


def test_the_mesh_goes_with_its_keypoints_and_stays_a_hand():
    hand = refine_in_3d(hand_of(bent(0.3), bent(0.45)), LIFT)
    np.testing.assert_allclose(TEMPLATE.keypoint_regressor @ hand.vertices_m, hand.keypoints_m, atol=1e-5)
    np.testing.assert_allclose(hand.keypoints_m[0], 0, atol=1e-6)
    partly = bent(0.3 + FRACTION * 0.15)
    assert metrics.pa_mpvpe_mm(hand.vertices_m[None], partly[None])[0] < 0.7


def test_landmarks_of_low_presence_are_trusted_less():
    sure, doubting = (hand_of(bent(0.3), bent(0.45), presence) for presence in (1.0, 0.5))
    moved = [np.abs(refine_in_3d(hand, LIFT).vertices_m - hand.vertices_m).max() for hand in (sure, doubting)]
    assert moved[1] / moved[0] == pytest.approx(0.5**PRESENCE_POWER, rel=0.01)


@pytest.mark.parametrize("without", [{"landmarks_m": None}, {"presence": 0.0}])
def test_a_network_without_landmarks_is_left_alone(without):
    hand = replace(hand_of(bent(0.3), bent(0.45)), **without)
    assert refine_in_3d(hand, LIFT) is hand


def test_moves_of_keypoints_bring_about_just_these_and_a_shift_shifts_all():
    np.testing.assert_allclose(TEMPLATE.keypoint_regressor @ LIFT, np.eye(21), atol=1e-6)
    np.testing.assert_allclose(LIFT.sum(axis=1), 1, atol=2e-3)


def test_a_fingertip_takes_only_its_own_finger_along():
    # Joints 4 to 6 are the index finger's; keypoint 8 is its tip.
    finger = TEMPLATE.skinning_weights.argmax(axis=1)
    moved = np.abs(LIFT[:, 8]) > 0.15
    assert set(finger[moved]) <= {4, 5, 6}
    assert moved.sum() > 20


CAMERA = Intrinsics(600.0, 320.0, 240.0)
AFFINE = crop_from_image_affine(np.random.default_rng(0).uniform(100, 300, (21, 2)), "left")
TO_CAMERA = camera_from_crop(AFFINE, CAMERA)
VIEW = CropView(AFFINE, CAMERA)


def in_camera(placed: PlacedHand) -> FloatArray:
    """Return (21, 3) where MediaPipe would mark the hand, in the camera frame."""
    assert placed.wrist_camera_m is not None
    hand = placed.hand
    return as_the_detector_marks_them(hand.keypoints_m) @ (TO_CAMERA @ hand.rotation).T + placed.wrist_camera_m


def seen_by(hand: PlacedHand) -> FloatArray:
    """Return the same (21, 2) in the crop's [-1, 1]."""
    return VIEW.in_crop(in_camera(hand))


def crop_with(marks: FloatArray) -> HandCrop:
    """Return a crop in which the detector marked (21, 2)."""
    keypoints_px = apply_affine(invert_affine(AFFINE), (marks + 1) * CROP_SIZE / 2)
    return HandCrop(np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8), AFFINE, Detection("left", 1.0, keypoints_px))


def placed() -> PlacedHand:
    """Return a hand at the network's position."""
    hand = hand_of(bent(0.3), bent(0.3))
    return PlacedHand(hand, wrist_camera_m=wrist_from_network(hand, VIEW))


def test_a_detector_that_agrees_moves_nothing():
    hand = placed()
    moved = refine_in_2d(hand, crop_with(seen_by(hand)), VIEW, LIFT)
    np.testing.assert_allclose(moved.hand.vertices_m, hand.hand.vertices_m, atol=1e-6)
    np.testing.assert_allclose(moved.hand.translation, hand.hand.translation, atol=1e-6)


def test_keypoints_go_to_the_detector_s_in_the_image_and_keep_their_depth():
    hand = placed()
    marks = seen_by(hand) + np.random.default_rng(4).normal(0, 0.3 * DEFAULT_PRIOR.keypoint, (21, 2))
    moved = refine_in_2d(hand, crop_with(marks), VIEW, LIFT)
    before, after = (np.linalg.norm(seen_by(item) - marks, axis=1).mean() for item in (hand, moved))
    assert after / before == pytest.approx(1 - FRACTION_IN_IMAGE, abs=0.08)
    # Each moves across its own line of sight.
    rays, displacements = in_camera(hand), in_camera(moved) - in_camera(hand)
    assert np.abs(np.einsum("kc,kc->k", rays, displacements)).max() < 0.02 * np.linalg.norm(displacements, axis=1).max()
    np.testing.assert_allclose(moved.hand.keypoints_m[0], 0, atol=1e-9)
    keypoints_m = TEMPLATE.keypoint_regressor @ moved.hand.vertices_m
    np.testing.assert_allclose(keypoints_m, moved.hand.keypoints_m, atol=1e-5)


def test_a_mark_far_off_does_not_tear_the_hand():
    hand = placed()
    marks = seen_by(hand)
    marks[8] += 1.5
    moved = refine_in_2d(hand, crop_with(marks), VIEW, LIFT)
    assert (
        hand.hand.scale * np.linalg.norm(moved.hand.keypoints_m[8] - hand.hand.keypoints_m[8])
        < 2.5 * DEFAULT_PRIOR.keypoint
    )
