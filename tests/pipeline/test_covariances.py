"""Covariances stay those of the standard deviations that smoothing leaves."""

from dataclasses import replace

import numpy as np
import pytest

from handviz.core.geometry import resized
from handviz.core.records import HandMesh
from handviz.pipeline.kalman import KalmanSmoother
from handviz.pipeline.smoothing import HandSmoother
from tests.hands import made_up_hand


def spread_hand(std_mm: float, fractions: tuple[float, float, float]) -> HandMesh:
    covariance = np.diag(fractions) * std_mm**2
    return replace(
        made_up_hand(std_mm=std_mm),
        keypoint_covariance_mm2=np.tile(covariance, (21, 1, 1)),
        vertex_covariance_mm2=np.tile(covariance, (30, 1, 1)),
    )


@pytest.mark.parametrize("smoother", [HandSmoother(0.5), KalmanSmoother(0.5)], ids=["one_euro", "kalman"])
def test_they_turn_with_the_newest_hand_and_are_as_large_as_its_smoothed_uncertainties(
    smoother: HandSmoother | KalmanSmoother,
) -> None:
    fractions = (0.0, 0.25, 0.75)
    smoother.smooth([spread_hand(4.0, (1.0, 0.0, 0.0))], 0.0)
    (hand,) = smoother.smooth([spread_hand(8.0, fractions)], 33.0)
    assert hand.keypoint_covariance_mm2 is not None
    assert hand.vertex_covariance_mm2 is not None
    assert hand.vertex_std_mm[0] != 8.0
    for covariances, std_mm in (
        (hand.keypoint_covariance_mm2, hand.keypoint_std_mm),
        (hand.vertex_covariance_mm2, hand.vertex_std_mm),
    ):
        np.testing.assert_allclose(np.trace(covariances, axis1=1, axis2=2), std_mm**2)
        np.testing.assert_allclose(covariances[5] / std_mm[5] ** 2, np.diag(fractions), atol=1e-12)


def test_none_stay_none() -> None:
    assert resized(None, np.ones(3), np.ones(3)) is None
