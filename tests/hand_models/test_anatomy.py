"""Hand motion: axes that curl towards the palm, angles within the clinical limits."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handviz.hand_models.anatomy import (
    FINGERS,
    axis_angle_from_rotation,
    pose_from_angles,
    sample_angles,
)
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.skinning import joint_transforms, skin
from tests.hands import TIPS


def keypoints_of(angles_deg, axes, rest_joints):
    """Return keypoints (21, 3) of one hand bent by angles (15, 3) in degrees."""
    template = load_open_hand()
    transforms = joint_transforms(pose_from_angles(angles_deg[None], axes), rest_joints[None], template.parents)
    return template.keypoint_regressor @ skin(template.vertices_m[None], template.skinning_weights, transforms)[0]


def test_axes_are_unit_and_flexion_bends_the_bone(axes, rest_joints):
    for directions in (axes.flexion, axes.abduction, axes.twist):
        assert directions.shape == (15, 3)
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    np.testing.assert_allclose((axes.flexion * axes.twist).sum(axis=1), 0, atol=1e-6)
    bone = rest_joints[5] - rest_joints[4]
    np.testing.assert_allclose(axes.twist[3], bone / np.linalg.norm(bone))


@pytest.mark.parametrize("finger", range(1, FINGERS))
@pytest.mark.parametrize("link", range(3))
def test_positive_flexion_brings_a_fingertip_towards_the_palm(axes, rest_joints, finger, link):
    angles = np.zeros((15, 3))
    rest = keypoints_of(angles, axes, rest_joints)
    angles[3 * finger + link, 0] = 30
    bent = keypoints_of(angles, axes, rest_joints)
    assert bent[TIPS[finger], 2] < rest[TIPS[finger], 2] - 0.003
    others = np.delete(np.arange(21), range(1 + 4 * finger, 5 + 4 * finger))
    np.testing.assert_allclose(bent[others], rest[others], atol=2e-3)


@pytest.mark.parametrize("link", range(3))
def test_positive_flexion_brings_the_thumb_towards_the_little_finger(axes, rest_joints, link):
    angles = np.zeros((15, 3))
    rest = keypoints_of(angles, axes, rest_joints)
    angles[link, 0] = 25
    bent = keypoints_of(angles, axes, rest_joints)
    near, far = (np.linalg.norm(points[4] - rest[17]) for points in (bent, rest))
    assert near < far - 0.002


def test_positive_abduction_spreads_index_and_ring_the_same_way_about_the_palm(axes, rest_joints):
    angles = np.zeros((15, 3))
    rest = keypoints_of(angles, axes, rest_joints)
    angles[[3, 9], 1] = 10
    bent = keypoints_of(angles, axes, rest_joints)
    moved = bent[[8, 16]] - rest[[8, 16]]
    assert (moved[:, 0] > 0.005).all() or (moved[:, 0] < -0.005).all()
    np.testing.assert_allclose(moved[:, 2], 0, atol=2e-3)


def test_twist_keeps_the_bone(axes, rest_joints):
    angles = np.zeros((15, 3))
    angles[3, 2] = 40
    rotated = Rotation.from_rotvec(pose_from_angles(angles[None], axes)[0, 9:12]).apply(axes.twist[3])
    np.testing.assert_allclose(rotated, axes.twist[3], atol=1e-12)


def test_a_pose_is_abduction_after_flexion_after_twist(axes):
    angles = np.random.default_rng(0).uniform(-60, 60, (2, 15, 3))
    pose = pose_from_angles(angles, axes).reshape(2, 15, 3)
    assert not pose_from_angles(np.zeros((1, 15, 3)), axes).any()
    for joint in range(15):
        flexion, abduction, twist = np.radians(angles[1, joint])
        rotations = [
            Rotation.from_rotvec(angle * axis[joint])
            for angle, axis in ((abduction, axes.abduction), (flexion, axes.flexion), (twist, axes.twist))
        ]
        expected = (rotations[0] * rotations[1] * rotations[2]).as_matrix()
        np.testing.assert_allclose(Rotation.from_rotvec(pose[1, joint]).as_matrix(), expected, atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, 3.0])
def test_axis_angle_is_that_of_scipy(angle):
    vectors = angle * np.array([[0.6, -0.64, 0.48], [0.0, 1.0, 0.0]])
    found = axis_angle_from_rotation(Rotation.from_rotvec(vectors).as_matrix())
    np.testing.assert_allclose(found, vectors, atol=1e-8)


def test_random_angles_stay_within_the_clinical_limits():
    degrees = sample_angles(np.random.default_rng(1), 4000).reshape(-1, FINGERS, 3, 3)
    flexion = degrees[:, 1:, :, 0]
    for link, (lowest, highest) in enumerate(((-30, 92), (-6, 112), (-12, 82))):
        assert flexion[:, :, link].min() >= lowest
        assert flexion[:, :, link].max() <= highest
    assert np.abs(degrees[:, 1:, 0, 1]).max() < 40
    assert not degrees[:, 1:, 1:, 1:].any()
    thumb = degrees[:, 0]
    assert np.abs(thumb[:, 0]).max() < 80
    assert thumb[:, 1, 0].min() >= -15
    assert thumb[:, 2, 0].max() <= 85


def test_random_angles_hold_open_hands_fists_and_single_fingers():
    middle_deg = sample_angles(np.random.default_rng(2), 2000).reshape(-1, FINGERS, 3, 3)[:, 1:, 1, 0]
    straight, bent = middle_deg < 25, middle_deg > 75
    assert straight.all(axis=1).mean() > 0.05
    assert bent.all(axis=1).mean() > 0.05
    assert (straight[:, 0] & bent[:, 1:].all(axis=1)).mean() > 0.005
    np.testing.assert_array_equal(
        sample_angles(np.random.default_rng(5), 9), sample_angles(np.random.default_rng(5), 9)
    )
