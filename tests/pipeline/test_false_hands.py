"""Hands of a still image that the network shows to be none, or the same once more."""

from dataclasses import replace

import numpy as np

from handviz.core.records import Detection, HandMesh, NetworkOutput
from handviz.pipeline.false_hands import Candidate, indices_of_true_hands
from tests.hands import made_up_hand, shifted
from tests.tiny_network import constant_hand


def candidate(
    mesh: HandMesh,
    *,
    presence: float = 0.99,
    distance: float = 0.03,
    other_side: bool = False,
    heads: bool = True,
    support: float = 3.0,
    right_hand: float = 0.9,
    hand_probability: float | None = None,
) -> Candidate:
    """Return a hand whose mesh lies this fraction of the box from its detection."""
    box_px = float(np.ptp(mesh.keypoints_px, axis=0).max())
    detection = Detection(mesh.handedness, 0.9, mesh.keypoints_px, support)
    # The distance is in fractions of the detection's box.
    moved = shifted(mesh, distance * box_px)
    fields = constant_hand()
    fields["scale"] = float(fields["scale"])
    landmarks_m = np.zeros((21, 3)) if heads else None
    output = NetworkOutput(
        **fields,
        presence=presence,
        landmarks_m=landmarks_m,
        right_hand=right_hand,
        hand_probability=hand_probability,
    )
    return Candidate(detection, output, moved, other_side)


HERE, BESIDE = made_up_hand(), made_up_hand(wrist_px=(500.0, 200.0))
OVERLAPPING = made_up_hand(wrist_px=(330.0, 200.0))


def test_what_the_heads_do_not_take_for_a_hand_is_none() -> None:
    assert indices_of_true_hands([candidate(HERE, presence=0.4)]) == []
    assert indices_of_true_hands([candidate(HERE, presence=0.6)]) == [0]
    assert indices_of_true_hands([candidate(HERE, presence=0.6, distance=0.2)]) == []
    # Where the detector took the other side its keypoints are wrong, not the hand.
    assert indices_of_true_hands([candidate(HERE, presence=0.6, distance=0.2, other_side=True)]) == [0]
    # Networks without heads say nothing.
    assert indices_of_true_hands([candidate(HERE, presence=0.0, heads=False)]) == [0]


def test_a_doubtful_hand_beside_a_better_one_is_none() -> None:
    sure, doubtful = candidate(HERE), candidate(BESIDE, presence=0.68)
    assert indices_of_true_hands([sure, doubtful]) == [0]
    # Many views agree on a hand that another one covers.
    covered = candidate(BESIDE, presence=0.4, support=9.0)
    assert indices_of_true_hands([sure, covered]) == [0, 1]
    assert indices_of_true_hands([sure, candidate(BESIDE, presence=0.3, support=9.0)]) == [0]
    assert indices_of_true_hands([doubtful, sure]) == [0, 1]
    assert indices_of_true_hands([candidate(HERE, presence=0.1), doubtful]) == [1]


def test_a_little_supported_hand_that_looks_like_the_other_side_is_none() -> None:
    assert indices_of_true_hands([candidate(HERE, right_hand=0.1)]) == []
    assert indices_of_true_hands([candidate(HERE, right_hand=0.1, heads=False)]) == [0]
    # A hand before another one: the wide crop shows that one too.
    assert indices_of_true_hands([candidate(HERE, right_hand=0.1, support=20.0)]) == [0]
    assert indices_of_true_hands([candidate(HERE, right_hand=0.1, other_side=True)]) == [0]


def test_what_the_model_itself_calls_no_hand_is_none_where_mediapipe_is_not_sure() -> None:
    assert indices_of_true_hands([candidate(HERE, presence=0.8, hand_probability=0.05)]) == []
    assert indices_of_true_hands([candidate(HERE, presence=0.8, hand_probability=0.15)]) == [0]
    assert indices_of_true_hands([candidate(HERE, presence=0.8)]) == [0], "a model without a probability says nothing"
    # A false hand does not stand in the way of a doubtful true one.
    doubtful = candidate(BESIDE, presence=0.6)
    assert indices_of_true_hands([candidate(HERE, presence=0.8, hand_probability=0.05), doubtful]) == [1]


def test_no_probability_takes_a_hand_away_of_which_mediapipe_is_sure_nor_brings_one_back() -> None:
    """The rule is the same as before for each hand that is kept by a certain presence, or by many views."""
    for presence in (0.9, 0.95, 1.0):
        assert indices_of_true_hands([candidate(HERE, presence=presence, hand_probability=0.0)]) == [0]
    for presence in (0.4, 0.6, 0.8):
        assert indices_of_true_hands([candidate(HERE, presence=presence, hand_probability=0.0, support=5.0)]) == [0]
    unknown = candidate(HERE, presence=0.8, hand_probability=0.0)
    unknown = replace(unknown, detection=replace(unknown.detection, support=None))
    assert indices_of_true_hands([unknown]) == [0], "nobody counted the views"
    assert indices_of_true_hands([candidate(HERE, presence=0.0, heads=False, hand_probability=0.0)]) == [0]
    assert indices_of_true_hands([candidate(HERE, presence=0.4, hand_probability=1.0)]) == []


def test_a_second_mesh_on_one_hand_is_left_out() -> None:
    first = candidate(HERE, support=20.0)
    assert indices_of_true_hands([first, candidate(OVERLAPPING, distance=0.12)]) == [0]
    assert indices_of_true_hands([first, candidate(BESIDE, distance=0.12)]) == [0, 1]


def test_crossing_hands_stay_where_each_mesh_agrees_with_its_detection() -> None:
    first = candidate(HERE, support=20.0)
    assert indices_of_true_hands([first, candidate(OVERLAPPING, distance=0.05)]) == [0, 1]
    assert indices_of_true_hands([first, candidate(OVERLAPPING, distance=0.12, support=15.0)]) == [0, 1]
    # Of two that disagree the later is left out only if it disagrees more.
    assert indices_of_true_hands(
        [candidate(HERE, distance=0.3, support=20.0), candidate(OVERLAPPING, distance=0.12)]
    ) == [0, 1]
