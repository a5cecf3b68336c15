"""The pinhole camera against OpenCV's: projecting, placing a known hand, rotating and rescaling its image."""

import dataclasses

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handviz.core.geometry import project_points, rescaled, rotated
from handviz.core.records import Detection, Intrinsics, NetworkOutput, PlacedHand, PositionUncertainty
from handviz.detection.crop import (
    CropView,
    crop_from_image_affine,
    crop_hand,
    hand_mesh_from_crop,
    in_front,
    locate_in_perspective,
    mesh_in_crop,
)
from tests.hands import made_up_hand

CAMERA = Intrinsics(610.0, 333.0, 229.0, focal_y_px=655.0)
SIZE = (640, 480)
AWAY_M = np.array([0.05, -0.02, 0.4])


def points(count: int = 21) -> np.ndarray:
    return np.random.default_rng(3).uniform(-0.09, 0.09, (count, 3))


def test_projection_is_opencv_s() -> None:
    moved = points() + AWAY_M
    expected, _ = cv2.projectPoints(moved, np.zeros(3), np.zeros(3), CAMERA.matrix, None)
    np.testing.assert_allclose(project_points(moved, CAMERA), expected[:, 0], atol=1e-9)


def test_what_lies_behind_the_camera_stays_finite() -> None:
    assert np.isfinite(project_points(np.array([[0.1, 0.1, 0.0], [0.1, 0.1, -1.0]]), CAMERA)).all()


def test_a_known_hand_is_placed_where_solve_pnp_finds_it() -> None:
    position_m = np.array([0.06, -0.03, 0.35])
    seen_px = project_points(points() + position_m, CAMERA)
    affine = crop_from_image_affine(seen_px, "left")
    view = CropView(affine, CAMERA)
    found = locate_in_perspective(points(), view.in_crop(points() + position_m), view, np.array([0.0, 0.0, 0.6]))
    _, rotation, shift = cv2.solvePnP(points(), seen_px, CAMERA.matrix, None)
    np.testing.assert_allclose(rotation, 0, atol=1e-4)
    np.testing.assert_allclose(found, shift[:, 0], atol=1e-5)
    np.testing.assert_allclose(found, position_m, atol=1e-5)


def test_slopes_are_difference_quotients() -> None:
    moved = points() + AWAY_M
    view = CropView(crop_from_image_affine(project_points(moved, CAMERA), "left"), CAMERA)
    for axis, step in enumerate(np.eye(3) * 1e-7):
        quotient = (view.in_crop(moved + step) - view.in_crop(moved)) / 1e-7
        np.testing.assert_allclose(view.slopes(moved)[:, :, axis], quotient, rtol=1e-4, atol=1e-5)
    for axis, step in enumerate(np.eye(2) * 1e-6):
        quotient = (view.ray(np.full(2, 0.3) + step) - view.ray(np.full(2, 0.3))) / 1e-6
        np.testing.assert_allclose(view.ray_slopes[:, axis], quotient, atol=1e-6)


def test_nothing_is_placed_behind_the_camera() -> None:
    position_m = in_front(np.array([0.01, 0.0, 0.03]), points())
    assert (points() + position_m)[:, 2].min() >= 0.02 - 1e-9
    assert position_m[0] / position_m[2] == pytest.approx(1 / 3)


@pytest.mark.parametrize("quarter_turns", [-1, 0, 1, 2, 3, 5])
def test_a_rotated_image_has_a_rotated_camera(quarter_turns: int) -> None:
    """A point is seen at the rotated pixel by the rotated camera, its axes rotated about the line of sight."""
    image = np.zeros((SIZE[1], SIZE[0]))
    image[100, 200] = 1
    row, column = np.argwhere(np.rot90(image, -quarter_turns))[0]
    x, y = (np.array([200.5, 100.5]) - CAMERA.centre_px) / CAMERA.focals_px
    seen = Rotation.from_euler("z", 90 * quarter_turns, degrees=True).as_matrix() @ [x, y, 1]
    camera = rotated(CAMERA, quarter_turns, SIZE)
    np.testing.assert_allclose(project_points(seen, camera), [column + 0.5, row + 0.5], atol=1e-9)


def test_a_rescaled_image_has_a_rescaled_camera() -> None:
    moved = points() + AWAY_M
    camera = rescaled(CAMERA, 0.5, 0.75)
    np.testing.assert_allclose(project_points(moved, camera), project_points(moved, CAMERA) * [0.5, 0.75])


def test_a_projected_hand_keeps_to_its_camera() -> None:
    hand = dataclasses.replace(made_up_hand(), intrinsics=CAMERA)
    expected, _ = cv2.projectPoints(hand.vertices_m, np.zeros(3), hand.wrist_camera_m, CAMERA.matrix, None)
    np.testing.assert_allclose(hand.vertices_px, expected[:, 0], atol=1e-9)
    nearer = dataclasses.replace(hand, wrist_camera_m=hand.wrist_camera_m / 2)
    assert nearer.pixels_per_m > 1.5 * hand.pixels_per_m


def test_the_mesh_in_its_crop_lies_where_the_image_shows_it() -> None:
    seen_px = np.random.default_rng(1).uniform(100, 300, (21, 2))
    crop = crop_hand(np.zeros((480, 640, 3), np.uint8), Detection("left", 0.9, seen_px))
    flat = np.concatenate([points(), points(30)])
    answer = NetworkOutput(
        flat, flat[:21], np.eye(3), 6.0, np.zeros(2), np.full_like(flat, 0.004), np.full((21, 3), 0.004)
    )
    hand = hand_mesh_from_crop(PlacedHand(answer), crop, intrinsics=CAMERA, model="final")
    in_crop = mesh_in_crop(hand, crop)
    np.testing.assert_allclose(
        in_crop[:, :2], CropView(crop.crop_from_image, CAMERA).in_crop(hand.vertices_m + hand.wrist_camera_m)
    )
    order = np.argsort(in_crop[:, 2])
    assert (order == np.argsort(flat[:, 2])).mean() > 0.9, "depth grows away from the camera"


def test_the_wrist_s_uncertainty_adds_fit_size_and_focal_length() -> None:
    random = np.random.default_rng(2)
    fit = np.diag([0.002, 0.003, 0.01]) ** 2
    camera = dataclasses.replace(CAMERA, focal_std_fraction=0.1)
    hand = dataclasses.replace(
        made_up_hand(),
        wrist_camera_m=np.array([0.2, -0.1, 0.6]),
        intrinsics=camera,
        position_uncertainty=PositionUncertainty(fit, 0.05),
    )
    sizes, focals = 1 + random.normal(0, 0.05, 200_000), 1 + random.normal(0, 0.1, 200_000)
    positions = hand.wrist_camera_m * sizes[:, None] + random.multivariate_normal(np.zeros(3), fit, 200_000)
    positions[:, 2] *= focals
    np.testing.assert_allclose(hand.wrist_std_m, positions.std(axis=0), rtol=0.02)
    assert dataclasses.replace(hand, position_uncertainty=None).wrist_std_m is None
