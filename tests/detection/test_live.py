"""Hands of a stream by networks that know a made-up world: followed, lost, doubted, new."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from handviz.core.records import CropLandmarks, Detection, HandCrop
from handviz.detection.detector import Sighting
from handviz.detection.live import LiveDetector, trust
from handviz.detection.palm import HandSquare
from handviz.detection.palm_search import FRAMES_AFTER_LOSS, FRAMES_BETWEEN, FRAMES_BETWEEN_CHECKS
from handviz.detection.tracking import HandTracker, same_hand
from tests.detection.hand_world import HandWorld, frame_of, hand_at


@pytest.fixture
def world() -> HandWorld:
    """Return a world with one right hand."""
    return HandWorld(hand_at(200))


@pytest.fixture
def live(world: HandWorld) -> Iterator[LiveDetector]:
    """Return a detector of two hands that searches in line."""
    detector = LiveDetector(world, None, max_hands=2, is_beside=False)
    yield detector
    detector.close()


def settle(live: LiveDetector, frames: int = 12) -> tuple[Detection, ...]:
    """Show the world for some frames: sides of its hands are sure after them."""
    return [live.detect(frame_of()) for _ in range(frames)][-1]


def move(world: HandWorld, right_px: float, row: int = 0) -> None:
    hand = world.hands[row]
    world.hands[row] = replace(hand, keypoints_px=hand.keypoints_px + np.array([right_px, 0.0]))


def turned(hand: Detection) -> Detection:
    """Return the hand upside down at its place."""
    middle_px = (hand.keypoints_px.min(axis=0) + hand.keypoints_px.max(axis=0)) / 2
    return replace(hand, keypoints_px=2 * middle_px - hand.keypoints_px)


def assert_where(found: Detection, true: Detection) -> None:
    np.testing.assert_allclose(found.keypoints_px, true.keypoints_px, atol=0.01)
    assert found.handedness == true.handedness


def test_a_new_hand_is_found_by_its_palm_with_its_crop_and_landmarks(world: HandWorld, live: LiveDetector) -> None:
    (hand,) = live.detect(frame_of())
    assert_where(hand, world.hands[0])
    assert hand.track_id == 1
    assert hand.crop is not None
    assert hand.crop.landmarks is not None
    assert (len(world.squares), len(world.landmarks.shown)) == (1, 1)


def test_a_settled_hand_is_followed_with_one_look_a_frame(world: HandWorld, live: LiveDetector) -> None:
    settle(live)
    world.landmarks.shown.clear(), world.squares.clear()
    searches = world.palms.calls
    for _ in range(FRAMES_BETWEEN - 1):
        move(world, 8.0)
        (hand,) = live.detect(frame_of())
        assert_where(hand, world.hands[0])
        assert hand.track_id == 1
    assert len(world.landmarks.shown) == FRAMES_BETWEEN - 1
    assert not world.squares
    assert world.palms.calls - searches <= 1


def test_the_crop_goes_ahead_with_the_hand(world: HandWorld, live: LiveDetector) -> None:
    settle(live)
    for _ in range(6):
        move(world, 20.0)
        live.detect(frame_of())
    before = world.hands[0].keypoints_px.mean(axis=0)
    move(world, 20.0)
    live.detect(frame_of())
    expected = world.landmarks.shown[-1].detection.keypoints_px.mean(axis=0)
    assert 5.0 < expected[0] - before[0] < 20.0


def test_a_hand_that_has_gone_is_lost_at_once_and_searched_for(world: HandWorld, live: LiveDetector) -> None:
    settle(live)
    world.hands.clear()
    assert live.detect(frame_of()) == ()
    searches = world.palms.calls
    for _ in range(3):
        assert live.detect(frame_of()) == ()
    assert world.palms.calls == searches + 3


def test_a_hand_under_the_least_presence_is_lost(world: HandWorld, live: LiveDetector) -> None:
    settle(live)
    world.misread = lambda crop, seen: replace(seen, presence=0.49)
    world.misjudge = lambda square, seen: seen._replace(presence=0.49)
    assert live.detect(frame_of()) == ()


def test_a_hand_elsewhere_is_another_hand_at_its_place(world: HandWorld, live: LiveDetector) -> None:
    settle(live)
    move(world, 300.0)
    (hand,) = live.detect(frame_of())
    assert_where(hand, world.hands[0])


def test_after_a_loss_every_frame_is_searched_for_a_while(world: HandWorld, live: LiveDetector) -> None:
    world.hands.append(hand_at(450, "left"))
    settle(live)
    del world.hands[1]
    before = world.palms.calls
    settle(live, FRAMES_AFTER_LOSS)
    assert world.palms.calls == before + FRAMES_AFTER_LOSS
    settle(live, 2 * FRAMES_BETWEEN)
    assert world.palms.calls <= before + FRAMES_AFTER_LOSS + 3


def test_a_second_hand_is_found_within_a_search_and_gets_its_own_number(world: HandWorld, live: LiveDetector) -> None:
    settle(live)
    world.hands.append(hand_at(450, "left"))
    first, second = settle(live, FRAMES_BETWEEN)
    assert (first.track_id, second.track_id) == (1, 2)
    assert_where(second, world.hands[1])


def test_while_all_wanted_hands_are_followed_palms_are_only_checked(world: HandWorld, live: LiveDetector) -> None:
    world.hands.append(hand_at(450, "left"))
    settle(live)
    before = world.palms.calls
    settle(live, FRAMES_BETWEEN_CHECKS)
    assert world.palms.calls - before == 1


def test_never_more_hands_than_asked_for(world: HandWorld) -> None:
    world.hands = [hand_at(90), hand_at(260, "left"), hand_at(430), hand_at(580, "left")]
    live = LiveDetector(world, None, max_hands=3, is_beside=False)
    assert [len(settle(live, 1)) for _ in range(40)] == [3] * 40
    live.close()


def crop_is_unsure(crop: HandCrop, seen: CropLandmarks) -> CropLandmarks:
    return replace(seen, right_hand=0.505)


def test_a_hand_in_doubt_gets_the_side_and_score_of_its_square(world: HandWorld, live: LiveDetector) -> None:
    settle(live)
    world.misread = crop_is_unsure
    (hand,) = live.detect(frame_of())
    assert hand.score == pytest.approx(0.98)
    assert world.squares


def test_a_hand_in_doubt_lies_between_both_looks(world: HandWorld, live: LiveDetector) -> None:
    settle(live)
    world.misread = crop_is_unsure
    true_px = world.hands[0].keypoints_px
    world.misjudge = lambda square, seen: seen._replace(hand=replace(seen.hand, keypoints_px=true_px + 4.0))
    (hand,) = live.detect(frame_of())
    np.testing.assert_allclose(hand.keypoints_px, true_px + 2.0, atol=0.01)


def test_a_hand_that_comes_clasped_is_found_by_a_palm_of_its_own(world: HandWorld, live: LiveDetector) -> None:
    """Its box covers the other's, and its side is the same; its palm belongs to no other hand."""
    settle(live)
    world.hands.append(turned(hand_at(215)))
    assert same_hand(*world.hands)
    first, second = settle(live, FRAMES_BETWEEN)
    assert_where(first, world.hands[0])
    assert_where(second, world.hands[1])


def test_an_opinion_that_is_believed_less_changes_nothing(world: HandWorld, live: LiveDetector) -> None:
    settle(live)
    world.misread = crop_is_unsure

    def other_side(square: HandSquare, seen: Sighting) -> Sighting:
        return Sighting(replace(seen.hand, handedness="left", score=0.52), 0.6)

    world.misjudge = other_side
    (hand,) = live.detect(frame_of())
    assert hand.handedness == "right"
    assert hand.score == pytest.approx(0.505)


def test_a_hand_that_was_begun_with_the_wrong_side_gets_the_right_one(world: HandWorld, live: LiveDetector) -> None:
    def wrong(square: HandSquare, seen: Sighting) -> Sighting:
        return Sighting(replace(seen.hand, handedness="left", score=0.6), seen.presence)

    world.misjudge = wrong
    live.detect(frame_of())
    world.misjudge = lambda square, seen: seen
    (hand,) = settle(live)
    assert_where(hand, world.hands[0])
    assert hand.track_id == 1
    assert trust(hand) > 0.9, "its crop is of its side"


def test_landmarks_that_were_drawn_elsewhere_are_found_by_their_palm(world: HandWorld, live: LiveDetector) -> None:
    """Crops that show the hand turned show wrong landmarks; what square and palm show is believed more."""
    settle(live)
    world.misread = lambda crop, seen: replace(seen, keypoints=seen.keypoints * 0.6, right_hand=0.51)
    live.detect(frame_of())
    world.misread = lambda crop, seen: seen
    (hand,) = live.detect(frame_of())
    assert_where(hand, world.hands[0])


def test_two_followed_hands_whose_crops_show_one_become_one(world: HandWorld, live: LiveDetector) -> None:
    world.hands.append(hand_at(320, "left"))
    assert len(settle(live)) == 2
    del world.hands[1]
    move(world, 20.0)
    found = settle(live, 3)
    assert len(found) == 1
    assert_where(found[0], world.hands[0])
    assert found[0].track_id == 1


def test_a_palm_of_a_followed_hand_makes_no_second_one(world: HandWorld, live: LiveDetector) -> None:
    for _ in range(3 * FRAMES_BETWEEN_CHECKS):
        assert len(live.detect(frame_of())) == 1


def test_the_same_frame_again_has_the_same_hands_without_a_look(world: HandWorld, live: LiveDetector) -> None:
    settle(live)
    frame = frame_of()
    hands = live.detect(frame)
    shown = len(world.landmarks.shown)
    move(world, 30.0)
    assert live.detect(replace(frame)) is hands
    assert len(world.landmarks.shown) == shown
    (moved,) = live.detect(replace(frame, image=frame.image.copy()))
    assert_where(moved, world.hands[0])


def test_a_frame_of_another_size_is_searched_anew_and_the_hand_keeps_its_number(
    world: HandWorld, live: LiveDetector
) -> None:
    settle(live)
    world.landmarks.shown.clear()
    world.hands = [hand_at(60, y=60)]
    before = world.palms.calls
    (hand,) = live.detect(frame_of(320, 240))
    assert_where(hand, world.hands[0])
    assert (hand.track_id, world.palms.calls, len(world.landmarks.shown)) == (1, before + 1, 1)


def test_a_frame_that_is_too_small_has_no_hands(world: HandWorld, live: LiveDetector) -> None:
    settle(live)
    assert live.detect(frame_of(7, 480)) == ()
    assert len(live.detect(frame_of())) == 1


def test_the_callers_tracker_is_asked_and_not_told(world: HandWorld) -> None:
    tracker = HandTracker(video=True)
    live = LiveDetector(world, tracker, max_hands=2, is_beside=False)
    (hand,) = live.detect(frame_of())
    assert hand.track_id == 0
    assert tracker.expected() == []
    tracker.update([hand])
    assert [one.track_id for one in live.detect(frame_of())] == [1]
    live.close()
