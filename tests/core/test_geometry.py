"""Rotations, affine maps and pinhole cameras against scipy and against plain trigonometry."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handviz.core.geometry import (
    apply_affine,
    camera_from_ray,
    distance_from_detector,
    intrinsics_from_field_of_view,
    invert_affine,
    rotation_about_z,
    rotation_from_axis_angle,
)
from handviz.core.records import Detection, Intrinsics
from tests.hands import made_up_hand


def test_rodrigues_agrees_with_scipy() -> None:
    axis_angle = np.random.default_rng(0).normal(scale=2.0, size=(50, 3))
    expected = Rotation.from_rotvec(axis_angle).as_matrix()
    np.testing.assert_allclose(rotation_from_axis_angle(axis_angle), expected, atol=1e-12)
    batch = rotation_from_axis_angle(axis_angle.reshape(5, 10, 3))
    np.testing.assert_allclose(batch, expected.reshape(5, 10, 3, 3), atol=1e-12)


def test_rodrigues_at_and_near_zero() -> None:
    np.testing.assert_array_equal(rotation_from_axis_angle(np.zeros(3)), np.eye(3))
    tiny = np.array([1e-9, -2e-9, 3e-9])
    np.testing.assert_allclose(
        rotation_from_axis_angle(tiny), Rotation.from_rotvec(tiny).as_matrix(), rtol=0, atol=1e-15
    )


@pytest.mark.parametrize("angle_rad", [0.0, 0.3, -2.0, math.pi])
def test_rotation_about_z_agrees_with_scipy(angle_rad: float) -> None:
    np.testing.assert_allclose(rotation_about_z(angle_rad), Rotation.from_euler("z", angle_rad).as_matrix(), atol=1e-12)


def test_affine_and_its_inverse_cancel() -> None:
    generator = np.random.default_rng(1)
    affine, points = generator.normal(size=(2, 3)), generator.normal(size=(4, 7, 2))
    mapped = apply_affine(affine, points)
    assert mapped[2, 3] == pytest.approx(affine @ [*points[2, 3], 1.0])
    np.testing.assert_allclose(apply_affine(invert_affine(affine), mapped), points, atol=1e-9)


def test_a_singular_affine_has_no_inverse() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        invert_affine(np.zeros((2, 3)))


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640)])
def test_the_longer_side_spans_the_field_of_view(width: int, height: int) -> None:
    camera = intrinsics_from_field_of_view(width, height, 60.0)
    assert (camera.centre_x_px, camera.centre_y_px) == (width / 2, height / 2)
    assert math.degrees(2 * math.atan(max(width, height) / 2 / camera.focal_px)) == pytest.approx(60.0)


@pytest.mark.parametrize("point_px", [(320.0, 240.0), (0.5, 0.5), (630.0, 240.0), (320.0, 470.0)])
def test_camera_from_ray_is_the_smallest_turn_of_the_optical_axis_into_the_ray(point_px: tuple[float, float]) -> None:
    camera = Intrinsics(focal_px=500.0, centre_x_px=320.0, centre_y_px=240.0)
    rotation = camera_from_ray(np.array(point_px), camera)
    ray = np.array([(point_px[0] - 320.0) / 500.0, (point_px[1] - 240.0) / 500.0, 1.0])
    ray /= np.linalg.norm(ray)
    np.testing.assert_allclose(rotation @ [0.0, 0.0, 1.0], ray, atol=1e-12)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert Rotation.from_matrix(rotation).magnitude() == pytest.approx(math.acos(ray[2]), abs=1e-7)


def test_the_distance_from_the_detector_is_a_fraction_of_the_hand() -> None:
    hand = made_up_hand()
    box_px = np.ptp(hand.keypoints_px, axis=0).max()
    detection = Detection("right", 1.0, hand.keypoints_px + np.array([0.3, 0.4]) * box_px)
    assert distance_from_detector(hand, detection) == pytest.approx(0.5)
