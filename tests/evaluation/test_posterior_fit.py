"""The fit of the posterior's errors, on made-up hands whose errors are known, and which rendered hands are found."""

from collections.abc import Iterator

import numpy as np
import pytest

from handviz.core.errors import ErrorCode
from handviz.evaluation import posterior_fit
from handviz.evaluation.posterior_fit import (
    DEGREES_OF_FIT,
    MIN_HANDS,
    FitPlan,
    FoundHand,
    found_hands,
    fused_hand,
    parted,
    photograph_factor,
    robust_covariance,
)
from handviz.evaluation.rendered_scenes import RenderedScene, scenes
from handviz.hand_models.open_hand import load_open_hand
from handviz.pipeline.error_model import error_model
from handviz.training.augmentation import LandmarkNoise
from tests.errors import raises
from tests.found_hands import made_up_hands


@pytest.fixture(scope="module")
def found() -> list[FoundHand]:
    return found_hands(FitPlan(count=6))


def test_hands_are_found_with_their_truth(found: list[FoundHand]) -> None:
    assert 2 <= len(found) <= 6
    for one in found:
        assert one.crop.detection.handedness == "right"
        assert one.hand.landmarks_m is not None
        extent_px = float(np.ptp(one.crop.detection.keypoints_px, axis=0).max())
        wrist_px = one.camera.project(one.wrist_m[None])[0]
        assert np.linalg.norm(one.crop.detection.keypoints_px[0] - wrist_px) < 0.4 * extent_px
        turned_m = one.true_keypoints_m @ one.view.camera_from_crop.T
        keypoints_m = load_open_hand().keypoint_regressor @ one.true_m @ one.camera_from_wrist.T
        np.testing.assert_allclose(turned_m, keypoints_m - keypoints_m[0], atol=1e-6)


def test_detections_elsewhere_are_not_the_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(seed: int, count: int) -> Iterator[RenderedScene]:
        for scene in scenes(seed, count):
            extent_px = np.ptp(scene.keypoints_px, axis=0).max()
            yield scene._replace(keypoints_px=scene.keypoints_px + 1.1 * extent_px)

    monkeypatch.setattr(posterior_fit, "scenes", elsewhere)
    assert found_hands(FitPlan(count=4)) == []


def test_a_fused_hand_s_errors_are_in_metres(found: list[FoundHand]) -> None:
    fused = [fused_hand(one, error_model()) for one in found]
    assert {one.error_m.shape for one in fused} == {(21,)}
    assert 0.001 < np.median([one.error_m.mean() for one in fused]) < 0.03
    assert 0.001 < np.median([np.sqrt(one.variance_m2).mean() for one in fused]) < 0.03
    assert {one.observed for one in fused} == {98}


def test_landmarks_errors_are_compared_with_those_of_photographs() -> None:
    # The mean length of normal errors of 8 mm an axis, of which the best alignment takes 7 of 63 numbers.
    error_mm = 8 * np.sqrt(8 / np.pi) * np.sqrt(56 / 63)
    assert photograph_factor(made_up_hands(100)) == pytest.approx(LandmarkNoise().median_mm / error_mm, rel=0.05)


def test_a_few_wild_rows_do_not_stand_for_all() -> None:
    random = np.random.default_rng(3)
    rows = random.normal(0, 1, (400, 6))
    rows[:8] *= 40
    variances = np.diag(robust_covariance(rows))
    assert variances.max() < 3
    calm = np.diag(robust_covariance(random.normal(0, 1, (4000, 6))))
    # Of normal rows the scale of a t is a little below the variance.
    np.testing.assert_allclose(calm, 1, atol=2 / DEGREES_OF_FIT)


def test_two_thirds_are_fitted_and_too_few_hands_are_refused() -> None:
    hands = made_up_hands(1) * (MIN_HANDS + 1)
    first, rest = parted(hands, 100)
    assert (len(first), len(rest)) == (42, 22)
    with raises(ErrorCode.NO_HANDS, match="62 of 100"):
        parted(hands[:62], 100)
