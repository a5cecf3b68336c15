"""Numbers and sides of hands over frames, and what the user states of single hands."""

from dataclasses import replace

import numpy as np
import pytest

from handviz.core.records import Detection, Handedness
from handviz.detection.tracking import MAX_FRAMES_UNSEEN, HandTracker, override_handedness
from tests.hands import made_up_detection


@pytest.fixture
def tracker() -> HandTracker:
    """Return a tracker of a stream."""
    return HandTracker(video=True)


def numbers(tracker: HandTracker, *detections: Detection) -> list[int]:
    return [hand.track_id for hand in tracker.update(detections)]


def sides(tracker: HandTracker, *detections: Detection) -> list[Handedness]:
    return [hand.handedness for hand in tracker.update(detections)]


def hand(x: float, handedness: Handedness = "right", y: float = 0.0) -> Detection:
    detection = made_up_detection(handedness, x=x)
    return replace(detection, keypoints_px=detection.keypoints_px + np.array([0.0, y]))


def test_hands_are_numbered_as_they_come_and_keep_their_numbers_in_any_order(tracker: HandTracker) -> None:
    assert numbers(tracker, hand(100), hand(400)) == [1, 2]
    assert numbers(tracker, hand(410), hand(95)) == [2, 1]
    assert numbers(tracker, hand(420), hand(800), hand(90)) == [2, 3, 1]


def test_everything_else_of_a_detection_stays(tracker: HandTracker) -> None:
    before = hand(100)
    (after,) = tracker.update([before])
    assert after.keypoints_px is before.keypoints_px
    assert (after.handedness, after.score, after.side_is_stated) == ("right", before.score, False)


def test_a_hand_does_not_change_sides_for_a_frame(tracker: HandTracker) -> None:
    right, left = made_up_detection(), made_up_detection("left", x=400.0)
    for _ in range(5):
        tracker.update([right, left])
    slip = replace(right, handedness="left", score=0.9)
    assert sides(tracker, left, slip) == ["left", "right"]
    found = [tracker.update([slip])[0] for _ in range(20)]
    assert found[0].handedness == "right"
    assert found[-1].handedness == "left"
    assert {one.track_id for one in found} == {1}, "the hand is the same"


def test_a_frame_that_is_seen_again_changes_no_side_however_often(tracker: HandTracker) -> None:
    for _ in range(2):
        tracker.update([hand(100)])
    for _ in range(20):
        (found,) = tracker.update([hand(100, "left")], is_again=True)
        assert (found.track_id, found.handedness) == (1, "right")
    assert sides(tracker, hand(100, "left")) == ["right"], "one frame of evidence, not twenty"
    tracker.flip(1)
    assert [one.handedness for one in tracker.update([hand(100)], is_again=True)] == ["left"], "the user can"


def test_a_hand_that_is_found_when_the_frame_is_seen_again_gets_its_own_side(tracker: HandTracker) -> None:
    tracker.update([hand(100)])
    found = tracker.update([hand(100), hand(500, "left")], is_again=True)
    assert [(one.track_id, one.handedness) for one in found] == [(1, "right"), (2, "left")]


def test_another_hand_somewhere_else_is_judged_anew(tracker: HandTracker) -> None:
    for _ in range(10):
        tracker.update([hand(100)])
    (found,) = tracker.update([hand(300, "left")])
    assert (found.handedness, found.track_id) == ("left", 2)


@pytest.mark.parametrize("frames", [3, MAX_FRAMES_UNSEEN, 100])
def test_a_hand_that_was_lost_gets_its_number_back(tracker: HandTracker, frames: int) -> None:
    tracker.update([hand(100), hand(500)])
    for _ in range(frames):
        tracker.update([hand(100)])
    assert numbers(tracker, hand(510), hand(100)) == [2, 1]


def test_the_side_of_a_lost_hand_is_kept_for_some_frames_only(tracker: HandTracker) -> None:
    for unseen, side in ((MAX_FRAMES_UNSEEN, "right"), (MAX_FRAMES_UNSEEN + 1, "left")):
        tracker.reset(video=True)
        for _ in range(5):
            tracker.update([hand(100)])
        for _ in range(unseen):
            tracker.update([])
        assert sides(tracker, hand(100, "left")) == [side]


def test_a_hand_that_comes_back_elsewhere_is_the_one_of_its_side_that_was_away(tracker: HandTracker) -> None:
    tracker.update([hand(100, "left"), hand(500)])
    tracker.update([])
    assert numbers(tracker, hand(900)) == [2]
    assert numbers(tracker, hand(910), hand(1500, "left")) == [2, 1]


def test_a_newcomer_does_not_take_a_present_hand_s_number(tracker: HandTracker) -> None:
    tracker.update([hand(500)])
    assert numbers(tracker, hand(100), hand(510)) == [2, 1]


@pytest.mark.parametrize("flicker", [False, True])
def test_hands_of_both_sides_cross(tracker: HandTracker, flicker: bool) -> None:
    """At the middle their keypoints are nearer to the other one's than to their own of the last frame."""
    for step in range(21):
        right, left = hand(100 + 10 * step), hand(310 - 10 * step, "left")
        if flicker and step in (4, 15):
            right, left = replace(right, handedness="left", score=0.6), replace(left, handedness="right", score=0.6)
        order = [right, left] if step % 2 else [left, right]
        found = {one.keypoints_px[0, 0]: (one.track_id, one.handedness) for one in tracker.update(order)}
        assert found[right.keypoints_px[0, 0]] == (2, "right")
        assert found[left.keypoints_px[0, 0]] == (1, "left")


def test_between_two_near_hands_the_side_decides_unless_the_place_is_clear(tracker: HandTracker) -> None:
    for _ in range(5):
        tracker.update([hand(100), hand(120, "left")])
    assert numbers(tracker, hand(120), hand(100, "left")) == [1, 2], "a fifth of a hand away, but of its side"
    tracker.reset(video=True)
    for _ in range(5):
        tracker.update([hand(100), hand(140, "left")])
    assert sides(tracker, hand(100, "left"), hand(140)) == ["right", "left"], "both mistaken, in their places"


def test_two_hands_of_one_side_cross_by_their_motion(tracker: HandTracker) -> None:
    for step in range(31):
        first, second = hand(100 + 10 * step), hand(405 - 10 * step, y=8.0)
        order = [first, second] if step % 3 else [second, first]
        found = {one.keypoints_px[0, 0]: one.track_id for one in tracker.update(order)}
        assert [found[one.keypoints_px[0, 0]] for one in (first, second)] == [2, 1]


def test_a_reset_begins_with_1_and_without_overrides(tracker: HandTracker) -> None:
    tracker.update([hand(100), hand(500)])
    tracker.flip(2)
    tracker.hide(1)
    tracker.reset(video=True)
    (found,) = tracker.update([hand(500)])
    assert (found.track_id, found.handedness, tracker.hidden) == (1, "right", 0)


def test_another_position_in_the_same_source_keeps_numbers_and_overrides_and_judges_sides_anew(
    tracker: HandTracker,
) -> None:
    for _ in range(5):
        tracker.update([hand(100), hand(500)])
    tracker.flip(2)
    tracker.reset(video=True, same_hands=True)
    found = tracker.update([hand(520), hand(110, "left")])
    assert [(one.track_id, one.handedness) for one in found] == [(2, "left"), (1, "left")]


def test_elsewhere_in_a_clip_a_hand_is_known_by_its_side_before_its_place(tracker: HandTracker) -> None:
    for _ in range(5):
        tracker.update([hand(100), hand(500, "left")])
    tracker.reset(video=True, same_hands=True)
    assert numbers(tracker, hand(100, "left"), hand(300)) == [2, 1]


def test_a_flipped_hand_stays_flipped_whatever_the_detector_says_until_it_is_flipped_back(tracker: HandTracker) -> None:
    tracker.update([hand(100), hand(500)])
    tracker.flip(1)
    for index in range(20):
        detected: Handedness = "left" if index % 3 == 0 else "right"
        found = tracker.update([hand(500), hand(100 + 5 * index, detected)])
        assert [(one.track_id, one.handedness, one.side_is_stated) for one in found] == [
            (2, "right", False),
            (1, "left", True),
        ]
    tracker.flip(1)
    assert sides(tracker, hand(500), hand(195)) == ["right", "right"]


def test_every_flip_turns_the_hand_also_where_the_detector_has_changed_its_mind(tracker: HandTracker) -> None:
    tracker.note_sides(tracker.update([hand(100)]))
    tracker.flip(1)
    for _ in range(20):
        tracker.note_sides(tracker.update([hand(100, "left")]))
    tracker.flip(1)
    assert sides(tracker, hand(100, "left")) == ["right"]
    tracker.flip(1)
    tracker.flip(1)
    assert sides(tracker, hand(100, "left")) == ["right"], "twice before the next frame"


def test_a_flip_turns_the_side_that_was_shown(tracker: HandTracker) -> None:
    """A recheck of the handedness, or the user's side of all hands, may have changed the detector's."""
    found = tracker.update([hand(100)])
    tracker.note_sides([replace(found[0], handedness="left")])
    tracker.flip(1)
    assert sides(tracker, hand(100)) == ["right"]
    assert override_handedness(tracker.update([hand(100)]), "left")[0].handedness == "right"


def test_a_hidden_hand_is_left_out_and_counted_until_all_are_shown(tracker: HandTracker) -> None:
    tracker.update([hand(100), hand(500)])
    tracker.hide(1)
    for step in range(10):
        assert numbers(tracker, hand(100 + 20 * step), hand(500)) == [2]
        assert tracker.hidden == 1
    assert numbers(tracker, hand(500)) == [2]
    assert tracker.hidden == 0
    tracker.show_all()
    assert numbers(tracker, hand(280), hand(500)) == [1, 2]


def test_a_hidden_hand_does_not_hide_one_that_comes_later_elsewhere(tracker: HandTracker) -> None:
    tracker.update([hand(100)])
    tracker.hide(1)
    for _ in range(MAX_FRAMES_UNSEEN + 1):
        tracker.update([])
    assert numbers(tracker, hand(900)) == [2]


def test_a_number_that_is_not_there_changes_nothing(tracker: HandTracker) -> None:
    tracker.flip(3)
    tracker.hide(3)
    assert numbers(tracker, hand(100)) == [1]


def test_images_that_do_not_follow_each_other_are_numbered_anew_and_one_shown_again_is_not() -> None:
    tracker = HandTracker(video=False)
    first, second, third = hand(100), hand(500), hand(900)

    def shown(key: object, *detections: Detection) -> list[tuple[int, Handedness]]:
        return [(one.track_id, one.handedness) for one in tracker.update(detections, frame_key=key)]

    assert shown("a", first, second, third) == [(1, "right"), (2, "right"), (3, "right")]
    tracker.flip(2)
    tracker.hide(1)
    for _ in range(MAX_FRAMES_UNSEEN + 2):
        assert shown("a", third, second, first) == [(3, "right"), (2, "left")]
    assert shown("b", first, second) == [(1, "right"), (2, "right")]
    assert shown("a", third) == [(1, "right")]
    assert shown(None, third, first) == shown(None, first, third) == [(1, "right"), (2, "right")]


def test_the_side_in_an_image_is_that_of_its_own_detection() -> None:
    tracker = HandTracker(video=False)
    for handedness in ("right", "left", "right"):
        (found,) = tracker.update([hand(100, handedness)], frame_key="1.png")
        assert (found.track_id, found.handedness) == (1, handedness)


def test_a_frame_without_hands_is_nothing(tracker: HandTracker) -> None:
    assert tracker.update([]) == ()
    assert np.array_equal(tracker.hidden, 0)


def test_a_hand_that_begins_with_the_wrong_side_again_and_again_uses_up_no_numbers(tracker: HandTracker) -> None:
    used = set[int]()
    for _ in range(20):
        for side in ("right", "right", *("left",) * 20):
            used |= set(numbers(tracker, hand(100, "right" if side == "right" else "left")))
        for _ in range(MAX_FRAMES_UNSEEN + 2):
            tracker.update([])
    assert used <= {1, 2}


def test_as_many_hands_of_a_side_are_remembered_as_were_seen_at_once(tracker: HandTracker) -> None:
    assert numbers(tracker, hand(100), hand(400)) == [1, 2]
    for _ in range(40):
        tracker.update([])
    assert numbers(tracker, hand(410), hand(90)) == [2, 1]


def test_a_hand_of_which_the_user_stated_something_is_never_forgotten(tracker: HandTracker) -> None:
    for _ in range(8):
        tracker.update([hand(100, "left")])
    tracker.hide(1)
    for _ in range(MAX_FRAMES_UNSEEN + 2):
        tracker.update([])
    for side in ("right", "right", *("left",) * 20):
        tracker.update([hand(400, "right" if side == "right" else "left")])
    assert numbers(tracker, hand(400, "left"), hand(800, "right")) == [2, 3]
