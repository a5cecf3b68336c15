"""Projected Gaussians against samples of them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from handviz.rendering.camera import MIRROR, OrbitCamera, letterbox, overlay_matrix, project
from handviz.rendering.ellipses import ellipse_axes, fraction_inside, projected_covariances
from handviz.rendering.hand_shape import HandShaper, PlainSurface, depth_range
from handviz.rendering.options import DrawOptions
from tests.hands import INTRINSICS, made_up_hand

VIEW = (800, 500)
COVARIANCE_M2 = np.array([[9.0, 3.0, 2.0], [3.0, 16.0, -4.0], [2.0, -4.0, 25.0]]) * 1e-6


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("yaw_rad", "pitch_rad"), [(0.0, 0.0), (1.0, -0.6), (-2.5, 0.4)])
def test_in_orbit_they_are_the_covariances_of_projected_samples(
    yaw_rad: float, pitch_rad: float, mirrored: bool
) -> None:
    clip = OrbitCamera(yaw_rad, pitch_rad, 2.0).matrix(0.115, VIEW)
    clip = MIRROR @ clip if mirrored else clip
    point = np.array([0.03, -0.02, 0.05])
    drawn = np.random.default_rng(0).multivariate_normal(point, COVARIANCE_M2, 60_000)
    wanted = np.cov(project(clip, drawn, VIEW).T)
    found = projected_covariances(clip, point[None], COVARIANCE_M2[None], VIEW)[0]
    np.testing.assert_allclose(found, wanted, rtol=0.05, atol=0.02 * wanted.max())


@pytest.mark.parametrize("focal_y_px", [None, 800.0])
def test_on_the_image_they_are_the_covariances_of_samples_that_the_pinhole_sees(focal_y_px: float | None) -> None:
    hand = replace(
        made_up_hand(),
        keypoint_covariance_mm2=np.tile(COVARIANCE_M2 * 1e6, (21, 1, 1)),
        intrinsics=replace(INTRINSICS, focal_y_px=focal_y_px),
        wrist_camera_m=np.array([0.3, -0.15, 0.5]),
    )
    surface = PlainSurface(np.array([[0, 1, 2]], np.int32), 30)
    shape = HandShaper(surface).shape(hand, DrawOptions(), range_mm=(0, 1), centre_m=np.zeros(3))
    clip = overlay_matrix(letterbox((640, 480), VIEW), VIEW, depth_range([hand]))
    assert shape.keypoint_covariance is not None
    found = projected_covariances(clip, shape.keypoints, shape.keypoint_covariance, VIEW)[4]
    point_m = hand.keypoints_m[4] + hand.wrist_camera_m
    drawn_m = np.random.default_rng(0).multivariate_normal(point_m, COVARIANCE_M2, 60_000)
    drawn_px = drawn_m @ hand.intrinsics.matrix.T
    view_px_per_image_px = 500 / 480
    wanted = np.cov((drawn_px[:, :2] / drawn_px[:, 2:]).T) * view_px_per_image_px**2
    np.testing.assert_allclose(found, wanted, rtol=0.05, atol=0.02 * wanted.max())


@pytest.mark.parametrize("sigmas", [1.0, 2.0])
def test_an_ellipse_contains_the_stated_fraction(sigmas: float) -> None:
    covariance = np.array([[30.0, 12.0], [12.0, 9.0]])
    (long, short) = ellipse_axes(covariance[None], sigmas)[0]
    drawn = np.random.default_rng(1).multivariate_normal([0, 0], covariance, 40_000)
    inside = (drawn @ long / (long @ long)) ** 2 + (drawn @ short / (short @ short)) ** 2 <= 1
    assert inside.mean() == pytest.approx(fraction_inside(sigmas), abs=0.01)
    assert fraction_inside(sigmas) == pytest.approx(chi2(2).cdf(sigmas**2))
    assert np.linalg.norm(long) > np.linalg.norm(short)
    assert long @ short == pytest.approx(0.0, abs=1e-9)


def test_no_uncertainty_is_an_ellipse_of_no_size() -> None:
    np.testing.assert_array_equal(ellipse_axes(np.zeros((1, 2, 2)), 2.0), 0.0)
