"""Clips of known motion: camera-space and acceleration errors of errors that are known."""

import numpy as np
import pytest

from tests.tools.test_motion_scores import Late, motion
from tools.rendered_clips import clip_scores


def test_a_hand_that_is_measured_without_error_has_none():
    found = clip_scores([motion(), motion(rests_s=2.0)], lambda: Late(0))
    assert found.frames == 240
    for name in ("absolute_mm", "root_mm", "procrustes_mm", "acceleration_mm", "absolute_acceleration_mm"):
        assert getattr(found, name) == pytest.approx(0, abs=1e-4), name


def test_lateness_counts_in_the_cameras_frame_alone():
    one = motion()
    late = clip_scores([one], lambda: Late(1))
    behind = np.linalg.norm(one.truth_m[1:, 0] - one.truth_m[:-1, 0], axis=1).sum() / 120
    assert late.absolute_mm == pytest.approx(1000 * behind, rel=1e-3)
    assert late.root_mm == pytest.approx(0, abs=1e-4)
    assert late.absolute_acceleration_mm > 0.05
    assert late.acceleration_mm == pytest.approx(0, abs=1e-4)


def test_noise_trembles_as_its_second_difference_does():
    shaken = clip_scores([motion(shake_m=0.002)], lambda: Late(0))
    assert shaken.acceleration_mm == pytest.approx(2 * np.sqrt(6) * np.sqrt(8 / np.pi) * 20 / 21, rel=0.03)


def test_frames_without_a_hand_break_the_track():
    whole, torn = motion(), motion()
    torn.hands[60] = None
    # A jump over the gap would count as a large acceleration.
    for seconds in (whole, torn):
        assert clip_scores([seconds], lambda: Late(0)).absolute_acceleration_mm == pytest.approx(0, abs=1e-4)
    assert clip_scores([torn], lambda: Late(0)).frames == 119
