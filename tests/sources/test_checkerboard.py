"""Calibration recovers the camera of rendered boards; poor views give errors."""

import dataclasses

import cv2
import numpy as np
import pytest

from handviz.core.errors import ErrorCode
from handviz.core.geometry import project_points
from handviz.core.records import FloatArray, Intrinsics
from handviz.sources.checkerboard import Board, ViewCollector, calibrate, find_corners
from tests.boards import VIEWS, board_image
from tests.errors import raises

BOARD, SIZE = Board(9, 6), (640, 480)
CAMERA = Intrinsics(615.0, 329.0, 236.0, focal_y_px=622.0)


def seen(camera: Intrinsics = CAMERA, *, distortion: float = 0.0, noise_px: float = 0.0) -> list[FloatArray]:
    """Return the corners of every view by OpenCV's own projection, with radial distortion k1."""
    random, views = np.random.default_rng(0), []
    for rotation_angle_deg, position in VIEWS:
        rotation = cv2.Rodrigues(np.zeros(3))[0] if not any(rotation_angle_deg) else _rotation(rotation_angle_deg)
        centred = BOARD.points() - [(BOARD.columns - 1) / 2, (BOARD.rows - 1) / 2, 0]
        corners, _ = cv2.projectPoints(
            centred @ rotation.T + position,
            np.zeros(3),
            np.zeros(3),
            camera.matrix,
            np.array([distortion, 0, 0, 0, 0.0]),
        )
        views.append(corners[:, 0] + random.normal(0, noise_px, (len(corners), 2)))
    return views


def _rotation(rotation_angle_deg: tuple[float, float, float]) -> FloatArray:
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("xyz", rotation_angle_deg, degrees=True).as_matrix()


def test_corners_of_a_drawn_board_lie_where_the_camera_sees_them() -> None:
    rotation_angle_deg, position = VIEWS[4]
    found = find_corners(board_image(CAMERA, SIZE, rotation_angle_deg, position, BOARD), BOARD)
    centred = BOARD.points() - [(BOARD.columns - 1) / 2, (BOARD.rows - 1) / 2, 0]
    true = project_points(centred @ _rotation(rotation_angle_deg).T + position, CAMERA)
    assert found is not None
    distance = min(np.linalg.norm(found - other, axis=1).mean() for other in (true, true[::-1]))
    assert distance < 0.15


def test_large_images_give_corners_of_full_size() -> None:
    large = Intrinsics(615 * 4.0, 329 * 4.0, 236 * 4.0)
    rotation_angle_deg, position = VIEWS[0]
    found = find_corners(board_image(large, (2560, 1920), rotation_angle_deg, position, BOARD), BOARD)
    assert found is not None
    assert found[:, 0].max() > 1500


def test_drawn_boards_give_the_camera_back() -> None:
    views = [find_corners(board_image(CAMERA, SIZE, *view, BOARD), BOARD) for view in VIEWS]
    found = calibrate([view for view in views if view is not None], BOARD, SIZE)
    assert found.views == len(VIEWS)
    np.testing.assert_allclose(found.intrinsics.focals_px, CAMERA.focals_px, rtol=0.01)
    np.testing.assert_allclose(found.intrinsics.centre_px, CAMERA.centre_px, atol=4)
    assert found.intrinsics.origin == "calibrated"
    assert found.rms_px < 0.3
    assert found.distortion_px < 4


def test_the_stated_uncertainty_of_the_focal_length_holds() -> None:
    found = calibrate(seen(noise_px=0.3), BOARD, SIZE).intrinsics
    assert abs(found.focal_px / CAMERA.focal_px - 1) < 3 * found.focal_std_fraction


def test_distortion_is_told_in_pixels_at_the_corner() -> None:
    """k1 of 0.1 moves the corner by f r^3 k1, and leaves the focal length as it is."""
    assert calibrate(seen(), BOARD, SIZE).distortion_px < 0.5
    radius = np.linalg.norm((np.array(SIZE) / 2 + [10, 0]) / CAMERA.focals_px)
    distorted = calibrate(seen(distortion=0.1), BOARD, SIZE)
    assert distorted.distortion_px == pytest.approx(CAMERA.focal_px * radius**3 * 0.1, rel=0.1)
    np.testing.assert_allclose(distorted.intrinsics.focals_px, CAMERA.focals_px, rtol=0.002)


def test_boards_that_all_face_the_camera_are_refused() -> None:
    centred = BOARD.points() - [(BOARD.columns - 1) / 2, (BOARD.rows - 1) / 2, 0]
    positions = [(x, y, z) for x in (-4, 4) for y in (-2, 2) for z in (14, 18)]
    random = np.random.default_rng(1)
    views = [project_points(centred + position, CAMERA) + random.normal(0, 0.1, (54, 2)) for position in positions]
    with raises(ErrorCode.VIEWS_TOO_ALIKE):
        calibrate(views, BOARD, SIZE)


def test_poor_sets_get_a_message() -> None:
    views = seen()
    with raises(ErrorCode.TOO_FEW_VIEWS):
        calibrate(views[:3], BOARD, SIZE)
    with raises(ErrorCode.VIEWS_TOO_ALIKE):
        calibrate([view * 0.3 + 200 for view in views], BOARD, SIZE)
    with raises(ErrorCode.VIEWS_DISAGREE):
        calibrate(seen(noise_px=6), BOARD, SIZE)


def test_only_still_and_new_views_are_added() -> None:
    collector, (first, second, *_) = ViewCollector(BOARD, SIZE), seen()
    assert "No board" in collector.offer(None, must_be_still=True)
    assert "still" in collector.offer(first, must_be_still=True)
    assert collector.offer(first + 0.5, must_be_still=True) == ""
    assert "earlier" in collector.offer(first, must_be_still=True)
    assert "still" in collector.offer(second, must_be_still=True)
    assert collector.offer(second[::-1], must_be_still=True) == "", "the same corners, read from the other end"
    assert "earlier" in collector.offer(second, must_be_still=False)
    assert len(collector.views) == 2


def test_the_camera_model_of_a_calibration_keeps_its_uncertainty() -> None:
    found = calibrate(seen(), BOARD, SIZE)
    assert found.intrinsics == dataclasses.replace(
        found.intrinsics, focal_std_fraction=found.intrinsics.focal_std_fraction
    )
    assert 0.001 < found.intrinsics.focal_std_fraction < 0.02
