"""Scores of smoothers, on motions for which the answer is known."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from handviz.core.records import HandMesh
from tests.hands import INTRINSICS, made_up_hand
from tools.motion_scores import ARRAYS, KnownMotion, load_motion, save_motion, scores

RATE_HZ = 30


class Late:
    """A smoother that returns the hand of some frames ago."""

    def __init__(self, frames: int) -> None:
        self.strength, self._frames, self._seen = 1.0, frames, []

    def smooth(self, hands: Sequence[HandMesh], time_ms: float) -> tuple[HandMesh, ...]:
        if not hands:
            return ()
        self._seen.append(hands[0])
        return (self._seen[max(len(self._seen) - 1 - self._frames, 0)],)

    def reset(self) -> None:
        self._seen = []


def motion(*, shake_m: float = 0.0, rests_s: float = 0.0) -> KnownMotion:
    """Return a hand that rests, then moves to and fro, and is measured with errors."""
    times_s, random = np.arange(120) / RATE_HZ, np.random.default_rng(0)
    rest, hands, truth = made_up_hand(), [], []
    for time_s in times_s:
        away = np.array([0.1 * np.sin(2 * np.pi * max(time_s - rests_s, 0)), 0, 0])
        true = dataclasses.replace(rest, wrist_camera_m=rest.wrist_camera_m + away)
        truth.append(true.keypoints_m + true.wrist_camera_m)
        error = random.normal(0, 1, (21, 3)) * shake_m
        error[0] = 0
        hands.append(dataclasses.replace(true, keypoints_m=true.keypoints_m + error))
    return KnownMotion(times_s, np.stack(truth), hands, INTRINSICS)


def test_a_smoother_that_is_a_frame_late_is_found_to_be() -> None:
    late = scores([motion()], lambda: Late(1))
    # Of a sine the best shift is a little less than the frame.
    assert late.lag_ms == pytest.approx(1000 / RATE_HZ, rel=0.05)
    assert late.error_px > 5
    assert scores([motion()], lambda: Late(0)).lag_ms == pytest.approx(0, abs=1e-9)


def test_errors_and_uncertainties_are_compared() -> None:
    shaken = scores([motion(shake_m=0.005)], lambda: Late(0))
    assert shaken.error_mm == pytest.approx(5 * np.sqrt(8 / np.pi) * 20 / 21, rel=0.05)
    assert shaken.coverage == pytest.approx(np.sqrt(3), rel=0.05), (
        "standard deviations say 5 mm in all, not along each axis"
    )
    assert np.isnan(shaken.left_mm)


def test_jitter_counts_at_rest_only() -> None:
    still, jitter = motion(rests_s=9.0), motion(rests_s=9.0, shake_m=0.001)
    assert scores([still], lambda: Late(0)).jitter_px == pytest.approx(0, abs=1e-9)
    # A second difference of noise is the root of six times as large.
    found = scores([jitter], lambda: Late(0)).jitter_mm
    assert found == pytest.approx(np.sqrt(6) * np.sqrt(8 / np.pi) * 20 / 21, rel=0.05)
    assert np.isnan(scores([motion(shake_m=0.001)], lambda: Late(0)).jitter_px), "never at rest"


def test_what_a_perfect_smoother_could_reach_is_the_reference_where_it_is_known() -> None:
    shaken = motion(shake_m=0.005)
    known = dataclasses.replace(shaken, reachable=[hand for hand in motion().hands if hand is not None])
    assert scores([known], lambda: Late(0)).left_mm == pytest.approx(
        scores([shaken], lambda: Late(0)).error_mm, rel=0.05
    )


def test_a_motion_comes_back_from_its_file(tmp_path: Path) -> None:
    whole = motion(shake_m=0.001)
    lossy = dataclasses.replace(whole, hands=[None if row in (3, 7) else hand for row, hand in enumerate(whole.hands)])
    save_motion(tmp_path / "one.npz", lossy)
    back = load_motion(tmp_path / "one.npz")
    assert [hand is None for hand in back.hands] == [hand is None for hand in lossy.hands]
    first, again = lossy.hands[0], back.hands[0]
    assert first is not None
    assert again is not None
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    assert (again.handedness, again.model, again.intrinsics.focal_px) == ("right", "final", INTRINSICS.focal_px)


def test_every_second_frame_and_dropped_frames() -> None:
    half = motion().thinned(2)
    assert len(half.times_s) == len(half.hands) == 60
    keep = np.arange(120) % 3 != 0
    assert len(motion().thinned(1, keep).times_s) == 80
