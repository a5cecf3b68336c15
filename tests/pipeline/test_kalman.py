"""The Kalman smoother against textbook filters, and its promises."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are
from scipy.spatial.transform import Rotation

from handviz.core.geometry import axis_angle_from_rotation
from handviz.core.records import HandMesh, SmoothingKind
from handviz.core.shape_posterior import ShapePosterior
from handviz.pipeline.kalman import (
    MAX_REJECTED_S,
    NOMINAL_STEP_S,
    ConstantVelocity,
    KalmanSmoother,
    NoiseModel,
    followed_shape,
    make_smoother,
    noise_factor,
)
from handviz.pipeline.smoothing import REFERENCE_STD_MM, HandSmoother
from tests.hands import made_up_hand, shaken, textured_hand

STEP_MS = 1000 / 30
TEXTBOOK = NoiseModel(rest_index=0.2, gate_stds=1e9, change_s=1e9)


def acceleration_variance(variance: float) -> float:
    """Spectral density of the process noise that the filter takes for a measurement's variance."""
    return (TEXTBOOK.rest_index / NOMINAL_STEP_S**2) ** 2 * variance * NOMINAL_STEP_S


def matrices(step_s: float, density: float) -> tuple[np.ndarray, np.ndarray]:
    """Transition and process noise of continuous white acceleration (Bar-Shalom et al. 2001, eqs. 6.2.2)."""
    transition = np.array([[1, step_s], [0, 1]])
    return transition, density * np.array([[step_s**3 / 3, step_s**2 / 2], [step_s**2 / 2, step_s]])


def textbook(values: np.ndarray, variances: np.ndarray, steps_s: np.ndarray) -> list[float]:
    """Run a Kalman filter of position and velocity for one number, in matrices."""
    state, covariance = np.array([values[0], 0.0]), np.diag([variances[0], variances[0] / NOMINAL_STEP_S**2])
    sees, estimates = np.array([[1.0, 0.0]]), [values[0]]
    for value, variance, step_s in zip(values[1:], variances[1:], steps_s, strict=True):
        transition, noise = matrices(step_s, acceleration_variance(variance))
        state, covariance = transition @ state, transition @ covariance @ transition.T + noise
        gain = covariance @ sees.T / (sees @ covariance @ sees.T + variance)
        state = state + (gain * (value - sees @ state))[:, 0]
        covariance = (np.eye(2) - gain @ sees) @ covariance
        estimates.append(state[0])
    return estimates


def test_without_its_two_additions_it_is_the_textbook_filter() -> None:
    random = np.random.default_rng(3)
    values = np.cumsum(random.normal(0, 0.01, (60, 1, 4)), axis=0)
    variances, steps_s = random.uniform(1e-6, 1e-4, (60, 1, 4)), random.uniform(0.01, 0.2, 59)
    ours = ConstantVelocity(values[0], variances[0], TEXTBOOK)
    estimates = [values[0]]
    for value, variance, step_s in zip(values[1:], variances[1:], steps_s, strict=True):
        ours.predict(step_s, variance)
        ours.update(value - ours.value, variance, step_s)
        estimates.append(ours.value)
    for row in range(4):
        expected = textbook(values[:, 0, row], variances[:, 0, row], steps_s)
        np.testing.assert_allclose(np.array(estimates)[:, 0, row], expected, atol=1e-12)


def test_gain_settles_where_the_riccati_equation_says() -> None:
    variance, step_s = 2.5e-6, 1 / 15
    variances = np.full((2, 1), variance)
    ours = ConstantVelocity(np.zeros((2, 1)), variances, TEXTBOOK, groups=(2,))
    for _ in range(400):
        ours.predict(step_s, variances)
        gain = ours.update(np.zeros((2, 1)), variances, step_s)
    transition, noise = matrices(step_s, acceleration_variance(variance))
    sees = np.array([[1.0], [0.0]])
    predicted = solve_discrete_are(transition.T, sees, noise, np.array([[variance]]))
    assert gain[0, 0] == pytest.approx(predicted[0, 0] / (predicted[0, 0] + variance), rel=1e-6)


def test_axis_angles_are_those_of_scipy() -> None:
    random = np.random.default_rng(4)
    for size in (0.0, 1e-9, 1e-3, 1.0, 3.0, math.pi - 1e-5, math.pi):
        axis = random.normal(size=3)
        turn = Rotation.from_rotvec(axis / np.linalg.norm(axis) * size)
        back = Rotation.from_rotvec(axis_angle_from_rotation(turn.as_matrix()))
        assert (back * turn.inv()).magnitude() < 1e-6


def run(hands: list[HandMesh], strength: float = 0.3, *, times_ms: list[float] | None = None) -> list[HandMesh]:
    smoother = KalmanSmoother(strength)
    times_ms = times_ms or [index * STEP_MS for index in range(len(hands))]
    return [smoother.smooth([hand], time_ms)[0] for hand, time_ms in zip(hands, times_ms, strict=True)]


def moved(hand: HandMesh, metres: tuple[float, float, float] | np.ndarray) -> HandMesh:
    """Move the hand, its pixels by a pinhole camera."""
    return dataclasses.replace(hand, wrist_camera_m=hand.wrist_camera_m + metres)


def test_strength_0_changes_nothing() -> None:
    hands = [moved(made_up_hand(), (0.01 * index, 0, 0)) for index in range(4)]
    assert all(out is hand for out, hand in zip(run(hands, 0.0), hands, strict=True))


@pytest.mark.parametrize("kind", ["kalman", "one_euro"])
def test_a_hand_without_uncertainty_is_smoothed_with_constant_noise(kind: SmoothingKind) -> None:
    """It moves as a hand does whose points all have the noise's reference, and still has no standard deviations."""
    reference_mm = NoiseModel().reference_std_mm if kind == "kalman" else REFERENCE_STD_MM
    random = np.random.default_rng(3)
    known = [shaken(made_up_hand(std_mm=reference_mm), random.normal(0, 0.004, (30, 3))) for _ in range(12)]
    unknown = [
        dataclasses.replace(
            hand,
            vertex_std_mm=None,
            keypoint_std_mm=None,
            vertex_covariance_mm2=None,
            keypoint_covariance_mm2=None,
        )
        for hand in known
    ]
    smoothers = make_smoother(kind, 0.5), make_smoother(kind, 0.5)
    for index, (one, other) in enumerate(zip(known, unknown, strict=True)):
        (told,), (plain,) = (
            smoother.smooth([hand], index * STEP_MS) for smoother, hand in zip(smoothers, (one, other), strict=True)
        )
        np.testing.assert_allclose(plain.vertices_m, told.vertices_m, atol=1e-9)
        assert plain.vertex_std_mm is None
        assert plain.keypoint_std_mm is None
    assert np.abs(plain.vertices_m - unknown[-1].vertices_m).max() > 1e-4, "it is smoothed"


def test_one_standard_deviation_for_all_points_stays_one() -> None:
    """Also where it differs from frame to frame and points move differently."""
    random = np.random.default_rng(6)
    hands = [
        shaken(made_up_hand(std_mm=std_mm), random.normal(0, 0.004, (30, 3))) for std_mm in random.uniform(5, 12, 10)
    ]
    assert {hand.uncertainty for hand in hands} == {"constant"}
    last = run(hands)[-1]
    assert last.uncertainty == "constant"
    assert last.vertex_std_mm is not None
    assert 3 < last.vertex_std_mm.mean() < 12


def test_a_still_hand_stays_where_it_is() -> None:
    hand = moved(textured_hand(), (0.03, 0.02, 0.1))
    last = run([hand] * 20)[-1]
    np.testing.assert_allclose(last.vertices_m, hand.vertices_m, atol=1e-9)
    np.testing.assert_allclose(last.vertices_px, hand.vertices_px, atol=1e-6)
    np.testing.assert_allclose(last.camera_from_wrist, hand.camera_from_wrist, atol=1e-9)
    np.testing.assert_allclose(last.wrist_camera_m, hand.wrist_camera_m, atol=1e-9)


def test_steady_motion_has_no_lag_at_any_rate_of_frames() -> None:
    times_ms = list(np.cumsum(np.random.default_rng(5).choice([16.0, 33.0, 66.0, 200.0], 60)))
    hands = [moved(made_up_hand(), (0.1e-3 * time, 0.05e-3 * time, 0)) for time in times_ms]
    answers = run(hands, 0.5, times_ms=times_ms)
    for answer, hand in zip(answers[-5:], hands[-5:], strict=True):
        np.testing.assert_allclose(answer.wrist_camera_m, hand.wrist_camera_m, atol=2e-4)


def test_steady_rotation_has_no_lag() -> None:
    def turned(angle: float) -> HandMesh:
        turn, rest = Rotation.from_rotvec([0.2 * angle, angle, 0]).as_matrix(), made_up_hand()
        vertices_m, keypoints_m = rest.vertices_m @ turn.T, rest.keypoints_m @ turn.T
        return dataclasses.replace(rest, camera_from_wrist=turn, vertices_m=vertices_m, keypoints_m=keypoints_m)

    hands = [turned(0.06 * index) for index in range(60)]
    last = run(hands, 0.5)[-1]
    assert Rotation.from_matrix(last.camera_from_wrist @ hands[-1].camera_from_wrist.T).magnitude() < 0.003
    np.testing.assert_allclose(last.vertices_m, hands[-1].vertices_m, atol=3e-4)


def test_a_sudden_start_is_followed_at_once() -> None:
    hands = [made_up_hand()] * 20 + [moved(made_up_hand(), (0.02 * index, 0, 0)) for index in (1, 2)]
    apart_px = [
        np.linalg.norm(out.keypoints_px[0] - hand.keypoints_px[0]) for out, hand in zip(run(hands), hands, strict=True)
    ]
    assert max(apart_px) < 1.5
    one_euro = HandSmoother(0.3)
    slow = [one_euro.smooth([hand], index * STEP_MS)[0] for index, hand in enumerate(hands)][-1]
    assert np.linalg.norm(slow.keypoints_px[0] - hands[-1].keypoints_px[0]) > 5


def noisy_hands(count: int, std_m: float, *, std_mm: float = 8.0) -> list[HandMesh]:
    random, hand = np.random.default_rng(1), made_up_hand(std_mm=std_mm)
    return [shaken(hand, random.normal(0, std_m, (30, 3))) for _ in range(count)]


def jitter_m(hands: list[HandMesh]) -> float:
    return float(np.std([hand.vertices_m for hand in hands[30:]], axis=0).mean())


def test_more_strength_less_jitter() -> None:
    hands = noisy_hands(120, 0.0005)
    values = [jitter_m(run(hands, strength)) for strength in (0.0, 0.1, 0.3, 1.0)]
    assert values == sorted(values, reverse=True)
    assert values[2] < 0.5 * values[0]
    assert noise_factor(0.0) < noise_factor(0.5) < noise_factor(1.0)


def test_a_frame_that_is_unsure_of_itself_hardly_moves_the_hand() -> None:
    def answer_to(std_mm: float) -> float:
        odd = shaken(made_up_hand(std_mm=std_mm), np.full((30, 3), 0.004))
        return float(np.abs(run([*noisy_hands(30, 0.0), odd])[-1].vertices_m - odd.vertices_m + 0.004).mean())

    assert answer_to(8.0) > 0.002
    assert answer_to(200.0) < 0.1 * answer_to(8.0)


def test_one_impossible_rotation_is_rejected_and_a_lasting_one_is_not() -> None:
    hand, flip = made_up_hand(), Rotation.from_rotvec([0, 2.5, 0]).as_matrix()
    vertices_m, keypoints_m = hand.vertices_m @ flip.T, hand.keypoints_m @ flip.T
    flipped = dataclasses.replace(hand, camera_from_wrist=flip, vertices_m=vertices_m, keypoints_m=keypoints_m)
    answers = run([hand] * 10 + [flipped] + [hand] * 3)
    for answer in answers[10:]:
        np.testing.assert_allclose(answer.vertices_m, hand.vertices_m, atol=1e-6)
    patience = math.ceil(MAX_REJECTED_S * 30) + 1
    last = run([hand] * 10 + [flipped] * patience)[-1]
    np.testing.assert_allclose(last.vertices_m, flipped.vertices_m, atol=1e-6)
    np.testing.assert_allclose(last.camera_from_wrist, flip, atol=1e-9)


def test_hands_that_claim_no_uncertainty_or_are_at_the_camera_model_are_smoothed_too() -> None:
    certain = dataclasses.replace(made_up_hand(), vertex_std_mm=np.zeros(30), keypoint_std_mm=np.zeros(21))
    near = moved(certain, (0, 0, -0.499 - certain.keypoints_m[[0, 5, 9, 13, 17], 2].mean()))
    for hand in (certain, near):
        for answer in run([hand] * 5):
            assert np.isfinite(answer.vertices_px).all()
            assert np.isfinite(answer.vertex_std_mm).all()


def test_metres_and_pixels_stay_together() -> None:
    hands = [moved(hand, (0.003 * index, 0, 0)) for index, hand in enumerate(noisy_hands(30, 0.004))]
    hand = run(hands, 0.6)[-1]
    camera, points_m = hand.intrinsics, hand.vertices_m + hand.wrist_camera_m
    expected = points_m[:, :2] / points_m[:, 2:] * camera.focal_px + [camera.centre_x_px, camera.centre_y_px]
    np.testing.assert_allclose(hand.vertices_px, expected, atol=1e-9)
    np.testing.assert_allclose(hand.keypoints_m[0], 0, atol=1e-12)
    np.testing.assert_allclose(hand.camera_from_wrist @ hand.camera_from_wrist.T, np.eye(3), atol=1e-9)


def test_texture_score_and_side_are_passed_on() -> None:
    hand = textured_hand(handedness="left")
    last = run([hand] * 3)[-1]
    assert last.texture is hand.texture
    assert (last.handedness, last.detection_score, last.model) == ("left", hand.detection_score, hand.model)


def test_a_hand_that_was_away_for_some_frames_goes_on() -> None:
    smoother, hands = KalmanSmoother(0.5), noisy_hands(40, 0.002)
    for index, hand in enumerate(hands[:30]):
        smoother.smooth([hand], index * STEP_MS)
    for index in (30, 31, 32):
        assert smoother.smooth([], index * STEP_MS) == ()
    (answer,) = smoother.smooth([hands[33]], 33 * STEP_MS)
    still = made_up_hand()
    assert (
        np.abs(answer.vertices_m - still.vertices_m).mean()
        < 0.8 * np.abs(hands[33].vertices_m - still.vertices_m).mean()
    )


def test_uncertainties_stay_honest_although_errors_last() -> None:
    """Errors are nearly the same in every frame: averaging must not reduce the uncertainty."""
    random, truth, std_mm = np.random.default_rng(6), made_up_hand(std_mm=8.0), 8.0
    lasting = random.normal(0, std_mm / 1000 / math.sqrt(3), (30, 3))
    hands = [shaken(truth, lasting + random.normal(0, 0.0003, (30, 3))) for _ in range(60)]
    last = run(hands, 0.5)[-1]
    error_mm = np.linalg.norm(last.vertices_m - truth.vertices_m, axis=1) * 1000
    assert 0.8 < np.sqrt(np.mean((error_mm / last.vertex_std_mm) ** 2)) < 1.2
    np.testing.assert_allclose(last.vertex_std_mm, std_mm, rtol=0.1)


@pytest.mark.parametrize(("kind", "made"), [("kalman", KalmanSmoother), ("one_euro", HandSmoother)])
def test_both_kinds_are_made_with_their_strength(kind: str, made: type) -> None:
    smoother = make_smoother(kind, 0.4)  # type: ignore[arg-type]
    assert isinstance(smoother, made)
    assert smoother.strength == 0.4


def made_up_shape(seed: int) -> ShapePosterior:
    root = 0.003 * np.random.default_rng(seed).normal(size=(63, 8))
    covariance_m2 = root @ root.T + 1e-6 * np.eye(63)
    return ShapePosterior(covariance_m2, 2 * covariance_m2, np.zeros((778, 21)), 10.0, 98)


def with_shape(hand: HandMesh, shape: ShapePosterior) -> HandMesh:
    blocks_mm2 = shape.keypoint_covariances_m2 * 1e6
    std_mm = np.sqrt(np.trace(blocks_mm2, axis1=1, axis2=2))
    return dataclasses.replace(
        hand,
        vertex_std_mm=np.linspace(6.0, 10.0, len(hand.vertices_m)),
        shape=shape,
        keypoint_covariance_mm2=blocks_mm2,
        keypoint_std_mm=std_mm,
    )


def test_the_covariance_of_a_still_hand_is_that_of_its_frames() -> None:
    shape = made_up_shape(1)
    last = run([with_shape(made_up_hand(std_mm=8.0), shape)] * 40, 0.5)[-1]
    assert last.shape is not None
    np.testing.assert_allclose(last.shape.covariance_m2, shape.covariance_m2, atol=0.03 * shape.covariance_m2.max())


def test_covariances_and_standard_deviations_stay_together_while_a_hand_turns() -> None:
    truth = made_up_hand(std_mm=8.0)
    hands = []
    for step in range(30):
        turn = Rotation.from_euler("xyz", [0.02 * step, 0.05 * step, -0.03 * step]).as_matrix()
        moved = dataclasses.replace(
            truth,
            vertices_m=truth.vertices_m @ turn.T,
            keypoints_m=truth.keypoints_m @ turn.T,
            camera_from_wrist=turn @ truth.camera_from_wrist,
        )
        hands.append(with_shape(moved, made_up_shape(2).turned(turn)))
    last = run(hands, 0.5)[-1]
    assert last.shape is not None
    assert last.keypoint_covariance_mm2 is not None
    traces = np.trace(last.keypoint_covariance_mm2, axis1=1, axis2=2)
    np.testing.assert_allclose(np.sqrt(traces), last.keypoint_std_mm, rtol=1e-6)
    # Without turning with the hand it would lag behind by many frames.
    wanted = hands[-1].shape
    assert wanted is not None
    size = np.abs(wanted.covariance_m2).max()
    assert np.abs(last.shape.covariance_m2 - wanted.covariance_m2).max() < 0.1 * size
    before = hands[-8].shape
    assert before is not None
    assert np.abs(before.covariance_m2 - wanted.covariance_m2).max() > 0.3 * size


def test_what_follows_is_a_covariance_with_the_variances_by_the_gains() -> None:
    before, measured, gains = made_up_shape(3), made_up_shape(4), np.random.default_rng(5).uniform(0, 1, 21)
    found = followed_shape(before, measured, gains)
    assert found is not None
    each = np.repeat(gains, 3)
    variances = (1 - each) * np.diag(before.covariance_m2) + each * np.diag(measured.covariance_m2)
    np.testing.assert_allclose(np.diag(found.covariance_m2), variances, rtol=1e-12)
    assert np.linalg.eigvalsh(found.covariance_m2).min() > 0
    same = followed_shape(before, before, gains)
    assert same is not None
    np.testing.assert_allclose(same.covariance_m2, before.covariance_m2, rtol=1e-9, atol=1e-15)
    assert followed_shape(before, None, gains) is None
    assert followed_shape(None, measured, gains) is measured
