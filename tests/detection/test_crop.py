"""Image -> crop -> image, and the network's output back to the camera, for left and right hands."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handviz.core.geometry import apply_affine, intrinsics_from_field_of_view, invert_affine
from handviz.core.records import (
    CROP_SIZE,
    CropSpec,
    Detection,
    FloatArray,
    HandCrop,
    Handedness,
    HandMesh,
    Intrinsics,
    NetworkOutput,
    PlacedHand,
)
from handviz.detection.crop import (
    camera_from_crop,
    crop_from_image_affine,
    crop_hand,
    cut_out,
    hand_mesh_from_crop,
    mesh_in_crop,
)

HANDS: tuple[Handedness, ...] = ("left", "right")
MIRROR = np.diag([-1.0, 1.0, 1.0])
CAMERA = intrinsics_from_field_of_view(1280, 960, 60.0)


def flat_hand_px(*, centre: tuple[float, float], extent: float, rotation_rad: float) -> FloatArray:
    """Return 21 keypoints of a flat hand, fingers up before the rotation, ``extent`` pixels tall."""
    fingers = [(np.array([-0.35, -0.35]), 0.25), *((np.array([x, -0.9]), 0.1) for x in (-0.15, 0.0, 0.12, 0.25))]
    points = [np.zeros(2)]
    for tip, start in fingers:
        points += [tip * (start + (1 - start) * step / 3) for step in range(4)]
    shape = (np.array(points) + np.array([0.05, 0.45])) * extent / 0.9
    cosine, sine = math.cos(rotation_rad), math.sin(rotation_rad)
    return shape @ np.array([[cosine, sine], [-sine, cosine]]) + centre


def blob(width: int, height: int, centre_px: FloatArray, sigma_px: float) -> NDArray[np.uint8]:
    """Draw a white Gaussian spot on black; pixel centres at halves."""
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    spot = np.exp(-((x - centre_px[0]) ** 2) / (2 * sigma_px**2))[None, :]
    spot = spot * np.exp(-((y - centre_px[1]) ** 2) / (2 * sigma_px**2))[:, None]
    return np.repeat((spot * 255).round().astype(np.uint8)[..., None], 3, axis=2)


def centroid_px(image: NDArray) -> FloatArray:
    """Return the spot's centre, in pixels with centres at halves."""
    weight = image[..., 0].astype(np.float64)
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("handedness", HANDS)
@pytest.mark.parametrize("rotation_rad", [0.0, 1.0, -2.5, math.pi])
def test_points_come_back(handedness: Handedness, rotation_rad: float) -> None:
    keypoints = flat_hand_px(centre=(300.0, 200.0), extent=150.0, rotation_rad=rotation_rad)
    affine = crop_from_image_affine(keypoints, handedness)
    back = apply_affine(invert_affine(affine), apply_affine(affine, keypoints))
    np.testing.assert_allclose(back, keypoints, atol=1e-9)


@pytest.mark.parametrize("handedness", HANDS)
@pytest.mark.parametrize("extent", [40.0, 150.0, 400.0])
def test_pixels_come_back_to_a_tenth_of_a_pixel(handedness: Handedness, extent: float) -> None:
    keypoints = flat_hand_px(centre=(321.3, 245.8), extent=extent, rotation_rad=0.7)
    affine = crop_from_image_affine(keypoints, handedness)
    for keypoint in keypoints[[0, 4, 9, 20]]:
        crop = cut_out(blob(640, 480, keypoint, sigma_px=extent / 20), affine)
        back = apply_affine(invert_affine(affine), centroid_px(crop))
        np.testing.assert_allclose(back, keypoint, atol=0.1)


@pytest.mark.parametrize("handedness", HANDS)
def test_large_images_are_reduced_to_the_same_place(handedness: Handedness) -> None:
    keypoints = flat_hand_px(centre=(1501.7, 1203.2), extent=1700.0, rotation_rad=-0.4)
    affine = crop_from_image_affine(keypoints, handedness)
    assert math.sqrt(abs(np.linalg.det(affine[:, :2]))) < 0.1, "not the reduced path"
    for keypoint in keypoints[[0, 12]]:
        crop = cut_out(blob(3001, 2405, keypoint, sigma_px=60.0), affine)
        back = apply_affine(invert_affine(affine), centroid_px(crop))
        np.testing.assert_allclose(back, keypoint, atol=0.3)


def test_large_images_do_not_alias() -> None:
    stripes = np.zeros((2400, 3000, 3), np.uint8)
    stripes[:, ::2] = 255
    keypoints = flat_hand_px(centre=(1500.0, 1200.0), extent=1000.0, rotation_rad=0.3)
    crop = cut_out(stripes, crop_from_image_affine(keypoints, "right"))
    assert crop.std() < 3, "stripes of one pixel average to grey"


@pytest.mark.parametrize("handedness", HANDS)
@pytest.mark.parametrize("rotation_rad", [0.0, 2.0, -1.2])
def test_the_crop_is_upright_holds_the_hand_and_looks_like_a_right_one(
    handedness: Handedness, rotation_rad: float
) -> None:
    """The drawn thumb is on the left, as on the back of a right hand; a left hand is mirrored."""
    keypoints = flat_hand_px(centre=(300.0, 200.0), extent=150.0, rotation_rad=rotation_rad)
    in_crop = apply_affine(crop_from_image_affine(keypoints, handedness), keypoints)
    assert in_crop[0, 0] == pytest.approx(in_crop[9, 0])
    assert in_crop[9, 1] < in_crop[0, 1]
    assert np.ptp(in_crop, axis=0).max() == pytest.approx(CROP_SIZE / 1.8)
    np.testing.assert_allclose((in_crop.min(axis=0) + in_crop.max(axis=0)) / 2, CROP_SIZE / 2)
    assert (in_crop[4, 0] < in_crop[20, 0]) == (handedness == "right")


def test_a_left_hand_gives_the_crop_of_its_mirrored_image() -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    keypoints = flat_hand_px(centre=(300.0, 220.0), extent=180.0, rotation_rad=0.5)
    right = crop_hand(image, Detection("right", 1.0, keypoints))
    mirrored = np.stack([image.shape[1] - keypoints[:, 0], keypoints[:, 1]], axis=1)
    left = crop_hand(np.ascontiguousarray(image[:, ::-1]), Detection("left", 1.0, mirrored))
    assert np.abs(left.image.astype(int) - right.image).mean() < 1
    assert right.image.shape == (CROP_SIZE, CROP_SIZE, 3)
    assert right.image.dtype == np.uint8
    assert right.image.max() > 0.9 * 255


@pytest.mark.parametrize("handedness", HANDS)
def test_a_model_gets_the_crop_that_it_asks_for(handedness: Handedness) -> None:
    spec = CropSpec(size_px=96, side_per_extent=2.5, is_upright=False)
    keypoints = flat_hand_px(centre=(300.0, 220.0), extent=150.0, rotation_rad=0.7)
    crop = crop_hand(np.zeros((480, 640, 3), np.uint8), Detection(handedness, 1.0, keypoints), spec)
    assert (crop.image.shape, crop.size_px, crop.half_px) == ((96, 96, 3), 96, 48.0)
    # The image's axes are kept, but for the mirror of left hands.
    scale = 96 / 2.5 / np.ptp(keypoints, axis=0).max()
    mirror = -1.0 if handedness == "left" else 1.0
    np.testing.assert_allclose(crop.crop_from_image[:, :2], np.diag([mirror * scale, scale]), atol=1e-12)
    middle = apply_affine(crop.crop_from_image, (keypoints.min(axis=0) + keypoints.max(axis=0)) / 2)
    np.testing.assert_allclose(middle, 48)


@pytest.mark.parametrize("handedness", HANDS)
def test_a_hand_is_the_same_from_crops_of_any_size(handedness: Handedness) -> None:
    """Scale and translation are in half-sides, so that a crop of half the pixels changes nothing."""
    mesh, _, answer, crop = reconstruct(
        handedness, Rotation.random(random_state=2).as_matrix(), np.array([0.1, 0, 0.5])
    )
    small = HandCrop(crop.image[::2, ::2], crop.crop_from_image / 2, crop.detection)
    again = hand_mesh_from_crop(PlacedHand(answer), small, intrinsics=CAMERA, model="final")
    np.testing.assert_allclose(again.vertices_m, mesh.vertices_m, atol=1e-12)
    np.testing.assert_allclose(again.wrist_camera_m, mesh.wrist_camera_m, atol=1e-9)
    np.testing.assert_allclose(mesh_in_crop(again, small), mesh_in_crop(mesh, crop), atol=1e-9)


def test_nothing_is_invented_beyond_the_edge() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    affine = crop_from_image_affine(flat_hand_px(centre=(0.0, 50.0), extent=40.0, rotation_rad=0.0), "right")
    crop = cut_out(white, affine)
    edge = round(apply_affine(affine, np.array([0.0, 50.0]))[0])
    assert 50 < edge < 170
    assert crop[:, : edge - 2].max() == 0
    assert crop[:, edge + 2 :].min() == 255


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 4000, 3), (4000, 1, 3)])
def test_images_of_one_pixel_do_no_harm(shape: tuple[int, int, int]) -> None:
    keypoints = flat_hand_px(centre=(0.5, 0.5), extent=3000.0, rotation_rad=0.0)
    crop = cut_out(np.zeros(shape, np.uint8), crop_from_image_affine(keypoints, "right"))
    assert crop.shape == (CROP_SIZE, CROP_SIZE, 3)


@pytest.mark.parametrize("handedness", HANDS)
def test_jitter_turns_and_shifts_the_crop(handedness: Handedness) -> None:
    keypoints = flat_hand_px(centre=(300.0, 200.0), extent=150.0, rotation_rad=0.4)
    plain = apply_affine(crop_from_image_affine(keypoints, handedness), keypoints)
    rotated = apply_affine(crop_from_image_affine(keypoints, handedness, rotation_rad=0.2), keypoints)
    spans = [points[9] - points[0] for points in (plain, rotated)]
    angles = [math.atan2(span[1], span[0]) for span in spans]
    assert abs(angles[0] - angles[1]) == pytest.approx(0.2)
    shift = np.array([0.1, -0.05])
    moved = apply_affine(crop_from_image_affine(keypoints, handedness, shift=shift), keypoints)
    expected = -shift * CROP_SIZE * ([-1, 1] if handedness == "left" else [1, 1])
    np.testing.assert_allclose(moved - plain, np.broadcast_to(expected, (21, 2)), atol=1e-9)


def canonical_points_m() -> FloatArray:
    """Return points (60, 3) of a right hand's size and rough form; the first 21 stand for keypoints, wrist at 0."""
    generator = np.random.default_rng(3)
    flat = flat_hand_px(centre=(0.0, 0.0), extent=0.18, rotation_rad=0.9)
    keypoints = np.concatenate([flat - flat[0], generator.normal(scale=0.015, size=(21, 1))], axis=1)
    keypoints[0] = 0.0
    return np.concatenate([keypoints, keypoints.mean(axis=0) + generator.normal(scale=0.03, size=(39, 3))])


def project_px(points_m: FloatArray, camera: Intrinsics) -> FloatArray:
    """Project by a pinhole camera."""
    x = camera.focal_px * points_m[:, 0] / points_m[:, 2] + camera.centre_x_px
    y = camera.focal_px * points_m[:, 1] / points_m[:, 2] + camera.centre_y_px
    return np.stack([x, y], axis=1)


def best_weak_perspective(points_m: FloatArray, points_crop_px: FloatArray) -> tuple[FloatArray, float, FloatArray]:
    """Return rotation, scale and translation of a perfect network: the linear fit, made orthonormal."""
    targets = points_crop_px / (CROP_SIZE / 2) - 1
    design = np.concatenate([points_m, np.ones((len(points_m), 1))], axis=1)
    fit = np.linalg.lstsq(design, targets, rcond=None)[0].T
    left, stretch, right = np.linalg.svd(fit[:, :3], full_matrices=False)
    rows = left @ right
    return np.stack([rows[0], rows[1], np.cross(rows[0], rows[1])]), float(stretch.mean()), fit[:, 3]


def reconstruct(
    handedness: Handedness, camera_from_wrist: FloatArray, wrist_m: FloatArray
) -> tuple[HandMesh, FloatArray, NetworkOutput, HandCrop]:
    """Return a perfect network's mesh, the true points in the camera frame, its output and the crop."""
    canonical = canonical_points_m()
    mirror = MIRROR if handedness == "left" else np.eye(3)
    true_m = canonical @ (camera_from_wrist @ mirror).T + wrist_m
    image_px = project_px(true_m, CAMERA)
    affine = crop_from_image_affine(image_px[:21], handedness)
    rotation, scale, translation = best_weak_perspective(canonical, apply_affine(affine, image_px))
    std_m = np.full((60, 3), [0.001, 0.002, 0.002])
    answer = NetworkOutput(canonical, canonical[:21], rotation, scale, translation, std_m, std_m[:21])
    black = np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)
    crop = HandCrop(black, affine, Detection(handedness, 0.9, image_px[:21]))
    return hand_mesh_from_crop(PlacedHand(answer), crop, intrinsics=CAMERA, model="final"), true_m, answer, crop


POSITIONS_M = [(0.0, 0.0, 0.6), (0.28, -0.1, 0.6), (-0.25, 0.22, 0.7), (0.05, 0.02, 0.35)]


@pytest.mark.parametrize("handedness", HANDS)
@pytest.mark.parametrize("wrist_m", POSITIONS_M)
@pytest.mark.parametrize("seed", range(3))
def test_a_known_hand_comes_back_from_its_crop(
    handedness: Handedness, wrist_m: tuple[float, float, float], seed: int
) -> None:
    """Weak perspective is an approximation: at arm's length it costs some degrees and millimetres, no more."""
    camera_from_wrist = Rotation.random(random_state=seed).as_matrix()
    mesh, true_m, _, _ = reconstruct(handedness, camera_from_wrist, np.array(wrist_m))
    error = Rotation.from_matrix(mesh.camera_from_wrist @ camera_from_wrist.T)
    assert np.linalg.det(mesh.camera_from_wrist) == pytest.approx(1.0)
    assert math.degrees(error.magnitude()) < 6.0
    errors_mm = np.linalg.norm(mesh.vertices_m - (true_m - true_m[0]), axis=1) * 1000
    assert errors_mm.mean() < 9.0
    extent_px = np.ptp(project_px(true_m, CAMERA), axis=0).max()
    assert np.abs(mesh.vertices_px - project_px(true_m, CAMERA)).mean() < 0.05 * extent_px
    # The answer's rotation is the best in weak perspective, not the true one.
    np.testing.assert_allclose(mesh.wrist_camera_m, wrist_m, atol=0.1 * wrist_m[2])


@pytest.mark.parametrize("handedness", HANDS)
def test_the_parts_of_a_mesh_agree_with_each_other(handedness: Handedness) -> None:
    camera_from_wrist = Rotation.random(random_state=5).as_matrix()
    mesh, _, answer, _ = reconstruct(handedness, camera_from_wrist, np.array([0.2, 0.1, 0.6]))
    mirror = MIRROR if handedness == "left" else np.eye(3)
    np.testing.assert_allclose(mesh.vertices_m, (answer.vertices_m @ mirror) @ mesh.camera_from_wrist.T, atol=1e-12)
    np.testing.assert_allclose(mesh.keypoints_m, mesh.vertices_m[:21], atol=1e-12)
    np.testing.assert_array_equal(mesh.keypoints_m[0], np.zeros(3))
    np.testing.assert_allclose(mesh.keypoints_px, mesh.vertices_px[:21], atol=1e-9)
    np.testing.assert_allclose(mesh.vertex_std_mm, 3.0)
    np.testing.assert_allclose(mesh.keypoint_std_mm, 3.0)
    seen_px = project_px(mesh.vertices_m + mesh.wrist_camera_m, CAMERA)
    np.testing.assert_allclose(mesh.vertices_px, seen_px, atol=1e-9)
    assert (mesh.handedness, mesh.model, mesh.detection_score) == (handedness, "final", 0.9)


@pytest.mark.parametrize("handedness", HANDS)
def test_covariances_are_those_of_hands_drawn_from_the_networks_answer(handedness: Handedness) -> None:
    camera_from_wrist = Rotation.random(random_state=5).as_matrix()
    _, _, answer, crop = reconstruct(handedness, camera_from_wrist, np.array([0.2, 0.1, 0.6]))
    std_m = np.array([0.001, 0.004, 0.009])
    drawn_m = np.random.default_rng(0).normal(answer.vertices_m[7], std_m, (40_000, 3))
    certain = replace(answer, vertex_std_m=np.tile(std_m, (60, 1)), keypoint_std_m=np.tile(std_m, (21, 1)))
    mesh = hand_mesh_from_crop(PlacedHand(certain), crop, intrinsics=CAMERA, model="final")
    placed = PlacedHand(replace(certain, vertices_m=drawn_m))
    drawn = hand_mesh_from_crop(placed, crop, intrinsics=CAMERA, model="final")
    found_mm2 = np.cov(drawn.vertices_m.T) * 1e6
    assert mesh.vertex_covariance_mm2 is not None
    assert mesh.keypoint_covariance_mm2 is not None
    np.testing.assert_allclose(mesh.vertex_covariance_mm2[7], found_mm2, atol=1.5)
    np.testing.assert_allclose(mesh.keypoint_covariance_mm2[20], mesh.vertex_covariance_mm2[7])
    np.testing.assert_allclose(np.trace(mesh.keypoint_covariance_mm2[3]), mesh.keypoint_std_mm[3] ** 2)


@pytest.mark.parametrize("handedness", HANDS)
def test_the_scale_is_pixels_per_metre_across_the_ray(handedness: Handedness) -> None:
    mesh, true_m, _, _ = reconstruct(handedness, np.eye(3), np.array([0.0, 0.0, 2.0]))
    assert mesh.pixels_per_m == pytest.approx(CAMERA.focal_px / true_m[:, 2].mean(), rel=0.01)


@pytest.mark.parametrize("handedness", HANDS)
def test_camera_from_crop_is_orthogonal_and_mirrors_lefts_only(handedness: Handedness) -> None:
    keypoints = flat_hand_px(centre=(900.0, 200.0), extent=150.0, rotation_rad=2.0)
    to_camera = camera_from_crop(crop_from_image_affine(keypoints, handedness), CAMERA)
    np.testing.assert_allclose(to_camera @ to_camera.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(to_camera) == pytest.approx(-1.0 if handedness == "left" else 1.0)
