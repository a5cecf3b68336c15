"""Synthetic motion: smooth, with rests, and measurements of it with the errors of networks."""

import numpy as np
import pytest

from handviz.core.geometry import intrinsics_from_field_of_view, project_points
from handviz.data.synthetic.motion import HandMotion, MotionPoser
from tools.simulated_hands import ErrorSizes, Simulation, measured_error_sizes

SIZES = ErrorSizes(
    direction=0.0004, log_depth=0.004, rotation_rad=(0.012, 0.010, 0.004), across_fraction=0.03, along_fraction=0.08
)
CAMERA = intrinsics_from_field_of_view(640, 480, 60.0)
TIMES_S = np.arange(180) / 30


@pytest.fixture(scope="module")
def parts() -> MotionPoser:
    return MotionPoser()


@pytest.mark.parametrize("seed", [0, 1])
def test_hands_move_without_leaps_rest_and_stay_in_the_image(parts: MotionPoser, seed: int) -> None:
    motion = HandMotion(seed, 6.0, parts)
    assert motion.handedness == ("left" if seed else "right")
    hands = [motion.at(time_s) for time_s in TIMES_S]
    keypoints_m = np.stack([hand.keypoints_m for hand in hands])
    steps_m = np.linalg.norm(np.diff(keypoints_m, axis=0), axis=2).max(axis=1)
    assert 0.005 < steps_m.max() < 0.15
    assert (steps_m < 1e-9).mean() > 0.15
    pixels = project_points(keypoints_m, CAMERA)
    assert ((pixels > -60) & (pixels < [700, 540])).all()
    for hand in hands[::30]:
        assert np.linalg.det(hand.camera_from_wrist) == pytest.approx(1)
        assert np.linalg.det(hand.from_canonical) == pytest.approx(-1 if seed else 1)


@pytest.mark.slow
def test_simulated_errors_have_the_sizes_that_were_asked_for(parts: MotionPoser) -> None:
    clips = []
    for seed in range(6):
        one = Simulation(SIZES, CAMERA, seed).hands(HandMotion(seed, 6.0, parts), TIMES_S)
        clips.append((one.measured, one.truth_m))
    found = measured_error_sizes(clips)
    assert found.direction == pytest.approx(SIZES.direction, rel=0.5)
    assert found.log_depth == pytest.approx(SIZES.log_depth, rel=0.5)
    np.testing.assert_allclose(found.rotation_rad, SIZES.rotation_rad, rtol=0.5)
    assert found.along_fraction > found.across_fraction


@pytest.mark.slow
def test_lasting_errors_are_as_large_as_uncertainties_say_and_rest_with_the_hand(parts: MotionPoser) -> None:
    ratios = []
    for seed in range(8):
        one = Simulation(SIZES, CAMERA, seed).hands(HandMotion(seed, 6.0, parts), TIMES_S)
        keypoints_m = np.stack([hand.keypoints_m for hand in one.lasting_only])
        error_mm = np.linalg.norm(keypoints_m - one.truth_m + one.truth_m[:, :1], axis=2) * 1000
        ratios.append((error_mm / [hand.keypoint_std_mm for hand in one.lasting_only])[:, 1:])
    assert np.sqrt(np.mean(np.square(ratios))) == pytest.approx(1, abs=0.35)
