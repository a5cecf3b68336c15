"""A hand that looks like the other one is reconstructed as the other one, and only then."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from handviz.core.records import HandCrop, NetworkOutput
from handviz.detection.crop import crop_hand
from handviz.models.registry import model_spec
from handviz.pipeline.refinement import reconstruct_with_recheck
from tests.hands import made_up_detection
from tests.tiny_network import constant_hand

IMAGE = np.full((240, 320, 3), 90, np.uint8)
UNSURE = replace(made_up_detection(), score=0.7)


class LandmarkHead:
    """A network whose certainty of right hands is ``sure``, for crops called right and left."""

    spec = model_spec("final")

    def __init__(self, right: float, left: float) -> None:
        self.sure, self.asked = {"right": right, "left": left}, 0

    def reconstruct(self, crops: Sequence[HandCrop]) -> list[NetworkOutput]:
        self.asked += len(crops)
        fields = constant_hand()
        fields["scale"] = float(fields["scale"])
        return [NetworkOutput(**fields, right_hand=self.sure[crop.detection.handedness]) for crop in crops]


@pytest.mark.parametrize(
    ("right", "left", "chosen", "asked"),
    [
        (0.9, 0.1, "right", 1),
        (0.02, 0.9, "left", 2),
        (0.4, 0.6, "right", 2),
        (0.1, 0.2, "right", 2),
        (1.0, 1.0, "right", 1),
    ],
)
def test_the_other_side_needs_uncertainty_and_a_clear_lead(right, left, chosen, asked):
    network = LandmarkHead(right, left)
    crop = crop_hand(IMAGE, UNSURE)
    (kept,), (hand,) = reconstruct_with_recheck(IMAGE, [crop], network)
    assert kept.detection.handedness == chosen
    assert hand.right_hand == network.sure[chosen]
    assert network.asked == asked
    # The crop is cut again: what was mirrored is not any more.
    mirrored = np.linalg.det(kept.crop_from_image[:, :2]) < 0
    assert mirrored == (chosen == "left")
    np.testing.assert_array_equal(kept.detection.keypoints_px, crop.detection.keypoints_px)


def test_a_left_hand_may_turn_out_right_and_others_stay():
    crops = [crop_hand(IMAGE, replace(UNSURE, handedness="left")), crop_hand(IMAGE, UNSURE)]
    chosen, hands = reconstruct_with_recheck(IMAGE, crops, LandmarkHead(0.95, 0.05))
    assert [crop.detection.handedness for crop in chosen] == ["right", "right"]
    assert len(hands) == 2


def test_a_side_that_the_user_stated_is_not_rechecked():
    network = LandmarkHead(0.02, 0.9)
    crop = crop_hand(IMAGE, replace(UNSURE, side_is_stated=True))
    (kept,), _ = reconstruct_with_recheck(IMAGE, [crop], network)
    assert (kept.detection.handedness, network.asked) == ("right", 1)


def test_a_side_that_the_detector_is_sure_of_is_not_rechecked():
    """The wide crop of a hand before another one shows that one too."""
    network = LandmarkHead(0.02, 0.9)
    crop = crop_hand(IMAGE, replace(UNSURE, score=0.95))
    (kept,), _ = reconstruct_with_recheck(IMAGE, [crop], network)
    assert (kept.detection.handedness, network.asked) == ("right", 1)


def test_nothing_is_asked_without_crops():
    network = LandmarkHead(0.0, 1.0)
    assert reconstruct_with_recheck(IMAGE, [], network) == ([], [])
    assert network.asked == 0
