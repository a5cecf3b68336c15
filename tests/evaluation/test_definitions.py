"""The datasets' measures against an independent implementation of their definitions."""

import independent
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handviz.core.metrics import f_scores, pa_mpjpe_mm, pck_areas, pck_auc
from handviz.evaluation.definitions import (
    ALIGNMENTS,
    BONE_SCALE,
    UPPER_AUC,
    CameraPoints,
    Measures,
    acceleration_errors_mm,
    bone_scale_aligned,
    joined,
    mean_intervals,
    official_procrustes,
    pck_curve,
    sample_auc,
    scale_translation_aligned,
    score,
)

SAMPLES = 6


@pytest.fixture(scope="module")
def points():
    """Hands at half a metre that are rotated, scaled, shifted and noisy; one of them is a mirror image."""
    random = np.random.default_rng(5)
    vertices = random.normal([0.02, -0.05, 0.5], 0.04, size=(SAMPLES, 120, 3))
    turn = Rotation.from_rotvec(random.normal(scale=0.2, size=(SAMPLES, 3))).as_matrix()
    predicted = np.einsum("nab,nvb->nva", turn, vertices - vertices[:, :1]) * random.uniform(0.8, 1.2, (SAMPLES, 1, 1))
    predicted[-1] *= [-1, 1, 1]
    predicted = predicted + vertices[:, :1] + random.normal(scale=0.006, size=vertices.shape)
    return CameraPoints(predicted[:, :21], vertices[:, :21], predicted, vertices)


@pytest.fixture(scope="module")
def slow(points):
    return independent.measures(points.keypoints_m, points.true_keypoints_m, points.vertices_m, points.true_vertices_m)


def test_every_measure_is_that_of_the_independent_implementation(points, slow):
    found = score(points).columns
    assert found.keys() == slow.keys()
    for name, values in found.items():
        assert values.mean() == pytest.approx(slow[name], abs=1e-6), name
    assert len({round(value, 3) for value in slow.values()}) > 15, "the cases tell the measures apart"


def test_batches_add_up_to_all_samples(points):
    whole = score(points)
    parts = [
        score(CameraPoints(*(getattr(points, name)[rows] for name in points.__dataclass_fields__)))
        for rows in (slice(0, 4), slice(4, 6))
    ]
    together = joined(parts)
    for name, values in whole.columns.items():
        np.testing.assert_allclose(together.columns[name], values, atol=1e-12)
    for name, curve in whole.pck.items():
        np.testing.assert_allclose(together.pck[name], curve, atol=1e-12)


def test_freihands_alignment_takes_a_mirror_image_for_the_hand_and_ours_does_not(points):
    truth = points.true_keypoints_m
    mirrored = truth * [-1, 1, 1]
    np.testing.assert_allclose(official_procrustes(mirrored, truth), truth, atol=1e-7)
    assert pa_mpjpe_mm(mirrored, truth).min() > 5


def test_a_point_on_a_threshold_is_within_it():
    curve = pck_curve(np.array([[0.0, 50.0, 50.0 + 1e-9, 25.0]]))
    assert (curve[0], curve[-1]) == (0.25, 0.75)
    assert sample_auc(np.zeros((1, 3))) == pytest.approx(1)
    assert sample_auc(np.full((1, 3), 50.1)) == pytest.approx(0)


def test_the_area_from_20_to_50_mm_is_that_of_counting_every_point():
    errors = np.random.default_rng(3).gamma(3.0, 9.0, size=(40, 21))
    for start, limit in ((20.0, 50.0), (0.0, 50.0), (10.0, 30.0)):
        counted = independent.area_of_thresholds(errors, start, limit, 3001)
        assert pck_auc(errors, limit, start_mm=start) == pytest.approx(counted, abs=2e-4)
        assert pck_areas(errors, limit, start_mm=start).mean() == pytest.approx(counted, abs=2e-4)
    edges = pck_areas(np.array([0.0, 20.0, 35.0, 50.0, 90.0]), start_mm=20.0)
    np.testing.assert_allclose(edges, [1, 1, 0.5, 0, 0])


def test_a_dataset_of_known_scale_has_a_further_alignment_and_area(points):
    measures = Measures((*ALIGNMENTS, BONE_SCALE), upper_auc_from_mm=20.0)
    found, usual = score(points, measures), score(points)
    moved = []
    for predicted, truth in zip(points.keypoints_m, points.true_keypoints_m, strict=True):
        factor = np.linalg.norm(truth[10] - truth[9]) / np.linalg.norm(predicted[10] - predicted[9])
        moved.append(factor * (predicted - predicted[0]) + truth[0])
    np.testing.assert_allclose(bone_scale_aligned(points.keypoints_m, points.true_keypoints_m), moved)
    errors_mm = 1000 * np.linalg.norm(np.array(moved) - points.true_keypoints_m, axis=2)
    assert found.columns[f"{BONE_SCALE}_mpjpe_mm"].mean() == pytest.approx(errors_mm.mean())
    counted = independent.area_of_thresholds(errors_mm, 20.0, 50.0, 3001)
    assert found.columns[f"{BONE_SCALE}_{UPPER_AUC}"].mean() == pytest.approx(counted, abs=2e-3)
    assert found.pck.keys() - usual.pck.keys() == {f"{BONE_SCALE}_keypoints"}
    for name, values in usual.columns.items():
        np.testing.assert_array_equal(found.columns[name], values)


def test_f_scores_count_distances_below_the_threshold_not_on_it():
    truth, predicted = np.zeros((1, 4, 3)), np.zeros((1, 4, 3))
    truth[0, :, 0] = np.arange(4)
    predicted[0] = truth[0]
    predicted[0, :2, 1] = 2.0**-8
    on_it = f_scores(predicted, truth, thresholds_mm=[1000 * 2.0**-8])
    above = f_scores(predicted, truth, thresholds_mm=[1000 * 2.0**-8 + 1e-6])
    assert (on_it[0, 0], above[0, 0]) == (0.5, 1)


def test_f_scores_search_beyond_the_vertex_of_the_same_number(points):
    mesh, truth = points.vertices_m[:2], points.true_vertices_m[:2]
    shuffled = mesh[:, np.random.default_rng(0).permutation(mesh.shape[1])]
    np.testing.assert_allclose(f_scores(shuffled, truth), f_scores(mesh, truth))


def test_a_prediction_without_length_is_only_shifted(points):
    truth = points.true_keypoints_m[:1]
    np.testing.assert_allclose(
        scale_translation_aligned(np.ones_like(truth), truth), np.broadcast_to(truth[:, :1], truth.shape)
    )
    np.testing.assert_allclose(
        official_procrustes(np.ones_like(truth), truth), np.broadcast_to(truth.mean(1, keepdims=True), truth.shape)
    )


def test_acceleration_error_is_that_of_a_slow_loop(points):
    predicted, truth = points.keypoints_m, points.true_keypoints_m
    slow_errors = []
    for frame in range(1, SAMPLES - 1):
        errors = []
        for joint in range(21):
            ours = predicted[frame - 1, joint] - 2 * predicted[frame, joint] + predicted[frame + 1, joint]
            true = truth[frame - 1, joint] - 2 * truth[frame, joint] + truth[frame + 1, joint]
            errors.append(1000 * np.linalg.norm(ours - true))
        slow_errors.append(np.mean(errors))
    np.testing.assert_allclose(acceleration_errors_mm(predicted, truth), slow_errors, atol=1e-9)
    steady = truth + np.arange(SAMPLES)[:, None, None] * 0.01
    np.testing.assert_allclose(acceleration_errors_mm(steady, truth), 0, atol=1e-9)


def test_intervals_of_independent_samples_are_those_of_the_normal_approximation():
    values = np.random.default_rng(0).normal([3.0, -1.0], [2.0, 0.5], size=(400, 2))
    low, high = mean_intervals(values, [str(row) for row in range(400)])
    half = 1.96 * values.std(axis=0) / 20
    np.testing.assert_allclose(low, values.mean(axis=0) - half, atol=0.1 * half.max())
    np.testing.assert_allclose(high, values.mean(axis=0) + half, atol=0.1 * half.max())


def test_samples_of_a_sequence_do_not_count_as_independent():
    of_sequence = np.random.default_rng(1).normal(size=(20, 1))
    values, groups = np.repeat(of_sequence, 30, axis=0), np.repeat(np.arange(20).astype(str), 30)
    alone, together = mean_intervals(values, [str(row) for row in range(600)]), mean_intervals(values, groups)
    assert np.ptp(together) > 4 * np.ptp(alone)
    assert (mean_intervals(np.ones((5, 1)), list("abcde")) == 1).all()
