"""A ruler's number scales the hand and its distance, and nothing that is seen."""

import numpy as np
import pytest
import torch

from handviz.core.camera_model import HandSize
from handviz.core.records import CROP_SIZE, Detection, FloatArray, HandCrop, Intrinsics, NetworkOutput, PlacedHand
from handviz.core.shape_posterior import ShapePosterior
from handviz.detection.crop import crop_from_image_affine, hand_mesh_from_crop, points_in_crop
from handviz.hand_models.layer import HandLayer
from handviz.hand_models.open_hand import load_open_hand
from handviz.pipeline.refinement import MODEL_STD_FRACTIONS, length_m, width_m, with_measured_size
from tests.tiny_network import constant_hand

TEMPLATE = load_open_hand()


def hand() -> NetworkOutput:
    fields = constant_hand()
    return NetworkOutput(**fields | {"scale": float(fields["scale"])})  # type: ignore[arg-type]


def posed_keypoints(angle: float) -> FloatArray:
    pose = torch.zeros(1, 15, 3)
    pose[:, 3:, 2] = angle
    with torch.no_grad():
        return (
            TEMPLATE.keypoint_regressor @ HandLayer(TEMPLATE)(pose.flatten(1), torch.zeros(1, 10)).vertices_m[0].numpy()
        )


def test_bending_changes_the_length_little() -> None:
    flat, bent = posed_keypoints(0.0), posed_keypoints(0.9)
    assert np.linalg.norm(bent[12] - bent[0]) < 0.85 * np.linalg.norm(flat[12] - flat[0])
    assert length_m(bent) == pytest.approx(length_m(flat), rel=0.02)
    assert width_m(bent) == pytest.approx(width_m(flat), rel=0.02)


@pytest.mark.parametrize("size", [HandSize("length", 170.0), HandSize("breadth", 75.0)])
def test_metres_are_those_of_the_ruler_and_pixels_stay(size: HandSize) -> None:
    before = hand()
    measured = with_measured_size(PlacedHand(before), size)
    after = measured.hand
    found_m = (length_m if size.measure == "length" else width_m)(after.keypoints_m)
    assert found_m * 1000 == pytest.approx(size.millimetres, rel=1e-5)
    np.testing.assert_allclose(
        points_in_crop(after.vertices_m, after), points_in_crop(before.vertices_m, before), atol=1e-5
    )
    crop = HandCrop(
        np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8),
        crop_from_image_affine(np.random.default_rng(0).uniform(100, 300, (21, 2)), "left"),
        Detection("left", 1.0, np.zeros((21, 2))),
    )
    camera = Intrinsics(600.0, 320.0, 240.0)
    meshes = [
        hand_mesh_from_crop(one, crop, intrinsics=camera, model="final") for one in (PlacedHand(before), measured)
    ]
    factor = length_m(after.keypoints_m) / length_m(before.keypoints_m)
    np.testing.assert_allclose(meshes[1].wrist_camera_m, meshes[0].wrist_camera_m * factor, rtol=1e-4)
    np.testing.assert_allclose(meshes[1].vertices_px, meshes[0].vertices_px, atol=0.05)
    np.testing.assert_allclose(meshes[1].vertex_std_mm, meshes[0].vertex_std_mm * factor, rtol=1e-4)
    uncertainties = [mesh.position_uncertainty for mesh in meshes]
    assert uncertainties[1] is not None
    assert uncertainties[0] is not None
    assert uncertainties[1].size_std_fraction < uncertainties[0].size_std_fraction, "measuring makes it surer"


def test_a_poorer_ruler_leaves_more_uncertainty() -> None:
    fractions = [
        with_measured_size(PlacedHand(hand()), HandSize("length", 180.0, std_mm)).size_std_fraction
        for std_mm in (1.0, 9.0)
    ]
    assert fractions[0] is not None
    assert fractions[1] is not None
    assert fractions[0] < fractions[1] == pytest.approx(np.hypot(0.05, 0.02))


def test_without_a_ruler_nothing_changes() -> None:
    one = PlacedHand(hand())
    assert with_measured_size(one, HandSize()) is one
    assert one.size_std_fraction is None


def fused_hand(covariance_m2: FloatArray) -> PlacedHand:
    """Return a hand that was placed, of which this is unknown."""
    shape = ShapePosterior(covariance_m2, 2 * covariance_m2, np.zeros((TEMPLATE.vertex_count, 21)), 10.0, 98)
    return PlacedHand(
        hand(),
        wrist_camera_m=np.array([0.1, -0.05, 0.6]),
        wrist_covariance_m2=np.diag([1e-5, 1e-5, 4e-4]),
        shape=shape,
    )


@pytest.mark.parametrize("size", [HandSize("length", 150.0, 2.0), HandSize("breadth", 60.0, 2.0)])
def test_what_is_unknown_of_the_measured_length_is_unknown_of_the_size(size: HandSize) -> None:
    """Against lengths of hands that are drawn from what is known, measured with the ruler's and the skin's errors."""
    random = np.random.default_rng(3)
    root = 0.0006 * random.normal(size=(63, 20))
    before = fused_hand(root @ root.T)
    after = with_measured_size(before, size)
    of = length_m if size.measure == "length" else width_m
    drawn = before.hand.keypoints_m + (random.normal(size=(20_000, 20)) @ root.T).reshape(-1, 21, 3)
    lengths = np.array([of(one) for one in drawn])
    ruler = random.normal(0, size.std_mm / size.millimetres, len(drawn))
    skin = random.normal(0, MODEL_STD_FRACTIONS[size.measure], len(drawn))
    assert after.size_std_fraction == pytest.approx(np.std(np.log(lengths) + ruler + skin), rel=0.03)
    surer = with_measured_size(fused_hand(root @ root.T / 100), size)
    assert surer.size_std_fraction is not None
    assert surer.size_std_fraction < after.size_std_fraction


def test_hand_place_and_what_is_unknown_of_them_scale_together() -> None:
    root = 0.001 * np.random.default_rng(4).normal(size=(63, 10))
    before = fused_hand(root @ root.T)
    after = with_measured_size(before, HandSize("length", 1250 * length_m(before.hand.keypoints_m)))
    assert before.shape is not None
    assert after.shape is not None
    np.testing.assert_allclose(after.hand.vertices_m, 1.25 * before.hand.vertices_m, rtol=1e-5)
    np.testing.assert_allclose(after.wrist_camera_m, 1.25 * np.array([0.1, -0.05, 0.6]), rtol=1e-5)
    np.testing.assert_allclose(after.wrist_covariance_m2, 1.5625 * np.diag([1e-5, 1e-5, 4e-4]), rtol=1e-5)
    np.testing.assert_allclose(after.shape.covariance_m2, 1.5625 * before.shape.covariance_m2, rtol=1e-5)
    np.testing.assert_allclose(after.shape.landmark_shares, before.shape.landmark_shares, rtol=1e-5)
