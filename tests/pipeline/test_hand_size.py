"""A ruler's number scales the hand and its distance, and nothing that is seen."""

import numpy as np
import pytest
import torch

from handviz.core.camera_model import HandSize
from handviz.core.records import CROP_SIZE, Detection, FloatArray, HandCrop, Intrinsics, NetworkOutput, PlacedHand
from handviz.detection.crop import crop_from_image_affine, hand_mesh_from_crop, points_in_crop
from handviz.hand_models.layer import HandLayer
from handviz.hand_models.open_hand import load_open_hand
from handviz.pipeline.refinement import length_m, scale_to_measured_size, width_m
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
    measured = scale_to_measured_size(before, size)
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
        scale_to_measured_size(hand(), HandSize("length", 180.0, std_mm)).size_std_fraction for std_mm in (1.0, 9.0)
    ]
    assert fractions[0] is not None
    assert fractions[1] is not None
    assert fractions[0] < fractions[1] == pytest.approx(np.hypot(0.05, 0.02))


def test_without_a_ruler_nothing_changes() -> None:
    one = hand()
    unchanged = scale_to_measured_size(one, HandSize())
    assert (unchanged.hand is one, unchanged.size_std_fraction) == (True, None)
