"""The posterior of a hand: against sampling, against difference quotients, and on observations that are no good."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from handviz.core.errors import ErrorCode
from handviz.core.files import read_arrays, write_arrays
from handviz.core.geometry import apply_affine, invert_affine, procrustes_aligned, rotation_from_axis_angle
from handviz.core.records import CROP_SIZE, Detection, FloatArray, HandCrop, Intrinsics, NetworkOutput, PlacedHand
from handviz.core.shape_posterior import ShapePosterior, turned_covariance
from handviz.detection.crop import (
    CropView,
    as_the_detector_marks_them,
    camera_from_crop,
    crop_from_image_affine,
    hand_mesh_from_crop,
    wrist_from_network,
)
from handviz.hand_models.layer import HandLayer
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.skinning import vertices_from_keypoint_displacements
from handviz.pipeline import error_model as error_files
from handviz.pipeline import posterior
from handviz.pipeline.error_model import SIZE, ErrorModel, error_model
from handviz.pipeline.posterior import (
    Camera,
    Shape,
    fused,
    keypoint_scales,
    linearised,
    network_shape,
    with_image_landmarks,
    with_posterior,
    with_world_landmarks,
    without_motion,
)
from tests.errors import raises
from tests.tiny_network import constant_hand

TEMPLATE = load_open_hand()
LIFT = vertices_from_keypoint_displacements(TEMPLATE)
CAMERA = Intrinsics(600.0, 320.0, 240.0)
AFFINE = crop_from_image_affine(np.random.default_rng(0).uniform(100, 300, (21, 2)), "left")
VIEW = CropView(AFFINE, CAMERA)
TURN = rotation_from_axis_angle(np.array([0.4, 1.0, -0.3]))
STD_M = 0.006
SPREAD = np.random.default_rng(7).uniform(0.8, 1.2, TEMPLATE.vertex_count)
"""Of the standard deviations: points differ."""


def bent(angle: float) -> FloatArray:
    """(V, 3) the hand with every finger joint bent by radians."""
    pose = torch.zeros(1, 15, 3)
    pose[:, 3:, 2] = angle
    with torch.no_grad():
        return HandLayer(TEMPLATE)(pose.flatten(1), torch.zeros(1, 10)).vertices_m[0].double().numpy()


def hand_of(vertices_m: FloatArray, landmark_vertices_m: FloatArray, presence: float = 1.0) -> NetworkOutput:
    """Return a network's hand with the world landmarks of a hand of vertices ``landmark_vertices_m`` (V, 3)."""
    fields = constant_hand()
    keypoints = TEMPLATE.keypoint_regressor @ vertices_m
    marked_m = as_the_detector_marks_them(TEMPLATE.keypoint_regressor @ landmark_vertices_m)
    own = {
        "vertices_m": vertices_m,
        "keypoints_m": keypoints,
        "keypoint_std_m": STD_M * SPREAD[:21, None] * np.ones(3),
        "vertex_std_m": STD_M * SPREAD[: len(vertices_m), None] * np.ones(3),
        "rotation": TURN,
        "scale": 6.0,
        "translation": np.array([0.05, 0.5]),
        "landmarks_m": 0.8 * marked_m @ TURN.T + np.array([0.1, 0.0, 0.3]),
        "presence": presence,
    }
    return NetworkOutput(**{**fields, **own})


def crop_marked(marks: FloatArray) -> HandCrop:
    """Return a crop in whose [-1, 1] the detector found keypoints (21, 2)."""
    keypoints_px = apply_affine(invert_affine(AFFINE), (marks + 1) * CROP_SIZE / 2)
    return HandCrop(np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8), AFFINE, Detection("left", 1.0, keypoints_px))


def seen_by(hand: NetworkOutput | PlacedHand) -> FloatArray:
    """Return where the detector would mark a hand (21, 2), in the crop's [-1, 1]."""
    placed = PlacedHand(hand) if isinstance(hand, NetworkOutput) else hand
    position_m = placed.wrist_camera_m
    if position_m is None:
        position_m = wrist_from_network(placed.hand, VIEW)
    keypoints_m = placed.hand.keypoints_m - placed.hand.keypoints_m[0]
    turned = as_the_detector_marks_them(keypoints_m) @ (camera_from_crop(AFFINE, CAMERA) @ placed.hand.rotation).T
    return VIEW.in_crop(turned + position_m)


def keypoint_stds(placed: PlacedHand) -> FloatArray:
    """Return (21,) metres."""
    assert placed.shape is not None
    return np.sqrt(np.diag(placed.shape.covariance_m2).reshape(21, 3).sum(axis=1))


def of_two_numbers(directions: FloatArray, **changes: object) -> ErrorModel:
    """Return errors in which the network's shape errs along two directions (63, 2) alone."""
    image = np.eye(42) * 4.0 + 1.0
    world = np.kron(np.eye(21) * 0.7 + 0.3, np.eye(3)) * 2.0
    fields = {
        "shape": directions @ directions.T,
        "world": world,
        "image": image,
        "camera_std": np.full(6, 1e-6),
        "usual_std_m": np.full(21, STD_M),
        "of_shape": np.ones(21),
        "network_scale": 1.0,
        "bone_std": np.full(20, 1e3),
        "scale": 1.0,
        "degrees": 1e9,
        "own_fraction": 0.01,
    }
    return ErrorModel(**{**fields, **changes})  # type: ignore[arg-type]


def weighted(values: FloatArray, log_weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and covariance of weighted samples."""
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    # Enough samples count for the moments to be those of the distribution.
    assert 1 / np.square(weights).sum() > 1000
    mean = weights @ values
    return mean, (values - mean).T @ ((values - mean) * weights[:, None])


def two_directions(hand: NetworkOutput) -> FloatArray:
    """Return two displacements (63, 2) of a hand's keypoints, in standard deviations, that are no motion of it all."""
    points_m = (hand.keypoints_m - hand.keypoints_m[0]) @ hand.rotation.T
    random = np.random.default_rng(1).normal(size=(SIZE, 2))
    return without_motion(points_m) @ random


def test_world_landmarks_give_the_posterior_that_sampling_finds() -> None:
    """Samples of the prior, weighted by the likelihood of the landmarks after their own alignment."""
    hand = hand_of(bent(0.3), bent(0.38))
    directions = two_directions(hand)
    scales_m = np.repeat(keypoint_scales(hand, of_two_numbers(directions)), 3)
    spread_m = without_motion((hand.keypoints_m - hand.keypoints_m[0]) @ TURN.T) @ (scales_m[:, None] * directions)
    errors = of_two_numbers(directions)
    found = with_world_landmarks(network_shape(hand, errors), errors, LIFT)
    assert hand.landmarks_m is not None
    start_m = ((hand.keypoints_m - hand.keypoints_m[0]) @ TURN.T).ravel()
    marked_m = as_the_detector_marks_them(start_m.reshape(21, 3))
    projection = without_motion(marked_m)
    aligned_m = procrustes_aligned(hand.landmarks_m[None], marked_m[None])[0]
    noise = projection @ (errors.world * np.outer(scales_m, scales_m)) @ projection
    # The whole hand's motions are no observation.
    precision = np.linalg.pinv(noise, rcond=1e-9, hermitian=True)
    numbers = np.random.default_rng(2).normal(size=(100_000, 2))
    samples_m = numbers @ spread_m.T
    expected = as_the_detector_marks_them(samples_m.reshape(-1, 21, 3)).reshape(-1, SIZE) @ projection
    left = projection @ (aligned_m - marked_m).ravel() - expected
    mean, covariance = weighted(numbers, -0.5 * np.einsum("ni,ij,nj->n", left, precision, left))
    to_numbers = np.linalg.pinv(spread_m)
    moved_m = ((found.hand.keypoints_m - hand.keypoints_m) @ TURN.T).reshape(21, 3)
    # The record keeps the wrist at the origin.
    moved_m = without_motion(start_m.reshape(21, 3)) @ moved_m.ravel()
    np.testing.assert_allclose(to_numbers @ moved_m, mean, atol=0.03 * np.sqrt(np.diag(covariance)).max())
    np.testing.assert_allclose(to_numbers @ found.covariance_m2 @ to_numbers.T, covariance, rtol=0.05, atol=1e-4)


def test_image_landmarks_give_the_posterior_that_sampling_finds() -> None:
    """The same in true perspective, with the rotation about one axis unknown too; nothing is linearised in it."""
    hand = hand_of(bent(0.3), bent(0.3))
    directions, std_rad = two_directions(hand), 0.1
    scales_m = np.repeat(keypoint_scales(hand, of_two_numbers(directions)), 3)
    spread_m = without_motion((hand.keypoints_m - hand.keypoints_m[0]) @ TURN.T) @ (scales_m[:, None] * directions)
    camera_std = np.array([1e-6, 1e-6, std_rad, 1e-6, 1e-6, 1e-6])
    errors = of_two_numbers(directions, camera_std=camera_std, image=(np.eye(42) + 0.3) * 25.0)
    start = wrist_from_network(hand, VIEW)
    to_camera = camera_from_crop(AFFINE, CAMERA)
    points_m = (hand.keypoints_m - hand.keypoints_m[0]) @ TURN.T

    def marked_in_crop(numbers: FloatArray, angle: float) -> FloatArray:
        moved_m = as_the_detector_marks_them(points_m + (spread_m @ numbers).reshape(21, 3))
        turned = moved_m @ to_camera.T @ Rotation.from_rotvec([0, 0, angle]).as_matrix().T
        return VIEW.in_crop(turned + start)

    marks = marked_in_crop(np.array([0.4, -0.3]), 0.06) + np.random.default_rng(3).normal(0, 0.004, (21, 2))
    shape, placed = with_image_landmarks(
        network_shape(hand, errors), PlacedHand(hand), crop_marked(marks), VIEW, LIFT, errors=errors
    )
    random = np.random.default_rng(4)
    draws = np.column_stack([random.normal(size=(25_000, 2)), random.normal(0, std_rad, 25_000)])
    half_sides = posterior.half_sides_per_m(points_m, Camera(to_camera @ TURN, start), VIEW)
    each = np.repeat(scales_m[::3] * half_sides, 2)
    precision = np.linalg.inv(errors.image * np.outer(each, each))
    left = np.array([(marks - marked_in_crop(draw[:2], draw[2])).ravel() for draw in draws])
    mean, covariance = weighted(draws, -0.5 * np.einsum("ni,ij,nj->n", left, precision, left))
    turn = placed.hand.rotation @ TURN.T
    angle = Rotation.from_matrix(to_camera @ turn @ to_camera.T).as_rotvec()[2]
    stds = np.sqrt(np.diag(covariance))
    assert angle == pytest.approx(mean[2], abs=0.15 * stds[2])
    to_numbers = np.linalg.pinv(spread_m)
    moved_m = (placed.hand.keypoints_m - hand.keypoints_m) @ TURN.T
    moved_m = without_motion(points_m) @ moved_m.ravel()
    np.testing.assert_allclose(to_numbers @ moved_m, mean[:2], atol=0.15 * stds[:2].max())
    np.testing.assert_allclose(
        to_numbers @ shape.covariance_m2 @ to_numbers.T, covariance[:2, :2], rtol=0.12, atol=0.02 * stds[:2].max() ** 2
    )


def with_covariance(hand: NetworkOutput, covariance_m2: FloatArray) -> NetworkOutput:
    """Return a hand whose network predicts a covariance (63, 63) in the crop's axes."""
    return replace(hand, keypoint_covariance_m2=turned_covariance(covariance_m2, hand.rotation.T))


def test_a_quarter_of_the_prior_is_the_networks_own_covariance() -> None:
    hand = hand_of(bent(0.3), bent(0.3))
    points_m = (hand.keypoints_m - hand.keypoints_m[0]) @ TURN.T
    root_m = 0.004 * np.random.default_rng(9).normal(size=(SIZE, 5))
    own_m2 = root_m @ root_m.T + 0.002**2 * np.eye(SIZE)
    errors = of_two_numbers(two_directions(hand), network_scale=1.7)
    hand = with_covariance(hand, own_m2)
    scales_m = np.repeat(keypoint_scales(hand, errors), 3)
    # Turning mixes a keypoint's axes: its variances' mean is the same.
    np.testing.assert_allclose(scales_m[3::3], np.sqrt(np.diag(own_m2).reshape(21, 3).mean(axis=1))[1:])
    projection = without_motion(points_m)
    expected = projection @ (0.75 * errors.shape * np.outer(scales_m, scales_m) + 0.25 * 1.7 * own_m2) @ projection
    np.testing.assert_allclose(network_shape(hand, errors).covariance_m2, expected, rtol=1e-3, atol=1e-9)


def test_a_singular_covariance_of_the_network_leaves_a_hand_finite() -> None:
    hand = hand_of(bent(0.3), bent(0.35))
    for own_m2 in (np.zeros((SIZE, SIZE)), np.outer(np.ones(SIZE), np.ones(SIZE)) * 1e-4):
        placed = fused(with_covariance(hand, own_m2), crop_marked(seen_by(hand)), VIEW, LIFT)
        assert placed.shape is not None
        assert np.isfinite(placed.shape.covariance_m2).all()
        assert (keypoint_stds(placed) > 0).all()


def test_derivatives_are_difference_quotients() -> None:
    hand = hand_of(bent(0.3), bent(0.3))
    points_m = (hand.keypoints_m - hand.keypoints_m[0]) @ TURN.T
    camera = Camera(camera_from_crop(AFFINE, CAMERA) @ TURN, np.array([-0.1, 0.04, 0.4]))
    marks = np.zeros((21, 2))

    def residual(displacement: FloatArray, motion: FloatArray) -> FloatArray:
        moved = camera.moved(motion, VIEW)
        marked = as_the_detector_marks_them(points_m + displacement.reshape(21, 3))
        return linearised(marked, moved, moved.rotation @ TURN.T, marks, VIEW).residual

    linear = linearised(as_the_detector_marks_them(points_m), camera, camera.rotation @ TURN.T, marks, VIEW)
    step = 1e-6
    by_camera = [residual(np.zeros(SIZE), step * axis) - residual(np.zeros(SIZE), -step * axis) for axis in np.eye(6)]
    np.testing.assert_allclose(-np.transpose(by_camera) / (2 * step), linear.by_camera, atol=1e-4)
    by_shape = [residual(step * axis, np.zeros(6)) - residual(-step * axis, np.zeros(6)) for axis in np.eye(SIZE)]
    np.testing.assert_allclose(-np.transpose(by_shape) / (2 * step), linear.by_shape, atol=1e-4)


def test_landmarks_that_agree_move_nothing_and_make_the_hand_surer() -> None:
    hand = hand_of(bent(0.3), bent(0.3))
    alone = with_posterior(PlacedHand(hand), network_shape(hand, error_model()), LIFT)
    placed = fused(hand, crop_marked(seen_by(hand)), VIEW, LIFT)
    np.testing.assert_allclose(placed.hand.vertices_m, hand.vertices_m, atol=1e-5)
    np.testing.assert_allclose(placed.hand.rotation, hand.rotation, atol=1e-4)
    assert (keypoint_stds(placed) < keypoint_stds(alone)).all()
    assert placed.shape is not None
    assert placed.shape.distance == pytest.approx(0, abs=1e-2)
    assert (placed.shape.landmark_shares > 0).all()


def test_a_pose_that_landmarks_contradict_moves_towards_them_and_stays_a_hand() -> None:
    hand, true_m = hand_of(bent(0.3), bent(0.45)), TEMPLATE.keypoint_regressor @ bent(0.45)
    found = with_world_landmarks(network_shape(hand, error_model()), error_model(), LIFT).hand

    def away_mm(one: NetworkOutput) -> float:
        aligned = procrustes_aligned(one.keypoints_m[None].astype(float), true_m[None])[0]
        return float(np.linalg.norm(aligned - true_m, axis=1).mean() * 1000)

    assert away_mm(hand) > 4
    assert away_mm(found) < 0.75 * away_mm(hand)
    np.testing.assert_allclose(TEMPLATE.keypoint_regressor @ found.vertices_m, found.keypoints_m, atol=1e-5)
    np.testing.assert_allclose(found.keypoints_m[0], 0, atol=1e-6)


def test_a_contradiction_never_makes_a_hand_surer() -> None:
    """The further the landmarks lie from the network's hand, the wider is what is left."""
    stds = []
    for angle in (0.3, 0.45, 0.6, 0.9):
        hand = hand_of(bent(0.3), bent(angle))
        stds.append(keypoint_stds(fused(hand, crop_marked(seen_by(hand)), VIEW, LIFT)).mean())
    assert stds == sorted(stds)
    assert stds[-1] > 1.3 * stds[0]


def test_landmarks_of_low_presence_are_trusted_less() -> None:
    def found(presence: float) -> Shape:
        hand = hand_of(bent(0.3), bent(0.45), presence)
        return with_world_landmarks(network_shape(hand, error_model()), error_model(), LIFT)

    moved = [
        np.abs(found(presence).hand.keypoints_m - hand_of(bent(0.3), bent(0.3)).keypoints_m).max()
        for presence in (1.0, 0.5, 0.1)
    ]
    assert moved[0] > 1.5 * moved[1] > 3 * moved[2]
    widths = [np.trace(found(presence).covariance_m2) for presence in (1.0, 0.5, 0.1)]
    assert widths == sorted(widths)


@pytest.mark.parametrize("without", [{"landmarks_m": None}, {"presence": 0.0}])
def test_a_network_without_landmarks_is_left_alone(without: dict[str, float | None]) -> None:
    shape = network_shape(replace(hand_of(bent(0.3), bent(0.45)), **without), error_model())  # type: ignore[arg-type]
    assert with_world_landmarks(shape, error_model(), LIFT) is shape


def test_a_network_without_standard_deviations_is_fused_and_gets_none() -> None:
    hand = replace(hand_of(bent(0.3), bent(0.45)), keypoint_std_m=None, vertex_std_m=None)
    placed = fused(hand, crop_marked(seen_by(hand)), VIEW, LIFT)
    assert placed.shape is None
    assert placed.hand.vertex_std_m is None
    assert np.abs(placed.hand.vertices_m - hand.vertices_m).max() > 0.002


def test_a_network_with_one_standard_deviation_for_all_gets_one() -> None:
    hand = replace(
        hand_of(bent(0.3), bent(0.4)),
        keypoint_std_m=np.full((21, 3), STD_M),
        vertex_std_m=np.full((TEMPLATE.vertex_count, 3), STD_M),
    )
    crop = crop_marked(seen_by(hand))
    placed = fused(hand, crop, VIEW, LIFT)
    mesh = hand_mesh_from_crop(placed, crop, intrinsics=CAMERA, model="prior")
    assert mesh.uncertainty == "constant"
    assert mesh.keypoint_std_mm is not None
    np.testing.assert_allclose(1000 * keypoint_stds(placed), mesh.keypoint_std_mm, rtol=1e-4)
    assert mesh.keypoint_std_mm.mean() < 1000 * np.sqrt(3) * STD_M


def test_one_wild_mark_neither_tears_nor_turns_the_hand() -> None:
    hand = hand_of(bent(0.3), bent(0.3))
    marks = seen_by(hand)
    marks[8] += 1.5
    placed = fused(hand, crop_marked(marks), VIEW, LIFT)
    moved = np.linalg.norm(placed.hand.keypoints_m - hand.keypoints_m, axis=1)
    assert hand.scale * moved[8] < 0.3
    assert hand.scale * np.delete(moved, [7, 8]).max() < 0.15
    assert np.linalg.norm(Rotation.from_matrix(placed.hand.rotation @ TURN.T).as_rotvec()) < 0.2


def nowhere(hand: NetworkOutput) -> NetworkOutput:
    """Return a hand whose keypoints all lie in one place."""
    return replace(hand, keypoints_m=np.zeros((21, 3)), vertices_m=np.zeros_like(hand.vertices_m))


def on_a_line(hand: NetworkOutput) -> NetworkOutput:
    return replace(hand, keypoints_m=np.outer(np.arange(21), [0.0, 0.005, 0.0]))


def sure_of_all(hand: NetworkOutput) -> NetworkOutput:
    return replace(hand, keypoint_std_m=np.zeros((21, 3)), vertex_std_m=np.zeros_like(hand.vertices_m))


def landmarks_in_one_place(hand: NetworkOutput) -> NetworkOutput:
    return replace(hand, landmarks_m=np.ones((21, 3)))


@pytest.mark.parametrize("spoil", [nowhere, on_a_line, sure_of_all, landmarks_in_one_place])
@pytest.mark.parametrize("marks", ["seen", "one place", "outside"])
def test_degenerate_observations_leave_finite_and_positive_variances(
    spoil: Callable[[NetworkOutput], NetworkOutput], marks: str
) -> None:
    good = hand_of(bent(0.3), bent(0.4))
    found = {"seen": seen_by(good), "one place": np.zeros((21, 2)), "outside": seen_by(good) + np.array([0.0, 1.5])}[
        marks
    ]
    placed = fused(spoil(good), crop_marked(found), VIEW, LIFT)
    mesh = hand_mesh_from_crop(placed, crop_marked(found), intrinsics=CAMERA, model="final")
    assert placed.shape is not None
    assert np.isfinite(placed.shape.covariance_m2).all()
    assert np.linalg.eigvalsh(placed.shape.covariance_m2).min() > -1e-9
    for values in (mesh.vertices_m, mesh.keypoints_m, mesh.wrist_camera_m, mesh.vertex_std_mm, mesh.keypoint_std_mm):
        assert values is not None
        assert np.isfinite(values).all()
    assert mesh.keypoint_std_mm is not None
    assert mesh.keypoint_std_mm.min() > 0.1


def test_the_mesh_has_the_posterior_s_deviations_in_the_camera_s_axes() -> None:
    hand = hand_of(bent(0.3), bent(0.4))
    crop = crop_marked(seen_by(hand))
    placed = fused(hand, crop, VIEW, LIFT)
    mesh = hand_mesh_from_crop(placed, crop, intrinsics=CAMERA, model="final")
    assert mesh.shape is not None
    assert placed.shape is not None
    turns = np.kron(np.eye(21), camera_from_crop(AFFINE, CAMERA) @ placed.hand.rotation)
    expected = turns @ placed.shape.covariance_m2 @ turns.T
    np.testing.assert_allclose(mesh.shape.covariance_m2, expected, atol=1e-12)
    assert mesh.keypoint_covariance_mm2 is not None
    for keypoint in (0, 8, 20):
        rows = slice(3 * keypoint, 3 * keypoint + 3)
        np.testing.assert_allclose(mesh.keypoint_covariance_mm2[keypoint], expected[rows, rows] * 1e6, atol=1e-6)
    assert mesh.keypoint_std_mm is not None
    assert mesh.vertex_std_mm is not None
    np.testing.assert_allclose(mesh.keypoint_std_mm, 1000 * keypoint_stds(placed), rtol=1e-4)
    # A vertex's variance: that of the keypoints which move it, and a little of its own.
    moved = np.einsum("vk,klc,vl->v", LIFT, expected.reshape(21, 3, 21, 3).diagonal(axis1=1, axis2=3), LIFT)
    assert hand.vertex_std_m is not None
    own = error_model().own_fraction * np.square(hand.vertex_std_m).sum(axis=1)
    np.testing.assert_allclose(mesh.vertex_std_mm, 1000 * np.sqrt(moved + own), rtol=1e-3)


def test_only_the_camera_moves_where_the_shape_may_not() -> None:
    hand = hand_of(bent(0.3), bent(0.3))
    marks = seen_by(replace(hand, translation=hand.translation + 0.1))
    shape = network_shape(hand, error_model())
    found, placed = with_image_landmarks(shape, PlacedHand(hand), crop_marked(marks), VIEW, LIFT, moves_shape=False)
    np.testing.assert_array_equal(placed.hand.keypoints_m, hand.keypoints_m)
    assert np.linalg.norm(seen_by(placed) - marks, axis=1).mean() < 0.04
    assert np.trace(found.covariance_m2) == pytest.approx(np.trace(shape.covariance_m2))


def test_true_perspective_tells_where_a_near_hand_is() -> None:
    """An exact hand with exact keypoints gets the true camera, if the network's is hardly trusted."""
    hand = hand_of(bent(0.3), bent(0.3))
    true = PlacedHand(hand, wrist_camera_m=np.array([-0.1, 0.04, 0.33]))
    wrong = replace(hand, scale=hand.scale * 1.1, rotation=rotation_from_axis_angle(np.full(3, 0.05)) @ TURN)
    errors = replace(error_model(), camera_std=np.full(6, 10.0), shape=error_model().shape * 1e-6, image=np.eye(42))
    placed = fused(replace(wrong, landmarks_m=None), crop_marked(seen_by(true)), VIEW, LIFT, errors)
    assert placed.wrist_camera_m is not None
    np.testing.assert_allclose(placed.wrist_camera_m, [-0.1, 0.04, 0.33], atol=3e-3)
    np.testing.assert_allclose(seen_by(placed), seen_by(true), atol=0.02)


def test_a_motion_of_the_whole_hand_is_no_part_of_its_shape() -> None:
    points_m = TEMPLATE.keypoint_regressor @ bent(0.4)
    projection = without_motion(points_m)
    np.testing.assert_allclose(projection @ projection, projection, atol=1e-12)
    assert np.trace(projection) == pytest.approx(SIZE - 7)
    small = 1e-5
    turned = points_m @ rotation_from_axis_angle(small * np.array([1.0, -2.0, 0.5])).T * (1 + small) + 0.1
    np.testing.assert_allclose(projection @ (turned - points_m).ravel(), 0, atol=1e-9)


def test_covariances_turn_as_their_points_do() -> None:
    random = np.random.default_rng(6)
    root, mirror = random.normal(size=(SIZE, SIZE)), np.diag([-1.0, 1, 1]) @ TURN
    turns = np.kron(np.eye(21), mirror)
    np.testing.assert_allclose(turned_covariance(root @ root.T, mirror), turns @ root @ root.T @ turns.T, atol=1e-9)


def test_drawn_hands_have_the_covariance_and_are_smooth() -> None:
    hand = hand_of(bent(0.3), bent(0.4))
    placed = fused(hand, crop_marked(seen_by(hand)), VIEW, LIFT)
    assert placed.shape is not None
    # Of a third of the size, so that displacements across bones hardly bend.
    shape = placed.shape.resized(np.full(21, 1 / 3))
    drawn_m = shape.sampled(placed.hand.vertices_m, placed.hand.keypoints_m, 1000, np.random.default_rng(8))
    displacements = (TEMPLATE.keypoint_regressor @ (drawn_m - placed.hand.vertices_m)).reshape(-1, SIZE)
    found, wanted = np.cov(displacements.T), shape.covariance_m2
    np.testing.assert_allclose(found, wanted, atol=0.15 * np.diag(wanted).max())
    # Neighbours move together: as hands do, not as noise.
    edges = np.concatenate([TEMPLATE.faces[:, :2], TEMPLATE.faces[:, 1:]])
    moved = drawn_m - placed.hand.vertices_m
    apart = np.linalg.norm(moved[:, edges[:, 0]] - moved[:, edges[:, 1]], axis=2).mean()
    assert apart < 0.3 * np.linalg.norm(moved, axis=2).mean()


def test_the_root_follows_the_covariance_without_jumps() -> None:
    random = np.random.default_rng(4)
    nearly = np.eye(SIZE)
    # Equal variances, whose eigenvectors are any: those of the next frame have nothing to do with those of this one.
    noise = random.normal(size=(SIZE, SIZE))
    frames = [nearly, nearly + 1e-6 * (noise + noise.T)]
    shapes = [ShapePosterior(covariance, covariance, LIFT, 0.0, 0) for covariance in frames]
    normals = random.normal(size=(6, SIZE))
    mean_m, keypoints_m = random.normal(size=(len(LIFT), 3)), 10 * random.normal(size=(21, 3))
    first, second = (shape.drawn(mean_m, keypoints_m, normals)[1] for shape in shapes)
    np.testing.assert_allclose(second, first, atol=1e-3)
    np.testing.assert_allclose(shapes[1].root_m @ shapes[1].root_m, frames[1], atol=1e-9)
    np.testing.assert_array_equal(
        shapes[0].sampled(mean_m, keypoints_m, 6, np.random.default_rng(2)),
        shapes[0].drawn(mean_m, keypoints_m, np.random.default_rng(2).normal(size=(6, SIZE)))[0],
    )


@pytest.mark.parametrize(("distance", "count"), [(60.0, 42), (98.0, 98), (150.0, 98), (20.0, 56)])
def test_the_level_is_that_of_chi_squared(distance: float, count: int) -> None:
    shape = ShapePosterior(np.eye(SIZE), np.eye(SIZE), LIFT, distance, count)
    assert shape.level == pytest.approx(chi2(count).sf(distance), abs=2e-3)
    assert shape.contradicts == (chi2(count).sf(distance) < 0.001)


def test_without_landmarks_nothing_contradicts() -> None:
    shape = ShapePosterior(np.eye(SIZE), np.eye(SIZE), LIFT, 0.0, 0)
    assert shape.level == 1
    assert not shape.contradicts


def test_moves_of_keypoints_bring_about_just_these_and_a_shift_shifts_all() -> None:
    np.testing.assert_allclose(TEMPLATE.keypoint_regressor @ LIFT, np.eye(21), atol=1e-6)
    np.testing.assert_allclose(LIFT.sum(axis=1), 1, atol=2e-3)


def test_a_fingertip_takes_only_its_own_finger_along() -> None:
    # Joints 4 to 6 are the index finger's; keypoint 8 is its tip.
    finger = TEMPLATE.skinning_weights.argmax(axis=1)
    moved = np.abs(LIFT[:, 8]) > 0.15
    assert set(finger[moved]) <= {4, 5, 6}
    assert moved.sum() > 20


def test_the_detectors_knuckles_and_tips_lie_further_in() -> None:
    keypoints_m = TEMPLATE.keypoint_regressor @ bent(0.0)
    marked = as_the_detector_marks_them(keypoints_m)
    np.testing.assert_allclose(posterior.MARKED @ keypoints_m, marked, atol=1e-12)
    knuckles, tips, last_joints = [5, 9, 13, 17], [4, 8, 12, 16, 20], [3, 7, 11, 15, 19]
    to_wrist = [np.linalg.norm(points - keypoints_m[0], axis=1)[knuckles] for points in (marked, keypoints_m)]
    np.testing.assert_allclose(to_wrist[0] / to_wrist[1], [0.91, 0.93, 0.93, 0.91], atol=0.01)
    bones = [np.linalg.norm(points[tips] - keypoints_m[last_joints], axis=1) for points in (marked, keypoints_m)]
    assert (bones[0] < 0.8 * bones[1]).all()
    assert (bones[0] > 0.65 * bones[1]).all()
    np.testing.assert_array_equal(marked[[6, 10, 14, 18]], keypoints_m[[6, 10, 14, 18]])


@pytest.mark.parametrize("damage", ["missing", "shape", "nan"])
def test_a_damaged_error_model_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    arrays = read_arrays(error_files.POSTERIOR_FILE, "")
    if damage == "shape":
        arrays["world"] = arrays["world"][:20]
    if damage == "nan":
        arrays["image"][3, 3] = np.nan
    path = tmp_path / "posterior.npz"
    if damage != "missing":
        write_arrays(path, arrays)
    monkeypatch.setattr(error_files, "POSTERIOR_FILE", path)
    with raises(ErrorCode.FILE_MISSING if damage == "missing" else ErrorCode.FILE_DAMAGED, match="posterior.npz"):
        error_model.__wrapped__()
