"""Hands of the full rig: where nothing departs they are the open hand's, and every part departs as anatomy says."""

from dataclasses import replace

import numpy as np
import pytest

from handviz.core.errors import ErrorCode
from handviz.core.geometry import procrustes_aligned, rotation_from_axis_angle
from handviz.data.synthetic.arm import ArmPoser
from handviz.data.synthetic.individual import Individuals, sample_individuals
from handviz.data.synthetic.rig_poser import RigPoser
from handviz.data.synthetic.soft_tissue import Cupping, cupping
from handviz.hand_models.full_rig import BONE_COUNT, METACARPALS, ORDER, PARENTS, load_full_rig
from handviz.hand_models.open_hand import load_arm_mesh, load_open_hand
from tests.errors import raises

FLAT = np.zeros((1, 45))
WRIST = np.eye(3)[None]
STRAIGHT = np.tile(np.eye(3), (1, 4, 1, 1))


@pytest.fixture(scope="module")
def poser():
    return RigPoser(load_open_hand(), load_arm_mesh())


@pytest.fixture(scope="module")
def average():
    """Return the hand of a person who departs in nothing."""
    drawn = sample_individuals(np.random.default_rng(0), 1)
    zero = {name: np.zeros_like(value) for name, value in vars(drawn).items()}
    return Individuals(**zero | {"bone_scale": np.ones((1, BONE_COUNT, 3)), "softness": np.zeros(1)})


def posed(poser, people, pose=FLAT, cup=0.0, metacarpals=STRAIGHT):
    hand = poser.posed(people, pose, np.zeros((1, 10)), WRIST, Cupping(np.array([cup]), metacarpals))
    return hand[0][load_arm_mesh().hand_ids]


def keypoints(vertices):
    return load_open_hand().keypoint_regressor @ vertices


def flexed(poser, finger, degrees):
    """Return the pose (1, 45) with the middle joint of a finger bent."""
    pose = np.zeros((1, 15, 3))
    pose[0, 3 * finger + 1] = np.radians(degrees) * poser._mean.axes.flexion[3 * finger + 1]
    return pose.reshape(1, 45)


def test_parents_come_first_and_weights_fold_into_those_of_the_open_hand():
    weights = load_full_rig().skinning_weights
    for place, bone in enumerate(ORDER):
        assert PARENTS[bone] < 0 or PARENTS[bone] in ORDER[:place]
    folded = weights[:, :17].copy()
    folded[:, 0] += weights[:, METACARPALS].sum(1)
    np.testing.assert_allclose(folded, load_arm_mesh().skinning_weights, atol=1e-6)
    assert (weights[:, METACARPALS] > 0.3).sum(0).min() > 30


def test_without_departures_it_is_the_open_hand(poser, average):
    rng = np.random.default_rng(1)
    arms = ArmPoser().sample(rng, 4)
    for arm in arms:
        pose = arm.pose[None]
        rest = poser.rest(arm.shape[None])
        transforms = poser._transforms(rest.joints_m, _local(pose), np.ones((1, BONE_COUNT, 3)))
        ids = load_arm_mesh().hand_ids
        folded = np.einsum("vj,njab->nvab", load_full_rig().skinning_weights, transforms)[0]
        mine = np.einsum("vab,vb->va", folded[..., :3], rest.vertices_m[0]) + folded[..., 3]
        np.testing.assert_allclose(mine[ids], arm.vertices_m[ids], atol=2e-6)


def _local(pose):
    local = np.tile(np.eye(3), (1, BONE_COUNT, 1, 1))
    local[:, 1:16] = rotation_from_axis_angle(pose.reshape(1, 15, 3))
    return local


def test_the_flat_average_hand_is_the_template(poser, average):
    template = load_open_hand()
    rest = template.vertices_m - template.joint_regressor[:1] @ template.vertices_m
    np.testing.assert_allclose(posed(poser, average), rest, atol=2e-6)


def test_a_cupped_palm_brings_the_little_finger_s_knuckle_forward_and_keeps_the_index_s(poser, average):
    rng = np.random.default_rng(2)
    cup, turns = cupping(rng, np.full(200, 1.2))
    tight = int(cup.argmax())
    flat, cupped = (keypoints(posed(poser, average, metacarpals=part)) for part in (STRAIGHT, turns[tight : tight + 1]))
    moved_mm = 1e3 * (cupped - flat)
    assert moved_mm[17, 2] < -8
    assert np.linalg.norm(moved_mm[5]) < 4
    assert moved_mm[17, 2] < moved_mm[13, 2] < moved_mm[9, 2] + 1


def test_bent_fingers_cup_the_palm_more():
    rng = np.random.default_rng(3)
    open_hand, fist = (cupping(rng, np.full(500, bend)).amount.mean() for bend in (0.0, 1.2))
    assert fist > open_hand + 0.2


def test_fingers_keep_their_direction_on_moved_metacarpals(poser, average):
    turns = cupping(np.random.default_rng(4), np.full(1, 1.2)).metacarpals
    flat, cupped = (keypoints(posed(poser, average, metacarpals=part)) for part in (STRAIGHT, turns))
    for base in (5, 9, 13, 17):
        np.testing.assert_allclose(cupped[base + 2] - cupped[base + 1], flat[base + 2] - flat[base + 1], atol=1e-3)


def test_longer_and_thicker_fingers_are(poser, average):
    scale = np.ones((1, BONE_COUNT, 3))
    scale[:, 7:10] = 1.2, 1.0, 1.0
    longer = keypoints(posed(poser, replace(average, bone_scale=scale)))
    plain = keypoints(posed(poser, average))
    middle = [np.linalg.norm(points[12] - points[9]) for points in (longer, plain)]
    assert middle[0] / middle[1] == pytest.approx(1.2, abs=0.02)
    np.testing.assert_allclose(longer[5:9], plain[5:9], atol=1e-3)
    scale[:, 7:10] = 1.0, 1.3, 1.3
    thick, thin = posed(poser, replace(average, bone_scale=scale)), posed(poser, average)
    of_middle_bone = load_open_hand().skinning_weights[:, 8] > 0.95
    spread = [np.ptp(vertices[of_middle_bone, 0]) for vertices in (thick, thin)]
    assert spread[0] / spread[1] == pytest.approx(1.3, abs=0.05)


def test_flesh_between_bent_bones_bulges_and_knuckles_stay_thick(poser, average):
    pose = flexed(poser, 2, 90)
    stiff = posed(poser, average, pose)
    soft = posed(poser, replace(average, softness=np.ones(1)), pose)
    moved_mm = 1e3 * np.linalg.norm(soft - stiff, axis=1)
    weights = load_open_hand().skinning_weights
    assert 0.8 < moved_mm[weights[:, 7] > 0.8].max() < 4
    assert moved_mm[weights[:, 4:7].sum(1) > 0.9].max() < 0.05


def test_skin_that_lies_in_another_finger_is_moved_out(poser, average):
    pose = np.zeros((1, 15, 3))
    abduction = poser._mean.axes.abduction
    for joint in range(3, 15, 3):
        pose[0, joint] = np.radians((-20, -6, 9, 24)[joint // 3 - 1]) * abduction[joint]
    pose = pose.reshape(1, 45)
    vertices = poser.posed(average, pose, np.zeros((1, 10)), WRIST, Cupping(np.zeros(1), STRAIGHT))[0]
    rest = poser.rest(np.zeros((1, 10)))
    transforms = poser._transforms(rest.joints_m, _local(pose), np.ones((1, BONE_COUNT, 3)))
    folded = np.einsum("vj,njab->nvab", load_full_rig().skinning_weights, transforms)[0]
    before = np.einsum("vab,vb->va", folded[..., :3], rest.vertices_m[0]) + folded[..., 3]
    moved_mm = 1e3 * np.linalg.norm(vertices - before, axis=1)
    assert 0.3 < moved_mm.max() <= 3.5 + 0.01
    assert (moved_mm > 0.01).mean() < 0.4


def test_hands_leave_the_open_hand_s_space_by_millimetres_and_no_more():
    rig, model = ([arm.vertices_m for arm in ArmPoser(truth).sample(np.random.default_rng(6), 24)]
                  for truth in ("rig", "model"))  # fmt: skip
    ids = load_arm_mesh().hand_ids
    true, near = np.stack(rig)[:, ids], np.stack(model)[:, ids]
    apart_mm = 1e3 * np.linalg.norm(procrustes_aligned(near, true) - true, axis=2).mean(1)
    assert 1.5 < np.median(apart_mm) < 6
    assert np.isfinite(true).all()
    assert np.abs(true).max() < 0.3


def test_the_same_seed_gives_the_same_people():
    first, again = ([arm.vertices_m for arm in ArmPoser("rig").sample(np.random.default_rng(7), 3)] for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_a_damaged_rig_says_how_it_is_made(tmp_path):
    np.savez(tmp_path / "rig.npz", skinning_weights=np.zeros((3, 21)), metacarpals_m=0, metacarpal_basis=0)
    with raises(ErrorCode.WRONG_SHAPE, match="build full-rig"):
        load_full_rig(tmp_path / "rig.npz")
    (tmp_path / "cut.npz").write_bytes(b"PK")
    with raises(ErrorCode.FILE_DAMAGED, match="build full-rig"):
        load_full_rig(tmp_path / "cut.npz")
