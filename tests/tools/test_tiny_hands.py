"""Pictures, cameras and MANO parameters of the tiny datasets belong together."""

import numpy as np
import pytest

from handviz.core.geometry import rotation_from_axis_angle
from handviz.hand_models.mano.parameters import MIRROR, posed
from tests.fake_datasets.hands import TinyHand, tiny_hands
from tests.fake_datasets.stand_in_mano import MANO_FROM_OPEN, WRIST_M, stand_in_template


@pytest.fixture(scope="module")
def hands() -> list[TinyHand]:
    return list(tiny_hands(4, seed=1, size=(320, 240), sides=("right", "left")))


def test_vertices_lie_where_the_picture_has_the_hand(hands: list[TinyHand]) -> None:
    assert [hand.handedness for hand in hands] == ["right", "left", "right", "left"]
    for hand in hands:
        assert hand.picture.shape == (240, 320, 3)
        x, y = np.floor(hand.vertices_px).astype(int).T
        inside = (x >= 0) & (y >= 0) & (x < 320) & (y < 240)
        assert (hand.mask[y[inside], x[inside]] > 100).mean() > 0.8


def test_parameters_give_the_vertices(hands: list[TinyHand]) -> None:
    template = stand_in_template()
    for hand in hands:
        mirror = MIRROR if hand.handedness == "left" else np.ones(3)
        pose = (hand.pose.reshape(15, 3) * (mirror * mirror[0])).ravel() - template.pose_mean
        canonical = posed(template, pose[None], hand.shape[None])[0] * mirror
        turned = canonical @ rotation_from_axis_angle(hand.global_rotation).T + hand.wrist_m
        np.testing.assert_allclose(turned, hand.vertices_m, atol=1e-6)


def test_axes_are_those_of_manos_right_hand() -> None:
    template = stand_in_template()
    joints = template.joint_regressor @ template.vertices_m
    assert np.linalg.det(MANO_FROM_OPEN) == pytest.approx(1.0)
    assert (joints[1:13, 0] < -0.08).all()
    assert joints[13:, 2].min() > joints[7:10, 2].max(), "the thumb lies towards z, the little finger away"
    assert np.linalg.norm(WRIST_M) > 0.05
