"""Placing hands against slow computations, on hands of random rotation."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from handviz.core.records import CROP_SIZE, Detection, FloatArray, HandCrop, Intrinsics, NetworkOutput, PlacedHand
from handviz.detection.crop import (
    MARKED_TOWARDS,
    CropView,
    as_the_detector_marks_them,
    camera_from_crop,
    covariances_mm2,
    crop_from_image_affine,
    hand_mesh_from_crop,
    mesh_in_crop,
    total_std_mm,
    wrist_from_network,
)
from handviz.hand_models.open_hand import load_open_hand

EQUAL_M = 1e-6
"""A thousandth of a millimetre: what a faster computation may differ by."""
TEMPLATE = load_open_hand()
CAMERA = Intrinsics(610.0, 333.0, 229.0, focal_y_px=655.0)


@dataclass(frozen=True, eq=False)
class Seen:
    """A network's hand, and a crop in which the detector sees it elsewhere."""

    hand: NetworkOutput
    crop: HandCrop

    def in_crop(self, points_m: FloatArray) -> FloatArray:
        """Project points (N, 3) of the camera frame to (N, 2) in the crop, step by step."""
        pixels = [CAMERA.matrix @ point / point[2] for point in points_m]
        return np.array([self.crop.crop_from_image @ pixel for pixel in pixels]) / (CROP_SIZE / 2) - 1


def seen(seed: int) -> Seen:
    """Return a hand, its standard deviations and a detection that disagrees by some pixels, at one keypoint by many."""
    random = np.random.default_rng(seed)
    keypoints_px = random.uniform(100, 320, 2) + random.uniform(-60, 60, (21, 2))
    handedness = ("left", "right")[seed % 2]
    affine = crop_from_image_affine(keypoints_px, handedness)  # type: ignore[arg-type]
    vertices_m = TEMPLATE.vertices_m + random.normal(0, 0.002, TEMPLATE.vertices_m.shape)
    keypoints_m = TEMPLATE.keypoint_regressor @ vertices_m
    hand = NetworkOutput(
        vertices_m=(vertices_m - keypoints_m[0]).astype(np.float32),
        keypoints_m=(keypoints_m - keypoints_m[0]).astype(np.float32),
        vertex_std_m=random.uniform(0.001, 0.01, vertices_m.shape).astype(np.float32),
        keypoint_std_m=random.uniform(0.001, 0.01, (21, 3)).astype(np.float32),
        rotation=Rotation.random(random_state=seed).as_matrix().astype(np.float32),
        scale=float(random.uniform(4, 8)),
        translation=random.uniform(-0.3, 0.3, 2).astype(np.float32),
    )
    image = np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)
    nowhere = HandCrop(image, affine, Detection(handedness, 1.0, keypoints_px))  # type: ignore[arg-type]
    marks = Seen(hand, nowhere).in_crop(
        in_camera(hand, affine) + wrist_from_network(hand, CropView.of(nowhere, CAMERA))
    )
    marks += random.normal(0, 0.04, (21, 2))
    marks[random.integers(21)] += 0.5
    linear, shift = affine[:, :2], affine[:, 2]
    marks_px = np.array([np.linalg.solve(linear, (mark + 1) * CROP_SIZE / 2 - shift) for mark in marks])
    return Seen(hand, HandCrop(image, affine, Detection(handedness, 1.0, marks_px)))  # type: ignore[arg-type]


def marked(keypoints_m: FloatArray) -> FloatArray:
    """Return keypoints (21, 3) where the detector marks them, one after the other."""
    points = np.asarray(keypoints_m, np.float64).copy()
    for keypoint, (other, fraction) in MARKED_TOWARDS.items():
        points[keypoint] = (1 - fraction) * keypoints_m[keypoint] + fraction * keypoints_m[other].astype(float)
    return points


def in_camera(hand: NetworkOutput, affine: FloatArray) -> FloatArray:
    """Return marked keypoints (21, 3) in the camera's axes, from the wrist."""
    rotation = camera_from_crop(affine, CAMERA) @ hand.rotation.astype(np.float64)
    return marked(hand.keypoints_m - hand.keypoints_m[0]) @ rotation.T


SEEDS = range(12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_network_s_wrist_is_where_a_general_least_squares_finds_it(seed: int) -> None:
    one = seen(seed)
    rotation = camera_from_crop(one.crop.crop_from_image, CAMERA) @ one.hand.rotation.astype(np.float64)
    points_m = one.hand.keypoints_m.astype(np.float64) @ rotation.T
    flat = one.hand.scale * one.hand.keypoints_m @ one.hand.rotation.T
    wanted = flat[:, :2].astype(np.float64) + one.hand.translation
    found_m = wrist_from_network(one.hand, CropView.of(one.crop, CAMERA))
    fit = least_squares(
        lambda at: (one.in_crop(points_m + at) - wanted).ravel(), found_m + 0.02, xtol=1e-14, ftol=1e-14
    )
    np.testing.assert_allclose(found_m, fit.x, atol=EQUAL_M)


def test_keypoints_on_one_ray_are_placed_without_an_error() -> None:
    """A model that answers one point for all keypoints gives no depth, but no error either."""
    one = seen(0)
    point = np.zeros_like(one.hand.keypoints_m)
    flat = NetworkOutput(point, point, np.eye(3), 6.0, np.zeros(2))
    assert np.isfinite(wrist_from_network(flat, CropView.of(one.crop, CAMERA))).all()


def test_marks_covariances_and_deviations_are_those_of_one_point_at_a_time() -> None:
    one = seen(3)
    np.testing.assert_allclose(
        as_the_detector_marks_them(one.hand.keypoints_m), marked(one.hand.keypoints_m), atol=1e-8
    )
    rotation = camera_from_crop(one.crop.crop_from_image, CAMERA) @ one.hand.rotation.astype(np.float64)
    std_m = one.hand.vertex_std_m
    assert std_m is not None
    slow_mm2 = [rotation @ np.diag((1000 * row.astype(float)) ** 2) @ rotation.T for row in std_m]
    np.testing.assert_allclose(np.asarray(covariances_mm2(std_m, rotation)), slow_mm2, atol=1e-9)
    slow_mm = [1000 * np.linalg.norm(row.astype(float)) for row in std_m]
    np.testing.assert_allclose(np.asarray(total_std_mm(std_m)), slow_mm, rtol=3e-7)


def test_the_mesh_in_its_crop_is_projected_as_each_vertex_is() -> None:
    one = seen(5)
    mesh = hand_mesh_from_crop(PlacedHand(one.hand), one.crop, intrinsics=CAMERA, model="final")
    expected = one.in_crop(mesh.vertices_m + mesh.wrist_camera_m)
    np.testing.assert_allclose(mesh_in_crop(mesh, one.crop)[:, :2], expected, atol=1e-9)
