"""Refinement of the camera: between network and detector."""

from dataclasses import replace

import numpy as np
import pytest

from handviz.core.geometry import apply_affine, invert_affine, rotation_from_axis_angle
from handviz.core.records import CROP_SIZE, Detection, FloatArray, HandCrop, Intrinsics, NetworkOutput, PlacedHand
from handviz.detection.crop import (
    CropView,
    as_the_detector_marks_them,
    camera_from_crop,
    crop_from_image_affine,
    wrist_from_network,
)
from handviz.hand_models.open_hand import load_open_hand
from handviz.pipeline.refinement import CameraPrior, _Camera, _in_crop_with_jacobian, refine_camera

CAMERA = Intrinsics(600.0, 320.0, 240.0)
AFFINE = crop_from_image_affine(np.random.default_rng(0).uniform(100, 300, (21, 2)), "left")
VIEW = CropView(AFFINE, CAMERA)


def crop_marked(marks: FloatArray) -> HandCrop:
    """Return a crop in whose [-1, 1] the detector found keypoints (21, 2)."""
    keypoints_px = apply_affine(invert_affine(AFFINE), (marks + 1) * CROP_SIZE / 2)
    return HandCrop(np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8), AFFINE, Detection("left", 1.0, keypoints_px))


def camera_points(placed: NetworkOutput | PlacedHand) -> FloatArray:
    """Keypoints (21, 3), as the detector marks them, in the camera's frame."""
    placed = PlacedHand(placed) if isinstance(placed, NetworkOutput) else placed
    hand, position_m = placed.hand, placed.wrist_camera_m
    if position_m is None:
        position_m = wrist_from_network(hand, VIEW)
    marked_m = as_the_detector_marks_them(hand.keypoints_m - hand.keypoints_m[0])
    return marked_m @ (camera_from_crop(AFFINE, CAMERA) @ hand.rotation).T + position_m


def projected(hand: NetworkOutput | PlacedHand) -> FloatArray:
    """Keypoints (21, 2), as the detector marks them, in the crop's [-1, 1]."""
    return VIEW.in_crop(camera_points(hand))


@pytest.fixture
def hand() -> NetworkOutput:
    template = load_open_hand()
    vertices = np.asarray(template.vertices_m, np.float64)
    return NetworkOutput(
        vertices_m=vertices,
        vertex_std_m=np.full_like(vertices, 0.004),
        keypoints_m=template.keypoint_regressor @ vertices,
        keypoint_std_m=np.full((21, 3), 0.004),
        rotation=rotation_from_axis_angle(np.array([0.3, -0.4, 0.1])),
        scale=6.0,
        translation=np.array([0.05, 0.5]),
    )


def crop_that_sees(hand: NetworkOutput) -> HandCrop:
    """Return a crop whose detector found exactly the hand's projected keypoints."""
    return crop_marked(projected(hand))


def test_a_camera_that_agrees_already_stays(hand: NetworkOutput) -> None:
    moved = refine_camera(PlacedHand(hand), crop_that_sees(hand), VIEW)
    np.testing.assert_allclose(moved.hand.rotation, hand.rotation, atol=1e-9)
    assert moved.hand.scale == pytest.approx(hand.scale)
    np.testing.assert_allclose(camera_points(moved), camera_points(hand), atol=1e-9)


def test_a_wrong_camera_moves_onto_the_detector(hand: NetworkOutput) -> None:
    crop = crop_that_sees(hand)
    turn = rotation_from_axis_angle(np.array([0.05, -0.08, 0.1]))
    wrong = replace(hand, rotation=turn @ hand.rotation, scale=6.6, translation=hand.translation + 0.08)
    moved = refine_camera(PlacedHand(wrong), crop, VIEW)
    before = np.linalg.norm(projected(wrong) - projected(hand), axis=1).mean()
    after = np.linalg.norm(projected(moved) - projected(hand), axis=1).mean()
    assert after < 0.25 * before
    assert np.linalg.det(moved.hand.rotation) == pytest.approx(1)
    np.testing.assert_array_equal(moved.hand.vertices_m, wrong.vertices_m)


def test_one_wild_keypoint_does_not_pull_the_hand(hand: NetworkOutput) -> None:
    crop = crop_that_sees(hand)
    keypoints = crop.detection.keypoints_px.copy()
    keypoints[8] += 200
    wild = replace(crop, detection=replace(crop.detection, keypoints_px=keypoints))
    moved = refine_camera(PlacedHand(hand), wild, VIEW)
    assert np.linalg.norm(projected(moved) - projected(hand), axis=1).mean() < 0.05


def test_a_certain_camera_ignores_the_detector(hand: NetworkOutput) -> None:
    crop = crop_that_sees(replace(hand, translation=hand.translation + 0.3))
    certain = CameraPrior(rotation_rad=1e-6, log_depth=1e-6, shift=1e-6)
    moved = refine_camera(PlacedHand(hand), crop, VIEW, certain)
    np.testing.assert_allclose(projected(moved), projected(hand), atol=1e-4)


def test_the_detectors_knuckles_and_tips_lie_further_in(hand: NetworkOutput) -> None:
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


def test_jacobian_is_the_difference_quotient(hand: NetworkOutput) -> None:
    camera = _Camera(camera_from_crop(AFFINE, CAMERA) @ hand.rotation, np.array([-0.1, 0.04, 0.4]))
    before, jacobian = _in_crop_with_jacobian(camera.turned(hand.keypoints_m), camera.position_m, VIEW)
    for index, step in enumerate(np.eye(6) * 1e-6):
        moved = camera.moved(step, VIEW)
        after = VIEW.in_crop(moved.turned(hand.keypoints_m) + moved.position_m)
        np.testing.assert_allclose(jacobian[:, :, index], (after - before) / 1e-6, atol=1e-4)


def test_true_perspective_tells_where_a_near_hand_is(hand: NetworkOutput) -> None:
    """Without the network's prior, an exact hand with exact keypoints gets the true camera."""
    position_m = np.array([-0.1, 0.04, 0.33])
    true = PlacedHand(hand, wrist_camera_m=position_m)
    wrong = replace(hand, scale=hand.scale * 1.1, rotation=rotation_from_axis_angle(np.full(3, 0.05)) @ hand.rotation)
    loose = CameraPrior(rotation_rad=10, log_depth=10, shift=10, keypoint=0.1)
    moved = refine_camera(PlacedHand(wrong), crop_marked(projected(true)), VIEW, loose)
    np.testing.assert_allclose(camera_points(moved), camera_points(true), atol=1e-3)


def test_the_covariance_of_the_position_is_that_of_noisy_keypoints(hand: NetworkOutput) -> None:
    """Keypoints of the stated noise move the wrist as much as the covariance says."""
    random = np.random.default_rng(5)
    loose = CameraPrior(rotation_rad=10, log_depth=10, shift=10, keypoint=0.02)
    certain = PlacedHand(replace(hand, keypoint_std_m=np.full((21, 3), 1e-6)))
    found = [
        refine_camera(certain, crop_marked(projected(hand) + random.normal(0, 0.02, (21, 2))), VIEW, loose)
        for _ in range(300)
    ]
    positions_m = np.array([one.wrist_camera_m for one in found])
    said_m = np.mean([np.sqrt(np.diag(one.wrist_covariance_m2)) for one in found], axis=0)  # type: ignore[arg-type]
    np.testing.assert_allclose(positions_m.std(axis=0), said_m, rtol=0.25)
