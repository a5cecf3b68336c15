"""A hand of known shape placed by several calibrated views: found again, robust, with its size and covariance."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handviz.core.records import FloatArray
from handviz.core.rig_placing import SIZE_STD, RigPlace, ViewedPoints, mean_rotation, place_in_rig
from tests.core.test_multiview import keypoints_m, seen

SHAPE = keypoints_m()
TRUE_ROTATION = Rotation.from_euler("zyx", (40, -25, 70), degrees=True).as_matrix()
START = Rotation.from_rotvec([0.3, -0.2, 0.2]).as_matrix() @ TRUE_ROTATION
POSITION_M = np.array([0.03, -0.02, 0.05])


def placed(size: float = 1.0, noise_px: float = 0.0, count: int = 3, wrong: int = 0) -> RigPlace:
    """Return where views find the hand; of ``wrong`` points the first view is 200 pixels off."""
    world = POSITION_M + size * (SHAPE @ TRUE_ROTATION.T)
    hands = seen(world, noise_px=noise_px, count=count)
    views = [ViewedPoints(hand.camera, hand.keypoints_px.copy(), hand.extent_px) for hand in hands]
    views[0].points_px[:wrong] += 200
    return place_in_rig(SHAPE, views, START)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_rotation_position_and_size_are_found_again(count: int) -> None:
    found = placed(count=count)
    np.testing.assert_allclose(found.rotation, TRUE_ROTATION, atol=1e-3)
    np.testing.assert_allclose(found.position_m, POSITION_M, atol=1e-4)
    assert found.size == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("size", [0.75, 1.2])
def test_the_views_measure_the_size(size: float) -> None:
    found = placed(size, noise_px=1.0)
    assert found.size == pytest.approx(size, rel=0.02)
    assert 0 < found.size_std < SIZE_STD / 2


def test_a_few_points_that_are_far_off_change_little() -> None:
    found = placed(wrong=4)
    assert np.linalg.norm(found.position_m - POSITION_M) < 0.004
    assert Rotation.from_matrix(found.rotation @ TRUE_ROTATION.T).magnitude() < 0.05


def test_the_covariance_grows_with_the_noise() -> None:
    quiet, noisy = (np.trace(placed(noise_px=noise).position_covariance_m2) for noise in (0.5, 5.0))
    assert 20 < noisy / quiet < 500  # a hundred, by ten times the noise


def test_the_mean_of_rotations_is_a_rotation_between_them() -> None:
    turns: FloatArray = Rotation.from_euler("x", [[-10], [0], [40]], degrees=True).as_matrix()
    mean = Rotation.from_matrix(mean_rotation(turns)).as_euler("xyz", degrees=True)
    np.testing.assert_allclose(mean, [10, 0, 0], atol=1.0)
    # The nearest matrix to these is a reflection.
    opposite = Rotation.from_euler("xyz", [[180, 0, 0], [0, 180, 0], [0, 0, 180]], degrees=True).as_matrix()
    assert np.linalg.det(mean_rotation(opposite)) == pytest.approx(1)
