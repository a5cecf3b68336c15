"""Geometry of several views against OpenCV and by construction; views that do not fit are found and named."""

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handviz.core.multiview import (
    CalibratedView,
    ViewHand,
    check_views,
    epipolar_distances_px,
    error_of,
    essential_matrix,
    fit_views,
    fundamental_matrix,
    match_hands,
    reprojection_errors_px,
    rigid_inverse,
    symmetric_epipolar_distance_px,
    triangulate,
)
from handviz.core.records import FloatArray, Intrinsics
from handviz.hand_models.open_hand import load_open_hand

NAMES = ("left", "right", "top", "back")
DIRECTIONS = ((0, 0, 0), (10, 35, 5), (-30, -40, 80), (25, -70, 10))


def camera(number: int, distance_m: float = 0.6) -> CalibratedView:
    """Return one of four cameras that look at the origin from different sides, with different focal lengths."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", DIRECTIONS[number], degrees=True).as_matrix()
    pose[:3, 3] = (0.02 * number, -0.01, distance_m + 0.05 * number)
    return CalibratedView(Intrinsics(600.0 + 90 * number, 322.0, 241.0, focal_y_px=610.0 + 90 * number), pose)


def keypoints_m(angle_deg: float = 0.0) -> FloatArray:
    """Return a hand (21, 3) around the world's origin, rotated by an angle about all axes."""
    template = load_open_hand()
    points = template.keypoint_regressor @ template.vertices_m
    rotation = Rotation.from_euler("xyz", (angle_deg + 20, angle_deg - 30, angle_deg), degrees=True)
    return np.asarray(rotation.apply(points - points.mean(axis=0)))


def seen(points_m: FloatArray, noise_px: float = 0.0, count: int = 4) -> list[ViewHand]:
    """Return the hand in each view, by the projection matrix and with noise."""
    random, hands = np.random.default_rng(3), []
    for number in range(count):
        homogeneous = np.append(points_m, np.ones((len(points_m), 1)), axis=1) @ camera(number).projection.T
        found = homogeneous[:, :2] / homogeneous[:, 2:] + random.normal(0, noise_px, (len(points_m), 2))
        hands.append(ViewHand(NAMES[number], camera(number), found, score=0.9 - 0.1 * number))
    return hands


def kinds(hands: list[ViewHand]) -> dict[str, str]:
    """Return the flaw of every view that is left out."""
    return {left.name: left.kind for left in check_views(hands).left_out}


# Geometry.


def test_triangulation_of_two_views_is_opencv_s() -> None:
    hands = seen(keypoints_m(), noise_px=1.5, count=2)
    pixels = np.stack([hand.keypoints_px for hand in hands])
    # OpenCV weights rows by pixels: the same in rays.
    rays = [(hand.keypoints_px - hand.camera.intrinsics.centre_px) / hand.camera.intrinsics.focals_px for hand in hands]
    found = cv2.triangulatePoints(
        *(hand.camera.camera_from_world[:3] for hand in hands), *(np.ascontiguousarray(of.T) for of in rays)
    )
    np.testing.assert_allclose(
        triangulate([hand.camera for hand in hands], pixels), (found[:3] / found[3]).T, atol=1e-9
    )


def test_many_views_give_back_the_points_and_zero_weights_leave_views_out() -> None:
    points, hands = keypoints_m(), seen(keypoints_m())
    cameras, pixels = [hand.camera for hand in hands], np.stack([hand.keypoints_px for hand in hands])
    np.testing.assert_allclose(triangulate(cameras, pixels), points, atol=1e-9)
    pixels[2, 5] += 80
    weights = np.ones(pixels.shape[:2])
    weights[2, 5] = 0
    np.testing.assert_allclose(triangulate(cameras, pixels, weights), points, atol=1e-9)
    assert np.linalg.norm(triangulate(cameras, pixels)[5] - points[5]) > 0.005
    weights[:3, 5] = 0
    assert np.isnan(triangulate(cameras, pixels, weights)[5]).all()


def test_keypoints_that_a_view_does_not_see_are_nan() -> None:
    points, hands = keypoints_m(), seen(keypoints_m(), noise_px=1.0)
    pixels = hands[1].keypoints_px.copy()
    pixels[:12] = np.nan
    hands[1] = replace(hands[1], keypoints_px=pixels)
    found = check_views(hands)
    assert found.kept == NAMES
    assert found.keypoints_m is not None
    assert np.linalg.norm(found.keypoints_m - points, axis=1).max() < 0.01
    errors = reprojection_errors_px([hands[1].camera], pixels[None], points)[0]
    assert np.isnan(errors).tolist() == [True] * 12 + [False] * 9
    blind = replace(hands[1], keypoints_px=np.full((21, 2), np.nan))
    assert check_views([hands[0], blind, *hands[2:]]).kept == ("left", "top", "back")
    wrong = replace(hands[3], keypoints_px=hands[3].keypoints_px + 200 * (np.arange(21) % 5 < 2)[:, None])
    assert check_views([*hands[:3], wrong]).kept == NAMES
    misplaced = hands[3].keypoints_px + 200
    misplaced[::2] = hands[3].keypoints_px[::2]
    weights = np.ones(21)
    weights[::2] = 0
    assert check_views([*hands[:3], replace(hands[3], keypoints_px=misplaced, weights=weights)]).kept == NAMES[:3]


def test_a_weight_pulls_towards_its_view() -> None:
    hands = seen(keypoints_m(), noise_px=3.0)
    cameras, pixels = [hand.camera for hand in hands], np.stack([hand.keypoints_px for hand in hands])
    weights = np.ones(pixels.shape[:2])
    weights[1] = 20
    even = reprojection_errors_px(cameras, pixels, triangulate(cameras, pixels))
    pulled = reprojection_errors_px(cameras, pixels, triangulate(cameras, pixels, weights))
    assert pulled[1].mean() < 0.3 * even[1].mean()
    assert pulled[[0, 2, 3]].mean() > even[[0, 2, 3]].mean()


def test_parallel_rays_have_no_point() -> None:
    same = [camera(0), camera(0)]
    pixels = np.tile(seen(keypoints_m(), count=1)[0].keypoints_px, (2, 1, 1))
    assert not fit_views([ViewHand(str(at), of, pixels[at]) for at, of in enumerate(same)]).holds()
    apart = camera(0).camera_from_world.copy()
    apart[0, 3] += 0.1
    moved = CalibratedView(camera(0).intrinsics, apart)
    assert np.isnan(triangulate([camera(0), moved], pixels)).all()


def test_the_fundamental_matrix_is_that_of_opencv_s_points() -> None:
    first, second = seen(keypoints_m(), count=2)
    other = keypoints_m(70) * 1.7
    pixels = [
        np.concatenate([hand.keypoints_px, hand.camera.intrinsics.project(hand.camera.in_camera(other))])
        for hand in (first, second)
    ]
    estimated, _ = cv2.findFundamentalMat(pixels[0], pixels[1], method=cv2.FM_8POINT)
    ours = fundamental_matrix(first.camera, second.camera)
    ours, estimated = (matrix / np.linalg.norm(matrix) * np.sign(matrix[2, 1]) for matrix in (ours, estimated))
    np.testing.assert_allclose(ours, estimated, atol=1e-7)


def test_the_essential_matrix_decomposes_into_the_relative_pose() -> None:
    first, second = camera(1), camera(2)
    relative = second.camera_from_world @ np.linalg.inv(first.camera_from_world)
    one, other, direction = cv2.decomposeEssentialMat(essential_matrix(first, second))
    assert min(np.abs(rotation - relative[:3, :3]).max() for rotation in (one, other)) < 1e-9
    expected = relative[:3, 3] / np.linalg.norm(relative[:3, 3])
    assert abs(float(direction.ravel() @ expected)) == pytest.approx(1)


def test_epipolar_distances_are_those_of_points_from_lines() -> None:
    first, second = seen(keypoints_m(), count=2)
    matrix = fundamental_matrix(first.camera, second.camera)
    assert epipolar_distances_px(matrix, first.keypoints_px, second.keypoints_px).max() < 1e-8
    line = cv2.computeCorrespondEpilines(first.keypoints_px[:1, None], 1, matrix)[0, 0]
    shifted = second.keypoints_px[:1] + 7 * line[:2]  # along the line's normal
    assert epipolar_distances_px(matrix, first.keypoints_px[:1], shifted)[0, 1] == pytest.approx(7)
    moved = replace(second, keypoints_px=second.keypoints_px + np.array([4, 4]))
    both = epipolar_distances_px(matrix, first.keypoints_px, moved.keypoints_px)
    np.testing.assert_allclose(
        symmetric_epipolar_distance_px(first, moved), np.sqrt((both[:, 0] ** 2 + both[:, 1] ** 2) / 2)
    )


def test_points_behind_a_camera_have_no_small_error() -> None:
    hand = seen(keypoints_m(), count=1)[0]
    mirrored = keypoints_m().copy()
    # The same rays, backwards.
    in_camera = -hand.camera.in_camera(mirrored)
    world = (np.append(in_camera, np.ones((21, 1)), axis=1) @ rigid_inverse(hand.camera.camera_from_world).T)[:, :3]
    assert np.isinf(reprojection_errors_px([hand.camera], hand.keypoints_px[None], world)).all()


def test_the_inverse_and_the_centre_of_a_camera() -> None:
    one = camera(3)
    np.testing.assert_allclose(rigid_inverse(one.camera_from_world), np.linalg.inv(one.camera_from_world), atol=1e-12)
    np.testing.assert_allclose(one.in_camera(one.centre_m), 0, atol=1e-12)


# Which views fit.


def test_views_with_the_detector_s_errors_fit() -> None:
    hands = seen(keypoints_m(), noise_px=4.0)
    found = check_views(hands)
    assert found.kept == NAMES
    assert found.left_out == ()
    assert found.keypoints_m is not None
    assert np.linalg.norm(found.keypoints_m - keypoints_m(), axis=1).mean() < 0.006
    assert error_of(hands[0], keypoints_m()) < 0.05


@pytest.mark.parametrize("wrong", range(4))
def test_a_mirrored_view_is_named(wrong: int) -> None:
    hands = seen(keypoints_m(), noise_px=1.0)
    pixels = hands[wrong].keypoints_px.copy()
    pixels[:, 0] = 2 * hands[wrong].camera.intrinsics.centre_x_px - pixels[:, 0]
    hands[wrong] = replace(hands[wrong], keypoints_px=pixels, handedness="left")
    assert kinds(hands) == {NAMES[wrong]: "mirrored"}
    assert check_views(hands).kept == tuple(name for name in NAMES if name != NAMES[wrong])


@pytest.mark.parametrize("wrong", range(4))
def test_a_camera_that_was_moved_is_told_from_another_hand(wrong: int) -> None:
    hands = seen(keypoints_m(), noise_px=1.0)
    turned = hands[wrong].camera.camera_from_world.copy()
    turned[:3] = Rotation.from_euler("xyz", (8, 5, 25), degrees=True).as_matrix() @ turned[:3]
    moved = replace(hands[wrong], camera=replace(hands[wrong].camera, camera_from_world=turned))
    assert kinds([*hands[:wrong], moved, *hands[wrong + 1 :]]) == {NAMES[wrong]: "extrinsics"}
    other = seen(keypoints_m(60) * [0.4, 1, 2] + [0.05, 0.04, 0.02], noise_px=1.0)[wrong]
    other = replace(other, handedness="left")
    assert kinds([*hands[:wrong], other, *hands[wrong + 1 :]]) == {NAMES[wrong]: "other hand"}


def test_an_inverted_transform_is_named_for_one_view_and_for_all() -> None:
    hands = [
        replace(hand, camera=replace(hand.camera, camera_from_world=rigid_inverse(hand.camera.camera_from_world)))
        for hand in seen(keypoints_m())
    ]
    assert kinds([*seen(keypoints_m())[:3], hands[3]]) == {"back": "inverted"}
    found = check_views(hands)
    assert found.kept == ("left",)
    assert {left.kind for left in found.left_out} == {"inverted"}


def test_translations_in_millimetres_are_named() -> None:
    hands = []
    for hand in seen(keypoints_m()):
        pose = hand.camera.camera_from_world.copy()
        pose[:3, 3] *= 1000
        hands.append(replace(hand, camera=replace(hand.camera, camera_from_world=pose)))
    found = check_views(hands)
    assert found.kept == ("left",)
    assert {left.kind for left in found.left_out} == {"scale"}


def test_one_view_stays_where_no_two_fit_and_none_without_views() -> None:
    first, second = seen(keypoints_m(), count=2)
    moved = replace(second, keypoints_px=second.keypoints_px + np.array([0, 150]), score=0.99)
    found = check_views([first, moved])
    assert (found.kept, [left.name for left in found.left_out]) == (("right",), ["left"])
    assert found.keypoints_m is None
    assert found.left_out[0].kind == "alone"
    assert "epipolar lines of right" in found.left_out[0].reason
    assert check_views([first]).kept == ("left",)
    assert check_views([]).kept == ()


def test_one_of_two_mirrored_views_is_named() -> None:
    first, second = seen(keypoints_m(), count=2)
    pixels = second.keypoints_px * [-1, 1] + [2 * second.camera.intrinsics.centre_x_px, 0]
    assert kinds([first, replace(second, keypoints_px=pixels, handedness="left")]) == {"right": "mirrored"}


def test_two_hands_are_matched_in_any_order_and_a_hidden_one_is_no_obstacle() -> None:
    near, far = seen(keypoints_m(), noise_px=2.0), seen(keypoints_m(50) + np.array([0.12, 0.02, 0.1]), noise_px=2.0)
    views = [[near[0], far[0]], [far[1], near[1]], [near[2]], [far[3], near[3]]]
    assert match_hands(views) == [{0: 0, 1: 1, 2: 0, 3: 1}, {0: 1, 1: 0, 3: 0}]
    assert match_hands([[near[0]], [], []]) == []
    assert match_hands([]) == []


def test_the_order_of_views_changes_nothing() -> None:
    hands = seen(keypoints_m(), noise_px=2.0)
    hands[1] = replace(hands[1], keypoints_px=hands[1].keypoints_px + np.array([120, -90]))
    for order in itertools.permutations(range(4)):
        found = check_views([hands[number] for number in order])
        assert set(found.kept) == {"left", "top", "back"}
