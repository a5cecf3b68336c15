"""What is printed of an error model: of made-up hands whose errors are known, and measures of meshes."""

import numpy as np
import pytest

from handviz.core.geometry import rotation_from_axis_angle
from handviz.evaluation.posterior_check import bone_lengths, joint_angles, table, thickness
from handviz.evaluation.posterior_fit import fitted
from handviz.hand_models.open_hand import load_open_hand
from tests.found_hands import made_up_hands

VERTICES_M = load_open_hand().vertices_m.astype(np.float64)


def test_what_is_fitted_covers_hands_that_were_not() -> None:
    hands = made_up_hands(500)
    errors = fitted(hands[:400])
    lines = table(hands[400:], errors)
    assert lines[0].startswith("PA-MPJPE, mm: network")
    network_mm, fused_mm = (float(part.split()[1]) for part in lines[0].split(": ", 1)[1].split(";")[0].split(", "))
    assert fused_mm < network_mm
    covered = [float(part.rsplit(": ", 1)[1]) for part in lines[1].split("covered ")[1].split(", ")]
    np.testing.assert_allclose(covered, [50, 68, 90, 95], atol=6)
    # Landmarks count as much as on photographs: less accurate ones of the fit are reduced.
    assert np.trace(errors.world) / np.trace(errors.shape) == pytest.approx((8 / 4) ** 2, rel=0.6)


def test_measures_of_meshes_do_not_depend_on_size_and_place() -> None:
    moved_m = 1.3 * VERTICES_M @ rotation_from_axis_angle(np.array([0.4, -1.0, 0.2])).T + [0.1, 0.0, 0.5]
    for measure, count in ((bone_lengths, 20), (thickness, 20), (joint_angles, 15)):
        both = measure(np.stack([VERTICES_M, moved_m]))
        assert both.shape == (2, count)
        np.testing.assert_allclose(both[1], both[0], atol=1e-4)
    assert bone_lengths(VERTICES_M).sum() == pytest.approx(1)


def test_a_hand_that_is_thicker_at_its_bones_has_bones_of_the_same_length() -> None:
    regressor = load_open_hand().keypoint_regressor.astype(np.float64)
    moves_m = np.random.default_rng(2).normal(0, 0.006, VERTICES_M.shape)
    # Without the part that would move keypoints.
    thicker_m = VERTICES_M + moves_m - np.linalg.pinv(regressor) @ regressor @ moves_m
    np.testing.assert_allclose(bone_lengths(thicker_m), bone_lengths(VERTICES_M), atol=1e-9)
    np.testing.assert_allclose(joint_angles(thicker_m), joint_angles(VERTICES_M), atol=1e-4)
    assert (thickness(thicker_m) > thickness(VERTICES_M)).mean() > 0.9
