"""Placing and refining hands against slow computations, on hands of random rotation."""

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
from handviz.hand_models.skinning import vertices_from_keypoint_displacements
from handviz.pipeline.refinement import (
    DEFAULT_PRIOR,
    FRACTION_IN_IMAGE,
    HUBER_LIMIT,
    STEPS,
    refine_camera,
    refine_in_2d,
)

EQUAL_M = 1e-6
"""A thousandth of a millimetre: what a faster computation may differ by."""
TEMPLATE = load_open_hand()
LIFT = vertices_from_keypoint_displacements(TEMPLATE)
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


def moved_camera(one: Seen, start_m: FloatArray, by: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return rotation (3, 3) and wrist (3,) after a rotation, a step of ln depth and a shift across the crop."""
    affine = one.crop.crop_from_image
    rotation = Rotation.from_rotvec(by[:3]).as_matrix() @ camera_from_crop(affine, CAMERA) @ one.hand.rotation
    per_ray = affine[:, :2] / (CROP_SIZE / 2) * CAMERA.focals_px
    ray = start_m / start_m[2] + np.append(np.linalg.solve(per_ray, by[4:]), 0.0)
    return rotation, ray * start_m[2] * np.exp(by[3])


def slow_refinement(one: Seen) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return rotation (3, 3), wrist (3,) and its covariance of as many steps, by difference quotients and lstsq."""
    start_m = wrist_from_network(one.hand, CropView.of(one.crop, CAMERA))
    points_m = marked(one.hand.keypoints_m - one.hand.keypoints_m[0])
    wanted = one.crop.detection.keypoints_px @ one.crop.crop_from_image[:, :2].T + one.crop.crop_from_image[:, 2]
    wanted = wanted / (CROP_SIZE / 2) - 1
    assert one.hand.keypoint_std_m is not None
    spread = (
        one.hand.scale**2 * one.hand.keypoint_std_m.astype(float) ** 2 @ (one.hand.rotation[:2].astype(float) ** 2).T
    )
    std = np.sqrt(DEFAULT_PRIOR.keypoint**2 + spread)
    rest = np.array([DEFAULT_PRIOR.rotation_rad] * 3 + [DEFAULT_PRIOR.log_depth] + [DEFAULT_PRIOR.shift] * 2)

    def turned_then(by: FloatArray, rotation: FloatArray, position_m: FloatArray) -> FloatArray:
        turned = Rotation.from_rotvec(by[:3]).as_matrix() @ rotation
        per_ray = one.crop.crop_from_image[:, :2] / (CROP_SIZE / 2) * CAMERA.focals_px
        shift = position_m[2] * np.append(np.linalg.solve(per_ray, by[4:]), 0.0)
        return ((one.in_crop(points_m @ turned.T + position_m * (1 + by[3]) + shift) - wanted) / std).ravel()

    by = np.zeros(6)
    for _ in range(STEPS):
        camera = moved_camera(one, start_m, by)
        residual = turned_then(np.zeros(6), *camera)
        steps = 1e-6 * np.eye(6)
        rows = np.array([(turned_then(step, *camera) - turned_then(-step, *camera)) / 2e-6 for step in steps]).T
        distances = np.linalg.norm(residual.reshape(21, 2), axis=1)
        weights = np.repeat(np.sqrt(np.minimum(1, HUBER_LIMIT / distances)), 2)
        stacked = np.concatenate([weights[:, None] * rows, np.diag(1 / rest)])
        by = by - np.linalg.lstsq(stacked, np.concatenate([weights * residual, by / rest]), rcond=None)[0]
    rotation, position_m = moved_camera(one, start_m, by)
    uncertainty = np.linalg.pinv(stacked.T @ stacked)[3:, 3:]
    slopes = [moved_camera(one, position_m, np.eye(6)[3 + index] * 1e-6)[1] - position_m for index in range(3)]
    return rotation, position_m, np.array(slopes).T @ uncertainty @ np.array(slopes) * 1e12


@pytest.mark.parametrize("seed", SEEDS)
def test_the_refined_camera_is_that_of_stacked_rows_and_difference_quotients(seed: int) -> None:
    one = seen(seed)
    rotation, position_m, covariance_m2 = slow_refinement(one)
    placed = refine_camera(PlacedHand(one.hand), one.crop, CropView.of(one.crop, CAMERA))
    assert placed.wrist_camera_m is not None
    np.testing.assert_allclose(placed.wrist_camera_m, position_m, atol=EQUAL_M)
    to_camera = camera_from_crop(one.crop.crop_from_image, CAMERA)
    np.testing.assert_allclose(to_camera @ placed.hand.rotation, rotation, atol=1e-5)
    np.testing.assert_allclose(placed.wrist_covariance_m2, covariance_m2, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_pose_moves_by_the_pseudoinverse_of_the_slopes(seed: int) -> None:
    one = seen(seed)
    view = CropView.of(one.crop, CAMERA)
    placed = refine_camera(PlacedHand(one.hand), one.crop, view)
    assert placed.wrist_camera_m is not None
    points_m = in_camera(placed.hand, one.crop.crop_from_image) + placed.wrist_camera_m
    offsets = one.in_crop(points_m) * -1 + one.crop.detection.keypoints_px @ one.crop.crop_from_image[:, :2].T / 112
    offsets += one.crop.crop_from_image[:, 2] / 112 - 1
    moves = []
    for point, offset in zip(points_m, offsets, strict=True):
        slopes = [(one.in_crop((point + step)[None]) - one.in_crop((point - step)[None]))[0] / 2e-6
                  for step in np.eye(3) * 1e-6]  # fmt: skip
        weight = min(1.0, HUBER_LIMIT * DEFAULT_PRIOR.keypoint / float(np.linalg.norm(offset)))
        moves.append(np.linalg.pinv(np.array(slopes).T) @ offset * FRACTION_IN_IMAGE * weight)
    found = refine_in_2d(placed, one.crop, view, LIFT)
    assert found.wrist_camera_m is not None
    np.testing.assert_allclose(found.wrist_camera_m - placed.wrist_camera_m, moves[0], atol=EQUAL_M)
    rotation = camera_from_crop(one.crop.crop_from_image, CAMERA) @ placed.hand.rotation.astype(np.float64)
    canonical = (np.array(moves) - moves[0]) @ rotation
    np.testing.assert_allclose(found.hand.keypoints_m - placed.hand.keypoints_m, canonical, atol=EQUAL_M)
    np.testing.assert_allclose(found.hand.vertices_m - placed.hand.vertices_m, LIFT @ canonical, atol=EQUAL_M)


def test_marks_covariances_and_deviations_are_those_of_one_point_at_a_time() -> None:
    one = seen(3)
    np.testing.assert_allclose(
        as_the_detector_marks_them(one.hand.keypoints_m), marked(one.hand.keypoints_m), atol=1e-8
    )
    rotation = camera_from_crop(one.crop.crop_from_image, CAMERA) @ one.hand.rotation.astype(np.float64)
    std_m = one.hand.vertex_std_m
    assert std_m is not None
    slow_mm2 = [rotation @ np.diag((1000 * row.astype(float)) ** 2) @ rotation.T for row in std_m]
    np.testing.assert_allclose(covariances_mm2(std_m, rotation), slow_mm2, atol=1e-9)
    slow_mm = [1000 * np.linalg.norm(row.astype(float)) for row in std_m]
    np.testing.assert_allclose(total_std_mm(std_m), slow_mm, rtol=3e-7)


def test_the_mesh_in_its_crop_is_projected_as_each_vertex_is() -> None:
    one = seen(5)
    mesh = hand_mesh_from_crop(PlacedHand(one.hand), one.crop, intrinsics=CAMERA, model="final")
    expected = one.in_crop(mesh.vertices_m + mesh.wrist_camera_m)
    np.testing.assert_allclose(mesh_in_crop(mesh, one.crop)[:, :2], expected, atol=1e-9)
