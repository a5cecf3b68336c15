"""Stored hands come back, without what only a live view shows."""

from dataclasses import replace

import numpy as np

from handviz.core.records import Detection, Heatmaps
from handviz.io.hand_pack import pack_hands, unpack_hands
from tests.hands import made_up_hand


def test_heatmaps_and_steps_are_left_out_and_all_else_comes_back() -> None:
    maps = Heatmaps(np.zeros((21, 8, 8)), np.eye(2, 3), (2.0, 0.1))
    hand = replace(made_up_hand(), heatmaps=maps, steps=(made_up_hand(), made_up_hand()))
    detection = Detection("right", 0.9, np.zeros((21, 2)))
    packed = pack_hands([hand, made_up_hand()], [detection, detection])
    assert len(packed) < 40_000
    (first, second), detections = unpack_hands(packed)
    assert len(detections) == 2
    for one in (first, second):
        assert one.heatmaps is None
        assert one.steps == ()
        np.testing.assert_allclose(one.vertices_m, hand.vertices_m, atol=1e-7)
        np.testing.assert_allclose(one.keypoint_std_mm, hand.keypoint_std_mm)
