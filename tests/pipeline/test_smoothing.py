"""One Euro smoothing against a scalar reference, and its promises."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handviz.core.records import HandMesh
from handviz.pipeline.kalman import Smoother, make_smoother
from handviz.pipeline.smoothing import (
    CUTOFF_HZ_PER_METRE_PER_SECOND,
    SPEED_CUTOFF_HZ,
    HandSmoother,
    OneEuroFilter,
    min_cutoff_hz,
)
from tests.hands import made_up_hand, shaken

STEP_MS = 1000 / 30


def reference_one_euro(values: list[float], step_s: float, least_hz: float) -> list[float]:
    """Algorithm 1 of Casiez et al. (2012), for one number."""

    def alpha(cutoff_hz: float) -> float:
        time_constant = 1 / (2 * math.pi * cutoff_hz)
        return 1 / (1 + time_constant / step_s)

    filtered, speed, previous = [values[0]], 0.0, values[0]
    for value in values[1:]:
        rate = alpha(SPEED_CUTOFF_HZ)
        speed = rate * (value - previous) / step_s + (1 - rate) * speed
        fraction = alpha(least_hz + CUTOFF_HZ_PER_METRE_PER_SECOND * abs(speed))
        filtered.append(fraction * value + (1 - fraction) * filtered[-1])
        previous = value
    return filtered


def noisy_hands(count: int, std_m: float, *, std_mm: float = 5.0) -> list[HandMesh]:
    random, hand = np.random.default_rng(1), made_up_hand(std_mm=std_mm)
    return [shaken(hand, random.normal(0, std_m, (30, 3))) for _ in range(count)]


def smoothed(hands: list[HandMesh], strength: float) -> list[HandMesh]:
    smoother = HandSmoother(strength)
    return [smoother.smooth([hand], index * STEP_MS)[0] for index, hand in enumerate(hands)]


def jitter_m(hands: list[HandMesh]) -> float:
    return float(np.std([hand.vertices_m for hand in hands[20:]], axis=0).mean())


def test_one_row_is_the_published_algorithm() -> None:
    values = list(np.cumsum(np.random.default_rng(2).normal(0, 0.01, 50)))
    one_euro = OneEuroFilter(speed_columns=1)
    ours = [float(one_euro(np.array([[v]]), step_s=1 / 30, cutoff_hz=1.5)[0][0, 0]) for v in values]
    np.testing.assert_allclose(ours, reference_one_euro(values, 1 / 30, 1.5), atol=1e-12)


def test_strength_0_changes_nothing() -> None:
    hands = noisy_hands(5, 0.002)
    assert all(out is hand for out, hand in zip(smoothed(hands, 0.0), hands, strict=True))


def test_more_strength_less_jitter() -> None:
    hands = noisy_hands(120, 0.002)
    values = [jitter_m(smoothed(hands, strength)) for strength in (0.0, 0.3, 0.7, 1.0)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.5 * values[0]
    assert min_cutoff_hz(0.0) > min_cutoff_hz(0.5) > min_cutoff_hz(1.0)


def test_what_the_network_is_unsure_of_is_smoothed_more() -> None:
    sure = jitter_m(smoothed(noisy_hands(120, 0.002, std_mm=2.0), 0.5))
    unsure = jitter_m(smoothed(noisy_hands(120, 0.002, std_mm=15.0), 0.5))
    assert unsure < 0.8 * sure


def test_a_fast_hand_hardly_lags() -> None:
    def last_lag_px(pixels_per_frame: float) -> float:
        hands = [made_up_hand(wrist_px=(100 + pixels_per_frame * index, 200)) for index in range(20)]
        return float(hands[-1].keypoints_px[0, 0] - smoothed(hands, 0.5)[-1].keypoints_px[0, 0])

    frames_of_lag_fast, frames_of_lag_slow = last_lag_px(20.0) / 20.0, last_lag_px(0.2) / 0.2
    assert frames_of_lag_fast < 0.8 < frames_of_lag_slow


def test_metres_and_pixels_stay_together() -> None:
    hand = smoothed(noisy_hands(30, 0.004), 0.6)[-1]
    x, y, z = (hand.vertices_m + hand.wrist_camera_m).T
    np.testing.assert_allclose(hand.vertices_px, np.stack([500 * x / z + 320, 500 * y / z + 240], 1), atol=1e-6)
    np.testing.assert_allclose(hand.keypoints_m[0], 0, atol=1e-12)


def test_rotations_stay_rotations_and_follow() -> None:
    turns = [Rotation.from_euler("xyz", [0.05 * index, 0.1, 0.02 * index]).as_matrix() for index in range(40)]
    hands = [dataclasses.replace(made_up_hand(), camera_from_wrist=turn) for turn in turns]
    last = smoothed(hands, 0.4)[-1].camera_from_wrist
    np.testing.assert_allclose(last @ last.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(last) == pytest.approx(1.0)
    assert Rotation.from_matrix(last.T @ turns[-1]).magnitude() < 0.4


@pytest.fixture(params=["kalman", "one_euro"])
def smoother(request: pytest.FixtureRequest) -> Smoother:
    """Return a strong smoother of either kind."""
    return make_smoother(request.param, 1.0)


def test_hands_are_followed_by_their_numbers(smoother: Smoother) -> None:
    still = [made_up_hand(wrist_px=(200 + 60 * number, 200), track_id=number) for number in (1, 2, 3)]
    smoother.smooth(still, 0.0)
    shaky = [shaken(hand, np.full((30, 3), 0.002)) for hand in still]
    answers = smoother.smooth([shaky[2], shaky[0], shaky[1]], STEP_MS)
    for answer, hand, before in zip(
        answers, (shaky[2], shaky[0], shaky[1]), (still[2], still[0], still[1]), strict=True
    ):
        assert answer.track_id == hand.track_id
        assert np.abs(answer.vertices_m - before.vertices_m).max() < 0.0015, "smoothed with its own past"
        np.testing.assert_allclose(answer.wrist_camera_m, hand.wrist_camera_m, atol=1e-3)
    assert smoother.smooth([], 2 * STEP_MS) == ()


def test_hands_that_are_not_tracked_are_not_smoothed(smoother: Smoother) -> None:
    hand = made_up_hand(track_id=0)
    smoother.smooth([hand], 0.0)
    moved = made_up_hand(wrist_px=(305.0, 200.0), track_id=0)
    assert smoother.smooth([moved], STEP_MS)[0] is moved


@pytest.mark.parametrize("event", ["jump", "gap", "back in time", "reset", "side", "number", "vertices", "hand model"])
def test_a_new_beginning_is_not_mixed_with_what_was_before(event: str, smoother: Smoother) -> None:
    for index in range(5):
        smoother.smooth([made_up_hand(wrist_px=(100, 100))], 10_000 + index * STEP_MS)
    near = made_up_hand(wrist_px=(105, 100))
    changed = {
        "jump": made_up_hand(wrist_px=(500, 400)),
        "side": made_up_hand(wrist_px=(105, 100), handedness="left"),
        "number": dataclasses.replace(near, track_id=2),
        "vertices": dataclasses.replace(near, vertices_m=near.vertices_m[:20], vertex_std_mm=near.vertex_std_mm[:20]),
        "hand model": dataclasses.replace(near, hand_model="another"),
    }
    hand = changed.get(event, near)
    time_ms = {"gap": 12_000.0, "back in time": 100.0}.get(event, 10_000 + 5 * STEP_MS)
    if event == "reset":
        smoother.reset()
    assert smoother.smooth([hand], time_ms)[0] is hand


def test_a_hand_goes_on_after_a_frame_of_the_other_side(smoother: Smoother) -> None:
    still, other = made_up_hand(), made_up_hand(handedness="left")
    for index in range(5):
        smoother.smooth([still], index * STEP_MS)
    assert smoother.smooth([other], 5 * STEP_MS)[0] is other
    shaky = shaken(still, np.full((30, 3), 0.002))
    (answer,) = smoother.smooth([shaky], 6 * STEP_MS)
    assert np.abs(answer.vertices_m - still.vertices_m).max() < 0.0015


def test_without_an_event_the_hand_goes_on(smoother: Smoother) -> None:
    for index in range(5):
        smoother.smooth([made_up_hand(wrist_px=(100, 100))], 10_000 + index * STEP_MS)
    hand = made_up_hand(wrist_px=(105, 100))
    assert smoother.smooth([hand], 10_000 + 5 * STEP_MS)[0] is not hand
