"""Displacements of keypoints as rotations of bones."""

import numpy as np
from numpy.typing import NDArray

from handviz.core.skeleton import KEYPOINT_COUNT, KEYPOINT_PARENTS, bent
from handviz.hand_models.open_hand import load_open_hand

TEMPLATE = load_open_hand()
KEYPOINTS_M: NDArray[np.floating] = TEMPLATE.keypoint_regressor @ TEMPLATE.vertices_m
CHILDREN, PARENTS = np.arange(1, KEYPOINT_COUNT), np.array(KEYPOINT_PARENTS[1:])


def bones(points_m: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the bones (..., 20, 3)."""
    return points_m[..., CHILDREN, :] - points_m[..., PARENTS, :]


def test_a_displacement_across_a_bone_leaves_its_length() -> None:
    along = bones(KEYPOINTS_M)
    lengths_m = np.linalg.norm(along, axis=1)
    across = np.cross(along, np.random.default_rng(0).normal(size=(20, 3)))
    displacements_m = np.zeros((1, KEYPOINT_COUNT, 3))
    for child, parent in zip(CHILDREN, PARENTS, strict=True):
        displacements_m[0, child] = displacements_m[0, parent] + 10 * across[child - 1]
    assert np.linalg.norm(bones(displacements_m[0]), axis=1).max() > 0.01
    found_m = KEYPOINTS_M + bent(KEYPOINTS_M, displacements_m)
    np.testing.assert_allclose(np.linalg.norm(bones(found_m[0]), axis=1), lengths_m, atol=1e-9)


def test_a_displacement_along_a_bone_changes_its_length_by_as_much() -> None:
    displacements_m = np.zeros((2, KEYPOINT_COUNT, 3))
    tip = KEYPOINTS_M[8] - KEYPOINTS_M[7]
    displacements_m[:, 8] = np.outer([0.004, -0.004], tip / np.linalg.norm(tip))
    np.testing.assert_allclose(bent(KEYPOINTS_M, displacements_m), displacements_m, atol=1e-12)


def test_small_displacements_stay_and_large_ones_invert_no_bone() -> None:
    displacements_m = np.random.default_rng(1).normal(size=(50, KEYPOINT_COUNT, 3))
    small = bent(KEYPOINTS_M, 1e-6 * displacements_m)
    np.testing.assert_allclose(small, 1e-6 * displacements_m, atol=2e-8)
    large = bones(KEYPOINTS_M + bent(KEYPOINTS_M, displacements_m))
    lengths_m = np.linalg.norm(bones(KEYPOINTS_M), axis=1)
    assert (np.linalg.norm(large, axis=2) > 0.29 * lengths_m).all()


def test_keypoints_in_one_place_are_moved_as_they_are() -> None:
    displacements_m = np.random.default_rng(2).normal(size=(3, KEYPOINT_COUNT, 3))
    np.testing.assert_array_equal(bent(np.zeros((KEYPOINT_COUNT, 3)), displacements_m), displacements_m)
