"""Gestures: within the clinical limits, pinches that close, fists that are closed; natural hands, tails and views."""

import numpy as np
import pytest

from handviz.data.synthetic import pose
from handviz.data.synthetic.gestures import (
    BANK_SIZE,
    GESTURES,
    MAX_DEG,
    MIN_DEG,
    GestureSampler,
    add_noise,
    finger_noise,
)
from handviz.hand_models.anatomy import pose_from_angles
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.skinning import joint_transforms, skin
from tests.hands import TIPS


@pytest.fixture(scope="module")
def sampler(axes) -> GestureSampler:
    template = load_open_hand()
    tips = (template.keypoint_regressor @ template.vertices_m)[TIPS]
    return GestureSampler(template.joint_regressor @ template.vertices_m, tips, template.parents, axes)


def keypoints_mm(sampler, axes, name, count=40):
    """Return keypoints (count, 21, 3) of one gesture."""
    template = load_open_hand()
    poses = pose_from_angles(sampler.sample(np.random.default_rng(0), count, [name]), axes)
    joints = np.broadcast_to(template.joint_regressor @ template.vertices_m, (count, 16, 3))
    rest = np.broadcast_to(template.vertices_m, (count, *template.vertices_m.shape))
    vertices = skin(rest, template.skinning_weights, joint_transforms(poses, joints, template.parents))
    return template.keypoint_regressor @ vertices * 1000


@pytest.mark.parametrize("noise_deg", [0.0, pose.NOISE_SD_DEG])
def test_every_gesture_keeps_the_clinical_limits(sampler, noise_deg):
    random = np.random.default_rng(1)
    angles = add_noise(random, sampler.sample(random, 1500), noise_deg).reshape(-1, 5, 3, 3)
    assert (angles[:, 1:, :, 0] >= MIN_DEG).all()
    assert (angles[:, 1:, :, 0] <= MAX_DEG).all()
    assert np.abs(angles[:, 1:, 0, 1]).max() < 40
    assert not angles[:, 1:, 1:, 1:].any()
    assert np.abs(angles[:, 0, 0]).max() < 80
    assert (angles[:, 0, 1:, 0] >= [-15, -25]).all()
    assert (angles[:, 0, 1:, 0] <= [62, 85]).all()


@pytest.mark.parametrize("name", ["pinch", "ok"])
def test_thumb_and_index_meet_in_a_pinch(sampler, axes, name):
    points = keypoints_mm(sampler, axes, name)
    gap = np.linalg.norm(points[:, 4] - points[:, 8], axis=1)
    assert np.mean(gap < 15) > 0.9
    assert gap.max() < 25


def test_a_fist_is_closed_and_an_open_hand_is_not(sampler, axes):
    fist, spread = (keypoints_mm(sampler, axes, name) for name in ("fist", "spread"))
    for points, near in ((fist, True), (spread, False)):
        palm = points[:, [0, 5, 9, 13, 17]].mean(axis=1, keepdims=True)
        away = np.linalg.norm(points[:, TIPS[1:]] - palm, axis=2)
        assert (away < 66).all() if near else (away > 75).all()


def test_thumbs_go_where_their_gestures_want_them(sampler, axes):
    up, four = (keypoints_mm(sampler, axes, name)[:, 4] for name in ("gun", "four"))
    assert (up[:, 0] > 70).all()
    assert (four[:, 0] < 50).all()


def test_gestures_repeat_with_their_seed_and_differ_without(sampler):
    first, again, other = (sampler.sample(np.random.default_rng(seed), 30) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 3
    assert len(np.unique(first.reshape(30, -1), axis=0)) == 30


def test_an_unknown_gesture_is_refused(sampler):
    with pytest.raises(KeyError, match="salute"):
        sampler.sample(np.random.default_rng(0), 1, ["salute"])


def test_fingers_do_not_bend_on_their_own():
    noise = finger_noise(np.random.default_rng(2), 4000, 6.0)
    assert noise.std() == pytest.approx(6, rel=0.25)
    knuckles = np.corrcoef(noise[..., 0].T)
    assert knuckles[0, 1] > knuckles[0, 3] > 0.15
    assert np.corrcoef(noise[:, 1, 0], noise[:, 1, 1])[0, 1] > 0.5


def test_most_poses_are_natural_and_some_are_not():
    assert sum(pose.KIND_FRACTIONS) == pytest.approx(1)
    assert pose.KIND_FRACTIONS[pose.NATURAL] > 0.5
    template = load_open_hand()
    sampler = pose.PoseSampler(template)
    poses = sampler.sample(np.random.default_rng(3), 300)
    assert (sampler.palm_gap_m(poses) > pose.CLOSEST_FINGERS_M).mean() > 0.9
    np.testing.assert_array_equal(poses, sampler.sample(np.random.default_rng(3), 300))


def test_fingers_through_the_palm_are_seen(axes):
    sampler = pose.PoseSampler(load_open_hand())
    angles = np.zeros((2, 5, 3, 3))
    angles[1, 1:, :, 0] = [88, 108, 70]
    open_gap, folded_gap = sampler.palm_gap_m(pose_from_angles(angles.reshape(2, 15, 3), axes))
    assert np.isinf(open_gap)
    assert folded_gap < pose.CLOSEST_FINGERS_M


def test_views_are_mostly_palms_and_backs_and_some_sides():
    random = np.random.default_rng(4)
    towards = np.array([pose.sample_view(random)[:, 2] for _ in range(3000)])
    assert (towards[:, 2] > 0.5).mean() == pytest.approx((towards[:, 2] < -0.5).mean(), abs=0.05)
    assert 0.6 < (np.abs(towards[:, 2]) > 0.5).mean() < 0.85
    assert (np.abs(towards[:, 2]) < 0.2).mean() > 0.05


def test_every_gesture_has_thumbs_within_the_bank():
    assert all(gesture.thumbs and gesture.weight > 0 for gesture in GESTURES.values())
    assert BANK_SIZE > 1000
