"""Parameters -> vertices -> parameters -> vertices."""

import numpy as np
import pytest

from handviz.core.geometry import rotation_from_axis_angle
from handviz.core.records import FloatArray, Handedness
from handviz.hand_models.mano.conventions import as_parameters, hand_vertices, mano_vertices
from handviz.hand_models.mano.fit import fit_keypoints, fit_vertices
from handviz.hand_models.mano.parameters import ManoParameters, PoseKind
from tests.fake_datasets.stand_in_mano import stand_in_template

KINDS: tuple[PoseKind, ...] = ("absolute", "relative", "components")


def drawn(seed: int, side: Handedness, kind: PoseKind = "absolute") -> ManoParameters:
    random = np.random.default_rng(seed)
    pose, shape = random.normal(scale=0.35, size=45), random.normal(size=10)
    return ManoParameters(side, kind, pose, shape, 2 * random.normal(size=3), random.normal(scale=0.4, size=3))


def distance_mm(one: FloatArray, other: FloatArray) -> float:
    return float(np.linalg.norm(one - other, axis=1).max() * 1000)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", KINDS)
def test_vertices_give_their_parameters_back(side: Handedness, kind: PoseKind) -> None:
    template, truth = stand_in_template(), drawn(3, side, kind)
    vertices_m = mano_vertices(truth, template)
    fit = fit_vertices(vertices_m, side, template)
    found = as_parameters(fit.hand, template, kind)
    assert distance_mm(mano_vertices(found, template), vertices_m) < 0.01
    assert fit.largest_error_mm < 0.01
    np.testing.assert_allclose(found.shape, truth.shape, atol=1e-3)
    np.testing.assert_allclose(found.pose, truth.pose, atol=1e-3)
    rotations = [rotation_from_axis_angle(one.global_rotation) for one in (found, truth)]
    np.testing.assert_allclose(*rotations, atol=1e-4)
    np.testing.assert_allclose(found.translation_m, truth.translation_m, atol=1e-5)


def test_a_fist_and_single_precision_are_no_error() -> None:
    template = stand_in_template()
    curl = np.zeros((15, 3))
    curl[:12, 2] = 1.5  # every finger's joints towards the palm
    truth = ManoParameters("right", "absolute", curl.ravel(), np.zeros(10), np.array([3.1, 0.0, 0.0]), np.zeros(3))
    vertices_m = mano_vertices(truth, template).astype(np.float32)
    fit = fit_vertices(vertices_m, "right", template)
    assert distance_mm(hand_vertices(fit.hand, template) + fit.hand.wrist_m, vertices_m) < 0.01


def test_what_no_hand_can_do_keeps_the_shape_near_the_mean() -> None:
    template, truth = stand_in_template(), drawn(5, "right")
    waves = 0.004 * np.sin(60 * template.vertices_m[:, ::-1])
    fit = fit_vertices(mano_vertices(truth, template) + waves, "right", template)
    assert 0.3 < fit.mean_error_mm < 4
    assert np.abs(fit.hand.shape).max() < 4


@pytest.mark.parametrize("side", ["right", "left"])
def test_keypoints_alone_give_a_hand_a_few_millimetres_from_the_true_one(side: Handedness) -> None:
    template, truth = stand_in_template(), drawn(7, side)
    vertices_m = mano_vertices(truth, template)
    fit = fit_keypoints(template.keypoint_regressor @ vertices_m, side, template)
    assert fit.mean_error_mm < 2
    assert np.linalg.norm(hand_vertices(fit.hand, template) + fit.hand.wrist_m - vertices_m, axis=1).mean() < 0.005
    other: Handedness = "left" if side == "right" else "right"
    wrong = fit_keypoints(template.keypoint_regressor @ vertices_m, other, template)
    assert wrong.mean_error_mm > 2 * fit.mean_error_mm
