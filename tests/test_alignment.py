"""The camera between network and detector."""

from dataclasses import replace

import numpy as np
import pytest

from handviz.detect.crop import crop_from_image_affine
from handviz.detect.marking import as_the_detector_marks_them
from handviz.geometry import apply_affine, invert_affine, rotation_from_axis_angle
from handviz.hand_model.open_hand import load_open_hand
from handviz.infer.alignment import CameraPrior, _jacobian, aligned_to_detector
from handviz.records import CROP_SIZE, CanonicalHand, Detection, FloatArray, HandCrop


def projected(hand: CanonicalHand) -> FloatArray:
    """Keypoints (21, 2), as the detector marks them, in the crop's [-1, 1]."""
    return hand.scale * (as_the_detector_marks_them(hand.keypoints_m) @ hand.rotation.T)[:, :2] + hand.translation


@pytest.fixture
def hand() -> CanonicalHand:
    template = load_open_hand()
    vertices = np.asarray(template.vertices_m, np.float64)
    return CanonicalHand(
        vertices_m=vertices,
        vertex_std_m=np.full_like(vertices, 0.004),
        keypoints_m=template.keypoint_regressor @ vertices,
        keypoint_std_m=np.full((21, 3), 0.004),
        rotation=rotation_from_axis_angle(np.array([0.3, -0.4, 0.1])),
        scale=6.0,
        translation=np.array([0.05, 0.5]),
    )


def crop_that_sees(hand: CanonicalHand) -> HandCrop:
    """A crop whose detector found exactly the hand's projected keypoints."""
    affine = crop_from_image_affine(np.random.default_rng(0).uniform(100, 300, (21, 2)), "left")
    keypoints_px = apply_affine(invert_affine(affine), (projected(hand) + 1) * CROP_SIZE / 2)
    return HandCrop(np.zeros((CROP_SIZE, CROP_SIZE, 3), np.float32), affine, Detection("left", 1.0, keypoints_px))


def test_a_camera_that_agrees_already_stays(hand: CanonicalHand) -> None:
    moved = aligned_to_detector(hand, crop_that_sees(hand))
    np.testing.assert_allclose(moved.rotation, hand.rotation, atol=1e-9)
    assert moved.scale == pytest.approx(hand.scale)


def test_a_wrong_camera_moves_onto_the_detector(hand: CanonicalHand) -> None:
    crop = crop_that_sees(hand)
    turn = rotation_from_axis_angle(np.array([0.05, -0.08, 0.1]))
    wrong = replace(hand, rotation=turn @ hand.rotation, scale=6.6, translation=hand.translation + 0.08)
    moved = aligned_to_detector(wrong, crop)
    before = np.linalg.norm(projected(wrong) - projected(hand), axis=1).mean()
    after = np.linalg.norm(projected(moved) - projected(hand), axis=1).mean()
    assert after < 0.25 * before
    assert np.linalg.det(moved.rotation) == pytest.approx(1)
    np.testing.assert_array_equal(moved.vertices_m, wrong.vertices_m)


def test_one_wild_keypoint_does_not_pull_the_hand(hand: CanonicalHand) -> None:
    crop = crop_that_sees(hand)
    keypoints = crop.detection.keypoints_px.copy()
    keypoints[8] += 200
    moved = aligned_to_detector(hand, replace(crop, detection=replace(crop.detection, keypoints_px=keypoints)))
    assert np.linalg.norm(projected(moved) - projected(hand), axis=1).mean() < 0.05


def test_a_certain_camera_ignores_the_detector(hand: CanonicalHand) -> None:
    crop = crop_that_sees(replace(hand, translation=hand.translation + 0.3))
    certain = CameraPrior(turn_rad=1e-6, log_scale=1e-6, shift=1e-6)
    np.testing.assert_allclose(projected(aligned_to_detector(hand, crop, certain)), projected(hand), atol=1e-4)


def test_the_detectors_knuckles_and_tips_lie_further_in(hand: CanonicalHand) -> None:
    marked = as_the_detector_marks_them(hand.keypoints_m)
    knuckles, tips, last_joints = [5, 9, 13, 17], [4, 8, 12, 16, 20], [3, 7, 11, 15, 19]
    to_wrist = [np.linalg.norm(points - hand.keypoints_m[0], axis=1)[knuckles] for points in (marked, hand.keypoints_m)]
    np.testing.assert_allclose(to_wrist[0] / to_wrist[1], [0.91, 0.93, 0.93, 0.91], atol=0.01)
    bones = [
        np.linalg.norm(points[tips] - hand.keypoints_m[last_joints], axis=1) for points in (marked, hand.keypoints_m)
    ]
    assert (bones[0] < 0.8 * bones[1]).all()
    assert (bones[0] > 0.65 * bones[1]).all()
    np.testing.assert_array_equal(marked[[6, 10, 14, 18]], hand.keypoints_m[[6, 10, 14, 18]])


def test_jacobian_is_the_difference_quotient(hand: CanonicalHand) -> None:
    turned = hand.keypoints_m @ hand.rotation.T
    step = 1e-6
    for index in range(6):
        change = np.zeros(6)
        change[index] = step
        scale = hand.scale * np.exp(change[3])
        changed = scale * (turned @ rotation_from_axis_angle(change[:3]).T)[:, :2] + change[4:]
        quotient = (changed - hand.scale * turned[:, :2]) / step
        np.testing.assert_allclose(_jacobian(turned, hand.scale)[:, :, index], quotient, atol=1e-4)
