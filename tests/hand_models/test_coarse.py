"""Coarse tokens: spread uniformly, exact on themselves, close everywhere else."""

import numpy as np
import pytest

from handviz.hand_models.coarse import COARSE_COUNT, coarse_tokens, farthest_points
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.skinning import joint_transforms, skin


def posed_hands(count, seed):
    """Return open hands (count, V, 3) in random poses."""
    template, random = load_open_hand(), np.random.default_rng(seed)
    poses = random.normal(scale=0.3, size=(count, 45))
    rest = np.repeat(template.vertices_m[None].astype(np.float64), count, axis=0)
    joints = template.joint_regressor @ rest
    return skin(rest, template.skinning_weights, joint_transforms(poses, joints, template.parents))


@pytest.fixture(scope="module")
def tokens():
    return coarse_tokens(posed_hands(16, seed=1))


def test_tokens_are_vertices_and_weights_sum_to_one(tokens):
    ids, lift = tokens
    assert ids.dtype == np.int32
    assert len(set(ids)) == COARSE_COUNT == lift.shape[1]
    np.testing.assert_allclose(lift.sum(axis=1), 1.0)
    np.testing.assert_array_equal(lift[ids], np.eye(COARSE_COUNT))


def test_hands_that_were_not_fitted_are_lifted_closely(tokens):
    ids, lift = tokens
    hands = posed_hands(8, seed=2)
    error_mm = 1000 * np.linalg.norm(lift @ hands[:, ids] - hands, axis=-1)
    assert error_mm.mean() < 0.5
    assert np.quantile(error_mm, 0.99) < 2.5


def test_a_plane_needs_only_one_pose():
    grid = np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0), [0.0]), axis=-1).reshape(1, -1, 3) * 0.01
    ids, lift = coarse_tokens(grid, count=40)
    np.testing.assert_allclose(lift @ grid[0, ids], grid[0], atol=2e-3)


def test_farthest_points_are_those_of_a_slow_loop():
    points = np.random.default_rng(3).normal(size=(60, 4))
    chosen = [int(np.linalg.norm(points - points.mean(0), axis=1).argmax())]
    while len(chosen) < 20:
        gaps = [min(np.linalg.norm(point - points[other]) for other in chosen) for point in points]
        chosen.append(int(np.argmax(gaps)))
    np.testing.assert_array_equal(farthest_points(points, 20), sorted(chosen))
